package diagnose

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func TestExits(t *testing.T) {
	one := func(code int32, reason string) *Evidence {
		return died(ended(pod("train-0", "memory", "8Gi"), code, reason, time.Minute))
	}
	for name, f := range map[string]finding{
		"out of memory":      {one(137, "OOMKilled"), "OOMKilled", Certain, []string{"more memory than its limit of 8Gi", "raise limits.memory"}},
		"no limit":           {died(ended(pod("train-0"), 137, "OOMKilled", time.Minute)), "OOMKilled", Certain, []string{"no limit of its own"}},
		"node out of memory": {one(137, "Error").event("node/n1", "SystemOOM", "kubelet", "System OOM encountered, victim process: python, pid: 4711"), "NodeOutOfMemory", Likely, []string{"pid: 4711"}},
		"killed":             {one(137, "Error"), "Killed", Likely, []string{"the kubelet did not say OOMKilled"}},
		"stopped":            {one(143, "Error"), "Terminated", Likely, []string{"nothing in the cluster says who asked"}},
		"segfault":           {one(139, "Error"), "SegmentationFault", Certain, []string{"PYTHONFAULTHANDLER"}},
		"aborted":            {one(134, "Error"), "Aborted", Likely, nil},
		"bus":                {one(135, "Error"), "BusError", Likely, []string{"/dev/shm"}},
		"no command":         {one(127, "Error"), "CommandNotFound", Certain, nil},
		"not executable":     {one(126, "Error"), "NotExecutable", Certain, nil},
		"start error": {func() *Evidence {
			e := one(128, "StartError")
			e.Pods[0].Status.ContainerStatuses[0].State.Terminated.Message = `failed to create containerd task: exec: "trian": executable file not found in $PATH`
			return e
		}(), "CommandNotFound", Certain, []string{"trian"}},
		"its own": {one(3, "Error").log("train-0", "loading", "bad config: lr must be positive", ""), "ProgramFailed", Certain, []string{"exit code 3", "log: bad config: lr must be positive", "kubectl ml logs train-0 -c main"}},
		"crash loop": {func() *Evidence {
			p := pod("serve-0")
			p.Spec.NodeName, p.Status.Phase = "n1", corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: 7, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", FinishedAt: ago(time.Minute)}}}}
			e := waits(nil, p)
			e.Work.State, e.Work.Kind = job.Running, "Deployment"
			return e
		}(), "OOMKilled", Certain, []string{"kubectl edit deployment/train"}},
		"first rank": {
			died(rank(ended(pod("w-0"), 143, "Error", 10*time.Second), 0), rank(ended(pod("w-1"), 1, "Error", 30*time.Second), 1), rank(ended(pod("w-2"), 1, "Error", 12*time.Second), 2)).log("w-1", "Traceback (most recent call last):", `  File "train.py", line 3, in <module>`, "ValueError: bad shard"),
			"PythonError", Certain, []string{"ValueError: bad shard", "rank 1 failed first, 18s before the next of 2 others"},
		},
		"others were stopped": {
			died(rank(ended(pod("w-0"), 143, "Error", 30*time.Second), 0), rank(ended(pod("w-1"), 1, "Error", 10*time.Second), 1)), "ProgramFailed", Certain, []string{"rank 1 failed by itself; 1 other was stopped"},
		},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

func TestLosses(t *testing.T) {
	lost := func(reason, message string) *Evidence {
		p := pod("train-0")
		p.Spec.NodeName, p.Status.Phase, p.Status.Reason, p.Status.Message = "n1", corev1.PodFailed, reason, message
		return died(p)
	}
	target := func(reason, message string) *Evidence {
		e := lost("", "")
		e.Pods[0].Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message}}
		return e
	}
	spot := func(e *Evidence) *Evidence {
		e.Cluster = cluster(node("n1", 8, labelled("karpenter.sh/capacity-type", "spot")))
		return e
	}
	for name, f := range map[string]finding{
		"memory":                {lost("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container main was using 60Gi, request is 0, has larger consumption of memory. "), "EvictedForMemory", Certain, []string{"request is 0"}},
		"disk":                  {lost("Evicted", "The node was low on resource: ephemeral-storage. "), "EvictedForDisk", Certain, nil},
		"own limit":             {lost("Evicted", `Container main exceeded its local ephemeral storage limit "10Gi". `), "EphemeralStorageExceeded", Certain, []string{"limit of 10Gi"}},
		"shm":                   {lost("Evicted", `Usage of EmptyDir volume "dshm" exceeds the limit "8Gi". `), "EmptyDirExceeded", Certain, []string{"dshm grew beyond 8Gi"}},
		"preempted":             {target("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod").event("pod/train-0", "Preempted", "default-scheduler", "Preempted by pod 1234 on node n1"), "Preempted", Certain, []string{"Preempted by pod 1234 on node n1"}},
		"only an event is left": {died().event("pod/train-abcde", "Preempted", "default-scheduler", "Preempted by pod 1234 on node n1").jobFailed("BackoffLimitExceeded", "Job has reached the specified backoff limit"), "Preempted", Likely, []string{"Preempted by pod 1234 on node n1", "Job has reached the specified backoff limit"}},
		"not ready": {func() *Evidence {
			p := pod("serve-0")
			p.Spec.NodeName, p.Status.Phase = "n1", corev1.PodRunning
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
			e := waits(nil, p).event("pod/serve-0", "Unhealthy", "kubelet", "Readiness probe failed: HTTP probe failed with statuscode: 503")
			e.Work.State = job.Running
			return e
		}(), "NotReady", Likely, []string{"statuscode: 503", "kubectl ml logs serve-0"}},
		"drained":      {target("EvictionByEvictionAPI", "Eviction API: evicting"), "Drained", Certain, nil},
		"node gone":    {spot(target("DeletionByPodGC", "PodGC: node no longer exists")), "NodeGone", Certain, []string{"n1 is a spot node"}},
		"shutdown":     {lost("Terminated", "Pod was terminated in response to imminent node shutdown."), "NodeShutdown", Certain, nil},
		"refused":      {lost("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected"), "DeviceUnhealthy", Certain, []string{"kubectl cordon n1"}},
		"filled up":    {lost("OutOfnvidia.com/gpu", "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu"), "NodeFilledUp", Certain, nil},
		"pod deadline": {lost("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"), "DeadlineExceeded", Certain, nil},
		"probe":        {died(ended(pod("train-0"), 137, "Error", time.Minute)).event("pod/train-0", "Unhealthy", "kubelet", "Liveness probe failed: HTTP probe failed with statuscode: 503").event("pod/train-0", "Killing", "kubelet", "Container main failed liveness probe, will be restarted"), "ProbeFailed", Certain, []string{"statuscode: 503"}},
		"deadline":     {died().job(func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = ptr.To(int64(3600)) }).jobFailed("DeadlineExceeded", "Job was active longer than specified deadline"), "DeadlineExceeded", Certain, []string{"of 60m (activeDeadlineSeconds: 3600)"}},
		"out of tries": {died().jobFailed("BackoffLimitExceeded", "Job has reached the specified backoff limit"), "RetriesExhausted", Certain, []string{"its pods are gone"}},
		"its policy":   {died(ended(pod("train-0"), 42, "Error", time.Minute)).jobFailed("PodFailurePolicy", "Container main for pod team/train-0 failed with exit code 42 matching FailJob rule at index 0"), "ProgramFailed", Certain, []string{"possible PodFailurePolicy", "matching FailJob rule at index 0"}},
		"nothing left": {died(), "Unexplained", Possible, nil},
		"being deleted": {func() *Evidence {
			p := pod("train-0")
			p.Spec.NodeName, p.Status.Phase = "n1", corev1.PodRunning
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = ptr.To(ago(-20*time.Second)), ptr.To(int64(30))
			e := waits(nil, p)
			e.Work.State = job.Running
			return e
		}(), "BeingDeleted", Likely, nil},
	} {
		t.Run(name, func(t *testing.T) { f.check(t) })
	}
}

