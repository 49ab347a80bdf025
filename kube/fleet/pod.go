package fleet

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// decodePod reads a pod. What its ResourceClaims hold is not in it; group adds that.
func decodePod(p *corev1.Pod) *Pod {
	out := &Pod{
		PodFact: job.DecodePod(p), Owner: controllerOf(p), Labels: p.Labels, Resources: job.Accelerators(&p.Spec),
		Role: roleOf(p.Labels), Product: productAsked(&p.Spec), Priority: p.Spec.PriorityClassName, Account: p.Spec.ServiceAccountName,
		Queue: mark(queueMarks(), p.Labels, p.Annotations), by: mark(byMarks(), p.Annotations, p.Labels),
		Bound: boundAt(p),
	}
	if len(p.Spec.Containers) > 1 {
		out.Main = job.MainContainer(p)
	}
	if len(p.Spec.ResourceClaims) > 0 {
		out.claims = podClaims(p)
	}
	return out
}

// boundAt is when the pod got its node: as its kubelet saw it, else as the scheduler did.
func boundAt(p *corev1.Pod) time.Time {
	if p.Spec.NodeName == "" {
		return time.Time{}
	}
	if p.Status.StartTime != nil {
		return p.Status.StartTime.Time
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// roleOf is the role that the operators of distributed kinds write on their pods.
func roleOf(labels map[string]string) string {
	if role := mark(roleLabels(), labels); role != "" {
		return role
	}
	switch labels["leaderworkerset.sigs.k8s.io/worker-index"] {
	case "":
		return ""
	case "0":
		return "leader"
	}
	return "worker"
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

// labelIndex is a number counted from 0 that a label holds, Unknown when it does not.
func labelIndex(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return Unknown
	}
	return n
}
