package artifact

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ServeVerb is the hidden subcommand with which this program runs in a helper pod; its argument is a request.
const ServeVerb = "artifact-serve"

// volume is where a helper pod has the claim mounted.
const volume = "/volume"

// idleExit is how long a helper pod waits for a session before it ends by itself: who asked for it may have been killed.
const (
	idleExit  = time.Minute
	idleCheck = 2 * time.Second
	// sessionStall ends a session in which no byte moved for so long.
	sessionStall = 2 * time.Minute
)

// request is what a helper pod is asked for: wait, stat, send, receive, or check, which is receive without any bytes.
type request struct {
	Verb string `json:"verb"`
	// Path is in the volume.
	Path string `json:"path,omitempty"`
	From int64  `json:"from,omitempty"`
	Mark string `json:"mark,omitempty"`
	// Of what is received.
	Folder bool   `json:"folder,omitempty"`
	Force  bool   `json:"force,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// reply is the line that a helper pod answers with, on its output before any bytes; with Error on its error stream.
type reply struct {
	Folder bool   `json:"folder,omitempty"`
	Size   int64  `json:"size"`
	From   int64  `json:"from,omitempty"`
	Mark   string `json:"mark,omitempty"`
	Error  string `json:"error,omitempty"`
	// Kind is missing, denied or full where the error is one of these.
	Kind string `json:"kind,omitempty"`
	// UID and GID own what may not be read or written.
	UID int64 `json:"uid,omitempty"`
	GID int64 `json:"gid,omitempty"`
}

// Serve does in a helper pod what a request says, and returns the exit code.
func Serve(ctx context.Context, text string, in io.Reader, out, errOut io.Writer) int {
	// A session whose client was killed may never be told so.
	alarm := time.AfterFunc(sessionStall, func() { os.Exit(1) })
	if strings.Contains(text, `"verb":"wait"`) {
		alarm.Stop()
	}
	return serve(ctx, text, volume, &awake{Reader: in, alarm: alarm}, &awake{Writer: out, alarm: alarm}, errOut)
}

// awake puts the alarm off whenever bytes move.
type awake struct {
	io.Reader
	io.Writer
	alarm *time.Timer
}

func (a *awake) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.alarm.Reset(sessionStall)
	return n, err
}

func (a *awake) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	a.alarm.Reset(sessionStall)
	return n, err
}

func serve(ctx context.Context, text, root string, in io.Reader, out, errOut io.Writer) int {
	var r request
	err := json.Unmarshal([]byte(text), &r)
	v := &served{dir: root}
	if err == nil && r.Verb != "wait" {
		if v.root, err = os.OpenRoot(root); err == nil {
			defer func() { _ = v.root.Close() }()
		}
	}
	if err == nil {
		switch r.Verb {
		case "wait":
			err = waitIdle(ctx)
		case "stat", "send":
			err = v.send(ctx, r, out)
		case "check", "receive":
			err = v.receive(ctx, r, in, out)
		default:
			err = fmt.Errorf("unknown request %q", r.Verb)
		}
	}
	if err == nil {
		return 0
	}
	answer(errOut, v.refusal(r, err))
	return 1
}

func answer(w io.Writer, r reply) { _ = json.NewEncoder(w).Encode(r) }

// served is a volume in a helper pod. Links that leave it are refused.
type served struct {
	dir  string
	root *os.Root
}

func (v *served) send(ctx context.Context, r request, out io.Writer) error {
	st, err := v.root.Stat(r.Path)
	if err != nil {
		return err
	}
	if st.IsDir() {
		p, err := folderPayload(ctx, path.Base(r.Path), v.root.FS(), r.Path)
		if err != nil {
			return err
		}
		answer(out, reply{Folder: true, Size: p.size})
		if r.Verb == "stat" {
			return nil
		}
		tar := p.reader()
		defer func() { _ = tar.Close() }()
		_, err = io.Copy(out, tar)
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file", r.Path)
	}
	f, err := v.root.Open(r.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	a := reply{Size: st.Size(), Mark: markOf(st)}
	if r.From > 0 && r.From <= a.Size && r.Mark == a.Mark {
		if _, err := f.Seek(r.From, io.SeekStart); err != nil {
			return err
		}
		a.From = r.From
	}
	answer(out, a)
	if r.Verb == "stat" {
		return nil
	}
	_, err = io.Copy(out, f)
	return err
}

func (v *served) receive(ctx context.Context, r request, in io.Reader, out io.Writer) error {
	final := filepath.Join(v.dir, filepath.FromSlash(r.Path))
	if dir := path.Dir(r.Path); dir != "." {
		if err := v.root.MkdirAll(dir, 0o775); err != nil {
			return err
		}
	}
	// What follows works with plain paths: the folder must be where its name says.
	if resolved, err := filepath.EvalSymlinks(filepath.Dir(final)); err != nil || resolved != filepath.Clean(filepath.Dir(final)) {
		return fmt.Errorf("%s is reached over a link: name the folder itself", path.Dir(r.Path))
	}
	isFolder, there, err := exists(final)
	switch {
	case err != nil:
		return err
	case there && isFolder != r.Folder:
		return fmt.Errorf("%s is there already and is something else", r.Path)
	case there && isFolder && !r.Force:
		return fmt.Errorf("folder %s is there already: push to another path, or replace it with --force", r.Path)
	}
	left, err := free(filepath.Dir(final))
	if err != nil {
		left = math.MaxInt64
	}
	if r.Size > left {
		return fmt.Errorf("%w: it has %s left, and %s are needed", errFull, size(left), size(r.Size))
	}
	if r.Verb == "check" {
		d, err := newPlace(final, r.Folder)
		if err == nil {
			d.discard()
			answer(out, reply{})
		}
		return err
	}
	d, err := receive(until(ctx, in), final, r.Folder, left)
	if err != nil {
		return err
	}
	got, n := digestOf(d.hash), d.have
	if got != r.Digest || n != r.Size {
		err = fmt.Errorf("%d of %d bytes arrived, %s instead of %s", n, r.Size, got, r.Digest)
	}
	if err := d.settle(err, r.Force); err != nil {
		return err
	}
	answer(out, reply{Folder: r.Folder, Size: n})
	return nil
}

// refusal says what went wrong, and for what may not be read or written, whose it is.
func (v *served) refusal(r request, err error) reply {
	a := reply{Error: err.Error()}
	switch {
	case strings.Contains(err.Error(), "path escapes from parent"): // os.Root has no error value for it
		a.Error = r.Path + " is reached over a link that leaves the volume"
	case errors.Is(err, fs.ErrNotExist):
		a.Kind = "missing"
	case errors.Is(err, errFull), isFull(err):
		a.Kind = "full"
	case errors.Is(err, fs.ErrPermission):
		a.Kind = "denied"
		a.UID, a.GID = v.owner(r, err)
	}
	return a
}

// owner is that of what an error is about, else of the deepest part of the path that can be seen.
func (v *served) owner(r request, err error) (uid, gid int64) {
	name := r.Path
	var p *fs.PathError
	if errors.As(err, &p) && filepath.IsLocal(p.Path) && r.Verb != "receive" && r.Verb != "check" {
		name = p.Path
	}
	if r.Verb == "receive" || r.Verb == "check" {
		name = path.Dir(name)
	}
	for v.root != nil {
		if st, err := v.root.Stat(name); err == nil {
			return ownerOf(st)
		}
		if name == "." {
			break
		}
		name = path.Dir(name)
	}
	return -1, -1
}

// waitIdle returns when for a while no other process was in this pod.
func waitIdle(ctx context.Context) error {
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	for last := time.Now(); time.Since(last) < idleExit; {
		if others() {
			last = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// others says whether another process is in this pod, such as one that serves a request.
func others() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			return true
		}
	}
	return false
}

// readReply takes the line in front of the bytes.
func readReply(r *bufio.Reader) (reply, error) {
	var a reply
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return a, err
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("the helper pod answered something else: %w", err)
	}
	return a, nil
}
