package run

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// world is a cluster in memory: one record under optimistic locking, and Jobs.
type world struct {
	t       *testing.T
	dice    *rand.Rand
	now     time.Time
	version int
	cm      *corev1.ConfigMap
	jobs    map[string]*simJob
	clients []*simClient
	// made counts how often a Job was created, done is how it ended, whether or not it is still there.
	made map[string]int
	done map[string]string
	// removed are Jobs that were deleted, by whomever.
	removed map[string]bool
	// What people will still do, and whether the run has a deadline that may pass.
	cancels, retries, deletions int
	hurry                       bool
	lines                       []string
}

type simJob struct {
	stage    string
	state    string
	finished time.Time
	expires  bool
}

func newWorld(t *testing.T, seed uint64) *world {
	dice := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		t: t, dice: dice, now: began, jobs: map[string]*simJob{}, made: map[string]int{}, done: map[string]string{}, removed: map[string]bool{},
		cm: &corev1.ConfigMap{},
	}
	w.cancels, w.retries, w.deletions, w.hurry = dice.IntN(3), dice.IntN(3), dice.IntN(5)/4, dice.IntN(4) == 0
	for i := range 1 + dice.IntN(4) {
		w.clients = append(w.clients, &simClient{w: w, id: i})
	}
	s := makeRun("p-1")
	for i := range 1 + dice.IntN(6) {
		s.stage(string(rune('a'+i)), w.options(i)...)
	}
	if w.hurry {
		s.timeout(25 * time.Minute)
	}
	if err := s.rec.encode(w.cm); err != nil {
		t.Fatal(err)
	}
	return w
}

// options are those of the i-th stage.
func (w *world) options(i int) []stageOption {
	var out []stageOption
	var before []string
	for j := range i {
		if w.dice.IntN(3) == 0 {
			before = append(before, string(rune('a'+j)))
		}
	}
	out = append(out, needs(before...))
	switch w.dice.IntN(8) {
	case 0:
		out = append(out, approval("look"))
	case 1:
		out = append(out, minAcc(0.5))
	case 2, 3:
		out = append(out, sweep(2+w.dice.IntN(3), 1+w.dice.IntN(2)))
	case 4:
		out = append(out, ttl(time.Second))
	}
	return out
}

