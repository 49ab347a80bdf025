package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Item is an artifact to read.
type Item struct {
	pipeline.Artifact
	// Namespace is that of the claim behind a pvc:// URI and of the Secret; empty is the client's.
	Namespace string
	// Inline gives the bytes behind an inline: URI.
	Inline func(context.Context) ([]byte, error)
}

// Options say how artifacts are moved. The zero value works for what needs neither credentials nor pods.
type Options struct {
	// Secret names the Secret with the store's credentials; without one they come from Env and the tools' own files.
	Secret string
	Env    func(string) string
	// Image is the helper pod's, with this program as its entrypoint; PullPolicy is empty for the cluster's default.
	Image      string
	PullPolicy string
	// Said is told how far it is, ten times a second at most, and once at the end.
	Said func(Progress)
	// Extract unpacks an archive (tar, tar.gz, zip) into a folder, once its digest has been verified.
	Extract bool
	// Force replaces a folder that is something else.
	Force bool
	// PlainHTTP speaks HTTP with registries; with those of this machine that is tried anyway.
	PlainHTTP bool
	// Free is the room left in a folder's file system in bytes; nil asks the system.
	Free func(folder string) (int64, error)
	// Stall is how long a store may send nothing, 0 for a minute. Start is how long a helper pod may take to start, 0 for
	// three minutes.
	Stall, Start time.Duration
	// Transport carries HTTP; nil is one with this package's timeouts.
	Transport http.RoundTripper
	Now       func() time.Time
}

// Progress is how far a transfer is.
type Progress struct {
	// Doing says what goes on, such as pull, push or hash, or what is waited for.
	Doing string
	// Done and Total are bytes; Total is -1 when the store does not say. Both are 0 while nothing flows.
	Done, Total int64
	// Rate is in bytes a second over the last seconds, 0 when unknown.
	Rate float64
}

// store is one artifact in its place.
type store interface {
	// about says what is known before it is read.
	about(ctx context.Context) (about, error)
	// read gives the bytes from an offset on if they are still those that mark was given for, else from the beginning.
	read(ctx context.Context, from int64, mark string) (*body, error)
	// write stores p and returns the URI by which it is found again.
	write(ctx context.Context, p *payload, m *meter) (string, error)
	// close gives back what the store holds, such as a pod. It must work after ctx has ended.
	close() error
}

// about is what a store knows of an artifact.
type about struct {
	name   string
	folder bool
	// size is -1 when it is not known yet; that of a folder is its tar's.
	size int64
	// digest is that of the content where the store vouches for it; manifest that of the manifest which lists it.
	digest, manifest string
}

// body is the bytes of an artifact, from an offset on.
type body struct {
	io.ReadCloser
	from int64
	// size is of the whole, -1 when the store does not say.
	size int64
	// mark tells this content from another under the same URI, such as an ETag; empty when the store has none.
	mark string
}

// MissingError says that there is nothing where the URI points.
type MissingError struct {
	URI string
	// Why is what the store said.
	Why string
}

