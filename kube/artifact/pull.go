package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Pulled is what Pull did.
type Pulled struct {
	pipeline.Artifact
	// Path is where it is; Folder says that it is a folder.
	Path   string `json:"path"`
	Folder bool   `json:"folder,omitempty"`
	// Unchanged says that it was there already, with the right digest; Resumed is how many bytes an earlier attempt had left.
	Unchanged bool  `json:"unchanged,omitempty"`
	Resumed   int64 `json:"resumed,omitempty"`
}

// KeptError says that a transfer broke off and what there is of it waits for the next.
type KeptError struct {
	Path string
	Have int64
	Err  error
}

func (e *KeptError) Error() string {
	return fmt.Sprintf("%v\n  %s of it are kept: the same command goes on from there", e.Err, size(e.Have))
}

func (e *KeptError) Unwrap() error { return e.Err }

// Pull brings an artifact to a file or folder. A path that ends in a slash is the folder to put it in, under its own name;
// so is an existing folder, for what is a file. The final name appears when digest and size have been verified; what was a file there is
// replaced, what was another folder only with Options.Force.
func Pull(ctx context.Context, c *client.Client, item Item, to string, o Options) (p Pulled, err error) {
	x, err := open(ctx, c, item, o)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	name := x.name
	if o.Extract && !x.folder {
		name = withoutExtension(name)
	}
	p.Folder = x.folder || o.Extract
	p.Path, err = target(to, name, p.Folder)
	if err != nil {
		return p, err
	}
	same, err := x.same(ctx, p.Path, p.Folder)
	if same {
		p.Artifact, p.Unchanged = item.Artifact, true
	}
	if err != nil || same {
		return p, err
	}
	if !o.Extract || x.folder {
		p.Artifact, p.Resumed, err = x.fetch(ctx, p.Path)
		return p, err
	}
	archive := filepath.Join(filepath.Dir(p.Path), "."+filepath.Base(p.Path)+".archive")
	defer func() { _ = os.Remove(archive) }()
	if p.Artifact, p.Resumed, err = x.fetch(ctx, archive); err != nil {
		return p, err
	}
	x.m.note("unpack")
	return p, x.unpack(archive, p.Path)
}

// target is where an artifact of a name goes. What comes as a folder becomes the folder to itself unless that ends in a
// slash, so that the same command twice means the same place.
func target(to, name string, folder bool) (string, error) {
	inside := to == "" || strings.HasSuffix(to, "/") || filepath.Base(to) == "." || filepath.Base(to) == ".."
	isFolder, there, err := exists(strings.TrimRight(to, "/"))
	switch {
	case to == "":
		to = name
	case err != nil:
		return "", err
	case inside && there && !isFolder && strings.Trim(to, "/") != "":
		return "", fmt.Errorf("%s is no folder", strings.TrimRight(to, "/"))
	case inside:
		if err := os.MkdirAll(to, 0o777); err != nil {
			return "", err
		}
		to = filepath.Join(to, name)
	case isFolder && !folder:
		to = filepath.Join(to, name)
	default:
		if _, there, _ := exists(filepath.Dir(to)); !there {
			return "", fmt.Errorf("there is no folder %s to put %s into", filepath.Dir(to), filepath.Base(to))
		}
	}
	return filepath.Abs(to)
}

// same says whether the artifact is there already, and refuses to replace what nobody meant to lose.
func (x *opened) same(ctx context.Context, path string, folder bool) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.IsDir() != folder || !folder && !st.Mode().IsRegular() {
		what := "a file"
		if folder {
			what = "a folder"
		}
		return false, fmt.Errorf("%s is there and is not %s: choose another place with --to", path, what)
	}
	if x.item.Digest != "" && (!x.o.Extract || x.folder) && (folder || x.item.Size == 0 || st.Size() == x.item.Size) {
		p, err := newPayload(ctx, path, x.m)
		switch {
		case ctx.Err() != nil:
			return false, err
		case err == nil && (p.digest == x.item.Digest || x.item.Digest == x.manifest && p.digest == x.digest):
			return true, nil
		}
	}
	if folder && !x.o.Force {
		if left, err := os.ReadDir(path); err == nil && len(left) == 0 {
			return false, os.Remove(path)
		}
		return false, &client.Error{What: fmt.Sprintf("%s is there already and is something else", path), Hint: "replace it with --force, or put it into that folder with --to " + filepath.ToSlash(path) + "/"}
	}
	return false, nil
}

