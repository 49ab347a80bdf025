package job

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// labelQueue is Kueue's label of the local queue that a Job waits in.
const labelQueue = "kueue.x-k8s.io/queue-name"

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

// FirstFailure is the pod that failed first: in a distributed job, the rank that the others died of. The pods that
// were merely stopped (SIGTERM, or deleted) come after those that failed by themselves.
func (f JobFact) FirstFailure() (PodFact, bool) {
	best := -1
	for i := range f.Pods {
		if f.Pods[i].State == Failed && (best < 0 || earlier(&f.Pods[i], &f.Pods[best])) {
			best = i
		}
	}
	if best < 0 {
		return PodFact{}, false
	}
	return f.Pods[best], true
}

// earlier orders failures by how likely they are the cause.
func earlier(a, b *PodFact) bool {
	if as, bs := a.Signal == 15, b.Signal == 15; as != bs {
		return bs
	}
	if a.Finished == nil || b.Finished == nil {
		return a.Finished != nil
	}
	if !a.Finished.Equal(*b.Finished) {
		return a.Finished.Before(*b.Finished)
	}
	return a.Rank >= 0 && (b.Rank < 0 || a.Rank < b.Rank)
}

// Result is the termination message of the pod that speaks for the Job: the last to succeed of rank 0, or of those
// without a rank; empty when none succeeded with a message.
func (f JobFact) Result() string {
	best := -1
	for i := range f.Pods {
		p := &f.Pods[i]
		if p.State != Succeeded || p.Result == "" {
			continue
		}
		if best < 0 || p.Rank == f.Pods[best].Rank && p.Finished != nil && f.Pods[best].Finished != nil && p.Finished.After(*f.Pods[best].Finished) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return f.Pods[best].Result
}

// DecodeJob reads a Job and the pods that it owns.
func DecodeJob(j *batchv1.Job, pods []*corev1.Pod) JobFact {
	f := JobFact{
		Name: j.Name, Namespace: j.Namespace, UID: string(j.UID), Created: j.CreationTimestamp.Time,
		Active: j.Status.Active, Succeeded: j.Status.Succeeded, Failed: j.Status.Failed,
		Indexed: j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion,
	}
	f.Completions, f.Parallelism = sizes(j)
	if j.Status.StartTime != nil {
		f.Started = timeOf(*j.Status.StartTime)
	}
	f.Pods = make([]PodFact, 0, len(pods))
	for _, p := range pods {
		f.Pods = append(f.Pods, DecodePod(p))
	}
	slices.SortStableFunc(f.Pods, func(a, b PodFact) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	if f.outcome(j) {
		return f
	}
	f.progress(j)
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
	switch {
	case bad != nil:
		f.State = Failed
		f.Finished = timeOf(bad.LastTransitionTime)
		f.Reason, f.Message = f.failure(bad)
	case good != nil:
		f.State = Succeeded
		f.Finished = timeOf(good.LastTransitionTime)
		if j.Status.CompletionTime != nil {
			f.Finished = timeOf(*j.Status.CompletionTime)
		}
	default:
		return false
	}
	return true
}

// failure says why the Job failed. A limit of the Job's own (its deadline, its failure policy) is the cause; that it ran
// out of retries is not: then the pod that failed first tells.
func (f *JobFact) failure(c *batchv1.JobCondition) (reason, message string) {
	pod, ok := f.FirstFailure()
	if !ok || pod.Reason == "" {
		return orElse(c.Reason, Failed), c.Message
	}
	text := pod.Message
	if f.Indexed && pod.Rank >= 0 {
		text = fmt.Sprintf("rank %d: %s", pod.Rank, text)
	}
	switch c.Reason {
	case batchv1.JobReasonDeadlineExceeded, batchv1.JobReasonPodFailurePolicy:
		if c.Reason == batchv1.JobReasonPodFailurePolicy {
			return c.Reason, orElse(c.Message, why(pod.Reason, text))
		}
		return c.Reason, c.Message
	}
	if f.Failed > 1 {
		text = fmt.Sprintf("%s (%d pods failed)", text, f.Failed)
	}
	return pod.Reason, text
}

// progress tells a Job that is not decided: suspended, pending or running.
func (f *JobFact) progress(j *batchv1.Job) {
	if j.Spec.Suspend != nil && *j.Spec.Suspend {
		f.State, f.Reason, f.Message = Suspended, Suspended, "suspended; it starts when spec.suspend is false"
		if queue := j.Labels[labelQueue]; queue != "" {
			f.Reason, f.Message = "Queued", "waits in queue "+queue+" for quota"
		}
		return
	}
	f.State = Pending
	var waits *PodFact
	for i := range f.Pods {
		switch p := &f.Pods[i]; p.State {
		case Running:
			f.State = Running
			if p.Reason != "" && waits == nil { // a container of it crashes or waits
				waits = p
			}
		case Succeeded: // the controller has not counted it yet
			f.State = Running
		case Pending, StateLost:
			if waits == nil || waits.State == Running {
				waits = p
			}
		}
	}
	if len(f.Pods) == 0 && j.Status.Ready != nil && *j.Status.Ready > 0 {
		f.State = Running
	}
	switch {
	case waits != nil:
		f.Reason, f.Message = waits.Reason, waits.Message
		if n := f.count(Pending); n > 1 || f.State == Running && n > 0 {
			wait := fmt.Sprintf("%d of %d pods wait", n, f.count(Pending)+f.count(Running))
			if f.Message != "" {
				wait = f.Message + " (" + wait + ")"
			}
			f.Message = wait
		}
	case f.State == Running:
	case j.Spec.ManagedBy != nil && *j.Spec.ManagedBy != batchv1.JobControllerName:
		f.Reason, f.Message = "ManagedBy", "run by "+*j.Spec.ManagedBy+", not by the cluster's own controller"
	case f.Failed > 0:
		f.Reason, f.Message = "Retrying", fmt.Sprintf("%d failed, the next pod starts after a back-off", f.Failed)
		if pod, ok := f.FirstFailure(); ok && pod.Reason != "" {
			f.Message += "; last: " + pod.Why()
		}
	case len(f.Pods) == 0 && f.Active == 0:
		f.Reason, f.Message = "NoPods", "no pod was made yet; if it stays so, see the events of the Job (quota, admission)"
	}
}

func (f *JobFact) count(state string) int {
	n := 0
	for i := range f.Pods {
		if f.Pods[i].State == state {
			n++
		}
	}
	return n
}
