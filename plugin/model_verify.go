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
		ValidArgsFunction: f.completeMany(f.modelRefs),
	}
	c.Flags().BoolVar(&o.All, "all", false, "every version of these models, or of all")
	c.Flags().StringVar(&o.Digest, "digest", "", "what a URI must have, as sha256:`hex`")
	o.Store.add(f, c)
	o.Output.add(c, true)
	return c
}

// subject is an artifact to verify under its name.
type subject struct {
	name string
	item artifact.Item
}

func runModelVerify(ctx context.Context, f *Factory, o modelVerifyOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, subjects, err := f.subjects(ctx, o)
	if err != nil {
		return err
	}
	opts, end := o.Store.options(f)
	var verdicts []artifact.Verdict
	var items []item
	code := ExitOK
	for _, s := range subjects {
		v, err := artifact.Examine(ctx, c, s.name, s.item, opts)
		end()
		if ctx.Err() != nil {
			return &CodeError{Code: ExitInterrupted}
		}
		if err != nil {
			f.say("%s", clean(err.Error()))
		}
		switch {
		case v.State == artifact.Mismatch || v.State == artifact.Missing:
			code = ExitFailed
		case v.State == artifact.Unread && code == ExitOK:
			code = ExitError
		}
		verdicts = append(verdicts, v)
		items = append(items, item{kind: "Verdict", name: s.name, ref: s.name, namespace: s.item.Namespace, fact: v})
	}
	if len(subjects) == 0 {
		return f.nothing(ctx, c, "versions", false)
	}
	if err := f.list(o.Output, items, func() views.Table { return views.Verdicts(verdicts) }); err != nil {
		return err
	}
	if code != ExitOK {
		return &CodeError{Code: code}
	}
	return nil
}

// subjects are the artifacts that the arguments name.
func (f *Factory) subjects(ctx context.Context, o modelVerifyOptions) (c *client.Client, list []subject, err error) {
	if o.All {
		return f.allVersions(ctx, o.Targets)
	}
	for _, t := range o.Targets {
		var it artifact.Item
		if c, it, err = f.artifactOf(ctx, t, o.Digest); err != nil {
			return nil, nil, err
		}
		list = append(list, subject{t, it})
	}
	return c, list, nil
}
