package job

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// with changes a copy of a pod.
func with(p *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	p = p.DeepCopy()
	change(p)
	return p
}

func waitingFor(reason, message string) *corev1.Pod {
	return with(pod("a", -1), func(p *corev1.Pod) {
		p.Spec.NodeName = "n1"
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}
	})
}

func exited(code int32, reason, message string) *corev1.Pod {
	return with(ended(pod("a", -1), code), func(p *corev1.Pod) {
		t := p.Status.ContainerStatuses[0].State.Terminated
		t.Reason, t.Message = reason, message
		t.StartedAt, t.FinishedAt = metav1.NewTime(t0), metav1.NewTime(t0.Add(time.Minute))
	})
}

func TestDecodePodStates(t *testing.T) {
	now := metav1.NewTime(t0)
	for name, tc := range map[string]struct {
		pod        *corev1.Pod
		state, why string
	}{
		"running":   {running(pod("a", -1)), Running, ""},
		"succeeded": {exited(0, "Completed", `{"metrics":{}}`), Succeeded, ""},
		"unschedulable": {with(pod("a", -1), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable",
				Message: "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
			}}
		}), Pending, "Unschedulable: 0/5 nodes are available: 5 Insufficient nvidia.com/gpu."},
		"gated": {with(pod("a", -1), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "SchedulingGated", Message: "Scheduling is blocked"}}
		}), Pending, "SchedulingGated: Scheduling is blocked"},
		"new":      {pod("a", -1), Pending, "Scheduling: not assigned to a node yet"},
		"image":    {waitingFor("ImagePullBackOff", `Back-off pulling image "x"`), Pending, `ImagePullBackOff: Back-off pulling image "x"`},
		"secret":   {waitingFor("CreateContainerConfigError", `secret "x" not found`), Pending, `CreateContainerConfigError: secret "x" not found`},
		"creating": {waitingFor("ContainerCreating", ""), Pending, "ContainerCreating"},
		"init image": {with(waitingFor("PodInitializing", ""), func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "fetch", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no"},
			}}}
		}), Pending, "ErrImagePull: no"},
		"crash loop": {with(waitingFor("CrashLoopBackOff", "back-off 10s"), func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 127, Reason: "Error"}
		}), Running, "CrashLoopBackOff: exit code 127: command not found; back-off 10s"},
		"out of memory": {exited(137, "OOMKilled", ""), Failed, "OOMKilled: exit code 137: out of memory: the container used more than its memory limit"},
		"killed":        {exited(137, "Error", ""), Failed, "Error: exit code 137: SIGKILL, killed at once (out of memory, evicted, or past its grace period)"},
		"never started": {exited(128, "StartError", `exec: "x": not found`), Failed, `StartError: exec: "x": not found`},
		"evicted": {with(exited(137, "Error", ""), func(p *corev1.Pod) {
			p.Status.Reason, p.Status.Message = "Evicted", "The node was low on resource: ephemeral-storage."
		}), Failed, "Evicted: The node was low on resource: ephemeral-storage."},
		"preempted": {with(exited(143, "Error", ""), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler", Message: "preempting"}}
		}), Failed, "PreemptionByScheduler: preempting"},
		"deleted":     {with(running(pod("a", -1)), func(p *corev1.Pod) { p.DeletionTimestamp = &now }), Terminating, "Deleted: the pod is being deleted"},
		"node lost":   {with(running(pod("a", -1)), func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown; p.Spec.NodeName = "n1" }), StateLost, "NodeLost: node n1 does not answer"},
		"no statuses": {with(pod("a", -1), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), Failed, "Failed"},
	} {
		f := DecodePod(tc.pod)
		if f.State != tc.state || f.Why() != tc.why {
			t.Errorf("%s: %s, %q; want %s, %q", name, f.State, f.Why(), tc.state, tc.why)
		}
	}
}

