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
		if job.IsAccelerator(string(res)) && q.Value() > 0 {
			out.Resources = plus(out.Resources, map[string]int64{string(res): q.Value()}, 1)
			out.Total += q.Value()
		}
	}
	for res, q := range n.Status.Capacity {
		if job.IsAccelerator(string(res)) {
			out.Capacity += max(q.Value(), 0)
		}
	}
	out.MemoryMiB = memoryOf(n.Labels)
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return out
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
