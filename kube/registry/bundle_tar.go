package registry

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// documentName is the first file of a tar.
const documentName = "model.json"

// WriteTar writes a bundle with the files that its versions name; open gives the bytes of one, which must have
// the size and the digest that its facts say. The document goes first, and no name, owner or time of this machine goes in.
func WriteTar(w io.Writer, b Bundle, open func(Bundled) (io.ReadCloser, error)) error {
	doc, err := EncodeBundle(b)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	header := func(name string, size int64) error {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: b.At, Format: tar.FormatPAX})
	}
	if err := header(documentName, int64(len(doc))); err != nil {
		return err
	}
	if _, err := t.Write(doc); err != nil {
		return err
	}
	for _, v := range b.Versions {
		if v.File == "" {
			continue
		}
		if err := header(v.File, v.Artifact.Size); err != nil {
			return fmt.Errorf("write %s: %w", v.File, err)
		}
		if err := copyFile(t, v, open); err != nil {
			return fmt.Errorf("write %s: %w", v.File, err)
		}
	}
	return t.Close()
}

func copyFile(w io.Writer, v Bundled, open func(Bundled) (io.ReadCloser, error)) error {
	r, err := open(v)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return hashed(w, r, v.Artifact)
}

// hashed copies an artifact and says when it is not the one that a describes.
func hashed(w io.Writer, r io.Reader, a pipeline.Artifact) error {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); n != a.Size || got != a.Digest {
		return fmt.Errorf("it has %d bytes with the digest %s, not %d with %s: the file was changed or damaged", n, got, a.Size, a.Digest)
	}
	return nil
}

// ReadBundle reads a document, or a tar with one and the files that it names. Each file is given to keep, which reads it
// whole; a nil keep only checks. No file of the tar is trusted before ReadBundle has returned without an error: what keep
// wrote until then is to be thrown away.
func ReadBundle(r io.Reader, keep func(Bundled, io.Reader) error) (Bundle, error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Bundle{}, err
	}
	head = head[:n]
	all := io.MultiReader(bytes.NewReader(head), r)
	switch start := bytes.TrimLeft(head, " \t\r\n"); {
	case len(start) == 0:
		return Bundle{}, errors.New("the file is empty")
	case start[0] == '{':
		text, err := readAll(all, maxBundle, "the document")
		if err != nil {
			return Bundle{}, err
		}
		b, err := DecodeBundle(text)
		if err != nil {
			return b, err
		}
		for i := range b.Versions {
			if v := &b.Versions[i]; v.File != "" {
				return b, fmt.Errorf("the document names the file of version %d, but it is not in the tar that holds them", v.Version)
			}
		}
		return b, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Bundle{}, errors.New("the file is compressed: gunzip it first")
	}
	return readTar(all, keep)
}

func readTar(r io.Reader, keep func(Bundled, io.Reader) error) (Bundle, error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil {
		return Bundle{}, broken(err)
	}
	if h.Name != documentName || h.Typeflag != tar.TypeReg {
		return Bundle{}, fmt.Errorf("the file is no exported model: it begins with %q, not with %s", h.Name, documentName)
	}
	doc, err := readAll(t, maxBundle, "the document")
	if err != nil {
		return Bundle{}, broken(err)
	}
	b, err := DecodeBundle(doc)
	if err != nil {
		return b, err
	}
	return b, readFiles(t, &b, keep)
}

// readFiles reads the files behind the document: exactly those that it names, each once, with its size and digest.
func readFiles(t *tar.Reader, b *Bundle, keep func(Bundled, io.Reader) error) error {
	missing := map[string]Bundled{}
	for _, v := range b.Versions {
		if v.File != "" {
			missing[v.File] = v
		}
	}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return broken(err)
		}
		v, ok := missing[h.Name]
		if !ok || h.Typeflag != tar.TypeReg || h.Size != v.Artifact.Size {
			return fmt.Errorf("the tar holds %q (%d bytes), which its document does not name so: it was changed after its export", h.Name, h.Size)
		}
		delete(missing, h.Name)
		if err := keepFile(t, v, keep); err != nil {
			return fmt.Errorf("%s: %w", h.Name, broken(err))
		}
	}
	for name := range missing {
		return fmt.Errorf("the tar is incomplete: %s and maybe more is missing (%d of its files)", name, len(missing))
	}
	return nil
}

func keepFile(r io.Reader, v Bundled, keep func(Bundled, io.Reader) error) error {
	if keep == nil {
		return hashed(io.Discard, r, v.Artifact)
	}
	// What is kept is hashed on its way, so that both see the same bytes.
	from, to := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := keep(v, from)
		_ = from.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		done <- err
	}()
	err := hashed(to, r, v.Artifact)
	_ = to.CloseWithError(err)
	if kept := <-done; kept != nil {
		return kept
	}
	return err
}

// broken says what is wrong with a tar that ends or cannot be read.
func broken(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("the tar is truncated: copy the whole file, or export again")
	case errors.Is(err, tar.ErrHeader):
		return errors.New("the file is neither a JSON document nor a tar of an exported model")
	}
	return err
}
