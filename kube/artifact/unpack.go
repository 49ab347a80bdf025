package artifact

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds of what an archive may unpack to. Weights do not compress a hundredfold; what does is a bomb.
const (
	maxEntries = 100_000
	maxRatio   = 200
	freeRatio  = 64 << 20 // bytes that may come of anything
)

// unpacker writes the entries of an archive below one folder. os.Root keeps every path in it, whatever links are there.
type unpacker struct {
	root *os.Root
	// packed is how many bytes of the archive were read, room how many may be written.
	packed func() int64
	room   int64
	// written maps the names so far to whether they are folders; links are judged when all of them are there.
	written map[string]bool
	links   []string
	entries int
	total   int64
}

func newUnpacker(folder string, room int64) (*unpacker, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return &unpacker{root: root, room: room, written: map[string]bool{}}, nil
}

// refuse names the entry that an archive is refused for.
func refuse(name, why string) error {
	return fmt.Errorf("the archive is refused: entry %q %s", name, why)
}

// entryName is the clean name of an entry, or why there is none.
func (u *unpacker) entryName(name string, isFolder bool) (string, error) {
	if u.entries++; u.entries > maxEntries {
		return "", fmt.Errorf("the archive is refused: it has more than %d entries", maxEntries)
	}
	clean := path.Clean(name)
	switch {
	case name == "" || strings.ContainsAny(name, "\\\x00"):
		return "", refuse(name, "has a name that not every system can write")
	case path.IsAbs(name) || filepath.VolumeName(name) != "":
		return "", refuse(name, "has an absolute name")
	case !filepath.IsLocal(filepath.FromSlash(clean)):
		return "", refuse(name, "leaves the folder")
	case clean == ".":
		return clean, nil
	}
	if was, ok := u.written[clean]; ok && (!was || !isFolder) {
		return "", refuse(name, "is there twice")
	}
	u.written[clean] = isFolder
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if was, ok := u.written[dir]; ok && !was {
			return "", refuse(name, "is below a file")
		}
		u.written[dir] = true
	}
	return clean, nil
}

func (u *unpacker) folder(name string) error {
	clean, err := u.entryName(name, true)
	if err != nil {
		return err
	}
	return u.root.MkdirAll(filepath.FromSlash(clean), 0o755)
}

func (u *unpacker) file(name string, r io.Reader) error {
	clean, err := u.entryName(name, false)
	if err != nil {
		return err
	}
	local := filepath.FromSlash(clean)
	if dir := filepath.Dir(local); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	f, err := u.root.OpenFile(local, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
	}
	if _, err = io.Copy(f, &bounded{r, u, name}); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// link sets a symbolic link that stays in the folder.
func (u *unpacker) link(name, to string) error {
	clean, err := u.entryName(name, false)
	if err != nil {
		return err
	}
	if path.IsAbs(to) || strings.Contains(to, "\\") || filepath.VolumeName(to) != "" || !filepath.IsLocal(filepath.FromSlash(path.Join(path.Dir(clean), to))) {
		return refuse(name, fmt.Sprintf("is a link that leaves the folder, to %q", to))
	}
	if dir := path.Dir(clean); dir != "." {
		if err := u.root.MkdirAll(filepath.FromSlash(dir), 0o755); err != nil {
			return err
		}
	}
	u.links = append(u.links, clean)
	return u.root.Symlink(filepath.FromSlash(to), filepath.FromSlash(clean))
}

// judgeLinks follows the links when all that they may lead over is there: only the root itself can tell where they end.
func (u *unpacker) judgeLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(filepath.FromSlash(name)); err != nil {
			return refuse(name, "is a link that leads nowhere, or out of the folder")
		}
	}
	return nil
}

// bounded stops at a bomb.
type bounded struct {
	io.Reader
	u    *unpacker
	name string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	u := b.u
	u.total += int64(n)
	switch {
	case u.total > u.room:
		return 0, refuse(b.name, fmt.Sprintf("is too large: %s are free and it needs more", size(u.room)))
	case u.packed != nil && u.total > freeRatio && u.total > maxRatio*u.packed():
		return 0, refuse(b.name, fmt.Sprintf("unpacks to more than %d times its size", maxRatio))
	}
	return n, err
}

// tar unpacks a tar up to its end, which may not be that of the stream.
func (u *unpacker) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return u.judgeLinks()
		case err != nil:
			return fmt.Errorf("read the tar: %w", err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			err = u.file(h.Name, t)
		case tar.TypeDir:
			err = u.folder(h.Name)
		case tar.TypeSymlink:
			err = u.link(h.Name, h.Linkname)
		case tar.TypeLink:
			err = refuse(h.Name, "is a hard link")
		case tar.TypeXGlobalHeader:
		default:
			err = refuse(h.Name, "is a device or something else that is no file")
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) zip(f *os.File, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("read the zip: %w", err)
	}
	for _, e := range z.File {
		switch mode := e.Mode(); {
		case mode.IsDir():
			err = u.folder(e.Name)
		case mode&fs.ModeSymlink != 0:
			err = refuse(e.Name, "is a link")
		case !mode.IsRegular():
			err = refuse(e.Name, "is a device or something else that is no file")
		default:
			err = u.zipFile(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipFile(e *zip.File) error {
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("unpack %q: %w", e.Name, err)
	}
	defer func() { _ = r.Close() }()
	return u.file(e.Name, r)
}

// errNoArchive says that a file is none of the archives that are known.
var errNoArchive = errors.New("it is no tar, tar.gz or zip")

// extract unpacks an archive, told by its first bytes, into a folder that is there.
func extract(archive, folder string, room int64) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	u, err := newUnpacker(folder, room)
	if err != nil {
		return err
	}
	defer func() { _ = u.root.Close() }()
	n := &counting{Reader: f}
	buffered := bufio.NewReaderSize(n, 1<<16)
	head, _ := buffered.Peek(512)
	u.packed = func() int64 { return n.n }
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		u.packed = st.Size
		return u.zip(f, st.Size())
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("read the gzip: %w", err)
		}
		inner := bufio.NewReaderSize(z, 1<<16)
		if head, _ := inner.Peek(512); !isTar(head) {
			return errNoArchive
		}
		return u.tar(inner)
	case isTar(head):
		return u.tar(buffered)
	}
	return errNoArchive
}

func isTar(head []byte) bool { return len(head) == 512 && bytes.HasPrefix(head[257:], []byte("ustar")) }

type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// size is a number of bytes for messages.
func size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d %s", n, units[0])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
