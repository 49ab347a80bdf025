package job

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// States of pods and Jobs.
const (
	Pending     = "Pending"
	Running     = "Running"
	Succeeded   = "Succeeded"
	Failed      = "Failed"
	Terminating = "Terminating" // pods only
	Suspended   = "Suspended"   // Jobs only
	StateLost   = "Unknown"     // pods only: the node does not answer
)

const (
	reasonOOM = "OOMKilled"
	// annotationDefaultContainer names the container that a pod's readers mean unless they say otherwise.
	annotationDefaultContainer = "kubectl.kubernetes.io/default-container"
)

// PodFact is what is worth knowing of a pod.
type PodFact struct {
	Name      string `json:"name"`
	Namespace string `json:"-"`
	UID       string `json:"uid,omitempty"`
	Node      string `json:"node,omitempty"`
	// Phase is the pod's own word; State is what to show: Pending, Running, Succeeded, Failed, Terminating, Unknown.
	Phase string `json:"phase,omitempty"`
	State string `json:"state"`
	// Ready is the pod's condition of that name.
	Ready bool `json:"ready"`
	// Rank is the pod's number among its like, -1 without one; see PodRank.
	Rank int `json:"rank"`
	// Reason is one word on why it waits, failed or goes: Unschedulable, ImagePullBackOff, OOMKilled, Error, Evicted.
	// Message is the text that goes with it. Both are empty when all is well.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Container is the container that Reason speaks of; empty when it is the pod.
	Container string `json:"container,omitempty"`
	// ExitCode is the last exit of the main container, or of the first that failed; nil while it runs and before.
	ExitCode *int32 `json:"exitCode,omitempty"`
	// Signal is the signal that ended it, 0 for none.
	Signal int32 `json:"signal,omitempty"`
	// Restarts sums the restarts of all containers.
	Restarts int32     `json:"restarts"`
	Created  time.Time `json:"created"`
	// Started is when the main container started, Finished when the last container ended.
	Started  *time.Time `json:"started,omitempty"`
	Finished *time.Time `json:"finished,omitempty"`
	// Result is the termination message of the main container, raw.
	Result string `json:"result,omitempty"`
	// ImageID is the resolved image of the main container.
	ImageID string `json:"imageID,omitempty"`
	// GPUs counts the accelerators requested; Accelerator is their resource name.
	GPUs        int64  `json:"gpus"`
	Accelerator string `json:"accelerator,omitempty"`
}

// Final says whether the pod will never run again.
func (f PodFact) Final() bool { return f.State == Succeeded || f.State == Failed }

// Why is Reason and Message as one text, "Unschedulable: 0/5 nodes are available"; empty when all is well.
func (f PodFact) Why() string { return why(f.Reason, f.Message) }

func why(reason, message string) string {
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}

// DecodePod reads a pod.
func DecodePod(p *corev1.Pod) PodFact {
	f := PodFact{
		Name: p.Name, Namespace: p.Namespace, UID: string(p.UID), Node: p.Spec.NodeName, Ready: conditionTrue(p, corev1.PodReady), Phase: string(p.Status.Phase), Rank: PodRank(p),
		Created: p.CreationTimestamp.Time,
	}
	f.GPUs, f.Accelerator = Sum(Accelerators(&p.Spec))
	for _, s := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range s {
			f.Restarts += s[i].RestartCount
		}
	}
	f.State = podState(p)
	f.readMain(p)
	f.Reason, f.Message, f.Container = f.explain(p)
	return f
}

// MainContainer is the name of the container that the pod is about.
func MainContainer(p *corev1.Pod) string {
	if name := p.Annotations[annotationDefaultContainer]; name != "" {
		for i := range p.Spec.Containers {
			if p.Spec.Containers[i].Name == name {
				return name
			}
		}
	}
	if len(p.Spec.Containers) == 0 {
		return ""
	}
	return p.Spec.Containers[0].Name
}

func podState(p *corev1.Pod) string {
	switch phase := p.Status.Phase; {
	case phase == corev1.PodSucceeded:
		return Succeeded
	case phase == corev1.PodFailed:
		return Failed
	case p.DeletionTimestamp != nil:
		return Terminating
	case phase == corev1.PodRunning:
		return Running
	case phase == corev1.PodUnknown:
		return StateLost
	default:
		return Pending
	}
}

