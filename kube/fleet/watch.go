package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// How the wait between attempts to reach a server that is away grows.
const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 8 * time.Second
)

// pace says how often a Watcher looks by itself: discover asks which kinds the server has, retry does when that failed,
// settle gathers changes before a look for owners of kinds never seen, poll lists what may not be watched.
type pace struct{ discover, retry, settle, poll time.Duration }

// Watcher keeps a fleet current. It may be used by many.
type Watcher struct {
	c       *client.Client
	o       Options
	pace    pace
	now     func() time.Time
	changed chan struct{}
	// look wakes the keeper of the set of kinds.
	look chan struct{}

	mu     sync.Mutex
	choice choice
	stores map[string]*shelf
	// discovered says that the kinds of the server were asked for once, discovery why that failed last.
	discovered bool
	discovery  error
	served     served
	// settled says that everything was read once that turned out to be needed.
	settled bool
	// last is the newest snapshot. It is made of grouping, unless that is fresh, which is of the stores of the names grouped.
	last     *Snapshot
	grouping *grouping
	grouped  []string
	fresh    bool
	// bad is a selector that cannot be read.
	bad error
}

// shelf is one kind of object that is watched.
type shelf struct {
	*store
	// add puts a fact where group looks for it.
	add func(*parts, any)
	// unseen is whether nodes cannot be judged without it.
	unseen bool
	// custom kinds come and go with their definitions.
	custom bool
	stop   context.CancelFunc
}

// Watch begins to watch a fleet, until ctx ends. There is no error: what cannot be read is a Problem of the snapshot,
// and is tried again.
func Watch(ctx context.Context, c *client.Client, o Options) *Watcher {
	w := newWatcher(c, o, pace{discover: 2 * time.Minute, retry: 5 * time.Second, settle: time.Second, poll: 30 * time.Second})
	w.begin(ctx)
	return w
}

func newWatcher(c *client.Client, o Options, p pace) *Watcher {
	w := &Watcher{
		c: c, o: o, pace: p, now: time.Now, changed: make(chan struct{}, 1), look: make(chan struct{}, 1), stores: map[string]*shelf{}, last: &Snapshot{},
	}
	w.choice, w.bad = o.choice()
	return w
}

func (w *Watcher) begin(ctx context.Context) {
	ctx = logr.NewContext(ctx, logr.Discard()) // client-go logs what it also gives to the stores
	w.builtin(ctx)
	go w.keep(ctx)
}

// Changed gives a signal after changes; any number of them make one.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

func (w *Watcher) signal() {
	for _, c := range []chan struct{}{w.changed, w.look} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// kindOf ties the lists and watches of one kind to the function that decodes its objects.
type kindOf struct {
	resource string
	list     func(context.Context, metav1.ListOptions) (runtime.Object, error)
	open     func(context.Context, metav1.ListOptions) (watch.Interface, error)
	decode   func(runtime.Object) any
	add      func(*parts, any)
	unseen   bool
	custom   bool
}

// lister is what the clients of all kinds have.
type lister[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// kindOfClient makes a kind of a client and the function that Read decodes with.
func kindOfClient[L runtime.Object, T any, F any](resource string, client lister[L], decode func(*T) F, add func(*parts, F)) kindOf {
	return kindOf{
		resource: resource,
		list:     func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
		open:     client.Watch,
		decode: func(o runtime.Object) any {
			t, ok := o.(any).(*T)
			if !ok {
				return nil
			}
			return decode(t)
		},
		add: func(p *parts, fact any) {
			if f, ok := fact.(F); ok {
				add(p, f)
			}
		},
	}
}

func addRoot(p *parts, r *root) { p.roots = append(p.roots, r) }

func addPod(p *parts, pod *Pod) { p.pods = append(p.pods, pod) }

// builtin watches what every cluster has.
func (w *Watcher) builtin(ctx context.Context) {
	ns, cs := w.o.Namespace, w.c.Kube
	pods := kindOfClient("pods", cs.CoreV1().Pods(ns), decodePod, addPod)
	pods.unseen = true
	kinds := []kindOf{
		pods,
		kindOfClient("jobs.batch", cs.BatchV1().Jobs(ns), decodeJob, addRoot),
		kindOfClient("deployments.apps", cs.AppsV1().Deployments(ns), decodeDeployment, addRoot),
		kindOfClient("statefulsets.apps", cs.AppsV1().StatefulSets(ns), decodeStatefulSet, addRoot),
	}
	if w.o.Nodes || w.o.Models {
		kinds = append(kinds, kindOfClient("nodes", cs.CoreV1().Nodes(), decodeNode, func(p *parts, n *Node) { p.nodes = append(p.nodes, n) }))
	}
	if w.o.Nodes && ns != "" {
		others := kindOfClient("pods of other namespaces", selected[*corev1.PodList]{cs.CoreV1().Pods(metav1.NamespaceAll), othersSelector(ns)},
			func(p *corev1.Pod) elsewhere { return elsewhere{decodePod(p)} }, func(p *parts, e elsewhere) { p.others = append(p.others, e.Pod) })
		others.unseen = true
		kinds = append(kinds, others)
	}
	for _, k := range kinds {
		w.start(ctx, k)
	}
}

// selected is a client that sees what a field selector lets through.
type selected[L runtime.Object] struct {
	from lister[L]
	// fields is a field selector.
	fields string
}

// List lists what is selected.
func (s selected[L]) List(ctx context.Context, o metav1.ListOptions) (L, error) {
	o.FieldSelector = s.fields
	return s.from.List(ctx, o)
}

// Watch watches what is selected.
func (s selected[L]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = s.fields
	return s.from.Watch(ctx, o)
}

// othersSelector selects the pods of other namespaces that use something of a node.
func othersSelector(namespace string) string {
	return "metadata.namespace!=" + namespace + ",spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
}

// start watches one kind.
func (w *Watcher) start(ctx context.Context, k kindOf) {
	ctx, stop := context.WithCancel(ctx)
	s := &shelf{store: newStore(k.resource, w.now, w.signal), add: k.add, unseen: k.unseen, custom: k.custom, stop: stop}
	w.mu.Lock()
	w.stores[k.resource] = s
	w.mu.Unlock()
	from := &source{store: s.store, list: k.list, open: k.open, decode: k.decode, poll: w.pace.poll, texts: texts{}}
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: from.page, WatchFuncWithContext: from.watch}, w.c.Kube)
	r := cache.NewReflectorWithOptions(lw, nil, s.store, cache.ReflectorOptions{
		Name: "fleet", TypeDescription: k.resource,
		Backoff: &wait.Backoff{Duration: retryFirst, Factor: 2, Jitter: 0.2, Steps: 8, Cap: retryMost},
	})
	go r.RunWithContext(ctx)
}

