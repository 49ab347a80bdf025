package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// deploys says whether a stage rolls out a version of a model. Of other Deployments the run only waits for the rollout.
func deploys(s pipeline.Stage) bool { return s.Deploy != nil && s.Deploy.Model != "" }

// rolloutName is the name under which serving knows the rollout of a stage.
func rolloutName(p *pipeline.PlannedStage) string {
	if p.Deploy.Name != "" {
		return p.Deploy.Name
	}
	var head metav1.PartialObjectMetadata
	if len(p.Object) > 0 && json.Unmarshal(p.Object, &head) == nil && head.Name != "" {
		return head.Name
	}
	ref, err := registry.ParseRef(p.Deploy.Model)
	if err != nil {
		return ""
	}
	return ref.Model
}

// deriveRollout is the state of a stage that rolls out a version.
func deriveRollout(rec *Record, p *pipeline.PlannedStage, sr StageRecord, live Live, now time.Time, st *Stage) {
	name := rolloutName(p)
	c := Child{State: Waiting, Job: name}
	id := ""
	if len(sr.Jobs) > 0 {
		id = sr.Jobs[0]
	}
	ro, seen := live.Rollouts[name]
	switch {
	case id == "" && sr.Refused != "":
		c.State, c.Reason, c.Message = Failed, reasonNotStarted, sr.Refused
	case id == "":
	case live.Rollouts == nil:
		c.State = Running
	case !seen:
		c.State, c.Reason, c.Message = Failed, "Deleted", fmt.Sprintf("deployment %s was deleted before %s was rolled out", name, sr.Deploys)
	case rolloutID(ro) != id:
		c.State, c.Reason = Failed, "Superseded"
		c.Message = fmt.Sprintf("another rollout of %s began before this one had ended: it deploys %s:%d", name, ro.Model, ro.Version)
	default:
		rolloutState(ro, &c)
	}
	switch {
	case c.State != Failed || id == "":
	case rec.Cancel != nil:
		c.State = Cancelled
	case rec.overdue(now):
		c.State = TimedOut
	}
	c.UID = id
	st.Children = []Child{c}
	st.State, st.Reason, st.Message, st.Started, st.Finished = c.State, c.Reason, c.Message, c.Started, c.Finished
	st.open = !c.State.Terminal() && id != ""
}

// rolloutState is a rollout in the words of runs.
func rolloutState(ro serving.Rollout, c *Child) {
	c.Started, c.Finished, c.Message = ro.Started, ro.End, ro.Message
	for _, side := range ro.Sides {
		if side.Version == ro.Version && side.Image != "" {
			c.Image = side.Image
		}
	}
	switch {
	case ro.Approval && !ro.Ended:
		c.State, c.Reason = AwaitingApproval, "Approval"
		c.Message = fmt.Sprintf("%s:%d has %d%% of the traffic and waits for approval", ro.Model, ro.Version, ro.Weight)
	case !ro.Ended:
		c.State = Running
		if ro.Phase == serving.Degraded {
			c.Reason = string(ro.Phase)
		}
	case ro.Phase == serving.Healthy || ro.Phase == serving.Unmanaged:
		c.State, c.Message = Succeeded, ""
	case ro.GateFailed:
		c.State, c.Reason = Failed, "Gate"
	default:
		c.State, c.Reason = Failed, string(ro.Phase)
	}
}

// liveRollouts reads the rollouts of the stages that have begun and not ended. Who drives the run takes each forward by
// looking; acted says whether one moved.
func liveRollouts(ctx context.Context, c *client.Client, rec *Record, live Live, drive bool) (acted bool, err error) {
	for i := range rec.Plan.Stages {
		p := &rec.Plan.Stages[i]
		sr := rec.Stages[p.Name]
		if !deploys(p.Stage) || sr.Outcome != nil || len(sr.Jobs) == 0 || sr.Jobs[0] == "" {
			continue
		}
		name := rolloutName(p)
		var ro serving.Rollout
		var moved bool
		if drive {
			ro, moved, err = serving.Advance(ctx, c, name)
		} else {
			ro, err = serving.Get(ctx, c, name)
		}
		switch {
		case gone(err):
		case err != nil:
			return acted, err
		default:
			live.Rollouts[name] = ro
			acted = acted || moved
		}
	}
	return acted, nil
}

