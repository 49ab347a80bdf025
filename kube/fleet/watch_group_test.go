package fleet

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// changing is a fleet in memory that changes at random.
type changing struct {
	t    *testing.T
	dice *rand.Rand
	w    *Watcher
	// made counts objects, so that each has a UID of its own.
	made int
	now  time.Time
	// roots and pods are those that are there, by key; refs are of all roots that ever were.
	roots map[string]*root
	pods  map[string]*Pod
	refs  []Ref
}

func newChanging(t *testing.T, seed uint64) *changing {
	c := &changing{
		t: t, dice: rand.New(rand.NewPCG(seed, 1)), w: newWatcher(nil, Options{Nodes: true}, pace{}), now: time.Unix(1e9, 0), roots: map[string]*root{}, pods: map[string]*Pod{},
	}
	for name, add := range map[string]func(*parts, any){
		"roots":  func(p *parts, f any) { p.roots = append(p.roots, f.(*root)) },
		"pods":   func(p *parts, f any) { p.pods = append(p.pods, f.(*Pod)) },
		"others": func(p *parts, f any) { p.others = append(p.others, f.(elsewhere).Pod) },
		"nodes":  func(p *parts, f any) { p.nodes = append(p.nodes, f.(*Node)) },
	} {
		s := newStore(name, time.Now, c.w.signal)
		s.note(func(h *health) { h.synced, h.open = true, true })
		c.w.stores[name] = &shelf{store: s, add: add}
	}
	return c
}

func (c *changing) put(store, name string, fact any) {
	if err := c.w.stores[store].Add(&entry{namespace: "ns", name: name, fact: fact}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *changing) remove(store, name string) {
	if err := c.w.stores[store].Delete(&entry{namespace: "ns", name: name}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *changing) uid() string {
	c.made++
	return fmt.Sprintf("uid-%d", c.made)
}

func pick[T any](dice *rand.Rand, list ...T) T { return list[dice.IntN(len(list))] }

// someRoot is the ref of a root that is there, was there, or never was.
func (c *changing) someRoot() Ref {
	if r := c.roots[fmt.Sprintf("root-%d", c.dice.IntN(8))]; r != nil && c.dice.IntN(4) > 0 {
		return r.Ref
	}
	if len(c.refs) > 0 && c.dice.IntN(3) > 0 {
		return pick(c.dice, c.refs...)
	}
	n := fmt.Sprintf("ghost-%d", c.dice.IntN(3))
	return Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: "ns", Name: n, UID: n}
}

// turn makes one random change.
func (c *changing) turn() {
	name := func(kind string) string { return fmt.Sprintf("%s-%d", kind, c.dice.IntN(8)) }
	switch c.dice.IntN(12) {
	case 0: // a root comes, or another of the same name
		n := name("root")
		r := &root{
			Ref: Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: "ns", Name: n, UID: c.uid()}, want: 1, created: c.now, always: true, verdict: job.Verdict{Kind: "Job"},
			demand: demand{pods: 1, asks: true, resources: map[string]int64{"nvidia.com/gpu": 1}},
		}
		switch c.dice.IntN(4) {
		case 0:
			r.owner = c.someRoot()
		case 1:
			r.owner = Ref{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "ns", Name: "nightly", UID: "cron"}
		}
		c.roots[n] = r
		c.refs = append(c.refs, r.Ref)
		c.put("roots", n, r)
	case 1: // a root goes
		n := name("root")
		delete(c.roots, n)
		c.remove("roots", n)
	case 2, 3: // a root changes
		n := name("root")
		if r := c.roots[n]; r != nil {
			is := *r
			is.verdict, is.queue = job.Verdict{Kind: "Job", State: pick(c.dice, job.Suspended, job.Failed, job.Succeeded, "")}, pick(c.dice, "", "q")
			c.roots[n] = &is
			c.put("roots", n, &is)
		}
	case 4, 5, 6: // a pod comes, or another of the same name
		n := name("pod")
		p := &Pod{
			PodFact: job.PodFact{Name: n, Namespace: "ns", UID: c.uid(), State: job.Pending, Rank: c.dice.IntN(3) - 1, Created: c.now, GPUs: 1}, Resources: map[string]int64{"nvidia.com/gpu": 1},
		}
		if c.dice.IntN(4) > 0 {
			p.Owner = c.someRoot()
		}
		c.pods[n] = p
		c.put("pods", n, p)
	case 7: // a pod goes
		n := name("pod")
		delete(c.pods, n)
		c.remove("pods", n)
	case 8, 9: // a pod changes
		n := name("pod")
		if p := c.pods[n]; p != nil {
			is := *p
			is.State, is.Node = pick(c.dice, job.Running, job.Succeeded, job.Failed), pick(c.dice, "node-0", "node-1", "node-2")
			if c.dice.IntN(8) == 0 {
				is.Owner = c.someRoot()
			}
			c.pods[n] = &is
			c.put("pods", n, &is)
		}
	case 10: // a pod elsewhere
		n := name("other")
		if c.dice.IntN(3) == 0 {
			c.remove("others", n)
			break
		}
		c.put("others", n, elsewhere{&Pod{PodFact: job.PodFact{Name: n, UID: "other-" + n, State: job.Running, Node: pick(c.dice, "node-0", "node-1")}, Resources: map[string]int64{"nvidia.com/gpu": int64(c.dice.IntN(3))}}})
	case 11:
		n := fmt.Sprintf("node-%d", c.dice.IntN(3))
		if c.dice.IntN(5) == 0 {
			c.remove("nodes", n)
			break
		}
		total := pick(c.dice, int64(0), 8, 8, 8)
		c.put("nodes", n, &Node{Name: n, Ready: c.dice.IntN(2) == 0, Product: pick(c.dice, "A", "A", "A", "B"), Total: total, Capacity: total, Resources: map[string]int64{"nvidia.com/gpu": total}})
	}
}

