package diagnose

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Evidence is what is known of one piece of work. Every part but Work may be missing; what is missing for want of a
// right is said in Unknown.
type Evidence struct {
	Now time.Time
	// Work is the piece of work as lists show it.
	Work *fleet.Work
	// Job is the Job that makes the pods: the root, or one below it.
	Job *batchv1.Job
	// CronJob is the root when that is one.
	CronJob *batchv1.CronJob
	// Root is a root of another kind.
	Root *unstructured.Unstructured
	// Pods are the work's pods; of a large work, those that tell something.
	Pods []*corev1.Pod
	// Template is what the work makes its pods of, where they do not exist yet.
	Template *corev1.PodSpec
	// Events of the work, of its pods and of what they wait for, oldest first.
	Events []fleet.Event
	// Cluster is nil when the nodes could not be read.
	Cluster *Cluster
	// Quotas and Limits are those of the work's namespace.
	Quotas []corev1.ResourceQuota
	Limits []corev1.LimitRange
	// Claims are the work's PersistentVolumeClaims by name.
	Claims map[string]Claim
	// Exists tells of objects that pods refer to, such as secret/token, whether they are there; what is not in it is unknown.
	Exists map[string]bool
	Kueue  *Kueue
	Gangs  []Gang
	// Logs are the ends of logs of containers that failed, that of the first failure first.
	Logs []Log
	// Unknown is what could not be looked at; minor is too, of what matters only where nothing else explains the wait.
	Unknown []string
	minor   []string
}

// Claim is a PersistentVolumeClaim and what it depends on.
type Claim struct {
	// Claim is nil when there is none of that name.
	Claim *corev1.PersistentVolumeClaim
	// Class is the StorageClass that it names; nil when there is none of that name, or ClassUnknown.
	Class        *storagev1.StorageClass
	ClassUnknown bool
	// Volume is what it is bound to; nil when unbound or unknown.
	Volume *corev1.PersistentVolume
	// Free are the volumes of its class that nobody has claimed; nil when unknown.
	Free []*corev1.PersistentVolume
	// UsedBy are running pods of others that mount it, with their nodes.
	UsedBy []*corev1.Pod
}

// Log is the end of one container's log.
type Log struct {
	Pod, Container string
	// Rank is the pod's completion index, -1 without one.
	Rank int
	// Previous says that the lines are of the instance before the last restart.
	Previous bool
	// Lines are sanitized.
	Lines []string
}

// pending are the pods that have not started, oldest first.
func (e *Evidence) pending() []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range e.Pods {
		if (p.Status.Phase == corev1.PodPending || p.Status.Phase == "") && p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out
}

// unscheduled are the pending pods without a node.
func (e *Evidence) unscheduled() []*corev1.Pod {
	return slices.DeleteFunc(e.pending(), func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
}

// spec is what a pod of the work is made of: of one that waits before others.
func (e *Evidence) spec() *corev1.PodSpec {
	if waits := e.pending(); len(waits) > 0 {
		return &waits[0].Spec
	}
	if len(e.Pods) > 0 {
		return &e.Pods[0].Spec
	}
	return e.Template
}

// last is the newest event with one of the reasons, and whether there is one.
func (e *Evidence) last(reasons ...string) (fleet.Event, bool) {
	for _, ev := range slices.Backward(e.Events) {
		if slices.Contains(reasons, ev.Reason) {
			return ev, true
		}
	}
	return fleet.Event{}, false
}

// about are the events of one object, such as pod/train-x-0, oldest first.
func (e *Evidence) about(object string, reasons ...string) []fleet.Event {
	var out []fleet.Event
	for _, ev := range e.Events {
		if ev.Object == object && (len(reasons) == 0 || slices.Contains(reasons, ev.Reason)) {
			out = append(out, ev)
		}
	}
	return out
}

// eventLine is an event as evidence: who said what, when and how often.
func (e *Evidence) eventLine(ev fleet.Event) string {
	who := ev.Object
	if ev.From != "" {
		who = ev.From + " of " + ev.Object
	}
	seen := ""
	if !ev.Last.IsZero() {
		seen = ", " + age(e.Now.Sub(ev.Last)) + " ago"
	}
	if ev.Count > 1 {
		seen += ", " + count(int64(ev.Count), "time", "times")
	}
	return who + " (" + ev.Reason + seen + "): " + strings.TrimSpace(ev.Message)
}

func podCondition(p *corev1.Pod, kind corev1.PodConditionType) (corev1.PodCondition, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return corev1.PodCondition{}, false
}

// statuses are those of all containers, init containers first.
func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
}
