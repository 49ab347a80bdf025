package fleet

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func manifests(t *testing.T, nodes int) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, p := range pieces("fleet", nodes) {
		text, err := json.Marshal(p.manifest())
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if all[u.GetName()] != nil {
			t.Errorf("two objects have the name %s", u.GetName())
		}
		all[u.GetName()] = u
	}
	return all
}

func TestManifestsSayWhatTheirNamesSay(t *testing.T) {
	all := manifests(t, 200)
	const own = "sandbox.kubectl-ml.dev/"
	annotation := func(name string) []string { return []string{"spec", "template", "metadata", "annotations", own + name} }
	for _, c := range []struct {
		name string
		path []string
		want any
	}{
		{"llm-pretrain-3", []string{"spec", "completionMode"}, "Indexed"},
		{"llm-pretrain-3", []string{"spec", "parallelism"}, int64(4)},
		{"notebook-ada", []string{"kind"}, "StatefulSet"},
		{"notebook-grace", []string{"metadata", "annotations", own + "gpu-util"}, "35"},
		{"embedding-server-0", []string{"spec", "template", "spec", "restartPolicy"}, "Always"},
		{"pending-unknown-product", []string{"spec", "template", "spec", "nodeSelector", "nvidia.com/gpu.product"}, b300[0]},
		{"pending-taint", []string{"spec", "template", "spec", "nodeSelector", "kubernetes.io/hostname"}, tainted},
		{"pending-quota", []string{"spec", "template", "spec", "priorityClassName"}, limited},
		{"suspended-in-queue", []string{"metadata", "labels", "kueue.x-k8s.io/queue-name"}, "research"},
		{"failed-deadline", []string{"spec", "activeDeadlineSeconds"}, int64(20)},
		{"failed-oom", annotation("reason"), "OOMKilled"},
		{"failed-rank", annotation("exit-code.2"), "1"},
		{"idle-holder", annotation("age"), "6h30m0s"},
		{"idle-holder", annotation("gpu-util"), "2"},
		{"notebook-ada", annotation("gpu-util"), "0"},
		{"gpu-error", annotation("xid"), "94"},
		{"sweep-199", annotation("duration"), "2h0m0s"},
	} {
		u := all[c.name]
		if u == nil {
			t.Errorf("there is no %s", c.name)
			continue
		}
		if got, _, err := unstructured.NestedFieldNoCopy(u.Object, c.path...); err != nil || got != c.want {
			t.Errorf("%s %s = %v, want %v (%v)", c.name, strings.Join(c.path, "."), got, c.want, err)
		}
	}
}

// TestRunningWorkFitsEightNodes: four nodes with A100, four with H100, eight GPUs each.
func TestRunningWorkFitsEightNodes(t *testing.T) {
	held := map[string]int{}
	for _, p := range pieces("fleet", 8) {
		waits := strings.HasPrefix(p.name, "pending-") && p.name != "pending-secret" && p.name != "pending-image"
		if waits || strings.HasPrefix(p.name, "failed-") || strings.HasPrefix(p.name, "suspended-") || p.needs != "" || len(p.on) == 0 {
			continue
		}
		held[p.on[len(p.on)-1]] += max(p.pods, 1) * p.gpus
	}
	for product, n := range held {
		if n > 32 {
			t.Errorf("%d %s are asked for, and there are 32", n, product)
		}
	}
	if held[h100[0]] != 32 || held[a100[0]] < 20 {
		t.Errorf("GPUs held: %v", held)
	}
}

func TestTrainingsGoOn(t *testing.T) {
	for name, s := range map[string]script{
		"marked": marked(50, 1000), "tqdm": tqdm(50, 1000), "huggingFace": huggingFace(50, 3), "lightning": lightning(50, 5), "keras": keras(50, 5), "plain": plain(50, 10),
	} {
		if len(s) != 50 || s[0] == s[49] || strings.Contains(strings.Join(s, ""), "%!") {
			t.Errorf("%s: %d lines, from %q to %q", name, len(s), s[0], s[len(s)-1])
		}
	}
	if l := loss(1); l > loss(0.1)/2 {
		t.Errorf("the loss ends at %v", l)
	}
}
