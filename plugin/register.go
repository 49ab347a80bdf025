package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type registerOptions struct {
	Model, File, From       string
	URI, Digest, Format, To string
	Size                    int64
	Verify                  bool
	Metrics, Params, Data   []string
	Better, Parents         []string
	Repo, Commit, Image     string
	Signature, Baseline     string
	Aliases                 []string
	Store                   storeOptions
	Change                  changeOptions
}

func newRegisterCmd(f *Factory, do func(context.Context, *Factory, registerOptions) error) *cobra.Command {
	var o registerOptions
	c := &cobra.Command{
		Use:     "register MODEL [FILE]",
		Short:   "Make a version of a model, from a run, a file or a URI",
		GroupID: groupModel,
		Long: `Make the next version of a model. It is kept for good: nothing of it changes later but notes, aliases and judgements.

What it is made from:

  --from RUN[/STAGE]   the result of a stage that succeeded: artifact, metrics, parameters, code, image, and the run
  FILE                 a file of at most 900 KiB, which the record itself keeps; with --to URI any file or folder, which
                       is pushed there first
  --uri URI            an artifact that is in its place: s3://, oci://, pvc://, https://. Without --digest it is read
                       once and hashed; --verify does that too and holds it against --digest

The other flags add to what the run says, or replace it. Registering the same stage again gives the version that is
there already.`,
		Example: `  kubectl ml register house-prices --from house-prices-x7k2p
  kubectl ml register house-prices model.pkl --metric rmse=51234.5 --param lr=0.1 --alias staging
  kubectl ml register house-prices ./weights --to s3://models/house-prices/7/ --secret s3-credentials
  kubectl ml register llama --uri oci://ghcr.io/acme/llama:v3 --parent hf://meta-llama/Llama-3.1-8B --better ppl=lower`,
		Args: oneOrTwo("MODEL", "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			if len(args) == 2 {
				o.File = args[1]
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return f.completeModels(c, args, prefix)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.From, "from", "", "a `run`, as RUN or RUN/STAGE; @latest is the newest")
	flags.StringVar(&o.URI, "uri", "", "where the artifact is, as a `URI`")
	flags.StringVar(&o.Digest, "digest", "", "the artifact's `digest`, sha256:<64 hex digits>")
	flags.Int64Var(&o.Size, "size", 0, "the artifact's size in `bytes`")
	flags.StringVar(&o.Format, "format", "", "the artifact's `format`, such as pickle, onnx or safetensors")
	flags.StringVar(&o.To, "to", "", "push FILE to this `URI`")
	flags.BoolVar(&o.Verify, "verify", false, "read the artifact and hold it against the digest")
	o.Store.add(f, c)
	flags.StringSliceVar(&o.Metrics, "metric", nil, "NAME=NUMBER `pairs`")
	flags.StringArrayVar(&o.Params, "param", nil, "a NAME=VALUE `pair`; numbers and true or false are taken as such")
	flags.StringSliceVar(&o.Better, "better", nil, "METRIC=higher or METRIC=lower `pairs`, where the name does not tell")
	flags.StringSliceVar(&o.Data, "data", nil, "NAME=VALUE `pairs` on the training data, such as version=2026-03,digest=sha256:...")
	flags.StringSliceVar(&o.Parents, "parent", nil, "`versions` or URIs that it was made of, such as house-prices:3")
	flags.StringVar(&o.Repo, "code-repo", "", "the `URL` of the code's repository")
	flags.StringVar(&o.Commit, "code-commit", "", "the code's `commit`")
	flags.StringVar(&o.Image, "image", "", "the training container's `image`")
	flags.StringVar(&o.Signature, "signature", "", "a JSON `file` that describes inputs and outputs")
	flags.StringVar(&o.Baseline, "baseline", "", "a JSON `file` with the distributions that drift is measured against")
	flags.StringSliceVar(&o.Aliases, "alias", nil, "`aliases` that point at it then")
	o.Change.add(c)
	_ = c.RegisterFlagCompletionFunc("from", func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return f.completeLogs(c, nil, prefix)
	})
	return c
}

// check refuses what contradicts itself, before anything is read.
func (o *registerOptions) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case o.File != "" && o.URI != "":
		bad("%s and --uri both name the artifact: to push the file there write --to %s", o.File, o.URI)
	case o.To != "" && o.File == "":
		bad("--to %s: which file or folder? write: kubectl ml register %s FILE --to %s", o.To, o.Model, o.To)
	case o.File == "" && o.URI == "" && o.From == "":
		bad("what is the artifact? name a FILE, --uri URI, or the run that made it with --from RUN")
	case o.URI != "":
		if err := artifact.Check(o.URI); err != nil {
			errs = append(errs, fmt.Errorf("--uri: %w", err))
		}
		if strings.HasPrefix(o.URI, "inline:") {
			bad("--uri %s: an artifact that the record keeps is given as FILE", o.URI)
		}
	case o.To != "":
		if err := artifact.Check(o.To); err != nil {
			errs = append(errs, fmt.Errorf("--to: %w", err))
		}
	}
	if err := registry.CheckModel(o.Model); err != nil {
		errs = append(errs, err)
	}
	if o.Size < 0 {
		bad("--size %d must not be negative", o.Size)
	}
	return errors.Join(append(errs, o.Change.check())...)
}

