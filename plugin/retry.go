package plugin

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

type retryOptions struct {
	Run, From string
	NoWait    bool
	ExitZero  bool
	DryRun    dryRun
	Output    output
}

func newRetryCmd(f *Factory, do func(context.Context, *Factory, retryOptions) error) *cobra.Command {
	var o retryOptions
	c := &cobra.Command{
		Use:     "retry [RUN]",
		Short:   "Start the stages of a run again that did not succeed",
		GroupID: groupRun,
		Long: `Start again what did not succeed in a run, or everything from a named stage on. The code and the parameters are
those that the run was started with; to train with changed code, start a new run with "kubectl ml run --from STAGE".
Jobs of earlier attempts stay for their logs.`,
		Example: `  kubectl ml retry
  kubectl ml retry house-prices-x7k2p --from train`,
		Args:              atMostOne("RUN"),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRuns,
	}
	c.Flags().StringVar(&o.From, "from", "", "start this `stage` again and everything after it, even what succeeded")
	c.Flags().BoolVar(&o.NoWait, "no-wait", false, "only mark the stages; a driver or `kubectl ml resume` starts them")
	c.Flags().BoolVar(&o.ExitZero, "exit-zero", false, "exit with 0 however the run ends")
	_ = c.RegisterFlagCompletionFunc("from", f.completeRunStages)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runRetry(ctx context.Context, f *Factory, o retryOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, name, err := f.named(ctx, o.Run)
	if err != nil {
		return err
	}
	r, again, err := run.Retry(ctx, c, name, o.From, o.DryRun.asked())
	if err != nil {
		return err
	}
	if o.NoWait || o.DryRun.dry() {
		err := f.changed(o.Output, r, "starts again: "+strings.Join(again, ", "), o.DryRun)
		if err == nil && o.Output.table() && !o.DryRun.dry() && !r.Detached {
			f.say("Take it forward with:  kubectl ml resume %s%s", name, f.where())
		}
		return err
	}
	if o.Output.table() {
		f.print("run/%s starts again: %s\n", name, strings.Join(again, ", "))
	}
	return exitZero(f.follow(ctx, c, name, followOptions{Drive: true, Output: o.Output}), o.ExitZero)
}
