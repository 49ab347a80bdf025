package serving

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

var errConflict = errors.New("conflict")

// sim is a cluster of Deployments with versions of their objects, as the API server has them.
type sim struct {
	now    time.Time
	rec    *record
	sides  map[string]*simSide
	choose string
	weight int
	// route is the resourceVersion of the HTTPRoute.
	route     int
	withdrawn bool
	scaled    bool
	// host is the resourceVersion of the object with the record.
	host     int
	versions int
	onStable bool
	// sick is the ID of the rollout whose pods never get ready.
	sick string
}

type simSide struct {
	version int // of the object
	uid     int
	id      string
	want    int32
	// pods are by the rollout that made them: how many exist and how many are ready.
	pods   map[string][2]int32
	broken bool
}

func (s *sim) seen(name string) *seen {
	d := s.sides[name]
	if d == nil || name == "" {
		return nil
	}
	out := &seen{side: name, id: d.id, replicas: d.want, current: true, broken: d.broken}
	for id, p := range d.pods {
		out.total += p[0]
		out.ready += p[1]
		if id == d.id {
			out.updated = p[0]
		}
	}
	out.available = out.ready
	if d.broken {
		out.trouble = "sick"
	}
	return out
}

func (s *sim) world() world {
	w := world{now: s.now, rec: s.rec, stable: s.seen(s.rec.Old), selector: s.choose, weight: s.weight, withdrawn: s.withdrawn}
	if s.rec.New != s.rec.Old {
		w.next = s.seen(s.rec.New)
	}
	if s.scaled {
		w.scaled, w.scaler = true, s.rec.Old
	}
	if st := s.rec.step(); st != nil {
		for range st.Gates {
			w.gates = append(w.gates, Gate{Kind: "job", State: Passed, made: true})
		}
	}
	return w
}

// view is what one driver has seen, and acts on later.
type view struct {
	s     *sim
	w     world
	host  int
	route int
	sides map[string][2]int // object version, uid
}

func (s *sim) look() *view {
	v := &view{s: s, w: s.world(), host: s.host, route: s.route, sides: map[string][2]int{}}
	for name, d := range s.sides {
		v.sides[name] = [2]int{d.version, d.uid}
	}
	return v
}

func (s *sim) bump(name string) {
	s.versions++
	s.sides[name].version = s.versions
	if s.onStable && name == sideStable {
		s.host = s.versions
	}
}

func (v *view) save(_ context.Context, r *record) error {
	if v.host != v.s.host {
		return errConflict
	}
	v.s.versions++
	v.s.host, v.s.rec = v.s.versions, r
	if v.s.onStable {
		v.s.sides[sideStable].version = v.s.versions
	}
	return nil
}

func (v *view) change(name string, f func(d *simSide)) error {
	d := v.s.sides[name]
	if d == nil || [2]int{d.version, d.uid} != v.sides[name] {
		return errConflict
	}
	f(d)
	v.s.bump(name)
	return nil
}

func (v *view) do(_ context.Context, a action) error {
	s, r := v.s, v.w.rec
	switch a.do {
	case scaleStable, scaleOld:
		return v.change(r.Old, func(d *simSide) { d.want = a.n })
	case scaleNext:
		return v.change(r.New, func(d *simSide) { d.want = a.n })
	case specStable:
		return v.change(sideStable, func(d *simSide) {
			if !v.w.scaled {
				d.want = a.n
			}
			switch {
			case !a.before:
				d.id = r.ID
			case d.id == r.ID:
				d.id = "before"
			}
			d.broken = false
		})
	case putNext:
		if v.w.next == nil {
			if s.sides[r.New] != nil {
				return errConflict
			}
			s.versions++
			s.sides[r.New] = &simSide{version: s.versions, uid: s.versions, id: r.ID, want: a.n, pods: map[string][2]int32{}}
			return nil
		}
		return v.change(r.New, func(d *simSide) { d.id, d.want, d.broken = r.ID, a.n, false })
	case dropNext:
		d := s.sides[r.New]
		if d == nil {
			return nil
		}
		if [2]int{d.version, d.uid} != v.sides[r.New] {
			return errConflict
		}
		delete(s.sides, r.New)
	case weigh:
		if v.route != s.route {
			return errConflict
		}
		s.versions++
		s.weight, s.route, s.withdrawn = int(a.n), s.versions, a.last
	case choose:
		if v.host != s.host {
			return errConflict
		}
		s.versions++
		s.host, s.choose = s.versions, a.side
	}
	return nil
}