// facts are what the flags say, over what is known already.
func (o *registerOptions) facts(f *registry.Facts, read func(string) ([]byte, error)) error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	f.Model = o.Model
	for _, t := range []struct {
		flag string
		into *string
	}{{o.URI, &f.Artifact.URI}, {o.Digest, &f.Artifact.Digest}, {o.Format, &f.Artifact.Format}, {o.Repo, &f.Code.Repo}, {o.Commit, &f.Code.Commit}, {o.Image, &f.Image}} {
		if t.flag != "" {
			*t.into = t.flag
		}
	}
	if o.Size > 0 {
		f.Artifact.Size = o.Size
	}
	f.Parents = append(f.Parents, o.Parents...)
	note(eachPair("--metric", o.Metrics, func(name, text string) error {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is no finite number", text)
		}
		put(&f.Metrics, name, v)
		return nil
	}))
	note(eachPair("--param", o.Params, func(name, text string) error { put(&f.Params, name, registry.Scalar(text)); return nil }))
	note(eachPair("--data", o.Data, func(name, text string) error { put(&f.Data, name, registry.Scalar(text)); return nil }))
	better, err := parseBetter(o.Better)
	note(err)
	for metric, d := range better {
		put(&f.Better, metric, d)
	}
	for _, d := range []struct {
		flag, file string
		into       *json.RawMessage
	}{{"--signature", o.Signature, &f.Signature}, {"--baseline", o.Baseline, &f.Baseline}} {
		if d.file == "" {
			continue
		}
		text, err := read(d.file)
		if err == nil && !json.Valid(text) {
			err = fmt.Errorf("%s is no JSON document", d.file)
		}
		if err != nil {
			note(fmt.Errorf("%s: %w", d.flag, err))
		}
		*d.into = text
	}
	return errors.Join(errs...)
}

// put sets a value in a map that may be nil.
func put[M ~map[string]V, V any](m *M, key string, v V) {
	if *m == nil {
		*m = M{}
	}
	(*m)[key] = v
}

// eachPair takes NAME=VALUE apart.
func eachPair(flag string, pairs []string, take func(name, value string) error) error {
	var errs []error
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			errs = append(errs, fmt.Errorf("%s %q: write %s NAME=VALUE", flag, p, flag))
			continue
		}
		if err := take(name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", flag, name, err))
		}
	}
	return errors.Join(errs...)
}

func runRegister(ctx context.Context, f *Factory, o registerOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	facts, key, err := o.origin(ctx, c)
	if err != nil {
		return err
	}
	if o.File != "" || o.URI != "" {
		// Size and digest of the run's artifact are not this one's.
		facts.Artifact = pipeline.Artifact{}
	}
	if err := o.facts(&facts, os.ReadFile); err != nil {
		return err
	}
	inline, err := o.artifact(ctx, f, c, &facts.Artifact)
	if err != nil {
		return err
	}
	mark := o.Change.mark(ctx, f, c)
	facts.CreatedBy, facts.CreatedAt = mark.By, mark.At
	v, made, err := registry.Register(ctx, c, facts, registry.RegisterOptions{Key: key, Inline: inline, By: mark.By, DryRun: o.Change.DryRun.asked()})
	if err != nil {
		return err
	}
	return o.registered(ctx, f, c, v, made, mark)
}

// origin are the facts of the run that --from names, and what tells that execution from others.
func (o *registerOptions) origin(ctx context.Context, c *client.Client) (registry.Facts, string, error) {
	if o.From == "" {
		return registry.Facts{}, "", nil
	}
	arg, stage, _ := strings.Cut(strings.TrimPrefix(o.From, runRef), "/")
	name, err := run.Find(ctx, c, arg)
	if err != nil {
		return registry.Facts{}, "", err
	}
	r, err := run.Get(ctx, c, name)
	if err != nil {
		return registry.Facts{}, "", err
	}
	if stage == "" {
		if stage, err = modelStage(r); err != nil {
			return registry.Facts{}, "", err
		}
	}
	facts, key, err := run.ModelFacts(r, stage)
	if o.File != "" || o.URI != "" {
		// Another artifact is another version, though the same stage made it.
		key = ""
	}
	return facts, key, err
}