// keep watches the kinds that not every cluster has, as they come and go and turn out to be needed.
func (w *Watcher) keep(ctx context.Context) {
	asked, again := time.Time{}, time.Duration(0)
	for ctx.Err() == nil {
		if w.now().Sub(asked) >= again {
			again = w.pace.discover
			if err := w.discover(ctx); err != nil {
				again = w.pace.retry
			}
			asked = w.now()
		}
		settle := w.pace.settle // changes come in bursts, and an owner of a kind never seen can wait
		if !w.needed(ctx) {
			settle = 0
		}
		w.await(ctx, again-w.now().Sub(asked), settle)
	}
}

// await waits for a change, for settle after it, and for limit at most.
func (w *Watcher) await(ctx context.Context, limit, settle time.Duration) {
	t := time.NewTimer(max(limit, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-w.look:
		t.Reset(settle)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// discover asks which kinds there are, begins to watch those that are new, and forgets those that are gone.
func (w *Watcher) discover(ctx context.Context) error {
	found, err := discover(ctx, w.c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.mu.Lock()
	first := !w.discovered
	w.discovered, w.discovery = w.discovered || err == nil, err
	if err == nil {
		w.served = found
	}
	w.mu.Unlock()
	defer func() {
		if first || err != nil {
			w.signal()
		}
	}()
	if err != nil {
		return err
	}
	table := kinds()
	for i := range table {
		k := &table[i]
		gvr, ok := found.find(k)
		if !ok {
			continue
		}
		w.add(ctx, kindOfClient(gvr.GroupResource().String(), w.c.Dynamic.Resource(gvr).Namespace(w.o.Namespace), k.decode, addRoot))
	}
	w.forget()
	return nil
}

// add watches a kind that not every cluster has, unless it is watched already.
func (w *Watcher) add(ctx context.Context, k kindOf) {
	w.mu.Lock()
	_, known := w.stores[k.resource]
	w.mu.Unlock()
	if !known {
		k.custom = true
		w.start(ctx, k)
	}
}

// forget ends the watching of kinds that the server has no more.
func (w *Watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := map[string]bool{}
	for gvk, r := range w.served.resources {
		there[schema.GroupResource{Group: gvk.Group, Resource: r.name}.String()] = true
	}
	for name, s := range w.stores {
		if s.custom && !there[name] {
			s.stop()
			delete(w.stores, name)
		}
	}
}

// needed watches what only the pods tell to be needed: the metadata of owners that are not known yet, and claims. It
// says whether all that is needed was read once, now or before.
func (w *Watcher) needed(ctx context.Context) bool {
	w.mu.Lock()
	settled := w.settled
	if !w.synced() {
		w.mu.Unlock()
		return settled
	}
	w.regroup()
	missing := w.grouping.missing()
	p, served, known := w.parts(false), w.served, len(w.stores)
	w.mu.Unlock()
	for _, owner := range missing {
		gvr, found, ok := served.owner(owner)
		if !ok {
			continue
		}
		w.add(ctx, kindOfClient(gvr.GroupResource().String(), w.c.Meta.Resource(gvr).Namespace(w.namespace(found.namespaced)), func(o *metav1.PartialObjectMetadata) *root {
			return decodeOwner(o, gvr.GroupVersion().String(), owner.Kind)
		}, addRoot))
	}
	for _, d := range draResources() {
		gvr, ok := served.dra(d)
		if !ok || !d.needed(&p, w.o.Nodes || w.o.Models) {
			continue
		}
		objects := w.c.Dynamic.Resource(gvr).Namespace(w.namespace(d.namespaced && len(p.others) == 0))
		w.add(ctx, kindOfClient(gvr.GroupResource().String(), objects, decodeDRA, func(p *parts, d *dra) { p.dra = append(p.dra, d) }))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled = settled || len(w.stores) == known
	return w.settled
}

// namespace is the one that is watched, or all.
func (w *Watcher) namespace(one bool) string {
	if one {
		return w.o.Namespace
	}
	return metav1.NamespaceAll
}
