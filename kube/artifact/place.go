package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// place is where a file or folder is to be. Until it is complete and judged it stands beside as .NAME.partial, and only
// one process writes there.
type place struct {
	final, temp string
	folder      bool
	hash        hash.Hash
	// have is how many bytes of the artifact are there and hashed.
	have int64
	// held is the partial file, or the partial folder for its lock.
	held *os.File
}

// trace is kept beside a partial file: what it is a part of.
type trace struct {
	URI  string `json:"uri"`
	Mark string `json:"mark"`
}

// newPlace takes the partial file or folder of a final path for this process. What an earlier one left of a file is kept.
func newPlace(final string, folder bool) (*place, error) {
	dir, name := filepath.Split(final)
	p := &place{final: final, temp: filepath.Join(dir, "."+name+".partial"), folder: folder, hash: newHash()}
	for {
		if st, err := os.Lstat(p.temp); err == nil && (st.IsDir() != folder || !st.IsDir() && !st.Mode().IsRegular()) {
			if err := os.RemoveAll(p.temp); err != nil {
				return nil, err
			}
		}
		if folder {
			if err := os.Mkdir(p.temp, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, said(err, dir)
			}
		}
		f, err := p.openPartial()
		if err != nil {
			return nil, said(err, dir)
		}
		if err := lock(f); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("%s is being written by another process: wait for it, or choose another place", final)
		}
		// Who held it before may have given it its final name meanwhile.
		now, err := os.Stat(p.temp)
		mine, err2 := f.Stat()
		if err == nil && err2 == nil && os.SameFile(now, mine) {
			p.held = f
			return p, nil
		}
		_ = f.Close()
	}
}

func (p *place) openPartial() (*os.File, error) {
	if p.folder {
		return os.Open(p.temp)
	}
	return os.OpenFile(p.temp, os.O_RDWR|os.O_CREATE, 0o644)
}

func (p *place) traceFile() string { return p.temp + ".json" }

// resume hashes what an earlier process left of the same URI, and returns the mark that it had; empty when nothing is
// of use.
func (p *place) resume(ctx context.Context, uri string, m *meter) (string, error) {
	st, err := p.held.Stat()
	if err != nil {
		return "", err
	}
	var t trace
	text, err := os.ReadFile(p.traceFile())
	if err != nil || json.Unmarshal(text, &t) != nil || t.URI != uri || t.Mark == "" || st.Size() == 0 {
		return "", p.restart()
	}
	m.begin("hash", st.Size(), 0)
	for buf := make([]byte, 1<<18); ; {
		n, err := p.held.Read(buf)
		p.hash.Write(buf[:n])
		p.have += int64(n)
		m.add(int64(n))
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return t.Mark, nil
		case err != nil:
			return "", err
		}
	}
}

// restart empties the place.
func (p *place) restart() error {
	p.hash.Reset()
	p.have = 0
	if p.folder {
		left, err := os.ReadDir(p.temp)
		for _, e := range left {
			err = errors.Join(err, os.RemoveAll(filepath.Join(p.temp, e.Name())))
		}
		return err
	}
	_ = os.Remove(p.traceFile())
	if _, err := p.held.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.held.Truncate(0)
}

// remember notes what the partial file is a part of.
func (p *place) remember(t trace) error {
	if p.folder || t.Mark == "" {
		return nil
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(p.traceFile(), text, 0o600)
}

// fill writes a stream to the place and hashes it: bytes behind those that are there, or a folder from its tar.
func (p *place) fill(r io.Reader, room int64) error {
	n := &counting{Reader: io.TeeReader(r, p.hash)}
	defer func() { p.have += n.n }()
	if !p.folder {
		_, err := io.Copy(p.held, n)
		return said(err, filepath.Dir(p.final))
	}
	u, err := newUnpacker(p.temp, room)
	if err != nil {
		return err
	}
	defer func() { _ = u.root.Close() }()
	if err := u.tar(n); err != nil {
		return said(err, filepath.Dir(p.final))
	}
	// What stands behind the end of a tar belongs to its bytes and so to their digest.
	_, err = io.Copy(io.Discard, n)
	return err
}

// commit gives the place its final name. What had it before is replaced; a folder only if replace says so.
func (p *place) commit(replace bool) error {
	if err := p.held.Sync(); err != nil && !p.folder {
		return said(err, filepath.Dir(p.final))
	}
	if runtime.GOOS == "windows" {
		_ = p.held.Close() // an open file cannot be renamed there
	}
	old := ""
	if p.folder {
		if _, there, _ := exists(p.final); there {
			if !replace {
				return fmt.Errorf("%s appeared meanwhile", p.final)
			}
			old = p.temp + ".old"
			if err := errors.Join(os.RemoveAll(old), os.Rename(p.final, old)); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(p.temp, p.final); err != nil {
		return err
	}
	_ = os.Remove(p.traceFile())
	if old != "" {
		_ = os.RemoveAll(old)
	}
	_ = p.held.Close()
	syncFolder(filepath.Dir(p.final))
	return nil
}

// discard leaves nothing behind.
func (p *place) discard() {
	_ = os.Remove(p.traceFile())
	_ = os.RemoveAll(p.temp)
	_ = p.held.Close()
}

// keep leaves what is there for the next attempt, if that could go on with it.
func (p *place) keep() bool {
	if _, err := os.Stat(p.traceFile()); err != nil || p.folder || p.have == 0 {
		p.discard()
		return false
	}
	_ = p.held.Close()
	return true
}

// settle is commit, or discard when there is an error.
func (p *place) settle(err error, replace bool) error {
	if err == nil {
		err = p.commit(replace)
	}
	if err != nil {
		p.discard()
	}
	return err
}

// receive fills a new place from a stream, without any resuming.
func receive(r io.Reader, final string, folder bool, room int64) (*place, error) {
	p, err := newPlace(final, folder)
	if err != nil {
		return nil, err
	}
	if err = p.restart(); err == nil {
		err = p.fill(r, room)
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// errFull marks that a disk has no room left.
var errFull = errors.New("the disk is full")

// said puts what a file system refuses into words.
func said(err error, dir string) error {
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return &client.Error{What: fmt.Sprintf("no room is left in %s", dir), Hint: "make room, or choose another place with --to", Err: errors.Join(errFull, err)}
	case errors.Is(err, os.ErrPermission):
		return &client.Error{What: fmt.Sprintf("%s cannot be written to: %v", dir, err), Hint: "choose another place with --to", Err: err}
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }
