package plugin

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type runsOptions struct {
	Pipeline, Selector string
	All                bool
	Output             output
}

func newRunsCmd(f *Factory, do func(context.Context, *Factory, runsOptions) error) *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:     "runs [PIPELINE]",
		Aliases: []string{"list"},
		Short:   "List the runs of pipelines, newest first",
		GroupID: groupSee,
		Example: `  kubectl ml runs
  kubectl ml runs house-prices -o wide
  kubectl ml runs -A -l kubectl-ml.dev/state=Failed
  kubectl ml runs -o jsonpath='{.items[0].metrics.rmse}'`,
		Args: atMostOne("PIPELINE"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Pipeline = args[0]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.pipelineNames),
	}
	c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "list the runs of all namespaces")
	c.Flags().StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as kubectl-ml.dev/state=Failed")
	o.Output.add(c, true)
	return c
}

func runRuns(ctx context.Context, f *Factory, o runsOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	runs, err := run.List(ctx, c, run.ListOptions{AllNamespaces: o.All, Selector: o.Selector, Pipeline: o.Pipeline})
	if err != nil {
		return err
	}
	if len(runs) == 0 && o.Output.table() {
		return f.nothing(ctx, c, "runs", o.All)
	}
	items := make([]item, len(runs))
	for i, r := range runs {
		items[i] = item{kind: "Run", name: r.Name, namespace: r.Namespace, created: r.Created, labels: r.Labels, fact: r}
	}
	return f.list(o.Output, items, func() views.Table { return views.Runs(runs, o.All, f.Now()) })
}
