package cluster

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

func objects(t *testing.T, name string, c state.Config) []*unstructured.Unstructured {
	t.Helper()
	data, err := render(name, "/state", c)
	if err != nil {
		t.Fatal(err)
	}
	list, err := decode(data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return list
}

func TestManifestsAreKnownObjects(t *testing.T) {
	for _, name := range []string{"base.yaml", "nodes.yaml", "monitoring.yaml"} {
		for _, obj := range objects(t, name, state.Config{GPUNodes: 2, Address: "10.1.2.1", OnLoopback: true}) {
			if _, err := resource(obj.GetKind()); err != nil || obj.GetName() == "" {
				t.Errorf("%s: %s %q: %v", name, obj.GetKind(), obj.GetName(), err)
			}
		}
	}
	for _, obj := range objects(t, "kwok.yaml", state.Config{}) {
		if obj.GetKind() != "Stage" {
			t.Errorf("kwok.yaml holds a %s", obj.GetKind())
		}
	}
}

func TestSimulatedNodesKeepOrdinaryPodsAwayOnlyWhenThereIsARealNode(t *testing.T) {
	for _, withReal := range []bool{false, true} {
		nodes := objects(t, "nodes.yaml", state.Config{GPUNodes: 3, RealNode: withReal})
		if len(nodes) != 3 {
			t.Fatalf("%d nodes, want 3", len(nodes))
		}
		for _, n := range nodes {
			taints, _, err := unstructured.NestedSlice(n.Object, "spec", "taints")
			if err != nil || (len(taints) == 1) != withReal {
				t.Errorf("with a real node: %v; taints = %v, %v", withReal, taints, err)
			}
		}
	}
}

func TestEveryProgramHasItsPort(t *testing.T) {
	ports, err := state.FreePorts(portNames()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range controlPlane("/state", state.Config{Ports: ports, Address: "10.1.2.1"}) {
		if ports[p.Name] == 0 || p.Health == "" {
			t.Errorf("%s: port %d, health %q", p.Name, ports[p.Name], p.Health)
		}
	}
}
