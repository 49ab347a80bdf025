package fleet

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// decodePod reads a pod. What its ResourceClaims hold is not in it; group adds that.
func decodePod(p *corev1.Pod) *Pod {
	out := &Pod{
		PodFact: job.DecodePod(p), Owner: controllerOf(p), Labels: p.Labels, Resources: job.Accelerators(&p.Spec),
		Role: mark(roleLabels(), p.Labels), Product: productAsked(&p.Spec), Priority: p.Spec.PriorityClassName, Account: p.Spec.ServiceAccountName,
		Queue: mark(queueMarks(), p.Labels, p.Annotations), by: mark(byMarks(), p.Annotations, p.Labels),
	}
	if out.Rank < 0 {
		out.Rank = rankOf(p.Labels)
	}
	if out.Queue == "" && p.Annotations["scheduling.k8s.io/group-name"] != "" {
		out.Queue = p.Annotations["scheduling.volcano.sh/queue-name"]
	}
	if len(p.Spec.ResourceClaims) > 0 {
		out.claims = podClaims(p)
	}
	return out
}

// podClaims are the names of the ResourceClaims of a pod, those made for it from templates included.
func podClaims(p *corev1.Pod) []claimUse {
	made := map[string]string{}
	for _, s := range p.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			made[s.Name] = *s.ResourceClaimName
		}
	}
	var out []claimUse
	for i := range p.Spec.ResourceClaims {
		c, use := &p.Spec.ResourceClaims[i], claimUse{pods: 1}
		if c.ResourceClaimName != nil {
			use.name = *c.ResourceClaimName
		} else {
			use.name = made[c.Name]
			if c.ResourceClaimTemplateName != nil {
				use.template = *c.ResourceClaimTemplateName
			}
		}
		if use.name != "" || use.template != "" {
			out = append(out, use)
		}
	}
	return out
}

// controllerOf is the controller of an object; its Kind is empty when there is none.
func controllerOf(o metav1.Object) Ref {
	for _, owner := range o.GetOwnerReferences() {
		if owner.Controller != nil && *owner.Controller {
			return Ref{APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: o.GetNamespace(), Name: owner.Name, UID: string(owner.UID)}
		}
	}
	return Ref{}
}

// holds says that the pod asks for accelerators, or for devices that may be some.
func (p *Pod) holds() bool { return len(p.Resources) > 0 || len(p.claims) > 0 }

// refOf names a pod as any other object.
func (p *Pod) ref() Ref {
	return Ref{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}
}
