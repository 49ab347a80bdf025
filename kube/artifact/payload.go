package artifact

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// payload is a file or folder on its way to a store, or being served by one.
type payload struct {
	name   string
	folder bool
	fsys   fs.FS
	// base is the folder's path in fsys.
	base string
	// files are those of a folder in the order of their names; of a file only itself.
	files []entry
	// size and digest are those of the file, or of the folder's tar; digest is empty until it was hashed.
	size   int64
	digest string
}

// entry is a file of a folder; its name has slashes and is relative to the folder.
type entry struct {
	name string
	size int64
}

// newPayload looks at a local file or folder and hashes it.
func newPayload(ctx context.Context, from string, m *meter) (*payload, error) {
	abs, err := filepath.Abs(from)
	if err != nil {
		return nil, err
	}
	isFolder, there, err := exists(abs)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return nil, fmt.Errorf("there is no file or folder %s", from)
	}
	var p *payload
	if isFolder {
		p, err = folderPayload(ctx, filepath.Base(abs), os.DirFS(abs), ".")
	} else {
		p, err = filePayload(os.DirFS(filepath.Dir(abs)), filepath.Base(abs))
	}
	if err != nil {
		return nil, err
	}
	return p, p.hash(ctx, m)
}

func filePayload(fsys fs.FS, name string) (*payload, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", name)
	}
	return &payload{name: path.Base(name), fsys: fsys, files: []entry{{name, st.Size()}}, size: st.Size()}, nil
}

// folderPayload lists the files of a folder. Links to files are followed as far as fsys lets them; links to folders
// and what is no file are refused, because no store could keep them.
func folderPayload(ctx context.Context, name string, fsys fs.FS, base string) (*payload, error) {
	p := &payload{name: safeName(name), folder: true, fsys: fsys, base: base}
	err := fs.WalkDir(fsys, base, func(file string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || d.IsDir() {
			return err
		}
		st, err := fs.Stat(fsys, file)
		switch {
		case err != nil:
			return err
		case st.IsDir():
			return fmt.Errorf("%s is a link to a folder: put the folder itself there", file)
		case !st.Mode().IsRegular():
			return fmt.Errorf("%s is no plain file (%s)", file, st.Mode().Type())
		case len(p.files) >= maxEntries:
			return fmt.Errorf("it holds more than %d files", maxEntries)
		}
		if base != "." {
			file = strings.TrimPrefix(file, base+"/")
		}
		p.files = append(p.files, entry{file, st.Size()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", name, err)
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("folder %s holds no files", name)
	}
	slices.SortFunc(p.files, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	p.size, err = tarSize(p.files)
	return p, err
}

// hash reads all of it once, so that the digest is known before a store is told.
func (p *payload) hash(ctx context.Context, m *meter) error {
	r := p.reader()
	defer func() { _ = r.Close() }()
	m.begin("hash", p.size, 0)
	h := newHash()
	n, err := io.Copy(h, m.reader(until(ctx, r)))
	if err != nil {
		return fmt.Errorf("read %s: %w", p.name, err)
	}
	p.size, p.digest = n, digestOf(h)
	return nil
}

// sent says whether what went out is what was hashed before: a file may be written to at any time.
func (p *payload) sent(digest string, n int64) error {
	if digest != p.digest || n != p.size {
		return fmt.Errorf("%s changed while it was being pushed: push it again", p.name)
	}
	return nil
}

// reader gives the bytes: the file's, or the folder's tar.
func (p *payload) reader() io.ReadCloser {
	if !p.folder {
		f, err := p.fsys.Open(p.files[0].name)
		if err != nil {
			return &failed{err}
		}
		return f
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(writeTar(w, p.files, func(e entry) (io.ReadCloser, error) { return p.open(e) }))
	}()
	return r
}

// open opens a file of the folder.
func (p *payload) open(e entry) (fs.File, error) { return p.fsys.Open(path.Join(p.base, e.name)) }

type failed struct{ err error }

func (f *failed) Read([]byte) (int, error) { return 0, f.err }
func (*failed) Close() error               { return nil }

// writeTar writes files as the one tar that a folder of these names and contents has: in the order of the names, files
// only, mode 0644, no owner and no time. See docs/guide-artifacts.md.
func writeTar(w io.Writer, files []entry, open func(entry) (io.ReadCloser, error)) error {
	t := tar.NewWriter(w)
	for _, e := range files {
		if err := t.WriteHeader(tarHeader(e)); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		r, err := open(e)
		if err != nil {
			return err
		}
		n, err := io.Copy(t, r)
		_ = r.Close()
		switch {
		case errors.Is(err, tar.ErrWriteTooLong), err == nil && n != e.size:
			return fmt.Errorf("%s changed while it was being read", e.name)
		case err != nil:
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return t.Close()
}

func tarHeader(e entry) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: e.size, Mode: 0o644, ModTime: time.Unix(0, 0).UTC()}
}

// tarSize is the length of writeTar's tar, worked out without any content.
func tarSize(files []entry) (int64, error) {
	var n counter
	t := tar.NewWriter(&n)
	total := int64(0)
	for _, e := range files {
		h := tarHeader(e)
		if err := t.WriteHeader(h); err != nil {
			return 0, fmt.Errorf("%s: %w", e.name, err)
		}
		total += (e.size + 511) / 512 * 512
		// A new writer for each header: this one waits for content.
		t = tar.NewWriter(&n)
	}
	return total + int64(n) + 1024, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
