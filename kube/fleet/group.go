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
	// nodes are read in full, models where only that of their accelerators is wanted.
	nodes, models []*Node
	dra           []*dra
	// unseen says that the pods of some namespaces could not be read.
	unseen bool
}

// choice says which works are wanted.
type choice struct {
	selector labels.Selector
	plain    bool
}

// group sorts the pods under their root owners, and counts what they use of the nodes. It is a pure function: the facts
// it returns are new or shared unchanged, and the parts may be grouped again.
func group(p parts, want choice) ([]*Work, []*Node) {
	cs := newClaims(p.dra)
	pods := cs.fill(p.pods)
	nodes := nodesOf(p.nodes, cs, p.unseen, pods, cs.fill(p.others))
	products := make(map[string]string, len(nodes))
	for _, n := range slices.Concat(p.models, nodes) {
		products[n.Name] = n.Product
	}
	var works []*Work
	for _, t := range newChains(p.roots, pods).trees(p.roots, pods) {
		if w := t.work(cs, products, want.plain); w != nil && (want.selector == nil || want.selector.Matches(labels.Set(w.Labels))) {
			works = append(works, w)
		}
	}
	slices.SortFunc(works, func(a, b *Work) int { return byName(a.Ref, b.Ref) })
	return works, nodes
}

