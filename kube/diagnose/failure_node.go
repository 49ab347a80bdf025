package diagnose

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// loss is a way in which a pod is taken from outside.
type loss struct {
	// reason is that of the pod's status or of its condition DisruptionTarget; its end * stands for any rest.
	reason string
	// text must be in the message, where it is set.
	text        *regexp.Regexp
	code, title string
	// change is one to the pods; cure and command, in which NODE is the node, one to the cluster.
	change, cure, command string
	// again says that the work need only be started again.
	again bool
}

// losses are, in order, the kubelet's, the scheduler's and the controllers' reasons (pkg/kubelet/eviction, nodeshutdown,
// lifecycle; pkg/controller/podgc, tainteviction; pkg/registry/core/pod).
var losses = []loss{
	{reason: "Evicted", text: regexp.MustCompile(`Usage of EmptyDir volume "([^"]+)" exceeds the limit "([^"]+)"`), code: "EmptyDirExceeded", title: "evicted: its emptyDir volume $1 grew beyond $2", change: "raise sizeLimit of the emptyDir $1, or write less into it"},
	{reason: "Evicted", text: regexp.MustCompile(`exceeded its local ephemeral storage limit "([^"]+)"|ephemeral local storage usage exceeds the total limit of containers (\S+)\.`), code: "EphemeralStorageExceeded", title: "evicted: it wrote more to its own disk than its limit of $1$2", change: "raise limits.ephemeral-storage, or write to a volume"},
	{reason: "Evicted", text: regexp.MustCompile(`The node was low on resource: memory`), code: "EvictedForMemory", title: "evicted: its node ran short of memory", change: "set requests.memory to what it uses, so that the node keeps it free", again: true},
	{reason: "Evicted", text: regexp.MustCompile(`The node was low on resource: (ephemeral-storage|inodes)`), code: "EvictedForDisk", title: "evicted: its node ran short of disk ($1)", change: "set requests.ephemeral-storage to what it writes, or write to a volume", again: true},
	{reason: "Evicted", text: regexp.MustCompile(`The node (?:was low on resource|had condition): ([^.]+)`), code: "Evicted", title: "evicted: its node was short of something: $1", again: true},
	{reason: "Evicted", code: "Evicted", title: "evicted from its node", again: true},
	{reason: "PreemptionByScheduler", code: "Preempted", title: "preempted: a pod of a higher priority took its place", change: "give it a priority class that others do not preempt, and write checkpoints", again: true},
	{reason: "Preempting", code: "Preempted", title: "preempted: its node needed the room for a critical pod", again: true},
	{reason: "NodeShutdown", code: "NodeShutdown", title: "its node was shutting down", again: true},
	{reason: "Terminated", text: regexp.MustCompile(`node shutdown`), code: "NodeShutdown", title: "its node was shut down (a reboot, an upgrade, or a spot node taken back)", again: true},
	{reason: "DeletionByPodGC", code: "NodeGone", title: "its node is gone (removed, or a spot node taken back)", again: true},
	{reason: "DeletionByTaintManager", code: "NodeTainted", title: "its node got a taint that drives pods away: most often it stopped answering", cure: "see the node", command: "kubectl describe node NODE", again: true},
	{reason: "EvictionByEvictionAPI", code: "Drained", title: "evicted by somebody who drains its node (a person, an upgrade or an autoscaler)", change: "protect it with a PodDisruptionBudget, or keep the autoscaler away from it", again: true},
	{reason: "NodeLost", code: "NodeLost", title: "its node does not answer any more", cure: "see the node", command: "kubectl describe node NODE", again: true},
	{reason: "UnexpectedAdmissionError", text: regexp.MustCompile(`(?i)no healthy devices|unhealthy devices|Allocate failed|requested number of devices unavailable`), code: "DeviceUnhealthy", title: "its node has no healthy device left to give it", cure: "keep pods away from the node until its devices are mended", command: "kubectl cordon NODE", again: true},
	{reason: "UnexpectedAdmissionError", code: "NodeRefused", title: "its node refused the pod", cure: "see the node", command: "kubectl describe node NODE", again: true},
	{reason: "OutOf*", code: "NodeFilledUp", title: "its node had filled up by the time the pod came there", again: true},
	{reason: "NodeAffinity", code: "NodeRefused", title: "its node does not match its selection any more, and refused it", cure: "see the node", command: "kubectl describe node NODE", again: true},
	{reason: "TerminationByKubelet", code: "TerminatedByNode", title: "its node ended it", cure: "see the node", command: "kubectl describe node NODE", again: true},
}