// controller lets pods come, get ready and go as a Deployment's controller does: old ones go only as new ones are ready.
func (s *sim) controller(r *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(s.sides)) {
		d := s.sides[name]
		if r.IntN(3) == 0 {
			continue
		}
		var total, ready int32
		for _, id := range slices.Sorted(maps.Keys(d.pods)) {
			p := d.pods[id]
			if r.IntN(4) == 0 && p[1] < p[0] && id != s.sick {
				p[1]++
				d.pods[id] = p
			}
			total += p[0]
			ready += p[1]
		}
		mine := d.pods[d.id]
		changed := false
		if total > d.want {
			// Pods that are not ready go first, and of those that are the ones of another spec.
			for id, p := range d.pods {
				if id != d.id && p[0] > 0 && (p[1] < p[0] || ready > d.want) {
					if p[1] == p[0] {
						p[1]--
					}
					p[0]--
					d.pods[id], changed = p, true
					break
				}
			}
			if !changed && mine[0] > d.want {
				mine[0]--
				mine[1] = min(mine[1], mine[0])
				d.pods[d.id], changed = mine, true
			}
		}
		if !changed && mine[0] < d.want && total <= d.want { // one more than asked for, until the others are gone
			mine[0]++
			d.pods[d.id], changed = mine, true
		}
		if !changed && d.id != s.sick && mine[1] < mine[0] && r.IntN(2) == 0 {
			mine[1]++
			d.pods[d.id], changed = mine, true
		}
		if d.id == s.sick && mine[0] > 0 && r.IntN(8) == 0 {
			d.broken, changed = true, true
		}
		for id, p := range d.pods {
			if p[0] <= 0 {
				delete(d.pods, id)
			}
		}
		if changed {
			s.bump(name)
		}
	}
}

// answers says whether a request finds a ready pod wherever it is led.
func (s *sim) answers() bool {
	ready := func(name string) int32 {
		if x := s.seen(name); x != nil {
			return x.ready
		}
		return 0
	}
	if !s.onStable {
		return ready(s.choose) > 0
	}
	return ready(sideStable)+ready(sideCanary) > 0
}

func newSim(r *rand.Rand, strategy pipeline.Strategy) *sim {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	size := int32(1 + r.IntN(5))
	s := &sim{now: now, weight: -1, host: 1, versions: 10, onStable: strategy != pipeline.BlueGreen}
	rec := &record{ID: "new", Model: "m", To: 2, From: 1, Strategy: strategy, Old: sideStable, New: sideCanary, Size: size, State: stepping, Started: now, Since: now}
	var weight int32
	for weight < 100 && r.IntN(4) > 0 {
		weight += 1 + int32(r.IntN(int(100-weight)))
		st := pipeline.DeployStep{Weight: weight}
		switch r.IntN(3) {
		case 0:
			st.Pause = &pipeline.Pause{Approval: true}
		case 1:
			st.Pause = &pipeline.Pause{Duration: time.Duration(r.IntN(20)) * time.Second}
		}
		if r.IntN(3) == 0 {
			st.Gates = []pipeline.DeployGate{{}}
		}
		rec.Steps = append(rec.Steps, st)
	}
	old := sideStable
	switch strategy {
	case pipeline.Rolling:
		rec.New, rec.State, rec.Steps = sideStable, promoting, nil
	case pipeline.BlueGreen:
		old = sideGreen
		rec.Old, rec.New, s.choose = sideGreen, sideBlue, sideGreen
		rec.Steps = rec.Steps[:min(1, len(rec.Steps))]
	case pipeline.Canary:
		if len(rec.Steps) == 0 {
			rec.Steps = []pipeline.DeployStep{{Weight: 50}}
		}
		s.scaled = r.IntN(4) == 0
		if r.IntN(3) == 0 {
			s.weight = 0
		}
	}
	s.rec = rec
	s.sides = map[string]*simSide{old: {version: 2, uid: 2, id: "before", want: size, pods: map[string][2]int32{"before": {size, size}}}}
	if s.onStable {
		s.host = 2
	}
	if r.IntN(3) == 0 {
		s.sick = "new"
	}
	return s
}

// stop ends the rollout as a person does; promote lets it pass.
func (s *sim) stop() {
	r := s.rec
	if r.State != stepping && (r.State != promoting || r.Strategy == pipeline.Rolling && s.sides[sideStable].id == "before") {
		return
	}
	out := r.enter(aborting, s.now)
	out.Stop = &registry.Mark{By: "x", At: s.now}
	_ = s.look().save(context.Background(), out)
}

