package diagnose

import (
	"context"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// ofStage is what the record of a run tells where the works do not: of a stage without a Job, of one whose gate holds the
// run up, and of a run as a whole. Else it gives the work to look at; w is the one that arg names, nil when there is none.
func (g *gatherer) ofStage(ctx context.Context, works []*fleet.Work, arg string, w *fleet.Work) (Diagnosis, *fleet.Work) {
	var r run.Run
	var name string
	var ok bool
	switch {
	case w == nil:
		r, name, ok = g.named(ctx, arg)
	case w.State == job.Succeeded && w.Labels[kube.LabelRun] != "" && w.Labels[kube.LabelStage] != "":
		var err error
		r, err = run.Get(ctx, g.c, w.Labels[kube.LabelRun])
		name, ok = w.Labels[kube.LabelStage], err == nil
	}
	if !ok {
		return Diagnosis{}, w
	}
	st, ok := chooseStage(r, name)
	if !ok {
		return Diagnosis{}, w
	}
	if w == nil {
		w = newestOf(works, r.Name, st.Name)
	}
	if recordTells(st, w) {
		return diagnoseStage(r, st, g.now), nil
	}
	return Diagnosis{}, w
}

// named is the run and the stage of it that arg means: RUN, RUN/STAGE, or a STAGE of the newest run.
func (g *gatherer) named(ctx context.Context, arg string) (run.Run, string, bool) {
	get := func(arg string) (run.Run, bool) {
		name, err := run.Find(ctx, g.c, arg)
		if err != nil {
			return run.Run{}, false
		}
		r, err := run.Get(ctx, g.c, name)
		return r, err == nil
	}
	name, stage, _ := strings.Cut(strings.TrimPrefix(arg, "run/"), "/")
	if r, ok := get(name); ok {
		return r, stage, true
	}
	if stage != "" || strings.HasPrefix(arg, "run/") {
		return run.Run{}, "", false
	}
	r, ok := get("@latest")
	return r, arg, ok
}

// newestOf is the work of a stage's last attempt.
func newestOf(works []*fleet.Work, name, stage string) *fleet.Work {
	var best *fleet.Work
	for _, w := range works {
		if w.Labels[kube.LabelRun] == name && w.Labels[kube.LabelStage] == stage && (best == nil || w.Created.After(best.Created)) {
			best = w
		}
	}
	return best
}
