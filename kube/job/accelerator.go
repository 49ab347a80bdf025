package job

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

var acceleratorNames = []string{
	"nvidia.com/gpu", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe",
	"google.com/tpu", "habana.ai/gaudi", "aws.amazon.com/neuron", "aws.amazon.com/neuroncore", "aws.amazon.com/neurondevice",
}

// IsAccelerator tells the resources that are GPUs and their like, slices of them included.
func IsAccelerator(resource string) bool {
	return slices.Contains(acceleratorNames, resource) ||
		strings.HasPrefix(resource, "nvidia.com/mig-") || strings.HasPrefix(resource, "huawei.com/Ascend")
}

// Accelerators are what the scheduler reserves for a pod, by extended resource: what the containers and sidecars request
// together, or one init container more than that. It is nil for none.
func Accelerators(spec *corev1.PodSpec) map[string]int64 {
	var together map[string]int64
	add := func(to map[string]int64, res string, n int64) map[string]int64 {
		if to == nil {
			to = map[string]int64{}
		}
		to[res] += n
		return to
	}
	var before, sidecars map[string]int64
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		always := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		for res, n := range requested(c) {
			if always {
				sidecars, together = add(sidecars, res, n), add(together, res, n)
				n = 0
			}
			if more := sidecars[res] + n - before[res]; more > 0 {
				before = add(before, res, more)
			}
		}
	}
	for i := range spec.Containers {
		for res, n := range requested(&spec.Containers[i]) {
			together = add(together, res, n)
		}
	}
	for res, n := range before {
		if more := n - together[res]; more > 0 {
			together = add(together, res, more)
		}
	}
	return together
}

// Sum is how many accelerators there are in all, and the name of the most numerous kind.
func Sum(resources map[string]int64) (total int64, name string) {
	for res, n := range resources {
		total += n
		if n > 0 && (name == "" || n > resources[name] || n == resources[name] && res < name) {
			name = res
		}
	}
	return total, name
}

// requested are the accelerators of one container; a limit stands for a request that is not written.
func requested(c *corev1.Container) map[string]int64 {
	var out map[string]int64
	for _, list := range []corev1.ResourceList{c.Resources.Limits, c.Resources.Requests} {
		for res, q := range list {
			if !IsAccelerator(string(res)) {
				continue
			}
			if out == nil {
				out = map[string]int64{}
			}
			out[string(res)] = q.Value()
		}
	}
	return out
}
