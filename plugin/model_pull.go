package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

type modelPullOptions struct {
	// Target is a version or a URI.
	Target, Digest, To string
	Extract, Force     bool
	Store              storeOptions
	Output             output
}

func newModelPullCmd(f *Factory, do func(context.Context, *Factory, modelPullOptions) error) *cobra.Command {
	var o modelPullOptions
	uri := ""
	c := &cobra.Command{
		Use:   "pull (VERSION | URI)",
		Short: "Bring a version's artifact here and verify it",
		Long: `Bring the artifact of a version, or what a URI names, to a file or folder. It is hashed while it streams, and gets its
final name only when digest and size are those of the version; else nothing is kept and the exit code is 3.

What was broken off, by Ctrl-C too, goes on where it ended when the same command is given again. A folder begins anew.

--to names the file or folder, a folder to put it in by a slash at its end, or - for the output (a folder comes as a
tar). A file that is there is replaced; a folder that is something else only with --force.
--extract unpacks a tar, tar.gz or zip once it has been verified; entries that leave the folder, links out of it,
devices and archives that unpack to far more than their size are refused.

URIs are s3://BUCKET/KEY, oci://REGISTRY/REPOSITORY:TAG, pvc://CLAIM/PATH, https://, http://, file:// and inline:.
A URI by itself needs no cluster, except for pvc:// and --secret; so this also runs as an init container:

  kubectl-ml model pull --uri s3://models/house-prices/7 --digest sha256:... --to /models/model.pkl

Credentials are those of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION, the
docker config), or of the Secret that --secret names, with the same keys.`,
		Example: `  kubectl ml model pull house-prices@production
  kubectl ml model pull house-prices:7 --to models/
  kubectl ml model pull bert@latest --extract --to ./bert --force
  kubectl ml model pull s3://models/bert/ --secret minio --digest sha256:9f86d0...
  kubectl ml model pull house-prices:7 --to - | sha256sum`,
		Args: atMostOne("version or URI"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && uri != "":
				return usage(c, errors.New("name a version or a URI, not both"))
			case len(args) == 1:
				o.Target = args[0]
			case uri != "" && !isURI(uri):
				return usage(c, fmt.Errorf("--uri %q is no URI", uri))
			case uri == "":
				return usage(c, errors.New("pull needs a version or a URI"))
			default:
				o.Target = uri
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeRefs,
	}
	fl := c.Flags()
	fl.StringVar(&uri, "uri", "", "the `URI`, for command lines that are generated")
	fl.StringVar(&o.Digest, "digest", "", "what a URI must have, as sha256:`hex`")
	fl.StringVar(&o.To, "to", "", "`path` to write to, or - (default: the artifact's own name, in this folder)")
	fl.BoolVar(&o.Extract, "extract", false, "unpack a tar, tar.gz or zip into a folder")
	fl.BoolVar(&o.Force, "force", false, "replace a folder that is something else")
	o.Store.add(f, c)
	o.Output.add(c, false)
	return c
}

func runModelPull(ctx context.Context, f *Factory, o modelPullOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	if o.To == "-" && (!o.Output.table() || o.Extract) {
		return errors.New("with --to - the output is the artifact itself: leave out -o and --extract")
	}
	c, item, err := f.artifactOf(ctx, o.Target, o.Digest)
	if err != nil {
		return err
	}
	opts, end := o.Store.options(f)
	opts.Extract, opts.Force = o.Extract, o.Force
	if o.To == "-" {
		_, err := artifact.Copy(ctx, c, item, f.Out, opts)
		end()
		return transferred(ctx, f, err)
	}
	p, err := artifact.Pull(ctx, c, item, o.To, opts)
	end()
	if err != nil {
		return transferred(ctx, f, err)
	}
	if item.Digest == "" {
		f.say("No digest is recorded: what came is %s, unverified.", p.Digest)
	}
	return f.pulled(o, p)
}

// pulled prints what is where now.
func (f *Factory) pulled(o modelPullOptions, p artifact.Pulled) error {
	if !o.Output.table() {
		return f.one(o.Output, item{kind: "Artifact", name: o.Target, ref: p.Path, fact: p})
	}
	done := "pulled"
	if p.Unchanged {
		done = "unchanged"
	}
	f.print("%s %s (%s)\n", p.Path, done, artifactText(p.Artifact))
	return nil
}

// artifactOf is what a verb's argument names: a URI, or the artifact of a version.
func (f *Factory) artifactOf(ctx context.Context, target, digest string) (*client.Client, artifact.Item, error) {
	if isURI(target) {
		return f.uriItem(target, digest)
	}
	if digest != "" {
		return nil, artifact.Item{}, errors.New("--digest is for URIs: a version knows its own")
	}
	c, err := f.Client()
	if err != nil {
		return nil, artifact.Item{}, err
	}
	s, err := subjectOf(ctx, c, target)
	return c, s.item, err
}
