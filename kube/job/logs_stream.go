package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	// errUnreadable is what a kubelet writes into a log instead of failing.
	errUnreadable = errors.New("the node cannot read the log")
	// errOtherLog is a log opened anew that does not begin with what was read last: that of a new instance.
	errOtherLog = errors.New("the container was restarted")
)

// logStream reads the log of one container, over restarts and broken connections.
type logStream struct {
	r               *logReader
	name, container string
	labels          LogLine // with everything but the line itself

	// mu guards the last known state of the pod.
	mu   sync.Mutex
	pod  *corev1.Pod
	gone bool
	// changed has a token when the pod changed since it was last looked at.
	changed chan struct{}
	// ending is closed when the container has ended for good.
	ending chan struct{}
	ended  bool

	// The rest belongs to the goroutine that reads.

	seen seenLines
	// held is a line that had no end when the connection broke; the server will send it again, whole.
	held *rawLine
	// unstamped counts the lines without time stamp; skip is how many of them come again.
	unstamped, skip int
	// doubt says that the log was opened anew and has not yet shown a line that was read before.
	doubt bool
	// fromStart says that the container started under our eyes, so that no line may be missed.
	fromStart bool
	// instance is the number of restarts before the instance being read.
	instance int32
	told     string
}

// firstOptions ask for the lines that the caller wants.
func (s *logStream) firstOptions(follow bool) *corev1.PodLogOptions {
	o := s.r.o
	out := &corev1.PodLogOptions{Container: s.container, Follow: follow, Previous: o.Previous, Timestamps: true}
	if o.Tail >= 0 && !s.fromStart {
		out.TailLines = &o.Tail
	}
	switch {
	case !o.SinceTime.IsZero():
		out.SinceTime = &metav1.Time{Time: o.SinceTime}
	case o.Since > 0: // the server's clock counts; what passed since the call counts too
		seconds := max(int64((o.Since+time.Since(s.r.begun)).Round(time.Second)/time.Second), 1)
		out.SinceSeconds = &seconds
	}
	return out
}

// options ask for what comes after the lines read so far.
func (s *logStream) options(follow bool) *corev1.PodLogOptions {
	out := s.firstOptions(follow)
	since := s.seen.since()
	if since.IsZero() && s.held != nil {
		since = s.held.at.Truncate(time.Second)
	}
	if !since.IsZero() {
		out.TailLines, out.SinceSeconds, out.SinceTime = nil, nil, &metav1.Time{Time: since}
	}
	return out
}

// run follows the container until it has ended for good, or ctx ends.
func (s *logStream) run(ctx context.Context) {
	if s.unknownContainer() {
		s.r.failed(s.noContainer())
		return
	}
	defer s.flush()
	st := s.state()
	s.fromStart = s.fromStart || !st.started
	if !s.fromStart {
		s.instance = st.restarts
	}
	wait, fruitless := s.r.pace.retry, 0
	for ctx.Err() == nil {
		st = s.state()
		if !st.started {
			if st.final {
				return
			}
			s.waiting()
			if s.await(ctx, 0) != nil {
				return
			}
			continue
		}
		if st.restarts > s.instance {
			s.instance = st.restarts
			if s.fromStart || len(s.seen.ring) > 0 {
				s.drainPrevious(ctx)
			}
		}
		s.doubt = len(s.seen.ring) > 0 || s.held != nil
		fresh, err := s.read(ctx, s.options(!st.final))
		if errors.Is(err, errOtherLog) {
			s.drainPrevious(ctx)
			fresh, err = s.read(ctx, s.options(!st.final))
		}
		if fresh > 0 {
			wait, fruitless = s.r.pace.retry, 0
		}
		fruitless++
		switch {
		case ctx.Err() != nil, apierrors.IsNotFound(err), err == nil && st.final:
			return
		case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err), err != nil && st.final && fruitless >= attempts:
			s.r.failed(s.wrap(err))
			return
		}
		pause := wait
		if err == nil && !st.running { // all is read of this instance; the next is announced
			pause = 0
		} else if err != nil && !apierrors.IsBadRequest(err) {
			s.tell(fmt.Sprintf("the log of pod %s broke off, trying again: %v", s.name, err))
		}
		if s.await(ctx, pause) != nil {
			return
		}
		wait = min(2*wait, s.r.pace.retryMax)
	}
}

// await waits until the pod changes or, if d is not 0, until d has passed.
func (s *logStream) await(ctx context.Context, d time.Duration) error {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.changed:
	case <-timer:
	}
	return nil
}

