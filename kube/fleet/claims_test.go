package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func readDRA(t *testing.T, file string) []*dra {
	t.Helper()
	var out []*dra
	for _, u := range fixtures(t, "dra/"+file) {
		out = append(out, decodeDRA(u))
	}
	return out
}

// claiming makes a pod ask through a claim, or through one made from a template.
func claiming(name, template, made string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := corev1.PodResourceClaim{Name: "c" + name + template}
		if name != "" {
			c.ResourceClaimName = &name
		} else {
			c.ResourceClaimTemplateName = &template
		}
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, c)
		if made != "" {
			p.Status.ResourceClaimStatuses = append(p.Status.ResourceClaimStatuses, corev1.PodResourceClaimStatus{Name: c.Name, ResourceClaimName: &made})
		}
	}
}

func TestClaims(t *testing.T) {
	for name, tc := range map[string]struct {
		parts parts
		file  string
		want  string
		held  map[string]int64
	}{
		"given": {
			parts: parts{pods: []*Pod{testPod("a", "", 0, claiming("shared", "", ""))}},
			want:  "Pod/a; Running ; 1/1; gpus 3 held 3; pods a", held: map[string]int64{"gpu.nvidia.com": 3},
		},
		"made from a template, and given": {
			parts: parts{pods: []*Pod{testPod("a", "", 0, claiming("", "two", "shared"))}},
			want:  "Pod/a; Running ; 1/1; gpus 3 held 3; pods a", held: map[string]int64{"gpu.nvidia.com": 3},
		},
		"shared by two": {
			parts: parts{pods: []*Pod{testPod("a", "Job/j", 0, claiming("shared", "", "")), testPod("b", "Job/j", 0, claiming("shared", "", ""))}},
			want:  "Job/j; Running ; 2/2; gpus 3 held 3; pods a b", held: map[string]int64{"gpu.nvidia.com": 3},
		},
		"asked for by a class of one's own": {
			parts: parts{pods: []*Pod{testPod("a", "", 0, waits, claiming("", "two", ""))}},
			want:  "Pod/a; Pending Unschedulable; 0/1; gpus 2 held 0; pods a", held: map[string]int64{"gpu.nvidia.com": 2},
		},
		"older API": {
			parts: parts{pods: []*Pod{testPod("a", "", 0, waits, claiming("", "two", ""))}}, file: "v1beta1.yaml",
			want: "Pod/a; Pending Unschedulable; 0/1; gpus 2 held 0; pods a", held: map[string]int64{"gpu.nvidia.com": 2},
		},
		"alternatives": {
			parts: parts{pods: []*Pod{testPod("a", "", 0, waits, claiming("alternatives", "", ""))}},
			want:  "Pod/a; Pending Unschedulable; 0/1; gpus 1 held 0; pods a", held: map[string]int64{"gpu.amd.com": 1},
		},
		"no accelerator": {parts: parts{pods: []*Pod{testPod("a", "", 0, claiming("nic", "", ""))}}},
		"both ways": {
			parts: parts{pods: []*Pod{testPod("a", "", 1, claiming("shared", "", ""))}},
			want:  "Pod/a; Running ; 1/1; gpus 4 held 4; pods a", held: map[string]int64{"gpu.nvidia.com": 3, "nvidia.com/gpu": 1},
		},
		"served by DRA behind an extended resource": {
			parts: parts{pods: []*Pod{testPod("a", "", 1, func(p *corev1.Pod) {
				p.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: "shared"}
			})}},
			want: "Pod/a; Running ; 1/1; gpus 1 held 1; pods a", held: map[string]int64{"nvidia.com/gpu": 1},
		},
		"a template that pods are made with": {
			parts: parts{roots: []*root{testJob("j", "", 0, parallel(3), func(j *batchv1.Job) {
				p := corev1.Pod{}
				claiming("", "two", "")(&p)
				claiming("shared", "", "")(&p)
				j.Spec.Template.Spec.ResourceClaims = p.Spec.ResourceClaims
			})}},
			want: "Job/j; Pending NoPods; 0/3; gpus 9 held 0; pods ", held: map[string]int64{"gpu.nvidia.com": 9},
		},
	} {
		if tc.file == "" {
			tc.file = "v1.yaml"
		}
		tc.parts.dra = readDRA(t, tc.file)
		works, _ := group(tc.parts, choice{})
		switch {
		case tc.want == "" && len(works) == 0:
		case len(works) != 1 || brief(works[0]) != tc.want:
			t.Errorf("%s: %d works, %v, want %s", name, len(works), works, tc.want)
		default:
			if diff := cmp.Diff(tc.held, works[0].Resources); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		for _, p := range tc.parts.pods {
			if p.GPUs > 1 {
				t.Errorf("%s: grouping changed pod %s", name, p.Name)
			}
		}
	}
}