// work is the fact of a tree; nil when it is no work of the kind that is wanted.
func (t *tree) work(cs claims, products map[string]string, plain bool) *Work {
	d := t.demand()
	resources := cs.ask(t.ref.Namespace, d)
	if !t.wanted(d.asks || len(resources) > 0, plain) {
		return nil
	}
	t.number()
	slices.SortFunc(t.pods, func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	facts := make([]*job.PodFact, len(t.pods))
	for i, p := range t.pods {
		facts[i] = &p.PodFact
	}
	w := &Work{Ref: t.ref, Owner: t.maker, Pods: t.pods, Resources: resources}
	t.judge(w, facts)
	t.count(w, d, cs)
	t.name(w, d, products)
	if w.State == job.Succeeded {
		// A result that is no JSON is no failure of the work.
		if r, err := pipeline.ParseResult(job.Result(facts)); err == nil && r != nil {
			w.Metrics = r.Metrics
		}
	}
	return w
}

// wanted says whether a tree is training work.
func (t *tree) wanted(asks, plain bool) bool {
	some := func(is func(*Pod) bool) bool { return slices.ContainsFunc(t.pods, is) }
	switch {
	case t.root != nil && t.root.driver, t.root == nil && some(func(p *Pod) bool { return p.Labels[kube.LabelDriver] == "true" }):
		return false
	case asks, some(func(p *Pod) bool { return len(p.Resources) > 0 }):
		return true
	case t.root != nil && t.root.always, t.root == nil && some(func(p *Pod) bool { return p.Labels[kube.LabelStage] != "" }):
		return true
	}
	return plain && t.ref.Kind == "Job" && t.ref.group() == "batch"
}

// number gives the pods of a JobSet a rank among all pods of their replicated job: each of its Jobs counts from 0.
func (t *tree) number() {
	var jobs map[string]*root
	for i, p := range t.pods {
		before := labelIndex(p.Labels["jobset.sigs.k8s.io/job-index"])
		if before <= 0 || p.Rank < 0 {
			continue
		}
		if jobs == nil {
			jobs = make(map[string]*root, len(t.below))
			for _, r := range t.below {
				jobs[r.UID] = r
			}
		}
		if j := jobs[p.Owner.UID]; j != nil && j.demand.pods > 0 {
			own := *p
			own.Rank += int(times(before, j.demand.pods))
			t.pods[i] = &own
		}
	}
}

// judge finds state, times and what the work says of itself.
func (t *tree) judge(w *Work, facts []*job.PodFact) {
	if r := t.speaker(); r != nil {
		w.Progress, w.Started, w.Finished = r.progress, r.started, r.finished
		w.State, w.Reason, w.Message = r.verdict.Judge(facts)
	} else {
		w.State, w.Reason, w.Message = ended(t.ref.Kind, facts).Judge(facts)
	}
	if t.root != nil {
		w.Labels, w.Created = t.root.labels, t.root.created
	}
	for _, p := range t.pods {
		if t.root == nil && w.Labels == nil {
			w.Labels = p.Labels
		}
		if t.root == nil && (w.Created.IsZero() || p.Created.Before(w.Created)) {
			w.Created = p.Created
		}
	}
	if w.Started == nil {
		w.Started = extreme(t.pods, func(p *Pod) *time.Time { return p.Started }, time.Time.Before)
	}
	if !w.Final() {
		w.Finished = nil
	} else if w.Finished == nil {
		w.Finished = extreme(t.pods, func(p *Pod) *time.Time { return p.Finished }, time.Time.After)
	}
}

// ended is the verdict on pods whose owner is not known: when all have ended, so has the work.
func ended(kindName string, pods []*job.PodFact) job.Verdict {
	open := job.Verdict{Kind: kindName}
	if len(pods) == 0 {
		return open
	}
	v := job.Verdict{Kind: kindName, State: job.Succeeded}
	for _, p := range pods {
		switch {
		case !p.Final():
			return open
		case p.State == job.Failed:
			v.State = job.Failed
		}
	}
	return v
}

// extreme is the first or last of the times of pods.
func extreme(pods []*Pod, of func(*Pod) *time.Time, better func(a, b time.Time) bool) *time.Time {
	var out *time.Time
	for _, p := range pods {
		if t := of(p); t != nil && (out == nil || better(*t, *out)) {
			out = t
		}
	}
	return out
}

// count fills in pods and accelerators.
func (t *tree) count(w *Work, d demand, cs claims) {
	live, held := sum{claims: cs}, sum{claims: cs}
	nodes := map[string]bool{}
	var done int64
	for _, p := range t.pods {
		w.Restarts += p.Restarts
		if p.State == job.Succeeded {
			done++
		}
		if p.Final() {
			continue
		}
		if p.Ready {
			w.Ready++
		}
		live.add(p)
		if p.Node != "" {
			nodes[p.Node] = true
			held.add(p)
		}
	}
	for _, r := range t.below {
		w.Restarts += r.restarts
	}
	if t.root != nil {
		w.Restarts += t.root.restarts
	}
	want := d.pods
	r := t.speaker()
	switch {
	case r != nil:
		if len(t.pods) == 0 { // none are left, or none may be seen
			w.Ready = int(r.ready)
		}
		if done = max(done, r.done); r.want != Unknown {
			want = r.want
		}
	case want == Unknown && len(t.pods) > 0:
		want = int64(len(t.pods))
	}
	w.Ready += int(done)
	if w.Want = int(want); want != Unknown {
		w.Ready = min(w.Ready, w.Want)
		if w.State == job.Succeeded && len(t.pods) == 0 { // the pods are gone, and with them who is ready
			w.Ready = w.Want
		}
	}
	if w.GPUs, _ = job.Sum(w.Resources); w.GPUs == 0 {
		w.Resources, w.GPUs = live.resources, live.total()
	}
	w.Held, w.Nodes = held.total(), slices.Sorted(maps.Keys(nodes))
}

// name fills in product, queue, priority and who started it.
func (t *tree) name(w *Work, d demand, products map[string]string) {
	take := func(queue, priority, by string) {
		w.Queue, w.Priority, w.By = orElse(w.Queue, queue), orElse(w.Priority, priority), orElse(w.By, by)
	}
	if r := t.root; r != nil {
		take(r.queue, r.priority, r.by)
	}
	for _, r := range t.made() {
		take(r.queue, r.priority, r.by)
	}
	on := map[string]bool{}
	for _, p := range t.pods {
		take(p.Queue, p.Priority, p.by)
		if product := products[p.Node]; product != "" && len(p.Resources) > 0 {
			on[product] = true
		}
		d.product = orElse(d.product, p.Product)
	}
	if w.Product = strings.Join(slices.Sorted(maps.Keys(on)), ","); w.Product == "" {
		w.Product = d.product
	}
}
