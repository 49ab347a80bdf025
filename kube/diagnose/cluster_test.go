package diagnose_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// world is a namespace of the sandbox.
type world struct {
	t  *testing.T
	c  *client.Client
	ns string
}

func newWorld(t *testing.T, s kubetest.Sandbox) world {
	t.Helper()
	ns := s.Namespace(t)
	c, err := client.New(s.Config(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	return world{t, c, ns}
}

func (w world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// simulated are the annotations that say what a simulated pod does.
func simulated(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out["sandbox.kubectl-ml.dev/"+pairs[i]] = pairs[i+1]
	}
	return out
}

func asks(name, quantity string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		r := &j.Spec.Template.Spec.Containers[0].Resources
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
}

func ends(pairs ...string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Spec.Template.Annotations = simulated(append([]string{"duration", "1s"}, pairs...)...)
	}
}

// job creates a Job of one container.
func (w world) job(name string, change ...func(*batchv1.Job)) {
	w.t.Helper()
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}
	j.Spec.BackoffLimit = ptr.To(int32(0))
	j.Spec.Template.Annotations = simulated("duration", "10m")
	j.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "train:1"}}}
	for _, f := range change {
		f(j)
	}
	w.must(w.c.Kube.BatchV1().Jobs(w.ns).Create(w.t.Context(), j, metav1.CreateOptions{}))
}

// expect asks why until the first cause is the one wanted, and holds what is said against more.
func (w world) expect(name, code string, likelihood diagnose.Likelihood, says ...string) {
	w.t.Helper()
	var d diagnose.Diagnosis
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var err error
		d, err = diagnose.Why(w.t.Context(), w.c, name, diagnose.Options{})
		if c, ok := d.First(); err == nil && ok && c.Code == code && c.Likelihood == likelihood && missing(d, says) == "" {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is not %s %s with %q (%v):\n%s", name, likelihood, code, missing(d, says), err, text(d))
		}
	}
	for _, c := range d.Causes {
		if len(c.Remedies) == 0 {
			w.t.Errorf("%s: %s has no remedy", name, c.Code)
		}
	}
}

func missing(d diagnose.Diagnosis, says []string) string {
	all := text(d)
	for _, s := range says {
		if !strings.Contains(all, s) {
			return s
		}
	}
	return ""
}

func text(d diagnose.Diagnosis) string {
	var b strings.Builder
	fmt.Fprintln(&b, d.Headline)
	for _, c := range d.Causes {
		fmt.Fprintln(&b, c.Likelihood, c.Code, c.Title)
		fmt.Fprintln(&b, "  -", strings.Join(c.Evidence, "\n  - "))
		for _, r := range c.Remedies {
			fmt.Fprintln(&b, "  >", r.Text, r.Command)
		}
	}
	return b.String() + strings.Join(d.Unknown, "\n")
}

