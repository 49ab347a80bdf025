package job

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// deviceWord tells the last words of resource names by which any vendor counts whole or virtual devices: nvidia.com/gpu,
// hygon.com/dcu, kunlunxin.com/xpu, example.com/npu.
func deviceWord(word string) bool {
	switch word {
	case "gpu", "vgpu", "pgpu", "sgpu", "npu", "tpu", "xpu", "vxpu", "dcu", "mlu", "vmlu", "gcu", "vgcu", "ipu", "hpu", "ppu", "gaudi", "neuron":
		return true
	}
	return false
}

// vendorDevices are the other names under which vendors count devices, by domain. A name that ends in * stands for all
// that begin so.
func vendorDevices(domain string) []string {
	switch domain {
	case "nvidia.com":
		return []string{"gpu.*", "gpu-*", "mig-*"} // shared, renamed, slices
	case "amd.com":
		return []string{"spx_*", "dpx_*", "qpx_*", "cpx_*"} // compute partitions
	case "gpu.intel.com":
		return []string{"i915", "xe"}
	case "npu.intel.com":
		return []string{"accel"}
	case "cloud-tpus.google.com":
		return []string{"*"}
	case "aws.amazon.com":
		return []string{"neuroncore", "neurondevice"}
	case "huawei.com":
		return []string{"Ascend*"}
	case "cambricon.com":
		return []string{"mlu*"}
	case "hygon.com":
		return []string{"dcunum"}
	case "iluvatar.ai", "iluvatar.com", "furiosa.ai", "rebellions.ai", "tenstorrent.com":
		return []string{"*"}
	case "enflame.com":
		return []string{"drs-gcu", "shared-gcu"}
	case "baidu.com":
		return []string{"*_cgpu"}
	case "vastaitech.com":
		return []string{"va"}
	case "birentech.com":
		return []string{"*-gpu"}
	case "qualcomm.com":
		return []string{"qaic*"}
	case "volcano.sh":
		return []string{"vgpu-number", "gpu-number"}
	case "deviceclass.resource.kubernetes.io": // a device class of DRA asked for by its name
		return []string{"*"}
	}
	return nil
}

// IsAccelerator tells the extended resources that count GPUs and their like, slices of them included. Resources that
// measure a share of one, such as its memory or cores, count nothing.
func IsAccelerator(resource string) bool {
	i := strings.LastIndexByte(resource, '/')
	if i < 0 {
		return false
	}
	domain, name := resource[:i], resource[i+1:]
	switch domain {
	case "koordinator.sh": // hundredths
		return name == "gpu.shared"
	case "deviceclass.resource.kubernetes.io":
		return IsAcceleratorDriver(name)
	}
	if deviceWord(name) {
		return true
	}
	for _, known := range vendorDevices(domain) {
		if matches(known, name) {
			return !isShare(name)
		}
	}
	return false
}

func matches(pattern, name string) bool {
	if before, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, before)
	}
	if after, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(name, after)
	}
	return name == pattern
}

// isShare tells the resources that stand beside a count of devices and say how much of each.
func isShare(name string) bool {
	name = strings.ToLower(name)
	for _, end := range []string{"memory", "mem", "core", "cores", "percentage", "_monitoring"} {
		if strings.HasSuffix(name, end) && name != "neuroncore" {
			return true
		}
	}
	return false
}

// IsAcceleratorDriver tells the drivers and device classes of dynamic resource allocation that are for GPUs and their
// like: gpu.nvidia.com, mig.nvidia.com, gpu.amd.com, tpu.google.com, neuron.aws.com, npu.furiosa.ai.
func IsAcceleratorDriver(name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '-' || r == '/' }), func(word string) bool {
		return deviceWord(word) || word == "mig"
	})
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
