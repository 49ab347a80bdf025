package diagnose

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// queued says whether the work waits for somebody to let it start, rather than for a node.
func (e *Evidence) queued() bool {
	return e.Work.State == "Suspended" || len(e.Pods) == 0 || slices.ContainsFunc(e.unscheduled(), func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == gateKueue || g.Name == gateKueueTopology })
	})
}

// kueueRule tells where the work stands in Kueue: the first gate that is shut.
func kueueRule(e *Evidence) []Cause {
	k := e.Kueue
	if k == nil || k.Queue == "" && k.Workload == nil || !e.queued() {
		return nil
	}
	for _, step := range []func(*Evidence, *Kueue) (Cause, bool){
		notInstalled, noQueue, deactivated, queueStopped, noWorkload, noQuota, checksPending,
	} {
		if c, ok := step(e, k); ok {
			return []Cause{c.because(e.evictedBefore(k))}
		}
	}
	return nil
}

func notInstalled(e *Evidence, k *Kueue) (Cause, bool) {
	if k.Installed || e.Work.State != "Suspended" {
		return Cause{}, false
	}
	return cause(Certain, "KueueNotInstalled", fmt.Sprintf("it is suspended and waits for queue %s, but this cluster has no Kueue to start it", k.Queue)).
		cure("start it without a queue", "kubectl ml resume "+e.Work.KindName()).cure("or have Kueue installed", ""), true
}

func noQueue(e *Evidence, k *Kueue) (Cause, bool) {
	if !k.Installed || k.Local != nil || k.LocalUnknown || k.Queue == "" {
		return Cause{}, false
	}
	have := "the namespace has no queue at all"
	if len(k.Queues) > 0 {
		have = "the namespace has the queues " + some(k.Queues, 8)
	}
	c := cause(Certain, "QueueNotFound", fmt.Sprintf("queue %s does not exist in namespace %s", k.Queue, e.Work.Namespace)).because(have).because(k.reserved(e))
	if len(k.Queues) > 0 {
		c = c.cure("name a queue that exists", fmt.Sprintf("kubectl label %s %s=%s --overwrite", e.Work.KindName(), kube.LabelQueue, k.Queues[0]))
	}
	return c.cure("have the queue made", "kubectl get localqueues"), true
}

func deactivated(e *Evidence, k *Kueue) (Cause, bool) {
	w := k.Workload
	if w == nil || w.Active {
		return Cause{}, false
	}
	c := cause(Certain, "WorkloadDeactivated", "its Workload in Kueue is deactivated (spec.active is false)")
	if ev, ok := find(w.Conditions, "Evicted"); ok && ev.Status == "True" {
		c = c.because(e.conditionLine("workload/"+w.Name, ev))
		if strings.Contains(ev.Reason, "RequeuingLimitExceeded") {
			c.Title = "Kueue has given it up: it was put back into the queue too often"
		}
	}
	return c.cure("let it go on", "kubectl ml resume "+e.Work.KindName()), true
}

// queueStopped: one of the two queues admits nothing. That the local one is not active may only follow from the other.
func queueStopped(e *Evidence, k *Kueue) (Cause, bool) {
	queues := []struct {
		queue      *Queue
		what, kind string
	}{{k.Local, "queue", "localqueue"}, {k.Cluster, "cluster queue", "clusterqueue"}}
	for _, q := range queues {
		if q.queue != nil && q.queue.Stop != "" && q.queue.Stop != "None" {
			return cause(Certain, "QueueStopped", fmt.Sprintf("%s %s is stopped (stopPolicy: %s): nothing is admitted", q.what, q.queue.Name, q.queue.Stop)).
				because(k.reserved(e)).cure("whoever stopped it has to set stopPolicy: None", "kubectl get "+q.kind+" "+q.queue.Name+" -o yaml"), true
		}
	}
	if k.Local != nil && k.Cluster == nil && !k.ClusterUnknown && k.Local.ClusterQueue != "" {
		return cause(Certain, "QueueInactive", fmt.Sprintf("queue %s points to the cluster queue %s, which does not exist", k.Local.Name, k.Local.ClusterQueue)).
			because(k.reserved(e)).cure("have the cluster queue made", "kubectl get clusterqueues"), true
	}
	for _, q := range slices.Backward(queues) {
		if q.queue == nil {
			continue
		}
		if active, known := find(q.queue.Conditions, "Active"); known && active.Status != "True" {
			return cause(Certain, "QueueInactive", fmt.Sprintf("%s %s is not active: %s", q.what, q.queue.Name, active.Message)).
				because(e.conditionLine(q.what+" "+q.queue.Name, active), k.reserved(e)).cure("see the queue", "kubectl get "+q.kind+" "+q.queue.Name+" -o yaml"), true
		}
	}
	return Cause{}, false
}

func noWorkload(_ *Evidence, k *Kueue) (Cause, bool) {
	if !k.Installed || k.Workload != nil || !k.WorkloadsRead {
		return Cause{}, false
	}
	return cause(Likely, "NoWorkload", "Kueue has not made a Workload for it: it may be new, or Kueue does not handle this kind or namespace").
		cure("look whether Kueue handles it", "kubectl get workloads"), true
}

// reserved is the QuotaReserved condition as evidence.
func (k *Kueue) reserved(e *Evidence) string {
	if k.Workload == nil {
		return ""
	}
	if c, ok := find(k.Workload.Conditions, "QuotaReserved"); ok && c.Status != "True" {
		return e.conditionLine("workload/"+k.Workload.Name, c)
	}
	return ""
}

