package run

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// Registration is what became of the model of a stage that succeeded.
type Registration struct {
	Model string `json:"model"`
	// Version is the one that it was registered as, 0 while it is none.
	Version int `json:"version,omitempty"`
	// Failed is why it was not registered. It is tried again after Retry, and not at all when there is none.
	Failed string     `json:"failed,omitempty"`
	Tries  int        `json:"tries,omitempty"`
	Retry  *time.Time `json:"retry,omitempty"`
}

// Ref is the version, such as house-prices:3; empty while there is none.
func (g *Registration) Ref() string {
	if g == nil || g.Version == 0 {
		return ""
	}
	return g.Model + ":" + strconv.Itoa(g.Version)
}

// Times of a registration that fails for reasons that may pass: the first wait, which doubles, and how many tries.
const (
	registerWait  = 5 * time.Second
	registerTries = 5
)

// unregistered says whether the stage has a model that is still to be registered, now or later.
func unregistered(p *pipeline.PlannedStage, st *Stage, sr StageRecord) bool {
	if !p.Selected || !p.Registers() || st.State != Succeeded || st.Result == nil || st.Result.Model == nil {
		return false
	}
	return sr.Model == nil || sr.Model.Version == 0 && sr.Model.Retry != nil
}

// registers says whether the run has stages whose models are registered.
func (r *Record) registers() bool {
	return slices.ContainsFunc(r.Plan.Stages, func(s pipeline.PlannedStage) bool { return s.Selected && s.Registers() })
}

// due says whether it is time to try.
func (g *Registration) due(now time.Time) bool {
	return g == nil || g.Retry == nil || !now.Before(*g.Retry)
}

// ModelFacts are what is known of the model that a stage of the run has made, for the registry, and the key by which
// registering them a second time finds the version of the first. It is a pure function of the run.
func ModelFacts(r Run, stage string) (facts registry.Facts, key string, err error) {
	p := r.Stage(stage)
	if p == nil {
		return facts, "", refuse("run %s has no stage %q", r.Name, stage)
	}
	var st *Stage
	for i := range r.Now {
		if r.Now[i].Name == stage {
			st = &r.Now[i]
		}
	}
	switch {
	case !p.Selected:
		return facts, "", refuse("stage %s is not part of run %s", stage, r.Name)
	case st == nil || st.State != Succeeded:
		return facts, "", refuse("stage %s of run %s has not succeeded: only what passed its gates is registered", stage, r.Name)
	case st.Result == nil || st.Result.Model == nil:
		return facts, "", refuse("the result of stage %s names no model: write {\"model\": {\"uri\": ..., \"digest\": ...}} to /dev/termination-log", stage)
	case st.Best < 0 || st.Best >= len(st.Children):
		return facts, "", refuse("stage %s of run %s has no child %d", stage, r.Name, st.Best)
	}
	params, err := pipeline.ResolvedParams(&r.Plan, r.ref(), stage, st.Best, r.results())
	if err != nil {
		return facts, "", err
	}
	child := st.Children[st.Best]
	facts = registry.Facts{
		Model: p.Model, Artifact: *st.Result.Model, Metrics: st.Result.Metrics, Better: better(&r.Plan, p, st.Result.Metrics), Params: params, Data: st.Result.Data,
		Image: imageOf(&child, p),
		Run: &registry.Origin{
			Kind: "run", Name: r.Name, Namespace: r.Namespace, UID: r.UID, Pipeline: r.Plan.Pipeline,
			Stage: stage, Child: st.Best, Attempt: st.Attempt, Job: child.Job, JobUID: child.UID,
		},
		CreatedBy: r.By,
	}
	if src := r.Plan.Source; src != nil {
		facts.Code = registry.Code{Repo: src.Repo, Commit: src.CommitText(), Source: src.ConfigMap}
	}
	return facts, fmt.Sprintf("%s/%s/%d/%d", r.UID, stage, st.Attempt, st.Best), nil
}

// better is what the file says of metrics by choosing and judging by them, in whatever stage: a bound on one side is a
// direction. What the stage itself says comes first.
func better(plan *pipeline.Plan, p *pipeline.PlannedStage, has map[string]float64) map[string]registry.Direction {
	var out map[string]registry.Direction
	say := func(metric string, d registry.Direction) {
		if out == nil {
			out = map[string]registry.Direction{}
		}
		if _, said := out[metric]; metric != "" && !said {
			out[metric] = d
		}
	}
	gates := slices.Clone(p.Gates)
	if p.Best != nil {
		say(p.Best.Min, registry.Lower)
		say(p.Best.Max, registry.Higher)
	}
	for i := range plan.Stages {
		gates = append(gates, plan.Stages[i].Gates...)
	}
	for _, g := range gates {
		switch {
		case g.Metric == "" || (g.Min == nil) == (g.Max == nil):
		case g.Max != nil:
			say(g.Metric, registry.Lower)
		default:
			say(g.Metric, registry.Higher)
		}
	}
	for metric := range out {
		if _, measured := has[metric]; !measured {
			delete(out, metric)
		}
	}
	return out
}

// imageOf is the image that ran. Of one that was not pulled the node knows the ID alone.
func imageOf(child *Child, p *pipeline.PlannedStage) string {
	if strings.HasPrefix(child.Image, "sha256:") && !strings.Contains(p.Image, "@") {
		return p.Image + "@" + child.Image
	}
	return firstOf(child.Image, p.Image)
}

// register registers the model of a stage and notes in the step which version it is. What fails loses nothing: the
// stage has succeeded, and the record says why its model is no version.
// Who only looks and has not the right leaves it to who drives the run.
func register(ctx context.Context, c *client.Client, r Run, stage string, s step) error {
	facts, key, err := ModelFacts(r, stage)
	if err != nil {
		s.noteModel(r.Record, stage, err, nil, time.Now())
		return nil
	}
	v, _, err := registry.Register(ctx, c, facts, registry.RegisterOptions{Key: key, By: r.By})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.looking && apierrors.IsForbidden(err):
		return nil
	}
	s.noteModel(r.Record, stage, err, &v, time.Now())
	return nil
}

// noteModel takes into the step what became of a registration.
func (s step) noteModel(rec *Record, stage string, err error, v *registry.Version, now time.Time) {
	sr := s.of(rec, stage)
	sr.Attempt = rec.attempt(stage)
	g := Registration{Model: rec.Stage(stage).Model}
	if sr.Model != nil {
		g.Tries = sr.Model.Tries
	}
	if err == nil {
		g.Version, g.Tries = v.Version, 0
	} else {
		g.Failed, g.Tries = oneLine(err), g.Tries+1
		if (client.Transient(err) || apierrors.IsConflict(err)) && g.Tries < registerTries {
			at := now.UTC().Add(registerWait << (g.Tries - 1)).Truncate(time.Second)
			g.Retry = &at
		}
	}
	sr.Model = &g
	s.stages[stage] = sr
}