func TestDevicesOfNodes(t *testing.T) {
	node := func(name string, resources map[string]int64) *Node {
		n := &Node{Name: name, Resources: resources}
		for _, k := range resources {
			n.Total += k
		}
		return n
	}
	one := testPod("a", "", 0, claiming("shared", "", ""))
	two := testPod("b", "", 0, claiming("shared", "", ""))
	_, nodes := group(parts{nodes: []*Node{node("n2", nil), node("n1", nil), node("n3", nil)}, pods: []*Pod{one}, others: []*Pod{two}, dra: readDRA(t, "v1.yaml")}, choice{})
	if len(nodes) != 2 {
		t.Fatalf("nodes %v", nodes)
	}
	if n := nodes[0]; n.Total != 4 || n.Used != 3 || n.Product != "NVIDIA H100 80GB HBM3" || n.MemoryMiB != 81559 || n.Resources["gpu.nvidia.com"] != 4 {
		t.Errorf("node %+v", n)
	}
	if n := nodes[1]; n.Total != 2 || n.Used != 0 {
		t.Errorf("node %+v", n)
	}
	_, nodes = group(parts{nodes: []*Node{node("n1", map[string]int64{"nvidia.com/gpu": 4})}, pods: []*Pod{testPod("c", "", 1)}, dra: readDRA(t, "v1.yaml")}, choice{})
	if n := nodes[0]; n.Total != 4 || n.Used != 1 {
		t.Errorf("a device counts twice: %+v", n)
	}
	_, nodes = group(parts{nodes: []*Node{node("n1", nil)}, dra: readDRA(t, "v1beta1.yaml")}, choice{})
	if n := nodes[0]; n.Total != 2 || n.Product != "NVIDIA L4" || n.MemoryMiB != 23034 {
		t.Errorf("node %+v", n)
	}
}

func TestNeuronCores(t *testing.T) {
	n := decodeNode(nodeWith("aws.amazon.com/neuron", 16, "aws.amazon.com/neurondevice", 16, "aws.amazon.com/neuroncore", 32, "cpu", 8))
	if n.Total != 16 || n.Capacity != 16 {
		t.Errorf("devices count twice: %+v", n)
	}
	cores := testPod("a", "", 0, func(p *corev1.Pod) { p.Spec.Containers[0] = container("aws.amazon.com/neuroncore", 3) })
	whole := testPod("b", "", 0, func(p *corev1.Pod) { p.Spec.Containers[0] = container("aws.amazon.com/neuron", 4) })
	_, nodes := group(parts{nodes: []*Node{n}, pods: []*Pod{cores, whole}}, choice{})
	if nodes[0].Used != 6 {
		t.Errorf("used %d, want 6: four devices, and three cores on two", nodes[0].Used)
	}
}

// nodeWith has the resources, in pairs of name and count.
func nodeWith(pairs ...any) *corev1.Node {
	n := &corev1.Node{}
	n.Name = "n1"
	n.Status.Allocatable = corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		n.Status.Allocatable[corev1.ResourceName(pairs[i].(string))] = *resource.NewQuantity(int64(pairs[i+1].(int)), resource.DecimalSI)
	}
	n.Status.Capacity = n.Status.Allocatable
	return n
}
