package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

type importOptions struct {
	From, Name, To    string
	Renumber, Aliases bool
	TrackingURI       string
	Verify            bool
	Store             storeOptions
	Change            changeOptions
}

// mlflowRef heads the versions of MLflow.
const mlflowRef = "mlflow://"

func newModelImportCmd(f *Factory, do func(context.Context, *Factory, importOptions) error) *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import (FILE | - | mlflow://MODEL/VERSION)",
		Short: "Take over an exported model, or a version of MLflow",
		Long: `Take over what "kubectl ml model export" wrote, in another namespace or cluster. All of it is checked before the first
version is written: the checksum, the digests of the artifacts, the numbers. Versions keep their numbers; where one is
taken nothing is imported, unless --renumber gives all of them new ones. An import that broke off goes on when the same
command is given again.

The history comes along as lines that say where they are from. Rejected and archived versions stay so; approvals are not
taken over, because who approved there decided nothing here; aliases only with --aliases, where they are not set here.
Artifacts of a tar are pushed below the URI of --to; without it the versions name the places that they named before.

mlflow://MODEL/VERSION or mlflow://MODEL@ALIAS asks a tracking server for a version and its run: metrics, parameters,
data set, commit, signature. The artifact stays where MLflow has it; --verify reads it once for its digest. The server
is --tracking-uri or MLFLOW_TRACKING_URI; MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, are the credentials.`,
		Example: `  kubectl ml model import house-prices.tar -n production
  kubectl ml model import house-prices.json --name house-prices-old --dry-run=server
  kubectl ml model import mlflow://HousePrices/7 --name house-prices --tracking-uri https://mlflow.example.com`,
		Args: exactlyOne("FILE or mlflow://MODEL/VERSION"),
		RunE: func(c *cobra.Command, args []string) error { o.From = args[0]; return do(c.Context(), f, o) },
	}
	c.Flags().StringVar(&o.Name, "name", "", "the model's `name` here (default: the one that it had)")
	c.Flags().BoolVar(&o.Renumber, "renumber", false, "give the versions the next free numbers")
	c.Flags().BoolVar(&o.Aliases, "aliases", false, "set its aliases too, where they are not set here")
	c.Flags().StringVar(&o.To, "to", "", "push the artifacts of the tar below this `URI`, such as s3://models/")
	c.Flags().StringVar(&o.TrackingURI, "tracking-uri", "", "MLflow's tracking server, as a `URL`")
	c.Flags().BoolVar(&o.Verify, "verify", false, "read the artifact of MLflow's version once, to keep its digest")
	o.Store.add(f, c)
	o.Change.add(c)
	return c
}