// readMain reads what the main container's status says, and the end of the last container.
func (f *PodFact) readMain(p *corev1.Pod) {
	main := MainContainer(p)
	for i := range p.Status.ContainerStatuses {
		s := &p.Status.ContainerStatuses[i]
		if t := s.State.Terminated; t != nil && f.Final() && !t.FinishedAt.IsZero() {
			if f.Finished == nil || t.FinishedAt.After(*f.Finished) {
				f.Finished = timeOf(t.FinishedAt)
			}
		}
		if s.Name != main {
			continue
		}
		f.ImageID = s.ImageID
		switch {
		case s.State.Running != nil:
			f.Started = timeOf(s.State.Running.StartedAt)
		case s.State.Terminated != nil:
			f.exit(s.State.Terminated)
			f.Started = timeOf(s.State.Terminated.StartedAt)
			f.Result = s.State.Terminated.Message
		case s.LastTerminationState.Terminated != nil: // waits to be restarted
			f.exit(s.LastTerminationState.Terminated)
			f.Started = timeOf(s.LastTerminationState.Terminated.StartedAt)
		}
	}
}

func (f *PodFact) exit(t *corev1.ContainerStateTerminated) {
	code := t.ExitCode
	f.ExitCode = &code
	f.Signal = t.Signal
	if f.Signal == 0 {
		f.Signal = SignalOf(code)
	}
}

// explain finds the one thing that says best why the pod is not simply running or done.
func (f *PodFact) explain(p *corev1.Pod) (reason, message, container string) {
	switch f.State {
	case Succeeded:
		return "", "", ""
	case Failed:
		return f.explainFailed(p)
	}
	if c, ok := condition(p, corev1.DisruptionTarget); ok {
		return c.Reason, c.Message, ""
	}
	if f.State == Terminating {
		return "Deleted", "the pod is being deleted", ""
	}
	if f.State == StateLost {
		return orElse(p.Status.Reason, "NodeLost"), orElse(p.Status.Message, "node "+f.Node+" does not answer"), ""
	}
	if reason, message, container = waiting(p); reason != "" {
		return reason, message, container
	}
	if f.State != Pending {
		return "", "", ""
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return orElse(c.Reason, "Unschedulable"), c.Message, ""
		}
	}
	if p.Spec.NodeName == "" {
		return "Scheduling", "not assigned to a node yet", ""
	}
	return p.Status.Reason, p.Status.Message, ""
}

// waiting finds the container that waits; one that waits because of a problem comes before one that is merely next.
func waiting(p *corev1.Pod) (reason, message, container string) {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			s := &list[i]
			w := s.State.Waiting
			if w == nil || w.Reason == "" {
				continue
			}
			if harmless := w.Reason == "ContainerCreating" || w.Reason == "PodInitializing"; harmless {
				if reason == "" && p.Status.Phase == corev1.PodPending {
					reason, message, container = w.Reason, w.Message, s.Name
				}
				continue
			}
			message = w.Message
			if t := s.LastTerminationState.Terminated; t != nil { // CrashLoopBackOff says only how long it waits
				message = strings.TrimSuffix(terminationText(t)+"; "+w.Message, "; ")
			}
			return w.Reason, message, s.Name
		}
	}
	return reason, message, container
}

// explainFailed prefers the container that failed first, then the pod's own reason.
func (f *PodFact) explainFailed(p *corev1.Pod) (reason, message, container string) {
	var first *corev1.ContainerStateTerminated
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			t := list[i].State.Terminated
			if t == nil || t.ExitCode == 0 {
				continue
			}
			if first == nil || t.FinishedAt.Time.Before(first.FinishedAt.Time) {
				first, container = t, list[i].Name
			}
		}
	}
	if first != nil && (f.ExitCode == nil || *f.ExitCode == 0) {
		f.exit(first)
	}
	if p.Status.Reason != "" { // Evicted, DeadlineExceeded, NodeShutdown, UnexpectedAdmissionError
		return p.Status.Reason, p.Status.Message, ""
	}
	if c, ok := condition(p, corev1.DisruptionTarget); ok {
		return c.Reason, c.Message, ""
	}
	if first == nil {
		return Failed, p.Status.Message, ""
	}
	return orElse(first.Reason, "Error"), terminationText(first), container
}

// terminationText explains an exit; for containers that never started, what the runtime said is the explanation.
func terminationText(t *corev1.ContainerStateTerminated) string {
	switch t.Reason {
	case "StartError", "ContainerCannotRun", "ContainerStatusUnknown", "RunContainerError":
		if t.Message != "" {
			return t.Message
		}
	}
	return ExplainExit(t.ExitCode, t.Reason)
}

func conditionTrue(p *corev1.Pod, kind corev1.PodConditionType) bool {
	_, ok := condition(p, kind)
	return ok
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) (corev1.PodCondition, bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return c, true
		}
	}
	return corev1.PodCondition{}, false
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// timeOf is nil for the zero time.
func timeOf(t metav1.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
