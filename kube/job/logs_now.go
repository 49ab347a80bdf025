package job

import (
	"context"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// attempts is how often a log is opened without getting on, before it is given up.
const attempts = 5

// opened is a log opened ahead of its turn.
type opened struct {
	body io.ReadCloser
	err  error
}

// readNow reads what there is, stream after stream. The next few are opened ahead: the server answers while others
// are read, and what is opened ahead waits in the connection, not in memory.
func (r *logReader) readNow(ctx context.Context) error {
	pods, _, err := r.list(ctx)
	if apierrors.IsForbidden(err) {
		return forbidden(err, "list pods")
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var streams []*logStream
	for _, p := range pods {
		r.saw(p.Name)
		for _, c := range r.containers(p) {
			s := r.stream(p, c)
			switch {
			case s.unknownContainer():
				r.failed(s.noContainer())
			case !s.state().started:
				s.waiting()
			default:
				streams = append(streams, s)
			}
		}
	}
	turns := make([]chan opened, len(streams))
	next := 0
	launch := func() {
		if next == len(streams) {
			return
		}
		s, turn := streams[next], make(chan opened, 1)
		turns[next] = turn
		next++
		go func() {
			body, err := r.open(ctx, s.name, s.firstOptions(false))
			turn <- opened{body, err}
		}()
	}
	for range ahead {
		launch()
	}
	defer func() { // wait for what was opened and not read
		cancel()
		for _, turn := range turns[:next] {
			if turn == nil {
				continue
			}
			if o := <-turn; o.body != nil {
				_ = o.body.Close()
			}
		}
	}()
	for i, s := range streams {
		o := <-turns[i]
		turns[i] = nil
		s.readOnce(ctx, o)
		if err := ctx.Err(); err != nil {
			return err
		}
		launch()
	}
	return nil
}

// readOnce reads a log from where it was opened to its end, with some patience for a connection that breaks.
func (s *logStream) readOnce(ctx context.Context, o opened) {
	defer s.flush()
	wait := s.r.pace.retry
	for try := 1; ; try++ {
		err := o.err
		if err == nil {
			var fresh int
			if fresh, err = s.pump(o.body); fresh > 0 {
				try = 1
			}
		}
		switch {
		case err == nil || ctx.Err() != nil || apierrors.IsNotFound(err):
			return
		case apierrors.IsBadRequest(err) && !s.state().started:
			s.waiting()
			return
		case permanent(err) || try >= attempts:
			s.r.failed(s.wrap(err))
			return
		}
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, s.r.pace.retryMax)
		s.seen.resume()
		s.skip = s.unstamped
		o.body, o.err = s.r.open(ctx, s.name, s.options(false))
	}
}

// permanent tells the errors that no repetition mends.
func permanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err)
}

// wrap says whose log could not be read, and why.
func (s *logStream) wrap(err error) error {
	if apierrors.IsForbidden(err) {
		err = forbidden(err, "get pods/log")
	}
	return fmt.Errorf("log of %s/%s: %w", s.name, s.container, err)
}
