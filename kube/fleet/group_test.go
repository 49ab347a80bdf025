package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func pointer[T any](v T) *T { return &v }

var epoch = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

// container asks for n of a resource.
func container(name string, n int64) corev1.Container {
	c := corev1.Container{Name: "main"}
	if n > 0 {
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceName(name): *resource.NewQuantity(n, resource.DecimalSI)}
	}
	return c
}

// owned makes an object that owner controls; owner is KIND/NAME with its UID the same text, and may be empty.
func owned(name, owner string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: "ml", UID: types.UID("Pod/" + name), CreationTimestamp: metav1.NewTime(epoch)}
	if kindName, of, ok := strings.Cut(owner, "/"); ok {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersions[kindName], Kind: kindName, Name: of, UID: types.UID(owner), Controller: pointer(true)}}
	}
	return m
}

var apiVersions = map[string]string{
	"Job": "batch/v1", "CronJob": "batch/v1", "ReplicaSet": "apps/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1", "Pod": "v1", "JobSet": "jobset.x-k8s.io/v1alpha2",
	"TrainJob": "trainer.kubeflow.org/v1alpha1", "PyTorchJob": "kubeflow.org/v1", "InferenceService": "serving.kserve.io/v1beta1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
}

// pod is a running pod on node n1 that holds n GPUs.
func testPod(name, owner string, gpus int64, change ...func(*corev1.Pod)) *Pod {
	p := &corev1.Pod{
		ObjectMeta: owned(name, owner),
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{container("nvidia.com/gpu", gpus)}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, c := range change {
		c(p)
	}
	return decodePod(p)
}

func waits(p *corev1.Pod) {
	p.Spec.NodeName = ""
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
	}}}
}

func ends(code int32, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Message: message, StartedAt: metav1.NewTime(epoch), FinishedAt: metav1.NewTime(epoch.Add(time.Hour)),
		}}}}}
		if code != 0 {
			p.Status.Phase = corev1.PodFailed
		}
	}
}

func labeled(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			p.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

// bareRoot is an owner of which only the metadata is known.
func bareRoot(name, owner string) *root {
	kindName, of, _ := strings.Cut(name, "/")
	o := &metav1.PartialObjectMetadata{ObjectMeta: owned(of, owner)}
	o.UID = types.UID(name)
	return decodeOwner(o, apiVersions[kindName], kindName)
}

func testJob(name, owner string, gpus int64, change ...func(*batchv1.Job)) *root {
	j := &batchv1.Job{ObjectMeta: owned(name, owner)}
	j.UID = types.UID("Job/" + name)
	j.Spec.Template.Spec.Containers = []corev1.Container{container("nvidia.com/gpu", gpus)}
	for _, c := range change {
		c(j)
	}
	return decodeJob(j)
}

func parallel(n int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Spec.Parallelism, j.Spec.Completions, j.Spec.CompletionMode = pointer(n), pointer(n), pointer(batchv1.IndexedCompletion)
	}
}

// brief is what the tests of grouping compare.
func brief(w *Work) string {
	pods := make([]string, len(w.Pods))
	for i, p := range w.Pods {
		pods[i] = p.Name
	}
	return strings.Join([]string{
		w.Kind + "/" + w.Name, w.State + " " + w.Reason, itoa(w.Ready) + "/" + itoa(w.Want),
		"gpus " + itoa(int(w.GPUs)) + " held " + itoa(int(w.Held)), "pods " + strings.Join(pods, " "),
	}, "; ")
}

func itoa(n int) string {
	if n == Unknown {
		return "?"
	}
	return resource.NewQuantity(int64(n), resource.DecimalSI).String()
}