// gone says that there is no rollout of a name, or nothing of it that could be taken back.
func gone(err error) bool {
	var missing *serving.NotFoundError
	return errors.As(err, &missing) || apierrors.IsNotFound(err)
}

// choose notes which version a stage deploys, before it begins: a name that moves, such as an alias, is looked up once.
func choose(ctx context.Context, c *client.Client, r Run, stage string, s step) error {
	p := r.Stage(stage)
	sr := s.of(r.Record, stage)
	sr.Attempt = r.attempt(stage)
	ref, err := chosen(r, p)
	if err == nil && ref.Version == 0 {
		var v registry.Version
		if v, err = registry.Resolve(ctx, c, ref); err == nil {
			ref = registry.Ref{Model: v.Model, Version: v.Version}
		}
	}
	switch {
	case err == nil:
		sr.Deploys = ref.String()
		s.stages[stage] = sr
	case client.Transient(err) || ctx.Err() != nil:
		return err
	default:
		s.note(r.Record, start{stage: stage}, "", oneLine(err))
	}
	return nil
}

// chosen is the version that a stage names: where it names a model that this run registers, what came of that.
func chosen(r Run, p *pipeline.PlannedStage) (registry.Ref, error) {
	ref, err := registry.ParseRef(p.Deploy.Model)
	if err != nil || ref.Version > 0 || ref.Alias != "" {
		return ref, err
	}
	makers := r.Plan.NeedsVersions(p)
	for _, st := range r.Now {
		switch {
		case r.Stage(st.Name).Model != ref.Model || !slices.Contains(makers, st.Name):
		case st.Registered.Ref() != "":
			return registry.Ref{Model: ref.Model, Version: st.Registered.Version}, nil
		case st.Registered != nil:
			return ref, fmt.Errorf("the model of stage %s was not registered: %s", st.Name, st.Registered.Failed)
		default:
			return ref, fmt.Errorf("the result of stage %s names no model: there is nothing to deploy", st.Name)
		}
	}
	return ref, nil
}

// beginRollout starts the rollout of the chosen version and returns its ID. Doing so twice starts one.
func beginRollout(ctx context.Context, c *client.Client, rec *Record, stage string) (types.UID, error) {
	p, sr := rec.Stage(stage), rec.Stages[stage]
	ref, err := registry.ParseRef(sr.Deploys)
	if err != nil {
		return "", err
	}
	v, err := registry.Resolve(ctx, c, ref)
	if err != nil {
		return "", err
	}
	how, err := pipeline.DeployOf(&rec.Plan, stage)
	if err != nil {
		return "", err
	}
	q := serving.Request{
		Name: rolloutName(p), Version: v, Deploy: how, Key: fmt.Sprintf("%s/%s/%d", rec.UID, stage, rec.attempt(stage)),
		Helper: rec.Helper, HelperPullPolicy: rec.HelperPullPolicy, By: rec.By, Comment: rec.Reason, Run: rec.Name, Stage: stage,
	}
	if len(p.Object) > 0 {
		d, err := pipeline.Deployment(&rec.Plan, rec.ref(), stage)
		if err != nil {
			return "", err
		}
		if q.Object, err = json.Marshal(d); err != nil {
			return "", fmt.Errorf("write deployment %s: %w", d.Name, err)
		}
	}
	ro, err := serving.Start(ctx, c, q, nil)
	return types.UID(rolloutID(ro)), err
}

// rolloutID tells a rollout from later ones of the same name. What serves the version already has none to show.
func rolloutID(ro serving.Rollout) string { return firstOf(ro.ID, "served") }

// goOn lets a rollout pass the step at which it waits for a person.
func goOn(ctx context.Context, c *client.Client, name string, mark Mark, dryRun []string) error {
	_, err := serving.Promote(ctx, c, name, false, registry.Mark{By: mark.By, At: mark.At, Comment: mark.Reason}, dryRun)
	return err
}

// What became of the rollout of a run that ends before it, as the record has it.
const (
	abortAsked = "asked"
	abortLeft  = "left"
)

