package job

import (
	"cmp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// JobFact is the state of one Job, from it and its pods.
type JobFact struct {
	Name, Namespace, UID string
	// State is Suspended, Pending, Running, Succeeded or Failed. A Job whose outcome is decided while
	// its last pods still end is Succeeded or Failed already.
	State string
	// Reason is one word on why it waits or failed; Message explains it. Both are empty when all is well.
	Reason, Message string
	// Active, Succeeded and Failed count pods, as the Job's status does.
	Active, Succeeded, Failed int32
	// Completions is how many pods must succeed, 0 when one success ends it all (a work queue). Parallelism is how many run at once.
	Completions, Parallelism int32
	// Indexed says that each pod has a rank.
	Indexed           bool
	Created           time.Time
	Started, Finished *time.Time
	// Pods are ordered by rank, then by age.
	Pods []PodFact

	verdict Verdict
}

// Final says whether the Job's outcome is decided.
func (f JobFact) Final() bool { return f.State == Succeeded || f.State == Failed }

// Why is Reason and Message as one text; empty when all is well.
func (f JobFact) Why() string { return why(f.Reason, f.Message) }

// GPUs sums the accelerators of the pods that hold theirs.
func (f JobFact) GPUs() int64 {
	var n int64
	for i := range f.Pods {
		if !f.Pods[i].Final() && f.Pods[i].Node != "" {
			n += f.Pods[i].GPUs
		}
	}
	return n
}

// FirstFailure is the pod that failed first, see the function of that name.
func (f JobFact) FirstFailure() (PodFact, bool) {
	if p := FirstFailure(pointers(f.Pods)); p != nil {
		return *p, true
	}
	return PodFact{}, false
}

// Result is the termination message of the pod that speaks for the Job, see the function of that name.
func (f JobFact) Result() string { return Result(pointers(f.Pods)) }

// Judge joins the Job with its pods: the state, and why it waits or failed.
func (f JobFact) Judge(pods []*PodFact) (state, reason, message string) { return f.verdict.Judge(pods) }

// DecodeJob reads a Job and the pods that it owns.
func DecodeJob(j *batchv1.Job, pods []*corev1.Pod) JobFact {
	f := ReadJob(j)
	f.Pods = make([]PodFact, 0, len(pods))
	for _, p := range pods {
		f.Pods = append(f.Pods, DecodePod(p))
	}
	slices.SortStableFunc(f.Pods, func(a, b PodFact) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	f.State, f.Reason, f.Message = f.Judge(pointers(f.Pods))
	return f
}

// ReadJob reads a Job without its pods. State, Reason and Message are as Judge finds them without any.
func ReadJob(j *batchv1.Job) JobFact {
	f := JobFact{
		Name: j.Name, Namespace: j.Namespace, UID: string(j.UID), Created: j.CreationTimestamp.Time,
		Active: j.Status.Active, Succeeded: j.Status.Succeeded, Failed: j.Status.Failed,
		Indexed: j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion,
	}
	f.Completions, f.Parallelism = sizes(j)
	if j.Status.StartTime != nil {
		f.Started = timeOf(*j.Status.StartTime)
	}
	f.verdict = Verdict{Kind: "Job", Ranked: f.Indexed, Active: f.Active, Failed: f.Failed}
	if !f.outcome(j) {
		f.verdict.open(j)
	}
	f.State, f.Reason, f.Message = f.Judge(nil)
	return f
}

// sizes are completions and parallelism with the API's defaults.
func sizes(j *batchv1.Job) (completions, parallelism int32) {
	parallelism = 1
	if j.Spec.Parallelism != nil {
		parallelism = *j.Spec.Parallelism
	}
	switch {
	case j.Spec.Completions != nil:
		return *j.Spec.Completions, parallelism
	case j.Spec.Parallelism == nil:
		return 1, parallelism
	}
	return 0, parallelism
}

// outcome reads the conditions that decide a Job.
func (f *JobFact) outcome(j *batchv1.Job) bool {
	var good, bad *batchv1.JobCondition
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete, batchv1.JobSuccessCriteriaMet:
			good = c
		case batchv1.JobFailed, batchv1.JobFailureTarget:
			if bad == nil || c.Type == batchv1.JobFailed {
				bad = c
			}
		}
	}
	v := &f.verdict
	switch {
	case bad != nil:
		f.Finished = timeOf(bad.LastTransitionTime)
		v.State, v.Reason, v.Message = Failed, bad.Reason, bad.Message
		v.Firm = bad.Reason == batchv1.JobReasonDeadlineExceeded || bad.Reason == batchv1.JobReasonPodFailurePolicy
	case good != nil:
		v.State = Succeeded
		f.Finished = timeOf(good.LastTransitionTime)
		if j.Status.CompletionTime != nil {
			f.Finished = timeOf(*j.Status.CompletionTime)
		}
	default:
		return false
	}
	return true
}

// open reads what a Job that is not decided says of itself.
func (v *Verdict) open(j *batchv1.Job) {
	switch {
	case j.Spec.Suspend != nil && *j.Spec.Suspend:
		v.State, v.Reason, v.Message = Suspended, Suspended, "suspended; it starts when spec.suspend is false"
		if queue := j.Labels[kube.LabelQueue]; queue != "" {
			v.Reason, v.Message = "Queued", "waits in queue "+queue+" for quota"
		}
	case j.Spec.ManagedBy != nil && *j.Spec.ManagedBy != batchv1.JobControllerName:
		v.Reason, v.Message = "ManagedBy", "run by "+*j.Spec.ManagedBy+", not by the cluster's own controller"
	}
	if v.State == "" && j.Status.Ready != nil && *j.Status.Ready > 0 {
		v.State = Running
	}
}