// fetch streams the artifact to its place.
func (x *opened) fetch(ctx context.Context, path string) (a pipeline.Artifact, resumed int64, err error) {
	a = x.item.Artifact
	d, err := newPlace(path, x.folder)
	if err != nil {
		return a, 0, err
	}
	mark := ""
	if x.folder {
		err = d.restart()
	} else {
		mark, err = d.resume(ctx, x.loc.raw, x.m)
	}
	if err != nil {
		d.keep()
		return a, 0, err
	}
	in, err := x.stream(ctx, d.have, mark)
	if err != nil {
		var missing *MissingError
		var other *MismatchError
		if errors.As(err, &missing) || errors.As(err, &other) {
			d.discard()
		} else {
			d.keep()
		}
		return a, 0, err
	}
	defer in.stop()
	if in.begun != d.have {
		if err := d.restart(); err != nil {
			d.discard()
			return a, 0, err
		}
	}
	resumed = d.have
	room, err := x.room(filepath.Dir(path), in.size, d.have)
	if err == nil {
		err = d.remember(trace{x.loc.raw, in.mark})
	}
	if err != nil {
		d.discard()
		return a, 0, err
	}
	x.m.begin("pull", in.size, d.have)
	err = d.fill(x.limited(x.m.reader(in), d.have), room)
	x.m.end()
	switch {
	case err == nil:
	case errors.Is(err, errFull), errors.Is(err, errTooLong), x.folder:
		d.discard()
		return a, 0, err
	default:
		if have := d.have; d.keep() {
			err = &KeptError{Path: path, Have: have, Err: err}
		}
		return a, 0, err
	}
	a, err = x.judge(digestOf(d.hash), d.have)
	return a, resumed, d.settle(err, x.o.Force)
}

// room is how many bytes there are for it, or why they are too few.
func (x *opened) room(dir string, total, have int64) (int64, error) {
	left, err := x.o.Free(dir)
	if err != nil {
		return math.MaxInt64, nil //nolint:nilerr // then a full disk is met when it is full
	}
	if total < 0 {
		total = x.item.Size
	}
	if total-have > left {
		return 0, &client.Error{
			What: fmt.Sprintf("%s needs %s, and %s has %s left", Show(x.loc.raw), size(total-have), dir, size(left)),
			Hint: "make room, or choose another place with --to", Err: errFull,
		}
	}
	return left, nil
}

// errTooLong says that more came than the artifact has.
var errTooLong = errors.New("more arrived than the artifact has")

// limited ends a stream that is longer than the artifact should be, which else might go on until the disk is full.
func (x *opened) limited(r io.Reader, have int64) *limited {
	l := &limited{Reader: r, left: math.MaxInt64, err: fmt.Errorf("%s: %w: %d bytes", Show(x.loc.raw), errTooLong, x.item.Size)}
	if x.item.Size > 0 && x.item.Digest != x.manifest {
		l.left = x.item.Size - have
	}
	return l
}

type limited struct {
	Reader io.Reader
	left   int64
	err    error
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.err
	}
	return n, err
}

// unpack puts what is in an archive into a folder.
func (x *opened) unpack(archive, folder string) error {
	d, err := newPlace(folder, true)
	if err != nil {
		return err
	}
	if err = d.restart(); err == nil {
		room, _ := x.room(filepath.Dir(folder), 0, 0)
		err = extract(archive, d.temp, room)
		if errors.Is(err, errNoArchive) {
			err = &client.Error{Doing: "unpack " + x.name, What: err.Error(), Hint: "pull it without --extract"}
		}
	}
	return d.settle(said(err, filepath.Dir(folder)), x.o.Force)
}

// withoutExtension is the name of the folder that an archive unpacks to.
func withoutExtension(name string) string {
	lower := strings.ToLower(name)
	for _, ext := range []string{".tar.gz", ".tgz", ".tar", ".zip"} {
		if strings.HasSuffix(lower, ext) && len(name) > len(ext) {
			return name[:len(name)-len(ext)]
		}
	}
	return name + ".d"
}
