package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type deleteModelOptions struct {
	Ref    string
	Yes    bool
	Change changeOptions
}

func newModelDeleteCmd(f *Factory, do func(context.Context, *Factory, deleteModelOptions) error) *cobra.Command {
	var o deleteModelOptions
	c := &cobra.Command{
		Use:   "delete MODEL[:VERSION]",
		Short: "Delete a version, or a model with all its versions and history",
		Long: `Delete the record of a version, or a model with all its versions and its history. A version that an alias points at or
that is being served is refused. The artifacts themselves stay where they are, except those that are kept in the record.

The number of a deleted version is not given again while the model's history knows of it. To keep the record and only
put the version away: "kubectl ml model archive". To keep a copy: "kubectl ml model export".`,
		Example: `  kubectl ml model delete house-prices:3
  kubectl ml model delete house-prices --dry-run=server
  kubectl ml model delete house-prices --yes`,
		Args:              exactlyOne("MODEL[:VERSION]"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	addYes(c, &o.Yes)
	o.Change.add(c)
	return c
}

func runModelDelete(ctx context.Context, f *Factory, o deleteModelOptions) error {
	c, ref, err := o.Change.begin(f, o.Ref)
	if err != nil {
		return err
	}
	if ref.Alias != "" {
		return fmt.Errorf("an alias is no version: take it away with: kubectl ml model alias %s %s --remove%s", ref.Model, ref.Alias, f.where())
	}
	going, err := modelVersions(ctx, c, ref)
	if err != nil {
		return err
	}
	mark := o.Change.mark(ctx, f, c)
	if !o.Yes && !o.Change.DryRun.dry() {
		// What is refused is refused before anybody is asked.
		if err := registry.Delete(ctx, c, ref, mark, dryRun("server").server()); err != nil {
			return err
		}
		if err := f.confirm(deleteModelQuestion(ref, going), false); err != nil {
			return err
		}
	}
	if err := registry.Delete(ctx, c, ref, mark, o.Change.DryRun.asked()); err != nil {
		return err
	}
	var items []item
	for _, v := range going {
		r := registry.Ref{Model: v.Model, Version: v.Version}
		items = append(items, item{kind: "ModelVersion", name: r.String(), ref: modelRef + r.String(), namespace: c.Namespace, created: v.Created, fact: v})
	}
	if !o.Change.Output.table() {
		return f.list(o.Change.Output, items, nil)
	}
	for _, i := range items {
		f.print("%s deleted%s\n", i.short(), o.Change.DryRun.suffix())
	}
	if ref.Version == 0 {
		f.print("%s%s deleted%s\n", modelRef, ref.Model, o.Change.DryRun.suffix())
	}
	return nil
}

// modelVersions are the version that ref names, or all of its model.
func modelVersions(ctx context.Context, c *client.Client, ref registry.Ref) ([]registry.VersionSummary, error) {
	all, err := registry.Versions(ctx, c, ref.Model)
	if err != nil || ref.Version == 0 {
		return all, err
	}
	for _, v := range all {
		if v.Version == ref.Version {
			return []registry.VersionSummary{v}, nil
		}
	}
	_, err = registry.Resolve(ctx, c, ref)
	return nil, err
}

func deleteModelQuestion(ref registry.Ref, going []registry.VersionSummary) string {
	if ref.Version > 0 {
		return fmt.Sprintf("Delete version %s for good, with its artifact if the record holds it?", ref)
	}
	return fmt.Sprintf("Delete model %s for good, with its history, %s, and the artifacts that the records hold?", ref.Model, views.Plural(int64(len(going)), "version", "versions"))
}
