package diagnose

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// few is up to how many objects are asked for one by one; more are listed.
const few = 16

// telling says whether a pod of a fleet tells anything of why its work waits or failed.
func telling(p *fleet.Pod) bool {
	return p.State != job.Succeeded && (p.State != job.Running || p.Restarts > 0 || p.Reason != "")
}

// readPods gives each work those of its pods that tell something. Pods with a node that have not ended were read already.
func (g *gatherer) readPods(ctx context.Context, list []*Evidence) {
	var wanted []*fleet.Pod
	for _, e := range list {
		for _, p := range e.Work.Pods {
			if _, have := g.bound[p.UID]; !have && telling(p) {
				wanted = append(wanted, p)
			}
		}
	}
	pods := g.c.Kube.CoreV1()
	if len(wanted) <= few {
		var tasks sync.WaitGroup
		for _, p := range wanted {
			tasks.Go(func() {
				got, err := pods.Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
				if !g.failed("the pods", err) {
					g.keep(got)
				}
			})
		}
		tasks.Wait()
	} else {
		var tasks sync.WaitGroup
		for _, selector := range []string{"spec.nodeName=,status.phase=Pending", "status.phase=Failed", "status.phase=Unknown"} {
			tasks.Go(func() {
				err := pages(ctx, metav1.ListOptions{FieldSelector: selector}, pods.Pods(g.ns).List, func(l *corev1.PodList) {
					for i := range l.Items {
						l.Items[i].ManagedFields = nil
						g.keep(&l.Items[i])
					}
				})
				g.failed("the pods", err)
			})
		}
		tasks.Wait()
	}
	for _, e := range list {
		for _, p := range e.Work.Pods {
			if got := g.bound[p.UID]; got != nil && (telling(p) || len(e.Work.Pods) <= few) {
				e.Pods = append(e.Pods, got)
			}
		}
	}
}

// readRoots reads the Jobs as they are, and the roots of other kinds, a few of them.
func (g *gatherer) readRoots(ctx context.Context, list []*Evidence) {
	var jobs, others []*Evidence
	for _, e := range list {
		switch {
		case e.Work.Kind == "Job" && strings.HasPrefix(e.Work.APIVersion, "batch/"):
			jobs = append(jobs, e)
		case e.Work.Kind != "Pod":
			others = append(others, e)
		}
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { g.readJobs(ctx, jobs) })
	for _, e := range others[:min(len(others), few)] {
		tasks.Go(func() {
			root, err := g.object(ctx, e.Work.Ref)
			if !g.failed(e.Work.KindName(), err) {
				e.Root = root
				e.Template = templateOf(root)
			}
		})
	}
	tasks.Wait()
}

func (g *gatherer) readJobs(ctx context.Context, list []*Evidence) {
	found := map[string]*batchv1.Job{}
	if len(list) <= few {
		var mu sync.Mutex
		var tasks sync.WaitGroup
		for _, e := range list {
			tasks.Go(func() {
				j, err := g.c.Kube.BatchV1().Jobs(e.Work.Namespace).Get(ctx, e.Work.Name, metav1.GetOptions{})
				if !g.failed("the Job", err) {
					mu.Lock()
					defer mu.Unlock()
					found[string(j.UID)] = j
				}
			})
		}
		tasks.Wait()
	} else {
		// Jobs with a success are of no interest but for those of several pods, which their facts explain well enough.
		err := pages(ctx, metav1.ListOptions{FieldSelector: "status.successful=0"}, g.c.Kube.BatchV1().Jobs(g.ns).List, func(l *batchv1.JobList) {
			for i := range l.Items {
				found[string(l.Items[i].UID)] = &l.Items[i]
			}
		})
		g.failed("the Jobs", err)
	}
	for _, e := range list {
		if j := found[e.Work.UID]; j != nil {
			e.Job, e.Template = j, &j.Spec.Template.Spec
		}
	}
}

// object reads an object of any kind.
func (g *gatherer) object(ctx context.Context, ref fleet.Ref) (*unstructured.Unstructured, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	l, err := g.c.Kube.Discovery().ServerResourcesForGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	for _, r := range l.APIResources {
		if r.Kind == ref.Kind && !strings.Contains(r.Name, "/") {
			return g.c.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Group: gv.Group, Resource: strings.ToLower(ref.Kind)}, ref.Name)
}