// TestWaiting holds the diagnosis against a real API server, scheduler and controllers.
func TestWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubetest.Open(t))
	ctx := t.Context()
	t.Run("too many GPUs on one node", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("too-many", asks("nvidia.com/gpu", "16"))
		w.expect("too-many", "TooLargeForNodes", diagnose.Certain, "it asks for 16 GPUs on one node", "more than 8 GPUs", "the scheduler", "Insufficient nvidia.com/gpu")
	})
	t.Run("a product that no node has", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("no-product", asks("nvidia.com/gpu", "1"), func(j *batchv1.Job) {
			j.Spec.Template.Spec.NodeSelector = map[string]string{"nvidia.com/gpu.product": "H200"}
		})
		w.expect("no-product", "ProductNotFound", diagnose.Certain, "no node has nvidia.com/gpu.product=H200", "NVIDIA-A100-SXM4-80GB", "didn't match Pod's node affinity/selector")
	})
	t.Run("another vendor's GPU", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("other-vendor", asks("habana.ai/gaudi", "1"))
		w.expect("other-vendor", "NoAccelerator", diagnose.Certain, "nvidia.com/gpu: ")
	})
	t.Run("memory that no node has", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("too-large", asks("memory", "9Ti"))
		w.expect("too-large", "TooLargeForNodes", diagnose.Certain, "9Ti memory")
	})
	t.Run("a claim that does not exist", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("no-claim", mounts("nothing"))
		w.expect("no-claim", "ClaimNotFound", diagnose.Certain, `persistentvolumeclaim "nothing" not found`)
	})
	t.Run("a claim without a volume", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.must(w.c.Kube.CoreV1().PersistentVolumeClaims(w.ns).Create(ctx, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "data"},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: ptr.To("nothing"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}, metav1.CreateOptions{}))
		w.job("unbound", mounts("data"))
		w.expect("unbound", "StorageClassNotFound", diagnose.Certain, "its claim data names the storage class nothing", "ProvisioningFailed")
	})
	t.Run("a service account that does not exist", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("no-account", func(j *batchv1.Job) { j.Spec.Template.Spec.ServiceAccountName = "trainer" })
		w.expect("no-account", "ServiceAccountMissing", diagnose.Certain, "kubectl create serviceaccount trainer", "FailedCreate")
	})
	t.Run("a priority class that does not exist", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("no-class", func(j *batchv1.Job) { j.Spec.Template.Spec.PriorityClassName = "urgent" })
		w.expect("no-class", "PriorityClassMissing", diagnose.Certain, "urgent")
	})
	t.Run("suspended", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("held", func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) })
		w.expect("job/held", "Suspended", diagnose.Certain, "kubectl ml resume job/held")
	})
	t.Run("gated", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("gated", func(j *batchv1.Job) {
			j.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
			j.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "token"}}}}
		})
		w.expect("gated", "SchedulingGated", diagnose.Certain, "likely SecretMissing", "kubectl create secret generic token")
	})
	t.Run("a queue without Kueue", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.job("queued", func(j *batchv1.Job) {
			j.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "research"}
			j.Spec.Suspend = ptr.To(true)
		})
		code := "KueueNotInstalled"
		if _, err := w.c.Kube.Discovery().ServerResourcesForGroupVersion("kueue.x-k8s.io/v1beta1"); err == nil {
			code = "QueueNotFound" // a sandbox that was named for the tests may have it
		}
		w.expect("queued", code, diagnose.Certain, "queue research")
	})
	t.Run("a CronJob", func(t *testing.T) {
		w := world{t, w.c, w.ns}
		w.must(w.c.Kube.BatchV1().CronJobs(w.ns).Create(ctx, &batchv1.CronJob{
			ObjectMeta: metav1.ObjectMeta{Name: "nightly"},
			Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "x"}}}}}}},
		}, metav1.CreateOptions{}))
		w.expect("cronjob/nightly", "WaitsForSchedule", diagnose.Certain, "--from=cronjob/nightly")
	})
}

func mounts(claim string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubetest.Open(t))
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "gpus"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"requests.nvidia.com/gpu": resource.MustParse("1")}}}
	w.must(w.c.Kube.CoreV1().ResourceQuotas(w.ns).Create(t.Context(), quota, metav1.CreateOptions{}))
	w.awaitQuota()
	w.job("over-quota", asks("nvidia.com/gpu", "2"))
	w.expect("over-quota", "QuotaExceeded", diagnose.Certain, "quota gpus is exceeded: requests.nvidia.com/gpu: it asks for 2", "of 1 are used", "FailedCreate")
}

// awaitQuota waits until admission knows the quota of one GPU.
func (w world) awaitQuota() {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "x", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}}}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, err := w.c.Kube.CoreV1().Pods(w.ns).Create(w.t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "exceeded quota") {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the quota does not hold: %v", err)
		}
	}
}

