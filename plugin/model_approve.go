package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

type judgeOptions struct {
	Ref    string
	Change changeOptions
}

func newModelApproveCmd(f *Factory, do func(context.Context, *Factory, judgeOptions) error) *cobra.Command {
	return newModelJudgeCmd(f, &cobra.Command{
		Use:   "approve MODEL:VERSION",
		Short: "Approve a version for production",
		Long: `Approve a version. Where the model requires approval, only approved versions can be promoted to production. The last
judgement counts: approving what was rejected takes the rejection back.`,
		Example: `  kubectl ml model approve house-prices:7 --comment "looked at the errors by region"
  kubectl ml model annotate house-prices --require-approval`,
	}, do)
}

func newModelRejectCmd(f *Factory, do func(context.Context, *Factory, judgeOptions) error) *cobra.Command {
	return newModelJudgeCmd(f, &cobra.Command{
		Use:   "reject MODEL:VERSION",
		Short: "Reject a version, so that it cannot be promoted to production",
		Long: `Reject a version: it cannot be promoted to production until somebody approves it. Aliases that point at it stay where
they are; "kubectl ml model rollback" moves them.`,
		Example: `  kubectl ml model reject house-prices:7 --comment "leaks the target"`,
	}, do)
}

func newModelJudgeCmd(f *Factory, c *cobra.Command, do func(context.Context, *Factory, judgeOptions) error) *cobra.Command {
	var o judgeOptions
	c.Args = exactlyOne("MODEL:VERSION")
	c.RunE = func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) }
	c.ValidArgsFunction = f.completeRefs
	o.Change.add(c)
	return c
}

func runModelApprove(ctx context.Context, f *Factory, o judgeOptions) error {
	return f.judge(ctx, o, "approved")
}

func runModelReject(ctx context.Context, f *Factory, o judgeOptions) error {
	return f.judge(ctx, o, "rejected")
}

func (f *Factory) judge(ctx context.Context, o judgeOptions, state string) error {
	c, ref, err := o.Change.begin(f, o.Ref)
	if err != nil {
		return err
	}
	if ref.Version == 0 && ref.Alias == "" {
		return fmt.Errorf("which version of %s? a judgement is of one, such as %s:3 or %s@latest", ref.Model, ref.Model, ref.Model)
	}
	v, err := registry.Resolve(ctx, c, ref)
	if err != nil {
		return err
	}
	e, err := registry.Judge(ctx, c, v.Model, v.Version, state, o.Change.mark(ctx, f, c), o.Change.DryRun.asked())
	if err != nil {
		return err
	}
	if err := o.Change.changed(f, c, v.Model, e); err != nil {
		return err
	}
	if state == "approved" {
		o.Change.next(f, "Promote it with", "model promote %s:%d", v.Model, v.Version)
		return nil
	}
	for _, alias := range v.Aliases {
		o.Change.next(f, "It is still "+clean(alias)+". Roll that back with", "model rollback %s --alias %s", v.Model, alias)
	}
	return nil
}
