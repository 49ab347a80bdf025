package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelsOptions struct {
	// Model lists its versions; empty lists models.
	Model, Selector string
	// SortBy is a column, with a - before it for descending.
	SortBy        string
	All, Archived bool
	Output        output
}

func newModelsCmd(f *Factory, do func(context.Context, *Factory, modelsOptions) error) *cobra.Command {
	var o modelsOptions
	c := &cobra.Command{
		Use:     "models [MODEL]",
		Short:   "List models, or the versions of one",
		GroupID: groupModel,
		Long: `List models: the latest version, how many there are, where production and the other aliases point, the metrics of the
latest version. With MODEL list its versions, the newest first, each metric in a column of its own; of several values
the best has a colour where it is known whether more or less is better.

Lists read labels and annotations only, so that they stay quick with thousands of versions. What they show is a copy of
what "kubectl ml model show" reads; "kubectl ml model check" compares both.`,
		Example: `  kubectl ml models
  kubectl ml models -A -o wide
  kubectl ml models house-prices --sort-by rmse
  kubectl ml models house-prices -o jsonpath='{.items[0].metrics.rmse}'`,
		Args: atMostOne("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Model = args[0]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeModels,
	}
	fl := c.Flags()
	fl.BoolVarP(&o.All, "all-namespaces", "A", false, "list the models of all namespaces")
	fl.StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as team=vision")
	fl.StringVar(&o.SortBy, "sort-by", "", "sort by this `column`, such as updated, or a metric of versions; with a - before it descending (default: by name; versions the newest first)")
	fl.BoolVar(&o.Archived, "all", false, "list archived versions too")
	_ = c.RegisterFlagCompletionFunc("sort-by", f.completeModelColumns)
	o.Output.add(c, true)
	return c
}

// completeModelColumns completes the columns of models, or with a model those of its versions.
func (f *Factory) completeModelColumns(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.ask(c, func(ctx context.Context, c *client.Client) ([]string, error) {
		names := views.ModelColumns(f.Now()).Names()
		if len(args) > 0 {
			list, err := registry.Versions(ctx, c, args[0])
			if err != nil {
				return nil, err
			}
			names = views.VersionColumns(list, nil, f.Now()).Names()
		}
		for _, n := range names {
			names = append(names, "-"+n)
		}
		return names, nil
	}, prefix)
}

func runModels(ctx context.Context, f *Factory, o modelsOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	if o.Model != "" && o.All {
		return errors.New("-A lists models, not the versions of one: choose its namespace with -n")
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if o.Model != "" {
		return f.versions(ctx, c, o)
	}
	list, err := registry.Models(ctx, c, registry.ListOptions{AllNamespaces: o.All, Selector: o.Selector})
	if err != nil {
		return err
	}
	if o.SortBy != "" {
		if err := views.ModelColumns(f.Now()).Sort(list, o.SortBy); err != nil {
			return fmt.Errorf("--sort-by: %w", err)
		}
	}
	if len(list) == 0 && o.Output.table() {
		return f.nothing(ctx, c, "models", o.All)
	}
	items := make([]item, len(list))
	for i, m := range list {
		items[i] = item{kind: "Model", name: m.Name, namespace: m.Namespace, created: m.Created, labels: m.Labels, fact: m}
	}
	if err := f.list(o.Output, items, func() views.Table { return views.Models(list, o.All, f.Now()) }); err != nil {
		return err
	}
	for _, m := range list {
		if m.Problem != "" {
			f.doubt(m.Name, []string{m.Problem})
		}
	}
	return nil
}

// versions lists the versions of one model.
func (f *Factory) versions(ctx context.Context, c *client.Client, o modelsOptions) error {
	ref, err := registry.ParseRef(o.Model)
	if err != nil {
		return err
	}
	if ref.Version > 0 || ref.Alias != "" {
		return fmt.Errorf("%s is one version, not a list: see it with: kubectl ml model show %s%s", ref, ref, f.where())
	}
	list, err := registry.Versions(ctx, c, ref.Model)
	if err != nil {
		return err
	}
	if !o.Archived {
		list = slices.DeleteFunc(list, func(v registry.VersionSummary) bool { return v.Archived != nil })
	}
	better := map[string]registry.Direction{}
	for _, v := range slices.Backward(list) {
		maps.Copy(better, v.Better)
	}
	if head, err := registry.GetHead(ctx, c, ref.Model); err == nil {
		maps.Copy(better, head.Better)
	}
	if o.SortBy != "" {
		if err := views.VersionColumns(list, better, f.Now()).Sort(list, o.SortBy); err != nil {
			return fmt.Errorf("--sort-by: %w", err)
		}
	}
	if len(list) == 0 && o.Output.table() {
		f.say("Model %s has no versions that are not archived; see those with --all.", ref.Model)
		return nil
	}
	items := make([]item, len(list))
	for i, v := range list {
		items[i] = item{
			kind: "ModelVersion", name: fmt.Sprintf("%s%s-%d", kube.PrefixVersion, v.Model, v.Version), namespace: v.Namespace, created: v.Created, fact: v,
			ref: modelRef + registry.Ref{Model: v.Model, Version: v.Version}.String(),
		}
	}
	if err := f.list(o.Output, items, func() views.Table { return views.Versions(list, better, f.Now()) }); err != nil {
		return err
	}
	for _, v := range list {
		if v.Problem != "" {
			f.doubt(registry.Ref{Model: v.Model, Version: v.Version}.String(), []string{v.Problem})
		}
	}
	return nil
}
