package artifact

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// claimStore is a file or folder of a volume. A pod that mounts its claim reads or writes it, and is removed again.
type claimStore struct {
	c           *client.Client
	namespace   string
	claim, path string
	uri         string
	o           Options
	m           *meter
	helper      *helper
	uid, gid    int64
	tried       bool // as another user
}

func newClaimStore(c *client.Client, l location, namespace string, o Options, m *meter) *claimStore {
	return &claimStore{c: c, namespace: namespace, claim: l.host, path: l.path, uri: l.raw, o: o, m: m, uid: helperUser, gid: helperUser}
}

func (s *claimStore) about(ctx context.Context) (about, error) {
	a := about{name: s.name(), size: -1}
	r, err := s.ask(ctx, request{Verb: "stat", Path: s.path})
	if err != nil {
		return a, err
	}
	a.folder, a.size = r.Folder, r.Size
	return a, nil
}

func (s *claimStore) name() string {
	if s.path == "." {
		return safeName(s.claim)
	}
	return safeName(path.Base(s.path))
}

// ask sends a request that has a short answer. What the helper's user may not do, the owner of the file may.
func (s *claimStore) ask(ctx context.Context, r request) (reply, error) {
	if err := s.start(ctx, r.Verb == "check"); err != nil {
		return reply{}, err
	}
	var out bytes.Buffer
	err := s.run(ctx, r, nil, &out)
	var denied *deniedError
	if errors.As(err, &denied) && !s.tried && denied.uid >= 0 {
		if err := s.restart(ctx, denied, r.Verb == "check"); err != nil {
			return reply{}, err
		}
		out.Reset()
		err = s.run(ctx, r, nil, &out)
	}
	if err != nil {
		return reply{}, err
	}
	return readReply(bufio.NewReader(&out))
}

// restart begins anew as the user that owns what was denied.
func (s *claimStore) restart(ctx context.Context, d *deniedError, write bool) error {
	s.tried = true
	s.uid, s.gid = d.uid, d.gid
	if err := s.stop(); err != nil {
		return err
	}
	if err := s.start(ctx, write); err != nil {
		return fmt.Errorf("%w\n  (%s: only user %d may, so a second pod was to run as that user)", err, d.what, d.uid)
	}
	return nil
}

// read runs a session that sends, from an offset on.
func (s *claimStore) read(ctx context.Context, from int64, mark string) (*body, error) {
	if err := s.start(ctx, false); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(s.run(ctx, request{Verb: "send", Path: s.path, From: from, Mark: mark}, nil, w))
	}()
	in := bufio.NewReaderSize(r, 1<<16)
	a, err := readReply(in)
	if err != nil {
		cancel()
		_ = r.CloseWithError(err)
		return nil, err
	}
	return &body{ReadCloser: &session{in, r, cancel}, from: a.From, size: a.Size, mark: a.Mark}, nil
}

type session struct {
	io.Reader
	pipe   *io.PipeReader
	cancel func()
}

func (s *session) Close() error { s.cancel(); return s.pipe.Close() }

func (s *claimStore) write(ctx context.Context, p *payload, m *meter) (string, error) {
	to := s.path
	if strings.HasSuffix(s.uri, "/") || to == "." {
		to = path.Join(to, p.name)
	}
	r := request{Verb: "check", Path: to, Folder: p.folder, Force: s.o.Force, Size: p.size, Digest: p.digest}
	// A refusal in the middle of a stream is told late: what can be refused at once is asked for first.
	if _, err := s.ask(ctx, r); err != nil {
		return "", err
	}
	r.Verb = "receive"
	if err := s.send(ctx, r, p, m); err != nil {
		return "", err
	}
	return "pvc://" + s.claim + "/" + to, nil
}

func (s *claimStore) send(ctx context.Context, r request, p *payload, m *meter) error {
	in := p.reader()
	defer func() { _ = in.Close() }()
	m.begin("push", p.size, 0)
	var out bytes.Buffer
	if err := s.run(ctx, r, m.reader(in), &out); err != nil {
		return err
	}
	_, err := readReply(bufio.NewReader(&out))
	return err
}

// deniedError is what the helper's user may not read or write.
type deniedError struct {
	uid, gid int64
	what     string
	error
}

func (d *deniedError) Unwrap() error { return d.error }

// run runs one session in the helper pod. What it says on its error stream is a reply.
func (s *claimStore) run(ctx context.Context, r request, in io.Reader, out io.Writer) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// /proc/1/exe is this program in any image that begins with it.
	var said bytes.Buffer
	err = s.helper.exec(ctx, []string{"/proc/1/exe", ServeVerb, string(text)}, in, out, &capped{w: &said, left: 1 << 16})
	if err == nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	var a reply
	if json.Unmarshal(bytes.TrimSpace(said.Bytes()), &a) != nil || a.Error == "" {
		return s.helper.broke(ctx, err, said.String())
	}
	e := &client.Error{Doing: s.uri, What: a.Error}
	switch a.Kind {
	case "missing":
		return &MissingError{URI: s.uri, Why: "no such file or folder in the volume"}
	case "full":
		e.What, e.Hint = "the volume is full: "+a.Error, "make room in it, or use a larger claim"
	case "denied":
		e.Hint = fmt.Sprintf("the pod that asked ran as user %d; user %d owns it", s.uid, a.UID)
		return &deniedError{uid: a.UID, gid: max(a.GID, 0), what: a.Error, error: e}
	}
	return e
}

// capped keeps the beginning of what a pod says.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *claimStore) start(ctx context.Context, write bool) error {
	if s.helper != nil && (s.helper.writes || !write) {
		return nil
	}
	h, err := startHelper(ctx, s, write)
	s.helper = h
	return err
}

// stopTime is how long the removal of a helper may take.
const stopTime = 15 * time.Second

func (s *claimStore) stop() error {
	if s.helper == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := s.helper.remove(ctx)
	s.helper = nil
	return err
}

func (s *claimStore) close() error { return s.stop() }
