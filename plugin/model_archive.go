package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

type archiveOptions struct {
	Ref     string
	Restore bool
	Change  changeOptions
}

func newModelArchiveCmd(f *Factory, do func(context.Context, *Factory, archiveOptions) error) *cobra.Command {
	var o archiveOptions
	c := &cobra.Command{
		Use:   "archive MODEL:VERSION",
		Short: "Put a version away, or take it back with --restore",
		Long: `Put a version away: @latest passes over it, and no alias can be set to it. Its record stays, and "--restore" takes it
back. A version that an alias points at cannot be archived.`,
		Example: `  kubectl ml model archive house-prices:3 --comment superseded
  kubectl ml model archive house-prices:3 --restore`,
		Args:              exactlyOne("MODEL:VERSION"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	c.Flags().BoolVar(&o.Restore, "restore", false, "take an archived version back")
	o.Change.add(c)
	return c
}

func runModelArchive(ctx context.Context, f *Factory, o archiveOptions) error {
	c, ref, err := o.Change.begin(f, o.Ref)
	if err != nil {
		return err
	}
	if ref.Version == 0 {
		return fmt.Errorf("which version? write it with its number, such as %s:3", ref.Model)
	}
	e, err := registry.Archive(ctx, c, ref.Model, ref.Version, o.Restore, o.Change.mark(ctx, f, c), o.Change.DryRun.asked())
	if err != nil {
		return err
	}
	if err := o.Change.changed(f, c, ref.Model, e); err != nil {
		return err
	}
	if !o.Restore {
		o.Change.next(f, "Take it back with", "model archive %s --restore", ref)
	}
	return nil
}
