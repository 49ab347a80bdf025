package fleet

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// root is what a fleet keeps of an object that owns pods, directly or through others. It is never changed once decoded.
type root struct {
	Ref
	// owner is its controller; Kind is empty when it has none.
	owner  Ref
	labels map[string]string
	// always lists it even without accelerators; below says that what it made tells its demand better.
	always, below bool
	// driver is a Job of ours that advances a run: no training work.
	driver bool
	// bare says that only its metadata is known.
	bare    bool
	verdict interface {
		Judge([]*job.PodFact) (state, reason, message string)
	}
	demand demand
	// want is how many pods there should be, Unknown where demand or the pods tell; done how many have succeeded, and
	// ready how many are, as the owner counts them. restarts counts those of all pods at once.
	want, done, ready   int64
	restarts            int32
	queue, priority, by string
	progress            *job.Progress
	created             time.Time
	started, finished   *time.Time
}

// rootOf reads what all objects have.
func rootOf(o metav1.Object, apiVersion, kindName string) *root {
	labels, notes := o.GetLabels(), o.GetAnnotations()
	return &root{
		Ref:   Ref{APIVersion: apiVersion, Kind: kindName, Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID())},
		owner: controllerOf(o), labels: labels, driver: labels[kube.LabelDriver] == "true",
		queue: mark(queueMarks(), labels, notes), by: mark(byMarks(), notes, labels),
		want: Unknown, created: o.GetCreationTimestamp().Time,
	}
}

// decodeJob reads a Job.
func decodeJob(j *batchv1.Job) *root {
	r := rootOf(j, "batch/v1", "Job")
	f := job.ReadJob(j)
	r.verdict, r.started, r.finished = f, f.Started, f.Finished
	r.always = r.labels[kube.LabelManagedBy] == kube.ManagedBy && !r.driver
	n := int64(f.Parallelism)
	if r.want = n; f.Completions > 0 {
		r.want = int64(f.Completions)
		n = min(n, r.want)
	}
	r.done = int64(f.Succeeded)
	if j.Status.Ready != nil {
		r.ready = int64(*j.Status.Ready)
	}
	r.ask(&j.Spec.Template, n)
	return r
}

// ask sets the demand to that of n pods of a template.
func (r *root) ask(t *corev1.PodTemplateSpec, n int64) {
	r.demand = demandOf(&t.Spec, max(n, 0))
	r.priority = r.demand.priority
	r.queue = orElse(r.queue, mark(queueMarks(), t.Labels, t.Annotations))
}

// decodeDeployment reads a Deployment.
func decodeDeployment(d *appsv1.Deployment) *root {
	r := rootOf(d, "apps/v1", "Deployment")
	v := r.serve(d.Spec.Replicas)
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue,
			c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && v.Reason == "":
			v.Reason, v.Message, v.Firm = c.Reason, c.Message, true
		}
	}
	r.verdict, r.ready = v, int64(d.Status.ReadyReplicas)
	r.ask(&d.Spec.Template, r.want)
	return r
}

// decodeStatefulSet reads a StatefulSet.
func decodeStatefulSet(s *appsv1.StatefulSet) *root {
	r := rootOf(s, "apps/v1", "StatefulSet")
	r.verdict, r.ready = r.serve(s.Spec.Replicas), int64(s.Status.ReadyReplicas)
	r.ask(&s.Spec.Template, r.want)
	return r
}

// serve sets how many pods there should be of what never ends, and gives its verdict.
func (r *root) serve(replicas *int32) job.Verdict {
	r.want = 1
	if replicas != nil {
		r.want = int64(*replicas)
	}
	return serving(r.Kind, r.want)
}

// serving is the verdict on what never ends.
func serving(kindName string, replicas int64) job.Verdict {
	if replicas == 0 {
		return job.Verdict{Kind: kindName, State: job.Suspended, Reason: "ScaledToZero", Message: "spec.replicas is 0"}
	}
	return job.Verdict{Kind: kindName}
}

