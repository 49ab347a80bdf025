package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// newRolloutCmd groups what is done with a rollout.
func newRolloutCmd(f *Factory) *cobra.Command {
	c := &cobra.Command{
		Use:     "rollout VERB",
		Short:   "See, promote, abort and undo rollouts of models",
		GroupID: groupModel,
		Long: `A rollout takes what serves a model from one version to another. "kubectl ml deploy" begins one; its name is that of the
Deployment. Nothing in the cluster drives it: an attached deploy does, or resume, or the Job that --detach makes. Left
alone it stays as it is, and whoever types resume goes on.`,
		Example: `  kubectl ml rollout list
  kubectl ml rollout status house-prices -w
  kubectl ml rollout promote house-prices
  kubectl ml rollout undo house-prices --to-version 6`,
		Args:                       onlyVerbs,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		newRolloutListCmd(f, runRolloutList), newRolloutStatusCmd(f, runRolloutStatus), newRolloutResumeCmd(f, runRolloutResume),
		newRolloutPromoteCmd(f, runRolloutPromote), newRolloutAbortCmd(f, runRolloutAbort), newRolloutUndoCmd(f, runRolloutUndo),
	)
	return c
}

func (f *Factory) rolloutNames(ctx context.Context, c *client.Client) ([]string, error) {
	return serving.Names(ctx, c)
}

// rolloutName takes NAME, deployment/NAME and rollout/NAME.
func rolloutName(arg string) string {
	for _, prefix := range []string{"rollout/", "deployment/", "deployment.apps/", "deploy/"} {
		arg = strings.TrimPrefix(arg, prefix)
	}
	return arg
}

func rolloutItem(r serving.Rollout) item {
	return item{kind: "Rollout", name: r.Name, namespace: r.Namespace, created: r.Created, labels: r.Labels, fact: r}
}

// rolloutChanged prints a rollout after a change.
func (f *Factory) rolloutChanged(o output, r serving.Rollout, what string, d dryRun) error {
	if !o.table() {
		return f.one(o, rolloutItem(r))
	}
	f.print("deployment/%s %s%s\n", r.Name, what, d.suffix())
	return nil
}

type rolloutListOptions struct {
	Selector string
	All      bool
	Output   output
}

