package plugin

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// modelRef heads the names of models as -o name prints them.
const modelRef = "model/"

// refHelp says in the help of verbs how a version is named.
const refHelp = `A version is MODEL:N, MODEL@ALIAS or MODEL@latest; MODEL alone is its latest version that is not archived.`

// modelNames are the models of the namespace.
func (f *Factory) modelNames(ctx context.Context, c *client.Client) ([]string, error) {
	return registry.Names(ctx, c)
}

// completeModels completes a single model.
func (f *Factory) completeModels(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.completeOne(f.modelNames)(c, args, prefix)
}

// completeRefs completes a single version of a model: MODEL and MODEL@ALIAS, and behind MODEL: its versions.
func (f *Factory) completeRefs(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.completeOne(refNames(prefix))(c, args, prefix)
}

// completeManyRefs is completeRefs for verbs that take several.
func (f *Factory) completeManyRefs(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.completeMany(refNames(prefix))(c, args, prefix)
}

// refNames are what a reference that begins with prefix may be. Versions are listed behind a colon only: a model may
// have thousands.
func refNames(prefix string) namer {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		before := ""
		if strings.HasPrefix(prefix, modelRef) {
			before = modelRef
		}
		model, _, versions := strings.Cut(strings.TrimPrefix(prefix, before), ":")
		if versions {
			list, err := registry.Versions(ctx, c, model)
			names := make([]string, len(list))
			for i, v := range list {
				names[i] = before + registry.Ref{Model: model, Version: v.Version}.String()
			}
			return names, err
		}
		models, err := registry.Models(ctx, c, registry.ListOptions{})
		var names []string
		for _, m := range models {
			names = append(names, before+m.Name, before+m.Name+"@"+registry.Latest)
			for alias := range m.Aliases {
				names = append(names, before+registry.Ref{Model: m.Name, Alias: alias}.String())
			}
		}
		return names, err
	}
}
