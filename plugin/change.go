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
		Use:     "cancel [RUN]",
		Short:   "End a run and the Jobs that it has running",
		GroupID: groupChange,
		Long: `End a run: nothing new starts, and its Jobs that run are deleted. Results of ended stages stay, and
"kubectl ml retry" starts what is missing again.`,
		Example: `  kubectl ml cancel
  kubectl ml cancel house-prices-x7k2p --reason "wrong data" --yes`,
		Args:              cobra.MaximumNArgs(1),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.runNames),
	}
	c.Flags().StringVar(&o.Reason, "reason", "", "a `text` to keep in the record")
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func addYes(c *cobra.Command, yes *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}

func runCancel(ctx context.Context, f *Factory, o cancelOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, name, err := f.named(ctx, o.Run)
	if err != nil {
		return err
	}
	r, err := run.Get(ctx, c, name)
	if err != nil {
		return err
	}
	if o.DryRun.client() {
		return f.changed(o.Output, r, "cancelled", o.DryRun)
	}
	var active []string
	for _, st := range r.Now {
		if st.State == run.Running || st.State == run.Pending {
			active = append(active, st.Name)
		}
	}
	question := fmt.Sprintf("Cancel run %s?", name)
	if len(active) > 0 {
		question = fmt.Sprintf("Cancel run %s and delete its running Jobs (%s)?", name, strings.Join(active, ", "))
	}
	if err := f.confirm(question, o.Yes || o.DryRun == "server"); err != nil {
		return err
	}
	r, err = run.Cancel(ctx, c, name, run.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC(), Reason: o.Reason}, o.DryRun.server())
	if err != nil {
		return err
	}
	if o.DryRun != "server" {
		if r, err = run.Drive(ctx, c, name, func(run.Update) {}); err != nil {
			return err
		}
	}
	if err := f.changed(o.Output, r, "cancelled", o.DryRun); err != nil {
		return err
	}
	if o.DryRun != "server" && o.Output.table() {
		f.say("Start what is missing again with:  kubectl ml retry %s", name)
	}
	return nil
}

// changed prints a run after a change.
func (f *Factory) changed(o output, r run.Run, what string, d dryRun) error {
	if !o.table() {
		return f.one(o, runItem(r))
	}
	f.print("run/%s %s%s\n", r.Name, what, d.suffix())
	return nil
}

// confirm asks a person before something is lost. Scripts say --yes.
func (f *Factory) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !f.Interactive() {
		return fmt.Errorf("%s  say --yes to do it without being asked", question)
	}
	_, _ = fmt.Fprintf(f.ErrOut, "%s [y/N] ", clean(question))
	var answer string
	_, _ = fmt.Fscanln(f.In, &answer)
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

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
		Args:              cobra.MaximumNArgs(1),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.runNames),
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
	// Whether a retry is allowed follows from the record alone, so a dry run of either kind asks the server.
	server := o.DryRun.server()
	if o.DryRun.client() {
		server = dryRun("server").server()
	}
	r, again, err := run.Retry(ctx, c, name, o.From, server)
	if err != nil {
		return err
	}
	if o.NoWait || server != nil {
		return f.changed(o.Output, r, "starts again: "+strings.Join(again, ", "), o.DryRun)
	}
	if o.Output.table() {
		f.print("run/%s starts again: %s\n", name, strings.Join(again, ", "))
	}
	return exitZero(f.follow(ctx, c, name, followOptions{Drive: true, Output: o.Output}), o.ExitZero)
}

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
		Use:     "resume [RUN]",
		Short:   "Take a run forward that was left, or let it pass a gate",
		GroupID: groupRun,
		Long: `Take a run forward from where it stands: nothing that was started is started twice, whoever else drives the run.

--approve lets the run pass the gates of a stage, whether they were breached or ask for approval; who did so and why
is kept in the record.`,
		Example: `  kubectl ml resume
  kubectl ml resume house-prices-x7k2p --approve validate --reason "known outlier in the test set"`,
		Args:              cobra.MaximumNArgs(1),
		RunE:              func(c *cobra.Command, args []string) error { o.Run = argRun(args); return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.runNames),
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
	c, name, err := f.named(ctx, o.Run)
	if err != nil {
		return err
	}
	if o.Approve != "" {
		server := o.DryRun.server()
		if o.DryRun.client() {
			server = dryRun("server").server()
		}
		mark := run.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC(), Reason: o.Reason}
		r, err := run.Approve(ctx, c, name, o.Approve, mark, server)
		if err != nil {
			return err
		}
		if server != nil {
			return f.changed(o.Output, r, "stage "+o.Approve+" approved", o.DryRun)
		}
		if o.Output.table() {
			f.print("run/%s stage %s approved\n", name, o.Approve)
		}
	}
	if o.DryRun.client() || o.DryRun == "server" {
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
		return f.detached(ctx, c, r.Name, o.Output)
	}
	return exitZero(f.follow(ctx, c, name, followOptions{Drive: true, Output: o.Output}), o.ExitZero)
}

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
		Args:              cobra.MinimumNArgs(1),
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
	// A dry run of either kind has to read what there is; the server then stores nothing.
	var server []string
	if o.DryRun.client() || o.DryRun == "server" {
		server = dryRun("server").server()
	}
	question := fmt.Sprintf("Delete %s for good, with Jobs, logs and results?", strings.Join(o.Names, ", "))
	if err := f.confirm(question, o.Yes || server != nil); err != nil {
		return err
	}
	said := func(ch run.Change) { f.print("%s %s%s\n", ch.Object, ch.Done, o.DryRun.suffix()) }
	for _, arg := range o.Names {
		if pipe, ok := strings.CutPrefix(arg, "pipeline/"); ok {
			if err := run.Unapply(ctx, c, pipe, server, said); err != nil {
				return err
			}
			continue
		}
		name, err := run.Find(ctx, c, arg)
		if err != nil {
			return err
		}
		gone, err := run.Delete(ctx, c, name, server)
		for _, g := range gone {
			said(run.Change{Object: g, Done: "deleted"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