// read opens the log once and reads it to its end. It says how many lines were new.
func (s *logStream) read(ctx context.Context, o *corev1.PodLogOptions) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.r.slot(ctx, s); err != nil {
		return 0, err
	}
	defer func() { <-s.r.slots }()
	if o.Follow {
		stop := s.watchEnd(ctx, cancel)
		defer stop()
	}
	body, err := s.r.open(ctx, s.name, o)
	if err != nil {
		return 0, err
	}
	s.told = ""
	s.seen.resume()
	s.skip = s.unstamped
	return s.pump(body)
}

// watchEnd cancels a stream that has not ended some time after its container has: its connection is dead. The returned
// function ends the watching.
func (s *logStream) watchEnd(ctx context.Context, cancel func()) func() {
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-ctx.Done():
			return
		case <-s.ending:
		}
		if sleep(ctx, s.r.pace.grace) == nil {
			cancel()
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// drainPrevious reads what is missing of the instance that was restarted.
func (s *logStream) drainPrevious(ctx context.Context) {
	o := s.options(false)
	o.Previous = true
	s.doubt = false
	// An error leaves nothing to do: the kubelet keeps the log of the last instance only as long as it likes.
	_, _ = s.read(ctx, o)
	s.flush()
}

// pump reads lines to the end of body, which it closes. It says how many were new; a nil error is the end of the log.
func (s *logStream) pump(body io.ReadCloser) (int, error) {
	defer func() { _ = body.Close() }()
	lines := newLineReader(body, s.r.o.MaxLine)
	if s.r.o.Partial {
		lines.growing = func(l rawLine) { s.r.line(s, l) }
	}
	if s.r.o.States {
		lines.state = func(l rawLine) { s.r.line(s, l) }
	}
	fresh := 0
	for {
		line, err := lines.next()
		switch {
		case line.ended:
			if line.at.IsZero() && refusal(line.text) {
				return fresh, fmt.Errorf("%w: %s", errUnreadable, line.text)
			}
			isNew, err := s.take(line)
			if err != nil {
				return fresh, err
			}
			if isNew {
				fresh++
			}
		case len(line.text) > 0 || !line.at.IsZero():
			if line.at.IsZero() && refusal(line.text) {
				return fresh, fmt.Errorf("%w: %s", errUnreadable, line.text)
			}
			s.hold(line)
		}
		if errors.Is(err, io.EOF) {
			return fresh, nil
		}
		if err != nil {
			return fresh, fmt.Errorf("read: %w", err)
		}
	}
}

// refusal tells the text that a kubelet sends in place of a log.
func refusal(text []byte) bool {
	return strings.HasPrefix(string(text), "unable to retrieve container logs for ")
}

// take emits a whole line unless it was read before.
func (s *logStream) take(line rawLine) (bool, error) {
	if line.at.IsZero() {
		if s.skip > 0 {
			s.skip--
			return false, nil
		}
		s.unstamped++
		s.held = nil
		s.r.line(s, line)
		return true, nil
	}
	if s.seen.known(line.at) {
		s.doubt = false
		return false, nil
	}
	switch {
	case s.held == nil && !s.doubt:
	case s.held != nil && s.held.at.Equal(line.at): // the rest of it
		s.held, s.doubt = nil, false
	case s.doubt:
		return false, errOtherLog
	default:
		s.flush()
	}
	s.seen.add(line.at)
	s.r.line(s, line)
	return true, nil
}

// hold keeps a line that did not end, until it comes again.
func (s *logStream) hold(line rawLine) {
	switch {
	case line.at.IsZero():
		if s.skip > 0 {
			return
		}
	case s.seen.known(line.at):
		return
	case s.held != nil && !s.held.at.Equal(line.at):
		if s.doubt {
			return
		}
		s.flush()
	}
	line.text = append([]byte(nil), line.text...)
	s.held = &line
}

// flush emits the line that was held: it will not come again.
func (s *logStream) flush() {
	if s.held == nil {
		return
	}
	line := *s.held
	s.held = nil
	line.ended = true
	if line.at.IsZero() {
		s.unstamped++
	} else {
		s.seen.add(line.at)
	}
	s.r.line(s, line)
}

// waiting tells why the container gives no lines.
func (s *logStream) waiting() {
	s.mu.Lock()
	f := DecodePod(s.pod)
	s.mu.Unlock()
	text := "waiting for pod " + s.name
	if w := f.Why(); w != "" {
		text += ": " + w
	}
	s.tell(text)
}

// tell passes a remark on, unless it was the last one too.
func (s *logStream) tell(text string) {
	if text != s.told {
		s.told = text
		s.r.status(s.name, s.container, text)
	}
}