// TestOneNode has a node of its own, which no other test can fill.
func TestOneNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubetest.Open(t))
	name := "why-" + w.ns
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"why-test": w.ns, "type": "kwok"}, Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
	}}
	node.Spec.Taints = []corev1.Taint{{Key: "why-test", Value: w.ns, Effect: corev1.TaintEffectNoSchedule}}
	node.Status.Capacity = corev1.ResourceList{"cpu": resource.MustParse("32"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("20"), "nvidia.com/gpu": resource.MustParse("4")}
	node.Status.Allocatable = node.Status.Capacity
	w.must(w.c.Kube.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}))
	t.Cleanup(func() {
		w.must(nil, w.c.Kube.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}))
	})

	here := func(j *batchv1.Job) { j.Spec.Template.Spec.NodeSelector = map[string]string{"why-test": w.ns} }
	tolerant := func(j *batchv1.Job) {
		here(j)
		j.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: "why-test", Operator: corev1.TolerationOpExists}}
	}
	w.job("tainted", here, asks("nvidia.com/gpu", "1"))
	w.expect("tainted", "TaintNotTolerated", diagnose.Certain, "why-test="+w.ns+":NoSchedule", "kubectl taint nodes "+name+" why-test="+w.ns+":NoSchedule-", "untolerated taint")
	w.job("first", tolerant, asks("nvidia.com/gpu", "3"))
	w.awaitRunning("first")
	w.job("second", tolerant, asks("nvidia.com/gpu", "2"))
	w.expect("second", "AcceleratorsTaken", diagnose.Certain, "only 1 of 4 GPUs is free on the 1 node", "job/first in "+w.ns+" holds 3", "kubectl ml suspend job/first", "ask for at most 1 GPU a pod")
	w.job("memory", tolerant, asks("memory", "60Gi"))
	w.awaitRunning("memory")
	w.job("more-memory", tolerant, asks("memory", "30Gi"))
	w.expect("more-memory", "InsufficientMemory", diagnose.Certain, "4Gi memory free", "Insufficient memory")
	// The scheduler really makes room for a higher priority; the Job controller deletes what is left of the victim.
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "why-" + w.ns}, Value: 1000}
	w.must(w.c.Kube.SchedulingV1().PriorityClasses().Create(t.Context(), class, metav1.CreateOptions{}))
	t.Cleanup(func() {
		w.must(nil, w.c.Kube.SchedulingV1().PriorityClasses().Delete(context.Background(), class.Name, metav1.DeleteOptions{}))
	})
	w.job("urgent", tolerant, asks("nvidia.com/gpu", "4"), func(j *batchv1.Job) { j.Spec.Template.Spec.PriorityClassName = class.Name })
	w.awaitRunning("urgent")
	w.expect("first", "Preempted", diagnose.Likely, "Preempted by pod", "on node "+name)
	w.cordon(name)
	w.job("closed", tolerant, asks("nvidia.com/gpu", "1"))
	w.expect("closed", "NodesCordoned", diagnose.Certain, "kubectl uncordon "+name)
}

func (w world) awaitRunning(name string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		j, err := w.c.Kube.BatchV1().Jobs(w.ns).Get(w.t.Context(), name, metav1.GetOptions{})
		if err == nil && ptr.Deref(j.Status.Ready, 0) > 0 {
			return
		}
		if time.Now().After(deadline) {
			d, _ := diagnose.Why(w.t.Context(), w.c, name, diagnose.Options{})
			w.t.Fatalf("job %s does not run (%v): %s", name, err, text(d))
		}
	}
}

func (w world) cordon(name string) {
	w.t.Helper()
	n, err := w.c.Kube.CoreV1().Nodes().Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(n, err)
	n.Spec.Unschedulable = true
	w.must(w.c.Kube.CoreV1().Nodes().Update(w.t.Context(), n, metav1.UpdateOptions{}))
}

func TestFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubetest.Open(t))
	indexed := func(j *batchv1.Job) {
		j.Spec.CompletionMode, j.Spec.Completions, j.Spec.Parallelism = ptr.To(batchv1.IndexedCompletion), ptr.To(int32(2)), ptr.To(int32(2))
		j.Spec.BackoffLimit, j.Spec.BackoffLimitPerIndex = nil, ptr.To(int32(0)) // each rank runs to its own end
	}
	w.job("oom", ends("exit-code", "137", "reason", "OOMKilled"), asks("memory", "8Gi"))
	w.job("cuda", ends("exit-code", "1", "logs", "step 1\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of 31.47 GiB of which 12.73 GiB is free. Including non-PyTorch memory, this process has 18.73 GiB memory in use."))
	w.job("stopped", ends("exit-code", "143"))
	w.job("deadline", func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = ptr.To(int64(1)) })
	w.job("nccl", ends("exit-code", "134", "logs", "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=4, NumelOut=4, Timeout(ms)=600000) ran for 600060 milliseconds before timing out."))
	w.job("xid", ends("exit-code", "1", "logs", "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus."))
	w.job("python", ends("exit-code", "1", "logs", "Traceback (most recent call last):\n  File \"train.py\", line 3, in <module>\nKeyError: 'price'"))
	w.job("its-own", ends("exit-code", "3", "logs", "bad configuration"))
	w.job("ranks", indexed, ends("exit-code", "3", "logs", "boom"))
	w.job("retries", ends("exit-code", "3"), func(j *batchv1.Job) { j.Spec.BackoffLimit = ptr.To(int32(6)) })

	w.expect("oom", "OOMKilled", diagnose.Certain, "more memory than its limit of 8Gi", "BackoffLimitExceeded")
	w.expect("cuda", "CUDAOutOfMemory", diagnose.Certain, "GPU 0 ran out of memory: 22.78 GiB more were wanted, 12.73 GiB of 31.47 GiB are free")
	w.expect("stopped", "Terminated", diagnose.Likely, "SIGTERM")
	w.expect("deadline", "DeadlineExceeded", diagnose.Certain, "activeDeadlineSeconds: 1")
	w.expect("nccl", "NCCLTimeout", diagnose.Certain, "ALLREDUCE, number 1580")
	w.expect("xid", "XID", diagnose.Certain, "XID 79: GPU has fallen off the bus", "kubectl cordon gpu-")
	w.expect("python", "PythonError", diagnose.Certain, "KeyError: 'price'")
	w.expect("its-own", "ProgramFailed", diagnose.Certain, "log: bad configuration", "exit code 3")
	w.expect("ranks", "ProgramFailed", diagnose.Certain, "failed first", "log: boom", "failed ranks: 0,1")
	w.expect("retries", "ProgramFailed", diagnose.Certain, "certain BackOff", "of 6 allowed")

	list, unknown, err := diagnose.All(t.Context(), w.c, w.ns, diagnose.Options{})
	if err != nil || len(unknown) > 0 {
		t.Fatalf("all: %v, unknown: %q", err, unknown)
	}
	got := map[string]string{}
	for _, d := range list {
		c, _ := d.First()
		got[d.Subject.Name] = c.Code
	}
	for name, code := range map[string]string{"oom": "OOMKilled", "cuda": "CUDAOutOfMemory", "deadline": "DeadlineExceeded", "nccl": "NCCLTimeout", "xid": "XID", "python": "PythonError"} {
		if got[name] != code {
			t.Errorf("all: %s is %q, want %q", name, got[name], code)
		}
	}
}

