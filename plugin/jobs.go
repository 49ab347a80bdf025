package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type jobsOptions struct {
	Names    []string
	Selector string
	// State are states and reasons, in any case.
	State []string
	// SortBy is a column, with a - before it for descending.
	SortBy                     string
	All, Plain, Watch, Reverse bool
	// Progress is auto, true or false.
	Progress   string
	Prometheus string
	Output     output
}

func newJobsCmd(f *Factory, do func(context.Context, *Factory, jobsOptions) error) *cobra.Command {
	var o jobsOptions
	c := &cobra.Command{
		Use:     "jobs [NAME...]",
		Short:   "List training work, whoever started it: state, GPUs, utilisation, progress",
		GroupID: groupSee,
		Long: `List training work, whoever started it: everything that holds or asks for an accelerator, under its root owner, be
that a Job, JobSet, TrainJob, PyTorchJob, RayJob, RayCluster, MPIJob, Volcano Job, Workflow, LeaderWorkerSet,
StatefulSet, Deployment or a bare Pod, and all Jobs of pipelines. --all adds plain Jobs.

What goes on comes first, the newest at the top; then what is suspended; then what has ended, the last to end first.
STATE has the reason behind a colon, as in Pending:Unschedulable or Failed:OOMKilled. On a terminal columns that do not
fit are left out; -o wide shows all of them, with the MESSAGE behind a reason.

UTIL and MEMORY come from Prometheus, which gets a second to answer. PROGRESS and METRIC come from the work's status, or
from the ends of the logs of the 16 works that started last. What is not known is a dash.

NAME is that of a work, KIND/NAME, RUN/STAGE, a stage, or a pod.`,
		Example: `  kubectl ml jobs
  kubectl ml jobs -A --state pending,failed --sort-by -gpus
  kubectl ml jobs -l team=vision -o wide
  kubectl ml jobs -w
  kubectl ml jobs -A --state OOMKilled -o name
  kubectl ml jobs -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.state}{"\t"}{.gpus}{"\n"}{end}'`,
		RunE: func(c *cobra.Command, args []string) error {
			o.Names = args
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeMany(f.workNames),
	}
	fl := c.Flags()
	fl.BoolVarP(&o.All, "all-namespaces", "A", false, "list the work of all namespaces")
	fl.StringVarP(&o.Selector, "selector", "l", "", "label `selector` on the works, such as team=vision")
	fl.StringSliceVar(&o.State, "state", nil, "only these `states` or reasons: "+strings.ToLower(strings.Join(workStates(), ", "))+", OOMKilled, ...")
	fl.StringVar(&o.SortBy, "sort-by", "", "sort by this `column`, also one of -o wide; with a - before it descending (default: as above)")
	fl.BoolVar(&o.Reverse, "reverse", false, "turn the order around")
	fl.BoolVar(&o.Plain, "all", false, "list plain Jobs too, which ask for no accelerator")
	fl.BoolVarP(&o.Watch, "watch", "w", false, "keep showing changes until Ctrl-C")
	fl.StringVar(&o.Progress, "progress", "auto", "read the ends of logs and Prometheus: `when` is true, false, or auto (for tables)")
	fl.Lookup("progress").NoOptDefVal = "true"
	_ = c.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions([]string{"true", "false", "auto"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("state", completeList(workStates()))
	_ = c.RegisterFlagCompletionFunc("sort-by", completeColumns)
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

// workStates are those that a work can be in.
func workStates() []string {
	return []string{job.Pending, job.Running, job.Suspended, job.Failed, job.Succeeded}
}

// completeList completes a value of several words with commas between them.
func completeList(words []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		before := prefix[:strings.LastIndexByte(prefix, ',')+1]
		var out []string
		for _, w := range without(words, strings.Split(before, ",")) {
			if strings.HasPrefix(strings.ToLower(w), strings.ToLower(prefix[len(before):])) {
				out = append(out, before+w)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func completeColumns(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	names := views.JobColumns().Names()
	if strings.HasPrefix(prefix, "-") {
		for i := range names {
			names[i] = "-" + names[i]
		}
	}
	return startingWith(names, strings.ToLower(prefix)), cobra.ShellCompDirectiveNoFileComp
}

// check refuses what cannot be before anything is asked of the cluster.
func (o *jobsOptions) check() error {
	if err := o.Output.check(); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "auto", "true", "false"}, o.Progress) {
		return fmt.Errorf("unknown --progress=%s: use true, false or auto", o.Progress)
	}
	return o.sort(nil)
}

// sort puts rows into the order asked for.
func (o *jobsOptions) sort(rows []*views.JobRow) error {
	by := o.SortBy
	if o.Reverse && by != "" {
		column, descending := strings.CutPrefix(by, "-")
		if by = column; !descending {
			by = "-" + column
		}
	}
	if err := views.SortJobs(rows, by); err != nil {
		return fmt.Errorf("--sort-by: %w", err)
	}
	if o.Reverse && by == "" {
		slices.Reverse(rows)
	}
	return nil
}

// details says whether logs and Prometheus are read.
func (o *jobsOptions) details() bool {
	switch o.Progress {
	case "true":
		return true
	case "false":
		return false
	}
	return o.Output.table()
}

// fleet are the options of what is read.
func (o *jobsOptions) fleet(c *client.Client) fleet.Options {
	r := fleet.Options{Namespace: c.Namespace, Selector: o.Selector, Plain: o.Plain || len(o.Names) > 0, Models: o.Output.Format != "name"}
	if o.All {
		r.Namespace = ""
	}
	return r
}

func runJobs(ctx context.Context, f *Factory, o jobsOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if o.Watch {
		return f.watchJobs(ctx, c, o)
	}
	usage := f.askUsage(ctx, c, o)
	s, err := fleet.Read(ctx, c, o.fleet(c))
	if err != nil {
		return err
	}
	f.problems(s.Problems)
	works, missing := o.choose(s.Works)
	if len(works) == 0 && missing == nil && o.Output.table() {
		return f.noJobs(ctx, c, o, len(s.Works))
	}
	more := f.moreOf(ctx, c, o, works, usage)
	rows := more.rows(works, f.Now())
	if err := o.sort(rows); err != nil {
		return err
	}
	items := make([]item, len(rows))
	for i, r := range rows {
		items[i] = jobItem(r)
	}
	if len(rows) > 0 || !o.Output.table() {
		if err := f.list(o.Output, items, func() views.Table { return views.Jobs(rows, o.All) }); err != nil {
			return err
		}
	}
	if more.usageErr != nil && (o.Output.Format == "wide" || o.Prometheus != "") && len(works) > 0 {
		f.say("%s", clean("UTIL and MEMORY are not known: "+firstLine(more.usageErr)))
	}
	return missing
}

// noJobs says that there is nothing to list, and why that may be.
func (f *Factory) noJobs(ctx context.Context, c *client.Client, o jobsOptions, others int) error {
	if others > 0 {
		f.say("None of the %s has the state or reason %s.", views.Plural(int64(others), "job", "jobs"), strings.Join(o.State, ", "))
		return nil
	}
	return f.nothing(ctx, c, "training jobs", o.All)
}

// choose keeps the works that are named and in the states asked for. The error is about names that nothing has.
func (o *jobsOptions) choose(works []*fleet.Work) ([]*fleet.Work, error) {
	works, missing := named(works, o.Names)
	if len(o.State) == 0 {
		return works, missing
	}
	var out []*fleet.Work
	for _, w := range works {
		if slices.ContainsFunc(o.State, func(s string) bool {
			s = strings.TrimSpace(s)
			return strings.EqualFold(s, w.State) || strings.EqualFold(s, w.Reason) || strings.EqualFold(s, w.State+":"+w.Reason)
		}) {
			out = append(out, w)
		}
	}
	return out, missing
}

// named keeps the works that a person names, in any namespace: all that have the name, else the one that is found by it.
func named(works []*fleet.Work, names []string) ([]*fleet.Work, error) {
	if len(names) == 0 {
		return works, nil
	}
	keep := map[*fleet.Work]bool{}
	var missing []error
	for _, name := range names {
		found := false
		for _, w := range works {
			if w.Name == name || w.KindName() == name {
				keep[w], found = true, true
			}
		}
		if found {
			continue
		}
		w, err := fleet.Find(works, name)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		keep[w] = true
	}
	return slices.DeleteFunc(slices.Clone(works), func(w *fleet.Work) bool { return !keep[w] }), errors.Join(missing...)
}

// jobItem is a row on its way to a printer of JSON: the facts of the work, and its pods in short.
func jobItem(r *views.JobRow) item {
	type pod struct {
		Name   string `json:"name"`
		Rank   *int   `json:"rank,omitempty"`
		Role   string `json:"role,omitempty"`
		Node   string `json:"node,omitempty"`
		State  string `json:"state"`
		Reason string `json:"reason,omitempty"`
	}
	fact := struct {
		*fleet.Work
		// Target is the root owner, as the heads of items are their own.
		Target   fleet.Ref      `json:"target"`
		Progress *job.Progress  `json:"progress,omitempty"`
		Usage    *metrics.Usage `json:"usage,omitempty"`
		Pods     []pod          `json:"pods,omitempty"`
	}{Work: r.Work, Target: r.Work.Ref, Progress: r.Progress()}
	if r.Usage.Devices > 0 {
		fact.Usage = &r.Usage
	}
	for _, p := range r.Work.Pods {
		short := pod{Name: p.Name, Role: p.Role, Node: p.Node, State: p.State, Reason: p.Reason}
		if p.Rank >= 0 {
			short.Rank = &p.Rank
		}
		fact.Pods = append(fact.Pods, short)
	}
	return workItem(r.Work, fact)
}

// logsTime is how long a list waits for logs.
const logsTime = 1500 * time.Millisecond
