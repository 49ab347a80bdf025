package diagnose

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// finding is what a diagnosis must say: its first cause, and words that stand in it somewhere.
type finding struct {
	evidence *Evidence
	code     string
	sure     Likelihood
	says     []string
}

func (f finding) check(t *testing.T) {
	t.Helper()
	d := Diagnose(f.evidence)
	c, ok := d.First()
	if !ok {
		t.Fatalf("no cause at all; headline: %s", d.Headline)
	}
	text := everything(d)
	if c.Code != f.code || c.Likelihood != f.sure {
		t.Errorf("%s %s, want %s %s; all:\n%s", c.Likelihood, c.Code, f.sure, f.code, text)
	}
	for _, want := range f.says {
		if !strings.Contains(text, want) {
			t.Errorf("does not say %q:\n%s", want, text)
		}
	}
	for _, c := range d.Causes {
		if len(c.Remedies) == 0 {
			t.Errorf("%s has no remedy", c.Code)
		}
	}
}

// everything is a diagnosis as one text.
func everything(d Diagnosis) string {
	var b strings.Builder
	b.WriteString(d.Headline + "\n")
	for _, c := range d.Causes {
		b.WriteString(string(c.Likelihood) + " " + c.Code + ": " + c.Title + "\n")
		for _, e := range c.Evidence {
			b.WriteString("  - " + e + "\n")
		}
		for _, r := range c.Remedies {
			b.WriteString("  > " + r.Text + ": " + r.Command + "\n")
		}
	}
	return b.String() + strings.Join(d.Unknown, "\n")
}

const insufficient = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu. preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod."

