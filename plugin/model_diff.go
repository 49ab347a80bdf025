package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelDiffOptions struct {
	// From is empty when a single version was named.
	From, To       string
	Code, ExitCode bool
	Output         output
}

func newModelDiffCmd(f *Factory, do func(context.Context, *Factory, modelDiffOptions) error) *cobra.Command {
	var o modelDiffOptions
	c := &cobra.Command{
		Use:   "diff [VERSION] VERSION",
		Short: "Compare two versions: metrics, parameters, data, code, image",
		Long: `Compare two versions, the older one first: metrics with whether they became better or worse, parameters, data, code,
artifact, image and what made them, and as a unified diff the files of the stage code, where the clusters still has
both. One version alone is compared with production; production itself, or without such an alias, with the version
before it. What is the same shows with -o wide only.

Whether more or less of a metric is better is declared when a version is registered, or known by its name (rmse, loss,
auc, ...); of others the change shows without a verdict.

` + refHelp + `
The exit code is 0 whether they differ or not; with --exit-code it is 1 when they do.`,
		Example: `  kubectl ml model diff house-prices
  kubectl ml model diff house-prices@production house-prices:7
  kubectl ml model diff house-prices:6 house-prices:7 --code=false -o json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 {
				return fmt.Errorf("%s needs one VERSION or two, but was given %d", c.Name(), len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.To = args[len(args)-1]
			if len(args) == 2 {
				o.From = args[0]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return f.completeManyRefs(c, args, prefix)
		},
	}
	c.Flags().BoolVar(&o.Code, "code", true, "compare the files of the stage code")
	c.Flags().BoolVar(&o.ExitCode, "exit-code", false, "exit with 1 when the versions differ")
	o.Output.add(c, true)
	return c
}

func runModelDiff(ctx context.Context, f *Factory, o modelDiffOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	d := registry.DiffOptions{Code: o.Code}
	var err error
	if d.To, err = registry.ParseRef(o.To); err != nil {
		return err
	}
	if o.From != "" {
		if d.From, err = registry.ParseRef(o.From); err != nil {
			return err
		}
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	diff, err := registry.DiffOf(ctx, c, d)
	if err != nil {
		return err
	}
	if o.Output.table() {
		err = f.lines(views.ModelDiff(diff, f.Now(), f.layout(o.Output)))
	} else {
		err = f.one(o.Output, versionItem(diff.To, "ModelDiff", diff))
	}
	if err == nil && o.ExitCode && diff.Differs {
		return &CodeError{Code: ExitError}
	}
	return err
}
