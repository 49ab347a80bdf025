package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type aliasOptions struct {
	Ref, Alias string
	Remove     bool
	IfCurrent  int
	Yes        bool
	NoHeaders  bool
	Change     changeOptions
}

// anyCurrent is the value of --if-current that asks for nothing.
const anyCurrent = -1

func addIfCurrent(c *cobra.Command, n *int) {
	c.Flags().IntVar(n, "if-current", anyCurrent, "only while the alias points at this `version`, 0 while it is not set (default: whatever it is)")
}

// expected is --if-current for the registry.
func expected(n int) *int {
	if n == anyCurrent {
		return nil
	}
	return &n
}

func newModelAliasCmd(f *Factory, do func(context.Context, *Factory, aliasOptions) error) *cobra.Command {
	var o aliasOptions
	c := &cobra.Command{
		Use:   "alias MODEL[:VERSION] [NAME]",
		Short: "List, set or remove the aliases of a model",
		Long: `Let a name point at a version, such as staging or champion. Without VERSION it is the latest that is not archived;
MODEL@OTHER is what another alias points at. Without NAME the aliases of the model are listed.

An alias moves with its line of history in one update of one object, so that two people cannot both believe to have
moved it: with --if-current N the second is told who was first. What serves does not follow by itself: deploy it with
"kubectl ml deploy MODEL@NAME".`,
		Example: `  kubectl ml model alias house-prices
  kubectl ml model alias house-prices:7 staging --comment "for the load test"
  kubectl ml model alias house-prices staging --remove`,
		Args: oneOrTwo("MODEL", "NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Ref = args[0]
			if len(args) == 2 {
				o.Alias = args[1]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeAlias,
	}
	c.Flags().BoolVar(&o.Remove, "remove", false, "remove the alias; the version stays")
	addIfCurrent(c, &o.IfCurrent)
	addYes(c, &o.Yes)
	c.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave out the column names of the list")
	o.Change.add(c)
	return c
}

func runModelAlias(ctx context.Context, f *Factory, o aliasOptions) error {
	c, ref, err := o.Change.begin(f, o.Ref)
	switch {
	case err != nil:
		return err
	case o.Alias == "" && (o.Remove || ref.Version > 0 || ref.Alias != ""):
		return fmt.Errorf("which alias? write: kubectl ml model alias %s NAME", ref)
	case o.Alias == "":
		return f.listAliases(ctx, c, ref.Model, output{Format: o.Change.Output.Format, NoHeaders: o.NoHeaders})
	case o.Remove && ref.Version > 0:
		return fmt.Errorf("--remove takes an alias away from its model, whatever it points at: write kubectl ml model alias %s %s --remove, with --if-current %d to be sure", ref.Model, o.Alias, ref.Version)
	}
	mark := o.Change.mark(ctx, f, c)
	m := registry.Move{Model: ref.Model, Alias: o.Alias, IfCurrent: expected(o.IfCurrent), Action: registry.Moved, By: mark.By, Comment: mark.Comment, DryRun: o.Change.DryRun.asked()}
	question := fmt.Sprintf("Remove the alias %s of model %s?", o.Alias, ref.Model)
	if !o.Remove {
		v, err := registry.Resolve(ctx, c, ref)
		if err != nil {
			return err
		}
		m.To = v.Version
		question = fmt.Sprintf("Let %s of model %s be version %d?", o.Alias, ref.Model, m.To)
	}
	// What production means is not changed in passing; other aliases are moved all day.
	if registry.Protected(o.Alias) {
		if err := f.confirm(question, o.Yes || o.Change.DryRun.dry()); err != nil {
			return err
		}
	}
	e, err := registry.SetAlias(ctx, c, m)
	if err != nil {
		return lost(f, err, m)
	}
	if err := o.Change.changed(f, c, ref.Model, e); err != nil {
		return err
	}
	if !o.Remove {
		o.Change.next(f, "Serve it with", "deploy %s@%s", ref.Model, o.Alias)
	}
	return nil
}

// lost adds to a conflict what to type when the change is wanted all the same.
func lost(f *Factory, err error, m registry.Move) error {
	var conflict *registry.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	verb := fmt.Sprintf("model promote %s:%d --to %s", m.Model, m.To, m.Alias)
	switch {
	case m.Action == registry.RolledBack:
		verb = fmt.Sprintf("model rollback %s --alias %s", m.Model, m.Alias)
	case m.To == 0:
		verb = fmt.Sprintf("model alias %s %s --remove", m.Model, m.Alias)
	case m.Action == registry.Moved:
		verb = fmt.Sprintf("model alias %s:%d %s", m.Model, m.To, m.Alias)
	}
	compare := ""
	if conflict.Is > 0 && m.To > 0 && conflict.Is != m.To {
		compare = fmt.Sprintf("\n  compare them with: kubectl ml model diff %s:%d %s:%d%s", m.Model, conflict.Is, m.Model, m.To, f.where())
	}
	return fmt.Errorf("%w%s\n  to change it all the same: kubectl ml %s --if-current %d%s", err, compare, verb, conflict.Is, f.where())
}

// completeAlias completes a version and then an alias of its model.
func (f *Factory) completeAlias(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return f.completeRefs(cmd, args, prefix)
	}
	return f.ask(cmd, func(ctx context.Context, c *client.Client) ([]string, error) {
		ref, err := registry.ParseRef(args[0])
		if err != nil {
			return nil, err
		}
		h, err := registry.GetHead(ctx, c, ref.Model)
		if err != nil {
			return nil, err
		}
		return slices.Sorted(maps.Keys(h.Aliases)), nil
	}, prefix)
}

// aliasFact is one alias, as lists print it.
type aliasFact struct {
	Model   string `json:"model"`
	Alias   string `json:"alias"`
	Version int    `json:"version"`
}

func (f *Factory) listAliases(ctx context.Context, c *client.Client, model string, o output) error {
	h, err := registry.GetHead(ctx, c, model)
	if err != nil {
		return err
	}
	if len(h.Aliases) == 0 && o.table() {
		f.say("Model %s has no aliases.\nSet one with:  kubectl ml model alias %s:VERSION NAME%s", model, model, f.where())
		return nil
	}
	var items []item
	t := views.Table{Columns: []views.Column{{Name: "ALIAS"}, {Name: "VERSION", Right: true}, {Name: "APPROVAL"}}}
	for _, name := range slices.Sorted(maps.Keys(h.Aliases)) {
		n := h.Aliases[name]
		r := registry.Ref{Model: model, Alias: name}.String()
		items = append(items, item{kind: "ModelAlias", name: r, ref: modelRef + r, namespace: c.Namespace, fact: aliasFact{Model: model, Alias: name, Version: n}})
		t.Rows = append(t.Rows, []views.Cell{views.Toned(name, views.Accent), views.Text(fmt.Sprint(n)), views.Text(h.Approvals[n].State)})
	}
	return f.list(o, items, func() views.Table { return t })
}

// oneOrTwo takes a first and maybe a second argument.
func oneOrTwo(first, second string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("%s needs a %s", c.Name(), first)
		case len(args) > 2:
			return fmt.Errorf("%s takes a %s and a %s, but was given %d arguments", c.Name(), first, second, len(args))
		}
		return nil
	}
}
