package artifact

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	ocicredentials "oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Media types and the annotation of ModelPack, https://github.com/modelpack/model-spec.
const (
	modelManifest = "application/vnd.cncf.model.manifest.v1+json"
	modelConfig   = "application/vnd.cncf.model.config.v1+json"
	weightRaw     = "application/vnd.cncf.model.weight.v1.raw"
	weightTar     = "application/vnd.cncf.model.weight.v1.tar"
	filePath      = "org.cncf.model.filepath"
)

// maxManifest bounds a manifest, as registries do.
const maxManifest = 4 << 20

// ociStore is an artifact in a registry. One with a single raw layer is that file, one with a single plain tar is that
// folder; any other is a folder of all its layers, which only its manifest's digest identifies.
type ociStore struct {
	loc      location
	repo     *remote.Repository
	o        Options
	manifest ocispec.Manifest
}

func newOCIStore(l location, c credentials, o Options) (*ociStore, error) {
	repo, err := remote.NewRepository(l.path)
	if err != nil {
		return nil, err
	}
	repo.PlainHTTP = o.PlainHTTP || loopback(l.host)
	keys, err := ociKeys(c)
	if err != nil {
		return nil, err
	}
	if c.secret {
		if k, err := keys.Get(context.Background(), l.host); err == nil && k == auth.EmptyCredential {
			return nil, c.without("an entry for " + l.host + " in .dockerconfigjson")
		}
	}
	cl := &auth.Client{Client: &http.Client{Transport: o.Transport}, Cache: auth.NewCache(), Credential: ocicredentials.Credential(keys)}
	if loopback(l.host) {
		cl.BlockedRealmPrefixes = []netip.Prefix{} // its tokens come from this machine too
	}
	cl.SetUserAgent("kubectl-ml")
	repo.Client = cl
	return &ociStore{loc: l, repo: repo, o: o}, nil
}

// loopback says whether a registry is on this machine.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// ociKeys are those of a Secret of type kubernetes.io/dockerconfigjson, of the variable that GitLab uses for the same
// JSON, or those that docker login left, with its helpers.
func ociKeys(c credentials) (ocicredentials.Store, error) {
	text := c.get(".dockerconfigjson", "DOCKER_AUTH_CONFIG")
	switch {
	case text != "":
		s, err := ocicredentials.NewMemoryStoreFromDockerConfig([]byte(text))
		if err != nil {
			return nil, errors.New("the docker config with the registry's credentials cannot be read") // its text may hold them
		}
		return s, nil
	case c.secret:
		return nil, c.without(".dockerconfigjson (type kubernetes.io/dockerconfigjson)")
	}
	folder := c.get("DOCKER_CONFIG")
	if folder == "" {
		home := c.get("HOME")
		if home == "" {
			return ocicredentials.NewMemoryStore(), nil
		}
		folder = filepath.Join(home, ".docker")
	}
	file := filepath.Join(folder, "config.json")
	if _, err := os.Stat(file); err != nil {
		return ocicredentials.NewMemoryStore(), nil //nolint:nilerr // nobody logged in
	}
	return ocicredentials.NewStore(file, ocicredentials.StoreOptions{})
}

func (s *ociStore) about(ctx context.Context) (about, error) {
	a := about{name: s.loc.name(), size: -1}
	d, err := s.repo.Resolve(ctx, s.repo.Reference.Reference)
	if err != nil {
		return a, s.explain("read", err)
	}
	if d.Size > maxManifest {
		return a, fmt.Errorf("read %s: its manifest is larger than %s", s.loc.raw, size(maxManifest))
	}
	text, err := s.blob(ctx, d)
	if err != nil {
		return a, s.explain("read", err)
	}
	if err := json.Unmarshal(text, &s.manifest); err != nil {
		return a, fmt.Errorf("read %s: its manifest is no JSON of the kind that is expected", s.loc.raw)
	}
	if len(s.manifest.Layers) == 0 {
		return a, &client.Error{Doing: "read " + s.loc.raw, What: fmt.Sprintf("it is no artifact with files (%s)", d.MediaType), Hint: "an index of images is none; name one of its manifests by digest"}
	}
	a.manifest = d.Digest.String()
	layer := s.manifest.Layers[0]
	switch _, plainTar := tarOf(layer.MediaType); {
	case len(s.manifest.Layers) > 1 || plainTar && compressed(layer.MediaType):
		a.folder = true
	case plainTar:
		a.folder, a.size, a.digest = true, layer.Size, layer.Digest.String()
	default:
		a.name, a.size, a.digest = safeName(filepath.Base(cmp.Or(title(layer), a.name))), layer.Size, layer.Digest.String()
	}
	return a, nil
}

// blob reads a small one and verifies it.
func (s *ociStore) blob(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	r, err := s.repo.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	if godigest.FromBytes(text) != d.Digest {
		return nil, &MismatchError{URI: s.loc.raw, Want: d.Digest.String(), Got: godigest.FromBytes(text).String(), GotSize: -1}
	}
	return text, nil
}

// title is a file's name in its layer's annotations.
func title(d ocispec.Descriptor) string {
	return cmp.Or(d.Annotations[filePath], d.Annotations[ocispec.AnnotationTitle])
}

// tarOf says whether a layer of a media type is a tar, and by what it is compressed.
func tarOf(mediaType string) (compression string, isTar bool) {
	_, rest, _ := strings.Cut(mediaType, "tar")
	return strings.TrimLeft(rest, "+."), strings.HasSuffix(mediaType, "tar") || strings.Contains(mediaType, ".tar+") || strings.Contains(mediaType, ".tar.")
}

