package job

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

func ptr[T any](v T) *T { return &v }

func jobWith(conditions ...batchv1.JobCondition) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "train", Namespace: "ns", UID: "1"}}
	for i := range conditions {
		conditions[i].Status = corev1.ConditionTrue
		conditions[i].LastTransitionTime = metav1.NewTime(t0.Add(time.Hour))
	}
	j.Status.Conditions = conditions
	return j
}

func rank(p *corev1.Pod, n string, finished time.Duration) *corev1.Pod {
	return with(p, func(p *corev1.Pod) {
		p.Name = "train-" + n
		p.Annotations["batch.kubernetes.io/job-completion-index"] = n
		if t := p.Status.ContainerStatuses[0].State.Terminated; t != nil {
			t.FinishedAt = metav1.NewTime(t0.Add(finished))
		}
	})
}

func TestDecodeJob(t *testing.T) {
	unschedulable := with(pod("a", -1), func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
		}}
	})
	backoff := batchv1.JobCondition{Type: batchv1.JobFailed, Reason: batchv1.JobReasonBackoffLimitExceeded, Message: "Job has reached the specified backoff limit"}
	edit := func(j *batchv1.Job, change func(*batchv1.Job)) *batchv1.Job { change(j); return j }
	for name, tc := range map[string]struct {
		job        *batchv1.Job
		pods       []*corev1.Pod
		state, why string
	}{
		"complete":     {jobWith(batchv1.JobCondition{Type: batchv1.JobComplete}), []*corev1.Pod{exited(0, "", "")}, Succeeded, ""},
		"criteria met": {jobWith(batchv1.JobCondition{Type: batchv1.JobSuccessCriteriaMet}), []*corev1.Pod{running(pod("a", 1))}, Succeeded, ""},
		"deadline": {
			jobWith(batchv1.JobCondition{Type: batchv1.JobFailed, Reason: batchv1.JobReasonDeadlineExceeded, Message: "Job was active longer than specified deadline"}),
			[]*corev1.Pod{exited(143, "Error", "")}, Failed, "DeadlineExceeded: Job was active longer than specified deadline",
		},
		"policy": {
			jobWith(batchv1.JobCondition{Type: batchv1.JobFailed, Reason: batchv1.JobReasonPodFailurePolicy, Message: "Container main for pod ns/a failed with exit code 42"}),
			[]*corev1.Pod{exited(42, "Error", "")}, Failed, "PodFailurePolicy: Container main for pod ns/a failed with exit code 42",
		},
		"out of memory":     {jobWith(backoff), []*corev1.Pod{exited(137, "OOMKilled", "")}, Failed, "OOMKilled: exit code 137: out of memory: the container used more than its memory limit"},
		"pods are gone":     {jobWith(backoff), nil, Failed, "BackoffLimitExceeded: Job has reached the specified backoff limit"},
		"target of failure": {jobWith(batchv1.JobCondition{Type: batchv1.JobFailureTarget, Reason: "x", Message: "y"}), nil, Failed, "x: y"},
		"first rank": {
			edit(jobWith(backoff), func(j *batchv1.Job) {
				j.Spec.CompletionMode = ptr(batchv1.IndexedCompletion)
				j.Status.Failed = 3
			}),
			[]*corev1.Pod{rank(exited(143, "Error", ""), "0", time.Second), rank(exited(1, "Error", ""), "1", 3*time.Second), rank(exited(134, "Error", ""), "2", 2*time.Second)},
			Failed, "Error: rank 2: exit code 134: SIGABRT, aborted by itself (failed assertion, or an error in native code such as CUDA or NCCL) (3 pods failed)",
		},
		"suspended": {edit(jobWith(), func(j *batchv1.Job) { j.Spec.Suspend = ptr(true) }), nil, Suspended, "Suspended: suspended; it starts when spec.suspend is false"},
		"queued": {edit(jobWith(), func(j *batchv1.Job) {
			j.Spec.Suspend = ptr(true)
			j.Labels = map[string]string{kube.LabelQueue: "team"}
		}), nil, Suspended, "Queued: waits in queue team for quota"},
		"no pods":       {jobWith(), nil, Pending, "NoPods: no pod was made yet; if it stays so, see the events of the Job (quota, admission)"},
		"managed":       {edit(jobWith(), func(j *batchv1.Job) { j.Spec.ManagedBy = ptr("kueue.x-k8s.io/multikueue") }), nil, Pending, "ManagedBy: run by kueue.x-k8s.io/multikueue, not by the cluster's own controller"},
		"unschedulable": {jobWith(), []*corev1.Pod{unschedulable}, Pending, "Unschedulable: 0/5 nodes are available: 5 Insufficient nvidia.com/gpu."},
		"one of two":    {jobWith(), []*corev1.Pod{running(pod("b", -1)), unschedulable}, Running, "Unschedulable: 0/5 nodes are available: 5 Insufficient nvidia.com/gpu. (1 of 2 pods wait)"},
		"just made":     {jobWith(), []*corev1.Pod{waitingFor("ContainerCreating", ""), waitingFor("ContainerCreating", "")}, Pending, "ContainerCreating: 2 of 2 pods wait"},
		"running":       {jobWith(), []*corev1.Pod{running(pod("b", -1))}, Running, ""},
		"goes": {jobWith(), []*corev1.Pod{with(running(pod("b", -1)), func(p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: t0}
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		})}, Running, "Deleted: the pod is being deleted"},
		"gone before it ran": {jobWith(), []*corev1.Pod{with(pod("b", -1), func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: t0} })}, Pending, ""},
		"not counted":        {jobWith(), []*corev1.Pod{exited(0, "Completed", "")}, Running, ""},
		"unseen pods":        {edit(jobWith(), func(j *batchv1.Job) { j.Status.Ready = ptr(int32(1)); j.Status.Active = 1 }), nil, Running, ""},
		"retrying": {
			edit(jobWith(), func(j *batchv1.Job) { j.Status.Failed = 1 }), []*corev1.Pod{exited(1, "Error", "")},
			Pending, "Retrying: 1 failed, the next pod starts after a back-off; last: Error: exit code 1: general error, see its log",
		},
	} {
		f := DecodeJob(tc.job, tc.pods)
		if f.State != tc.state || f.Why() != tc.why {
			t.Errorf("%s: %s, %q\nwant %s, %q", name, f.State, f.Why(), tc.state, tc.why)
		}
		if f.Final() != (f.Finished != nil) {
			t.Errorf("%s: finished at %v", name, f.Finished)
		}
	}
}