// TestRights: somebody who may see a namespace and nothing else is told the truth by the scheduler's words, and what is
// missing for more.
func TestRights(t *testing.T) {
	t.Parallel()
	s := kubetest.Open(t)
	admin := newWorld(t, s)
	ctx, rbac := t.Context(), admin.c.Kube.RbacV1()
	meta := metav1.ObjectMeta{Name: "engineer"}
	admin.must(rbac.Roles(admin.ns).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "events"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get", "list"}},
	}}, metav1.CreateOptions{}))
	admin.must(rbac.RoleBindings(admin.ns).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "engineer"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "why-" + admin.ns}},
	}, metav1.CreateOptions{}))
	cfg := rest.CopyConfig(s.Config(t))
	cfg.Impersonate.UserName = "why-" + admin.ns
	c, err := client.New(cfg, admin.ns)
	if err != nil {
		t.Fatal(err)
	}
	admin.job("too-many", asks("nvidia.com/gpu", "16"))
	admin.job("failed", ends("exit-code", "3", "logs", "secret words"))
	w := world{t, c, admin.ns}
	w.expect("too-many", "InsufficientResource", diagnose.Likely, "Insufficient nvidia.com/gpu", "the nodes, so what is free on them: forbidden: needs list nodes", "needs list resourcequotas")
	w.expect("failed", "ProgramFailed", diagnose.Certain, "exit code 3", "logs: forbidden: needs get pods/log")
}

// TestRequestsDoNotGrow counts what is asked for one work and for thirty.
func TestRequestsDoNotGrow(t *testing.T) {
	t.Parallel()
	s := kubetest.Open(t)
	admin := newWorld(t, s)
	var counted atomic.Int64
	cfg := rest.CopyConfig(s.Config(t))
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return trip(func(r *http.Request) (*http.Response, error) {
			counted.Add(1)
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(cfg, admin.ns)
	if err != nil {
		t.Fatal(err)
	}
	look := func() int64 {
		counted.Store(0)
		if _, _, err := diagnose.All(t.Context(), c, admin.ns, diagnose.Options{}); err != nil {
			t.Fatal(err)
		}
		return counted.Load()
	}
	for i := range 20 {
		admin.job(fmt.Sprintf("big-%d", i), asks("nvidia.com/gpu", "16"))
	}
	admin.expect("big-19", "TooLargeForNodes", diagnose.Certain)
	few := look()
	for i := range 20 {
		admin.job(fmt.Sprintf("more-%d", i), asks("nvidia.com/gpu", "16"))
	}
	admin.expect("more-19", "TooLargeForNodes", diagnose.Certain)
	if more := look(); more > few {
		t.Errorf("%d requests for 20 works, %d for 40", few, more)
	}
}

type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }
