package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/url"
	"syscall"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// attempts is how often a stream is taken up again without a byte in between; the pauses double from firstPause.
const (
	attempts   = 5
	firstPause = 250 * time.Millisecond
)

// errStalled ends a read that brought nothing for Options.Stall.
var errStalled = errors.New("nothing arrived")

// passingError is a refusal that may be gone at the next attempt.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

// stream reads an artifact as if connections never broke: it goes on where one did. It is for one goroutine.
type stream struct {
	open  func(ctx context.Context, from int64, mark string) (*body, error)
	what  string
	ctx   context.Context //nolint:containedctx // a Reader has no other way to be stopped
	stop  func()
	wait  time.Duration
	body  *body
	done  func() // ends the open body's connection
	begun int64
	at    int64
	size  int64
	mark  string
	tried int
}

// stream begins to read at an offset, or at the beginning when the content is another than mark says: begun tells.
func (x *opened) stream(ctx context.Context, from int64, mark string) (*stream, error) {
	s, err := newStream(ctx, Show(x.loc.raw), x.o.Stall, x.read, from, mark)
	if err != nil {
		return nil, err
	}
	if err := x.expect("", s.size); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func newStream(ctx context.Context, what string, stall time.Duration, open func(context.Context, int64, string) (*body, error), from int64, mark string) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{open: open, what: what, ctx: ctx, wait: stall, at: from, mark: mark}
	s.stop = func() { s.drop(); cancel() }
	for {
		err := s.connect()
		if err == nil {
			s.begun, s.at = s.body.from, s.body.from
			return s, nil
		}
		if err = s.pause(err); err != nil {
			s.stop()
			return nil, err
		}
	}
}

// connect opens the body at the present offset. The clock of a stall runs from here on.
func (s *stream) connect() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	alarm := time.AfterFunc(s.wait, func() { cancel(errStalled) })
	b, err := s.open(ctx, s.at, s.mark)
	if err != nil {
		alarm.Stop()
		if errors.Is(context.Cause(ctx), errStalled) {
			err = s.stalled()
		}
		cancel(nil)
		return err
	}
	s.body, s.size, s.mark = &body{ReadCloser: &patient{b, alarm, s.wait, ctx, s.stalled}, from: b.from, size: b.size, mark: b.mark}, b.size, b.mark
	s.done = func() { alarm.Stop(); cancel(nil); _ = b.Close() }
	return nil
}

func (s *stream) stalled() error {
	return passingError{&client.Error{Doing: "read " + s.what, What: fmt.Sprintf("nothing arrived for %s", s.wait), Hint: "check the store and the way to it", Err: errStalled}}
}

// patient resets the alarm with every read that brings something.
type patient struct {
	io.ReadCloser
	alarm *time.Timer
	wait  time.Duration
	ctx   context.Context //nolint:containedctx // it says why a read ended
	why   func() error
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if n > 0 {
		p.alarm.Reset(p.wait)
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(p.ctx), errStalled) {
		err = p.why()
	}
	return n, err
}

func (s *stream) drop() {
	if s.body != nil {
		s.done()
		s.body = nil
	}
}

// Read hides what passes.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.body == nil {
			if err := s.again(); err != nil {
				return 0, err
			}
		}
		n, err := s.body.Read(p)
		s.at += int64(n)
		if n > 0 {
			s.tried = 0
		}
		switch {
		case errors.Is(err, io.EOF) && s.size >= 0 && s.at < s.size:
			err = io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF) || err == nil:
			return n, err
		}
		s.drop()
		if n > 0 {
			return n, nil // the next read goes on, or says what is wrong
		}
		if err = s.pause(err); err != nil {
			return 0, err
		}
	}
}

// again opens the body where the last one broke off. A store that begins anew is read up to there, if its content is
// the same.
func (s *stream) again() error {
	mark, size := s.mark, s.size
	for {
		err := s.connect()
		if err == nil {
			switch b := s.body; {
			case b.mark != mark || b.size != size:
				return fmt.Errorf("%s changed while it was being read: try again", s.what)
			case b.from == s.at:
				return nil
			case mark == "" || b.from != 0:
				return fmt.Errorf("the connection to %s broke after %d bytes, and the store cannot go on from there: try again", s.what, s.at)
			}
			if _, err = io.CopyN(io.Discard, s.body, s.at); err == nil {
				return nil
			}
			s.drop()
		}
		if err = s.pause(err); err != nil {
			return err
		}
	}
}

// pause waits before the next attempt, and returns the error that there is no use in one.
func (s *stream) pause(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if !passes(err) || s.tried >= attempts-1 || errors.Is(err, errStalled) && s.tried > 0 {
		if errors.Is(err, io.ErrUnexpectedEOF) && s.at > 0 {
			return fmt.Errorf("%s broke off after %d of %d bytes: %w", s.what, s.at, s.size, err)
		}
		return err
	}
	timer := time.NewTimer(firstPause << s.tried)
	defer timer.Stop()
	s.tried++
	select {
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-timer.C:
		return nil
	}
}

// passes says whether the same request may succeed a moment later.
func passes(err error) bool {
	var passing passingError
	var n net.Error
	var u *url.Error
	switch {
	case errors.As(err, &passing), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case errors.Is(err, context.Canceled), errors.Is(err, syscall.ECONNREFUSED):
		return false
	case errors.As(err, &u) && !u.Timeout():
		return errors.Is(u.Err, io.EOF)
	case errors.As(err, &n):
		return n.Timeout()
	}
	return client.Transient(err)
}

func newHash() hash.Hash { return sha256.New() }

func digestOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// Close ends the stream.
func (s *stream) Close() error { s.stop(); return nil }
