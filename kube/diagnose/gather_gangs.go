package diagnose

import (
	"cmp"
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// gangKind is a kind of PodGroup and how pods name theirs.
type gangKind struct {
	group    string
	versions []string
	name     func(*corev1.Pod) string
	// min leads to how many pods must fit at once.
	min []string
}

// gangKinds are those of Volcano, of the coscheduling plugin, of KAI and of Kubernetes itself (1.36 on).
var gangKinds = []gangKind{
	{"scheduling.volcano.sh", []string{"v1beta1"}, func(p *corev1.Pod) string {
		return cmp.Or(p.Annotations["scheduling.k8s.io/group-name"], p.Annotations["scheduling.volcano.sh/group-name"])
	}, []string{"spec", "minMember"}},
	{"scheduling.x-k8s.io", []string{"v1alpha1"}, func(p *corev1.Pod) string {
		return cmp.Or(p.Labels["scheduling.x-k8s.io/pod-group"], p.Labels["pod-group.scheduling.sigs.k8s.io"])
	}, []string{"spec", "minMember"}},
	{"scheduling.run.ai", []string{"v2alpha2"}, func(p *corev1.Pod) string { return p.Annotations["pod-group-name"] }, []string{"spec", "minMember"}},
	{"scheduling.k8s.io", []string{"v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"}, func(p *corev1.Pod) string {
		if p.Spec.SchedulingGroup == nil || p.Spec.SchedulingGroup.PodGroupName == nil {
			return ""
		}
		return *p.Spec.SchedulingGroup.PodGroupName
	}, []string{"spec", "schedulingPolicy", "gang", "minCount"}},
}

// mostGangs bounds how many groups are read.
const mostGangs = 20

// readGangs reads the pod groups that waiting pods name.
func (g *gatherer) readGangs(ctx context.Context, list []*Evidence) {
	var mu sync.Mutex
	var tasks sync.WaitGroup
	asked := 0
	for _, e := range list {
		for _, k := range gangKinds {
			version, ok := g.has(k.group, k.versions...)
			if !ok || asked == mostGangs {
				continue
			}
			var names []string
			for _, p := range e.unscheduled() {
				if name := k.name(p); name != "" && !slices.Contains(names, name) && len(names) < 3 {
					names = append(names, name)
				}
			}
			for _, name := range names {
				asked++
				tasks.Go(func() {
					gang, ok := g.gang(ctx, k, version, e.Work.Namespace, name)
					mu.Lock()
					defer mu.Unlock()
					if ok {
						e.Gangs = append(e.Gangs, gang)
					}
				})
			}
		}
	}
	tasks.Wait()
}

func (g *gatherer) gang(ctx context.Context, k gangKind, version, ns, name string) (Gang, bool) {
	gvr := schema.GroupVersionResource{Group: k.group, Version: version, Resource: "podgroups"}
	out := Gang{Resource: "podgroups." + k.group, Name: name}
	u, err := g.c.Dynamic.Resource(gvr).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		out.Missing = true
		return out, true
	}
	if g.failed("pod groups", err) {
		return out, false
	}
	decodeGang(u, k, &out)
	return out, true
}

func decodeGang(u *unstructured.Unstructured, k gangKind, out *Gang) {
	out.Min, _, _ = unstructured.NestedInt64(u.Object, k.min...)
	out.Queue, _, _ = unstructured.NestedString(u.Object, "spec", "queue")
	out.Phase, _, _ = unstructured.NestedString(u.Object, "status", "phase")
	out.Conditions = rootConditions(u)
	more, _, _ := unstructured.NestedSlice(u.Object, "status", "schedulingConditions")
	for i, c := range conditionsOf(more) {
		// KAI gives the reasons as a list beside the deprecated message.
		if reasons := objectsOf(objectsOf(more)[i]["reasons"]); len(reasons) > 0 {
			c.Reason, c.Message = str(reasons[0], "reason"), str(reasons[0], "message")
		}
		out.Conditions = append(out.Conditions, fleet.Condition{Type: c.Type, Status: cmp.Or(c.Status, "True"), Reason: c.Reason, Message: c.Message, Since: c.Since})
	}
}
