package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// What top lists.
const (
	topJobs  = "jobs"
	topNodes = "nodes"
	topUsers = "users"
)

type topOptions struct {
	// What is one of the constants above.
	What             string
	All              bool
	Selector, SortBy string
	By               string
	IdleBelow        float64
	IdleFor          time.Duration
	Watch            bool
	Prometheus       string
	Output           output
}

func newTopCmd(f *Factory, do func(context.Context, *Factory, topOptions) error) *cobra.Command {
	top := newTopListCmd(f, topJobs, do)
	top.Use, top.GroupID = "top [jobs|nodes|users]", groupSee
	top.Short = "Show what jobs, nodes and users do with their GPUs"
	top.Long = `Show who holds GPUs and what they do with them: requests and bindings from the cluster; utilisation, memory and power
from Prometheus with dcgm-exporter or AMD's device-metrics-exporter, where there is one. Without, the rest is shown.

"top" alone is "top jobs". Work that holds GPUs for --idle-for and keeps them less than --idle-below percent busy, as a
mean over that time, is marked IDLE.`
	top.Example = `  kubectl ml top
  kubectl ml top jobs -A --sort-by -idle
  kubectl ml top nodes -o wide
  kubectl ml top users -A --by queue`
	top.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("top lists jobs, nodes or users, not %q", strings.Join(args, " "))
	}
	for _, what := range []string{topJobs, topNodes, topUsers} {
		top.AddCommand(newTopListCmd(f, what, do))
	}
	return top
}

func newTopListCmd(f *Factory, what string, do func(context.Context, *Factory, topOptions) error) *cobra.Command {
	o := topOptions{What: what}
	c := &cobra.Command{
		Use:  what,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	switch what {
	case topJobs:
		c.Short = "Show what jobs do with their GPUs"
		c.Long = `Show each piece of work that holds GPUs or waits for them: how many it asks for and holds, how busy they are, for how
long it has held them, and what deserves a look: idle GPUs, driver errors (XID), why it waits.`
		c.Example = `  kubectl ml top jobs -A
  kubectl ml top jobs --sort-by -gpu-hours -o wide
  kubectl ml top jobs --idle-below 10 --idle-for 2h
  kubectl ml top jobs -A -o json | jq '.items[] | select(.idle > 0)'`
	case topNodes:
		c.Short = "Show what the GPUs of nodes do, and where new work has room"
		c.Long = `Show each node with GPUs: how many are held and free, how busy and hot they are, what is wrong. Below the list stands
where new work has room: how many GPUs are free, and on how many nodes a job of 8, 4 or 2 GPUs on one node fits. PODS
counts pods with GPUs. -l selects nodes.`
		c.Example = `  kubectl ml top nodes
  kubectl ml top nodes -l nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3
  kubectl ml top nodes --sort-by -temp --no-headers`
		c.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("top nodes lists them all; see one with: kubectl ml nodes %s", args[0])
			}
			return nil
		}
	case topUsers:
		c.Short = "Show who holds GPUs, and how many of them are idle"
		c.Long = `Add up the work of each owner. Who started a piece of work is told by labels and annotations of kubectl ml, Kueue, Argo,
Kubeflow, JupyterHub and others, else by the service account that its pods run as, else by its namespace.`
		c.Example = `  kubectl ml top users -A
  kubectl ml top users -A --by namespace --sort-by -idle`
		o.By = string(fleet.ByUser)
		c.Flags().StringVar(&o.By, "by", o.By, "whom to add up: `user`, namespace, queue or pipeline")
		_ = c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(owners(), cobra.ShellCompDirectiveNoFileComp))
	}
	c.Flags().StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as team=vision")
	if what != topNodes {
		c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "look at the work of all namespaces")
		c.Flags().Float64Var(&o.IdleBelow, "idle-below", 5, "GPUs less busy than this `percentage` are idle")
		c.Flags().DurationVar(&o.IdleFor, "idle-for", 30*time.Minute, "`time` for which they must have been that, and held")
	}
	c.Flags().StringVar(&o.SortBy, "sort-by", "", "sort by this `column`, also one of -o wide; with a - before it descending (default: -held)")
	_ = c.RegisterFlagCompletionFunc("sort-by", completeSort(topColumns(what)))
	c.Flags().BoolVarP(&o.Watch, "watch", "w", false, "look again every few seconds")
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

