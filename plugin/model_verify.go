package plugin

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelVerifyOptions struct {
	// Targets are versions or URIs; with All, models of which every version is meant, or none for all models.
	Targets []string
	All     bool
	Digest  string
	Store   storeOptions
	Output  output
}

func newModelVerifyCmd(f *Factory, do func(context.Context, *Factory, modelVerifyOptions) error) *cobra.Command {
	var o modelVerifyOptions
	c := &cobra.Command{
		Use:   "verify (VERSION | URI)... | --all [MODEL...]",
		Short: "Read artifacts and compare their digests with what is recorded",
		Long: `Read the artifacts of versions from where they are, hash them, and compare digest and size with what their versions
say. Nothing is kept. With --all every version of the models, or of all models of the namespace; archived ones too.

  ok           it is what it was when it was registered
  unverified   it can be read, and its version has no digest
  mismatch     it is something else now
  missing      there is nothing at its URI
  unread       it could not be read: nothing is known of it

The exit code is 0 when all are ok or unverified, 3 when one is a mismatch or missing, and 1 when one could not be read.`,
		Example: `  kubectl ml model verify house-prices@production
  kubectl ml model verify house-prices --all --secret minio
  kubectl ml model verify --all -o json
  kubectl ml model verify https://example.com/model.onnx --digest sha256:9f86d0...`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && !o.All:
				return errors.New("verify needs a version or a URI, or --all")
			case o.Digest != "" && (len(args) != 1 || !isURI(args[0])):
				return errors.New("--digest is for one URI: a version knows its own")
			}
			return nil
		},
		RunE:              func(c *cobra.Command, args []string) error { o.Targets = args; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeManyRefs,
	}
	c.Flags().BoolVar(&o.All, "all", false, "every version of these models, or of all")
	c.Flags().StringVar(&o.Digest, "digest", "", "what a URI must have, as sha256:`hex`")
	o.Store.add(f, c)
	o.Output.add(c, true)
	return c
}

func runModelVerify(ctx context.Context, f *Factory, o modelVerifyOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, subjects, verdicts, err := f.subjects(ctx, o)
	if err != nil {
		return err
	}
	opts, end := o.Store.options(f)
	for _, s := range subjects {
		v, _ := artifact.Examine(ctx, c, s.name, s.item, opts) // what is wrong is in the verdict
		end()
		if ctx.Err() != nil {
			return &CodeError{Code: ExitInterrupted}
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) == 0 {
		return f.nothing(ctx, c, "versions", false)
	}
	var items []item
	for _, v := range verdicts {
		if v.Message != "" {
			f.say("%s", clean(v.Text()))
		}
		items = append(items, item{kind: "Verdict", name: v.Version, ref: v.Version, namespace: c.Namespace, fact: v})
	}
	if err := f.list(o.Output, items, func() views.Table { return views.Verdicts(verdicts) }); err != nil {
		return err
	}
	return verdictCode(verdicts)
}

// verdictCode is what verify exits with.
func verdictCode(verdicts []artifact.Verdict) error {
	code := ExitOK
	for _, v := range verdicts {
		switch {
		case v.State == artifact.Mismatch || v.State == artifact.Missing:
			code = ExitFailed
		case v.State == artifact.Unread && code == ExitOK:
			code = ExitError
		}
	}
	if code == ExitOK {
		return nil
	}
	return &CodeError{Code: code}
}

// subjects are the artifacts that the arguments name, and verdicts on those whose record cannot be read.
func (f *Factory) subjects(ctx context.Context, o modelVerifyOptions) (c *client.Client, list []subject, unread []artifact.Verdict, err error) {
	if o.All {
		if c, err = f.Client(); err != nil {
			return nil, nil, nil, err
		}
		list, unread, err = f.allVersions(ctx, c, o.Targets)
		return c, list, unread, err
	}
	for _, t := range o.Targets {
		s := subject{name: t}
		if isURI(t) {
			c, s.item, err = f.uriItem(t, o.Digest)
		} else if c, err = f.Client(); err == nil {
			s, err = subjectOf(ctx, c, t)
		}
		if err != nil {
			return nil, nil, nil, err
		}
		list = append(list, s)
	}
	return c, list, nil, nil
}
