package diagnose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// fixture is an object as the API types of its project write it.
func fixture(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDecodeWorkloadOfBothVersions(t *testing.T) {
	at := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	for _, version := range []string{"v1beta1", "v1beta2"} {
		w := decodeWorkload(fixture(t, "kueue-workload-"+version))
		if len(w.Conditions) != 3 || w.Conditions[0].Reason != "Pending" || !w.Conditions[0].Since.Equal(at) {
			t.Errorf("%s: conditions %+v", version, w.Conditions)
		}
		w.Conditions = nil
		want := &Workload{
			Name: "job-train-3f1a9", Active: true, Queue: "training", Priority: 100, Created: at,
			Checks: []Check{{"dws", "Pending", "waiting for capacity"}}, RequeueAt: at.Add(2 * time.Hour), RequeueCount: 2,
		}
		if diff := cmp.Diff(want, w); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
	}
}

func TestDecodeQueues(t *testing.T) {
	local, cluster := decodeQueue(fixture(t, "kueue-localqueue-v1beta2")), decodeQueue(fixture(t, "kueue-clusterqueue-v1beta2"))
	if local.ClusterQueue != "gpus" || local.Stop != "None" || local.Pending != 3 || !isTrue(local.Conditions, "Active") {
		t.Errorf("local queue: %+v", local)
	}
	want := []Flavor{
		{Name: "a100", Resource: "cpu", Nominal: "400", Used: "48", Borrowed: "0"},
		{Name: "a100", Resource: "nvidia.com/gpu", Nominal: "16", Used: "14", Borrowed: "2", BorrowingLimit: "8"},
	}
	if diff := cmp.Diff(want, cluster.Flavors); diff != "" || cluster.Cohort != "all" {
		t.Errorf("cluster queue: %s %+v", diff, cluster)
	}
	if old := decodeQueue(fixture(t, "kueue-clusterqueue-v1beta1")); old.Cohort != "all" {
		t.Errorf("cohort of v1beta1: %q", old.Cohort)
	}
	if old := decodeQueue(fixture(t, "kueue-localqueue-v1beta1")); old.Stop != "Hold" {
		t.Errorf("stop policy of v1beta1: %q", old.Stop)
	}
}

func TestPositionIsByPriorityThenAge(t *testing.T) {
	own := fixture(t, "kueue-workload-v1beta2")
	other := func(name string, priority int64, age time.Duration, change ...any) unstructured.Unstructured {
		u := own.DeepCopy()
		u.SetName(name)
		u.SetCreationTimestamp(metav1.NewTime(own.GetCreationTimestamp().Add(-age)))
		_ = unstructured.SetNestedField(u.Object, priority, "spec", "priority")
		if len(change) > 0 {
			_ = unstructured.SetNestedField(u.Object, change[len(change)-1], strings.Split(change[0].(string), ".")...)
		}
		return *u
	}
	list := []unstructured.Unstructured{
		*own, other("older", 100, time.Hour), other("younger", 100, -time.Hour), other("urgent", 200, -time.Hour), other("idle", 50, time.Hour),
		other("another queue", 200, time.Hour, "spec.queueName", "b"), other("deactivated", 200, time.Hour, "spec.active", false),
	}
	if n := position(list, decodeWorkload(own), "research"); n != 2 {
		t.Errorf("position %d, want 2: behind the older and the urgent one", n)
	}
}

func TestDecodePendingWorkloads(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "kueue-pendingworkloads-v1beta2.json"))
	if err != nil {
		t.Fatal(err)
	}
	k := &Kueue{Workload: &Workload{Name: "job-train-3f1a9"}, Position: -1, PositionCluster: -1}
	k.readPlace(text)
	if k.Position != 2 || k.PositionCluster != 4 {
		t.Errorf("position %d and %d", k.Position, k.PositionCluster)
	}
	k.readPlace([]byte("not JSON"))
	k.readPlace([]byte(`{"items":[{"metadata":{"name":"another"}}]}`))
	if k.Position != 2 {
		t.Error("an answer that does not name the workload changed its position")
	}
}

// Pod groups as the API types of Volcano, coscheduling and KAI have them, and Kubernetes' own.
func TestDecodeGangs(t *testing.T) {
	own, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&schedulingv1beta1.PodGroup{
		Spec:   schedulingv1beta1.PodGroupSpec{SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: 4}}},
		Status: schedulingv1beta1.PodGroupStatus{Conditions: []metav1.Condition{{Type: schedulingv1beta1.PodGroupInitiallyScheduled, Status: "False", Reason: schedulingv1beta1.PodGroupReasonUnschedulable, Message: "0/8 nodes are available"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) map[string]any {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		return (&unstructured.Unstructured{Object: normal(m)}).Object
	}
	for name, c := range map[string]struct {
		kind   int
		object map[string]any
		want   string
	}{
		"volcano": {0, parse(`{"spec": {"minMember": 4, "queue": "research"}, "status": {"phase": "Inqueue", "conditions": [
			{"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "4/4 tasks in gang unschedulable: pod group is not ready, 4 Pending, 4 minAvailable"}]}}`), "4/4 tasks in gang unschedulable"},
		"KAI": {2, parse(`{"spec": {"minMember": 4, "queue": "research"}, "status": {"schedulingConditions": [{"type": "UnschedulableOnNodePool", "nodePool": "default", "status": "True", "reason": "Unschedulable",
			"message": "old", "reasons": [{"reason": "OverLimit", "message": "queue research is over its limit of 8 GPUs"}]}]}}`), "queue research is over its limit of 8 GPUs"},
		"Kubernetes": {3, own, "0/8 nodes are available"},
	} {
		g := Gang{Resource: "podgroups", Name: "g"}
		decodeGang(&unstructured.Unstructured{Object: c.object}, gangKinds[c.kind], &g)
		if g.Min != 4 {
			t.Errorf("%s: %+v", name, g)
		}
		e := waits(nil, told(pod("a"), ""), told(pod("b"), ""), told(pod("c"), ""), told(pod("d"), ""))
		e.Gangs = []Gang{g}
		finding{e, "GangDoesNotFit", Certain, []string{c.want}}.check(t)
	}
}

// normal makes whole numbers of what encoding/json reads as floats, as the API machinery does.
func normal(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case float64:
			m[k] = int64(v)
		case map[string]any:
			m[k] = normal(v)
		}
	}
	return m
}

// TestHalfWrittenObjects: anything may be missing, or of another type than it should be.
func TestHalfWrittenObjects(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"spec": null, "status": null}`, `{"spec": {"priority": "high", "active": "no", "queueName": 3, "resourceGroups": [null, 3, {"flavors": [{"resources": [7]}]}]}, "status": {"conditions": [3, {"type": 4}, null], "admissionChecks": {}}}`,
	} {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: m}
		decodeWorkload(u)
		decodeQueue(u)
		for _, k := range gangKinds {
			decodeGang(u, k, &Gang{})
		}
		templateOf(u)
	}
	bare := waits(cluster(node("n1", 0)), pod("p"))
	bare.Pods[0].Spec.Containers = nil
	bare.Pods[0].Status = died(ended(pod("x"), 1, "", 0)).Pods[0].Status
	bare.Template = nil
	Diagnose(bare)
	empty := waits(nil)
	empty.Work.State = "Bewildered"
	if d := Diagnose(empty); d.Headline == "" || len(d.Causes) == 0 {
		t.Errorf("no answer to a state that nobody knows: %+v", d)
	}
}