func TestDecodeJobSizes(t *testing.T) {
	for _, tc := range []struct {
		completions, parallelism *int32
		want                     [2]int32
	}{{nil, nil, [2]int32{1, 1}}, {ptr(int32(8)), ptr(int32(4)), [2]int32{8, 4}}, {nil, ptr(int32(4)), [2]int32{0, 4}}} {
		j := jobWith()
		j.Spec.Completions, j.Spec.Parallelism = tc.completions, tc.parallelism
		if f := DecodeJob(j, nil); [2]int32{f.Completions, f.Parallelism} != tc.want {
			t.Errorf("sizes %d %d, want %v", f.Completions, f.Parallelism, tc.want)
		}
	}
}

func TestJobResult(t *testing.T) {
	f := DecodeJob(jobWith(batchv1.JobCondition{Type: batchv1.JobComplete}), []*corev1.Pod{
		rank(exited(0, "", "one"), "1", time.Second), rank(exited(0, "", "zero"), "0", time.Second), rank(exited(0, "", "zero again"), "0", time.Minute),
	})
	if got := f.Result(); got != "zero again" {
		t.Errorf("result %q", got)
	}
	if f.Pods[0].Rank != 0 || f.Pods[2].Rank != 1 {
		t.Errorf("pods are not ordered by rank: %+v", f.Pods)
	}
	if got := (JobFact{}).Result(); got != "" {
		t.Errorf("result of nothing: %q", got)
	}
}