func compressed(mediaType string) bool { c, _ := tarOf(mediaType); return c != "" }

func (s *ociStore) read(ctx context.Context, from int64, mark string) (*body, error) {
	layers := s.manifest.Layers
	if len(layers) == 1 && !compressed(layers[0].MediaType) {
		return s.layer(ctx, layers[0], from, mark)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.join(ctx, w)) }()
	return &body{ReadCloser: r, size: -1}, nil
}

// layer reads a layer from an offset on. Its digest names it, so it is always the same one.
func (s *ociStore) layer(ctx context.Context, d ocispec.Descriptor, from int64, mark string) (*body, error) {
	r, err := s.repo.Blobs().Fetch(ctx, d)
	if err != nil {
		return nil, s.explain("read", err)
	}
	b := &body{ReadCloser: r, size: d.Size, mark: d.Digest.String()}
	if seek, ok := r.(io.Seeker); ok && from > 0 && mark == b.mark {
		if _, err := seek.Seek(from, io.SeekStart); err != nil {
			_ = r.Close()
			return nil, passingError{s.explain("read", err)}
		}
		b.from = from
	}
	return b, nil
}

// join writes all layers as one tar, each verified: a raw one as a file of its title, a tar's files as they are.
func (s *ociStore) join(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	for i, d := range s.manifest.Layers {
		open := func(ctx context.Context, from int64, mark string) (*body, error) { return s.layer(ctx, d, from, mark) }
		in, err := newStream(ctx, s.loc.raw, s.o.Stall, open, 0, "")
		if err != nil {
			return err
		}
		h := newHash()
		r := io.TeeReader(in, h)
		compression, isTar := tarOf(d.MediaType)
		switch {
		case isTar:
			err = splice(out, r, compression)
		default:
			name := cmp.Or(title(d), fmt.Sprintf("layer-%d", i))
			if err = out.WriteHeader(tarHeader(entry{name, d.Size})); err == nil {
				_, err = io.Copy(out, r)
			}
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		in.stop()
		if err != nil {
			return fmt.Errorf("layer %d of %s: %w", i+1, s.loc.raw, err)
		}
		if got := digestOf(h); got != d.Digest.String() {
			return &MismatchError{URI: s.loc.raw, Want: d.Digest.String(), Got: got, GotSize: -1}
		}
	}
	return out.Close()
}

// splice copies the entries of a layer's tar; what unpacks them judges their names.
func splice(out *tar.Writer, r io.Reader, compression string) error {
	switch compression {
	case "":
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r = z
	default:
		return fmt.Errorf("a layer that is compressed with %s is not read here", compression)
	}
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// write pushes a manifest with one layer. Nothing in it tells a time, so that the same model has the same digest.
func (s *ociStore) write(ctx context.Context, p *payload, m *meter) (string, error) {
	layer := ocispec.Descriptor{
		MediaType: weightRaw, Digest: godigest.Digest(p.digest), Size: p.size,
		Annotations: map[string]string{filePath: p.name, ocispec.AnnotationTitle: p.name},
	}
	if p.folder {
		layer.MediaType = weightTar
	}
	config, err := json.Marshal(map[string]any{
		"descriptor": map[string]any{"name": p.name},
		"config":     map[string]any{},
		"modelfs":    map[string]any{"type": "layers", "diffIds": []string{p.digest}},
	})
	if err != nil {
		return "", err
	}
	configBlob := ocispec.Descriptor{MediaType: modelConfig, Digest: godigest.FromBytes(config), Size: int64(len(config))}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: modelManifest,
		Config: configBlob, Layers: []ocispec.Descriptor{layer},
	})
	if err != nil {
		return "", err
	}
	m.begin("push", p.size, 0)
	r := p.reader()
	defer func() { _ = r.Close() }()
	if err := s.upload(ctx, layer, m.reader(r)); err != nil {
		return "", err
	}
	if err := s.upload(ctx, configBlob, bytes.NewReader(config)); err != nil {
		return "", err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: godigest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := s.repo.PushReference(ctx, d, bytes.NewReader(manifest), s.repo.Reference.Reference); err != nil {
		return "", s.explain("write", err)
	}
	return s.loc.raw, nil
}

// upload pushes a blob unless the registry has it: a push that was broken off goes on with what is missing. The registry
// compares the digest itself.
func (s *ociStore) upload(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	if there, err := s.repo.Blobs().Exists(ctx, d); err == nil && there {
		return nil
	}
	if err := s.repo.Blobs().Push(ctx, d, io.NopCloser(r)); err != nil {
		return s.explain("write", err)
	}
	return nil
}

// explain puts an error of a registry into words.
func (s *ociStore) explain(doing string, err error) error {
	var r *errcode.ErrorResponse
	var mismatch *MismatchError
	e := &client.Error{Doing: doing + " " + s.loc.raw, What: err.Error(), Err: err}
	switch {
	case errors.As(err, &mismatch):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return &MissingError{URI: s.loc.raw}
	case errors.As(err, &r) && (r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden), errors.Is(err, auth.ErrBasicCredentialNotFound):
		e.What = s.loc.host + " wants credentials, or other ones"
		e.Hint = "log in with docker or oras, or name a Secret of type kubernetes.io/dockerconfigjson with --secret"
	case errors.As(err, &r) && (r.StatusCode == http.StatusTooManyRequests || r.StatusCode >= 500):
		return passingError{e}
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.What, e.Hint = s.loc.host+" speaks plain HTTP", "if that is meant: --plain-http"
	}
	return e
}

func (*ociStore) close() error { return nil }