func newRolloutListCmd(f *Factory, do func(context.Context, *Factory, rolloutListOptions) error) *cobra.Command {
	var o rolloutListOptions
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List what serves models, and its rollouts",
		Example: `  kubectl ml rollout list
  kubectl ml rollout list -A -o wide
  kubectl ml rollout list -l kubectl-ml.dev/model=house-prices -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "list the rollouts of all namespaces")
	c.Flags().StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as kubectl-ml.dev/model=house-prices")
	o.Output.add(c, true)
	return c
}

// newRolloutsCmd is rollout list as the lists of runs and jobs are called.
func newRolloutsCmd(f *Factory, do func(context.Context, *Factory, rolloutListOptions) error) *cobra.Command {
	c := newRolloutListCmd(f, do)
	c.Use, c.Aliases, c.GroupID = "rollouts", nil, groupModel
	c.Example = `  kubectl ml rollouts
  kubectl ml rollouts -A -o wide`
	return c
}

func runRolloutList(ctx context.Context, f *Factory, o rolloutListOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	list, err := serving.List(ctx, c, o.All, o.Selector)
	if err != nil {
		return err
	}
	if len(list) == 0 && o.Output.table() {
		return f.nothing(ctx, c, "rollouts", o.All)
	}
	items := make([]item, len(list))
	for i, r := range list {
		items[i] = rolloutItem(r)
	}
	return f.list(o.Output, items, func() views.Table { return views.Rollouts(list, o.All, f.Now()) })
}

type rolloutStatusOptions struct {
	Name   string
	Watch  bool
	Output output
}

func newRolloutStatusCmd(f *Factory, do func(context.Context, *Factory, rolloutStatusOptions) error) *cobra.Command {
	var o rolloutStatusOptions
	c := &cobra.Command{
		Use:   "status NAME",
		Short: "Show where a rollout stands",
		Long: `Show a rollout with its sides and gates. It changes nothing; with -w it is watched until it ends or needs a person, and
the exit code tells how it ended (kubectl ml help exit-codes).`,
		Example: `  kubectl ml rollout status house-prices
  kubectl ml rollout status house-prices -w
  kubectl ml rollout status house-prices -o jsonpath='{.phase}'`,
		Args: exactlyOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = rolloutName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.rolloutNames),
	}
	c.Flags().BoolVarP(&o.Watch, "watch", "w", false, "watch until it ends or needs a person")
	o.Output.add(c, true)
	return c
}

func runRolloutStatus(ctx context.Context, f *Factory, o rolloutStatusOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if o.Watch {
		return f.followRollout(ctx, c, o.Name, serving.Watch, o.Output)
	}
	r, err := serving.Get(ctx, c, o.Name)
	if err != nil {
		return err
	}
	if !o.Output.table() {
		return f.one(o.Output, rolloutItem(r))
	}
	return f.lines(views.Rollout(r, f.Now(), f.layout(o.Output)))
}

type rolloutResumeOptions struct {
	Name     string
	Detach   bool
	ExitZero bool
	Driver   driverOptions
	Output   output
}

func newRolloutResumeCmd(f *Factory, do func(context.Context, *Factory, rolloutResumeOptions) error) *cobra.Command {
	var o rolloutResumeOptions
	c := &cobra.Command{
		Use:   "resume NAME",
		Short: "Take a rollout forward that was left",
		Long:  `Drive a rollout until it ends or needs a person. Any number of clients may do so at the same time.`,
		Example: `  kubectl ml rollout resume house-prices
  kubectl ml rollout resume house-prices --detach`,
		Args: exactlyOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = rolloutName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.rolloutNames),
	}
	c.Flags().BoolVar(&o.Detach, "detach", false, "return at once; a Job in the cluster takes the rollout forward")
	c.Flags().BoolVar(&o.ExitZero, "exit-zero", false, "exit with 0 however the rollout ends")
	o.Driver.add(c)
	o.Output.add(c, false)
	return c
}

func runRolloutResume(ctx context.Context, f *Factory, o rolloutResumeOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if !o.Detach {
		return exitZero(f.followRollout(ctx, c, o.Name, serving.Drive, o.Output), o.ExitZero)
	}
	r, err := serving.Get(ctx, c, o.Name)
	if err != nil {
		return err
	}
	if r.Ended {
		return fmt.Errorf("nothing is rolled out on %s: it is %s", r.Name, r.Phase)
	}
	if err := run.DetachRollout(ctx, c, r.Name, o.Driver.driver(f)); err != nil {
		return err
	}
	return f.rolloutChanged(o.Output, r, "resumed by a Job in the cluster", "none")
}

type rolloutPromoteOptions struct {
	Name    string
	Full    bool
	Comment string
	Detach  bool
	NoWait  bool
	Driver  driverOptions
	DryRun  dryRun
	Output  output
}

func newRolloutPromoteCmd(f *Factory, do func(context.Context, *Factory, rolloutPromoteOptions) error) *cobra.Command {
	var o rolloutPromoteOptions
	c := &cobra.Command{
		Use:   "promote NAME",
		Short: "Let a rollout pass its pause, and take it forward",
		Long: `Let a rollout pass the pause of its step, whether it waits for a person or for a time; --full skips all steps that are
left, with their gates. Of a bluegreen rollout that has switched, the old side is scaled to 0.

Then the rollout is driven on, as by resume; --no-wait only notes the decision, for who drives it elsewhere.`,
		Example: `  kubectl ml rollout promote house-prices
  kubectl ml rollout promote house-prices --full --comment "hotfix"`,
		Args: exactlyOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = rolloutName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.rolloutNames),
	}
	c.Flags().BoolVar(&o.Full, "full", false, "skip the steps that are left")
	c.Flags().StringVar(&o.Comment, "comment", "", "a `text` for the model's history")
	c.Flags().BoolVar(&o.NoWait, "no-wait", false, "return at once, and leave the driving to others")
	c.Flags().BoolVar(&o.Detach, "detach", false, "return at once; a Job in the cluster takes the rollout forward")
	o.Driver.add(c)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runRolloutPromote(ctx context.Context, f *Factory, o rolloutPromoteOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	r, err := serving.Promote(ctx, c, o.Name, o.Full, f.mark(ctx, c, o.Comment), o.DryRun.asked())
	if err != nil {
		return err
	}
	return f.goOnRollout(ctx, c, r, "promoted", o.NoWait, o.Detach, o.Driver, o.DryRun, o.Output)
}

// mark is who decides, and why.
func (f *Factory) mark(ctx context.Context, c *client.Client, comment string) registry.Mark {
	return registry.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC(), Comment: comment}
}

// goOnRollout says what was decided and drives the rollout on.
func (f *Factory) goOnRollout(ctx context.Context, c *client.Client, r serving.Rollout, done string, noWait, detach bool, driver driverOptions, d dryRun, o output) error {
	if d.dry() || noWait {
		return f.rolloutChanged(o, r, done, d)
	}
	if o.table() {
		f.print("deployment/%s %s\n", r.Name, done)
	}
	if detach {
		if err := run.DetachRollout(ctx, c, r.Name, driver.driver(f)); err != nil || o.table() {
			return err
		}
		return f.one(o, rolloutItem(r))
	}
	return f.followRollout(ctx, c, r.Name, serving.Drive, o)
}

type rolloutAbortOptions struct {
	Name, Comment string
	Yes, NoWait   bool
	DryRun        dryRun
	Output        output
}

func newRolloutAbortCmd(f *Factory, do func(context.Context, *Factory, rolloutAbortOptions) error) *cobra.Command {
	var o rolloutAbortOptions
	c := &cobra.Command{
		Use:   "abort NAME",
		Short: "Take a rollout back: the version before serves alone again",
		Long: `End a rollout that goes on. The stable side is at full size with the spec it had before anything else is taken away, and
traffic goes to it at once. One that has ended is taken back with: kubectl ml rollout undo.`,
		Example: `  kubectl ml rollout abort house-prices --comment "p95 doubled"
  kubectl ml rollout abort house-prices --dry-run`,
		Args: exactlyOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = rolloutName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.rolloutNames),
	}
	c.Flags().StringVar(&o.Comment, "comment", "", "a `text` for the model's history")
	c.Flags().BoolVar(&o.NoWait, "no-wait", false, "return at once, and leave the driving to others")
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runRolloutAbort(ctx context.Context, f *Factory, o rolloutAbortOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	mark := f.mark(ctx, c, o.Comment)
	r, err := serving.Abort(ctx, c, o.Name, mark, o.DryRun.ahead())
	if err != nil {
		return err
	}
	if !o.DryRun.dry() {
		if err := f.confirm(fmt.Sprintf("Abort the rollout of %s on %s, and remove its pods?", versionRef(&r), r.Name), o.Yes); err != nil {
			return err
		}
		if r, err = serving.Abort(ctx, c, o.Name, mark, nil); err != nil {
			return err
		}
	}
	err = f.goOnRollout(ctx, c, r, "rollout of "+versionRef(&r)+" aborted", o.NoWait, false, driverOptions{}, o.DryRun, o.Output)
	var code *CodeError
	if errors.As(err, &code) && code.Code == ExitCancelled {
		return nil // that was the wish
	}
	return err
}

// ahead asks whether a change is possible before a person is asked for it.
func (d dryRun) ahead() []string { return dryRun("server").asked() }

type rolloutUndoOptions struct {
	Name, Comment string
	To            int
	Yes, NoWait   bool
	DryRun        dryRun
	Output        output
}

func newRolloutUndoCmd(f *Factory, do func(context.Context, *Factory, rolloutUndoOptions) error) *cobra.Command {
	var o rolloutUndoOptions
	c := &cobra.Command{
		Use:   "undo NAME",
		Short: "Go back to the version before the last rollout, or to an earlier one",
		Long: `Go back after a rollout has ended: to the pods of the version before, or of --to-version, exactly as they were. A
bluegreen rollout switches back at once while the old side runs; otherwise pods are replaced one after the other.
Aliases do not move: that is "kubectl ml model rollback".`,
		Example: `  kubectl ml rollout undo house-prices
  kubectl ml rollout undo house-prices --to-version 5 --yes`,
		Args: exactlyOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = rolloutName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.rolloutNames),
	}
	c.Flags().IntVar(&o.To, "to-version", 0, "`version` to go back to (default: the one before)")
	c.Flags().StringVar(&o.Comment, "comment", "", "a `text` for the model's history")
	c.Flags().BoolVar(&o.NoWait, "no-wait", false, "return at once, and leave the driving to others")
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runRolloutUndo(ctx context.Context, f *Factory, o rolloutUndoOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	if o.To < 0 {
		return fmt.Errorf("--to-version %d: versions count from 1", o.To)
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	mark := f.mark(ctx, c, o.Comment)
	r, err := serving.Undo(ctx, c, o.Name, o.To, mark, o.DryRun.ahead())
	if err != nil {
		return err
	}
	if !o.DryRun.dry() {
		if err := f.confirm(fmt.Sprintf("Take %s back from version %d to %d?", r.Name, r.Stable, r.Version), o.Yes); err != nil {
			return err
		}
		if r, err = serving.Undo(ctx, c, o.Name, o.To, mark, nil); err != nil {
			return err
		}
	}
	left := r.Stable
	err = f.goOnRollout(ctx, c, r, "taken back to "+versionRef(&r), o.NoWait, false, driverOptions{}, o.DryRun, o.Output)
	if err == nil && !o.DryRun.dry() {
		f.sayStillNamed(ctx, c, r.Model, left, r.Version)
	}
	return err
}

// sayStillNamed reminds of aliases: undo changes what serves, not what is called production.
func (f *Factory) sayStillNamed(ctx context.Context, c *client.Client, model string, left, now int) {
	head, err := registry.GetHead(ctx, c, model)
	if err != nil {
		return // the model may not be in the registry any more, and undo has succeeded
	}
	for _, alias := range head.AliasesOf(left) {
		f.say("%s@%s still names version %d. Move it with:  kubectl ml model alias %s:%d %s%s", model, alias, left, model, now, alias, f.where())
	}
}
