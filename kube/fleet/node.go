package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// decodeNode reads a node; what pods use of it, and what devices its DRA drivers offer, is added by group.
func decodeNode(n *corev1.Node) *Node {
	out := &Node{
		Name: n.Name, Cordoned: n.Spec.Unschedulable, Labels: n.Labels, Created: n.CreationTimestamp.Time,
		Product: mark(productLabels(), n.Labels), Reason: "NoStatus",
	}
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			if isWrong(c) {
				out.Wrong = append(out.Wrong, Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
			}
			continue
		}
		out.Ready, out.Reason, out.Message = c.Status == corev1.ConditionTrue, c.Reason, c.Message
		if out.Ready {
			out.Reason, out.Message = "", ""
		}
	}
	for res, q := range n.Status.Allocatable {
		if job.IsAccelerator(string(res)) {
			out.Resources = plus(out.Resources, map[string]int64{string(res): q.Value()}, 1)
		}
	}
	for finer, coarser := range aliases() {
		if out.Resources[finer] > 0 && out.Resources[coarser] > 0 {
			if out.parts == nil {
				out.parts = map[string]int64{}
			}
			out.parts[finer] = out.Resources[finer] / out.Resources[coarser]
			delete(out.Resources, finer)
		}
	}
	out.Total, _ = job.Sum(out.Resources)
	for res := range n.Status.Capacity {
		if _, twice := out.parts[string(res)]; job.IsAccelerator(string(res)) && !twice {
			q := n.Status.Capacity[res]
			out.Capacity += max(q.Value(), 0)
		}
	}
	out.MemoryMiB = memoryOf(n.Labels)
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return out
}

// decodeModel reads the labels of a node of which nothing else is wanted.
func decodeModel(n *metav1.PartialObjectMetadata) *Node {
	return &Node{Name: n.Name, Product: mark(productLabels(), n.Labels)}
}

// isWrong says whether a condition other than Ready speaks of trouble. Kubernetes' own, and those of problem detectors,
// do so by being True; those of EKS' and GKE's agents that end in Ready or Healthy, by not being so.
func isWrong(c corev1.NodeCondition) bool {
	switch {
	case strings.HasSuffix(string(c.Type), "Ready"), strings.HasSuffix(string(c.Type), "Healthy"):
		return c.Status == corev1.ConditionFalse
	case c.Type == "EtcdIsVoter":
		return false
	}
	return c.Status == corev1.ConditionTrue
}

// memoryOf is what one accelerator has in MiB, as feature discovery labels it: NVIDIA in MiB, AMD as 192G; 0 when unknown.
func memoryOf(labels map[string]string) int64 {
	if mib, err := strconv.ParseInt(labels["nvidia.com/gpu.memory"], 10, 64); err == nil {
		return max(mib, 0)
	}
	text := labels["amd.com/gpu.vram"]
	n, err := strconv.ParseInt(strings.TrimRight(text, "GMiB"), 10, 64)
	switch {
	case err != nil || n < 0 || n > 1<<20:
		return 0
	case strings.Contains(text, "M"):
		return n
	}
	return n << 10
}

// aliases are the resources by which nodes count the same devices a second time, in parts or under an older name.
func aliases() map[string]string {
	return map[string]string{
		"aws.amazon.com/neuroncore": "aws.amazon.com/neuron", "aws.amazon.com/neurondevice": "aws.amazon.com/neuron",
		"kunlunxin.com/vxpu": "kunlunxin.com/xpu", "metax-tech.com/sgpu": "metax-tech.com/gpu",
	}
}

// nodesOf are the nodes with accelerators, with what the pods use of them.
func nodesOf(nodes []*Node, cs claims, unseen bool, pods ...[]*Pod) []*Node {
	used := map[string]*sum{}
	for _, list := range pods {
		for _, p := range list {
			if p.Node == "" || p.Final() || len(p.Resources) == 0 {
				continue
			}
			if used[p.Node] == nil {
				used[p.Node] = &sum{claims: cs}
			}
			used[p.Node].add(p)
		}
	}
	var out []*Node
	for _, n := range nodes {
		full := *n
		full.offer(cs.nodes[n.Name])
		if full.Total == 0 && full.Capacity == 0 {
			continue
		}
		if full.Used = full.whole(used[n.Name]); unseen {
			full.Used = Unknown
		}
		out = append(out, &full)
	}
	slices.SortFunc(out, compareNodes)
	return out
}

// whole is how many devices of the node are used.
func (n *Node) whole(used *sum) int64 {
	if used == nil {
		return 0
	}
	var total int64
	for res, k := range used.resources {
		if per := n.parts[res]; per > 1 {
			k = (k + per - 1) / per
		}
		total += k
	}
	return total
}

// offer adds the devices that DRA drivers publish, unless the node counts devices of the same vendor itself.
func (n *Node) offer(all []*devices) {
	own := n.Resources
	n.Resources = maps.Clone(own)
	for _, d := range all {
		n.Product, n.MemoryMiB = orElse(n.Product, d.product), cmp.Or(n.MemoryMiB, d.memory)
		twice := false
		for res := range own {
			twice = twice || vendor(res) == vendor(d.driver)
		}
		if !twice && d.total() > 0 {
			n.Resources = plus(n.Resources, map[string]int64{d.driver: d.total()}, 1)
			n.Total, n.Capacity = n.Total+d.total(), n.Capacity+d.total()
		}
	}
}

// vendor is the end of the domain of a resource or a driver: nvidia.com of gpu.nvidia.com.
func vendor(name string) string {
	domain, _, _ := strings.Cut(name, "/")
	words := strings.Split(domain, ".")
	return strings.Join(words[max(len(words)-2, 0):], ".")
}
