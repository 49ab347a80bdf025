package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Update is one look at a run.
type Update struct {
	Run Run
	// Lost is set while the API server cannot be reached; Run is then what was last known, as of Since.
	Lost  error
	Since time.Time
}

// Times of the loop: how long changes are gathered before a look, how long at most until the next look,
// and how the wait grows while the server is away.
const (
	settle     = 150 * time.Millisecond
	lookAtMost = 5 * time.Second
	retryFirst = 500 * time.Millisecond
	retryMost  = 8 * time.Second
)

// Drive takes a run forward until it ends or needs a person, showing every new state. It outlives a lost API
// server. Several clients may drive the same run.
func Drive(ctx context.Context, c *client.Client, name string, show func(Update)) (Run, error) {
	restored := false
	return loop(ctx, c, name, show, func(ctx context.Context) (Run, bool, error) {
		r, again, err := Advance(ctx, c, name)
		if err == nil && !restored {
			restored, err = true, restoreServices(ctx, c, r)
		}
		return r, again, err
	})
}

// Follow shows every new state of a run until it ends or needs a person. It starts nothing.
func Follow(ctx context.Context, c *client.Client, name string, show func(Update)) (Run, error) {
	return loop(ctx, c, name, show, func(ctx context.Context) (Run, bool, error) {
		r, err := Settle(ctx, c, name)
		return r, false, err
	})
}

// Resting says whether a run changes only when somebody acts on it.
func (r Run) Resting() bool { return r.End != nil || r.State == AwaitingApproval }

func loop(ctx context.Context, c *client.Client, name string, show func(Update), look func(context.Context) (Run, bool, error)) (Run, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changed := signals(ctx, c, name)
	last := Update{Since: time.Now()}
	wait := retryFirst
	watchesSets, watchesRollouts := false, false
	for {
		r, again, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return last.Run, context.Cause(ctx)
		case err == nil:
			if !watchesSets && usesJobSets(r.Record) {
				watchesSets = true
				go signal(ctx, jobSets(c, c.Namespace).Watch, runOf(name), changed)
			}
			if !watchesRollouts && r.any(deploys) {
				watchesRollouts = true
				go signal(ctx, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
					return c.Kube.AppsV1().Deployments(c.Namespace).Watch(ctx, o)
				}, runOf(name), changed)
			}
			last, wait = Update{Run: r, Since: time.Now()}, retryFirst
			show(last)
			if r.Resting() {
				return r, nil
			}
			if again {
				continue
			}
		case !client.Transient(err):
			return last.Run, err
		case last.Run.Record == nil:
			// Nothing was ever seen: that is not an outage in the middle, so say it at once.
			return last.Run, err
		default:
			last.Lost = err
			show(last)
		}
		if err := pause(ctx, changed, last.Lost != nil, wait); err != nil {
			return last.Run, err
		}
		if last.Lost != nil {
			wait = min(2*wait, retryMost)
		}
	}
}

// pause waits for the next reason to look.
func pause(ctx context.Context, changed <-chan struct{}, lost bool, wait time.Duration) error {
	limit := lookAtMost
	if lost {
		// A signal that comes in while the server is away is no proof that it is back.
		limit, changed = wait, nil
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	case <-changed:
	}
	// Changes come in bursts: a pod's start alone is four of them.
	t.Reset(settle)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
	}
	return nil
}

// signals tells that something of the run changed. The events are only signals: what is true is always read anew,
// so a missed one costs at most lookAtMost.
func signals(ctx context.Context, c *client.Client, name string) chan struct{} {
	out := make(chan struct{}, 1)
	opts := runOf(name)
	for _, w := range []watcher{
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Kube.BatchV1().Jobs(c.Namespace).Watch(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Kube.CoreV1().Pods(c.Namespace).Watch(ctx, o)
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Kube.CoreV1().ConfigMaps(c.Namespace).Watch(ctx, o)
		},
	} {
		go signal(ctx, w, opts, out)
	}
	return out
}

// runOf selects what a run has made.
func runOf(name string) metav1.ListOptions {
	return kube.ListOptions(map[string]string{kube.LabelRun: name})
}

type watcher func(context.Context, metav1.ListOptions) (watch.Interface, error)

func signal(ctx context.Context, open watcher, opts metav1.ListOptions, out chan<- struct{}) {
	wait := retryFirst
	for ctx.Err() == nil {
		w, err := open(ctx, opts)
		if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
			return // the loop looks every few seconds anyway
		}
		if err == nil {
			wait = retryFirst
			for range w.ResultChan() {
				select {
				case out <- struct{}{}:
				default:
				}
			}
			w.Stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// ErrWaited says that the time given for waiting was over before the run ended.
var ErrWaited = errors.New("the run has not ended")

// Wait follows a run for at most limit (0: without limit).
func Wait(ctx context.Context, c *client.Client, name string, limit time.Duration, show func(Update)) (Run, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %s", ErrWaited, limit))
		defer cancel()
	}
	return Follow(ctx, c, name, show)
}
