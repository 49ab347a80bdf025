package fleet

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

var topNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// topPod holds n accelerators of a node since some time.
func topPod(name, node string, n int64, since time.Duration) *Pod {
	return &Pod{PodFact: job.PodFact{Name: name, Namespace: "ml", Node: node, State: job.Running, GPUs: n, Rank: -1, Created: topNow.Add(-since - time.Hour)}, Bound: topNow.Add(-since)}
}

func topWork(name, state string, gpus int64, pods ...*Pod) *Work {
	w := &Work{Ref: Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: "ml", Name: name}, State: state, GPUs: gpus, Pods: pods}
	for _, p := range pods {
		if p.holding() {
			w.Held += p.GPUs
		}
	}
	return w
}

// device is one that an exporter of a node tells of; pod may be empty.
func device(exporter, node, index, pod string, busy, mean float64) metrics.Device {
	d := metrics.Device{
		Instance: exporter, Node: node, Index: index, UUID: exporter + "-" + index, Pod: pod, Busy: busy, Mean: mean,
		MemoryUsed: 10, MemoryTotal: 80, Power: 100, Temperature: 40, XID: math.NaN(),
	}
	if pod != "" {
		d.Namespace = "ml"
	}
	return d
}

func idleText(n *int64) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}

func TestWorkUsages(t *testing.T) {
	nan := math.NaN()
	ended := topPod("old-0", "a", 4, 9*time.Hour)
	ended.State = job.Succeeded
	unbound := &Pod{PodFact: job.PodFact{Name: "wait-0", Namespace: "ml", State: job.Pending, GPUs: 2}}
	works := []*Work{
		topWork("wait", job.Pending, 2, unbound),
		topWork("train", job.Running, 2, topPod("train-0", "a", 1, 2*time.Hour), topPod("train-1", "b", 1, 4*time.Hour)),
		topWork("idle", job.Running, 4, topPod("idle-0", "a", 4, 6*time.Hour)),
		topWork("fresh", job.Running, 1, topPod("fresh-0", "a", 1, time.Minute)),
		topWork("silent", job.Running, 1, topPod("silent-0", "a", 1, time.Hour)),
		topWork("moment", job.Running, 1, topPod("moment-0", "a", 1, time.Hour)),
		topWork("old", job.Succeeded, 4, ended),
		topWork("ending", job.Failed, 1, topPod("ending-0", "a", 1, time.Hour)),
		topWork("plain", job.Running, 0, topPod("plain-0", "a", 0, time.Hour)),
	}
	devices := []metrics.Device{
		device("a", "a", "0", "train-0", 90, 80), device("b", "b", "0", "train-1", 70, 3),
		device("a", "a", "1", "idle-0", 2, 2), device("a", "a", "2", "idle-0", 0, 0), device("a", "a", "3", "idle-0", 50, 4.9), device("a", "a", "4", "idle-0", 0, 5),
		device("a", "a", "5", "fresh-0", 0, 0), device("a", "a", "6", "silent-0", nan, nan), device("a", "a", "7", "moment-0", 1, nan),
		device("b", "b", "1", "", 0, 0),
	}
	var got []string
	for _, u := range WorkUsages(works, devices, Idleness{Below: 5, For: 30 * time.Minute}, topNow) {
		since := "-"
		if u.HeldSince != nil {
			since = topNow.Sub(*u.HeldSince).String()
		}
		got = append(got, fmt.Sprintf("%s %d/%d since %s %.1fh idle %s all %t devices %d", u.Work.Name, u.Held, u.GPUs, since, u.GPUHours, idleText(u.Idle), u.AllIdle(), u.Usage.Devices))
	}
	want := []string{
		"idle 4/4 since 6h0m0s 24.0h idle 3 all false devices 4",
		"train 2/2 since 4h0m0s 6.0h idle 1 all false devices 2",
		"fresh 1/1 since 1m0s 0.0h idle 0 all false devices 1",
		"silent 1/1 since 1h0m0s 1.0h idle ? all false devices 1",
		"moment 1/1 since 1h0m0s 1.0h idle 1 all true devices 1",
		"ending 1/1 since 1h0m0s 1.0h idle ? all false devices 0",
		"wait 0/2 since - 0.0h idle ? all false devices 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUsagesAreJSON(t *testing.T) {
	nan := math.NaN()
	works := WorkUsages([]*Work{topWork("train", job.Running, 1, topPod("train-0", "a", 1, time.Hour))}, []metrics.Device{device("a", "a", "0", "train-0", nan, nan)}, Idleness{}, topNow)
	nodes := NodeUsages(&Snapshot{Nodes: []*Node{{Name: "a", Total: 8, Used: Unknown}}}, nil)
	for _, c := range []struct {
		fact    any
		has     []string
		without []string
	}{
		{works[0], []string{`"held":1`, `"heldSince":"2026-03-01T11:00:00Z"`, `"gpuHours":1`, `"target":{"apiVersion":"batch/v1","kind":"Job","namespace":"ml","name":"train"}`}, []string{`"idle"`, "NaN", `"Pods"`}},
		{nodes[0], []string{`"total":8`, `"state":"NotReady"`}, []string{`"used"`, `"free"`, "-1"}},
		{OwnerUsages(works, ByNamespace)[0], []string{`"by":"namespace"`, `"held":1`, `"works":1`}, []string{`"idle"`}},
	} {
		text, err := json.Marshal(c.fact)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.has {
			if !strings.Contains(string(text), s) {
				t.Errorf("%s has no %s", text, s)
			}
		}
		for _, s := range c.without {
			if strings.Contains(string(text), s) {
				t.Errorf("%s has %s", text, s)
			}
		}
	}
}

func TestHeldSince(t *testing.T) {
	created, started, bound := topNow.Add(-3*time.Hour), topNow.Add(-time.Hour), topNow.Add(-2*time.Hour)
	for _, c := range []struct {
		pod  Pod
		want time.Time
	}{
		{Pod{PodFact: job.PodFact{Created: created}}, created},
		{Pod{PodFact: job.PodFact{Created: created, Started: &started}}, started},
		{Pod{PodFact: job.PodFact{Created: created, Started: &started}, Bound: bound}, bound},
	} {
		if got := c.pod.heldSince(); !got.Equal(c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
	scheduled := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(bound)}}}
	acknowledged := scheduled
	acknowledged.StartTime = &metav1.Time{Time: started}
	for _, c := range []struct {
		node   string
		status corev1.PodStatus
		want   time.Time
	}{
		{"a", scheduled, bound}, {"a", acknowledged, started}, {"", acknowledged, time.Time{}}, {"a", corev1.PodStatus{}, time.Time{}},
	} {
		if got := boundAt(&corev1.Pod{Spec: corev1.PodSpec{NodeName: c.node}, Status: c.status}); !got.Equal(c.want) {
			t.Errorf("bound at %v, want %v", got, c.want)
		}
	}
}

