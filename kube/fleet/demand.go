package fleet

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// demand is what pods ask for when all of them run at once.
type demand struct {
	// pods is how many there are, Unknown where only the pods tell.
	pods int64
	// asks says that a template asks for accelerators, even where pods is 0 or Unknown.
	asks bool
	// resources are accelerators by extended resource.
	resources map[string]int64
	// claims are the ResourceClaims and templates that the pods name.
	claims            []claimUse
	product, priority string
}

// claimUse is a claim, or a template for claims, that pods name.
type claimUse struct {
	// name of the ResourceClaim, or, where each pod gets its own, template of them. Both are in the pods' namespace.
	name, template string
	// pods is how many pods use it.
	pods int64
}

// add joins two demands.
func (d *demand) add(other demand) {
	if d.pods != Unknown && other.pods != Unknown {
		d.pods += other.pods
	} else {
		d.pods = Unknown
	}
	d.asks = d.asks || other.asks
	d.resources = plus(d.resources, other.resources, 1)
	d.claims = append(d.claims, other.claims...)
	d.product, d.priority = orElse(d.product, other.product), orElse(d.priority, other.priority)
}

// demandOf is what n pods of a spec ask for; n may be Unknown.
func demandOf(spec *corev1.PodSpec, n int64) demand {
	one := job.Accelerators(spec)
	d := demand{pods: n, asks: len(one) > 0, product: productAsked(spec), priority: spec.PriorityClassName}
	d.resources = plus(nil, one, max(n, 0))
	for _, c := range claimsOf(spec) {
		c.pods = max(n, 0)
		d.claims = append(d.claims, c)
	}
	return d
}

// plus adds n times more to a; a is changed unless it is nil.
func plus(a, more map[string]int64, n int64) map[string]int64 {
	for res, k := range more {
		if k = times(max(k, 0), n); k == 0 {
			continue
		}
		if a == nil {
			a = map[string]int64{}
		}
		a[res] += k
	}
	return a
}

// demand reads the pod templates of an object.
func (k *kind) demand(object map[string]any) demand {
	d, found := demand{}, false
	for i := range k.sets {
		s := &k.sets[i]
		for _, place := range at(object, s.path) {
			found = true
			if !truth(place, s.unless) {
				d.add(demandOf(s.spec(place), s.pods(place)))
			}
		}
	}
	if k.wraps != "" {
		for _, inner := range at(object, k.wraps) {
			found = true
			d.add(wrapped(inner))
		}
	}
	if !found {
		d.pods = Unknown
	}
	return d
}

// pods is how many pods are made of the template at a place.
func (s *set) pods(place any) int64 {
	if len(s.counts) == 0 {
		return Unknown
	}
	n := int64(1)
	for _, c := range s.counts {
		by := c.otherwise
		if c.path != "" {
			by = whole(place, c.path, c.otherwise)
		}
		n = times(n, max(by+c.plus, 0))
	}
	return n
}

// wrapped is the demand of an object that stands inside of another.
func wrapped(inner any) demand {
	o, ok := inner.(map[string]any)
	if !ok {
		return demand{}
	}
	kindName, apiVersion := text(o, "kind"), text(o, "apiVersion")
	for _, k := range append(kinds(), builtin()...) {
		if k.kind == kindName && k.group == (Ref{APIVersion: apiVersion}).group() {
			return k.demand(o)
		}
	}
	return demand{} // a Service, a ConfigMap
}

// spec is the pod spec of one place.
func (s *set) spec(place any) *corev1.PodSpec {
	var spec corev1.PodSpec
	for _, path := range s.templates {
		if found := at(place, below(path, "spec")); len(found) > 0 {
			into(found[0], &spec)
			return &spec
		}
	}
	for _, path := range s.containers {
		for _, found := range at(place, path) {
			var c corev1.Container
			into(found, &c)
			spec.Containers = append(spec.Containers, c)
		}
	}
	if s.resources != "" {
		var c corev1.Container
		for _, found := range at(place, s.resources) {
			into(found, &c.Resources)
		}
		spec.Containers = append(spec.Containers, c)
	}
	if len(spec.Containers) > 0 { // of the pod's own fields, those that stand beside the containers
		var beside struct {
			NodeSelector map[string]string `json:"nodeSelector"`
			Affinity     *corev1.Affinity  `json:"affinity"`
		}
		into(place, &beside)
		spec.NodeSelector, spec.Affinity = beside.NodeSelector, beside.Affinity
	}
	return &spec
}

// into reads a part of an object into its type, as far as it is of that form.
func into(v, to any) {
	if m, ok := v.(map[string]any); ok {
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(m, to)
	}
}

// productAsked is the model of accelerator that a pod's node selector or required affinity names.
func productAsked(spec *corev1.PodSpec) string {
	labels := productLabels()
	if p := mark(labels, spec.NodeSelector); p != "" {
		return p
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil || spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	found := map[string]string{}
	for _, term := range spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Operator != corev1.NodeSelectorOpIn || len(e.Values) != 1 {
				continue
			}
			if had, ok := found[e.Key]; ok && had != e.Values[0] {
				return "" // several would do
			}
			found[e.Key] = e.Values[0]
		}
	}
	return mark(labels, found)
}

// claimsOf are the ResourceClaims and templates that a pod spec names.
func claimsOf(spec *corev1.PodSpec) []claimUse {
	var out []claimUse
	for i := range spec.ResourceClaims {
		c := &spec.ResourceClaims[i]
		switch {
		case c.ResourceClaimName != nil:
			out = append(out, claimUse{name: *c.ResourceClaimName})
		case c.ResourceClaimTemplateName != nil:
			out = append(out, claimUse{template: *c.ResourceClaimTemplateName})
		}
	}
	return out
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
