package fleet

import (
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// realisticPod is a pod of a distributed Job as clusters have them: some 8 KB with environment, volumes and managed
// fields. n numbers it; eight make a Job.
func realisticPod(n int) *corev1.Pod {
	jobName := fmt.Sprintf("llama-7b-finetune-%05d", n/8)
	jobUID := fmt.Sprintf("1f0c5a3e-0000-4000-8000-%012d", n/8)
	name := fmt.Sprintf("%s-%d-x7k2p", jobName, n%8)
	at := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, n%3600, 0, time.UTC))
	var env []corev1.EnvVar
	for i := range 40 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("TRAINING_SETTING_%02d", i), Value: strings.Repeat("v", 24)})
	}
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	for i := range 8 {
		v := fmt.Sprintf("volume-%d", i)
		volumes = append(volumes, corev1.Volume{Name: v, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings-of-" + v}}}})
		mounts = append(mounts, corev1.VolumeMount{Name: v, MountPath: "/mnt/of/" + v})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: fmt.Sprintf("team-%d", n%20), UID: types.UID(fmt.Sprintf("2f0c5a3e-0000-4000-8000-%012d", n)), ResourceVersion: fmt.Sprint(100000 + n), CreationTimestamp: at,
			Labels: map[string]string{
				"batch.kubernetes.io/controller-uid": jobUID, "controller-uid": jobUID, "batch.kubernetes.io/job-name": jobName, "job-name": jobName,
				"batch.kubernetes.io/job-completion-index": fmt.Sprint(n % 8), "app.kubernetes.io/name": "llama", "team": fmt.Sprintf("team-%d", n%20), "kueue.x-k8s.io/queue-name": "team-gpu",
			},
			Annotations:     map[string]string{"batch.kubernetes.io/job-completion-index": fmt.Sprint(n % 8), "checksum/config": strings.Repeat("c", 64)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: jobName, UID: types.UID(jobUID), Controller: ptr.To(true)}},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Manager: "kube-controller-manager", Operation: "Update", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{` + strings.Repeat(`"f:labels":{".":{},"f:team":{}},`, 60) + `"x":{}}}`)},
				{Manager: "kubelet", Operation: "Update", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{` + strings.Repeat(`"f:conditions":{".":{}},`, 60) + `"x":{}}}`)},
			},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprintf("gpu-node-%03d.eu-west-1.compute.internal", n%1250), SchedulerName: "default-scheduler", PriorityClassName: "training", Volumes: volumes, RestartPolicy: corev1.RestartPolicyNever,
			NodeSelector: map[string]string{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example.com/team/training/llama@sha256:" + strings.Repeat("a", 64), Command: []string{"torchrun", "--nproc-per-node=8", "train.py"}, Env: env, VolumeMounts: mounts,
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": quantity.MustParse("8"), "memory": quantity.MustParse("512Gi")}},
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.1.2.3", HostIP: "10.0.0.1", StartTime: &at,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: at}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at}},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", Ready: true, Image: "registry.example.com/team/training/llama", ImageID: "registry.example.com/team/training/llama@sha256:" + strings.Repeat("a", 64), ContainerID: "containerd://" + strings.Repeat("b", 64),
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
			}},
		},
	}
}

func realisticJob(n int) *batchv1.Job {
	p := realisticPod(8 * n)
	owner := p.OwnerReferences[0]
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: owner.Name, Namespace: p.Namespace, UID: owner.UID, CreationTimestamp: p.CreationTimestamp, Labels: map[string]string{"team": p.Labels["team"]}},
		Spec:       batchv1.JobSpec{Completions: ptr.To(int32(8)), Parallelism: ptr.To(int32(8)), Template: corev1.PodTemplateSpec{Spec: p.Spec}},
		Status:     batchv1.JobStatus{Active: 8, StartTime: &p.CreationTimestamp},
	}
}

// overTheWire is a pod as a client has it: each text an allocation of its own.
func overTheWire(t testing.TB, p *corev1.Pod) (*corev1.Pod, int) {
	t.Helper()
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	out := &corev1.Pod{}
	if err := out.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	return out, len(data)
}

func entryOf(t testing.TB, from *source, p *corev1.Pod) *entry {
	t.Helper()
	e, err := from.entry(p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// filled is a Watcher that has seen so many pods.
func filled(t testing.TB, pods int) (w *Watcher, wire int) {
	t.Helper()
	w = newWatcher(nil, Options{}, pace{})
	from := &source{decode: func(o runtime.Object) any { return decodePod(o.(*corev1.Pod)) }, texts: texts{}}
	add := func(resource string, add func(*parts, any), decode func(i int) *entry, n int) {
		s := &shelf{store: newStore(resource, time.Now, w.signal), add: add}
		s.note(func(h *health) { h.open = true })
		w.stores[resource] = s
		list := make([]any, n)
		for i := range list {
			list[i] = decode(i)
		}
		if err := s.Replace(list, ""); err != nil {
			t.Fatal(err)
		}
	}
	add("pods", func(p *parts, fact any) { p.pods = append(p.pods, fact.(*Pod)) }, func(i int) *entry {
		p, n := overTheWire(t, realisticPod(i))
		wire += n
		return entryOf(t, from, p)
	}, pods)
	add("jobs.batch", func(p *parts, fact any) { p.roots = append(p.roots, fact.(*root)) }, func(i int) *entry {
		j := realisticJob(i)
		return &entry{namespace: j.Namespace, name: j.Name, fact: decodeJob(j)}
	}, pods/8)
	return w, wire
}

func heap() uint64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// 10,000 pods fit into 60 MB, with the snapshot that is made of them.
func TestMemoryOfTenThousandPods(t *testing.T) {
	const pods = 10_000
	before := heap()
	w, wire := filled(t, pods)
	kept := heap() - before
	s := w.Snapshot()
	all := heap() - before
	if len(s.Works) != pods/8 {
		t.Fatalf("%d works", len(s.Works))
	}
	t.Logf("%d bytes a pod on the wire, %d in the store, %d with a snapshot; %.1f MB in all", wire/pods, kept/pods, all/pods, float64(all)/1e6)
	if wire/pods < 7000 {
		t.Errorf("the pods of this test have %d bytes: too few to tell", wire/pods)
	}
	if all > 60<<20 {
		t.Errorf("%d MB", all>>20)
	}
	goruntime.KeepAlive(w)
}

// One pod of ten thousand changes.
func BenchmarkSnapshotOfTenThousandPods(b *testing.B) {
	w, _ := filled(b, 10_000)
	pods := w.stores["pods"]
	p := realisticPod(0)
	for b.Loop() {
		b.StopTimer()
		p.Status.ContainerStatuses[0].RestartCount++
		if err := pods.Update(&entry{namespace: p.Namespace, name: p.Name, fact: decodePod(p)}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		w.Snapshot()
	}
}

func BenchmarkGroupTenThousandPods(b *testing.B) {
	w, _ := filled(b, 10_000)
	p := w.parts(false)
	for b.Loop() {
		newGrouping(p, choice{})
	}
}

func BenchmarkSnapshotUnchanged(b *testing.B) {
	w, _ := filled(b, 10_000)
	for b.Loop() {
		w.Snapshot()
	}
}

func BenchmarkDecodePod(b *testing.B) {
	p := realisticPod(1)
	b.ReportAllocs()
	for b.Loop() {
		decodePod(p)
	}
}
