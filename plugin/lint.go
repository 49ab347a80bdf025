package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type lintOptions struct {
	File   string
	Strict bool
	Output output
}

func newLintCmd(f *Factory, do func(context.Context, *Factory, lintOptions) error) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use:     "lint",
		Short:   "Check a pipeline file without a cluster",
		GroupID: groupWrite,
		Long: `Check a pipeline file, its manifests and its source folder. Every fault is named at once, as file:line:column with
the field and the fix. The exit code is 1 when there are errors, or with --strict also when there are warnings.`,
		Example: `  kubectl ml lint
  kubectl ml lint -f house-prices/pipeline.yaml --strict
  kubectl ml lint -o json | jq '.items[].message'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().StringVarP(&o.File, "filename", "f", "", "pipeline `file`, - for stdin (default ./pipeline.yaml)")
	c.Flags().BoolVar(&o.Strict, "strict", false, "take warnings for errors")
	o.Output.add(c, true)
	return c
}

func runLint(ctx context.Context, f *Factory, o lintOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	file := o.File
	if file == "" {
		file = defaultFile
	}
	b, err := run.ReadFile(file, f.In)
	var problems pipeline.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if err == nil {
		if err = b.Pack(ctx, "default"); err == nil {
			_, err = b.Resolve(nil, nil, pipeline.Selection{})
		}
		if err != nil && !errors.As(err, &problems) {
			problems = pipeline.Problems{{File: file, Message: err.Error()}}
		}
	}
	if b != nil {
		problems = append(problems, b.Warnings...)
	}
	slices.SortStableFunc(problems, func(a, b pipeline.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f.findings(file, b, problems, o)
}

// findings prints what lint found, and fails if that is more than warnings.
func (f *Factory) findings(file string, b *run.Bundle, problems pipeline.Problems, o lintOptions) error {
	failed := 0
	for _, p := range problems {
		if !p.Warning || o.Strict {
			failed++
		}
	}
	if !o.Output.table() {
		items := make([]item, len(problems))
		for i, p := range problems {
			items[i] = item{kind: "Problem", name: fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), fact: p}
		}
		if err := f.list(o.Output, items, nil); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			f.print("%s\n", problemText(p))
		}
	}
	switch {
	case failed > 0:
		return &CodeError{Code: ExitError}
	case o.Output.table():
		f.say("%s: pipeline %s is good: %s", file, b.Pipeline.Metadata.Name, views.Plural(int64(len(b.Pipeline.Spec.Stages)), "stage", "stages"))
	}
	return nil
}