func owners() []string {
	var names []string
	for _, o := range fleet.Owners() {
		names = append(names, string(o))
	}
	return names
}

// completeSort completes columns, with a - before them as well.
func completeSort(columns []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		minus, _ := strings.CutSuffix(prefix, strings.TrimPrefix(prefix, "-"))
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = minus + c
		}
		return startingWith(names, strings.ToLower(prefix)), cobra.ShellCompDirectiveNoFileComp
	}
}

func topColumns(what string) []string {
	switch what {
	case topNodes:
		return views.TopNodes().Names()
	case topUsers:
		return views.TopUsers(fleet.ByUser).Names()
	}
	return views.TopJobs(true, time.Time{}).Names()
}

func (o topOptions) check() error {
	if err := o.Output.check(); err != nil {
		return err
	}
	switch {
	case o.IdleBelow < 0 || o.IdleBelow > 100:
		return fmt.Errorf("--idle-below is a percentage from 0 to 100, not %v", o.IdleBelow)
	case o.IdleFor < 0:
		return errors.New("--idle-for is negative")
	case o.What == topUsers && !slices.Contains(owners(), o.By):
		return fmt.Errorf("--by %s: use one of %s", o.By, strings.Join(owners(), ", "))
	case o.Watch && !o.Output.table():
		return fmt.Errorf("-w redraws a table: it does not go with -o %s", o.Output.Format)
	case o.SortBy != "" && !slices.Contains(topColumns(o.What), strings.ToLower(strings.TrimPrefix(o.SortBy, "-"))):
		return fmt.Errorf("--sort-by: no column %q; there are %s", strings.TrimPrefix(o.SortBy, "-"), strings.Join(topColumns(o.What), ", "))
	}
	return nil
}

// topPage is what top shows of one look: rows as data, as a table, and what stands below it.
type topPage struct {
	items []item
	table func() views.Table
	foot  func(views.LineOptions) []views.Line
	// notes are about what is missing, for people.
	notes []string
}

func runTop(ctx context.Context, f *Factory, o topOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	read := fleet.Options{Namespace: c.Namespace, Selector: o.Selector, Models: true}
	switch {
	case o.What == topNodes:
		read = fleet.Options{Nodes: true}
	case o.All:
		read.Namespace = ""
	}
	m := f.meter(c, o.Prometheus, read.Namespace, o.IdleFor)
	if o.Watch {
		return f.watchTop(ctx, c, o, read, m)
	}
	measured := m.ask(ctx)
	s, err := readFleet(ctx, c, read)
	if err != nil {
		return err
	}
	p, err := o.page(s, measured(), f.Now())
	if err != nil {
		return err
	}
	if len(p.items) > 0 || !o.Output.table() {
		if err := f.list(o.Output, p.items, p.table); err != nil {
			return err
		}
		if o.Output.table() && !o.Output.NoHeaders && p.foot != nil {
			if err := f.lines(p.foot(f.layout(output{}))); err != nil {
				return err
			}
		}
	}
	for _, n := range p.notes {
		f.say("%s", clean(n))
	}
	switch {
	case len(p.items) > 0 || !o.Output.table():
		return nil
	case o.What == topNodes:
		f.noNodes(o.Selector)
		return nil
	}
	return f.nothing(ctx, c, "jobs with GPUs", o.All)
}

// readFleet reads a fleet. Where nodes are wanted and the pods of all namespaces may not be read, those of the client's
// have to do: who else holds GPUs is not known then.
func readFleet(ctx context.Context, c *client.Client, o fleet.Options) (*fleet.Snapshot, error) {
	s, err := fleet.Read(ctx, c, o)
	if err == nil && o.Nodes && o.Namespace == "" && fleet.Unread(s.Problems, "pods") != nil {
		o.Namespace = c.Namespace
		s, err = fleet.Read(ctx, c, o)
	}
	switch {
	case err != nil && o.Nodes: // of all that may not be read, the nodes matter
		_, missing := fleet.NodeNames(ctx, c)
		return nil, cmp.Or(missing, err)
	case err != nil:
		return nil, err
	case o.Nodes:
		err = fleet.Unread(s.Problems, "nodes")
	}
	return s, err
}

