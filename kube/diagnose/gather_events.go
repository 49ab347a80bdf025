package diagnose

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// eventsLast is how long an API server keeps events unless told otherwise (--event-ttl).
const eventsLast = time.Hour

// eventPages bounds how many pages of a namespace's events are read for many works.
const eventPages = 10

// readEvents gives each work the events of itself, of its pods and claims, and of what makes its pods.
func (g *gatherer) readEvents(ctx context.Context, list []*Evidence) {
	var all []corev1.Event
	if len(list) == 1 {
		all = g.eventsOf(ctx, list[0])
	} else {
		n := 0
		o := metav1.ListOptions{Limit: pageSize}
		for n < eventPages {
			l, err := g.c.Kube.CoreV1().Events(g.ns).List(ctx, o)
			if g.failed("events", err) {
				break
			}
			all = append(all, l.Items...)
			n++
			if o.Continue = l.Continue; o.Continue == "" {
				break
			}
		}
		if o.Continue != "" {
			g.unknown("older events: there are more than are read")
		}
	}
	for _, e := range list {
		for i := range all {
			if object, ok := e.mine(&all[i]); ok {
				e.Events = append(e.Events, fleet.DecodeEvent(&all[i], object))
			}
		}
		if len(e.Events) == 0 && g.now.Sub(e.Work.Created) > eventsLast {
			g.minor(e, "events: none are left; a cluster keeps them for an hour or so")
		}
		slices.SortStableFunc(e.Events, func(a, b fleet.Event) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Object, b.Object)) })
	}
}

// eventsOf asks for the events of one work, by object: the work, a few of its pods, its claims, and refused creations.
func (g *gatherer) eventsOf(ctx context.Context, e *Evidence) []corev1.Event {
	selectors := []string{"involvedObject.uid=" + e.Work.UID}
	if len(e.Pods) == 0 || e.Work.Ready == 0 && e.Work.State != job.Failed {
		selectors = append(selectors, "reason=FailedCreate")
	}
	for _, reason := range goneReasons {
		selectors = append(selectors, "involvedObject.kind=Pod,reason="+reason)
	}
	for _, p := range e.eventPods() {
		selectors = append(selectors, "involvedObject.uid="+string(p.UID))
	}
	if s := e.spec(); s != nil && len(e.pending()) > 0 {
		names := claimNames(s)
		for _, name := range names[:min(len(names), 4)] {
			selectors = append(selectors, "involvedObject.kind=PersistentVolumeClaim,involvedObject.name="+name)
		}
	}
	ns := make([]string, len(selectors))
	for i := range ns {
		ns[i] = e.Work.Namespace
	}
	if crashes := e.crashes(); len(crashes) > 0 && crashes[0].signal() == 9 {
		selectors = append(selectors, "involvedObject.kind=Node,involvedObject.name="+crashes[0].pod.Spec.NodeName)
		ns = append(ns, metav1.NamespaceDefault) // where the events of nodes are
	}
	found := make([][]corev1.Event, len(selectors))
	var tasks sync.WaitGroup
	for i, selector := range selectors {
		tasks.Go(func() {
			l, err := g.c.Kube.CoreV1().Events(ns[i]).List(ctx, metav1.ListOptions{FieldSelector: selector, Limit: pageSize})
			if !g.failed("events", err) {
				found[i] = l.Items
			}
		})
	}
	tasks.Wait()
	var out []corev1.Event
	seen := map[string]bool{}
	for _, ev := range slices.Concat(found...) {
		if !seen[string(ev.UID)] {
			seen[string(ev.UID)] = true
			out = append(out, ev)
		}
	}
	return out
}

// eventPods are the few pods whose events are read: those that failed first, then those that wait.
func (e *Evidence) eventPods() []*corev1.Pod {
	var out []*corev1.Pod
	add := func(p *corev1.Pod) {
		if len(out) < 6 && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, c := range e.crashes() {
		add(c.pod)
	}
	for _, p := range slices.Concat(e.pending(), e.Pods) {
		add(p)
	}
	return out
}

// mine says whether an event is of the work, and how its object is called.
func (e *Evidence) mine(ev *corev1.Event) (string, bool) {
	o := &ev.InvolvedObject
	name := fleet.Ref{Kind: o.Kind, Name: o.Name}.KindName()
	if o.Kind == "Node" {
		return name, slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool { return p.Spec.NodeName == o.Name })
	}
	if o.Namespace != e.Work.Namespace {
		return "", false
	}
	if string(o.UID) == e.Work.UID {
		return name, true
	}
	switch o.Kind {
	case "Pod":
		gone := slices.Contains(goneReasons, ev.Reason) && strings.HasPrefix(o.Name, e.Work.Name+"-")
		return name, gone || slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool { return p.UID == o.UID })
	case "PersistentVolumeClaim":
		s := e.spec()
		return name, s != nil && len(e.pending()) > 0 && slices.Contains(claimNames(s), o.Name)
	}
	// What makes the pods of a Deployment or JobSet is called after it.
	return name, ev.Reason == "FailedCreate" && strings.HasPrefix(o.Name, e.Work.Name+"-") && o.Kind != e.Work.Kind
}
