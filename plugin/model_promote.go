package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

type promoteOptions struct {
	Ref, To   string
	IfCurrent int
	Yes       bool
	Change    changeOptions
}

func newModelPromoteCmd(f *Factory, do func(context.Context, *Factory, promoteOptions) error) *cobra.Command {
	var o promoteOptions
	c := &cobra.Command{
		Use:   "promote MODEL:VERSION",
		Short: "Let production point at a version",
		Long: `Let production, or the alias of --to, point at a version. What changes is shown first: the version that is there now
and how its metrics compare. A rejected or archived version is refused, and one that is not approved where the model
requires that ("kubectl ml model annotate MODEL --require-approval").

When somebody else has moved the alias since it was shown, or it is not the version of --if-current, nothing is changed
and you are told who did and how to go on. What serves does not follow by itself: "kubectl ml deploy" does that.`,
		Example: `  kubectl ml model promote house-prices:7
  kubectl ml model promote house-prices@staging --comment "two days in shadow"
  kubectl ml model promote house-prices:7 --to production-eu --if-current 6 --yes`,
		Args:              exactlyOne("MODEL:VERSION"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	c.Flags().StringVar(&o.To, "to", registry.Production, "the `alias` that moves")
	addIfCurrent(c, &o.IfCurrent)
	addYes(c, &o.Yes)
	o.Change.add(c)
	return c
}

func runModelPromote(ctx context.Context, f *Factory, o promoteOptions) error {
	c, ref, err := o.Change.begin(f, o.Ref)
	if err != nil {
		return err
	}
	if ref.Version == 0 && ref.Alias == "" {
		return fmt.Errorf("which version of %s? write for example: kubectl ml model promote %s@latest", ref.Model, ref.Model)
	}
	h, err := registry.GetHead(ctx, c, ref.Model)
	if err != nil {
		return err
	}
	v, err := registry.Resolve(ctx, c, ref)
	if err != nil {
		return err
	}
	current := h.Aliases[o.To]
	expect := expected(o.IfCurrent)
	// A conflict that is there already needs no question.
	if asks := !o.Yes && !o.Change.DryRun.dry() && (expect == nil || *expect == current); asks || o.Change.Output.table() {
		if err := f.showPromotion(ctx, c, v, current, h.Better, o.To); err != nil {
			return err
		}
		if asks {
			if err := f.confirm(fmt.Sprintf("Let %s of model %s be version %d?", o.To, v.Model, v.Version), false); err != nil {
				return err
			}
			// What was agreed to is what was shown.
			expect = &current
		}
	}
	mark := o.Change.mark(ctx, f, c)
	m := registry.Move{
		Model: v.Model, Alias: o.To, To: v.Version, IfCurrent: expect, Action: registry.Promoted, By: mark.By, Comment: mark.Comment, DryRun: o.Change.DryRun.asked(),
	}
	e, err := registry.SetAlias(ctx, c, m)
	if err != nil {
		return lost(f, err, m)
	}
	if err := o.Change.changed(f, c, v.Model, e); err != nil {
		return err
	}
	o.Change.next(f, "Serve it with", "deploy %s@%s", v.Model, o.To)
	if e.From > 0 && e.From != e.Version {
		undo := "model rollback " + v.Model
		if o.To != registry.Production {
			undo += " --alias " + o.To
		}
		o.Change.next(f, "Take it back with", "%s", undo)
	}
	return nil
}

// showPromotion shows what the alias names now against what it is to name.
func (f *Factory) showPromotion(ctx context.Context, c *client.Client, to registry.Version, current int, better map[string]registry.Direction, alias string) error {
	if current == 0 || current == to.Version {
		if current == to.Version {
			return nil
		}
		return f.compareAliased(to, nil, better, alias)
	}
	from, err := registry.Resolve(ctx, c, registry.Ref{Model: to.Model, Version: current})
	if err != nil {
		f.say("warning: version %d, which %s points at now, cannot be read: %s", current, alias, clean(err.Error()))
		return nil
	}
	return f.compareAliased(to, &from, better, alias)
}

type rollbackOptions struct {
	Model, Alias     string
	Steps, IfCurrent int
	Yes              bool
	Change           changeOptions
}

func newModelRollbackCmd(f *Factory, do func(context.Context, *Factory, rollbackOptions) error) *cobra.Command {
	var o rollbackOptions
	c := &cobra.Command{
		Use:   "rollback MODEL",
		Short: "Let production point at the version before",
		Long: `Let production, or the alias of --alias, point at the version that it named before, by the model's history. --steps 2
goes one further. Versions that were archived, rejected or deleted since are passed over.

What serves does not follow by itself: "kubectl ml rollout undo NAME" brings back the pods, and this the name.`,
		Example: `  kubectl ml model rollback house-prices
  kubectl ml model rollback house-prices --alias staging --steps 2 --yes
  kubectl ml model rollback house-prices --if-current 7 --yes --comment "p95 doubled"`,
		Args:              exactlyOne("MODEL"),
		RunE:              func(c *cobra.Command, args []string) error { o.Model = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeModels,
	}
	c.Flags().StringVar(&o.Alias, "alias", registry.Production, "the `alias` that moves")
	c.Flags().IntVar(&o.Steps, "steps", 1, "how `many` versions back")
	addIfCurrent(c, &o.IfCurrent)
	addYes(c, &o.Yes)
	o.Change.add(c)
	return c
}

func runModelRollback(ctx context.Context, f *Factory, o rollbackOptions) error {
	c, ref, err := o.Change.begin(f, o.Model)
	switch {
	case err != nil:
		return err
	case ref.Version > 0:
		return fmt.Errorf("rollback goes back by the history; to go to a certain version: kubectl ml model promote %s --to %s", ref, o.Alias)
	case ref.Alias != "":
		o.Alias = ref.Alias
	}
	if o.Steps < 1 {
		return fmt.Errorf("--steps %d: a rollback goes at least one step back", o.Steps)
	}
	mark, expect := o.Change.mark(ctx, f, c), expected(o.IfCurrent)
	m := registry.Move{Model: ref.Model, Alias: o.Alias, Action: registry.RolledBack}
	if !o.Yes && !o.Change.DryRun.dry() {
		would, err := registry.Rollback(ctx, c, ref.Model, o.Alias, o.Steps, expect, mark, dryRun("server").server())
		if err != nil {
			return lost(f, err, m)
		}
		if v, err := registry.Resolve(ctx, c, registry.Ref{Model: ref.Model, Version: would.Version}); err == nil {
			h, err := registry.GetHead(ctx, c, ref.Model)
			if err != nil {
				return err
			}
			if err := f.showPromotion(ctx, c, v, would.From, h.Better, o.Alias); err != nil {
				return err
			}
		}
		if err := f.confirm(fmt.Sprintf("Roll %s of model %s back from version %d to %d?", o.Alias, ref.Model, would.From, would.Version), false); err != nil {
			return err
		}
		expect = &would.From
	}
	e, err := registry.Rollback(ctx, c, ref.Model, o.Alias, o.Steps, expect, mark, o.Change.DryRun.asked())
	if err != nil {
		return lost(f, err, m)
	}
	if err := o.Change.changed(f, c, ref.Model, e); err != nil {
		return err
	}
	o.Change.next(f, "Serve it with", "deploy %s@%s", ref.Model, o.Alias)
	return nil
}
