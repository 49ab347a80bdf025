package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type statusOptions struct {
	Run    string
	Watch  bool
	Output output
}

func newStatusCmd(f *Factory, do func(context.Context, *Factory, statusOptions) error) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:     "status [RUN]",
		Short:   "Show a run: its stages, results and gates",
		GroupID: groupSee,
		Long: `Show how a run stands: each stage with its state, GPUs, time, results and gates, and why it waits or failed.

RUN is a name from "kubectl ml runs", @latest (the default), or PIPELINE@latest. Without -w the exit code is 0 when
the run could be shown; with -w it tells how the run ended, as for "kubectl ml run".`,
		Example: `  kubectl ml status
  kubectl ml status house-prices-x7k2p -w
  kubectl ml status house-prices@latest -o jsonpath='{.state}'`,
		Args:              atMostOne("RUN"),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRuns,
	}
	c.Flags().BoolVarP(&o.Watch, "watch", "w", false, "follow the run until it ends, and exit with its code")
	o.Output.add(c, true)
	return c
}

// argRun is the run that a verb is about: the newest when none is named.
func argRun(args []string) string {
	if len(args) == 0 {
		return "@latest"
	}
	return args[0]
}

// named connects and finds the run that a person means.
func (f *Factory) named(ctx context.Context, arg string) (*client.Client, string, error) {
	c, err := f.Client()
	if err != nil {
		return nil, "", err
	}
	name, err := run.Find(ctx, c, arg)
	return c, name, err
}

func runStatus(ctx context.Context, f *Factory, o statusOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, name, err := f.named(ctx, o.Run)
	if err != nil {
		return err
	}
	if o.Watch {
		return f.follow(ctx, c, name, followOptions{Output: o.Output})
	}
	r, err := run.Settle(ctx, c, name)
	if err != nil {
		return err
	}
	if !o.Output.table() {
		return f.one(o.Output, runItem(r))
	}
	return f.describe(r, o.Output)
}

// describe prints a run for people.
func (f *Factory) describe(r run.Run, o output) error {
	lines := views.RunHead(r, f.Now())
	lo := f.layout(o)
	lines = append(lines, views.RunTree(r, nil, f.Now(), views.TreeOptions{LineOptions: lo})...)
	if gates := views.Gates(r); len(gates.Rows) > 0 {
		lines = append(lines, views.Line{})
		lines = append(lines, gates.Lines(lo)...)
	}
	if err := f.lines(lines); err != nil {
		return err
	}
	for _, h := range hints(r, f.where()) {
		f.say("%s", h)
	}
	if r.End == nil && !r.Detached && r.State != run.AwaitingApproval {
		f.say("If no client drives it any more, continue with:  kubectl ml resume %s%s", r.Name, f.where())
	}
	return nil
}

type waitOptions struct {
	Run     string
	Timeout time.Duration
	Output  output
}

func newWaitCmd(f *Factory, do func(context.Context, *Factory, waitOptions) error) *cobra.Command {
	var o waitOptions
	c := &cobra.Command{
		Use:     "wait [RUN]",
		Short:   "Wait until a run ends, and exit with its code",
		GroupID: groupSee,
		Long: `Wait until a run ends or needs a person, print its verdict, and exit with its code.

Waiting starts nothing: a run that no client and no driver takes forward does not end. --timeout ends the waiting,
not the run.`,
		Example: `  kubectl ml wait
  kubectl ml wait house-prices-x7k2p --timeout 2h -o json`,
		Args:              atMostOne("RUN"),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRuns,
	}
	c.Flags().DurationVar(&o.Timeout, "timeout", 0, "give up waiting after this `time`, such as 90m (0: never)")
	o.Output.add(c, false)
	return c
}

func runWait(ctx context.Context, f *Factory, o waitOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	if o.Timeout < 0 {
		return errors.New("--timeout is negative")
	}
	c, name, err := f.named(ctx, o.Run)
	if err != nil {
		return err
	}
	return f.follow(ctx, c, name, followOptions{Limit: o.Timeout, Output: o.Output})
}
