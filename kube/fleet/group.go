package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// parts are the decoded objects that a fleet is made of. Grouping changes none of them.
type parts struct {
	// roots are all objects that may own pods, also those that turn out to be in between.
	roots []*root
	// pods are those of the namespaces looked at; others are pods elsewhere that only count on their nodes.
	pods, others []*Pod
	nodes        []*Node
	claims       claims
	// unseen says that the pods of some namespaces could not be read.
	unseen bool
}

// choice says which works are wanted.
type choice struct {
	selector labels.Selector
	plain    bool
}

// tree is the pods below one root.
type tree struct {
	ref  Ref
	root *root // nil when it could not be read
	// below are the roots between it and its pods.
	below []*root
	pods  []*Pod
	maker *Ref
}

// group sorts the pods under their root owners, and counts what they use of the nodes. It is a pure function: the facts
// it returns are new, the parts may be grouped again.
func group(p parts, want choice) ([]*Work, []*Node) {
	pods, others := p.claims.fill(p.pods), p.claims.fill(p.others)
	nodes := nodesOf(p, pods, others)
	products := make(map[string]string, len(nodes))
	for _, n := range nodes {
		products[n.Name] = n.Product
	}
	var works []*Work
	for _, t := range trees(p.roots, pods) {
		if w := t.work(p.claims, products, want.plain); w != nil && (want.selector == nil || want.selector.Matches(labels.Set(w.Labels))) {
			works = append(works, w)
		}
	}
	slices.SortFunc(works, func(a, b *Work) int { return byName(a.Ref, b.Ref) })
	return works, nodes
}

// makers are the kinds that start one piece of work after another; each of those is a unit, not its maker.
func isMaker(r Ref) bool {
	switch r.Kind {
	case "CronJob", "CronWorkflow", "ScheduledWorkflow", "ScheduledSparkApplication", "RayCronJob", "CronTrainJob", "Experiment":
		return true
	}
	return false
}

// step is one link of a chain of owners.
type step struct {
	ref   Ref
	root  *root
	owner Ref
}

// chains finds owners by UID.
type chains struct {
	byUID map[string]step
	tops  map[string]string // by UID: the UID of the top; so that each chain is climbed once
}

// deepest bounds a chain of owners, which could be a circle.
const deepest = 12

// climb follows the controllers of an object up to the top: the last that is no maker. below are the roots passed.
func (c chains) climb(from step) (top step, below []*root, maker *Ref) {
	top = from
	for range deepest {
		if top.owner.Kind == "" {
			break
		}
		if isMaker(top.owner) {
			owner := top.owner
			maker = &owner
			break
		}
		next, ok := c.byUID[top.owner.UID]
		if !ok {
			next = step{ref: top.owner}
		}
		if top.root != nil {
			below = append(below, top.root)
		}
		top = next
	}
	return top, below, maker
}

func newChains(roots []*root, pods []*Pod) chains {
	c := chains{byUID: make(map[string]step, len(roots)+len(pods))}
	for _, r := range roots {
		c.byUID[r.UID] = step{r.Ref, r, r.owner}
	}
	for _, p := range pods {
		c.byUID[p.UID] = step{p.ref(), nil, p.Owner}
	}
	return c
}

// trees groups everything under its top.
func trees(roots []*root, pods []*Pod) map[string]*tree {
	c := newChains(roots, pods)
	out := make(map[string]*tree, len(roots))
	treeOf := func(from step) (*tree, []*root) {
		top, below, maker := c.climb(from)
		id := orElse(top.ref.UID, top.ref.Kind+" "+key(top.ref.Namespace, top.ref.Name))
		t := out[id]
		if t == nil {
			t = &tree{ref: top.ref, root: top.root, maker: maker}
			out[id] = t
		}
		return t, below
	}
	for _, r := range roots {
		t, below := treeOf(step{r.Ref, r, r.owner})
		if len(below) > 0 { // r is the first of them
			t.below = append(t.below, r)
		}
	}
	for _, p := range pods {
		t, _ := treeOf(step{p.ref(), nil, p.Owner})
		t.pods = append(t.pods, p)
	}
	return out
}

