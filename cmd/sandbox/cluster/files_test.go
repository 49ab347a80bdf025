package cluster

import (
	"maps"
	"strings"
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
	c := state.Config{Ports: ports, Address: "10.1.2.1", RealNode: true, With: Additions()}
	for _, e := range extrasOf(c) {
		more, err := state.FreePorts(e.ports()...)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(ports, more)
	}
	for _, p := range hostPrograms("/state", c) {
		if ports[p.Name] == 0 || p.Health == "" {
			t.Errorf("%s: port %d, health %q", p.Name, ports[p.Name], p.Health)
		}
	}
}

func TestWebhooksAreServedOnThisMachine(t *testing.T) {
	list, err := decode([]byte(`
kind: ValidatingWebhookConfiguration
webhooks:
- {name: a, clientConfig: {service: {name: s, namespace: n, path: /a}}}
- {name: b, clientConfig: {service: {name: s, namespace: n, path: /b}}}
`))
	if err != nil || len(list) != 1 {
		t.Fatalf("decode: %v, %v", list, err)
	}
	if err := serveLocally(list[0], "127.0.0.1:9443", []byte("pem")); err != nil {
		t.Fatal(err)
	}
	webhooks, _, _ := unstructured.NestedSlice(list[0].Object, "webhooks")
	for i, path := range []string{"/a", "/b"} {
		config, _, _ := unstructured.NestedMap(webhooks[i].(map[string]any), "clientConfig")
		if config["url"] != "https://127.0.0.1:9443"+path || config["caBundle"] != "cGVt" || len(config) != 2 {
			t.Errorf("clientConfig = %v", config)
		}
	}
	_ = unstructured.SetNestedSlice(list[0].Object, []any{map[string]any{"name": "c"}}, "webhooks")
	if serveLocally(list[0], "127.0.0.1:9443", nil) == nil {
		t.Error("a webhook without a path was taken")
	}
}

func TestWith(t *testing.T) {
	got, err := With([]string{"kueue"}, []string{"jobset", "kueue"})
	if err != nil || strings.Join(got, ",") != "jobset,kueue" {
		t.Errorf("With = %v, %v", got, err)
	}
	if _, err := With(nil, []string{"volcano"}); err == nil || !strings.Contains(err.Error(), "jobset,kueue,registry,s3") {
		t.Errorf("an unknown controller: %v", err)
	}
}
