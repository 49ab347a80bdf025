package run

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Clients take random runs forward, with stale views, in any interleaving, and die anywhere. What must hold whatever
// happens is checked by the world where it happens; what must hold in the end, here. SEED=n repeats one run.
func TestWhateverClientsDo(t *testing.T) {
	first, count := rand.Uint64()>>1, uint64(200)
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, count = n, 1
	}
	ends := map[State]int{}
	for seed := first; seed < first+count; seed++ {
		w := newWorld(t, seed)
		w.live()
		if t.Failed() {
			t.Fatalf("repeat it with SEED=%d\n%s", seed, w.history())
		}
		ends[w.read().End.State]++
	}
	t.Logf("%d runs from seed %d ended %v", count, first, ends)
}

// live runs the world until the run has ended and nobody has anything to do.
func (w *world) live() {
	for range 20000 {
		switch w.dice.IntN(12) {
		case 0, 1:
			w.progress()
		case 2:
			w.person()
		default:
			c := w.clients[w.dice.IntN(len(w.clients))]
			if len(c.todo) > 1 && w.dice.IntN(20) == 0 {
				w.log("client %d dies", c.id)
				c.todo = nil
			}
			c.step()
		}
		if w.t.Failed() {
			return
		}
		if w.settled() {
			break
		}
	}
	if w.read().End == nil {
		w.t.Errorf("the run does not end: %v", (&situation{w.read(), w.see(), w.now}).describe())
		return
	}
	// Whoever died last may have left a Job that nobody wants; the next look finds it.
	last := &simClient{w: w, id: 99}
	for range 3 {
		for last.step(); len(last.todo) > 0; {
			last.step()
		}
	}
	for name, j := range w.jobs {
		if j.state == job.Pending || j.state == job.Running {
			w.t.Errorf("job %s runs on after the end", name)
		}
	}
	rec := w.read()
	for i, st := range Derive(rec, w.see(), w.now).Now {
		if p := rec.Plan.Stages[i]; p.Selected && st.State != Skipped && !st.recorded {
			w.t.Errorf("stage %s ended %s, which is not recorded", st.Name, st.State)
		}
	}
}

// settled says whether the run has ended for good and no client is in the middle of something.
func (w *world) settled() bool {
	if w.read().End == nil || w.retries > 0 {
		return false
	}
	for _, c := range w.clients {
		if len(c.todo) > 0 {
			return false
		}
	}
	return true
}

// person does what people do: approve, cancel, retry, and delete Jobs by hand.
func (w *world) person() {
	rec := w.read()
	r := Derive(rec, w.see(), w.now)
	switch {
	case rec.End != nil && w.retries > 0 && w.dice.IntN(4) == 0:
		w.retries--
		from := ""
		if w.dice.IntN(2) == 0 {
			from = rec.Plan.Stages[w.dice.IntN(len(rec.Plan.Stages))].Name
		}
		stages, err := toRetry(&r, from)
		if err != nil {
			return
		}
		w.log("retry %v", stages)
		rec.startAgain(stages, w.now)
		w.cancels = 0
		w.write(rec, true)
	case rec.End == nil && w.cancels > 0 && rec.Cancel == nil && w.dice.IntN(8) == 0:
		w.cancels--
		w.log("cancel")
		rec.Cancel = &Mark{By: "ann", At: w.now}
		w.write(rec, true)
	case r.State == AwaitingApproval:
		for _, st := range r.Now {
			if st.State == AwaitingApproval {
				w.log("approve %s", st.Name)
				sr := rec.Stages[st.Name]
				sr.Attempt, sr.Approval = rec.attempt(st.Name), &Mark{By: "ann", At: w.now}
				rec.Stages[st.Name] = sr
				w.write(rec, true)
				return
			}
		}
	case rec.End == nil && w.deletions > 0:
		for _, name := range w.shuffled() {
			if w.jobs[name].state == job.Running {
				w.deletions--
				w.remove(name, "by hand")
				return
			}
		}
	}
}

// progress lets something happen to a Job, or time pass.
func (w *world) progress() {
	if w.hurry && w.dice.IntN(8) == 0 {
		w.now = w.now.Add(10 * time.Minute)
		w.log("it is %s", w.now.Format(time.TimeOnly))
	}
	for _, name := range w.shuffled() {
		switch j := w.jobs[name]; {
		case j.state == job.Pending:
			j.state = job.Running
		case j.state == job.Running:
			j.state = job.Succeeded
			if w.dice.IntN(12) == 0 {
				j.state = job.Failed
			}
			j.finished = w.now
			w.done[name] = j.state
		case j.expires && w.dice.IntN(3) == 0:
			w.remove(name, "by its TTL")
			return
		default:
			continue
		}
		w.log("job %s is %s", name, w.jobs[name].state)
		return
	}
}
