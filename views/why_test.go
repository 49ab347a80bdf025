package views

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

func diagnoses(now time.Time) []diagnose.Diagnosis {
	ref := func(kind, name string) fleet.Ref {
		return fleet.Ref{APIVersion: "batch/v1", Kind: kind, Namespace: "research", Name: name}
	}
	return []diagnose.Diagnosis{
		{
			Subject: ref("Job", "train-llama"), State: "Pending", Brief: "pending for 12m", Created: now.Add(-12 * time.Minute),
			Causes: []diagnose.Cause{
				{
					Code: "Fragmented", Likelihood: diagnose.Certain, Title: "7 GPUs are free in all, at most 2 on one node: it asks for 4 on one",
					Evidence: []string{
						"3 nodes have 2 free, 1 node has 1 free; you ask for 4 on one", "gpu-3 (2 of 8 free): job/bert in vision holds 4 for 3h (2% busy), job/vit in vision holds 2 for 20m",
						"3 nodes (gpu-0, gpu-1, gpu-3): have 2 free of 8 GPUs each",
						"the scheduler, 12s ago: 0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 Insufficient nvidia.com/gpu. preemption: 0/5 nodes are available: 1 Preemption is not helpful for scheduling, 4 No preemption victims found for incoming pod.",
					},
					Remedies: []diagnose.Remedy{
						{Text: "wait: it starts by itself when 4 GPUs are free on one node; see who holds them", Command: "kubectl ml top jobs -A --context a-context-with-a-name-that-is-long"},
						{Text: "ask for at most 2 GPUs a pod, which would start now"},
					},
				},
				{Code: "TaintNotTolerated", Likelihood: diagnose.Possible, Title: "1 more node has room and the taint reserved=team-b:NoSchedule", Remedies: []diagnose.Remedy{{Text: "ask"}}},
			},
			Unknown: []string{"how busy the accelerators are that others hold: no Prometheus found: no Service looks like one"},
			Nodes: []diagnose.NodeFit{
				{Node: "gpu-0", Product: "NVIDIA-A100-SXM4-80GB", Total: 8, Free: 2, Blockers: []diagnose.Blocker{{Kind: diagnose.BlockTaken, Text: "has 2 free of 8 GPUs"}}, Holders: []diagnose.Holder{{Name: "job/bert", Namespace: "vision", GPUs: 6}}},
				{Node: "gpu-1", Product: "NVIDIA-A100-SXM4-80GB", Total: 8, Free: 8},
				{Node: "cpu-0", Free: fleet.Unknown, Blockers: []diagnose.Blocker{{Kind: diagnose.BlockLacks, Text: "has no nvidia.com/gpu"}, {Kind: diagnose.BlockCordoned, Text: "is cordoned"}}},
			},
		},
		{
			Subject: ref("PyTorchJob", "bert"), State: "Failed", Brief: "failed 3m ago after 2h", Created: now.Add(-2 * time.Hour),
			Causes: []diagnose.Cause{{
				Code: "CUDAOutOfMemory", Likelihood: diagnose.Certain, Title: "GPU 3 ran out of memory: 22.78 GiB more were wanted, 12.73 GiB of 31.47 GiB are free",
				Evidence: []string{"rank 1 (pod bert-worker-0): \x1b[31mtorch.OutOfMemoryError\x1b[0m: CUDA out of memory.\n\x07second line"}, Remedies: []diagnose.Remedy{{Text: "use a smaller batch", Command: "kubectl edit \x1b]0;x\x07job"}},
			}},
		},
		{Subject: ref("Job", "fine"), State: "Running", Brief: "running for 2h, 4 of 4 pods ready, 45% done", Created: now.Add(-3 * time.Hour)},
	}
}

func TestWhyGoldens(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	list := diagnoses(now)
	for _, width := range []int{80, 200} {
		o := LineOptions{Width: width}
		var lines []Line
		for _, d := range list {
			lines = append(append(lines, Why(d, o)...), Line{})
		}
		golden(t, fmt.Sprintf("why-%d", width), lines)
		for _, l := range lines {
			if l.Width() > width && !strings.Contains(l.Text(), "kubectl ") {
				t.Errorf("%d: a line takes %d cells: %s", width, l.Width(), l.Text())
			}
		}
		golden(t, fmt.Sprintf("whys-%d", width), Whys(list, false, now).Lines(o))
		golden(t, fmt.Sprintf("why-nodes-%d", width), WhyNodes(list[0].Nodes).Lines(o))
	}
	golden(t, "whys-all-wide", Whys(list, true, now).Lines(LineOptions{Wide: true}))
	golden(t, "why-nodes-wide", WhyNodes(list[0].Nodes).Lines(LineOptions{Wide: true}))
	golden(t, "why-pipe", Why(list[0], LineOptions{}))
}
