package serving

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// eachBackends calls f for the backendRefs of each rule of an HTTPRoute and puts back what it returns.
func eachBackends(u *unstructured.Unstructured, f func([]any) []any) {
	spec, _ := u.Object["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	for _, rule := range rules {
		if m, ok := rule.(map[string]any); ok {
			if refs, ok := m["backendRefs"].([]any); ok {
				m["backendRefs"] = f(refs)
			}
		}
	}
}

// backendOf is the name and the weight of a backendRef; without a weight it is 1.
func backendOf(ref any) (name string, weight int64) {
	m, _ := ref.(map[string]any)
	name, _ = m["name"].(string)
	if weight, ok := m["weight"].(int64); ok {
		return name, weight
	}
	return name, 1
}

// canaryWeight is the share of a Service in the rules of an HTTPRoute, in percent: the least of those that name it.
func canaryWeight(u *unstructured.Unstructured, canary string) int {
	least := -1
	eachBackends(u, func(refs []any) []any {
		var mine, all int64
		found := false
		for _, ref := range refs {
			name, weight := backendOf(ref)
			all += weight
			if name == canary {
				mine, found = mine+weight, true
			}
		}
		if found && all > 0 {
			if w := int(100 * mine / all); least < 0 || w < least {
				least = w
			}
		}
		return refs
	})
	return max(least, 0)
}

// routed says whether a rule of an HTTPRoute leads to the Service of a name, or to one of its sides.
func routed(u *unstructured.Unstructured, name string) bool {
	found := false
	eachBackends(u, func(refs []any) []any {
		for _, ref := range refs {
			n, _ := backendOf(ref)
			found = found || n == name || n == name+"-"+sideStable
		}
		return refs
	})
	return found
}

// reweigh shares the rules of an HTTPRoute that lead to a Service: weight percent go to its canary, 0 leads all to it again.
func reweigh(u *unstructured.Unstructured, name string, port, weight int64) {
	eachBackends(u, func(refs []any) []any {
		var out []any
		var main map[string]any
		for _, ref := range refs {
			switch n, _ := backendOf(ref); n {
			case name, name + "-" + sideStable:
				m, _ := ref.(map[string]any)
				main = m
				out = append(out, m)
			case name + "-" + sideCanary:
			default:
				out = append(out, ref)
			}
		}
		if main == nil {
			return refs
		}
		main["name"], main["weight"] = name, int64(100)
		if main["port"] == nil {
			main["port"] = port
		}
		if weight == 0 {
			return out
		}
		main["name"], main["weight"] = name+"-"+sideStable, 100-weight
		return append(out, map[string]any{"name": name + "-" + sideCanary, "port": main["port"], "weight": weight})
	})
}

// setWeight gives the canary a share of the route; the last time it marks that no more is to come.
func (l *live) setWeight(ctx context.Context, weight int64, last bool) error {
	if l.route == nil {
		return nil
	}
	u := l.route.DeepCopy()
	port := int64(servicePort)
	if l.service != nil && len(l.service.Spec.Ports) > 0 {
		port = int64(l.service.Spec.Ports[0].Port)
	}
	if !routed(u, l.name) {
		return fmt.Errorf("httproute %s has no rule that leads to service %s any more", u.GetName(), l.name)
	}
	if weight > 0 {
		if err := l.sideServices(ctx); err != nil {
			return err
		}
	}
	reweigh(u, l.name, port, weight)
	if last {
		notes := u.GetAnnotations()
		put(&notes, map[string]string{kube.AnnotationRollout: l.rec.ID})
		u.SetAnnotations(notes)
	}
	got, err := l.c.Dynamic.Resource(routes()).Namespace(l.c.Namespace).Update(ctx, u, updated())
	if err == nil {
		l.route = got
	}
	return l.explain("share httproute "+u.GetName(), err)
}
