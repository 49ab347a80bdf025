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
	// always lists it even without accelerators; below says that what it owns tells its demand better.
	always, below bool
	// driver is a Job of ours that advances a run: no training work.
	driver  bool
	verdict interface {
		Judge([]*job.PodFact) (state, reason, message string)
	}
	demand demand
	// want is how many pods there should be, Unknown where demand or the pods tell; done how many have succeeded.
	want, done          int64
	queue, priority, by string
	progress            *job.Progress
	created             time.Time
	started, finished   *time.Time
	// bare says that only metadata is known.
	bare bool
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
	if c := int64(f.Completions); c > 0 {
		n, r.want = min(n, c), c
	} else {
		r.want = n
	}
	r.done = int64(f.Succeeded)
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
	n := r.scale(d.Spec.Replicas)
	v := serving("Deployment", n)
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue,
			c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && v.Reason == "":
			v.Reason, v.Message, v.Firm = c.Reason, c.Message, true
		}
	}
	r.verdict = v
	r.ask(&d.Spec.Template, n)
	return r
}

// decodeStatefulSet reads a StatefulSet.
func decodeStatefulSet(s *appsv1.StatefulSet) *root {
	r := rootOf(s, "apps/v1", "StatefulSet")
	n := r.scale(s.Spec.Replicas)
	r.verdict = serving("StatefulSet", n)
	r.ask(&s.Spec.Template, n)
	return r
}

func (r *root) scale(replicas *int32) int64 {
	r.want = 1
	if replicas != nil {
		r.want = int64(*replicas)
	}
	return r.want
}

// serving is the verdict of what never ends.
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
	r.started, r.finished = moment(o, k.started), moment(o, k.finished)
	if k.done != "" {
		for _, n := range at(o, k.done) {
			r.done += whole(n, "", 0)
		}
	}
	v := k.verdict(o)
	r.verdict = v
	if v.State != job.Succeeded && v.State != job.Failed {
		r.finished = nil
	}
	return r
}

// verdict reads what an object says of its own state.
func (k *kind) verdict(o map[string]any) job.Verdict {
	v := job.Verdict{Kind: k.kind}
	if word := text(o, k.phase); word != "" {
		v.State, v.Reason, v.Message = k.phases[word], orElse(text(o, k.reason), word), text(o, k.message)
		if v.State == job.Running && v.Message == "" {
			v.Reason = ""
		}
	}
	found := conditionsOf(o)
	for _, m := range k.conditions {
		c, ok := found[m.condition]
		if !ok || c.status != orElse(m.is, "True") {
			continue
		}
		v.State, v.Reason, v.Message, v.Firm = m.state, orElse(c.reason, m.condition), c.message, m.firm
		if v.State == job.Running {
			v.Reason, v.Message = "", ""
		}
		break
	}
	if v.State == "" && truth(o, k.suspend) {
		v.State, v.Reason, v.Message = job.Suspended, job.Suspended, "suspended; it starts when "+k.suspend+" is false"
	}
	return v
}

// decodeOwner reads an object of which only the metadata is known; k is its kind.
func decodeOwner(o *metav1.PartialObjectMetadata, apiVersion, kindName string) *root {
	r := rootOf(o, apiVersion, kindName)
	r.bare, r.below = true, true
	r.verdict = job.Verdict{Kind: kindName}
	r.demand.pods = Unknown
	return r
}
