package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

type cancelOptions struct {
	Run, Reason string
	Yes         bool
	DryRun      dryRun
	Output      output
}

func newCancelCmd(f *Factory, do func(context.Context, *Factory, cancelOptions) error) *cobra.Command {
	var o cancelOptions
	c := &cobra.Command{
		Use:     "cancel [RUN | NAME]",
		Short:   "End a run and the Jobs that it has running, or delete a training job",
		GroupID: groupChange,
		Long: `End a run: nothing new starts, and its Jobs that run are deleted. Results of ended stages stay, and
"kubectl ml retry" starts what is missing again.

NAME is a training job that belongs to no run, as "kubectl ml jobs" shows it, or KIND/NAME: it is deleted with its pods.`,
		Example: `  kubectl ml cancel
  kubectl ml cancel house-prices-x7k2p --reason "wrong data" --yes
  kubectl ml cancel pytorchjob/bert`,
		Args:              atMostOne("RUN"),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.runAndWorkNames),
	}
	c.Flags().StringVar(&o.Reason, "reason", "", "a `text` to keep in the record")
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runCancel(ctx context.Context, f *Factory, o cancelOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	name, w, err := f.runOrWork(ctx, c, o.Run)
	switch {
	case err != nil:
		return err
	case w != nil:
		return f.cancelWork(ctx, c, w, o)
	}
	r, err := run.Get(ctx, c, name)
	if err != nil {
		return err
	}
	// A run that has ended is refused before anybody is asked.
	if r.End == nil {
		if err := f.confirm(cancelQuestion(r), o.Yes || o.DryRun.dry()); err != nil {
			return err
		}
	}
	r, err = run.Cancel(ctx, c, name, run.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC(), Reason: o.Reason}, o.DryRun.asked())
	if err != nil {
		return err
	}
	if o.DryRun.dry() {
		return f.changed(o.Output, r, "cancelled", o.DryRun)
	}
	r, err = run.Drive(ctx, c, name, func(run.Update) {})
	if err != nil {
		return fmt.Errorf("run %s is marked as cancelled, and nothing new starts, but its Jobs could not be ended: %w", name, err)
	}
	if err := f.changed(o.Output, r, "cancelled", o.DryRun); err != nil {
		return err
	}
	if o.Output.table() {
		f.say("Start what is missing again with:  kubectl ml retry %s%s", name, f.where())
	}
	return nil
}

func cancelQuestion(r run.Run) string {
	var active []string
	for _, st := range r.Now {
		if st.State == run.Running || st.State == run.Pending {
			active = append(active, st.Name)
		}
	}
	if len(active) == 0 {
		return fmt.Sprintf("Cancel run %s?", r.Name)
	}
	return fmt.Sprintf("Cancel run %s and delete the Jobs that it has running (%s)?", r.Name, strings.Join(active, ", "))
}
