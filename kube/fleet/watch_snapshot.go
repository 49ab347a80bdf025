package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// KindState is how it stands with the watching of one kind.
type KindState struct {
	// Resource is the plural with its group, such as jobsets.jobset.x-k8s.io.
	Resource string
	// Synced says that all objects were read once. Open says that a watch tells of every change since then; Polled that
	// the server allows no watch, so that they are listed every half minute.
	Synced, Open, Polled bool
	// Heard is when the server last spoke of this kind: an answer, a change, or a sign of life in a quiet watch, which
	// servers give about once a minute.
	Heard time.Time
	// Err is why the last request failed; nil when it did not.
	Err error
	// broke is when the last watch ended.
	broke time.Time
}

// patience is how long a watch that ended may take to begin anew before it counts as lost: servers end each now and then.
const patience = 2 * time.Second

// lost says that what is known of the kind may be out of date.
func (k *KindState) lost(now time.Time) bool {
	return k.Synced && !k.Open && !k.Polled && now.Sub(k.broke) >= patience
}

// State tells of each kind, by name.
func (w *Watcher) State() []KindState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state()
}

func (w *Watcher) state() []KindState {
	var out []KindState
	for _, name := range slices.Sorted(maps.Keys(w.stores)) {
		h := w.stores[name].state()
		out = append(out, KindState{Resource: name, Synced: h.synced, Open: h.open, Polled: h.polled, Heard: h.heard, Err: h.err, broke: h.broke})
	}
	return out
}

// Lost says since when the server has not been heard although it should be, and why; false when all is current.
func (w *Watcher) Lost() (since time.Time, lost bool, why error) {
	now := w.now()
	for _, k := range w.State() {
		if k.lost(now) && (!lost || k.Heard.Before(since)) {
			since, lost = k.Heard, true
			why = cmp.Or(why, k.Err)
		}
	}
	if why != nil {
		why = w.c.Explain("", why)
	}
	return since, lost, why
}

// Current says that every kind that was read is watched; it is false for a moment whenever a watch ends, and before Lost
// tells of an outage.
func (w *Watcher) Current() bool {
	return !slices.ContainsFunc(w.State(), func(k KindState) bool { return k.Synced && !k.Open && !k.Polled })
}

// Ready waits until all kinds were read once, or were refused. It is an error when nothing at all can be read.
func (w *Watcher) Ready(ctx context.Context) error {
	if w.bad != nil {
		return w.bad
	}
	look := time.NewTicker(20 * time.Millisecond) // signals are for the reader of Changed
	defer look.Stop()
	for !w.isSettled() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
	}
	var failed error
	for _, k := range w.State() {
		if k.Synced {
			return nil
		}
		failed = cmp.Or(failed, k.Err)
	}
	return w.c.Explain("watch the fleet", failed)
}

func (w *Watcher) isSettled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled
}

// synced says that nothing is still being read for the first time.
func (w *Watcher) synced() bool {
	if !w.discovered && w.discovery == nil {
		return false
	}
	for _, s := range w.stores {
		if h := s.state(); !h.synced && h.err == nil {
			return false
		}
	}
	return true
}

// Snapshot is the fleet as of now. It costs what has changed: a work that has not is the same as in the last snapshot.
func (w *Watcher) Snapshot() *Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := w.state()
	next := *w.last
	next.At, next.Problems = oldest(states), w.problems(states)
	news := !slices.EqualFunc(next.Problems, w.last.Problems, func(a, b Problem) bool { return a.Resource == b.Resource && a.Err.Error() == b.Err.Error() })
	if w.regroup(); w.fresh {
		w.fresh, news = false, true
		if next.Works = w.grouping.works; w.o.Nodes {
			next.Nodes = w.grouping.nodes
		}
	}
	switch {
	case news:
		next.Version++
	case next.At.Equal(w.last.At):
		return w.last
	}
	w.last = &next
	return w.last
}

// regroup takes in what has changed.
func (w *Watcher) regroup() {
	unseen := w.unseen()
	names := slices.Sorted(maps.Keys(w.stores))
	if w.grouping != nil && w.grouping.unseen == unseen && slices.Equal(names, w.grouped) {
		var changes []change
		for _, name := range names {
			changes = append(changes, w.stores[name].changes()...)
		}
		if len(changes) == 0 {
			return
		}
		if w.fresh = true; w.grouping.apply(changes) {
			return
		}
	}
	w.grouping, w.grouped, w.fresh = newGrouping(w.parts(true), w.choice), names, true
}

// oldest is when all kinds that were read were last known to be current; zero before.
func oldest(states []KindState) time.Time {
	var at time.Time
	for _, k := range states {
		if k.Synced && (at.IsZero() || k.Heard.Before(at)) {
			at = k.Heard
		}
	}
	return at
}

// problems are the kinds that cannot be read. One that is only out of reach for now is none, once it was read.
func (w *Watcher) problems(states []KindState) []Problem {
	var out []Problem
	if w.discovery != nil && !w.discovered {
		out = append(out, Problem{Resource: "custom resources", Err: w.c.Explain("list custom resources", w.discovery)})
	}
	for _, k := range states {
		if k.Err == nil || apierrors.IsNotFound(k.Err) || k.Synced && !apierrors.IsForbidden(k.Err) || errors.Is(k.Err, context.Canceled) {
			continue
		}
		out = append(out, Problem{Resource: k.Resource, Err: w.c.Explain("list "+k.Resource, k.Err)})
	}
	slices.SortFunc(out, func(a, b Problem) int { return cmp.Compare(a.Resource, b.Resource) })
	return out
}

// parts are the facts of all kinds. With take, regroup goes on from them.
func (w *Watcher) parts(take bool) parts {
	p := parts{unseen: w.unseen()}
	for _, name := range slices.Sorted(maps.Keys(w.stores)) {
		s := w.stores[name]
		for _, fact := range s.all(take) {
			s.add(&p, fact)
		}
	}
	return p
}

// unseen says that the pods of some namespaces cannot be read.
func (w *Watcher) unseen() bool {
	for _, s := range w.stores {
		if h := s.state(); s.unseen && (!h.synced || apierrors.IsForbidden(h.err)) {
			return true
		}
	}
	return false
}
