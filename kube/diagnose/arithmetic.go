package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Why a node does not take a pod, by what would have to change.
const (
	// BlockNotReady: the node is down, shuts down, or is under pressure.
	BlockNotReady = "NotReady"
	// BlockCordoned: nothing new is scheduled there (spec.unschedulable).
	BlockCordoned = "Cordoned"
	// BlockTaint: a taint that the pod does not tolerate.
	BlockTaint = "Taint"
	// BlockSelector: the pod's nodeSelector or required node affinity does not match.
	BlockSelector = "Selector"
	// BlockVolume: a volume of the pod cannot be used from there.
	BlockVolume = "Volume"
	// BlockLacks: the node has none of a resource; BlockSmall: less in all than the pod asks for; BlockTaken: enough in
	// all, and too little that is free.
	BlockLacks = "Lacks"
	BlockSmall = "TooSmall"
	BlockTaken = "Taken"
)

// nodeConditionTaints are put on a node by its own state.
var nodeConditionTaints = map[string]string{
	corev1.TaintNodeNotReady:           "is not ready",
	corev1.TaintNodeUnreachable:        "does not answer",
	corev1.TaintNodeMemoryPressure:     "is short of memory (MemoryPressure)",
	corev1.TaintNodeDiskPressure:       "is short of disk (DiskPressure)",
	corev1.TaintNodePIDPressure:        "is short of process ids (PIDPressure)",
	corev1.TaintNodeNetworkUnavailable: "has no network",
	corev1.TaintNodeOutOfService:       "is out of service",
}

// productLabels tell the model of a node's accelerators.
var productLabels = []string{
	"nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "amd.com/gpu.product-name", "cloud.google.com/gke-tpu-accelerator",
	"gpu.nvidia.com/class", "k8s.amazonaws.com/accelerator", "karpenter.k8s.aws/instance-gpu-name", "aws.amazon.com/neuron.instance-type",
	"habana.ai/gaudi.product", "accelerator",
}

func product(n *corev1.Node) string {
	for _, key := range productLabels {
		if v := n.Labels[key]; v != "" {
			return v
		}
	}
	return ""
}

// arithmetic is every node against one pod.
type arithmetic struct {
	spec *corev1.PodSpec
	want amounts
	// gpu is the accelerator asked for, empty for none.
	gpu corev1.ResourceName
	// known says that free is: the pods of all namespaces could be read.
	known bool
	nodes []*corev1.Node
	fits  []NodeFit // by node
}

// compute holds a pod against every node, by the rules of the scheduler that follow from the objects alone: taints, node
// selector and affinity, resources, volumes' nodes. Rules between pods (affinity, spreading) are not in it.
func compute(c *Cluster, spec *corev1.PodSpec, volumes []*corev1.PersistentVolume) arithmetic {
	a := arithmetic{spec: spec, want: requests(spec), known: c.HeldKnown, nodes: c.Nodes}
	a.gpu = a.want.accelerator()
	affinity := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: *spec})
	a.fits = make([]NodeFit, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		held := c.on(n.Name)
		f := NodeFit{Node: n.Name, Product: product(n), Free: fleet.Unknown, Holders: c.holders(n.Name)}
		if a.gpu != "" {
			total := n.Status.Allocatable[a.gpu]
			f.Total = total.Value()
			if a.known {
				f.Free = max(f.Total-held.requests[a.gpu], 0)
			}
		}
		f.Blockers = slices.Concat(stateBlockers(n), taintBlockers(n, spec.Tolerations))
		if ok, _ := affinity.Match(n); !ok {
			f.Blockers = append(f.Blockers, Blocker{Kind: BlockSelector, Text: "does not match the " + selectorText(spec, n)})
		}
		f.Blockers = append(f.Blockers, volumeBlockers(n, volumes)...)
		f.Blockers = append(f.Blockers, a.resourceBlockers(n, held)...)
		a.fits = append(a.fits, f)
	}
	return a
}

func stateBlockers(n *corev1.Node) []Blocker {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return []Blocker{{Kind: BlockNotReady, Text: nodeConditionTaints[corev1.TaintNodeNotReady]}}
		}
	}
	return nil
}

