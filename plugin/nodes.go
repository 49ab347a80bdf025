package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type nodesOptions struct {
	Names            []string
	Selector, SortBy string
	Prometheus       string
	Output           output
}

func newNodesCmd(f *Factory, do func(context.Context, *Factory, nodesOptions) error) *cobra.Command {
	var o nodesOptions
	c := &cobra.Command{
		Use:     "nodes [NAME...]",
		Aliases: []string{"node"},
		Short:   "List the nodes with GPUs: what is free, what is wrong, who is on them",
		GroupID: groupSee,
		Long: `List the nodes with GPUs: their state, what is free of them, whom their taints keep away, and who uses them. Draining
is a cordoned node with pods that are on their way out.

With one NAME show that node in full: its devices, with what Prometheus knows of them, its pods with the work they
belong to, what is wrong with it, and its taints in words.`,
		Example: `  kubectl ml nodes
  kubectl ml nodes -l nvidia.com/gpu.product=NVIDIA-L4 -o wide
  kubectl ml nodes gpu-7
  kubectl ml nodes -o jsonpath='{.items[?(@.free>=4)].metadata.name}'`,
		RunE: func(c *cobra.Command, args []string) error {
			o.Names = args
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeMany(fleet.NodeNames),
	}
	c.Flags().StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as topology.kubernetes.io/zone=a")
	c.Flags().StringVar(&o.SortBy, "sort-by", "", "sort by this `column`, also one of -o wide; with a - before it descending (default: name)")
	_ = c.RegisterFlagCompletionFunc("sort-by", completeSort(views.Nodes(false, f.Now()).Names()))
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

// namesAt is the width from which on nodes are listed with the names of who uses them.
const namesAt = 140

func runNodes(ctx context.Context, f *Factory, o nodesOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	lo := f.layout(o.Output)
	columns := views.Nodes(lo.Width == 0 || lo.Width >= namesAt, f.Now())
	if o.SortBy != "" {
		if err := columns.Sort(nil, o.SortBy); err != nil {
			return fmt.Errorf("--sort-by: %w", err)
		}
	}
	chosen, err := fleet.SelectNodes(o.Selector)
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	for i, n := range o.Names {
		o.Names[i] = strings.TrimPrefix(strings.TrimPrefix(n, "nodes/"), "node/")
	}
	measured := func() measurement { return measurement{} }
	if len(o.Names) == 1 || !o.Output.table() {
		measured = f.meter(c, o.Prometheus, "", 0).ask(ctx)
	}
	s, err := readFleet(ctx, c, fleet.Options{Nodes: true})
	if err != nil {
		return err
	}
	m := measured()
	usages := slices.DeleteFunc(fleet.NodeUsages(s, m.Devices), func(u *fleet.NodeUsage) bool {
		return !chosen(u.Node) || len(o.Names) > 0 && !slices.Contains(o.Names, u.Name)
	})
	for _, n := range problemNotes(s.Problems, ofNodes) {
		f.say("%s", clean(n))
	}
	for _, name := range o.Names {
		if !slices.ContainsFunc(usages, func(u *fleet.NodeUsage) bool { return u.Name == name }) {
			return fmt.Errorf("no node %q with GPUs\n  list them with: kubectl ml nodes", name)
		}
	}
	if len(usages) == 0 && o.Output.table() {
		f.noNodes(o.Selector)
		return nil
	}
	if len(o.Names) == 1 {
		return f.node(usages[0], m, o.Output)
	}
	if o.SortBy != "" {
		if err := columns.Sort(usages, o.SortBy); err != nil {
			return err
		}
	}
	items := make([]item, len(usages))
	for i, u := range usages {
		items[i] = nodeItem(u)
	}
	return f.list(o.Output, items, func() views.Table { return columns.Table(usages) })
}

// node prints one node in full.
func (f *Factory) node(u *fleet.NodeUsage, m measurement, o output) error {
	if !o.table() {
		return f.one(o, nodeItem(u))
	}
	if err := f.lines(views.DescribeNode(u, m.Where != "", f.Now(), f.layout(o))); err != nil {
		return err
	}
	if m.Where == "" && m.Err != nil {
		f.say("%s", clean("Devices are not known: "+tried(m.Err)))
	}
	return nil
}

func nodeItem(u *fleet.NodeUsage) item {
	return item{kind: "NodeUsage", ref: "node/" + u.Name, name: u.Name, created: u.Created, labels: u.Labels, fact: u}
}

// noNodes says that there is nothing to list.
func (f *Factory) noNodes(selector string) {
	if selector != "" {
		f.say("No nodes with GPUs have the labels %s.\nList them all with:  kubectl ml nodes%s", clean(selector), f.where())
		return
	}
	f.say("No node of this cluster offers GPUs.\nA device plugin or a DRA driver makes them known, see:  kubectl get daemonsets -A")
}
