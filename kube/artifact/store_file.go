package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// fileStore is a file or folder of this machine.
type fileStore struct {
	path, uri string
	o         Options
	folder    *payload
}

func (s *fileStore) about(ctx context.Context) (about, error) {
	a := about{name: safeName(filepath.Base(s.path)), size: -1}
	st, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return a, &MissingError{URI: s.uri}
	case err != nil:
		return a, err
	case st.IsDir():
		s.folder, err = folderPayload(ctx, a.name, os.DirFS(s.path), ".")
		if err != nil {
			return a, err
		}
		a.folder, a.size = true, s.folder.size
	default:
		a.size = st.Size()
	}
	return a, nil
}

func (s *fileStore) read(_ context.Context, from int64, mark string) (*body, error) {
	if s.folder != nil {
		return &body{ReadCloser: s.folder.reader(), size: s.folder.size}, nil
	}
	return readFile(s.path, from, mark)
}

// readFile reads a plain file from an offset on, if it is the one that mark was made of.
func readFile(path string, from int64, mark string) (*body, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	b := &body{ReadCloser: f, size: st.Size(), mark: markOf(st)}
	if from > 0 && b.mark == mark && from <= b.size {
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			_ = f.Close()
			return nil, err
		}
		b.from = from
	}
	return b, nil
}

// markOf changes when a file is written.
func markOf(st os.FileInfo) string {
	return strconv.FormatInt(st.Size(), 10) + "-" + strconv.FormatInt(st.ModTime().UnixNano(), 10)
}

func (s *fileStore) write(ctx context.Context, p *payload, m *meter) (string, error) {
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", said(err, filepath.Dir(dir))
	}
	m.begin("push", p.size, 0)
	r := p.reader()
	defer func() { _ = r.Close() }()
	d, err := receive(m.reader(until(ctx, r)), s.path, p.folder, math.MaxInt64)
	if err != nil {
		return "", err
	}
	return "file://" + filepath.ToSlash(s.path), d.settle(p.sent(digestOf(d.hash), d.have), s.o.Force)
}

// until is a reader that ends with a context.
func until(ctx context.Context, r io.Reader) io.Reader { return &ending{r, ctx} }

type ending struct {
	io.Reader
	ctx context.Context //nolint:containedctx // a Reader has no other way to be stopped
}

func (e *ending) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.Reader.Read(p)
}

func (*fileStore) close() error { return nil }

// inlineStore is the artifact that a version's own ConfigMap holds.
type inlineStore struct {
	name, uri string
	bytes     func(context.Context) ([]byte, error)
	data      []byte
}

func (s *inlineStore) about(ctx context.Context) (about, error) {
	if s.bytes == nil {
		return about{}, &client.Error{Doing: s.uri, What: "an inline artifact is kept in its version, and this names none", Hint: "name the version: kubectl ml model pull MODEL:N"}
	}
	data, err := s.bytes(ctx)
	if err != nil {
		return about{}, err
	}
	s.data = data
	return about{name: s.name, size: int64(len(data))}, nil
}

func (s *inlineStore) read(_ context.Context, from int64, _ string) (*body, error) {
	if from > int64(len(s.data)) {
		from = 0
	}
	return &body{ReadCloser: io.NopCloser(bytes.NewReader(s.data[from:])), from: from, size: int64(len(s.data))}, nil
}

func (*inlineStore) write(context.Context, *payload, *meter) (string, error) {
	return "", &client.Error{What: "an inline artifact is kept in its version and is not pushed", Hint: "register the file itself: kubectl ml register MODEL --file FILE"}
}

func (*inlineStore) close() error { return nil }
