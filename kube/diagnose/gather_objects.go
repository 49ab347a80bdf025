package diagnose

import (
	"context"
	"strings"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

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
	objects, err := fleet.ResourceOf(g.c, ref)
	if err != nil {
		return nil, err
	}
	return objects.Get(ctx, ref.Name, metav1.GetOptions{})
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