// never are Kueue's words for demands that its queue can never meet (pkg/scheduler/flavorassigner of Kueue).
var never = []struct {
	text        *regexp.Regexp
	code, title string
	change      string
}{
	{regexp.MustCompile(`insufficient quota for (\S+) in flavor (\S+),.* > maximum capacity \((?:\S+ > )?([^)]+)\)`), "LargerThanQueue", "it asks for more $1 than its queue can ever give: flavor $2 has $3 at most", "ask for less $1, or use another queue"},
	{regexp.MustCompile(`resource (\S+) unavailable in ClusterQueue`), "ResourceNotInQueue", "its queue has no quota for $1", "use a queue that has $1, or ask for another resource"},
	{regexp.MustCompile(`flavor (\S+) doesn't match node affinity`), "FlavorMismatch", "its node selection does not match flavor $1 of the queue", "change nodeSelector or node affinity to what the flavor's nodes have"},
	{regexp.MustCompile(`untolerated taint (.*) in flavor (\S+)`), "FlavorTainted", "flavor $2 of the queue has the taint $1, which it does not tolerate", "add a toleration"},
	{regexp.MustCompile(`Workload namespace doesn't match ClusterQueue selector`), "NamespaceNotInQueue", "the cluster queue does not take work of this namespace", ""},
}

// noQuota: it waits in the queue.
func noQuota(e *Evidence, k *Kueue) (Cause, bool) {
	w := k.Workload
	if w == nil {
		return Cause{}, false
	}
	c, ok := find(w.Conditions, "QuotaReserved")
	if ok && c.Status == "True" {
		return Cause{}, false
	}
	for _, n := range never {
		if m := n.text.FindStringSubmatchIndex(c.Message); m != nil {
			fill := func(s string) string { return string(n.text.ExpandString(nil, s, c.Message, m)) }
			out := cause(Certain, n.code, fill(n.title)).because(k.reserved(e)).because(k.usage(e)...)
			if n.change != "" {
				return out.cures(e.change(fill(n.change))), true
			}
			return out.cure("use another queue, or have the namespace admitted", "kubectl get localqueues"), true
		}
	}
	title := "it waits in queue " + cmp.Or(w.Queue, k.Queue) + " for quota"
	if at := k.place(); at != "" {
		title += ", " + at
	}
	code := "QueuedForQuota"
	if c.Reason == "Inadmissible" {
		code, title = "Inadmissible", "Kueue does not admit it: "+c.Message
	}
	out := cause(Certain, code, title).because(k.reserved(e)).because(k.usage(e)...)
	if w.RequeueAt.After(e.Now) {
		out = out.because(fmt.Sprintf("it was put back into the queue %s and is tried again in %s", count(w.RequeueCount, "time", "times"), age(w.RequeueAt.Sub(e.Now))))
	}
	return out.cure("wait for its turn; see who is in the queue", "kubectl ml jobs -A -l "+kube.LabelQueue+"="+cmp.Or(w.Queue, k.Queue)), true
}

// place is the position in words, from 1.
func (k *Kueue) place() string {
	if k.Position < 0 {
		return ""
	}
	if k.About {
		return fmt.Sprintf("about number %d in it (counted in this namespace)", k.Position+1)
	}
	text := fmt.Sprintf("number %d in it", k.Position+1)
	if k.PositionCluster >= 0 {
		text += fmt.Sprintf(" and %d in its cluster queue", k.PositionCluster+1)
	}
	return text
}

// usage is the quota of the cluster queue, accelerators first.
func (k *Kueue) usage(e *Evidence) []string {
	if k.Cluster == nil {
		return nil
	}
	want := amounts{}
	if s := e.spec(); s != nil {
		want = requests(s)
	}
	var out []string
	for _, f := range k.Cluster.Flavors {
		if _, asked := want[corev1.ResourceName(f.Resource)]; len(want) > 0 && !asked {
			continue
		}
		line := fmt.Sprintf("cluster queue %s, flavor %s: %s of %s %s used", k.Cluster.Name, f.Name, cmp.Or(f.Used, "0"), f.Nominal, f.Resource)
		if f.Borrowed != "" && f.Borrowed != "0" {
			line += " (" + f.Borrowed + " borrowed)"
		}
		out = append(out, line)
	}
	slices.SortStableFunc(out, func(a, b string) int { return btoi(strings.Contains(b, "gpu")) - btoi(strings.Contains(a, "gpu")) })
	if len(out) > mostGroups {
		out = append(out[:mostGroups], fmt.Sprintf("and %d more", len(out)-mostGroups))
	}
	return out
}

// checksPending: it has quota and waits for what else the queue demands.
func checksPending(_ *Evidence, k *Kueue) (Cause, bool) {
	w := k.Workload
	if w == nil || !isTrue(w.Conditions, "QuotaReserved") || isTrue(w.Conditions, "Admitted") {
		return Cause{}, false
	}
	c := cause(Certain, "AdmissionCheckPending", "it has quota in "+cmp.Or(w.ClusterQueue, "its queue")+" and waits for admission checks")
	for _, check := range w.Checks {
		if check.State != "Ready" {
			c = c.because(fmt.Sprintf("admission check %s is %s: %s", check.Name, check.State, check.Message))
		}
	}
	return c.cure("see the checks", "kubectl get workload "+w.Name+" -o yaml"), true
}

// evictedBefore tells that it ran already, and why Kueue took its place away.
func (e *Evidence) evictedBefore(k *Kueue) string {
	if k.Workload == nil {
		return ""
	}
	for _, kind := range []string{"Preempted", "Evicted"} {
		if c, ok := find(k.Workload.Conditions, kind); ok && c.Status == "True" {
			return e.conditionLine("workload/"+k.Workload.Name, c)
		}
	}
	return ""
}