func TestOwners(t *testing.T) {
	named := topWork("a", job.Running, 8, topPod("a-0", "n", 8, time.Hour))
	named.By, named.Queue, named.Labels = "ada", "research", map[string]string{kube.LabelPipeline: "llm"}
	robot := topWork("b", job.Running, 1, &Pod{Account: "default"}, &Pod{Account: "argo"})
	other := topWork("c", job.Pending, 4)
	for by, want := range map[Owner][3]string{
		ByUser: {"ada", "serviceaccount:ml/argo", "namespace:ml"}, ByNamespace: {"ml", "ml", "ml"}, ByQueue: {"research", "", ""}, ByPipeline: {"llm", "", ""},
	} {
		if got := [3]string{by.Of(named), by.Of(robot), by.Of(other)}; got != want {
			t.Errorf("by %s: %q, want %q", by, got, want)
		}
	}
	usages := WorkUsages([]*Work{named, other}, []metrics.Device{device("n", "n", "0", "a-0", 0, 0), device("n", "n", "1", "a-0", 80, 80)}, Idleness{Below: 5}, topNow)
	owners := OwnerUsages(usages, ByNamespace)
	if len(owners) != 1 {
		t.Fatalf("%d owners", len(owners))
	}
	if o := owners[0]; o.Name != "ml" || o.GPUs != 12 || o.Held != 8 || o.Works != 2 || o.Waiting != 1 || idleText(o.Idle) != "1" || *o.Usage.Busy != 40 {
		t.Errorf("%+v", o)
	}
	if list := OwnerUsages(usages, ByUser); len(list) != 2 || list[0].Name != "ada" || list[1].Name != "namespace:ml" || HeldBy(usages) != 8 {
		t.Errorf("%+v", list)
	}
}

func TestDecodeTroubleOfNodes(t *testing.T) {
	condition := func(kind, status string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: corev1.NodeConditionType(kind), Status: corev1.ConditionStatus(status)}
	}
	n := decodeNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"amd.com/gpu.vram": "192G"}},
		Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"amd.com/gpu": resource.MustParse("7")}, Capacity: corev1.ResourceList{"amd.com/gpu": resource.MustParse("8"), "cpu": resource.MustParse("96")},
			Conditions: []corev1.NodeCondition{
				condition("Ready", "False"), condition("MemoryPressure", "False"), condition("DiskPressure", "True"), condition("PIDPressure", "Unknown"),
				condition("GPUHealthy", "False"), condition("NetworkingReady", "True"), condition("KernelDeadlock", "True"), condition("EtcdIsVoter", "True"),
			},
		},
	})
	var wrong []string
	for _, c := range n.Wrong {
		wrong = append(wrong, c.Type)
	}
	if got := strings.Join(wrong, " "); got != "DiskPressure GPUHealthy KernelDeadlock" || n.Ready || n.Capacity != 8 || n.Total != 7 || n.MemoryMiB != 192<<10 {
		t.Errorf("wrong: %s; %+v", got, n)
	}
	for text, want := range map[string]int64{"": 0, "16G": 16 << 10, "16GiB": 16 << 10, "8192M": 8192, "-1G": 0, "much": 0, "99999999999G": 0} {
		if got := memoryOf(map[string]string{"amd.com/gpu.vram": text}); got != want {
			t.Errorf("%q is %d MiB, want %d", text, got, want)
		}
	}
	if got := memoryOf(map[string]string{"nvidia.com/gpu.memory": "-5"}); got != 0 {
		t.Errorf("negative memory is %d", got)
	}
}
