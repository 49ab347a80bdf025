package job

import "testing"

func TestIsAccelerator(t *testing.T) {
	for _, name := range []string{
		"nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-1g.10gb.shared", "nvidia.com/gpu-10gb", "nvidia.com/pgpu",
		"amd.com/gpu", "amd.com/cpx_nps4", "gpu.intel.com/i915", "gpu.intel.com/xe", "npu.intel.com/accel",
		"google.com/tpu", "cloud-tpus.google.com/v3", "habana.ai/gaudi", "aws.amazon.com/neuron", "aws.amazon.com/neuroncore", "aws.amazon.com/neurondevice",
		"huawei.com/Ascend910", "huawei.com/Ascend310P", "huawei.com/Ascend910B4-1", "huawei.com/npu",
		"cambricon.com/mlu", "cambricon.com/vmlu", "cambricon.com/mlu370", "hygon.com/dcu", "hygon.com/dcunum",
		"metax-tech.com/gpu", "metax-tech.com/sgpu", "mthreads.com/gpu", "mthreads.com/vgpu", "iluvatar.ai/gpu", "iluvatar.ai/MR-V100-vgpu",
		"enflame.com/gcu", "enflame.com/drs-gcu", "kunlunxin.com/xpu", "kunlunxin.com/vxpu", "baidu.com/a100_80g_cgpu", "vastaitech.com/va",
		"birentech.com/gpu", "furiosa.ai/rngd", "furiosa.ai/rngd-2core.12gb", "beta.furiosa.ai/npu", "rebellions.ai/ATOM", "qualcomm.com/qaic", "tenstorrent.com/n300",
		"volcano.sh/vgpu-number", "volcano.sh/gpu-number", "k8s.amazonaws.com/vgpu", "aliyun.com/gpu", "aliyun.com/ppu", "koordinator.sh/gpu.shared",
		"example.com/gpu", "deviceclass.resource.kubernetes.io/gpu.nvidia.com",
	} {
		if !IsAccelerator(name) {
			t.Errorf("%s counts devices", name)
		}
	}
	for _, name := range []string{
		"cpu", "memory", "pods", "ephemeral-storage", "hugepages-2Mi", "gpu", "", "/", "requests.nvidia.com", "rdma/hca_shared", "intel.com/sriov", "vpc.amazonaws.com/efa",
		"nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores", "nvidia.com/priority", "nvidia.com/hostdev", "amd.com/gpumem", "amd.com/gpucores",
		"gpu.intel.com/i915_monitoring", "gpu.intel.com/memory.max", "gpu.intel.com/millicores", "cambricon.com/mlu.smlu.vmemory", "cambricon.com/mlu.smlu.vcore",
		"hygon.com/dcumem", "hygon.com/dcucores", "metax-tech.com/vcore", "metax-tech.com/vmemory", "mthreads.com/sgpu-memory", "mthreads.com/sgpu-core",
		"iluvatar.ai/MR-V100.vMem", "iluvatar.ai/MR-V100.vCore", "iluvatar.ai/vcuda-core", "enflame.com/gcu-memory", "kunlunxin.com/vxpu-memory", "huawei.com/Ascend910B2-memory",
		"huawei.com/Ascend910B2-core", "baidu.com/a100_80g_cgpu_memory", "baidu.com/a100_80g_cgpu_core", "volcano.sh/vgpu-memory", "volcano.sh/vgpu-cores", "volcano.sh/gpu-memory",
		"aliyun.com/gpu-mem", "aliyun.com/gpu-core.percentage", "tencent.com/vcuda-core", "tencent.com/vcuda-memory", "koordinator.sh/gpu", "koordinator.sh/gpu-core",
		"deviceclass.resource.kubernetes.io/nic.example.com",
	} {
		if IsAccelerator(name) {
			t.Errorf("%s counts no devices", name)
		}
	}
}

func TestIsAcceleratorDriver(t *testing.T) {
	for name, want := range map[string]bool{
		"gpu.nvidia.com": true, "mig.nvidia.com": true, "vfio.gpu.nvidia.com": true, "compute-domain.nvidia.com": false, "gpu.amd.com": true, "gpu.intel.com": true,
		"gaudi.intel.com": true, "tpu.google.com": true, "neuron.aws.com": true, "npu.furiosa.ai": true, "npu.rebellions.ai": true, "hami-core-gpu.project-hami.io": true,
		"gpu.example.com": true, "dra.net": false, "cpu": false, "nic.example.com": false, "": false,
	} {
		if IsAcceleratorDriver(name) != want {
			t.Errorf("%s: want %t", name, want)
		}
	}
}