// Whatever changes, and however many changes come between two looks, the outcome is that of grouping everything anew.
func TestGroupingByChanges(t *testing.T) {
	anew := 0
	for seed := range uint64(200) {
		c := newChanging(t, seed)
		for range 60 {
			for range 1 + c.dice.IntN(3) {
				c.turn()
			}
			before := c.w.grouping
			got := c.w.Snapshot()
			if c.w.grouping != before {
				anew++
			}
			works, nodes := group(c.w.parts(false), choice{})
			if len(works)+len(got.Works) > 0 && !reflect.DeepEqual(works, got.Works) {
				t.Fatalf("seed %d: works (-anew +by changes):\n%s", seed, cmp.Diff(works, got.Works, cmp.AllowUnexported(Pod{}, claimUse{})))
			}
			if len(nodes)+len(got.Nodes) > 0 && !reflect.DeepEqual(nodes, got.Nodes) {
				t.Fatalf("seed %d: nodes (-anew +by changes):\n%s", seed, cmp.Diff(nodes, got.Nodes))
			}
		}
	}
	if share := float64(anew) / (200 * 60); share > 0.5 || share < 0.05 {
		t.Errorf("%.0f %% of the looks grouped everything anew: the test tells little", 100*share)
	}
}

// A snapshot that was taken stays as it is, and what has not changed is shared.
func TestSnapshotsShareWhatIsTheSame(t *testing.T) {
	w, _ := filled(t, 800)
	a := w.Snapshot()
	state := a.Works[3].State
	p := *a.Works[3].Pods[0]
	p.State, p.Reason = job.Failed, "OOMKilled"
	if err := w.stores["pods"].Update(&entry{namespace: p.Namespace, name: p.Name, fact: &p}); err != nil {
		t.Fatal(err)
	}
	b := w.Snapshot()
	if b.Version != a.Version+1 || a.Works[3].State != state || a.Works[3].Pods[0].Reason == "OOMKilled" {
		t.Errorf("version %d after %d; the first snapshot has %s", b.Version, a.Version, a.Works[3].State)
	}
	same := 0
	for i := range a.Works {
		if a.Works[i] == b.Works[i] {
			same++
		}
	}
	if same != len(a.Works)-1 || b.Works[3].Pods[0].Reason != "OOMKilled" {
		t.Errorf("%d of %d works are shared; the changed one has %s", same, len(a.Works), b.Works[3].Pods[0].Reason)
	}
}