// lossRule: pods that were taken from outside.
func lossRule(e *Evidence) []Cause {
	var out []Cause
	seen := map[string]bool{}
	for _, p := range e.Pods {
		if p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		reasons := [][2]string{{p.Status.Reason, p.Status.Message}}
		if c, ok := podCondition(p, corev1.DisruptionTarget); ok && c.Status == corev1.ConditionTrue {
			reasons = append(reasons, [2]string{c.Reason, c.Message})
		}
		if l, m, ok := lossOf(reasons); ok && !seen[l.code] {
			seen[l.code] = true
			out = append(out, e.lossCause(l, m, p))
		}
	}
	return out
}

func lossOf(reasons [][2]string) (loss, [2]string, bool) {
	for _, l := range losses {
		for _, r := range reasons {
			if r[0] == "" || !l.named(r[0]) {
				continue
			}
			if l.text == nil || l.text.MatchString(r[1]) {
				return l, r, true
			}
		}
	}
	return loss{}, [2]string{}, false
}

// named says whether the reason is this one.
func (l loss) named(reason string) bool {
	if prefix, open := strings.CutSuffix(l.reason, "*"); open {
		return strings.HasPrefix(reason, prefix)
	}
	return reason == l.reason
}

func (e *Evidence) lossCause(l loss, said [2]string, p *corev1.Pod) Cause {
	fill := func(s string) string {
		if l.text != nil {
			if m := l.text.FindStringSubmatchIndex(said[1]); m != nil {
				s = string(l.text.ExpandString(nil, s, said[1], m))
			}
		}
		return strings.ReplaceAll(s, "NODE", p.Spec.NodeName)
	}
	c := cause(Certain, l.code, fill(l.title)).because("pod " + p.Name + " on " + p.Spec.NodeName + " (" + said[0] + "): " + said[1])
	for _, ev := range e.about("pod/"+p.Name, "Preempted", "Evicted", "NodeNotReady", "TaintManagerEviction") {
		if ev.Message != said[1] {
			c = c.because(e.eventLine(ev))
		}
	}
	if e.spot(p.Spec.NodeName) {
		c = c.because("node " + p.Spec.NodeName + " is a spot node: the provider may take it back at any time")
	}
	if l.cure != "" {
		c = c.cure(l.cure, fill(l.command))
	}
	if l.change != "" {
		c = c.cures(e.change(fill(l.change)))
	}
	if l.again && e.Work.Final() {
		c = c.cures(e.again("start it again"))
	}
	return c
}

// goneReasons are events on pods that were taken from outside; they outlive the pods, which are deleted.
var goneReasons = []string{"Preempted", "TaintManagerEviction"}

// goneRule: pods that were taken away, of which only events are left.
func goneRule(e *Evidence) []Cause {
	for _, ev := range slices.Backward(e.Events) {
		if !slices.Contains(goneReasons, ev.Reason) || slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool { return "pod/"+p.Name == ev.Object }) || strings.HasPrefix(ev.Message, "Cancelling") {
			continue
		}
		l := Possible
		if e.Work.State == job.Failed && len(e.crashes()) == 0 {
			l = Likely
		}
		if ev.Reason == "Preempted" {
			return []Cause{cause(l, "Preempted", "a pod of it was preempted: one of a higher priority took its place").because(e.eventLine(ev)).
				cures(e.change("give it a priority class that others do not preempt, and write checkpoints"), e.again("start it again"))}
		}
		return []Cause{cause(l, "NodeTainted", "a pod of it was driven from its node by a taint: most often the node stopped answering").because(e.eventLine(ev)).
			cure("see the nodes", "kubectl get nodes").cures(e.again("start it again"))}
	}
	return nil
}

