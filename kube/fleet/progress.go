package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// MostLogs is how many logs Progress reads at most, however many works there are.
const MostLogs = 16

// Progress is what the ends of the logs of running works tell, by the work's UID. It reads one log of each of the
// MostLogs that started last, all at once, and gives up on those that take longer than limit. Works that say nothing,
// and those whose logs may not be read, are left out.
func Progress(ctx context.Context, c *client.Client, works []*Work, limit time.Duration) map[string]*job.Progress {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := map[string]*job.Progress{}
	var mu sync.Mutex
	var tasks sync.WaitGroup
	for _, w := range logged(works) {
		tasks.Go(func() {
			pod := w.Leader()
			p, ok, err := job.TailProgress(ctx, c.Kube, pod.Namespace, pod.Name, pod.Main)
			if err != nil || !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[w.UID] = &p
		})
	}
	tasks.Wait()
	return out
}

// logged are the works whose logs are worth reading: they run, and the newest are looked at most.
func logged(works []*Work) []*Work {
	var out []*Work
	for _, w := range works {
		if w.State == job.Running && w.Leader() != nil {
			out = append(out, w)
		}
	}
	started := func(w *Work) time.Time {
		if w.Started != nil {
			return *w.Started
		}
		return w.Created
	}
	slices.SortStableFunc(out, func(a, b *Work) int { return started(b).Compare(started(a)) })
	return out[:min(len(out), MostLogs)]
}

// leaders are the roles of pods that speak for the others, the one that speaks first before the others.
func leaders() []string {
	return []string{"launcher", "master", "chief", "leader", "driver", "submitter", "head"}
}

// Leader is the running pod whose log tells of the whole work: one with a leading role, else that of the lowest rank;
// nil when none runs.
func (w *Work) Leader() *Pod {
	var best *Pod
	for _, p := range w.Pods {
		if p.State == job.Running && p.Started != nil && (best == nil || p.leads(best) < 0) {
			best = p
		}
	}
	return best
}
