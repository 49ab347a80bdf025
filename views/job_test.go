package views

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

func workPod(name string, rank int, state, node string) *fleet.Pod {
	return &fleet.Pod{PodFact: job.PodFact{
		Name: name, Namespace: "team-a", UID: "u-" + name, Node: node, State: state, Rank: rank, Ready: state == job.Running, GPUs: 2, Created: ago(time.Hour), Started: agoP(55 * time.Minute),
	}}
}

// failedWork is a distributed training of which rank 2 ran out of memory and the others were stopped.
func failedWork() *fleet.Description {
	var pods []*fleet.Pod
	for rank := range 3 {
		p := workPod(fmt.Sprintf("llama-%d-x7k2p", rank), rank, job.Failed, fmt.Sprintf("gpu-%d", rank))
		p.Reason, p.Message, p.ExitCode, p.Signal, p.Finished = "Error", "exit code 143: SIGTERM", exited(143), 15, agoP(10*time.Minute)
		if rank == 2 {
			p.Reason, p.Message, p.ExitCode, p.Signal, p.Finished = "OOMKilled", "exit code 137: out of memory", exited(137), 9, agoP(11*time.Minute)
		}
		pods = append(pods, p)
	}
	parallel, retries, deadline := int64(3), int64(0), int64(7200)
	return &fleet.Description{
		Work: &fleet.Work{
			Ref:    fleet.Ref{APIVersion: "batch/v1", Kind: "Job", Namespace: "team-a", Name: "llama", UID: "u"},
			Labels: map[string]string{kube.LabelPipeline: "llama", kube.LabelRun: "llama-x7k2p", kube.LabelStage: "train"},
			State:  job.Failed, Reason: "OOMKilled", Message: "rank 2: exit code 137: out of memory (3 pods failed)", Want: 3, GPUs: 6, Resources: map[string]int64{"nvidia.com/gpu": 6},
			Product: "NVIDIA-A100-SXM4-80GB", Queue: "team-a", By: "ada@example.com", Created: ago(time.Hour), Started: agoP(55 * time.Minute), Finished: agoP(10 * time.Minute), Pods: pods,
		},
		Shape: &fleet.Shape{
			Containers: []fleet.Container{{
				Name: "main", Image: "example.org/train:1.0", Command: "torchrun train.py",
				Requests: map[string]string{"cpu": "4", "memory": "32Gi"}, Limits: map[string]string{"memory": "32Gi", "nvidia.com/gpu": "2"},
			}},
			NodeSelector: map[string]string{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, Tolerations: []string{"nvidia.com/gpu:NoSchedule"},
			Claims: []string{"data"}, Parallelism: &parallel, Completions: &parallel, BackoffLimit: &retries, Deadline: &deadline, Indexed: true,
		},
		Failed:     pods[2],
		Log:        []string{"epoch 3/10 loss=0.12", "Killed \u202e"},
		Conditions: []fleet.Condition{{Type: "Failed", Status: "True", Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit", Since: ago(10 * time.Minute)}},
		Events: []fleet.Event{
			{Last: ago(time.Hour), Count: 1, Object: "pod/llama-0-x7k2p", Type: "Normal", Reason: "Scheduled", Message: "Successfully assigned"},
			{Last: ago(10 * time.Minute), Count: 3, Object: "job/llama", Type: "Warning", Reason: "BackoffLimitExceeded", Message: "Job has reached the specified \x1b[31mbackoff limit"},
		},
	}
}

// busyWork is a notebook whose devices an exporter tells of.
func busyWork() (*fleet.Description, []metrics.Device) {
	p := workPod(strings.Repeat("n", 253), -1, job.Running, "gpu-0")
	p.Restarts = 2
	device := metrics.Device{Namespace: "team-a", Pod: p.Name, Index: "1", Busy: 2.4, MemoryUsed: 3 << 30, MemoryTotal: 80 << 30}
	other := device
	other.Index, other.Busy = "0", 3.6
	return &fleet.Description{Work: &fleet.Work{
		Ref: fleet.Ref{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: "team-a", Name: "notebook"}, State: job.Running, Ready: 1, Want: 1, GPUs: 2, Held: 2, Created: ago(3 * time.Hour),
		Progress: told("epoch 3/10 step 1200/5000 loss=0.1234"), Pods: []*fleet.Pod{p},
	}}, []metrics.Device{device, other}
}

func TestDescribeWork(t *testing.T) {
	notebook, devices := busyWork()
	for name, d := range map[string]*fleet.Description{"failed": failedWork(), "busy": notebook} {
		for _, o := range []LineOptions{{Width: 80}, {Width: 200}, {Wide: true}} {
			file := fmt.Sprintf("work-%s-%d", name, o.Width)
			if o.Wide {
				file = "work-" + name + "-wide"
			}
			lines := DescribeWork(d, metrics.ByPod(devices), jobsNow, o)
			for _, l := range lines {
				if o.Width > 0 && l.Width() > o.Width {
					t.Errorf("%s: a line takes %d cells: %s", file, l.Width(), l.Text())
				}
				if strings.ContainsAny(l.Text(), "\x1b\u202e") {
					t.Errorf("%s: a control character is drawn: %q", file, l.Text())
				}
			}
			golden(t, file, lines)
		}
	}
}

// What nothing is known of is drawn too.
func TestDescribeNothing(t *testing.T) {
	d := &fleet.Description{Work: &fleet.Work{Ref: fleet.Ref{Kind: "Pod", Name: "x"}, State: job.Pending, Want: fleet.Unknown}}
	if got := DescribeWork(d, nil, jobsNow, LineOptions{Width: 40}); len(got) < 3 {
		t.Errorf("%v", got)
	}
}