func taintBlockers(n *corev1.Node, tolerations []corev1.Toleration) []Blocker {
	var out []Blocker
	down := len(stateBlockers(n)) > 0
	for i := range n.Spec.Taints {
		t := n.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule || scheduling.TolerationsTolerateTaint(logr.Discard(), tolerations, &t, true) {
			continue
		}
		state, isState := nodeConditionTaints[t.Key]
		switch {
		case t.Key == corev1.TaintNodeUnschedulable:
			out = append(out, Blocker{Kind: BlockCordoned, Text: "is cordoned"})
		case isState && down && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable):
		case isState:
			out = append(out, Blocker{Kind: BlockNotReady, Text: state})
		default:
			out = append(out, Blocker{Kind: BlockTaint, Text: "taint " + taintText(t) + " is not tolerated", taint: taintText(t)})
		}
	}
	if n.Spec.Unschedulable && !slices.ContainsFunc(out, func(b Blocker) bool { return b.Kind == BlockCordoned }) &&
		!scheduling.TolerationsTolerateTaint(logr.Discard(), tolerations, &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}, true) {
		out = append(out, Blocker{Kind: BlockCordoned, Text: "is cordoned"})
	}
	return out
}

// volumeBlockers are the volumes that live elsewhere.
func volumeBlockers(n *corev1.Node, volumes []*corev1.PersistentVolume) []Blocker {
	var out []Blocker
	for _, v := range volumes {
		if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			continue
		}
		if ok, err := nodeaffinity.NewLazyErrorNodeSelector(v.Spec.NodeAffinity.Required).Match(n); err == nil && !ok {
			out = append(out, Blocker{Kind: BlockVolume, Text: "volume " + v.Name + " cannot be used there"})
		}
	}
	return out
}

// resourceBlockers are the resources of which there is not enough, accelerators first.
func (a *arithmetic) resourceBlockers(n *corev1.Node, held *held) []Blocker {
	var out []Blocker
	names := slices.SortedFunc(maps.Keys(a.want), func(x, y corev1.ResourceName) int {
		if (x == a.gpu) != (y == a.gpu) {
			return cmp.Compare(btoi(y == a.gpu), btoi(x == a.gpu))
		}
		return cmp.Compare(x, y)
	})
	for _, name := range names {
		want := a.want[name]
		if want == 0 {
			continue
		}
		q := n.Status.Allocatable[name]
		total := amount(name, q)
		free := total - held.requests[name]
		b := Blocker{resource: string(name)}
		switch {
		case total == 0:
			b.Kind, b.Text = BlockLacks, "has no "+string(name)
		case want > total:
			b.Kind, b.Text = BlockSmall, fmt.Sprintf("has %s in all", quantity(name, total))
		case a.known && want > free:
			b.Kind, b.Text = BlockTaken, fmt.Sprintf("has %s free of %s", freeText(free), quantity(name, total))
			if name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage {
				b.Text = fmt.Sprintf("has %s free", quantity(name, max(free, 0)))
			}
		default:
			continue
		}
		out = append(out, b)
	}
	pods := n.Status.Allocatable[corev1.ResourcePods]
	if most := pods.Value(); a.known && most > 0 && held.pods >= most {
		out = append(out, Blocker{Kind: BlockTaken, resource: string(corev1.ResourcePods), Text: fmt.Sprintf("has as many pods as it may, %d", most)})
	}
	return out
}

func freeText(n int64) string {
	if n <= 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// selectorText names the part of the selection that a node fails: node selector pairs, else the affinity.
func selectorText(spec *corev1.PodSpec, n *corev1.Node) string {
	missing := map[string]string{}
	for k, v := range spec.NodeSelector {
		if n.Labels[k] != v {
			missing[k] = v
		}
	}
	if len(missing) > 0 {
		return "nodeSelector " + pairs(missing)
	}
	return "node affinity " + affinityText(requiredAffinity(spec))
}

func requiredAffinity(spec *corev1.PodSpec) *corev1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// affinityText writes terms as people read them: "zone in (a, b) and gpu exists; or ...".
func affinityText(s *corev1.NodeSelector) string {
	if s == nil {
		return ""
	}
	var terms []string
	for _, t := range s.NodeSelectorTerms {
		var parts []string
		for _, r := range slices.Concat(t.MatchExpressions, t.MatchFields) {
			part := r.Key + " " + strings.ToLower(string(r.Operator))
			if len(r.Values) > 0 {
				part += " (" + some(r.Values, 4) + ")"
			}
			parts = append(parts, part)
		}
		terms = append(terms, strings.Join(parts, " and "))
	}
	return strings.Join(terms, "; or ")
}
