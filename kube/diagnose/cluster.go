package diagnose

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fvbommel/sortorder"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Cluster is the nodes and what is bound to them. It is shared by all works of one look.
type Cluster struct {
	// Nodes are all nodes, by name.
	Nodes []*corev1.Node
	// HeldKnown says that the pods of all namespaces were bound, so that what is free is known.
	HeldKnown bool
	// Busy is the mean utilisation of a pod's accelerators in percent, by namespace/name, where an exporter tells.
	Busy map[string]float64
	held map[string]*held
}

// held is what is taken of a node.
type held struct {
	requests amounts
	pods     int64
	holders  map[string]*Holder
}

// NewCluster has the nodes, and nothing bound to them yet.
func NewCluster(nodes []corev1.Node) *Cluster {
	c := &Cluster{held: map[string]*held{}}
	for i := range nodes {
		c.Nodes = append(c.Nodes, &nodes[i])
	}
	slices.SortFunc(c.Nodes, func(a, b *corev1.Node) int { return sortorder.NaturalCompare(a.Name, b.Name) })
	return c
}

// Bind adds what a pod takes of its node. Pods without one, and those that have ended, take nothing.
func (c *Cluster) Bind(p *corev1.Pod) {
	if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return
	}
	h := c.held[p.Spec.NodeName]
	if h == nil {
		h = &held{requests: amounts{}, holders: map[string]*Holder{}}
		c.held[p.Spec.NodeName] = h
	}
	h.pods++
	want := requests(&p.Spec)
	for name, n := range want {
		h.requests[name] += n
	}
	gpus := want.accelerators()
	if gpus == 0 {
		return
	}
	name, since := ownerName(p), boundAt(p)
	o := h.holders[p.Namespace+"/"+name]
	if o == nil {
		o = &Holder{Name: name, Namespace: p.Namespace, Since: since, Priority: scheduling.PodPriority(p)}
		h.holders[p.Namespace+"/"+name] = o
	}
	o.GPUs += gpus
	o.pods = append(o.pods, p.Namespace+"/"+p.Name)
	if since.Before(o.Since) {
		o.Since = since
	}
}

// on is what is taken of a node; never nil.
func (c *Cluster) on(node string) *held {
	if h := c.held[node]; h != nil {
		return h
	}
	return &held{}
}

// holders are who has accelerators of a node, the largest first, with what exporters say of them.
func (c *Cluster) holders(node string) []Holder {
	var out []Holder
	for _, o := range c.on(node).holders {
		h := *o
		var sum, n float64
		for _, pod := range h.pods {
			if b, ok := c.Busy[pod]; ok {
				sum, n = sum+b, n+1
			}
		}
		if n > 0 {
			mean := sum / n
			h.Busy = &mean
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.GPUs, a.GPUs), cmp.Compare(a.Namespace, b.Namespace), sortorder.NaturalCompare(a.Name, b.Name))
	})
	return out
}

// ownerName is kind/name of the pod's controller, or the pod's own; a ReplicaSet stands for its Deployment.
func ownerName(p *corev1.Pod) string {
	o := metav1.GetControllerOf(p)
	if o == nil {
		return "pod/" + p.Name
	}
	if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
		if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
			return "deployment/" + name
		}
	}
	return strings.ToLower(o.Kind) + "/" + o.Name
}

func boundAt(p *corev1.Pod) time.Time {
	if c, ok := podCondition(p, corev1.PodScheduled); ok && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}

// requests is what the scheduler reserves for a pod, by its own formula; a limit stands for a request that is not
// written, as the server's defaults have it.
func requests(spec *corev1.PodSpec) amounts {
	p := &corev1.Pod{Spec: *spec}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		if slices.ContainsFunc(list, lacksRequest) {
			p = p.DeepCopy()
			break
		}
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if lacksRequest(list[i]) {
				fillRequests(&list[i].Resources)
			}
		}
	}
	return amountsOf(resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{}))
}

func lacksRequest(c corev1.Container) bool {
	for name := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; !ok {
			return true
		}
	}
	return false
}

func fillRequests(r *corev1.ResourceRequirements) {
	if r.Requests == nil {
		r.Requests = corev1.ResourceList{}
	}
	for name, q := range r.Limits {
		if _, ok := r.Requests[name]; !ok {
			r.Requests[name] = q
		}
	}
}

// accelerator is the accelerator that most is asked of; empty when none is.
func (a amounts) accelerator() corev1.ResourceName {
	var best corev1.ResourceName
	for name, n := range a {
		if job.IsAccelerator(string(name)) && n > 0 && (best == "" || n > a[best] || n == a[best] && name < best) {
			best = name
		}
	}
	return best
}

func (a amounts) accelerators() int64 {
	var n int64
	for name, v := range a {
		if job.IsAccelerator(string(name)) {
			n += v
		}
	}
	return n
}
