package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

type layerOf struct {
	mediaType, title string
	content          []byte
}

// pushLayers pushes an artifact as other tools do, and returns its manifest's digest.
func pushLayers(t *testing.T, uri string, layers []layerOf) string {
	t.Helper()
	repo, err := remote.NewRepository(strings.TrimPrefix(uri, "oci://"))
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: modelManifest, Config: ocispec.DescriptorEmptyJSON}
	if err := repo.Push(t.Context(), m.Config, strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		d := ocispec.Descriptor{MediaType: l.mediaType, Digest: godigest.FromBytes(l.content), Size: int64(len(l.content))}
		if l.title != "" {
			d.Annotations = map[string]string{filePath: l.title}
		}
		if err := repo.Push(t.Context(), d, bytes.NewReader(l.content)); err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, d)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: godigest.FromBytes(text), Size: int64(len(text))}
	if err := repo.PushReference(t.Context(), d, bytes.NewReader(text), repo.Reference.Reference); err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// gzipTar is an archive as people make them.
func gzipTar(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