func TestGroup(t *testing.T) {
	jobSet := func() *root {
		k := kindFor(t, fixtures(t, "kinds/jobset.yaml")[0])
		r := k.decode(fixtures(t, "kinds/jobset.yaml")[0])
		r.UID, r.Name = "JobSet/js", "js"
		return r
	}
	for name, tc := range map[string]struct {
		parts parts
		plain bool
		want  []string
	}{
		"a bare pod": {
			parts: parts{pods: []*Pod{testPod("a", "", 2), testPod("plain", "", 0)}},
			want:  []string{"Pod/a; Running ; 1/1; gpus 2 held 2; pods a"},
		},
		"a bare pod that ended": {
			parts: parts{pods: []*Pod{testPod("a", "", 2, ends(0, "")), testPod("b", "", 1, ends(137, ""))}},
			want:  []string{"Pod/a; Succeeded ; 1/1; gpus 0 held 0; pods a", "Pod/b; Failed Error; 0/1; gpus 0 held 0; pods b"},
		},
		"a Job": {
			parts: parts{roots: []*root{testJob("j", "", 8, parallel(2))}, pods: []*Pod{testPod("j-1", "Job/j", 8, waits), testPod("j-0", "Job/j", 8)}},
			want:  []string{"Job/j; Running Unschedulable; 1/2; gpus 16 held 8; pods j-0 j-1"},
		},
		"a Job of a CronJob is the unit": {
			parts: parts{roots: []*root{testJob("c-1", "CronJob/c", 1), testJob("c-2", "CronJob/c", 1)}, pods: []*Pod{testPod("c-1-x", "Job/c-1", 1)}},
			want:  []string{"Job/c-1; Running ; 1/1; gpus 1 held 1; pods c-1-x", "Job/c-2; Pending NoPods; 0/1; gpus 1 held 0; pods "},
		},
		"plain Jobs": {
			parts: parts{roots: []*root{
				testJob("plain", "", 0), testJob("ours", "", 0, func(j *batchv1.Job) { j.Labels = map[string]string{kube.LabelManagedBy: kube.ManagedBy} }),
				testJob("driver", "", 0, func(j *batchv1.Job) {
					j.Labels = map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelDriver: "true"}
				}),
			}, pods: []*Pod{testPod("plain-x", "Job/plain", 0)}},
			want: []string{"Job/ours; Pending NoPods; 0/1; gpus 0 held 0; pods "},
		},
		"plain Jobs are wanted": {
			parts: parts{roots: []*root{testJob("plain", "", 0)}, pods: []*Pod{testPod("plain-x", "Job/plain", 0)}}, plain: true,
			want: []string{"Job/plain; Running ; 1/1; gpus 0 held 0; pods plain-x"},
		},
		"an owner that nobody can read": {
			parts: parts{pods: []*Pod{testPod("a-0", "PyTorchJob/a", 1), testPod("a-1", "PyTorchJob/a", 1, waits)}},
			want:  []string{"PyTorchJob/a; Running Unschedulable; 1/2; gpus 2 held 1; pods a-0 a-1"},
		},
		"a chain of four": {
			parts: parts{roots: []*root{
				bareRoot("InferenceService/llm", ""), bareRoot("Deployment/llm-d", "InferenceService/llm"), bareRoot("ReplicaSet/llm-d-1", "Deployment/llm-d"),
			}, pods: []*Pod{testPod("x", "ReplicaSet/llm-d-1", 1)}},
			want: []string{"InferenceService/llm; Running ; 1/1; gpus 1 held 1; pods x"},
		},
		"a name above a Job": {
			parts: parts{roots: []*root{bareRoot("Trial/t", ""), testJob("t", "Trial/t", 2, func(j *batchv1.Job) {
				j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded"}}
			})}},
			want: []string{"Trial/t; Failed BackoffLimitExceeded; 0/1; gpus 2 held 0; pods "},
		},
		"a JobSet counts once": {
			parts: parts{
				roots: []*root{jobSet(), testJob("js-w-0", "JobSet/js", 4, parallel(4)), testJob("js-w-1", "JobSet/js", 4, parallel(4))},
				pods: []*Pod{
					testPod("w-1-0", "Job/js-w-1", 4, labeled("jobset.sigs.k8s.io/job-index", "1", "batch.kubernetes.io/job-completion-index", "0")),
					testPod("w-0-3", "Job/js-w-0", 4, labeled("jobset.sigs.k8s.io/job-index", "0", "batch.kubernetes.io/job-completion-index", "3")),
				},
			},
			want: []string{"JobSet/js; Running ; 2/9; gpus 32 held 8; pods w-0-3 w-1-0"},
		},
		"a circle of owners": {
			parts: parts{roots: []*root{bareRoot("A/a", "B/b"), bareRoot("B/b", "A/a")}, pods: []*Pod{testPod("x", "A/a", 1)}},
			want:  []string{"B/b; Running ; 1/1; gpus 1 held 1; pods x"},
		},
		"its own owner": {
			parts: parts{pods: []*Pod{testPod("x", "Pod/x", 1)}},
			want:  []string{"Pod/x; Running ; 1/1; gpus 1 held 1; pods x"},
		},
	} {
		before := len(tc.parts.pods)
		works, _ := group(tc.parts, choice{plain: tc.plain})
		var got []string
		for _, w := range works {
			got = append(got, brief(w))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, _ := group(tc.parts, choice{plain: tc.plain})
		if diff := cmp.Diff(works, again, cmp.AllowUnexported(Pod{}, claimUse{})); diff != "" || len(tc.parts.pods) != before {
			t.Errorf("%s: grouping again differs:\n%s", name, diff)
		}
	}
}