func TestNodes(t *testing.T) {
	four := func() *Cluster { return cluster(node("n1", 8), node("n2", 8), node("n3", 8), node("n4", 8)) }
	full := func() *Cluster {
		return four().holds("a", "n1", 8).holds("b", "n2", 8).holds("c", "n3", 8).holds("d", "n4", 7)
	}
	for name, f := range map[string]finding{
		"all taken": {
			waits(full(), told(pod("train-0", "nvidia.com/gpu", "4"), insufficient)), "AcceleratorsTaken", Certain,
			[]string{"only 1 of 32 GPUs is free on the 4 nodes that it may use; it asks for 4", "n4 (1 of 8 free): job/d in team holds 7 for 3h", "kubectl ml suspend job/", "no pod of a lower priority", "kubectl ml top jobs"},
		},
		"fragmented": {
			waits(four().holds("a", "n1", 6).holds("b", "n2", 6).holds("c", "n3", 6).holds("d", "n4", 7), told(pod("train-0", "nvidia.com/gpu", "4"), insufficient)), "Fragmented", Certain,
			[]string{"7 GPUs are free in all, at most 2 on one node", "3 nodes have 2 free, 1 node has 1 free; you ask for 4 on one", "ask for at most 2 GPUs a pod"},
		},
		"too large": {
			waits(full(), told(pod("train-0", "nvidia.com/gpu", "16"), insufficient)), "TooLargeForNodes", Certain,
			[]string{"it asks for 16 GPUs on one node, and no node in this cluster has more than 8 GPUs", "at most 8 GPUs a pod"},
		},
		"no such product": {
			waits(four(), selecting(told(pod("train-0", "nvidia.com/gpu", "1"), "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."), "nvidia.com/gpu.product", "H200")), "ProductNotFound", Certain,
			[]string{"no node has nvidia.com/gpu.product=H200", "the cluster has A100 (4 nodes)"},
		},
		"product by affinity": {
			waits(four(), affine(told(pod("train-0", "nvidia.com/gpu", "1"), "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."), "nvidia.com/gpu.product", "H200", "B200")), "ProductNotFound", Certain,
			[]string{"no node has nvidia.com/gpu.product=H200 or B200"},
		},
		"selector": {
			waits(four(), selecting(told(pod("train-0", "nvidia.com/gpu", "1"), "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."), "zone", "mars")), "SelectorMatchesNone", Certain,
			[]string{"nodeSelector zone=mars: 0 nodes have it"},
		},
		"taint": {
			waits(cluster(node("n1", 8, tainted("reserved", "team-b")), node("n2", 8, tainted("reserved", "team-b")), node("cpu", 0)), told(pod("train-0", "nvidia.com/gpu", "1"), "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint(s).")), "TaintNotTolerated", Certain,
			[]string{"reserved=team-b:NoSchedule", `{key: reserved, value: "team-b", effect: NoSchedule}`, "kubectl taint nodes n2 reserved=team-b:NoSchedule-", "1 node (cpu): has no nvidia.com/gpu"},
		},
		"taken, and a taint keeps it from free ones": {
			waits(cluster(node("n1", 8), node("n2", 8, tainted("reserved", "team-b"))).holds("a", "n1", 8), told(pod("train-0", "nvidia.com/gpu", "2"), "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s).")), "AcceleratorsTaken", Certain,
			[]string{"none of 8 GPUs is free on the 1 node", "possible TaintNotTolerated: 1 more node has room, but the taint reserved=team-b:NoSchedule"},
		},
		"taken, and another product is free": {
			waits(cluster(node("n1", 8), node("n2", 8, labelled("nvidia.com/gpu.product", "H100"))).holds("a", "n1", 8), selecting(told(pod("train-0", "nvidia.com/gpu", "2"), "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity/selector."), "nvidia.com/gpu.product", "A100")), "AcceleratorsTaken", Certain,
			[]string{"possible OtherProductsFree", "H100 (1 node)"},
		},
		"cordoned": {
			waits(cluster(node("n1", 8, cordoned)), told(pod("train-0", "nvidia.com/gpu", "1"), "0/1 nodes are available: 1 node(s) were unschedulable.")), "NodesCordoned", Certain,
			[]string{"kubectl uncordon n1"},
		},
		"not ready": {
			waits(cluster(node("n1", 8, notReady)), told(pod("train-0", "nvidia.com/gpu", "1"), "0/1 nodes are available: 1 node(s) had untolerated taint(s).")), "NodesNotReady", Certain,
			[]string{"kubectl describe node n1", "n1): is not ready"},
		},
		"no accelerator at all": {
			waits(cluster(node("n1", 0)), told(pod("train-0", "amd.com/gpu", "1"), "0/1 nodes are available: 1 Insufficient amd.com/gpu.")), "NoAccelerator", Certain,
			[]string{"no node of this cluster offers amd.com/gpu", "its device plugin may not run"},
		},
		"another vendor's": {
			waits(four(), told(pod("train-0", "amd.com/gpu", "1"), "0/4 nodes are available: 4 Insufficient amd.com/gpu.")), "NoAccelerator", Certain,
			[]string{"the cluster offers nvidia.com/gpu: 32"},
		},
		"no nodes": {waits(cluster(), told(pod("train-0", "cpu", "1"), "no nodes available to schedule pods")), "NoNodes", Certain, nil},
		"memory, not GPUs": {
			waits(four().holds("a", "n1", 4, "memory", "900Gi").holds("b", "n2", 8).holds("c", "n3", 8).holds("d", "n4", 8), told(pod("train-0", "nvidia.com/gpu", "4", "memory", "500Gi"), "0/4 nodes are available: 1 Insufficient memory, 3 Insufficient nvidia.com/gpu.")), "InsufficientMemory", Certain,
			[]string{"the 1 node with 4 GPUs free has only 124Gi memory free, and it asks for 500Gi memory"},
		},
		"processors": {
			waits(cluster(node("n1", 0)), told(pod("prep-0", "cpu", "200"), "0/1 nodes are available: 1 Insufficient cpu.")), "TooLargeForNodes", Certain,
			[]string{"it asks for 200 CPUs on one node", "more than 96 CPUs"},
		},
		"room by now": {
			waits(four(), told(pod("train-0", "nvidia.com/gpu", "4"), insufficient)), "RoomNow", Likely, []string{"n1, n2, n3 and 1 more"},
		},
		"anti-affinity": {
			waits(four(), told(pod("train-0", "nvidia.com/gpu", "4"), "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules. preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod.")), "PodAntiAffinity", Certain, []string{"(4 nodes)"},
		},
		"topology spread": {
			waits(four(), told(pod("train-0", "nvidia.com/gpu", "4"), "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints.")), "TopologySpread", Certain, []string{"maxSkew"},
		},
		"the scheduler disagrees": {
			waits(full(), told(pod("train-0", "nvidia.com/gpu", "4"), "0/4 nodes are available: 4 node(s) had untolerated taint(s).")), "AcceleratorsTaken", Likely,
			[]string{"the scheduler names other reasons"},
		},
		"new": {waits(four(), fresh(pod("train-0", "nvidia.com/gpu", "4"))), "NotScheduledYet", Likely, nil},
		"nobody may see the pods of others": {
			waits(unseen(four()), told(pod("train-0", "nvidia.com/gpu", "4"), insufficient)), "InsufficientResource", Certain, []string{"too little free nvidia.com/gpu (4 nodes)"},
		},
		"nobody may see nodes": {
			waits(nil, told(pod("train-0", "nvidia.com/gpu", "4"), "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint(s).")), "InsufficientResource", Likely, []string{"likely TaintNotTolerated"},
		},
		"devices by claim": {
			waits(four(), claiming(told(pod("train-0"), "0/4 nodes are available: 4 cannot allocate all claims."))), "NoDevice", Certain, []string{"kubectl get resourceslices"},
		},
		"preempting": {waits(full(), nominated(told(pod("train-0", "nvidia.com/gpu", "4"), insufficient), "n1")), "PreemptionUnderway", Certain, []string{"ended on n1"}},
		"foreign scheduler": {
			waits(four(), scheduledBy(pod("train-0", "nvidia.com/gpu", "4"), "volcano")), "NoSuchScheduler", Likely, []string{"no scheduler called volcano"},
		},
		"gate": {waits(four(), gatedBy(pod("train-0"), "example.com/wait")), "SchedulingGated", Certain, []string{"example.com/wait holds 1 pod back"}},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

func unseen(c *Cluster) *Cluster { c.HeldKnown = false; return c }

func selecting(p *corev1.Pod, key, value string) *corev1.Pod {
	p.Spec.NodeSelector = map[string]string{key: value}
	return p
}

func affine(p *corev1.Pod, key string, values ...string) *corev1.Pod {
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}},
	}}}
	return p
}