// decode reads an object of a kind of the table.
func (k *kind) decode(u *unstructured.Unstructured) *root {
	o := u.Object
	r := rootOf(u, u.GetAPIVersion(), u.GetKind())
	r.always, r.below = k.always, k.below
	r.queue = orElse(r.queue, text(o, k.queue))
	r.demand = k.demand(o)
	r.priority = orElse(text(o, k.priority), r.demand.priority)
	for _, n := range at(o, orElse(k.done, "-")) {
		r.done += whole(n, "", 0)
	}
	if k.restarts != "" {
		r.restarts = int32(whole(o, k.restarts, 0)) //nolint:gosec // bounded by whole
	}
	v, when := k.verdict(o, r.labels)
	r.verdict, r.started = v, moment(o, k.started)
	if v.State == job.Succeeded || v.State == job.Failed {
		if r.finished = moment(o, k.finished); r.finished == nil {
			r.finished = when
		}
	}
	r.progress = trainerProgress(o, k.progress)
	return r
}

// verdict reads what an object says of its own state, and since when.
func (k *kind) verdict(o map[string]any, labels map[string]string) (v job.Verdict, since *time.Time) {
	v = job.Verdict{Kind: k.kind}
	if k.replicas != "" && whole(o, k.replicas, 1) == 0 {
		return serving(k.kind, 0), nil
	}
	found := conditionsOf(o)
	for _, m := range k.meanings {
		c, ok := m.holds(o, found)
		if !ok {
			continue
		}
		if v.State, since = m.state, c.at; m.state != job.Running {
			v.Reason, v.Message, v.Firm = orElse(text(o, k.reason), c.reason), orElse(text(o, k.message), c.message), m.firm || firmReason(c.reason)
		}
		break
	}
	if v.State != job.Succeeded && v.State != job.Failed && (truth(o, k.suspend) || v.State == job.Suspended) {
		v.State = job.Suspended
		v.Reason, v.Message = orElse(v.Reason, job.Suspended), orElse(v.Message, "suspended; it starts when "+k.suspend+" is false")
		if queue := labels[kube.LabelQueue]; queue != "" {
			v.Reason, v.Message = "Queued", "waits in queue "+queue+" for quota"
		}
	}
	return v, since
}

// firmReason tells the reasons of a failure that are limits and not what became of pods.
func firmReason(reason string) bool {
	switch reason {
	case "DeadlineExceeded", "PreRunningDeadlineExceeded", "ValidationFailed", "SubmissionFailed", "TrainingRuntimeNotSupported":
		return true
	}
	return false
}

// holds says whether the meaning applies, and what is said with it.
func (m *meaning) holds(o map[string]any, found map[string]status) (status, bool) {
	if m.condition != "" {
		c, ok := found[m.condition]
		c.reason = orElse(c.reason, m.condition)
		return c, ok && c.is == "True"
	}
	word := text(o, m.path)
	for _, w := range m.words {
		if w == word {
			c := found[m.why]
			c.reason = orElse(c.reason, word)
			return c, true
		}
	}
	return status{}, false
}

// sourceTrainJob is the source of a progress that the status of a TrainJob tells.
const sourceTrainJob = "trainjob"

// trainerProgress is what a TrainJob's trainer reports (trainerStatus of the Kubeflow Trainer); nil when nothing.
func trainerProgress(o map[string]any, path string) *job.Progress {
	found := at(o, path)
	if path == "" || len(found) == 0 {
		return nil
	}
	p := job.Progress{Step: job.Unknown, Total: job.Unknown, Percent: job.Unknown, Epoch: job.Unknown, Epochs: job.Unknown, Source: sourceTrainJob}
	if percent, ok := number(found[0], "progressPercentage"); ok && percent >= 0 && percent <= 100 {
		p.Percent = percent
	}
	if left, ok := number(found[0], "estimatedRemainingSeconds"); ok && left >= 0 {
		p.Remaining = time.Duration(min(left, 1e9)) * time.Second
	}
	for _, m := range at(found[0], "metrics.*") {
		name := text(m, "name")
		v, ok := number(m, "value")
		if _, had := p.Metrics[name]; name == "" || had || !ok || v-v != 0 { // not finite
			continue
		}
		if p.Metrics == nil {
			p.Metrics = map[string]float64{}
		}
		p.Metrics[name] = v
		p.Names = append(p.Names, name)
	}
	if t := moment(found[0], "lastUpdatedTime"); t != nil {
		p.At = *t
	}
	if p.Percent == job.Unknown && p.Metrics == nil {
		return nil
	}
	return &p
}

// decodeOwner reads an object of which only the metadata is wanted.
func decodeOwner(o *metav1.PartialObjectMetadata, apiVersion, kindName string) *root {
	r := rootOf(o, apiVersion, kindName)
	r.bare, r.below = true, true
	r.verdict = job.Verdict{Kind: kindName}
	r.demand.pods = Unknown
	return r
}
