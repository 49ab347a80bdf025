package plugin

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// envOf reads NAME=VALUE.
func envOf(pairs []string) ([]corev1.EnvVar, error) {
	var out []corev1.EnvVar
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--env %q: it is NAME=VALUE", p)
		}
		out = append(out, corev1.EnvVar{Name: name, Value: value})
	}
	return out, nil
}

// resourcesOf are the requests of a pod; memory, which cannot be taken back, is the limit too.
func resourcesOf(cpu, memory string) (corev1.ResourceRequirements, error) {
	var out corev1.ResourceRequirements
	for _, r := range []struct {
		flag, text string
		name       corev1.ResourceName
		limit      bool
	}{{"cpu", cpu, corev1.ResourceCPU, false}, {"memory", memory, corev1.ResourceMemory, true}} {
		if r.text == "" {
			continue
		}
		q, err := resource.ParseQuantity(r.text)
		if err != nil || q.Sign() <= 0 {
			return out, fmt.Errorf("--%s %q is no amount such as 500m or 2Gi", r.flag, r.text)
		}
		if out.Requests == nil {
			out.Requests = corev1.ResourceList{}
		}
		out.Requests[r.name] = q
		if r.limit {
			out.Limits = corev1.ResourceList{r.name: q}
		}
	}
	return out, nil
}
