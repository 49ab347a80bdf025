package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type exportOptions struct {
	Ref, To   string
	Artifacts bool
	Force     bool
	Store     storeOptions
}

func newModelExportCmd(f *Factory, do func(context.Context, *Factory, exportOptions) error) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export MODEL[:VERSION]",
		Short: "Write a model with its history to a file that another cluster takes back",
		Long: `Write a version, or a model with all of them, as one JSON document to the output, or with --to to a file. The document
holds the facts, notes, judgements and history, and the artifacts that the records keep; a checksum tells whether it was
changed on its way.

With --to FILE.tar it is a tar: the document, and the artifacts as files beside it. --artifacts fetches those that are
in stores as well, so that a cluster without a way to them can have them.`,
		Example: `  kubectl ml model export house-prices > house-prices.json
  kubectl ml model export house-prices@production --to house-prices.tar --artifacts
  kubectl ml model export house-prices -n staging | kubectl ml model import - -n production`,
		Args:              exactlyOne("MODEL[:VERSION]"),
		RunE:              func(c *cobra.Command, args []string) error { o.Ref = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeRefs,
	}
	c.Flags().StringVar(&o.To, "to", "-", "the `file`: a tar when its name ends in .tar, - for the output")
	c.Flags().BoolVar(&o.Artifacts, "artifacts", false, "put the artifacts of stores into the tar too")
	c.Flags().BoolVar(&o.Force, "force", false, "replace a file that is there")
	o.Store.add(f, c)
	_ = c.MarkFlagFilename("to", "json", "tar")
	return c
}

func runModelExport(ctx context.Context, f *Factory, o exportOptions) error {
	isTar := strings.HasSuffix(o.To, ".tar")
	if o.Artifacts && !isTar {
		return errors.New("--artifacts needs a tar to put them into: --to FILE.tar")
	}
	if _, err := os.Lstat(o.To); err == nil && !o.Force && o.To != "-" {
		return fmt.Errorf("%s is there already: choose another name, or replace it with --force", o.To)
	}
	ref, err := registry.ParseRef(o.Ref)
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	b, err := registry.Export(ctx, c, ref, c.WhoAmI(ctx), f.Now())
	if err != nil {
		return err
	}
	if o.To == "-" {
		doc, err := registry.EncodeBundle(b)
		if err != nil {
			return err
		}
		_, err = f.Out.Write(doc)
		return err
	}
	write := func(w io.Writer) error {
		doc, err := registry.EncodeBundle(b)
		if err != nil {
			return err
		}
		_, err = w.Write(doc)
		return err
	}
	if isTar {
		p, err := o.pack(ctx, f, c, &b)
		defer p.close()
		if err != nil {
			return err
		}
		write = func(w io.Writer) error { return registry.WriteTar(w, b, p.open) }
	}
	size, err := writeWhole(o.To, write)
	if err != nil {
		return fmt.Errorf("write %s: %w", o.To, err)
	}
	f.print("%s exported to %s (%s, %s)\n", modelRef+ref.String(), o.To, views.Plural(int64(len(b.Versions)), "version", "versions"), views.Bytes(size))
	f.say("Take it over elsewhere with:  kubectl ml model import %s -n NAMESPACE", o.To)
	return nil
}

// packed are the artifacts on their way into a tar: those of records in memory, those of stores in a folder.
type packed struct {
	folder string
	inline map[int][]byte
}

func (p *packed) close() {
	if p != nil && p.folder != "" {
		_ = os.RemoveAll(p.folder)
	}
}

func (p *packed) open(v registry.Bundled) (io.ReadCloser, error) {
	if text, ok := p.inline[v.Version]; ok {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	return os.Open(p.file(v.Version))
}

func (p *packed) file(version int) string { return filepath.Join(p.folder, strconv.Itoa(version)) }

// pack moves the artifacts out of the document, and fetches those of stores.
func (o *exportOptions) pack(ctx context.Context, f *Factory, c *client.Client, b *registry.Bundle) (*packed, error) {
	p := &packed{inline: map[int][]byte{}}
	var err error
	// Beside the tar, where there is room for all of it again.
	if p.folder, err = os.MkdirTemp(filepath.Dir(o.To), ".kubectl-ml-export-"); err != nil {
		return p, fmt.Errorf("make room for the artifacts: %w", err)
	}
	for i := range b.Versions {
		v := &b.Versions[i]
		switch {
		case len(v.Inline) > 0 || strings.HasPrefix(v.Artifact.URI, "inline:"):
			p.inline[v.Version], v.Inline = v.Inline, nil
			v.Artifact.Size = int64(len(p.inline[v.Version]))
		case !o.Artifacts:
			continue
		default:
			if err := o.fetch(ctx, f, c, v, p.file(v.Version)); err != nil {
				return p, fmt.Errorf("fetch the artifact of %s:%d: %w", v.Model, v.Version, err)
			}
		}
		v.File = fmt.Sprintf("artifacts/%d/%s", v.Version, artifactName(v.Artifact.URI))
	}
	return p, nil
}

// fetch brings one artifact to a file, a folder as its tar.
func (o *exportOptions) fetch(ctx context.Context, f *Factory, c *client.Client, v *registry.Bundled, to string) error {
	if v.Artifact.Digest == "" {
		return errors.New("no digest is recorded for it, so nobody could tell whether it is the right one")
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	opt, end := o.Store.options(f)
	got, err := artifact.Copy(ctx, c, artifact.Item{Artifact: v.Artifact}, file, opt)
	end()
	if err := errors.Join(err, file.Close()); err != nil {
		return transferred(ctx, f, err)
	}
	if got.Digest != v.Artifact.Digest {
		return fmt.Errorf("its digest is that of a manifest, its content's is %s", got.Digest)
	}
	v.Artifact.Size = got.Size
	return nil
}

// artifactName is a plain file name for what a URI points at.
func artifactName(uri string) string {
	_, rest, _ := strings.Cut(uri, ":")
	rest, _, _ = strings.Cut(rest, "?")
	name := path.Base(strings.TrimRight(rest, "/"))
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`:\/@`, r) {
			return '-'
		}
		return r
	}, name)
	if name == "" || strings.Trim(name, ".") == "" || len(name) > 200 {
		return "model"
	}
	return name
}

// writeWhole writes a file that has its name only when all of it is there, and returns its size.
func writeWhole(name string, write func(io.Writer) error) (int64, error) {
	temp, err := os.CreateTemp(filepath.Dir(name), ".kubectl-ml-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	err = write(temp)
	size, seekErr := temp.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, seekErr, temp.Chmod(0o644), temp.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(temp.Name(), name)
}