func TestGroupDetails(t *testing.T) {
	done := func(j *batchv1.Job) {
		j.Annotations = map[string]string{kube.AnnotationAppliedBy: "ada"}
		j.Labels = map[string]string{"team": "a"}
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch.Add(time.Hour))}}
		j.Status.Succeeded = 1
	}
	p := parts{
		roots: []*root{testJob("done", "CronJob/nightly", 1, done), testJob("other", "", 1)},
		pods:  []*Pod{testPod("done-x", "Job/done", 1, ends(0, `{"metrics":{"rmse":12.5}}`))},
	}
	works, _ := group(p, choice{selector: labels.SelectorFromSet(labels.Set{"team": "a"})})
	if len(works) != 1 {
		t.Fatalf("%d works with the label", len(works))
	}
	w := works[0]
	if w.Metrics["rmse"] != 12.5 || w.By != "ada" || w.Owner == nil || w.Owner.Name != "nightly" || w.Owner.Kind != "CronJob" || w.Ready != 1 || w.Finished == nil {
		t.Errorf("work %+v", w)
	}
	if w.Progress != nil {
		t.Errorf("completions are no progress of the training: %+v", w.Progress)
	}

	restarted := kindFor(t, fixtures(t, "kinds/jobset.yaml")[0]).decode(fixtures(t, "kinds/jobset.yaml")[0])
	crashed := func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: 2}}
	}
	if works, _ := group(parts{roots: []*root{bareRoot("TrainJob/t", ""), restarted}, pods: []*Pod{testPod("a", "", 1, crashed)}}, choice{}); works[1].Restarts != 1 || works[0].Restarts != 2 {
		t.Errorf("restarts %d %d", works[0].Restarts, works[1].Restarts)
	}

	nodes := []*Node{{Name: "n1", Product: "H100", Total: 8}, {Name: "n2", Product: "A100", Total: 8}}
	onTwo := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	works, got := group(parts{pods: []*Pod{testPod("a", "PyTorchJob/a", 2, onTwo("n1")), testPod("b", "PyTorchJob/a", 2, onTwo("n2"))}, others: []*Pod{testPod("c", "", 3, onTwo("n2"))}, nodes: nodes}, choice{})
	if len(works) != 1 || works[0].Product != "A100,H100" || !slices.Equal(works[0].Nodes, []string{"n1", "n2"}) {
		t.Errorf("works %+v", works[0])
	}
	if got[0].Used != 2 || got[1].Used != 5 || got[1].Free() != 3 || nodes[1].Used != 0 {
		t.Errorf("nodes %+v %+v", got[0], got[1])
	}
	if _, got = group(parts{nodes: nodes, unseen: true}, choice{}); got[0].Used != Unknown || got[0].Free() != Unknown {
		t.Errorf("used %d although pods are unseen", got[0].Used)
	}
}

