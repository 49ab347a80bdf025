package job

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

// errWatchEnded is a watch that the server ended; it is normal now and then.
var errWatchEnded = errors.New("the watch ended")

// follower follows the selected pods as they come and go.
type follower struct {
	*logReader
	wg sync.WaitGroup
	// poke has a token when something happened that may be the end.
	poke chan struct{}

	// pods guards the streams by pod, which discovery and the last look share.
	pods    sync.Mutex
	streams map[string][]*logStream
	active  int
	synced  bool
}

// follow reads until the work has ended and its lines are read.
func (r *logReader) follow(ctx context.Context, done func(context.Context) (bool, error)) error {
	f := &follower{logReader: r, poke: make(chan struct{}, 1), streams: map[string][]*logStream{}}
	inner, cancel := context.WithCancel(ctx)
	defer f.wg.Wait()
	defer cancel()
	found := make(chan error, 1)
	f.wg.Go(func() { found <- f.discover(inner) })
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-found:
			return err
		case <-f.poke: // often one of many
			if err := sleep(ctx, r.pace.settle); err != nil {
				return err
			}
		case <-time.After(r.pace.poll):
		}
		ended, err := f.over(inner, done)
		if err != nil {
			r.status("", "", "cannot tell whether the work has ended: "+err.Error())
			if apierrors.IsForbidden(err) {
				r.failed(err)
				done = nil // the pods themselves will tell
			}
			continue
		}
		if ended {
			return f.drain(inner)
		}
	}
}

// over asks whether the work has ended.
func (f *follower) over(ctx context.Context, done func(context.Context) (bool, error)) (bool, error) {
	if done != nil {
		return done(ctx)
	}
	f.pods.Lock()
	defer f.pods.Unlock()
	return f.synced && len(f.streams) > 0 && f.active == 0, nil
}

// drain takes a last look at the pods and waits for their streams, as long as these have lines to give.
func (f *follower) drain(ctx context.Context) error {
	if pods, _, err := f.list(ctx); err == nil {
		f.sync(ctx, pods)
	}
	since := time.Now()
	for {
		f.pods.Lock()
		left := f.active
		f.pods.Unlock()
		f.mu.Lock()
		last := f.lastLine
		f.mu.Unlock()
		if last.Before(since) {
			last = since
		}
		if left == 0 || time.Since(last) > 2*f.pace.grace {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.poke:
		case <-time.After(f.pace.poll):
		}
	}
}

// discover keeps the streams in step with the pods until ctx ends. It watches; where that is forbidden or broken it looks
// again and again. The error is for what makes following impossible.
func (f *follower) discover(ctx context.Context) error {
	wait, polling := f.pace.retry, false
	for {
		pods, version, err := f.list(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsForbidden(err):
			return forbidden(err, "list pods (or name the pods, with get pods)")
		case err != nil:
			f.status("", "", "cannot list the pods, trying again: "+err.Error())
			if err := sleep(ctx, wait); err != nil {
				return err
			}
			wait = min(2*wait, f.pace.retryMax)
			continue
		}
		wait = f.pace.retry
		f.sync(ctx, pods)
		pause := f.pace.poll
		if !polling && version != "" {
			err = f.watch(ctx, version)
			polling = apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)
			if errors.Is(err, errWatchEnded) {
				pause = f.pace.retry
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// watch applies changes until the watch ends.
func (f *follower) watch(ctx context.Context, version string) error {
	o := f.listOptions()
	o.ResourceVersion, o.AllowWatchBookmarks = version, true
	seconds := int64(300)
	o.TimeoutSeconds = &seconds
	w, err := f.cs.CoreV1().Pods(f.namespace).Watch(ctx, o)
	if err != nil {
		return fmt.Errorf("watch the pods: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.ResultChan():
			if !ok {
				return errWatchEnded
			}
			if e.Type == watch.Error {
				return apierrors.FromObject(e.Object)
			}
			p, isPod := e.Object.(*corev1.Pod)
			if !isPod || e.Type == watch.Bookmark || !f.selected(p) {
				continue
			}
			f.pods.Lock()
			f.apply(ctx, p, e.Type == watch.Deleted)
			f.pods.Unlock()
			if e.Type == watch.Deleted || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				f.look()
			}
		}
	}
}

// sync applies a whole list: what is not on it is gone.
func (f *follower) sync(ctx context.Context, pods []*corev1.Pod) {
	f.pods.Lock()
	defer f.pods.Unlock()
	here := make(map[string]bool, len(pods))
	for _, p := range pods {
		here[podKey(p)] = true
		f.apply(ctx, p, false)
	}
	for key, streams := range f.streams {
		if here[key] {
			continue
		}
		for _, s := range streams {
			s.update(nil, true)
		}
	}
	f.synced = true
	f.look()
}

// apply takes in one pod. The caller holds the lock on the pods.
func (f *follower) apply(ctx context.Context, p *corev1.Pod, gone bool) {
	streams, known := f.streams[podKey(p)]
	if known {
		for _, s := range streams {
			s.update(p, gone)
		}
		return
	}
	if gone || ctx.Err() != nil {
		return
	}
	f.saw(p.Name)
	for _, c := range f.containers(p) {
		s := f.stream(p, c)
		s.fromStart = f.synced
		s.update(p, false)
		streams = append(streams, s)
		f.active++
		f.wg.Go(func() {
			s.run(ctx)
			f.pods.Lock()
			f.active--
			f.pods.Unlock()
			f.look()
		})
	}
	f.streams[podKey(p)] = streams
}

// podKey tells a pod from one of the same name that came before it.
func podKey(p *corev1.Pod) string { return p.Name + "/" + string(p.UID) }

// look wakes the loop that asks whether the work has ended.
func (f *follower) look() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}
