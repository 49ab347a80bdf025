package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Options say what is read.
type Options struct {
	// Namespace to look into; empty means all.
	Namespace string
	// Selector keeps the works whose root has these labels, or, where the root cannot be read, its pods.
	Selector string
	// Nodes reads the nodes as well, and what all pods of the cluster use of them. Models reads them only for the models
	// of accelerators that works run on, which costs no look at other namespaces.
	Nodes, Models bool
	// Plain keeps plain Jobs too that ask for no accelerator and that no pipeline made.
	Plain bool
}

// choice is the part of the options that chooses works.
func (o Options) choice() (choice, error) {
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return choice{}, fmt.Errorf("label selector %q: %w", o.Selector, err)
	}
	return choice{selector: selector, plain: o.Plain}, nil
}

// page is how many objects a request of a Watcher asks for, which is to take little memory. Read asks for more at once:
// the server reads every page but the first from its store, and a page more is a way more over a slow line.
const (
	page      = 500
	largePage = 2500
)

// answerWithin bounds a request for what is not Kubernetes' own: the webhook that converts a custom kind may be away, and
// the server waits for it.
const answerWithin = 20 * time.Second

// Read reads a fleet once. The number of requests follows from the kinds that the cluster has and grows by a page for
// every 2,500 objects of a kind, never by work. A kind that cannot be read becomes a Problem; it is an error only when
// nothing can be read at all.
func Read(ctx context.Context, c *client.Client, o Options) (*Snapshot, error) {
	want, err := o.choice()
	if err != nil {
		return nil, err
	}
	r := &reader{c: c, o: o}
	at := time.Now()
	r.first(ctx)
	r.second(ctx)
	if err := ctx.Err(); err != nil {
		return nil, c.Explain("read the fleet", err)
	}
	if r.good == 0 && len(r.problems) > 0 {
		return nil, c.Explain("read the fleet", r.problems[0].Err)
	}
	s := &Snapshot{Version: 1, At: at, Problems: r.problems}
	s.Works, s.Nodes = group(r.parts, want)
	if !o.Nodes {
		s.Nodes = nil
	}
	slices.SortFunc(s.Problems, func(a, b Problem) int { return strings.Compare(a.Resource, b.Resource) })
	return s, nil
}

// reader collects the parts of a fleet.
type reader struct {
	c *client.Client
	o Options

	served served

	mu       sync.Mutex
	parts    parts
	good     int
	problems []Problem
}

// first reads what every cluster has, and the kinds that discovery finds, all at once.
func (r *reader) first(ctx context.Context) {
	ns, cs := r.o.Namespace, r.c.Kube
	var tasks sync.WaitGroup
	tasks.Go(func() { r.readPods(ctx) })
	tasks.Go(func() {
		list(ctx, r, "jobs.batch", cs.BatchV1().Jobs(ns).List, func(l *batchv1.JobList) []*root { return each(l.Items, decodeJob) }, r.addRoots)
	})
	tasks.Go(func() {
		list(ctx, r, "deployments.apps", cs.AppsV1().Deployments(ns).List, func(l *appsv1.DeploymentList) []*root { return each(l.Items, decodeDeployment) }, r.addRoots)
	})
	tasks.Go(func() {
		list(ctx, r, "statefulsets.apps", cs.AppsV1().StatefulSets(ns).List, func(l *appsv1.StatefulSetList) []*root { return each(l.Items, decodeStatefulSet) }, r.addRoots)
	})
	switch {
	case r.o.Nodes:
		tasks.Go(func() {
			list(ctx, r, "nodes", cs.CoreV1().Nodes().List, func(l *corev1.NodeList) []*Node { return each(l.Items, decodeNode) }, func(p *parts, nodes []*Node) { p.nodes = nodes })
		})
	case r.o.Models: // which are labels: a node's list of images alone is larger than all that a fleet keeps of it
		tasks.Go(func() {
			objects := r.c.Meta.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
			list(ctx, r, "nodes", objects.List, func(l *metav1.PartialObjectMetadataList) []*Node { return each(l.Items, decodeModel) }, func(p *parts, nodes []*Node) { p.models = nodes })
		})
	}
	tasks.Go(func() { r.readKinds(ctx) })
	tasks.Wait()
}

// readPods reads the pods of the works and, for the nodes, those elsewhere that hold something.
func (r *reader) readPods(ctx context.Context) {
	pods := func(l *corev1.PodList) []*Pod { return each(l.Items, decodePod) }
	var tasks sync.WaitGroup
	tasks.Go(func() {
		ok := list(ctx, r, "pods", r.c.Kube.CoreV1().Pods(r.o.Namespace).List, pods, func(p *parts, pods []*Pod) { p.pods = pods })
		r.unseen(!ok)
	})
	if r.o.Nodes && r.o.Namespace != "" {
		tasks.Go(func() {
			all := func(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
				o.FieldSelector = othersSelector(r.o.Namespace)
				return r.c.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, o)
			}
			ok := list(ctx, r, "pods of other namespaces", all, pods, func(p *parts, pods []*Pod) { p.others = pods })
			r.unseen(!ok)
		})
	}
	tasks.Wait()
}