// templateOf is the pod template of a root where those of most kinds have it.
func templateOf(root *unstructured.Unstructured) *corev1.PodSpec {
	m, ok, _ := unstructured.NestedMap(root.Object, "spec", "template", "spec")
	var s corev1.PodSpec
	if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(m, &s) != nil {
		return nil
	}
	return &s
}

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
				e.Events = append(e.Events, decodeEvent(&all[i], object))
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

// decodeEvent reads an event of either API: the newer one keeps its times and counts in other fields.
func decodeEvent(e *corev1.Event, object string) fleet.Event {
	out := fleet.Event{
		Last: e.LastTimestamp.Time, Count: max(e.Count, 1), Object: object, Type: e.Type, Reason: e.Reason, Message: e.Message,
		From: cmp.Or(e.Source.Component, e.ReportingController),
	}
	if out.Last.IsZero() {
		out.Last = e.EventTime.Time
	}
	if s := e.Series; s != nil {
		out.Last, out.Count = s.LastObservedTime.Time, max(s.Count, out.Count)
	}
	if out.Last.IsZero() {
		out.Last = e.CreationTimestamp.Time
	}
	return out
}

// readClaims reads the claims of pods that wait, with their classes and volumes, where there are any.
func (g *gatherer) readClaims(ctx context.Context, list []*Evidence) {
	var needing []*Evidence
	for _, e := range list {
		if s := e.spec(); s != nil && len(e.pending()) > 0 && len(claimNames(s)) > 0 {
			needing = append(needing, e)
		}
	}
	if len(needing) == 0 {
		return
	}
	claims, volumes := map[string]*corev1.PersistentVolumeClaim{}, []corev1.PersistentVolume{}
	classes := map[string]*storagev1.StorageClass{}
	var claimsErr, volumesErr, classesErr error
	var tasks sync.WaitGroup
	tasks.Go(func() {
		claimsErr = pages(ctx, metav1.ListOptions{}, g.c.Kube.CoreV1().PersistentVolumeClaims(g.ns).List, func(l *corev1.PersistentVolumeClaimList) {
			for i := range l.Items {
				claims[l.Items[i].Namespace+"/"+l.Items[i].Name] = &l.Items[i]
			}
		})
	})
	tasks.Go(func() {
		volumesErr = pages(ctx, metav1.ListOptions{}, g.c.Kube.CoreV1().PersistentVolumes().List, func(l *corev1.PersistentVolumeList) { volumes = append(volumes, l.Items...) })
	})
	tasks.Go(func() {
		var l *storagev1.StorageClassList
		if l, classesErr = g.c.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{}); classesErr == nil {
			for i := range l.Items {
				classes[l.Items[i].Name] = &l.Items[i]
			}
		}
	})
	tasks.Wait()
	if g.failed("claims", claimsErr) {
		return
	}
	g.failed("volumes", volumesErr)
	g.failed("storage classes", classesErr)
	for _, e := range needing {
		for _, name := range claimNames(e.spec()) {
			c := Claim{Claim: claims[e.Work.Namespace+"/"+name], ClassUnknown: classesErr != nil}
			if c.Claim != nil {
				g.complete(&c, volumes, volumesErr == nil, classes, e)
			}
			e.Claims[name] = c
		}
	}
}

// complete adds the class and the volumes of a claim, and who else uses it.
func (g *gatherer) complete(c *Claim, volumes []corev1.PersistentVolume, known bool, classes map[string]*storagev1.StorageClass, e *Evidence) {
	class := ""
	if c.Claim.Spec.StorageClassName != nil {
		class = *c.Claim.Spec.StorageClassName
		c.Class = classes[class]
	}
	if known {
		c.Free = []*corev1.PersistentVolume{}
	}
	for i := range volumes {
		v := &volumes[i]
		switch {
		case v.Name == c.Claim.Spec.VolumeName:
			c.Volume = v
		case v.Status.Phase == corev1.VolumeAvailable && v.Spec.ClaimRef == nil && v.Spec.StorageClassName == class:
			c.Free = append(c.Free, v)
		}
	}
	for _, p := range g.bound {
		if p.Namespace == e.Work.Namespace && p.Spec.NodeName != "" && p.Status.Phase == corev1.PodRunning && slices.Contains(claimNames(&p.Spec), c.Claim.Name) && !slices.Contains(e.Pods, p) {
			c.UsedBy = append(c.UsedBy, p)
		}
	}
	slices.SortFunc(c.UsedBy, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
}
