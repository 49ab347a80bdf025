package plugin

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelLineageOptions struct {
	Ref    string
	Output output
}

func newModelLineageCmd(f *Factory, do func(context.Context, *Factory, modelLineageOptions) error) *cobra.Command {
	var o modelLineageOptions
	c := &cobra.Command{
		Use:   "lineage VERSION",
		Short: "Show what a version was made of, and what became of it",
		Long: `Show a version between what it was made of and what became of it, as a tree: the run, stage and Job that made it, data,
code, image and parent versions with theirs; then the versions that name it as a parent, and the workloads that serve it
or did, by the history.

STATE tells whether an object is still in the cluster: present, gone (a Job expires, a record is deleted), or replaced,
when what has its name now is another object, by its UID. What the version knows of it stays.

` + refHelp,
		Example: `  kubectl ml model lineage house-prices:7
  kubectl ml model lineage house-prices@production -o json`,
		Args:              exactlyOne("VERSION"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	o.Output.add(c, true)
	return c
}

func runModelLineage(ctx context.Context, f *Factory, o modelLineageOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, v, err := f.resolve(ctx, o.Ref)
	if err != nil {
		return err
	}
	l, err := registry.Trace(ctx, c, v)
	if err != nil {
		return err
	}
	if !o.Output.table() {
		return f.one(o.Output, versionItem(v, "ModelLineage", l))
	}
	if err := f.lines(views.Lineage(l, f.Now(), f.layout(o.Output))); err != nil {
		return err
	}
	f.doubt(v.Model, l.Doubts)
	return nil
}

// doubt says why something may not be all, or not be so.
func (f *Factory) doubt(model string, doubts []string) {
	for _, d := range doubts {
		f.say("warning: %s: %s", clean(model), clean(d))
	}
}