// Whatever the order of events, with pods that never get ready, two drivers that act on old views and people who
// interfere: somebody always answers, and in the end one version serves at full size.
func TestRolloutsNeverLeaveNobody(t *testing.T) {
	for _, strategy := range []pipeline.Strategy{pipeline.Rolling, pipeline.Canary, pipeline.BlueGreen} {
		for seed := range uint64(700) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := newSim(r, strategy)
			size := s.rec.Size
			fail := func(format string, args ...any) {
				t.Helper()
				t.Fatalf("%s, seed %d, %s at step %d, selector %q, weight %d: %s", strategy, seed, s.rec.State, s.rec.Step, s.choose, s.weight, fmt.Sprintf(format, args...))
			}
			var views [2]*view
			ctx := context.Background()
			quiet := 0
			for tick := 0; ; tick++ {
				if tick > 20000 {
					fail("does not end: stable %+v, next %+v", s.seen(s.rec.Old), s.seen(s.rec.New))
				}
				s.now = s.now.Add(time.Second)
				s.controller(r)
				// A driver looks, and acts now or with a view of some time ago.
				for i := range views {
					switch {
					case views[i] == nil || r.IntN(4) == 0:
						views[i] = s.look()
					case r.IntN(2) == 0:
						if _, err := take(ctx, views[i], next(views[i].w)); err != nil && !errors.Is(err, errConflict) {
							fail("%v", err)
						}
						views[i] = nil
					}
				}
				switch r.IntN(60) {
				case 0:
					if r.IntN(8) == 0 {
						s.stop()
					}
				case 1:
					out := s.rec.clone()
					out.Passed = true
					_ = s.look().save(ctx, out)
				case 2:
					// A pod of the new side dies.
					if d := s.sides[s.rec.New]; d != nil && s.rec.New != s.rec.Old && s.rec.State == stepping {
						if p := d.pods[d.id]; p[1] > 0 && s.seen(s.rec.Old).ready > 0 {
							p[1]--
							d.pods[d.id] = p
							s.bump(s.rec.New)
						}
					}
				}
				if !s.answers() {
					fail("nobody answers: stable %+v, next %+v", s.seen(s.rec.Old), s.seen(s.rec.New))
				}
				if s.weight > 0 && s.seen(sideCanary) == nil {
					fail("the route leads to a canary that is gone")
				}
				if s.rec.State.ended() {
					// Old views may have come too late: whoever looks last puts it right.
					views = [2]*view{}
					if m := next(s.world()); !m.idle() {
						_, _ = take(ctx, s.look(), m)
						quiet = 0
						continue
					}
					if quiet++; quiet > 200 {
						break
					}
				}
			}
			switch serving := s.seen(sideStable); {
			case strategy == pipeline.BlueGreen && s.rec.State == healthy:
				if s.choose != sideBlue || !s.seen(sideBlue).settled() || s.seen(sideBlue).replicas != size || s.seen(sideGreen).replicas != 0 {
					fail("blue does not serve alone: %+v %+v", s.seen(sideBlue), s.seen(sideGreen))
				}
			case strategy == pipeline.BlueGreen:
				if s.choose != sideGreen || !s.seen(sideGreen).settled() || s.seen(sideGreen).replicas != size {
					fail("green does not serve: %+v", s.seen(sideGreen))
				}
			case strategy == pipeline.Rolling && s.rec.State == failed:
				// It stays as it is until a person undoes it.
			case s.sides[sideCanary] != nil:
				fail("the canary is left over")
			case !serving.settled() || serving.replicas != size:
				fail("stable is not at full size: %+v", serving)
			case (s.rec.State == healthy) != (serving.id == "new"):
				fail("stable has the spec of %s", serving.id)
			}
			if s.sick != "" && s.rec.State == healthy {
				fail("a version whose pods never get ready has taken over")
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		full, weight         int32
		keep                 bool
		canary, stable, gets int32
	}{
		{4, 10, false, 1, 3, 25}, {4, 25, false, 1, 3, 25}, {4, 50, false, 2, 2, 50}, {4, 90, false, 4, 1, 80}, {4, 100, false, 4, 1, 80},
		{10, 10, false, 1, 9, 10}, {1, 10, false, 1, 1, 50}, {1, 100, false, 1, 1, 50}, {0, 10, false, 1, 1, 50},
		{4, 10, true, 1, 4, 20}, {4, 50, true, 4, 4, 50}, {10, 10, true, 1, 10, 9}, {4, 100, true, 4, 4, 50},
	} {
		canary, stable := sizes(c.full, c.weight, c.keep)
		if got := share(canary, stable); canary != c.canary || stable != c.stable || got != int(c.gets) {
			t.Errorf("sizes(%d, %d, %v) = %d, %d (%d %%), want %d, %d (%d %%)", c.full, c.weight, c.keep, canary, stable, got, c.canary, c.stable, c.gets)
		}
	}
}
