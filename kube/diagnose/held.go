package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// schedulerTakes is how long a scheduler may take before its silence means something.
const schedulerTakes = 15 * time.Second

// heldRule: somebody or something holds the work back on purpose.
func heldRule(e *Evidence) []Cause {
	return slices.Concat(e.suspended(), e.gated(), e.foreign(), e.preempting())
}

// suspended: by a person, unless a queue does it, which kueueRule tells.
func (e *Evidence) suspended() []Cause {
	if e.CronJob != nil || e.Work.State != job.Suspended || e.Kueue != nil && e.Kueue.manages() {
		return nil
	}
	if e.Work.Reason == "ScaledToZero" {
		return []Cause{cause(Certain, "ScaledToZero", "it is scaled to no pods at all (spec.replicas is 0)").cure("let it have a pod", "kubectl ml scale "+e.Work.KindName()+" --replicas 1")}
	}
	c := cause(Certain, "Suspended", "it is suspended").because(e.Work.Message)
	if ev, ok := e.last("Suspended"); ok {
		c = c.because(e.eventLine(ev))
	}
	if e.Job != nil {
		if who := lastWriter(e.Job, "f:suspend"); who != "" {
			c = c.because("spec.suspend was written last by " + who)
		}
	}
	return []Cause{c.cure("let it go on", "kubectl ml resume "+e.Work.KindName())}
}

// lastWriter is the field manager that set a field of the spec.
func lastWriter(j *batchv1.Job, field string) string {
	for _, m := range j.ManagedFields {
		if m.FieldsV1 != nil && m.Subresource == "" && strings.Contains(string(m.FieldsV1.GetRawBytes()), `"`+field+`"`) {
			return m.Manager
		}
	}
	return ""
}

// gated: scheduling gates, which only who set them takes away.
func (e *Evidence) gated() []Cause {
	gates := map[string]int64{}
	for _, p := range e.unscheduled() {
		for _, g := range p.Spec.SchedulingGates {
			gates[g.Name]++
		}
	}
	var out []Cause
	for _, g := range sortedByCount(gates) {
		if g == gateKueue || g == gateKueueTopology {
			continue // kueueRule knows more
		}
		c := cause(Certain, "SchedulingGated", fmt.Sprintf("the scheduling gate %s holds %s back", g, count(gates[g], "pod", "pods")))
		out = append(out, c.cure("whoever set the gate has to take it away; see the pod", "kubectl get pod "+e.unscheduled()[0].Name+" -o yaml"))
	}
	return out
}

// foreign: no one in this cluster does what the work asks for.
func (e *Evidence) foreign() []Cause {
	var out []Cause
	if by := e.managedBy(); by != "" && len(e.Pods) == 0 {
		out = append(out, cause(Likely, "ForeignManager", "it is run by "+by+" (spec.managedBy), not by this cluster's own controller, and that has made no pods").
			cures(e.change("drop spec.managedBy, or look whether "+by+" runs")))
	}
	for _, p := range e.unscheduled() {
		name := p.Spec.SchedulerName
		silent := !e.seen(name) && e.Now.Sub(p.CreationTimestamp.Time) > schedulerTakes
		if !silent || len(p.Spec.SchedulingGates) > 0 {
			continue
		}
		if name == "" || name == corev1.DefaultSchedulerName {
			out = append(out, cause(Likely, "SchedulerSilent", "the scheduler has not looked at the pod for "+age(e.Now.Sub(p.CreationTimestamp.Time))+": it may not run").
				cure("look whether it runs", "kubectl get pods -n kube-system -l component=kube-scheduler"))
		} else {
			out = append(out, cause(Likely, "NoSuchScheduler", fmt.Sprintf("no scheduler called %s has looked at it for %s: it may not be installed", name, age(e.Now.Sub(p.CreationTimestamp.Time)))).
				cures(e.change("use a scheduler that runs here (schedulerName: default-scheduler)")))
		}
		break
	}
	return out
}

// seen says whether a scheduler has looked at any pod of the work: with thousands of pods it takes its time.
func (e *Evidence) seen(scheduler string) bool {
	return slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool {
		_, told := podCondition(p, corev1.PodScheduled)
		told = told && len(p.Spec.SchedulingGates) == 0
		return p.Spec.SchedulerName == scheduler && (told || p.Spec.NodeName != "" || len(e.about("pod/"+p.Name, "FailedScheduling")) > 0)
	})
}

func (e *Evidence) managedBy() string {
	if e.Job != nil {
		if by := ptr.Deref(e.Job.Spec.ManagedBy, ""); by != batchv1.JobControllerName {
			return by
		}
	}
	if e.Root != nil {
		by, _, _ := unstructured.NestedString(e.Root.Object, "spec", "managedBy")
		if !strings.HasPrefix(by, "jobset.sigs.k8s.io/") && !strings.HasPrefix(by, "trainer.kubeflow.org/") {
			return by
		}
	}
	return ""
}

// preempting: the scheduler makes room already.
func (e *Evidence) preempting() []Cause {
	for _, p := range e.unscheduled() {
		if node := p.Status.NominatedNodeName; node != "" {
			return []Cause{cause(Certain, "PreemptionUnderway", "pods of a lower priority are being ended on "+node+" to make room for it").
				because(e.verdictOn(p).line()).cure("wait for them to end", "kubectl get pods -A -o wide --field-selector spec.nodeName="+node)}
		}
	}
	return nil
}

// backoffRule: the Job waits before it starts the next pod, by the delays of the Job controller: 10 s, doubled with each
// failure, at most ten minutes (pkg/controller/job/backoff_utils.go).
func backoffRule(e *Evidence) []Cause {
	if e.Job == nil || e.Work.Final() || len(e.pending()) > 0 || e.Job.Status.Failed == 0 || e.Job.Status.Active > 0 || ptr.Deref(e.Job.Spec.Suspend, false) {
		return nil
	}
	var lastEnd time.Time
	failed := 0
	for _, p := range e.Pods {
		if p.Status.Phase != corev1.PodFailed {
			continue
		}
		failed++
		if f := job.DecodePod(p); f.Finished != nil && f.Finished.After(lastEnd) {
			lastEnd = *f.Finished
		}
	}
	c := cause(Certain, "BackOff", fmt.Sprintf("the Job waits before it starts the next pod: %s of %d allowed", count(int64(e.Job.Status.Failed), "failure", "failures"), ptr.Deref(e.Job.Spec.BackoffLimit, 6)))
	if !lastEnd.IsZero() && failed > 0 {
		wait := min(10*time.Second<<min(max(int(e.Job.Status.Failed), 1)-1, 6), 10*time.Minute)
		if left := lastEnd.Add(wait).Sub(e.Now); left > 0 {
			c = c.because("the next pod starts in about " + age(left))
		}
	}
	return []Cause{c.cure("it goes on by itself; mend what made it fail", "")}
}
