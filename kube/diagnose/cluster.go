package diagnose

import (
	"cmp"
	"slices"
	"strings"
	"time"

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
	// HeldKnown says that the pods of all namespaces could be read, so that Held is complete.
	HeldKnown bool
	// Held is what the pods bound to each node request.
	Held map[string]*Held
}

// Held is what is taken of a node.
type Held struct {
	Requests amounts
	Pods     int64
	// Holders have accelerators, the largest first.
	Holders []Holder
}

// NewCluster adds up what is bound to each node. A nil slice of pods says that they could not be read; busy is the mean
// utilisation of a pod's accelerators by namespace/name, where an exporter tells.
func NewCluster(nodes []corev1.Node, bound []corev1.Pod, busy map[string]float64) *Cluster {
	c := &Cluster{HeldKnown: bound != nil, Held: map[string]*Held{}}
	for i := range nodes {
		c.Nodes = append(c.Nodes, &nodes[i])
	}
	slices.SortFunc(c.Nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	sums := map[string]*load{}
	for i := range bound {
		p := &bound[i]
		if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		held := c.Held[p.Spec.NodeName]
		if held == nil {
			held = &Held{Requests: amounts{}}
			c.Held[p.Spec.NodeName] = held
		}
		held.Pods++
		want := requests(&p.Spec)
		for name, n := range want {
			held.Requests[name] += n
		}
		if gpus := want.accelerators(); gpus > 0 {
			addHolder(sums, p, gpus, busy)
		}
	}
	for _, s := range sums {
		if s.known > 0 {
			mean := s.busy / float64(s.known)
			s.Busy = &mean
		}
		held := c.Held[s.node]
		held.Holders = append(held.Holders, s.Holder)
	}
	for _, held := range c.Held {
		slices.SortFunc(held.Holders, func(a, b Holder) int {
			return cmp.Or(cmp.Compare(b.GPUs, a.GPUs), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	return c
}

// load is a Holder being added up.
type load struct {
	Holder
	node  string
	busy  float64
	known int
}

func addHolder(sums map[string]*load, p *corev1.Pod, gpus int64, busy map[string]float64) {
	name := ownerName(p)
	key := p.Spec.NodeName + "/" + p.Namespace + "/" + name
	s := sums[key]
	since := boundAt(p)
	if s == nil {
		s = &load{node: p.Spec.NodeName, Holder: Holder{Name: name, Namespace: p.Namespace, Since: since, Priority: scheduling.PodPriority(p)}}
		sums[key] = s
	}
	s.GPUs += gpus
	if since.Before(s.Since) {
		s.Since = since
	}
	if b, ok := busy[p.Namespace+"/"+p.Name]; ok {
		s.busy += b
		s.known++
	}
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
