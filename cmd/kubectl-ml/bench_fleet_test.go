package main_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// fleetSize is how many Jobs, and as many pods, the lists are measured with.
const fleetSize = 5000

// fleet measures the lists of training work against kubectl's, which have less to say.
func (b *bench) fleet() {
	if err := b.makeFleet(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	ml := func(args ...string) func() sample { return func() sample { return b.call(b.ml, args...) } }
	kubectl := func(args ...string) func() sample { return func() sample { return b.call(b.kubectl, args...) } }
	for _, verb := range [][]string{{"jobs"}, {"top"}, {"top", "nodes"}} {
		x, y := b.alternate(7, ml(verb...), kubectl("get", "jobs,pods"))
		name := strings.Join(verb, " ")
		b.row(fmt.Sprintf("%s / get jobs,pods, %d Jobs and pods", name, fleetSize), x, y, "<= 0.6x")
		b.memory(name+" / get jobs,pods", x, y, "<= 0.5x")
	}
	x, y := b.alternate(7, ml("jobs"), kubectl("get", "jobs"))
	b.row(fmt.Sprintf("jobs / get jobs, %d Jobs and pods", fleetSize), x, y, "<= 1.0x")
	b.watch()
}

func (b *bench) memory(figure string, x, y sample, wanted string) {
	_, _ = fmt.Fprintf(&b.table, "%s: memory\t%.0f MB\t%.0f MB\t%.2fx\t%s\n", figure, float64(x.memory)/1e6, float64(y.memory)/1e6, float64(x.memory)/float64(y.memory), wanted)
}

// makeFleet creates Jobs that the Job controller leaves alone and, for each, a pod that it owns and that runs on a
// simulated node: making that many by way of the controller would take minutes and show nothing more.
func (b *bench) makeFleet(ctx context.Context) error {
	nodes, err := b.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "type=kwok"})
	if err != nil || len(nodes.Items) == 0 {
		return fmt.Errorf("no simulated node: %w", err)
	}
	work, failed := make(chan int), make(chan error, 16)
	for range cap(failed) {
		go func() {
			var first error
			for i := range work {
				if first == nil {
					first = b.makeJob(ctx, i, nodes.Items[i%len(nodes.Items)].Name)
				}
			}
			failed <- first
		}()
	}
	for i := range fleetSize {
		work <- i
	}
	close(work)
	for range cap(failed) {
		if err := <-failed; err != nil {
			return err
		}
	}
	return b.awaitRunning(ctx)
}

func (b *bench) makeJob(ctx context.Context, i int, node string) error {
	gpu := corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
	pod := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: ptr.To(false),
		Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		Containers: []corev1.Container{{
			Name: "main", Image: "example.org/train:1.0", Command: []string{"python3", "train.py"}, Resources: corev1.ResourceRequirements{Limits: gpu},
			Env: []corev1.EnvVar{{Name: "ML_PARAM_LR", Value: "0.1"}, {Name: "NCCL_DEBUG", Value: "INFO"}, {Name: "HF_HOME", Value: "/data/hf"}},
		}},
	}
	name := fmt.Sprintf("bench-train-%d", i)
	labels := map[string]string{"app.kubernetes.io/managed-by": "kubectl-ml", "kubectl-ml.dev/pipeline": "bench-fleet", "kubectl-ml.dev/stage": "train"}
	j, err := b.kube.BatchV1().Jobs(b.namespace).Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       batchv1.JobSpec{ManagedBy: ptr.To("bench.example.org/nobody"), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make job %d: %w", i, err)
	}
	pod.NodeName = node
	owner := metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))
	owner.BlockOwnerDeletion = nil
	_, err = b.kube.CoreV1().Pods(b.namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-x7k2p", Labels: labels, OwnerReferences: []metav1.OwnerReference{*owner},
			Annotations: map[string]string{"sandbox.kubectl-ml.dev/duration": "24h"},
		},
		Spec: pod,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make pod %d: %w", i, err)
	}
	return nil
}

// awaitRunning waits until the simulated kubelets have started the pods: what changes is not what is measured.
func (b *bench) awaitRunning(ctx context.Context) error {
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		list, err := b.kube.CoreV1().Pods(b.namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Pending", Limit: 1})
		if err != nil {
			return fmt.Errorf("count pods: %w", err)
		}
		if len(list.Items) == 0 {
			return nil
		}
	}
	return fmt.Errorf("the pods do not all run")
}

// watch measures what `jobs -w` costs while nothing happens.
func (b *bench) watch() {
	cmd := exec.CommandContext(b.t.Context(), b.ml, "jobs", "-w")
	cmd.Env, cmd.Stdout, cmd.Stderr = b.env, io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	time.Sleep(15 * time.Second)
	const idle = 30 * time.Second
	before, rss := procCPU(cmd.Process.Pid), int64(0)
	time.Sleep(idle)
	after := procCPU(cmd.Process.Pid)
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", cmd.Process.Pid)); err == nil {
		fields := strings.Fields(string(text))
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		rss = pages * int64(os.Getpagesize())
	}
	_, _ = fmt.Fprintf(&b.table, "jobs -w, idle: CPU\t%.2f %% of a core\t\t\t<= 2 %%\n", 100*float64(after-before)/float64(idle))
	_, _ = fmt.Fprintf(&b.table, "jobs -w, %d Jobs and pods: memory\t%.0f MB\t\t\t\n", fleetSize, float64(rss)/1e6)
}

// procCPU is the CPU time of a process (Linux), in the clock's own ticks of 10 ms.
func procCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