// shuffled are the names of the Jobs, in an order that follows from the seed.
func (w *world) shuffled() []string {
	names := slices.Sorted(maps.Keys(w.jobs))
	w.dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

func (w *world) log(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *world) history() string {
	return strings.Join(w.lines[max(0, len(w.lines)-80):], "\n")
}

func (w *world) read() *Record {
	rec, err := decode(w.cm)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// see are the Jobs as a list gives them.
func (w *world) see() Live {
	live := Live{Jobs: map[string]job.JobFact{}, TTL: map[string]bool{}}
	for name, j := range w.jobs {
		f := job.JobFact{Name: name, UID: fmt.Sprintf("%s#%d", name, w.made[name]), State: j.state}
		if f.Final() {
			f.Finished = &j.finished
		}
		if j.state == job.Succeeded {
			f.Pods = []job.PodFact{{State: job.Succeeded, Result: fmt.Sprintf(`{"metrics": {"acc": %g}}`, quality(name))}}
		}
		live.Jobs[name], live.TTL[name] = f, j.expires
	}
	return live
}

// quality is what a Job finds; it follows from the name, so that a Job always finds the same.
func quality(name string) float64 {
	sum := 0
	for _, b := range []byte(name) {
		sum += int(b)
	}
	return float64(sum%10) / 10
}

// write stores a record. Nobody but a person who retries may change what is recorded.
func (w *world) write(rec *Record, byPerson bool) {
	old := w.read()
	for name, was := range old.Stages {
		is := rec.Stages[name]
		if was.Outcome != nil && is.Attempt == was.Attempt && !cmp.Equal(was.Outcome, is.Outcome) {
			w.t.Errorf("the outcome of %s attempt %d changed:\n%s", name, was.Attempt, cmp.Diff(was.Outcome, is.Outcome))
		}
		if is.Attempt < was.Attempt {
			w.t.Errorf("attempt %d of %s became %d", was.Attempt, name, is.Attempt)
		}
	}
	if old.End != nil && !byPerson && !cmp.Equal(old.End, rec.End) {
		w.t.Errorf("the run ended %s, and then %v", old.End.State, rec.End)
	}
	cm := w.cm.DeepCopy()
	if err := rec.encode(cm); err != nil {
		w.t.Fatal(err)
	}
	w.cm = cm
	w.version++
}

func (w *world) remove(name, how string) {
	w.log("job %s deleted %s", name, how)
	delete(w.jobs, name)
	w.removed[name] = true
}

// create makes a Job, or finds it, and gives its UID.
func (w *world) create(rec *Record, st start) string {
	name := rec.jobName(st.stage, st.child)
	if w.jobs[name] == nil {
		w.made[name]++
		if w.made[name] > 1 && !w.removed[name] {
			w.t.Errorf("job %s is created %d times", name, w.made[name])
		}
		w.mayStart(rec, st.stage)
		w.jobs[name] = &simJob{stage: st.stage, state: job.Pending}
		w.log("job %s created", name)
	}
	return fmt.Sprintf("%s#%d", name, w.made[name])
}

// mayStart checks that what a stage needs has succeeded: in some Job of it, at the attempt that the client knew.
// An approval may be newer than the record that the client has: it then sees the Jobs that others have started on it.
func (w *world) mayStart(rec *Record, stage string) {
	now := w.read()
	for _, need := range rec.Stage(stage).Needs {
		p, passed := rec.Stage(need), false
		for i := range p.Children {
			name := rec.jobName(need, i)
			good := w.done[name] == job.Succeeded
			for _, g := range p.Gates {
				good = good && (g.Min == nil || quality(name) >= *g.Min) && (g.Approval == "" || rec.Stages[need].Approval != nil || now.Stages[need].Approval != nil)
			}
			passed = passed || good
		}
		if !passed {
			w.t.Errorf("%s starts before %s has succeeded", stage, need)
		}
	}
}

// simClient is a client that looks and acts, one request at a time.
type simClient struct {
	w    *world
	id   int
	todo []func()
}

// step does the next request, or begins a new look.
func (c *simClient) step() {
	if len(c.todo) > 0 {
		op := c.todo[0]
		c.todo = c.todo[1:]
		op()
		return
	}
	rec, version := c.w.read(), c.w.version
	c.todo = []func(){func() { c.decide(rec, version, c.w.see()) }}
}

// decide plans the requests of a step, in the order of act.
func (c *simClient) decide(rec *Record, version int, live Live) {
	w := c.w
	r := Derive(rec, live, w.now)
	s := next(r, live, w.now)
	for _, name := range s.deletes {
		c.todo = append(c.todo, func() {
			if w.jobs[name] != nil {
				w.remove(name, fmt.Sprintf("by client %d", c.id))
			}
		})
	}
	for _, st := range s.starts {
		c.todo = append(c.todo, func() { s.note(rec, st, w.create(rec, st), "") })
	}
	if s.saves() || len(s.starts) > 0 {
		c.todo = append(c.todo, func() {
			if w.version != version {
				c.todo = nil // a conflict
				return
			}
			w.log("client %d saves %d stages, end %v", c.id, len(s.stages), s.end)
			w.write(s.apply(rec), false)
		})
	}
	for name := range s.expire {
		c.todo = append(c.todo, func() { c.expire(name) })
	}
}

func (c *simClient) expire(name string) {
	j := c.w.jobs[name]
	if j == nil {
		return
	}
	sr := c.w.read().Stages[j.stage]
	recorded := append([]Outcome(nil), sr.Previous...)
	if sr.Outcome != nil {
		recorded = append(recorded, *sr.Outcome)
	}
	for _, o := range recorded {
		for _, child := range o.Children {
			if child.Job == name {
				j.expires = true
				return
			}
		}
	}
	c.w.t.Errorf("job %s gets a TTL before its outcome is recorded", name)
}
