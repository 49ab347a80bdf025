package plugin

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type checkOptions struct {
	Model  string
	All    bool
	Output output
}

func newModelCheckCmd(f *Factory, do func(context.Context, *Factory, checkOptions) error) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [MODEL]",
		Short: "Look for records of models that contradict themselves",
		Long: `Look for what no verb leaves behind: facts or labels that were edited by hand, a page of history that is gone, an alias
that points at a deleted version, records without a head. Each finding says how to mend it.

The artifacts themselves are not read; "kubectl ml model verify" does that. The exit code is 0 when nothing was found, 1
when something was, 2 on an error.`,
		Example: `  kubectl ml model check
  kubectl ml model check house-prices -o json
  kubectl ml model check -A`,
		Args: atMostOne("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Model = args[0]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeModels,
	}
	c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "check the models of all namespaces")
	o.Output.add(c, true)
	return c
}

// foundProblem is a problem with the namespace in which it was found.
type foundProblem struct {
	Namespace string `json:"namespace"`
	registry.Problem
}

func runModelCheck(ctx context.Context, f *Factory, o checkOptions) error {
	found, err := f.checkModels(ctx, o)
	switch {
	case err != nil:
		return &CodeError{Code: ExitDiffError, Err: err}
	case found:
		return &CodeError{Code: ExitError}
	}
	return nil
}

func (f *Factory) checkModels(ctx context.Context, o checkOptions) (bool, error) {
	if err := o.Output.check(); err != nil {
		return false, err
	}
	if o.Model != "" {
		ref, err := registry.ParseRef(o.Model)
		if err != nil {
			return false, err
		}
		if o.All {
			return false, errors.New("-A checks all models: leave out the name")
		}
		o.Model = ref.Model
	}
	c, err := f.Client()
	if err != nil {
		return false, err
	}
	spaces := []string{c.Namespace}
	if o.All {
		if spaces, err = modelNamespaces(ctx, c); err != nil {
			return false, err
		}
	}
	var list []foundProblem
	for _, ns := range spaces {
		there := *c
		there.Namespace = ns
		problems, err := registry.Check(ctx, &there, o.Model)
		if err != nil {
			return false, err
		}
		for _, p := range problems {
			list = append(list, foundProblem{ns, p})
		}
	}
	return len(list) > 0, f.showProblems(o, c.Namespace, list)
}

// modelNamespaces are those that hold models.
func modelNamespaces(ctx context.Context, c *client.Client) ([]string, error) {
	models, err := registry.Models(ctx, c, registry.ListOptions{AllNamespaces: true})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range models {
		out = append(out, m.Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (f *Factory) showProblems(o checkOptions, namespace string, list []foundProblem) error {
	if len(list) == 0 && o.Output.table() {
		what := "the models of namespace " + namespace
		switch {
		case o.All:
			what = "the models of all namespaces"
		case o.Model != "":
			what = "model " + o.Model
		}
		f.say("No problems found in %s.", what)
		return nil
	}
	items := make([]item, len(list))
	for i, p := range list {
		items[i] = item{kind: "ModelProblem", name: p.Object, ref: "configmap/" + p.Object, namespace: p.Namespace, fact: p}
	}
	if err := f.list(o.Output, items, func() views.Table { return problemTable(list, o.All) }); err != nil || !o.Output.table() {
		return err
	}
	hints := map[string]bool{}
	for _, p := range list {
		if p.Hint != "" && !hints[p.Hint] {
			hints[p.Hint] = true
			f.say("%s: %s", p.Object, clean(p.Hint))
		}
	}
	return nil
}

func problemTable(list []foundProblem, all bool) views.Table {
	t := views.Table{Columns: []views.Column{{Name: "MODEL"}, {Name: "OBJECT", Min: 20}, {Name: "PROBLEM", Min: 30}}}
	if all {
		t.Columns = slices.Insert(t.Columns, 0, views.Column{Name: "NAMESPACE"})
	}
	for _, p := range list {
		row := []views.Cell{views.Text(registry.Ref{Model: p.Model, Version: p.Version}.String()), views.Text(p.Object), views.Toned(p.What, views.Bad)}
		if all {
			row = slices.Insert(row, 0, views.Text(p.Namespace))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