// modelStage is the one stage of a run whose result names a model.
func modelStage(r run.Run) (string, error) {
	var stages []string
	for _, s := range r.Now {
		if s.State == run.Succeeded && s.Result != nil && s.Result.Model != nil {
			stages = append(stages, s.Name)
		}
	}
	switch len(stages) {
	case 0:
		return "", fmt.Errorf("no stage of run %s has succeeded with a model in its result\n  see how it went with: kubectl ml status %s", r.Name, r.Name)
	case 1:
		return stages[0], nil
	}
	return "", fmt.Errorf("several stages of run %s have made a model: choose one of %s, such as --from %s/%s", r.Name, strings.Join(stages, ", "), r.Name, stages[0])
}

// artifact finds out or checks what the artifact is, and returns its bytes where the record keeps them.
func (o *registerOptions) artifact(ctx context.Context, f *Factory, c *client.Client, a *pipeline.Artifact) (inline []byte, err error) {
	switch {
	case o.File != "" && o.To == "":
		return readInline(o.File, a)
	case o.File != "" && o.Change.DryRun.dry():
		// Nothing is pushed by a dry run; what is known then is the place.
		a.URI = o.To
		f.say("%s would be pushed to %s%s", o.File, o.To, o.Change.DryRun.suffix())
		return nil, nil
	case o.File != "":
		opt, end := o.Store.options(f)
		pushed, err := artifact.Push(ctx, c, o.File, o.To, opt)
		end()
		if err != nil {
			return nil, transferred(ctx, f, err)
		}
		if a.Digest != "" && a.Digest != pushed.Digest {
			return nil, fmt.Errorf("%s has the digest %s, not %s as --digest says", o.File, pushed.Digest, a.Digest)
		}
		pushed.Format = a.Format
		*a = pushed
		return nil, nil
	case a.Digest != "" && !o.Verify:
		return nil, nil
	}
	opt, end := o.Store.options(f)
	found, err := artifact.Verify(ctx, c, artifact.Item{Artifact: *a}, opt)
	end()
	var mismatch *artifact.MismatchError
	switch {
	case errors.As(err, &mismatch) || err != nil && ctx.Err() != nil:
		return nil, transferred(ctx, f, err)
	case err != nil && o.Verify:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w\n  to register it without reading it, give its digest: --digest sha256:DIGITS", err)
	}
	*a = found
	return nil, nil
}

// readInline reads a file that the record is to keep.
func readInline(file string, a *pipeline.Artifact) ([]byte, error) {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the artifact: %w", err)
	case !st.Mode().IsRegular() || st.Size() > registry.MaxInline:
		what := "has " + views.Bytes(st.Size())
		if !st.Mode().IsRegular() {
			what = "is no plain file"
		}
		return nil, fmt.Errorf("%s %s: a record keeps one file of at most %s\n  push it to a store with: --to s3://BUCKET/KEY, or oci:// or pvc://", file, what, views.Bytes(registry.MaxInline))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the artifact: %w", err)
	}
	digest := registry.DigestOf(text)
	if a.Digest != "" && a.Digest != digest {
		return nil, fmt.Errorf("%s has the digest %s, not %s as --digest says", file, digest, a.Digest)
	}
	a.URI, a.Digest, a.Size = "inline:"+filepath.Base(file), digest, int64(len(text))
	return text, nil
}

// registered prints the version and lets the aliases point at it.
func (o *registerOptions) registered(ctx context.Context, f *Factory, c *client.Client, v registry.Version, made bool, mark registry.Mark) error {
	done := "registered"
	if !made {
		done = "unchanged: it was registered before"
	}
	r := registry.Ref{Model: v.Model, Version: v.Version}
	if o.Change.Output.table() {
		f.print("%s%s %s%s\n", modelRef, r, done, o.Change.DryRun.suffix())
	}
	if o.Change.Comment != "" && made && !o.Change.DryRun.dry() {
		note := registry.Ref{Model: v.Model, Version: v.Version}
		if err := registry.Annotate(ctx, c, note, map[string]string{"comment": o.Change.Comment}, nil, registry.Mark{By: mark.By, At: mark.At}, nil); err != nil {
			return fmt.Errorf("%s is registered, but the comment is not kept: %w", r, err)
		}
	}
	for _, alias := range o.Aliases {
		if o.Change.DryRun.dry() && made {
			continue // the version is not there to be pointed at
		}
		m := registry.Move{Model: v.Model, Alias: alias, To: v.Version, Action: registry.Moved, By: mark.By, Comment: mark.Comment, DryRun: o.Change.DryRun.asked()}
		e, err := registry.SetAlias(ctx, c, m)
		if err != nil {
			return fmt.Errorf("%s is registered, but its alias is not set: %w", r, err)
		}
		v.Aliases = append(v.Aliases, alias)
		if o.Change.Output.table() {
			f.print("%s%s%s\n", modelRef, eventText(v.Model, e), o.Change.DryRun.suffix())
		}
	}
	if !o.Change.Output.table() {
		return f.one(o.Change.Output, versionItem(v, "ModelVersion", v))
	}
	o.Change.next(f, "See it with", "model show %s", r)
	o.Change.next(f, "Promote it with", "model promote %s", r)
	return nil
}
