package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

type resumeOptions struct {
	Run, Approve, Reason string
	Detach               bool
	Driver               driverOptions
	ExitZero             bool
	DryRun               dryRun
	Output               output
}

func newResumeCmd(f *Factory, do func(context.Context, *Factory, resumeOptions) error) *cobra.Command {
	var o resumeOptions
	c := &cobra.Command{
		Use:     "resume [RUN | NAME]",
		Short:   "Take a run forward that was left, let it pass a gate, or resume a suspended job",
		GroupID: groupRun,
		Long: `Take a run forward from where it stands: nothing that was started is started twice, whoever else drives the run.

--approve lets the run pass the gates of a stage, whether they were breached or ask for approval; who did so and why
is kept in the record.

NAME is a suspended training job, as "kubectl ml jobs" shows it, or KIND/NAME: it goes on.`,
		Example: `  kubectl ml resume
  kubectl ml resume house-prices-x7k2p --approve validate --reason "known outlier in the test set"
  kubectl ml resume job/train-llama`,
		Args:              atMostOne("RUN"),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.runAndWorkNames),
	}
	c.Flags().StringVar(&o.Approve, "approve", "", "let the run pass the gates of this `stage`")
	c.Flags().StringVar(&o.Reason, "reason", "", "why the gates may be passed: a `text` to keep in the record")
	c.Flags().BoolVar(&o.Detach, "detach", false, "return at once; a Job in the cluster takes the run forward")
	c.Flags().BoolVar(&o.ExitZero, "exit-zero", false, "exit with 0 however the run ends")
	_ = c.RegisterFlagCompletionFunc("approve", f.completeRunStages)
	o.Driver.add(c)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runResume(ctx context.Context, f *Factory, o resumeOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	if o.Reason != "" && o.Approve == "" {
		return errors.New("--reason belongs to --approve STAGE")
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	name, w, err := f.runOrWork(ctx, c, o.Run)
	switch {
	case err != nil:
		return err
	case w != nil && (o.Approve != "" || o.Detach):
		return fmt.Errorf("--approve and --detach are for runs, and %s is none", w.KindName())
	case w != nil:
		return f.setSuspended(ctx, c, w, false, o.DryRun, o.Output)
	}
	if o.Approve != "" {
		mark := run.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC(), Reason: o.Reason}
		r, err := run.Approve(ctx, c, name, o.Approve, mark, o.DryRun.asked())
		if err != nil {
			return err
		}
		if o.DryRun.dry() {
			return f.changed(o.Output, r, "stage "+o.Approve+" approved", o.DryRun)
		}
		if o.Output.table() {
			f.print("run/%s stage %s approved\n", name, o.Approve)
		}
	}
	if o.DryRun.dry() {
		r, err := run.Get(ctx, c, name)
		if err != nil {
			return err
		}
		return f.changed(o.Output, r, "resumed", o.DryRun)
	}
	if o.Detach {
		r, err := run.Detach(ctx, c, name, o.Driver.driver(f))
		if err != nil {
			return err
		}
		return f.detached(ctx, c, r.Name, "resumed", o.Output)
	}
	return exitZero(f.follow(ctx, c, name, followOptions{Drive: true, Output: o.Output}), o.ExitZero)
}