func (o *importOptions) check() error {
	fromMLflow := strings.HasPrefix(o.From, mlflowRef)
	switch {
	case fromMLflow && o.To != "":
		return errors.New("--to is for the artifacts of a tar: those of MLflow stay where they are")
	case !fromMLflow && (o.TrackingURI != "" || o.Verify):
		return errors.New("--tracking-uri and --verify are for mlflow://MODEL/VERSION; a file is always verified")
	case o.To != "":
		if err := artifact.Check(strings.TrimSuffix(o.To, "/") + "/model"); err != nil {
			return fmt.Errorf("--to: %w", err)
		}
	}
	if o.Name != "" {
		if err := registry.CheckModel(o.Name); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	return o.Change.check()
}

func runModelImport(ctx context.Context, f *Factory, o importOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "kubectl-ml-import-")
	if err != nil {
		return fmt.Errorf("make room for the artifacts: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	b, err := o.read(ctx, f, folder)
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if err := o.place(ctx, f, c, &b, folder); err != nil {
		return err
	}
	mark := o.Change.mark(ctx, f, c)
	var items []item
	taken, err := registry.Import(ctx, c, b, registry.ImportOptions{
		As: o.Name, Renumber: o.Renumber, Mark: mark, DryRun: o.Change.DryRun.asked(),
		Inline: func(v registry.Bundled) ([]byte, error) { return os.ReadFile(importedFile(folder, v.Version)) },
		Said: func(t registry.Taken) {
			items = append(items, versionItem(t.Version, "ModelVersion", t))
			if o.Change.Output.table() {
				f.print("%s%s%s\n", modelRef, takenText(b, t), o.Change.DryRun.suffix())
			}
		},
	})
	if err != nil {
		return err
	}
	if o.Aliases && !o.Change.DryRun.dry() {
		if err := o.alias(ctx, f, c, b, taken, mark); err != nil {
			return err
		}
	}
	if !o.Change.Output.table() {
		return f.list(o.Change.Output, items, nil)
	}
	if len(taken) > 0 {
		o.Change.next(f, "See what is there with", "models %s", taken[0].Model)
	}
	return nil
}

func takenText(b registry.Bundle, t registry.Taken) string {
	here := registry.Ref{Model: t.Model, Version: t.Version.Version}.String()
	if !t.Made {
		return here + " unchanged: it is here already"
	}
	if there := (registry.Ref{Model: b.Model, Version: t.From}).String(); there != here {
		return here + " imported from " + there
	}
	return here + " imported"
}

// read reads the file, or asks MLflow. The artifacts of a tar go into folder.
func (o *importOptions) read(ctx context.Context, f *Factory, folder string) (registry.Bundle, error) {
	if strings.HasPrefix(o.From, mlflowRef) {
		return o.ask(ctx, f)
	}
	in, name := f.In, "the input"
	if o.From != "-" {
		file, err := os.Open(o.From)
		if err != nil {
			return registry.Bundle{}, fmt.Errorf("read the exported model: %w", err)
		}
		defer func() { _ = file.Close() }()
		in, name = file, o.From
	}
	b, err := registry.ReadBundle(in, func(v registry.Bundled, r io.Reader) error {
		out, err := os.Create(importedFile(folder, v.Version))
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, out.Close())
	})
	if err != nil {
		return b, fmt.Errorf("%s: %w\n  nothing was imported", name, err)
	}
	return b, nil
}

func importedFile(folder string, version int) string {
	return filepath.Join(folder, strconv.Itoa(version))
}

// place pushes the artifacts of the tar to where the versions are to name them.
func (o *importOptions) place(ctx context.Context, f *Factory, c *client.Client, b *registry.Bundle, folder string) error {
	var left []string
	for i := range b.Versions {
		v := &b.Versions[i]
		if v.File == "" || strings.HasPrefix(v.Artifact.URI, "inline:") {
			continue
		}
		if o.To == "" {
			left = append(left, v.Artifact.URI)
			continue
		}
		to := strings.TrimSuffix(o.To, "/") + "/" + strings.TrimPrefix(v.File, "artifacts/")
		if o.Change.DryRun.dry() {
			f.say("the artifact of version %d would be pushed to %s%s", v.Version, to, o.Change.DryRun.suffix())
			continue
		}
		opt, end := o.Store.options(f)
		pushed, err := artifact.Push(ctx, c, importedFile(folder, v.Version), to, opt)
		end()
		if err != nil {
			return transferred(ctx, f, fmt.Errorf("push the artifact of version %d: %w\n  nothing was imported", v.Version, err))
		}
		if pushed.Digest != v.Artifact.Digest {
			return fmt.Errorf("push the artifact of version %d: its digest there is %s, not %s\n  nothing was imported", v.Version, pushed.Digest, v.Artifact.Digest)
		}
		v.Artifact.URI = pushed.URI
	}
	if len(left) > 0 {
		f.say("The artifacts in the tar are not kept: the versions name %s.\nPush them to a place of your own with:  --to URI", clean(strings.Join(slices.Compact(left), ", ")))
	}
	return nil
}

// alias sets the aliases of the bundle that are not set here.
func (o *importOptions) alias(ctx context.Context, f *Factory, c *client.Client, b registry.Bundle, taken []registry.Taken, mark registry.Mark) error {
	none := 0
	for _, t := range taken {
		for alias, n := range b.Aliases {
			if n != t.From {
				continue
			}
			m := registry.Move{Model: t.Model, Alias: alias, To: t.Version.Version, IfCurrent: &none, Action: registry.Moved, By: mark.By, Comment: mark.Comment}
			e, err := registry.SetAlias(ctx, c, m)
			var conflict *registry.ConflictError
			switch {
			case errors.As(err, &conflict) && conflict.Is == m.To:
			case err != nil:
				f.say("warning: %s is not set: %s", clean(alias), clean(err.Error()))
			case o.Change.Output.table():
				f.print("%s%s\n", modelRef, eventText(t.Model, e))
			}
		}
	}
	return nil
}

// ask reads a version of MLflow as a bundle of one.
func (o *importOptions) ask(ctx context.Context, f *Factory) (registry.Bundle, error) {
	model, version, alias, err := registry.ParseMLflow(o.From)
	if err != nil {
		return registry.Bundle{}, err
	}
	server := o.TrackingURI
	if server == "" {
		server = f.Getenv("MLFLOW_TRACKING_URI")
	}
	if server == "" {
		return registry.Bundle{}, errors.New("which tracking server? write --tracking-uri https://HOST, or set MLFLOW_TRACKING_URI")
	}
	m := registry.MLflow{
		URI: server, Token: f.Getenv("MLFLOW_TRACKING_TOKEN"), User: f.Getenv("MLFLOW_TRACKING_USERNAME"), Password: f.Getenv("MLFLOW_TRACKING_PASSWORD"),
	}
	v, err := m.Get(ctx, model, version, alias)
	if err != nil {
		return registry.Bundle{}, err
	}
	for _, left := range v.Left {
		f.say("warning: not taken over: %s", clean(left))
	}
	if err := o.hash(ctx, f, &v); err != nil {
		return registry.Bundle{}, err
	}
	return v.Bundle(hostOf(server), f.Now()), nil
}

func hostOf(server string) string {
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		return u.Host
	}
	return server
}

// hash finds out the digest of MLflow's artifact, which MLflow itself does not know.
func (o *importOptions) hash(ctx context.Context, f *Factory, v *registry.Foreign) error {
	if !o.Verify {
		f.say("warning: MLflow knows no digest, so nobody can tell later whether the artifact is the same; --verify reads it once")
		return nil
	}
	c, err := f.Offline()
	if err != nil {
		return err
	}
	opt, end := o.Store.options(f)
	v.Artifact, err = artifact.Verify(ctx, c, artifact.Item{Artifact: v.Artifact}, opt)
	end()
	return transferred(ctx, f, err)
}