// Lines as the named programs write them.
func TestLogLines(t *testing.T) {
	for code, lines := range map[string][]string{
		"CUDAOutOfMemory": {
			"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of 31.47 GiB of which 12.73 GiB is free. Including non-PyTorch memory, this process has 18.73 GiB memory in use.",
			"torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 55.57 GiB. GPU 0 has a total capacty of 12.00 GiB of which 9.02 GiB is free. Of the allocated memory",
			"RuntimeError: CUDA out of memory. Tried to allocate 2.26 GiB (GPU 0; 6.00 GiB total capacity; 781.59 MiB already allocated; 3.03 GiB free; 1.24 GiB reserved in total by PyTorch)",
			"torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has",
			"RuntimeError: CUDA error: out of memory",
			"jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.",
			"tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[64,1024]",
		},
		"NCCLTimeout": {
			"[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=466119168, NumelOut=466119168, Timeout(ms)=600000) ran for 600060 milliseconds before timing out.",
			"[E ProcessGroupNCCL.cpp:737] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=469508, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1802212 milliseconds before timing out.",
		},
		"NCCLSystemError": {
			"torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1333, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.18.1",
			"ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
		},
		"XID": {
			"NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
			"kernel: [16450076.435595] NVRM: Xid (PCI:0001:00:00): 119, pid=1512646, name=kit, Timeout after 45s of waiting for RPC response from GPU2 GSP! Expected function 10 (FREE)",
			"health check: XID error 48 on GPU 3",
		},
		"CUDADriverTooOld":     {"RuntimeError: The NVIDIA driver on your system is too old (found version 12090). Please update your GPU driver", "CUDA driver version is insufficient for CUDA runtime version"},
		"CUDAArchitecture":     {"RuntimeError: CUDA error: no kernel image is available for execution on the device"},
		"DeviceAssert":         {"RuntimeError: CUDA error: device-side assert triggered"},
		"CUDAIllegalAccess":    {"RuntimeError: CUDA error: an illegal memory access was encountered"},
		"GPUMemoryFault":       {"RuntimeError: CUDA error: uncorrectable ECC error encountered"},
		"NoGPUInContainer":     {"RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"},
		"SharedMemoryTooSmall": {"RuntimeError: DataLoader worker (pid 12345) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit."},
		"DataLoaderKilled":     {"RuntimeError: DataLoader worker (pid(s) 12345) exited unexpectedly"},
		"DiskFull":             {"OSError: [Errno 28] No space left on device: '/ckpt/model.pt'"},
		"PythonModuleMissing":  {"ModuleNotFoundError: No module named 'flash_attn'"},
		"FileNotFound":         {"FileNotFoundError: [Errno 2] No such file or directory: '/data/train.csv'", "python3: can't open file '/ml/src/trian.py': [Errno 2] No such file or directory"},
		"PermissionDenied":     {"PermissionError: [Errno 13] Permission denied: '/data/out'"},
		"MasterUnreachable": {
			"torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (train-0.train, 29500).",
			"[W socket.cpp:663] [c10d] The client socket has failed to connect to [train-0.train]:29500 (errno: 111 - Connection refused).",
		},
		"NameNotResolved": {"[W socket.cpp:601] [c10d] The IPv6 network addresses of (train-0.train, 29500) cannot be retrieved (gai error: -2 - Name or service not known)."},
		"RanksMissing":    {"torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 3/4 clients joined."},
		"HubGated":        {"Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.1-8B/resolve/main/config.json."},
		"Unauthorized":    {"requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/models/x"},
		"LossNaN":         {"ValueError: loss is nan at step 1200, stopping"},
	} {
		for _, line := range lines {
			t.Run(code, func(t *testing.T) {
				e := died(ended(pod("train-0"), 1, "Error", time.Minute)).log("train-0", "epoch 1/10 loss=0.4", line, "")
				c, _ := Diagnose(e).First()
				if c.Code != code || c.Likelihood == Possible {
					t.Errorf("%s %s (%s) from: %s", c.Likelihood, c.Code, c.Title, line)
				}
				if !strings.Contains(strings.Join(c.Evidence, "\n"), strings.TrimSpace(line)) {
					t.Errorf("the line is no evidence:\n%s", strings.Join(c.Evidence, "\n"))
				}
			})
		}
	}
}