// takesBack says whether a stage of a run that is to end has a rollout to abort, and whether the end has to wait for it:
// what serves must not be left half way. It may have begun without the record knowing it.
func takesBack(r Run, st *Stage) (abort, wait bool) {
	sr := r.Stages[st.Name]
	switch begun := st.open || sr.Deploys != "" && (st.State == Cancelled || st.State == TimedOut) && len(sr.Jobs) == 0; {
	case !begun || sr.Abort == abortLeft:
		return false, false
	case sr.Abort == "":
		return true, true
	}
	return false, st.open
}

// abort asks that a rollout of the run is taken back, for the reason that the run ends, and notes it. One that is not
// the run's, or is past the point of no return, is left alone.
func abort(ctx context.Context, c *client.Client, r Run, stage string, s step) error {
	name := rolloutName(r.Stage(stage))
	ro, err := serving.Get(ctx, c, name)
	if err == nil && ro.Run == r.Name && !ro.Ended {
		mark := registry.Mark{At: time.Now().UTC(), Comment: firstOf(r.Message, "run "+r.Name+" "+string(r.State))}
		if r.Cancel != nil {
			mark.By = r.Cancel.By
		}
		_, err = serving.Abort(ctx, c, name, mark, nil)
		if err == nil {
			s.note(r.Record, start{stage: stage}, rolloutID(ro), "")
			s.noteAbort(r.Record, stage, abortAsked)
			return nil
		}
	}
	var refused *serving.RefusedError
	if err == nil || gone(err) || errors.As(err, &refused) || apierrors.IsForbidden(err) {
		s.noteAbort(r.Record, stage, abortLeft)
		return nil
	}
	return err
}

// takeBackLimit bounds the wait for rollouts of a run that is deleted; nobody takes them further afterwards.
const takeBackLimit = 2 * time.Minute

// takeBackRollouts waits until a cancelled run has taken its rollouts back.
func takeBackRollouts(ctx context.Context, c *client.Client, name string) error {
	bounded, cancel := context.WithTimeout(ctx, takeBackLimit)
	defer cancel()
	_, err := Drive(bounded, c, name, func(Update) {})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case bounded.Err() != nil:
		return &client.Error{
			Doing: "delete run " + name, What: "its rollout is not taken back yet",
			Hint: "see what keeps it with: kubectl ml rollout list   and try again",
		}
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		return nil
	}
	return err
}

func (s step) noteAbort(rec *Record, stage, what string) {
	sr := s.of(rec, stage)
	sr.Attempt, sr.Abort = rec.attempt(stage), what
	s.stages[stage] = sr
}

// deployRules are the rights with which versions of models are rolled out: what serving reads and makes, by what the
// stages ask for.
func deployRules(rec *Record) []rbacv1.PolicyRule {
	if !rec.any(deploys) {
		return nil
	}
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	asks := func(is func(*pipeline.Deploy) bool) bool {
		return rec.any(func(s pipeline.Stage) bool { return deploys(s) && is(s.Deploy) })
	}
	serves := func(is func(*pipeline.Serve) bool) bool {
		return asks(func(d *pipeline.Deploy) bool { return d.Serve != nil && is(d.Serve) })
	}
	rules := []rbacv1.PolicyRule{
		rule("apps", "deployments", "get", "list", "watch", "create", "update", "patch", "delete"),
		rule("", "services", "get", "list", "create", "update", "patch"),
		rule("", "pods", "list"),
		rule("autoscaling", "horizontalpodautoscalers", "list"),
		rule("policy", "poddisruptionbudgets", "create", "patch"),
	}
	gates := asks(func(d *pipeline.Deploy) bool {
		return slices.ContainsFunc(d.Steps, func(s pipeline.DeployStep) bool { return len(s.Gates) > 0 })
	})
	if gates {
		rules = append(rules, rule("batch", "jobs", "get", "create"))
	}
	if serves(func(s *pipeline.Serve) bool { return s.Autoscale != nil }) {
		rules = append(rules, rule("autoscaling", "horizontalpodautoscalers", "create", "patch", "update"))
	}
	if serves(func(s *pipeline.Serve) bool { return s.Host != "" && s.Gateway == "" }) {
		rules = append(rules, rule("networking.k8s.io", "ingresses", "create", "patch"))
	}
	if serves(func(s *pipeline.Serve) bool { return s.Gateway != "" }) {
		rules = append(rules, rule("gateway.networking.k8s.io", "httproutes", "get", "create", "update", "patch"))
	}
	return rules
}