func TestDecodePodDetails(t *testing.T) {
	p := with(exited(0, "Completed", `{"metrics":{"rmse":1}}`), func(p *corev1.Pod) {
		p.Annotations["batch.kubernetes.io/job-completion-index"] = "3"
		p.Annotations[annotationDefaultContainer] = "main"
		p.Spec.NodeName = "n1"
		p.Spec.Containers = append([]corev1.Container{{Name: "side"}}, p.Spec.Containers...)
		p.Status.ContainerStatuses[0].ImageID = "img@sha256:1"
		p.Status.ContainerStatuses[0].RestartCount = 2
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "i", RestartCount: 1}}
	})
	f := DecodePod(p)
	if f.Rank != 3 || f.Node != "n1" || f.Result != `{"metrics":{"rmse":1}}` || f.ImageID != "img@sha256:1" || f.Restarts != 3 {
		t.Errorf("fact %+v", f)
	}
	if f.ExitCode == nil || *f.ExitCode != 0 || !f.Started.Equal(t0) || !f.Finished.Equal(t0.Add(time.Minute)) {
		t.Errorf("times of %+v", f)
	}
	if f := DecodePod(exited(139, "Error", "")); f.Signal != 11 || f.Rank != -1 || f.Container != "main" {
		t.Errorf("fact %+v", f)
	}
	if f := DecodePod(&corev1.Pod{}); f.State != Pending || f.ExitCode != nil {
		t.Errorf("empty pod: %+v", f)
	}
}

func TestAccelerators(t *testing.T) {
	container := func(name string, n string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceName(name): resource.MustParse(n), corev1.ResourceCPU: resource.MustParse("8"),
		}}}
	}
	always := corev1.ContainerRestartPolicyAlways
	sidecar := container("nvidia.com/gpu", "1")
	sidecar.RestartPolicy = &always
	for name, tc := range map[string]struct {
		spec corev1.PodSpec
		n    int64
		kind string
	}{
		"none":      {corev1.PodSpec{Containers: []corev1.Container{container("memory", "1Gi")}}, 0, ""},
		"two":       {corev1.PodSpec{Containers: []corev1.Container{container("nvidia.com/gpu", "1"), container("nvidia.com/gpu", "2")}}, 3, "nvidia.com/gpu"},
		"slices":    {corev1.PodSpec{Containers: []corev1.Container{container("nvidia.com/mig-1g.5gb", "2")}}, 2, "nvidia.com/mig-1g.5gb"},
		"big init":  {corev1.PodSpec{InitContainers: []corev1.Container{container("amd.com/gpu", "4")}, Containers: []corev1.Container{container("amd.com/gpu", "1")}}, 4, "amd.com/gpu"},
		"sidecar":   {corev1.PodSpec{InitContainers: []corev1.Container{sidecar, container("nvidia.com/gpu", "2")}, Containers: []corev1.Container{container("nvidia.com/gpu", "1")}}, 3, "nvidia.com/gpu"},
		"two kinds": {corev1.PodSpec{Containers: []corev1.Container{container("google.com/tpu", "4"), container("huawei.com/Ascend910", "1")}}, 5, "google.com/tpu"},
	} {
		if n, kind := Sum(Accelerators(&tc.spec)); n != tc.n || kind != tc.kind {
			t.Errorf("%s: %d %s, want %d %s", name, n, kind, tc.n, tc.kind)
		}
	}
}

func TestExplainExit(t *testing.T) {
	for code, want := range map[int32]string{
		0:   "succeeded",
		1:   "exit code 1: general error, see its log",
		42:  "exit code 42: error of the program, see its log",
		126: "exit code 126: the command is not executable",
		127: "exit code 127: command not found",
		139: "exit code 139: SIGSEGV, segmentation fault in native code",
		143: "exit code 143: SIGTERM, asked to stop (deleted, evicted or preempted)",
		170: "exit code 170: signal 42",
		-1:  "exit code -1: error of the program, see its log",
	} {
		if got := ExplainExit(code, ""); got != want {
			t.Errorf("ExplainExit(%d) = %q, want %q", code, got, want)
		}
	}
}
