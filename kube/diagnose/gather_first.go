package diagnose

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// first reads what the diagnosis of any work needs, all at once. The pods of the whole cluster come later.
func (g *gatherer) first(ctx context.Context) (*fleet.Snapshot, error) {
	var s *fleet.Snapshot
	var err error
	cs := g.c.Kube
	var tasks sync.WaitGroup
	tasks.Go(func() { s, err = fleet.Read(ctx, g.c, fleet.Options{Namespace: g.ns, Plain: true}) })
	var binding context.Context
	binding, g.unbind = context.WithCancel(ctx)
	g.binding.Go(func() { g.pods, g.podsErr = g.readBound(binding) })
	tasks.Go(func() {
		l, err := cs.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if !g.failed("the nodes, so what is free on them", err) {
			g.cluster = NewCluster(l.Items)
		}
	})
	tasks.Go(func() {
		l, err := cs.CoreV1().ResourceQuotas(g.ns).List(ctx, metav1.ListOptions{})
		if !g.failed("quotas", err) {
			g.quotas = l.Items
		}
	})
	tasks.Go(func() {
		l, err := cs.CoreV1().LimitRanges(g.ns).List(ctx, metav1.ListOptions{})
		if !g.failed("limit ranges", err) {
			g.limits = l.Items
		}
	})
	tasks.Go(func() {
		l, err := cs.Discovery().ServerGroups()
		if g.failed("the kinds of the cluster", err) {
			return
		}
		g.groups = map[string][]string{}
		for _, group := range l.Groups {
			versions := []string{group.PreferredVersion.Version}
			for _, v := range group.Versions {
				if v.Version != group.PreferredVersion.Version {
					versions = append(versions, v.Version)
				}
			}
			g.groups[group.Name] = versions
		}
	})
	tasks.Wait()
	return s, err
}

// orUnseen adds to an error which kinds could not be looked through.
func (g *gatherer) orUnseen(err error, problems []fleet.Problem) error {
	for _, p := range problems {
		err = fmt.Errorf("%w\n  %s could not be looked through: %s", err, p.Resource, g.said(p.Err))
	}
	return err
}

// readBound reads the pods of the cluster that hold something of a node.
func (g *gatherer) readBound(ctx context.Context) ([]corev1.Pod, error) {
	var out []corev1.Pod
	err := pages(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"}, g.c.Kube.CoreV1().Pods(metav1.NamespaceAll).List, func(l *corev1.PodList) {
		for i := range l.Items {
			l.Items[i].ManagedFields = nil
		}
		out = append(out, l.Items...)
	})
	return out, err
}

// bind waits for the pods with a node where any of the works has not ended, and adds up what is free. Of what has ended
// the nodes are known, and what is free on them is of no interest.
func (g *gatherer) bind(works []*fleet.Work) {
	if !slices.ContainsFunc(works, func(w *fleet.Work) bool { return !w.Final() }) {
		g.unbind()
		g.binding.Wait()
		return
	}
	g.binding.Wait()
	for i := range g.pods {
		g.keep(&g.pods[i])
	}
	if g.cluster == nil {
		return
	}
	if g.failed("what the pods of other namespaces hold, so what is free on the nodes", g.podsErr) {
		return
	}
	for i := range g.pods {
		g.cluster.Bind(&g.pods[i])
	}
	g.cluster.HeldKnown = true
}

// keep remembers a pod of the namespaces looked at.
func (g *gatherer) keep(p *corev1.Pod) {
	if g.ns != "" && p.Namespace != g.ns {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bound[string(p.UID)] = p
}

const pageSize = 500

// pages reads a list to its end, page by page.
func pages[L metav1.ListInterface](ctx context.Context, o metav1.ListOptions, ask func(context.Context, metav1.ListOptions) (L, error), put func(L)) error {
	o.Limit = pageSize
	for {
		l, err := ask(ctx, o)
		if err != nil {
			return err
		}
		put(l)
		if o.Continue = l.GetContinue(); o.Continue == "" {
			return nil
		}
	}
}

// has says whether the server has an API group, and with which of the versions that this program knows.
func (g *gatherer) has(group string, versions ...string) (string, bool) {
	for _, v := range g.groups[group] {
		if slices.Contains(versions, v) {
			return v, true
		}
	}
	return "", false
}
