package cluster

import "fmt"

// gpuNode is a simulated node as nodes.yaml writes it.
type gpuNode struct {
	Name, Zone string
	model
	// Allocatable is what its device plugin offers; less than GPUs when some are broken.
	Allocatable int
	Cordoned    bool
	// NotReady is the kubelet's message, if it is not ready.
	NotReady string
	// Taint is one key=value:effect of its own, as YAML.
	Taint string
}

// model is a kind of GPU server.
type model struct {
	Instance, Resource string
	GPUs               int
	CPU, Memory        string
	// Labels are those of the vendor's feature discovery.
	Labels map[string]string
}

func nvidia(instance, product, family string, gpus, memoryMiB int, cpu, memory string) model {
	return model{instance, "nvidia.com/gpu", gpus, cpu, memory, map[string]string{
		"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": fmt.Sprint(gpus), "nvidia.com/gpu.memory": fmt.Sprint(memoryMiB),
		"nvidia.com/gpu.product": product, "nvidia.com/gpu.family": family, "nvidia.com/cuda.driver-version.full": "580.82.07",
	}}
}

// The models, and in which order nodes have them: the first eight are A100 and H100 in turn, which small sandboxes and
// their tests count on; the others repeat a mix.
func models() (first, mix []model) {
	a100 := nvidia("a100x8", "NVIDIA-A100-SXM4-80GB", "ampere", 8, 81920, "96", "1Ti")
	h100 := nvidia("h100x8", "NVIDIA-H100-80GB-HBM3", "hopper", 8, 81920, "192", "2Ti")
	l4 := nvidia("l4x4", "NVIDIA-L4", "ada-lovelace", 4, 23034, "48", "192Gi")
	mi300 := model{"mi300x8", "amd.com/gpu", 8, "192", "2Ti", map[string]string{
		"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/gpu.vram": "192G", "amd.com/gpu.family": "AI",
		"amd.com/gpu.driver-version": "6.12.12", "amd.com/gpu.cu-count": "304",
	}}
	return []model{a100, h100}, []model{h100, a100, h100, l4, a100, h100, mi300, h100, a100, l4}
}

// plain is how many of the first nodes are as nodes should be.
const plain = 8

// gpuNodes are the first n simulated nodes. Beyond the first eight some have what nodes have in a large cluster: they
// are cordoned, reserved, not ready, or have lost a GPU.
func gpuNodes(n int) []gpuNode {
	first, mix := models()
	nodes := make([]gpuNode, n)
	for i := range nodes {
		m := first[i%len(first)]
		if i >= plain {
			m = mix[(i-plain)%len(mix)]
		}
		node := gpuNode{Name: fmt.Sprintf("gpu-%d", i), Zone: fmt.Sprintf("zone-%d", i%2), model: m, Allocatable: m.GPUs}
		switch {
		case i == 11:
			node.NotReady = "container runtime is down: rpc error: code = Unavailable desc = connection refused"
		case i == 13:
			node.Allocatable--
		case i%40 == 9:
			node.Cordoned = true
		case i%20 == 12:
			node.Taint = "{key: reserved, value: research, effect: NoSchedule}"
		}
		nodes[i] = node
	}
	return nodes
}
