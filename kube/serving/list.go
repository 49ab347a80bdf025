package serving

import (
	"context"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// pageSize bounds what one request of a list brings.
const pageSize = 250

// List are the rollouts of the namespace, or of all, by namespace and name: the Deployments that serve a version of a
// model and what of them is being changed. Pods are not looked at, so the troubles are those that the Deployments tell.
func List(ctx context.Context, c *client.Client, all bool, selector string) ([]Rollout, error) {
	ns := c.Namespace
	if all {
		ns = metav1.NamespaceAll
	}
	if selector != "" {
		selector = "," + selector
	}
	type key struct{ namespace, name string }
	found := map[key]*live{}
	at := func(namespace, name string) *live {
		k := key{namespace, name}
		if found[k] == nil {
			in := *c
			in.Namespace = namespace
			found[k] = &live{c: &in, name: name, sides: map[string]*appsv1.Deployment{}}
		}
		return found[k]
	}
	opts := metav1.ListOptions{LabelSelector: kube.LabelModel + selector, Limit: pageSize}
	for {
		list, err := c.Kube.AppsV1().Deployments(ns).List(ctx, opts)
		if err != nil {
			return nil, c.Explain("list the deployments that serve models", err)
		}
		for i := range list.Items {
			d := &list.Items[i]
			name, side := sideOf(d)
			at(d.Namespace, name).sides[side] = d
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	opts = metav1.ListOptions{LabelSelector: kube.LabelModel, Limit: pageSize}
	for {
		list, err := c.Kube.CoreV1().Services(ns).List(ctx, opts)
		if err != nil {
			return nil, c.Explain("list the services of models", err)
		}
		for i := range list.Items {
			if l := found[key{list.Items[i].Namespace, list.Items[i].Name}]; l != nil {
				l.service = &list.Items[i]
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	out := make([]Rollout, 0, len(found))
	for _, l := range found {
		out = append(out, l.summary(time.Now()))
	}
	slices.SortFunc(out, func(a, b Rollout) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// sideOf is the name of a rollout and the side that a Deployment is of it.
func sideOf(d *appsv1.Deployment) (name, side string) {
	side = d.Labels[kube.LabelSide]
	if name, ok := strings.CutSuffix(d.Name, "-"+side); ok && side != "" {
		return name, side
	}
	return d.Name, sideStable
}

// summary is a rollout as lists show it. A record that cannot be read, or whose object is gone, is said and hides nothing.
func (l *live) summary(now time.Time) Rollout {
	err := l.findRecord()
	if err == nil && (l.rec != nil || l.sides[sideStable] != nil) && !isNil(l.host()) {
		return l.rollout(now)
	}
	out := Rollout{Name: l.name, Namespace: l.c.Namespace, Phase: Unmanaged, Ended: true, Object: "deployment/" + l.name}
	for side, d := range l.sides {
		out.Model, out.Version, out.Stable, out.Created, out.Labels = d.Labels[kube.LabelModel], version(d.Labels), version(d.Labels), d.CreationTimestamp.Time, d.Labels
		s := decodeSide(side, d, nil)
		out.Sides = append(out.Sides, Side{Side: side, Deployment: d.Name, Version: s.version, Replicas: s.replicas, Ready: s.ready, Updated: s.updated})
	}
	if err != nil {
		out.Message = err.Error()
	}
	return out
}

func isNil(o metav1.Object) bool {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o == nil
	case *corev1.Service:
		return o == nil
	}
	return o == nil
}

// Names are the names of all rollouts, for completion.
func Names(ctx context.Context, c *client.Client) ([]string, error) {
	list, err := List(ctx, c, false, "")
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.Name
	}
	return names, err
}
