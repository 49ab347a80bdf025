package cluster

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

func TestFirstNodesAreAlikeAndHealthy(t *testing.T) {
	for i, n := range gpuNodes(plain) {
		want := []string{"NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3"}[i%2]
		if got := n.Labels["nvidia.com/gpu.product"]; got != want || n.GPUs != 8 || n.Allocatable != 8 || n.Cordoned || n.NotReady != "" || n.Taint != "" {
			t.Errorf("node %d is %+v", i, n)
		}
	}
}

func TestManyNodesAreAMix(t *testing.T) {
	got := map[string]int{}
	for _, n := range objects(t, "nodes.yaml", state.Config{GPUNodes: 200}) {
		labels := n.GetLabels()
		got[labels["nvidia.com/gpu.product"]+labels["amd.com/gpu.product-name"]]++
		if cordoned, _, _ := unstructured.NestedBool(n.Object, "spec", "unschedulable"); cordoned {
			got["cordoned"]++
		}
		if taints, _, err := unstructured.NestedSlice(n.Object, "spec", "taints"); err != nil || len(taints) > 0 {
			got["tainted"]++
		}
		if n.GetAnnotations()[notReady] != "" {
			got["not ready"]++
		}
		for _, resource := range []string{"nvidia.com/gpu", "amd.com/gpu"} {
			have, _, _ := unstructured.NestedString(n.Object, "status", "capacity", resource)
			offers, _, _ := unstructured.NestedString(n.Object, "status", "allocatable", resource)
			if have != offers {
				got["broken GPU"]++
			}
		}
	}
	for what, least := range map[string]int{
		"NVIDIA-A100-SXM4-80GB": 40, "NVIDIA-H100-80GB-HBM3": 40, "NVIDIA-L4": 20, "AMD_Instinct_MI300X_OAM": 10,
		"cordoned": 3, "tainted": 3, "not ready": 1, "broken GPU": 1,
	} {
		if got[what] < least {
			t.Errorf("%d nodes are %s, want %d: %v", got[what], what, least, got)
		}
	}
}
