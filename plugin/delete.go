package plugin

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

type deleteOptions struct {
	Names  []string
	Yes    bool
	DryRun dryRun
}

func newDeleteCmd(f *Factory, do func(context.Context, *Factory, deleteOptions) error) *cobra.Command {
	var o deleteOptions
	c := &cobra.Command{
		Use:     "delete (RUN | pipeline/NAME)...",
		Short:   "Delete runs, or applied pipelines with their schedules",
		GroupID: groupChange,
		Long: `Delete runs with their Jobs, pods and logs; or, as pipeline/NAME, an applied pipeline with its schedules, which
leaves its runs. Workspace claims and Deployments stay: they hold data and serve.`,
		Example: `  kubectl ml delete house-prices-x7k2p
  kubectl ml delete pipeline/house-prices --yes
  kubectl ml runs -l kubectl-ml.dev/state=Failed -o name | xargs kubectl ml delete --yes`,
		Args:              atLeastOne("RUN or pipeline/NAME"),
		RunE:              func(c *cobra.Command, args []string) error { o.Names = args; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeMany(f.runAndPipelineNames),
	}
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	return c
}

func runDelete(ctx context.Context, f *Factory, o deleteOptions) error {
	if err := o.DryRun.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	targets, err := findTargets(ctx, c, o.Names)
	if err != nil {
		return err
	}
	if err := f.confirm(deleteQuestion(targets), o.Yes || o.DryRun.dry()); err != nil {
		return err
	}
	said := func(ch run.Change) { f.print("%s %s%s\n", ch.Object, ch.Done, o.DryRun.suffix()) }
	for _, t := range targets {
		if t.pipeline != "" {
			if err := run.Unapply(ctx, c, t.pipeline, o.DryRun.asked(), said); err != nil {
				return err
			}
			continue
		}
		gone, err := run.Delete(ctx, c, t.run, o.DryRun.asked())
		for _, g := range gone {
			said(run.Change{Object: g, Done: "deleted"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// target is what delete removes: a run or an applied pipeline.
type target struct{ run, pipeline string }

// findTargets looks that all are there before the first goes.
func findTargets(ctx context.Context, c *client.Client, args []string) ([]target, error) {
	var out []target
	for _, arg := range args {
		t := target{}
		if name, ok := strings.CutPrefix(arg, "pipeline/"); ok {
			t.pipeline = name
			if _, err := run.ReadApplied(ctx, c, name); apierrors.IsNotFound(err) {
				return nil, err
			}
		} else {
			name, err := run.Find(ctx, c, arg)
			if err != nil {
				return nil, err
			}
			if _, err := run.Get(ctx, c, name); apierrors.IsNotFound(err) {
				return nil, err
			}
			t.run = name
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out, nil
}

func deleteQuestion(targets []target) string {
	var runs, pipelines []string
	for _, t := range targets {
		if t.run != "" {
			runs = append(runs, t.run)
		} else {
			pipelines = append(pipelines, t.pipeline)
		}
	}
	var parts []string
	if len(runs) > 0 {
		parts = append(parts, "run "+strings.Join(runs, ", ")+" with its Jobs, logs and results")
	}
	if len(pipelines) > 0 {
		parts = append(parts, "pipeline "+strings.Join(pipelines, ", ")+" with its schedules")
	}
	return "Delete " + strings.Join(parts, ", and ") + " for good?"
}