func (r *reader) unseen(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts.unseen = r.parts.unseen || yes
}

func (r *reader) addRoots(p *parts, roots []*root) { p.roots = append(p.roots, roots...) }

// readKinds asks which kinds of the table the cluster has, and reads these.
func (r *reader) readKinds(ctx context.Context) {
	found, err := discover(ctx, r.c)
	if err != nil {
		r.problem("custom resources", err)
		return
	}
	r.served = found
	var tasks sync.WaitGroup
	table := kinds()
	for i := range table {
		k := &table[i]
		gvr, ok := found.find(k)
		if !ok {
			continue
		}
		tasks.Go(func() {
			objects := r.c.Dynamic.Resource(gvr).Namespace(r.o.Namespace)
			list(ctx, r, gvr.GroupResource().String(), func(ctx context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
				return objects.List(ctx, o)
			},
				func(l *unstructured.UnstructuredList) []*root { return each(l.Items, k.decode) }, r.addRoots)
		})
	}
	tasks.Wait()
}

// second reads what only the first look tells to be needed: claims that pods use, and owners that are not known yet.
func (r *reader) second(ctx context.Context) {
	r.readDRA(ctx)
	asked := map[schema.GroupVersionResource]bool{}
	for range deepest {
		if !r.readOwners(ctx, asked) {
			return
		}
	}
}

// readOwners reads the metadata of the owners that pods with accelerators name and that are not known; false when there
// are none to be had.
func (r *reader) readOwners(ctx context.Context, asked map[schema.GroupVersionResource]bool) bool {
	var tasks sync.WaitGroup
	missing, before := r.parts.missing(), len(r.parts.roots)
	for _, owner := range missing {
		gvr, found, ok := r.served.owner(owner)
		if !ok || asked[gvr] {
			continue
		}
		asked[gvr] = true
		ns := r.o.Namespace
		if !found.namespaced {
			ns = metav1.NamespaceAll
		}
		objects := r.c.Meta.Resource(gvr).Namespace(ns)
		tasks.Go(func() {
			list(ctx, r, gvr.GroupResource().String(), impatient(objects.List), func(l *metav1.PartialObjectMetadataList) []*root {
				return each(l.Items, func(o *metav1.PartialObjectMetadata) *root {
					return decodeOwner(o, gvr.GroupVersion().String(), owner.Kind)
				})
			}, r.addRoots)
		})
	}
	tasks.Wait()
	return len(r.parts.roots) > before
}

func (r *reader) problem(resource string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, Problem{Resource: resource, Err: r.c.Explain("list "+resource, err)})
}

// impatient is a list that gives up on a server that does not answer.
func impatient[L any](ask func(context.Context, metav1.ListOptions) (L, error)) func(context.Context, metav1.ListOptions) (L, error) {
	return func(ctx context.Context, o metav1.ListOptions) (L, error) {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		return ask(ctx, o)
	}
}

// pageOf is a page of a list.
type pageOf interface{ GetContinue() string }

// list reads all pages of a resource. Each is decoded and forgotten before the next is asked for.
func list[L pageOf, T any](ctx context.Context, r *reader, resource string, ask func(context.Context, metav1.ListOptions) (L, error), decode func(L) []T, put func(*parts, []T)) bool {
	var out []T
	o := metav1.ListOptions{Limit: largePage}
	for {
		l, err := ask(ctx, o)
		if apierrors.IsResourceExpired(err) && o.Continue != "" { // took too long: all at once then
			out, o = nil, metav1.ListOptions{}
			continue
		}
		if err != nil {
			r.problem(resource, err)
			return false
		}
		out = append(out, decode(l)...)
		if o.Continue = l.GetContinue(); o.Continue == "" {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	put(&r.parts, out)
	r.good++
	return true
}

// each decodes the items of a page.
func each[T, U any](items []T, decode func(*T) U) []U {
	out := make([]U, len(items))
	for i := range items {
		out[i] = decode(&items[i])
	}
	return out
}

// readDRA reads what the ResourceClaims of pods hold and what devices the nodes have, as far as either is needed.
func (r *reader) readDRA(ctx context.Context) {
	var tasks sync.WaitGroup
	for _, d := range draResources() {
		gvr, ok := r.served.dra(d)
		if !ok || !d.needed(&r.parts, r.o.Nodes || r.o.Models) {
			continue
		}
		ns := metav1.NamespaceAll
		if d.namespaced && len(r.parts.others) == 0 {
			ns = r.o.Namespace
		}
		tasks.Go(func() {
			list(ctx, r, gvr.GroupResource().String(), r.c.Dynamic.Resource(gvr).Namespace(ns).List,
				func(l *unstructured.UnstructuredList) []*dra { return each(l.Items, decodeDRA) }, func(p *parts, found []*dra) { p.dra = append(p.dra, found...) })
		})
	}
	tasks.Wait()
}