func fresh(p *corev1.Pod) *corev1.Pod { p.CreationTimestamp = ago(time.Second); return p }

func claiming(p *corev1.Pod) *corev1.Pod {
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu"}}
	return p
}

func nominated(p *corev1.Pod, node string) *corev1.Pod { p.Status.NominatedNodeName = node; return p }

func scheduledBy(p *corev1.Pod, name string) *corev1.Pod { p.Spec.SchedulerName = name; return p }

func gatedBy(p *corev1.Pod, name string) *corev1.Pod {
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: name}}
	return p
}

// Messages as the scheduler of Kubernetes 1.37 and its forerunners write them.
func TestParseVerdict(t *testing.T) {
	for text, want := range map[string][]reason{
		"": nil,
		"0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.": {
			{1, "node(s) had untolerated taint {a: b}"}, {2, "Insufficient cpu"},
		},
		`0/8 nodes are available: persistentvolumeclaim "data" not found. not found`: {{0, `persistentvolumeclaim "data" not found. not found`}},
		"0/8 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/8 nodes are available: 8 Preemption is not helpful for scheduling.": {
			{0, "pod has unbound immediate PersistentVolumeClaims"},
		},
		"0/2 nodes are available: 1 Insufficient memory, 2 Insufficient nvidia.com/gpu.": {{1, "Insufficient memory"}, {2, "Insufficient nvidia.com/gpu"}},
		"no nodes available to schedule pods":                                            {{0, "no nodes available to schedule pods"}},
	} {
		if diff := cmp.Diff(want, parseVerdict(text).reasons, cmp.AllowUnexported(reason{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestGroupsAreShort(t *testing.T) {
	var nodes []corev1.Node
	for i := range 200 {
		nodes = append(nodes, node("n"+string(rune('a'+i%26))+time.Duration(i).String(), 8, tainted("t", string(rune('a'+i%13)))))
	}
	a := compute(cluster(nodes...), &pod("p", "nvidia.com/gpu", "1").Spec, nil)
	if lines := a.lines(); len(lines) != mostGroups+1 || !strings.HasSuffix(lines[mostGroups], "all of them with --nodes") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if len(a.fits) != 200 {
		t.Errorf("the whole table has %d nodes", len(a.fits))
	}
}

func missingWords(text, want string) bool { return !strings.Contains(text, want) }

func TestIdleHoldersAreNamed(t *testing.T) {
	c := cluster(node("n1", 8)).holds("sweep", "n1", 8)
	c.Busy = map[string]float64{"team/sweep-x": 1.6}
	finding{
		waits(c, told(pod("train-0", "nvidia.com/gpu", "8"), "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")), "AcceleratorsTaken", Certain,
		[]string{"job/sweep in team holds 8 for 3h (2% busy)", "job/sweep holds 8 on n1 and is 2% busy: if it can wait, stop it for now: kubectl ml suspend job/sweep"},
	}.check(t)
}
