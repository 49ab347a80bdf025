package serving

import (
	"fmt"
	"math"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// world is what a look at a rollout has found.
type world struct {
	now time.Time
	rec *record
	// stable serves, or served before; next is the new side. Nil is a Deployment that is not there.
	stable, next *seen
	// scaled says that a HorizontalPodAutoscaler owns the size of the stable side, scaler is the side that one scales.
	scaled bool
	scaler string
	// selector is the side that the Service selects, "" for all.
	selector string
	// weight is the share that the route gives to the canary in percent, -1 where there is no route.
	weight int
	// withdrawn says that the route was marked when the canary's share was taken away for good: whoever still means to give
	// it one has seen the route before that.
	withdrawn bool
	// gates are what the gates of the current step say.
	gates []Gate
}

// seen is a Deployment as a look has found it.
type seen struct {
	side string
	// id is the rollout that made its pod template.
	id      string
	version int
	// replicas are asked for; current is false until the controller has seen that.
	replicas                         int32
	current                          bool
	total, updated, ready, available int32
	restarts                         int32
	// trouble is why pods do not get ready; broken says that they never will.
	trouble string
	broken  bool
	// readySince is when the last of the pods got ready, zero while one is not.
	readySince time.Time
	image      string
}

// settled says whether a side is all that was asked for and nothing else.
func (s *seen) settled() bool {
	return s != nil && s.current && s.updated == s.replicas && s.total == s.replicas && s.available >= s.replicas
}

func (s *seen) availableNow() int32 {
	if s == nil {
		return 0
	}
	return s.available
}

// action is one change of the cluster that a look asks for.
type action struct {
	do verb
	// n are replicas, or a weight in percent.
	n int32
	// before restores the pods of the version before; otherwise those of the target are set.
	before bool
	// last marks a route as withdrawn.
	last bool
	// side is what the Service selects.
	side string
}

type verb string

const (
	scaleStable verb = "scale the stable side"
	specStable  verb = "give the stable side a spec"
	putNext     verb = "make the new side"
	scaleNext   verb = "scale the new side"
	dropNext    verb = "remove the new side"
	scaleOld    verb = "scale the old side"
	weigh       verb = "share the route"
	choose      verb = "switch the service"
	retarget    verb = "point the autoscaler"
	judge       verb = "start the gates"
)

// move is what a look leads to: changes of the cluster or, where it has followed, a change of the record.
type move struct {
	acts []action
	save *record
}

func (m move) idle() bool { return len(m.acts) == 0 && m.save == nil }

// next decides what a rollout needs. First the cluster follows the record, then the record goes on; only a fault is
// faster than that.
func next(w world) move {
	if r := fault(w); r != nil {
		return move{save: r}
	}
	goal, proceed := canaryGoal, canaryNext
	if w.rec.Strategy == pipeline.BlueGreen {
		goal, proceed = blueGreenGoal, blueGreenNext
	}
	acts := goal(w)
	if len(acts) == 0 && w.needsGates() && w.lacksJobs() {
		acts = append(acts, action{do: judge})
	}
	if len(acts) > 0 {
		return move{acts: acts}
	}
	return move{save: proceed(w)}
}

// fault is the record of a rollout whose new pods will not serve, or whose gate is breached; nil while there is hope.
func fault(w world) *record {
	r := w.rec
	growing := w.next
	if r.State == promoting {
		growing = w.stable
		if growing != nil && growing.id != r.ID {
			return nil
		}
	}
	if r.State != stepping && r.State != promoting || r.NoAbort && r.Strategy != pipeline.Rolling {
		return nil
	}
	if growing != nil && growing.id == r.ID && growing.broken {
		return r.fail(growing.trouble, false, w.now)
	}
	for _, g := range w.gates {
		if g.State == Breach {
			return r.fail("the gate "+g.Kind+" does not hold: "+g.Message, true, w.now)
		}
	}
	return nil
}

// sizes are the replicas of canary and stable that come closest to a weight in percent. Both have one pod at least: pods
// of the canary that serve now may be gone when the last one of stable goes. Where stable must keep its size, the canary
// comes on top of it.
func sizes(full, weight int32, keep bool) (canary, stable int32) {
	full = max(full, 1)
	if keep {
		if weight >= 100 {
			return full, full
		}
		return max(1, int32(math.Round(float64(full)*float64(weight)/float64(100-weight)))), full
	}
	canary = min(full, max(1, int32(math.Round(float64(full)*float64(weight)/100))))
	return canary, max(1, full-canary)
}

// share is the part of the traffic that the canary gets, in percent, as so many ready pods give it.
func share(canary, stable int32) int {
	if canary+stable <= 0 {
		return 0
	}
	return int(math.Round(100 * float64(canary) / float64(canary+stable)))
}

// plan are the sizes of the current step. By a route the canary is as large as its share, on top of a full stable side.
func (w world) plan() (canary, stable int32) {
	full := w.full()
	st := w.rec.step()
	if st == nil {
		return 0, full
	}
	if w.weight >= 0 {
		return max(1, int32(math.Ceil(float64(full)*float64(st.Weight)/100))), full
	}
	return sizes(full, st.Weight, w.scaled)
}

// full is the full size of the stable side.
func (w world) full() int32 {
	if w.scaled && w.stable != nil {
		return max(1, w.stable.replicas)
	}
	return max(1, w.rec.Size)
}

// canaryGoal is how the cluster differs from what the record of a canary or rolling rollout says.
func canaryGoal(w world) (acts []action) {
	r, s, n := w.rec, w.stable, w.next
	if s == nil {
		return nil
	}
	switch r.State {
	case stepping:
		canary, stable := w.plan()
		switch {
		case n == nil || n.id != r.ID:
			acts = append(acts, action{do: putNext, n: canary})
		case n.replicas != canary:
			acts = append(acts, action{do: scaleNext, n: canary})
		}
		if !w.scaled {
			// The stable side gives way only to pods that serve.
			mine := int32(0)
			if n != nil && n.id == r.ID {
				mine = n.availableNow()
			}
			if keep := min(w.full(), max(stable, w.full()-mine)); keep != s.replicas {
				acts = append(acts, action{do: scaleStable, n: keep})
			}
		}
		if w.weight >= 0 {
			switch asked := int(r.step().Weight); {
			case n.availableNow() == 0:
				asked = 0 // nobody is there to answer
				fallthrough
			case n.settled():
				if w.weight != asked {
					acts = append(acts, action{do: weigh, n: int32(asked)})
				}
			}
		}
	case promoting:
		if s.id != r.ID || !w.scaled && s.replicas != w.full() {
			return []action{{do: specStable, n: w.full()}}
		}
		if s.settled() {
			acts = w.withdraw(acts)
		}
	case aborting:
		if s.id == r.ID || !w.scaled && s.replicas != w.full() {
			acts = append(acts, action{do: specStable, n: w.full(), before: true})
		}
		switch {
		case s.ready > 0:
			acts = w.withdraw(acts)
		case n != nil && n.replicas > max(1, w.full()-1):
			// Where a quota is tight the stable side needs the room of one pod to begin with.
			acts = append(acts, action{do: scaleNext, n: max(1, w.full()-1)})
		}
	default:
		acts = w.withdraw(acts)
	}
	return acts
}

// withdraw takes the traffic from the canary and removes it.
func (w world) withdraw(acts []action) []action {
	switch {
	case w.weight > 0 || w.weight == 0 && !w.withdrawn && w.next != nil:
		return append(acts, action{do: weigh, last: true})
	case w.next != nil:
		return append(acts, action{do: dropNext})
	}
	return acts
}

// canaryNext is how the record of a canary or rolling rollout goes on when the cluster has followed it; nil to wait.
func canaryNext(w world) *record {
	r := w.rec
	switch r.State {
	case stepping:
		return w.pass(func() bool { return w.next.settled() && w.stable.settled() }, promoting)
	case promoting:
		if w.stable.settled() && w.stable.id == r.ID && w.next == nil {
			out := r.enter(healthy, w.now)
			out.Image = w.stable.image
			return out
		}
	case aborting:
		if w.stable.settled() && w.stable.id != r.ID && w.next == nil {
			return r.enter(r.verdict(), w.now)
		}
	}
	return nil
}

// verdict is how a rollout ends that was taken back.
func (r *record) verdict() state {
	if r.Fault != "" {
		return failed
	}
	return aborted
}

// pass goes through the steps: a step has its weight, then its pause is over, then its gates hold.
func (w world) pass(reached func() bool, then state) *record {
	r := w.rec
	if r.Full && reached() {
		return r.enter(then, w.now)
	}
	st := r.step()
	switch {
	case st == nil:
		if reached() {
			return r.enter(then, w.now)
		}
		return nil
	case r.Reached == nil:
		if !reached() {
			return nil
		}
		out := r.clone()
		out.Reached = &w.now
		return out
	case w.pauses() != "":
		return nil
	}
	for _, g := range w.gates {
		if g.State != Passed {
			return nil
		}
	}
	if r.Step+1 == len(r.Steps) {
		return r.enter(then, w.now)
	}
	out := r.enter(stepping, w.now)
	out.Step++
	return out
}

// pauses says what a step that has its weight is held for; empty when it is not.
func (w world) pauses() string {
	r := w.rec
	st := r.step()
	if st == nil || st.Pause == nil || r.Reached == nil || r.Passed || r.Full {
		return ""
	}
	if st.Pause.Approval {
		return "approval"
	}
	if left := st.Pause.Duration - w.now.Sub(*r.Reached); left > 0 {
		return left.Round(time.Second).String()
	}
	return ""
}

// needsGates says whether the gates of the step are to be judged by Jobs now.
func (w world) needsGates() bool {
	return w.rec.step() != nil && w.rec.Reached != nil && w.pauses() == "" && !w.rec.Full
}

// lacksJobs says whether the Job of a gate has not been made.
func (w world) lacksJobs() bool {
	for _, g := range w.gates {
		if g.Job != "" && !g.made {
			return true
		}
	}
	return false
}

// blueGreenGoal is how the cluster differs from what the record of a blue-green rollout says.
func blueGreenGoal(w world) (acts []action) {
	r, old, n := w.rec, w.stable, w.next
	point := func(side string) {
		if w.selector != side && side != "" {
			acts = append(acts, action{do: choose, side: side})
		}
		if w.scaler != "" && side != "" && w.scaler != side {
			acts = append(acts, action{do: retarget, side: side})
		}
	}
	switch r.State {
	case stepping:
		// A Service that selects all pods would let the new ones in at once.
		point(r.Old)
		switch {
		case len(acts) > 0:
		case n == nil || n.id != r.ID:
			acts = append(acts, action{do: putNext, n: w.full()})
		case n.replicas != w.full():
			acts = append(acts, action{do: scaleNext, n: w.full()})
		}
	case switched, healthy:
		if n.availableNow() > 0 {
			point(r.New)
		}
		if r.State == switched {
			break
		}
		// The new side must answer before the old one goes.
		if old != nil && old.replicas > 0 && n.availableNow() > 0 && w.selector == r.New && len(acts) == 0 {
			acts = append(acts, action{do: scaleOld})
		}
	default: // aborting and the ends of it
		point(r.Old)
		if n != nil && n.replicas > 0 && len(acts) == 0 && (r.Old == "" || old.availableNow() > 0) {
			acts = append(acts, action{do: scaleNext})
		}
	}
	return acts
}

// blueGreenNext is how the record of a blue-green rollout goes on when the cluster has followed it; nil to wait.
func blueGreenNext(w world) *record {
	r := w.rec
	switch r.State {
	case stepping:
		out := w.pass(w.next.settled, switched)
		if out != nil && out.State == switched {
			out.Image = w.next.image
		}
		return out
	case switched:
		if w.selector != r.New {
			return nil
		}
		if r.Passed || r.Old == "" || r.Keep != nil && w.now.Sub(r.Since) >= r.Keep.Duration {
			return r.enter(healthy, w.now)
		}
	case aborting:
		if w.next == nil || w.next.replicas == 0 {
			return r.enter(r.verdict(), w.now)
		}
	}
	return nil
}

// describe is the reason of a size in words, where pods cannot give the weight that is asked for.
func describe(asked int32, canary, stable int32) string {
	got := share(canary, stable)
	if got == int(asked) {
		return ""
	}
	return fmt.Sprintf("%d of %d pods give %d %% in place of %d %%", canary, canary+stable, got, asked)
}
