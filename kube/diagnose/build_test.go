package diagnose

import (
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// resources reads "nvidia.com/gpu=4 cpu=2 memory=8Gi".
func resources(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

type nodeOption func(*corev1.Node)

func node(name string, gpus int, o ...nodeOption) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"nvidia.com/gpu.product": "A100"}}}
	n.Status.Allocatable = resources("cpu", "96", "memory", "1Ti", "pods", "110")
	if gpus > 0 {
		n.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse(strconv.Itoa(gpus))
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, f := range o {
		f(&n)
	}
	return n
}

func tainted(key, value string) nodeOption {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffectNoSchedule})
	}
}

func labelled(key, value string) nodeOption {
	return func(n *corev1.Node) { n.Labels[key] = value }
}

func cordoned(n *corev1.Node) {
	n.Spec.Unschedulable = true
	tainted("node.kubernetes.io/unschedulable", "")(n)
}

func notReady(n *corev1.Node) {
	n.Status.Conditions[0].Status = corev1.ConditionFalse
	tainted("node.kubernetes.io/not-ready", "")(n)
}

func cluster(nodes ...corev1.Node) *Cluster {
	c := NewCluster(nodes)
	c.HeldKnown = true
	return c
}

// holds binds a running pod of another work with so many GPUs.
func (c *Cluster) holds(owner, node string, gpus int, more ...string) *Cluster {
	p := pod(owner+"-x", "nvidia.com/gpu", strconv.Itoa(gpus))
	for name, q := range resources(more...) {
		p.Spec.Containers[0].Resources.Limits[name] = q
	}
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: owner, Controller: new(true)}}
	p.Spec.NodeName, p.Status.Phase = node, corev1.PodRunning
	p.CreationTimestamp = ago(3 * time.Hour)
	c.Bind(p)
	return c
}

// pod waits and asks for what pairs say.
func pod(name string, pairs ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "team", UID: types.UID("uid-" + name), CreationTimestamp: ago(time.Hour)}}
	p.Spec.SchedulerName = corev1.DefaultSchedulerName
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "train:1", Resources: corev1.ResourceRequirements{Limits: resources(pairs...)}}}
	p.Status.Phase = corev1.PodPending
	return p
}

// told puts the scheduler's message on a pod.
func told(p *corev1.Pod, message string) *corev1.Pod {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message})
	return p
}

// onNode puts a pod on a node, with its container waiting for a reason.
func onNode(p *corev1.Pod, reason, message string) *corev1.Pod {
	p.Spec.NodeName = "n1"
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: ago(10 * time.Minute)})
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: "train:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	return p
}

// ended makes a pod of one that failed so long ago.
func ended(p *corev1.Pod, code int32, reason string, before time.Duration) *corev1.Pod {
	p.Spec.NodeName, p.Status.Phase = "n1", corev1.PodFailed
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: ago(before + 10*time.Minute), FinishedAt: ago(before),
	}}}}
	return p
}

func rank(p *corev1.Pod, n int) *corev1.Pod {
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "train", Controller: new(true)}}
	p.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: strconv.Itoa(n)}
	return p
}

// waits is evidence of a work with pods that wait.
func waits(c *Cluster, pods ...*corev1.Pod) *Evidence {
	w := &fleet.Work{Ref: fleet.Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: "team", Name: "train"}, State: job.Pending, Created: now.Add(-time.Hour), Want: max(len(pods), 1)}
	e := &Evidence{Now: now, Work: w, Pods: pods, Cluster: c, Exists: map[string]bool{}, Claims: map[string]Claim{}}
	if len(pods) > 0 {
		e.Template = &pods[0].Spec
	}
	return e
}

// died is evidence of a work that failed.
func died(pods ...*corev1.Pod) *Evidence {
	e := waits(nil, pods...)
	e.Work.State, e.Work.Finished = job.Failed, &now
	return e
}

func (e *Evidence) event(object, reason, from, message string) *Evidence {
	e.Events = append(e.Events, fleet.Event{Object: object, Reason: reason, From: from, Message: message, Type: "Warning", Count: 3, Last: now.Add(-time.Minute)})
	return e
}

func (e *Evidence) log(pod string, lines ...string) *Evidence {
	e.Logs = append(e.Logs, Log{Pod: pod, Container: "main", Rank: -1, Lines: lines})
	return e
}

func (e *Evidence) job(change func(*batchv1.Job)) *Evidence {
	e.Job = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "train", Namespace: "team"}}
	change(e.Job)
	return e
}

func (e *Evidence) jobFailed(reason, message string) *Evidence {
	if e.Job == nil {
		e.job(func(*batchv1.Job) {})
	}
	e.Job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: reason, Message: message}}
	return e
}
