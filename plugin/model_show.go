package plugin

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelShowOptions struct {
	Ref    string
	Output output
}

func newModelShowCmd(f *Factory, do func(context.Context, *Factory, modelShowOptions) error) *cobra.Command {
	var o modelShowOptions
	c := &cobra.Command{
		Use:   "show VERSION",
		Short: "Show all that is known of a version",
		Long: `Show all that is known of a version: its artifact, metrics, parameters, data, code, image, what made it, its approval
and aliases, what serves it now, and where its record contradicts itself.

` + refHelp,
		Example: `  kubectl ml model show house-prices
  kubectl ml model show house-prices@production
  kubectl ml model show house-prices:7 -o jsonpath='{.artifact.digest}'`,
		Args:              exactlyOne("VERSION"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	o.Output.add(c, true)
	return c
}

// resolve connects and finds the version that a person means.
func (f *Factory) resolve(ctx context.Context, arg string) (*client.Client, registry.Version, error) {
	ref, err := registry.ParseRef(arg)
	if err != nil {
		return nil, registry.Version{}, err
	}
	c, err := f.Client()
	if err != nil {
		return nil, registry.Version{}, err
	}
	v, err := registry.Resolve(ctx, c, ref)
	return c, v, err
}

// shownVersion is a version with what serves it, for machines.
type shownVersion struct {
	registry.Version
	ServedBy []registry.Serving `json:"servedBy,omitempty"`
	// NotServedBy is why it is not known what serves it.
	NotServedBy string `json:"servedByUnknown,omitempty"`
}

// versionItem is a version, or something about it, on its way to a printer.
func versionItem(v registry.Version, kind string, fact any) item {
	return item{
		kind: kind, name: v.Object, namespace: v.Namespace, created: v.Created, fact: fact,
		ref: modelRef + registry.Ref{Model: v.Model, Version: v.Version}.String(),
	}
}

func runModelShow(ctx context.Context, f *Factory, o modelShowOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, v, err := f.resolve(ctx, o.Ref)
	if err != nil {
		return err
	}
	page := views.ModelPage{Version: v}
	// What stands beside the version is shown as far as it may be read.
	if head, err := registry.GetHead(ctx, c, v.Model); err == nil {
		page.Better = head.Better
	}
	live, err := registry.Live(ctx, c, v.Model)
	if err != nil {
		page.NotLive = err.Error()
	}
	for _, s := range live {
		if s.Version == v.Version {
			page.Live = append(page.Live, s)
		}
	}
	if !o.Output.table() {
		return f.one(o.Output, versionItem(v, "ModelVersion", shownVersion{v, page.Live, page.NotLive}))
	}
	return f.lines(views.ModelShow(page, f.Now(), f.layout(o.Output)))
}