func (e *MissingError) Error() string {
	s := "there is no artifact at " + Show(e.URI)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// MismatchError says that an artifact is not what it should be. A digest is empty and a size is -1 where it is unknown.
type MismatchError struct {
	URI               string
	Want, Got         string
	WantSize, GotSize int64
	Early             bool
}

func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not the artifact that was asked for", Show(e.URI))
	if e.Want != "" && e.Got != "" {
		fmt.Fprintf(&b, "\n  wanted %s\n  found  %s", e.Want, e.Got)
	}
	if e.WantSize > 0 && e.GotSize >= 0 && e.WantSize != e.GotSize {
		fmt.Fprintf(&b, "\n  wanted %d bytes, found %d", e.WantSize, e.GotSize)
	}
	return b.String()
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// opened is a store that is ready to be read, with what it must match.
type opened struct {
	store
	about
	item Item
	loc  location
	o    Options
	m    *meter
}

// open finds the store of an item and asks it what it has.
func open(ctx context.Context, c *client.Client, item Item, o Options) (*opened, error) {
	loc, err := parse(item.URI)
	if err == nil {
		err = loc.readable()
	}
	if err != nil {
		return nil, err
	}
	if item.Digest != "" && !digestPattern.MatchString(item.Digest) {
		return nil, fmt.Errorf("the digest %q must be sha256: and 64 lower-case hex digits", item.Digest)
	}
	o = o.filled()
	m := newMeter(o)
	s, err := storeOf(ctx, c, loc, item, o, m)
	if err != nil {
		return nil, err
	}
	a, err := s.about(ctx)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	x := &opened{store: s, about: a, item: item, loc: loc, o: o, m: m}
	if err := x.expect(a.digest, a.size); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return x, nil
}

func (o Options) filled() Options {
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.Free == nil {
		o.Free = free
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	if o.Start == 0 {
		o.Start = 3 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = transport(o)
	}
	return o
}

// storeOf is the store of a location, which asks for nothing yet unless it needs credentials.
func storeOf(ctx context.Context, c *client.Client, l location, item Item, o Options, m *meter) (store, error) {
	if item.Namespace == "" && c != nil {
		item.Namespace = c.Namespace
	}
	creds, err := credentialsFrom(ctx, c, item.Namespace, o)
	if err != nil {
		return nil, err
	}
	switch l.scheme {
	case "file":
		return &fileStore{path: l.path, uri: l.raw, o: o}, nil
	case "http", "https":
		return newWebStore(l, creds, o)
	case "inline":
		return &inlineStore{name: l.path, uri: l.raw, bytes: item.Inline}, nil
	case "s3":
		return newS3Store(l, creds, o)
	case "oci":
		return newOCIStore(l, creds, o)
	case "pvc":
		return newClaimStore(c, l, item.Namespace, o, m), nil
	}
	return nil, fmt.Errorf("%s:// is not known", l.scheme)
}

// expect compares what a store says beforehand with what is asked for. A registry's artifact may be asked for by the
// digest of its content or by that of its manifest.
func (x *opened) expect(digest string, size int64) error {
	want := x.item.Digest
	if want == x.manifest && want != "" {
		return nil
	}
	e := &MismatchError{URI: x.item.URI, Want: want, Got: digest, WantSize: x.item.Size, GotSize: size, Early: true}
	if want != "" && digest != "" && want != digest {
		return e
	}
	if x.item.Size > 0 && size >= 0 && size != x.item.Size {
		return e
	}
	return nil
}

// judge compares what was read with what is asked for, and returns the artifact as it is.
func (x *opened) judge(got string, size int64) (pipeline.Artifact, error) {
	a := x.item.Artifact
	if a.Digest != "" && a.Digest != got && a.Digest != x.manifest || x.digest != "" && x.digest != got ||
		a.Digest != x.manifest && a.Size > 0 && a.Size != size {
		want := a.Digest
		if want == "" || want == x.manifest {
			want = x.digest
		}
		return a, &MismatchError{URI: a.URI, Want: want, Got: got, WantSize: a.Size, GotSize: size}
	}
	a.Digest, a.Size = got, size
	return a, nil
}

// Verify streams an artifact and hashes it, and keeps nothing. Without a digest in item the one found is returned.
func Verify(ctx context.Context, c *client.Client, item Item, o Options) (pipeline.Artifact, error) {
	return Copy(ctx, c, item, io.Discard, o)
}

// Copy streams an artifact to w, a folder as its tar. That the digest is wrong is known only when all is written.
func Copy(ctx context.Context, c *client.Client, item Item, w io.Writer, o Options) (a pipeline.Artifact, err error) {
	x, err := open(ctx, c, item, o)
	if err != nil {
		return item.Artifact, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	in, err := x.stream(ctx, 0, "")
	if err != nil {
		return item.Artifact, err
	}
	defer in.stop()
	h := newHash()
	doing := "pull"
	if w == io.Discard {
		doing = "verify"
	}
	x.m.begin(doing, in.size, 0)
	n, err := io.Copy(io.MultiWriter(h, w), x.m.reader(in))
	x.m.end()
	if err != nil {
		return item.Artifact, err
	}
	return x.judge(digestOf(h), n)
}

// Push stores a file or folder at a URI, and returns how it is found again: the final URI, digest and size.
func Push(ctx context.Context, c *client.Client, from, uri string, o Options) (a pipeline.Artifact, err error) {
	loc, err := parse(uri)
	if err == nil {
		err = loc.readable()
	}
	if err != nil {
		return a, err
	}
	o = o.filled()
	m := newMeter(o)
	p, err := newPayload(ctx, from, m)
	if err != nil {
		return a, err
	}
	s, err := storeOf(ctx, c, loc, Item{Artifact: pipeline.Artifact{URI: uri}}, o, m)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	final, err := s.write(ctx, p, m)
	m.end()
	if err != nil {
		return a, err
	}
	return pipeline.Artifact{URI: final, Digest: p.digest, Size: p.size, Format: formatOf(p)}, nil
}

// formatOf is what the name tells of an artifact's format; empty when it tells nothing.
func formatOf(p *payload) string {
	if p.folder {
		return "folder"
	}
	name := strings.ToLower(p.name)
	for ext, format := range map[string]string{
		".pkl": "pickle", ".pickle": "pickle", ".joblib": "joblib", ".onnx": "onnx", ".safetensors": "safetensors",
		".gguf": "gguf", ".pt": "pytorch", ".pth": "pytorch", ".h5": "hdf5", ".keras": "keras", ".npz": "numpy",
		".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".zip": "zip",
	} {
		if strings.HasSuffix(name, ext) {
			return format
		}
	}
	return ""
}

// exists says what a path is, links followed.
func exists(path string) (isFolder, there bool, err error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	return st.IsDir(), true, nil
}
