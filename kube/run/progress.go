package run

import (
	"context"
	"strconv"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// progressTail is how many lines of each log are read to find where a training stands.
const progressTail = 20

// StageSelector selects the pods of a run's stages, or of one stage of it; never those of its driver.
func StageSelector(name, stage string) string {
	s := kube.Selector(map[string]string{kube.LabelRun: name})
	if stage != "" {
		return s + "," + kube.LabelStage + "=" + stage
	}
	return s + "," + kube.LabelStage
}

// Progress tells, until ctx ends, what the stages of a run print of their progress. child is the index in a sweep.
// Without the right to read logs there simply is no progress.
func Progress(ctx context.Context, c *client.Client, name string, emit func(stage string, child int, p job.Progress)) {
	type key struct {
		stage string
		child int
	}
	at := map[key]job.Progress{}
	sel := job.PodSelector{LabelSelector: StageSelector(name, ""), Rank: job.AllRanks}
	never := func(context.Context) (bool, error) { return false, nil }
	_, _ = job.Logs(ctx, c.Kube, c.Namespace, sel, job.LogOptions{Follow: true, Tail: progressTail}, never, func(l job.LogLine) {
		p, ok := job.ParseProgress(l.Text)
		if !ok {
			return
		}
		child, err := strconv.Atoi(l.Child)
		if err != nil {
			child = 0
		}
		k := key{l.Stage, child}
		known := at[k]
		known.Merge(p)
		at[k] = known
		emit(k.stage, k.child, known)
	})
}
