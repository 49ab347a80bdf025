package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
)

type modelPushOptions struct {
	From, URI string
	Force     bool
	Store     storeOptions
	Output    output
}

func newModelPushCmd(f *Factory, do func(context.Context, *Factory, modelPushOptions) error) *cobra.Command {
	var o modelPushOptions
	c := &cobra.Command{
		Use:   "push (FILE | FOLDER) URI",
		Short: "Store a file or folder where a version can name it",
		Long: `Store a file or folder at a URI, and print where it is now and by what digest it is known, ready for
"kubectl ml register". Nothing is registered yet.

  s3://BUCKET/KEY                  an object; of a folder, the objects below KEY/
  oci://REGISTRY/REPOSITORY:TAG    an artifact as ModelPack has it
  pvc://CLAIM/PATH                 a file or folder of a volume, written by a pod that lives for as long
  https://SERVER/PATH              sent with PUT, as signed URLs take it
  file:///PATH                     a copy

The digest of a folder is that of one tar of it, which "kubectl ml model pull --to -" prints. Credentials are found as
for pull.`,
		Example: `  kubectl ml model push model.pkl s3://models/house-prices/8/model.pkl --secret minio
  kubectl ml model push ./bert oci://ghcr.io/me/bert:1.2
  kubectl ml model push model.pkl pvc://data-volume-claim/models/8/model.pkl -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("push needs a file or folder and a URI, but was given %d arguments", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.From, o.URI = args[0], args[1]
			return do(c.Context(), f, o)
		},
	}
	c.Flags().BoolVar(&o.Force, "force", false, "replace a folder of a volume or of this machine")
	o.Store.add(f, c)
	o.Output.add(c, false)
	return c
}

func runModelPush(ctx context.Context, f *Factory, o modelPushOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	if err := artifact.Check(o.URI); err != nil {
		return err
	}
	c, err := f.Offline()
	if err != nil {
		return err
	}
	opts, end := o.Store.options(f)
	opts.Force = o.Force
	a, err := artifact.Push(ctx, c, o.From, o.URI, opts)
	end()
	if err != nil {
		return transferred(ctx, f, err)
	}
	if !o.Output.table() {
		return f.one(o.Output, item{kind: "Artifact", name: o.From, ref: a.URI, fact: a})
	}
	f.print("%s pushed (%s)\n", a.URI, artifactText(a))
	f.say("Register it with:  kubectl ml register MODEL --uri %s --digest %s --size %d%s", a.URI, a.Digest, a.Size, f.where())
	return nil
}