// TestLeaderWorkerSet climbs from a worker over its group's StatefulSet and leader to the set.
func TestLeaderWorkerSet(t *testing.T) {
	u := fixtures(t, "kinds/others.yaml")[3]
	if u.GetName() != "plain" {
		t.Fatal(u.GetName())
	}
	set := kindFor(t, u).decode(u)
	set.UID = "LeaderWorkerSet/plain"
	index := func(worker string) func(*corev1.Pod) {
		return labeled("leaderworkerset.sigs.k8s.io/worker-index", worker, "leaderworkerset.sigs.k8s.io/group-index", "0")
	}
	works, _ := group(parts{
		roots: []*root{set, bareRoot("StatefulSet/plain", "LeaderWorkerSet/plain"), bareRoot("StatefulSet/plain-0", "Pod/plain-0")},
		pods:  []*Pod{testPod("plain-0-1", "StatefulSet/plain-0", 8, index("1")), testPod("plain-0", "StatefulSet/plain", 8, index("0"))},
	}, choice{})
	if len(works) != 1 || brief(works[0]) != "LeaderWorkerSet/plain; Running ; 2/2; gpus 16 held 16; pods plain-0 plain-0-1" {
		t.Fatalf("works %v", works)
	}
	if p := works[0].Pods; p[0].Role != "leader" || p[1].Role != "worker" || p[1].Rank != 1 {
		t.Errorf("roles %s %s, rank %d", p[0].Role, p[1].Role, p[1].Rank)
	}
}

func TestMissing(t *testing.T) {
	p := parts{
		roots: []*root{bareRoot("ReplicaSet/r", "Deployment/d")},
		pods: []*Pod{
			testPod("a", "ReplicaSet/r", 1), testPod("b", "ReplicaSet/unknown", 1), testPod("c", "StatefulSet/s", 0), testPod("d", "CronJob/c", 1), testPod("e", "", 1), testPod("f", "Deployment/d", 1),
		},
	}
	var got []string
	for _, r := range p.missing() {
		got = append(got, r.APIVersion+" "+r.Kind)
	}
	slices.Sort(got)
	if want := []string{"apps/v1 Deployment", "apps/v1 ReplicaSet"}; !slices.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
}

func TestRoles(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"worker": {"training.kubeflow.org/replica-type": "worker", "training.kubeflow.org/job-role": "master"}, "launcher": {"training.kubeflow.org/job-role": "launcher"},
		"gpu": {"ray.io/node-type": "worker", "ray.io/group": "gpu"}, "head": {"ray.io/node-type": "head"}, "workers": {"jobset.sigs.k8s.io/replicatedjob-name": "workers"},
		"ps": {"volcano.sh/task-spec": "ps"}, "leader": {"leaderworkerset.sigs.k8s.io/worker-index": "0"}, "": {"app": "x"},
	} {
		if got := roleOf(labels); got != want {
			t.Errorf("%v: %q, want %q", labels, got, want)
		}
	}
}

func TestQueues(t *testing.T) {
	for want, p := range map[string]corev1.Pod{
		"kueue":  {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"kueue.x-k8s.io/queue-name": "kueue", "queue": "no"}}},
		"gold":   {ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"scheduling.volcano.sh/queue-name": "gold"}}},
		"kai":    {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"kai.scheduler/queue": "kai"}}},
		"root.a": {ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"queue": "root.a"}}},
		"":       {},
	} {
		if got := decodePod(&p).Queue; got != want {
			t.Errorf("queue %q, want %q", got, want)
		}
	}
}

func TestEmptyObjects(t *testing.T) {
	p := parts{
		roots: []*root{decodeJob(&batchv1.Job{}), decodeOwner(&metav1.PartialObjectMetadata{}, "", "")},
		pods:  []*Pod{decodePod(&corev1.Pod{}), decodePod(&corev1.Pod{Spec: corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}, ResourceClaims: []corev1.PodResourceClaim{{}}}})},
		nodes: []*Node{decodeNode(&corev1.Node{})},
		dra:   []*dra{{}},
	}
	works, nodes := group(p, choice{plain: true})
	if len(nodes) != 0 {
		t.Errorf("nodes %v", nodes)
	}
	for _, w := range works {
		if w.State != job.Pending {
			t.Errorf("work %s", brief(w))
		}
	}
}
