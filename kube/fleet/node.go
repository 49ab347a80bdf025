package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

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
			continue
		}
		out.Ready, out.Reason, out.Message = c.Status == corev1.ConditionTrue, c.Reason, c.Message
		if out.Ready {
			out.Reason, out.Message = "", ""
		}
	}
	for res, q := range n.Status.Allocatable {
		if job.IsAccelerator(string(res)) && q.Value() > 0 {
			out.Resources = plus(out.Resources, map[string]int64{string(res): q.Value()}, 1)
			out.Total += q.Value()
		}
	}
	out.MemoryMiB, _ = strconv.ParseInt(n.Labels["nvidia.com/gpu.memory"], 10, 64)
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return out
}

// nodesOf are the nodes with accelerators, with what the pods use of them.
func nodesOf(p parts, pods ...[]*Pod) []*Node {
	used := map[string]*sum{}
	for _, list := range pods {
		for _, pod := range list {
			if pod.Node == "" || pod.Final() || len(pod.Resources) == 0 {
				continue
			}
			if used[pod.Node] == nil {
				used[pod.Node] = newSum(p.claims)
			}
			used[pod.Node].add(pod)
		}
	}
	var out []*Node
	for _, n := range p.nodes {
		full := *n
		full.offer(p.claims.slices[n.Name])
		if full.Total == 0 {
			continue
		}
		switch {
		case p.unseen:
			full.Used = Unknown
		case used[n.Name] != nil:
			full.Used, _ = job.Sum(used[n.Name].resources)
		}
		out = append(out, &full)
	}
	slices.SortFunc(out, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// offer adds the devices that DRA drivers publish, where they are not the same that the node counts already.
func (n *Node) offer(devices map[string]int64) {
	own := n.Resources
	n.Resources = copied(own)
	for driver, count := range devices {
		if slices.ContainsFunc(slices.Collect(maps.Keys(own)), func(res string) bool { return vendor(res) == vendor(driver) }) {
			continue
		}
		n.Resources = plus(n.Resources, map[string]int64{driver: count}, 1)
		n.Total += count
	}
}

// vendor is the last two labels of the domain of a resource or a driver: nvidia.com of gpu.nvidia.com.
func vendor(name string) string {
	domain, _, _ := strings.Cut(name, "/")
	labels := strings.Split(domain, ".")
	return strings.Join(labels[max(len(labels)-2, 0):], ".")
}