func TestLogsTellTheCauseBeforeItsConsequences(t *testing.T) {
	e := died(rank(ended(pod("w-1"), 1, "Error", 20*time.Second), 1), rank(ended(pod("w-0"), 134, "Error", 10*time.Second), 0))
	e.log("w-1", "RuntimeError: CUDA error: device-side assert triggered")
	e.log("w-0", "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600013 milliseconds before timing out.")
	finding{e, "DeviceAssert", Certain, []string{"possible NCCLTimeout", "rank 1 failed first, 10s before"}}.check(t)
}

func TestSizesOfCUDAOutOfMemory(t *testing.T) {
	e := died(ended(pod("train-0"), 1, "Error", time.Minute)).log("train-0", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 3 has a total capacity of 31.47 GiB of which 12.73 GiB is free. Including")
	finding{e, "CUDAOutOfMemory", Certain, []string{"GPU 3 ran out of memory: 22.78 GiB more were wanted, 12.73 GiB of 31.47 GiB are free"}}.check(t)
}

func TestXIDNamesTheNodeToKeepAwayFrom(t *testing.T) {
	e := died(ended(pod("train-0"), 1, "Error", time.Minute)).log("train-0", "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.")
	finding{e, "XID", Certain, []string{"XID 79: GPU has fallen off the bus (PCI:0000:3b:00)", "kubectl cordon n1"}}.check(t)
	e = died(ended(pod("train-0"), 1, "Error", time.Minute)).log("train-0", "NVRM: Xid (PCI:0000:3b:00): 31, pid=1234, Ch 0000003b")
	finding{e, "XID", Certain, []string{"GPU memory page fault", "CUDA_LAUNCH_BLOCKING=1"}}.check(t)
}

func TestStagesAreStartedAgainByTheirRun(t *testing.T) {
	e := died(ended(pod("p-x1-train"), 3, "Error", time.Minute))
	e.Work.Labels = map[string]string{kube.LabelRun: "p-x1", kube.LabelStage: "train"}
	finding{e, "ProgramFailed", Certain, []string{"kubectl ml retry p-x1 --from train"}}.check(t)
	e.Job = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "nightly-1", OwnerReferences: []metav1.OwnerReference{{Kind: "CronJob", Name: "nightly"}}}}
	e.Work.Labels = nil
	finding{e, "ProgramFailed", Certain, []string{"kubectl create job nightly-again --from=cronjob/nightly"}}.check(t)
}

func TestLongLinesAreCut(t *testing.T) {
	line := "RuntimeError: CUDA error: device-side assert triggered " + strings.Repeat("ä", 5000)
	e := died(ended(pod("train-0"), 1, "Error", time.Minute)).log("train-0", line)
	for _, text := range Diagnose(e).Causes[0].Evidence {
		if len(text) > 2*longest || !utf8.ValidString(text) {
			t.Errorf("%d bytes of evidence, valid: %t", len(text), utf8.ValidString(text))
		}
	}
}
