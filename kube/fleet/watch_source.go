package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// askAgain is how long a refusal holds before the server is asked again.
const askAgain = time.Minute

// source is where a reflector reads one kind. It makes facts of the objects as they come from the wire, so that nothing
// else of them is kept, and notes in the store when the server was heard.
type source struct {
	store *store
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	open  func(context.Context, metav1.ListOptions) (watch.Interface, error)
	// decode makes a fact of an object.
	decode func(runtime.Object) any
	// poll is how long a list holds where watching is refused.
	poll time.Duration

	mu    sync.Mutex
	texts texts
	// noList and noWatch are until when the server need not be asked, refusal what it said to a watch.
	noList, noWatch time.Time
	refusal         error
}

// page reads one page. The reflector's wish for whatever version the server has at hand is not followed: the
// server ignores the page size then, and sends ten thousand pods in one piece.
func (s *source) page(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	if err := s.rest(ctx); err != nil {
		return nil, err
	}
	o.Limit = page
	if o.Continue == "" {
		o.ResourceVersion, o.ResourceVersionMatch = "", ""
	}
	list, err := s.list(ctx, o)
	if err != nil {
		return nil, s.failed(ctx, err, &s.noList)
	}
	s.store.spoke()
	out := &entries{}
	if m, err := meta.ListAccessor(list); err == nil {
		out.ResourceVersion, out.Continue, out.RemainingItemCount = m.GetResourceVersion(), m.GetContinue(), m.GetRemainingItemCount()
	}
	err = meta.EachListItem(list, func(o runtime.Object) error {
		e, err := s.entry(o)
		if err == nil {
			out.Items = append(out.Items, e)
		}
		return err
	})
	return out, err
}

// rest waits until the server may be asked for a list again.
func (s *source) rest(ctx context.Context) error {
	s.mu.Lock()
	until := s.noList
	if s.noWatch.After(s.store.now()) && s.store.state().synced {
		until = later(until, s.store.state().heard.Add(s.poll))
	}
	s.mu.Unlock()
	wait := until.Sub(s.store.now())
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// failed notes why a request failed, and does not ask again soon for what was refused.
func (s *source) failed(ctx context.Context, err error, until *time.Time) error {
	if ctx.Err() != nil {
		return err
	}
	refused := apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)
	if refused {
		s.mu.Lock()
		*until = s.store.now().Add(askAgain)
		s.mu.Unlock()
	}
	s.store.note(func(h *health) {
		h.open = false
		if h.polled = refused && until == &s.noWatch; !h.polled { // else the list that follows decides
			h.err = err
		}
	})
	return err
}

// watch opens a watch.
func (s *source) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	refusal := s.refusal
	if s.store.now().After(s.noWatch) {
		refusal = nil
	}
	s.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	w, err := s.open(ctx, o)
	if err != nil {
		s.mu.Lock()
		s.refusal = err
		s.mu.Unlock()
		return nil, s.failed(ctx, err, &s.noWatch)
	}
	s.store.note(func(h *health) { h.open, h.polled, h.heard, h.err = true, false, s.store.now(), nil })
	d := &decoding{source: s, from: w, out: make(chan watch.Event), done: make(chan struct{})}
	go d.run(ctx)
	return d, nil
}

// entry makes a fact of an object.
func (s *source) entry(o runtime.Object) (*entry, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, err
	}
	e := &entry{namespace: m.GetNamespace(), name: m.GetName(), version: m.GetResourceVersion(), fact: s.decode(o)}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.fact = s.texts.share(e.fact)
	return e, nil
}

// decoding is a watch whose objects become facts.
type decoding struct {
	source *source
	from   watch.Interface
	out    chan watch.Event
	once   sync.Once
	done   chan struct{}
}

// ResultChan gives the events.
func (d *decoding) ResultChan() <-chan watch.Event { return d.out }

// Stop ends the watch.
func (d *decoding) Stop() {
	d.once.Do(func() {
		close(d.done)
		d.from.Stop()
	})
}

func (d *decoding) run(ctx context.Context) {
	defer close(d.out)
	for {
		select {
		case <-d.done:
			d.closed(nil)
			return
		case event, ok := <-d.from.ResultChan():
			if !ok {
				if ctx.Err() == nil {
					d.closed(errClosed)
				}
				return
			}
			if !d.pass(event) {
				d.closed(nil)
				return
			}
		}
	}
}

var errClosed = errors.New("the server closed the connection")

// closed notes the end of the watch. One that just ends was good to the end: what came before the end was delivered.
func (d *decoding) closed(err error) {
	d.source.store.note(func(h *health) {
		if err != nil && h.open {
			h.heard = d.source.store.now()
		}
		h.open = false
	})
}

// pass hands one event on; false when nobody takes it any more.
func (d *decoding) pass(event watch.Event) bool {
	switch event.Type {
	case watch.Error:
		if err := apierrors.FromObject(event.Object); !apierrors.IsInternalError(err) { // what the client makes of a broken stream is one
			d.source.store.spoke()
		}
	case watch.Bookmark: // its object is nearly empty, and the reflector looks into it
		d.source.store.spoke()
	default:
		d.source.store.spoke()
		e, err := d.source.entry(event.Object)
		if err != nil {
			return true
		}
		event.Object = e
	}
	select {
	case d.out <- event:
		return true
	case <-d.done:
		return false
	}
}