// work is the fact of a tree; nil when it is no training work.
func (t *tree) work(cs claims, products map[string]string, plain bool) *Work {
	d := t.demand()
	asks := d.asks || slices.ContainsFunc(t.pods, (*Pod).asks)
	switch {
	case t.root != nil && t.root.driver, t.root == nil && slices.ContainsFunc(t.pods, func(p *Pod) bool { return p.Labels[kube.LabelDriver] == "true" }):
		return nil
	case asks, t.root != nil && t.root.always, t.root == nil && slices.ContainsFunc(t.pods, (*Pod).ours):
	case plain && t.ref.Kind == "Job" && t.ref.group() == "batch":
	default:
		return nil
	}
	slices.SortFunc(t.pods, func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	w := &Work{Ref: t.ref, Owner: t.maker, Pods: t.pods, Want: Unknown}
	facts := make([]*job.PodFact, len(t.pods))
	for i, p := range t.pods {
		facts[i] = &p.PodFact
	}
	t.judge(w, facts)
	t.count(w, d, cs)
	t.name(w, d, products)
	if w.State == job.Succeeded {
		if r, err := pipeline.ParseResult(job.Result(facts)); err == nil && r != nil {
			w.Metrics = r.Metrics
		}
	}
	return w
}

// asks says that the pod asks for accelerators.
func (p *Pod) asks() bool { return len(p.Resources) > 0 }

// ours says that a pipeline of ours made the pod.
func (p *Pod) ours() bool { return p.Labels[kube.LabelStage] != "" }

// judge finds state, times and what the root says of itself.
func (t *tree) judge(w *Work, facts []*job.PodFact) {
	if r := t.root; r != nil {
		w.Labels, w.Progress = r.labels, r.progress
		w.Created, w.Started, w.Finished = r.created, r.started, r.finished
		w.State, w.Reason, w.Message = r.verdict.Judge(facts)
	} else {
		w.State, w.Reason, w.Message = ended(facts).Judge(facts)
	}
	if t.root == nil || t.root.bare {
		for _, p := range t.pods {
			if w.Labels == nil {
				w.Labels = p.Labels
			}
			if w.Created.IsZero() || p.Created.Before(w.Created) {
				w.Created = p.Created
			}
		}
	}
	if w.Started == nil {
		w.Started = first(t.pods)
	}
	if w.Final() && w.Finished == nil {
		w.Finished = last(t.pods)
	}
}

// ended is the verdict on pods whose owner is not known: when all have ended, so has the work.
func ended(pods []*job.PodFact) job.Verdict {
	v := job.Verdict{}
	if len(pods) == 0 {
		return v
	}
	v.State = job.Succeeded
	for _, p := range pods {
		switch {
		case !p.Final():
			return job.Verdict{}
		case p.State == job.Failed:
			v.State = job.Failed
		}
	}
	return v
}

func first(pods []*Pod) *time.Time {
	var out *time.Time
	for _, p := range pods {
		if p.Started != nil && (out == nil || p.Started.Before(*out)) {
			out = p.Started
		}
	}
	return out
}

func last(pods []*Pod) *time.Time {
	var out *time.Time
	for _, p := range pods {
		if p.Finished != nil && (out == nil || p.Finished.After(*out)) {
			out = p.Finished
		}
	}
	return out
}

// demand is what the root asks for: what its templates say, or those of the objects that it made.
func (t *tree) demand() demand {
	own, below := demand{pods: Unknown}, demand{}
	if t.root != nil {
		own = t.root.demand
		if !t.root.below && own.pods != Unknown {
			return own
		}
	}
	// Only the topmost below count: a Job below a JobSet below a TrainJob is in the JobSet's templates.
	n := 0
	for _, r := range t.below {
		if r.demand.pods != Unknown && !r.bare && (r.owner.UID == t.ref.UID || t.bareOwner(r)) {
			below.add(r.demand)
			n++
		}
	}
	if n > 0 {
		below.asks = below.asks || own.asks
		return below
	}
	return own
}

// bareOwner says that nothing between r and the top knows its own demand.
func (t *tree) bareOwner(r *root) bool {
	for range deepest {
		i := slices.IndexFunc(t.below, func(b *root) bool { return b.UID == r.owner.UID })
		if i < 0 {
			return true
		}
		if r = t.below[i]; r.demand.pods != Unknown {
			return false
		}
	}
	return true
}

// count fills in pods and accelerators.
func (t *tree) count(w *Work, d demand, cs claims) {
	w.Resources = cs.ask(t.ref.Namespace, d)
	nodes := map[string]bool{}
	live, holding := newSum(cs), newSum(cs)
	done := int64(0)
	for _, p := range t.pods {
		w.Restarts += p.Restarts
		if p.Final() {
			if p.State == job.Succeeded {
				done++
			}
			continue
		}
		if p.Ready {
			w.Ready++
		}
		live.add(p)
		if p.Node != "" {
			nodes[p.Node] = true
			holding.add(p)
		}
	}
	want := d.pods
	if t.root != nil {
		done = max(done, t.root.done)
		if t.root.want != Unknown {
			want = t.root.want
		}
	}
	if want == Unknown && len(t.pods) > 0 && (t.root == nil || t.root.bare) && t.ref.Kind != "Workflow" {
		want = int64(len(t.pods))
	}
	w.Ready += int(done)
	if w.Want = int(want); want != Unknown {
		w.Ready = min(w.Ready, w.Want)
	}
	if total, _ := job.Sum(w.Resources); total == 0 {
		w.Resources = live.resources
	}
	w.GPUs, _ = job.Sum(w.Resources)
	w.Held, _ = job.Sum(holding.resources)
	w.Nodes = slices.Sorted(maps.Keys(nodes))
}

// name fills in product, queue, priority and who started it.
func (t *tree) name(w *Work, d demand, products map[string]string) {
	roots := t.below
	if t.root != nil {
		roots = append([]*root{t.root}, t.below...)
	}
	for _, r := range roots {
		w.Queue, w.Priority, w.By = orElse(w.Queue, r.queue), orElse(w.Priority, r.priority), orElse(w.By, r.by)
	}
	seen := map[string]bool{}
	for _, p := range t.pods {
		w.Queue, w.Priority, w.By = orElse(w.Queue, p.Queue), orElse(w.Priority, p.Priority), orElse(w.By, p.by)
		if on := products[p.Node]; on != "" && p.asks() {
			seen[on] = true
		}
		d.product = orElse(d.product, p.Product)
	}
	w.Product = strings.Join(slices.Sorted(maps.Keys(seen)), ",")
	if w.Product == "" {
		w.Product = d.product
	}
}
