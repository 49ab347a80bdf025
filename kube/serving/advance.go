package serving

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Advance takes a rollout one step forward, if there is one to take, and returns how it stood before. acted tells
// whether something was done, so that the caller looks again. Any client may call it at any time.
func Advance(ctx context.Context, c *client.Client, name string) (r Rollout, acted bool, err error) {
	l, err := observe(ctx, c, name)
	if err != nil {
		return Rollout{}, false, err
	}
	now := time.Now().UTC()
	r = l.rollout(now)
	if l.rec == nil {
		return r, false, nil
	}
	acted, err = l.step(ctx, book{c}, now)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return r, true, nil // somebody else was faster: the next look decides again
	}
	return r, acted, err
}

// step tells what is to be told, or does what next decides.
func (l *live) step(ctx context.Context, to ledger, now time.Time) (bool, error) {
	w := l.world(now)
	if untold := l.rec.untold(w.selector); len(untold) > 0 {
		return true, l.tell(ctx, to, untold[0])
	}
	return take(ctx, l, next(w))
}

// take does a move.
func take(ctx context.Context, t target, m move) (bool, error) {
	if m.idle() {
		return false, nil
	}
	for _, a := range m.acts {
		if err := t.do(ctx, a); err != nil {
			return true, err
		}
	}
	if m.save != nil {
		return true, t.save(ctx, m.save)
	}
	return true, nil
}

// Drive takes a rollout forward until it ends or needs a person, showing every look. It outlives a lost API server.
// Several clients may drive the same rollout.
func Drive(ctx context.Context, c *client.Client, name string, show func(Update)) (Rollout, error) {
	return loop(ctx, show, func(ctx context.Context) (Rollout, bool, error) { return Advance(ctx, c, name) })
}

// Watch shows a rollout until it ends or needs a person. It takes no step.
func Watch(ctx context.Context, c *client.Client, name string, show func(Update)) (Rollout, error) {
	return loop(ctx, show, func(ctx context.Context) (Rollout, bool, error) {
		r, err := Get(ctx, c, name)
		return r, false, err
	})
}

func loop(ctx context.Context, show func(Update), look func(context.Context) (Rollout, bool, error)) (Rollout, error) {
	last := Update{Since: time.Now()}
	wait := retryFirst
	for {
		r, acted, err := look(ctx)
		pause := lookAgain
		switch {
		case ctx.Err() != nil:
			return last.Rollout, context.Cause(ctx)
		case err == nil:
			last, wait = Update{Rollout: r, Since: time.Now()}, retryFirst
			show(last)
			switch {
			case acted:
				pause = 0
			case r.Resting():
				return r, nil
			}
		case !client.Transient(err) || last.Rollout.Name == "":
			return last.Rollout, err
		default:
			last.Lost = err
			show(last)
			pause, wait = wait, min(2*wait, retryMost)
		}
		select {
		case <-ctx.Done():
			return last.Rollout, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