// readinessRule: its containers run and are not ready.
func readinessRule(e *Evidence) []Cause {
	for _, ev := range slices.Backward(e.Events) {
		if ev.Reason != "Unhealthy" || !strings.HasPrefix(ev.Message, "Readiness probe") || !slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool { return "pod/"+p.Name == ev.Object && unready(p) }) {
			continue
		}
		name := strings.TrimPrefix(ev.Object, "pod/")
		return []Cause{cause(Likely, "NotReady", "it runs, and its readiness probe fails").because(e.eventLine(ev)).cure("see what it does", "kubectl ml logs "+name)}
	}
	return nil
}

// unready says whether a pod runs and is not ready.
func unready(p *corev1.Pod) bool {
	c, ok := podCondition(p, corev1.PodReady)
	return p.Status.Phase == corev1.PodRunning && ok && c.Status != corev1.ConditionTrue
}

// spotLabels are what providers put on nodes that they may take back.
var spotLabels = map[string][]string{
	"karpenter.sh/capacity-type":            {"spot"},
	"eks.amazonaws.com/capacityType":        {"SPOT"},
	"cloud.google.com/gke-spot":             {"true"},
	"cloud.google.com/gke-preemptible":      {"true"},
	"kubernetes.azure.com/scalesetpriority": {"spot"},
}

func (e *Evidence) spot(node string) bool {
	if e.Cluster == nil {
		return false
	}
	for _, n := range e.Cluster.Nodes {
		if n.Name != node {
			continue
		}
		for key, values := range spotLabels {
			if slices.Contains(values, n.Labels[key]) {
				return true
			}
		}
	}
	return false
}

// probeRule: the kubelet killed a container because a probe failed.
func probeRule(e *Evidence) []Cause {
	for _, ev := range slices.Backward(e.Events) {
		probe := ""
		for _, kind := range []string{"liveness", "startup"} {
			if ev.Reason == "Killing" && strings.Contains(ev.Message, "failed "+kind+" probe") {
				probe = kind
			}
		}
		if probe == "" {
			continue
		}
		c := cause(Certain, "ProbeFailed", "its "+probe+" probe failed, and the kubelet killed it").because(e.eventLine(ev))
		for _, u := range slices.Backward(e.about(ev.Object, "Unhealthy")) {
			c = c.because(e.eventLine(u))
			break
		}
		return []Cause{c.cures(e.change("give the " + probe + " probe more time (failureThreshold, timeoutSeconds), or drop it: training needs none"))}
	}
	return nil
}

// deletedRule: somebody deletes it right now.
func deletedRule(e *Evidence) []Cause {
	var names []string
	grace := int64(0)
	for _, p := range e.Pods {
		if p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			if c, ok := podCondition(p, corev1.DisruptionTarget); ok && c.Status == corev1.ConditionTrue {
				continue
			}
			names = append(names, p.Name)
			if p.DeletionGracePeriodSeconds != nil {
				grace = max(grace, *p.DeletionGracePeriodSeconds)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	c := cause(Likely, "BeingDeleted", "pods of it are being deleted: "+some(names, 3))
	for _, p := range e.Pods {
		if p.DeletionTimestamp != nil && e.Now.Sub(p.DeletionTimestamp.Time) > createdSlowly {
			c = cause(Certain, "StuckTerminating", "pod "+p.Name+" was deleted and should have been gone for "+age(e.Now.Sub(p.DeletionTimestamp.Time)))
			c = c.because("its node may not answer, or a finalizer holds it: "+cmp.Or(strings.Join(p.Finalizers, ", "), "it has none"), "node: "+p.Spec.NodeName)
			return []Cause{c.cure("if the node is lost for good, remove the pod", "kubectl delete pod "+p.Name+" --force --grace-period=0")}
		}
	}
	return []Cause{c.cure("wait for the end of the grace period", "kubectl get pods")}
}