// page makes a page of a fleet and of what Prometheus says of it.
func (o topOptions) page(s *fleet.Snapshot, m measurement, now time.Time) (topPage, error) {
	if o.What == topNodes {
		return o.nodes(s, m)
	}
	works := fleet.WorkUsages(s.Works, m.Devices, fleet.Idleness{Below: o.IdleBelow, For: o.IdleFor}, now)
	p, err := o.works(works, now)
	p.notes = append(problemNotes(s.Problems, ofWorks), m.note(fleet.HeldBy(works))...)
	return p, err
}

// works is the page of jobs, or of who they belong to.
func (o topOptions) works(works []*fleet.WorkUsage, now time.Time) (topPage, error) {
	if o.What == topJobs {
		return topOf(views.TopJobs(o.All, now), works, o.SortBy, func(u *fleet.WorkUsage) item {
			w := u.Work
			return item{kind: "WorkUsage", ref: w.KindName(), name: w.Name, namespace: w.Namespace, created: w.Created, labels: w.Labels, fact: u}
		})
	}
	by := fleet.Owner(o.By)
	return topOf(views.TopUsers(by), fleet.OwnerUsages(works, by), o.SortBy, func(u *fleet.OwnerUsage) item {
		return item{kind: "OwnerUsage", ref: o.By + "/" + cmp.Or(u.Name, views.None), name: u.Name, fact: u}
	})
}

// nodes is the page of nodes.
func (o topOptions) nodes(s *fleet.Snapshot, m measurement) (topPage, error) {
	chosen, err := fleet.SelectNodes(o.Selector)
	if err != nil {
		return topPage{}, err
	}
	usages := slices.DeleteFunc(fleet.NodeUsages(s, m.Devices), func(u *fleet.NodeUsage) bool { return !chosen(u.Node) })
	held := int64(0)
	for _, u := range usages {
		held += max(u.Used, 0)
	}
	p, err := topOf(views.TopNodes(), usages, cmp.Or(o.SortBy, "-held"), nodeItem)
	p.notes = append(problemNotes(s.Problems, ofNodes), m.note(held)...)
	p.foot = func(lo views.LineOptions) []views.Line {
		if lines := views.Rooms(fleet.Rooms(usages), lo); len(lines) > 0 {
			return append([]views.Line{{}}, lines...)
		}
		return nil
	}
	return p, err
}

// topOf sorts rows and makes a page of them.
func topOf[R any](list views.List[R], rows []R, sortBy string, toItem func(R) item) (topPage, error) {
	if sortBy != "" {
		if err := list.Sort(rows, sortBy); err != nil {
			return topPage{}, err
		}
	}
	items := make([]item, len(rows))
	for i, r := range rows {
		items[i] = toItem(r)
	}
	return topPage{items: items, table: func() views.Table { return list.Table(rows) }}, nil
}

// problemNotes say what could not be read and matters, a line each.
func problemNotes(list []fleet.Problem, matters func(resource string) bool) []string {
	var notes []string
	for _, p := range list {
		if !matters(p.Resource) {
			continue
		}
		text := p.Err.Error()
		var e *client.Error
		if errors.As(p.Err, &e) {
			text = e.What
		}
		if note := "warning: " + p.Resource + ": " + text; !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes
}

// ofWorks matters for works. Without nodes and their devices it is not known what works run on, which shows by itself.
func ofWorks(resource string) bool {
	return resource != "nodes" && !strings.HasPrefix(resource, "resourceslices")
}

// ofNodes matters for nodes: what holds their accelerators. Without owners, works have the names of those.
func ofNodes(resource string) bool {
	return strings.HasPrefix(resource, "pods") || strings.HasPrefix(resource, "resource")
}
