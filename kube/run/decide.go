package run

import (
	"maps"
	"slices"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// defaultParallel bounds the children of a sweep that run at once when the stage does not say.
const defaultParallel = 4

// start names one execution to begin.
type start struct {
	stage string
	child int
}

// step is what a run needs next. Everything in it may be done twice without harm.
type step struct {
	// starts are objects to create.
	starts []start
	// deletes are Jobs to end, by name.
	deletes []string
	// expire are finished Jobs, by name, whose outcome is recorded and that may get their TTL.
	expire map[string]time.Duration
	// chooses are deploy stages of which it is to be settled which version they roll out, aborts those whose rollout is to
	// be taken back.
	chooses, aborts []string
	// registers are stages whose models are to be registered.
	registers []string
	// looking is set for who only looks and starts nothing.
	looking bool
	// stages are records that change, end is the run's end.
	stages map[string]StageRecord
	end    *End
}

// of is what the record will hold of a stage after the step.
func (s step) of(r *Record, stage string) StageRecord {
	if sr, ok := s.stages[stage]; ok {
		return sr
	}
	return r.Stages[stage]
}

// note takes into the step that an execution was started as uid, or why the server refused it.
func (s step) note(r *Record, st start, uid, refused string) {
	sr := s.of(r, st.stage)
	sr.Attempt = r.attempt(st.stage)
	jobs := make([]string, len(r.Stage(st.stage).Children))
	copy(jobs, sr.Jobs)
	jobs[st.child] = uid
	sr.Jobs, sr.Refused = jobs, refused
	s.stages[st.stage] = sr
}

// saves says whether the step changes the record.
func (s step) saves() bool { return len(s.stages) > 0 || s.end != nil }

// apply is the record after the step; r stays as it is.
func (s step) apply(r *Record) *Record {
	after := *r
	after.Stages = maps.Clone(r.Stages)
	if after.Stages == nil {
		after.Stages = map[string]StageRecord{}
	}
	maps.Copy(after.Stages, s.stages)
	if s.end != nil {
		after.End = s.end
	}
	return &after
}

func (s step) idle() bool {
	return len(s.starts)+len(s.deletes)+len(s.expire)+len(s.registers)+len(s.chooses)+len(s.aborts)+len(s.stages) == 0 && s.end == nil
}

// next decides what a run needs. It is a pure function of how the run stands and changes none of it.
func next(r Run, live Live, now time.Time) step {
	s := step{stages: map[string]StageRecord{}, expire: map[string]time.Duration{}}
	stop := r.State == Cancelled || r.State == TimedOut
	pending := false
	for i := range r.Now {
		st := r.Now[i]
		planned := &r.Plan.Stages[i]
		if !planned.Selected {
			continue
		}
		noteJobs(&s, r, &st)
		switch {
		case st.recorded:
			s.deletes = append(s.deletes, lateJobs(r, planned, live)...)
			expire(&s, planned, &st, live)
		case stop:
			s.deletes = append(s.deletes, liveJobs(planned, &st)...)
			if abort, wait := takesBack(r, &st); wait {
				if pending = true; abort {
					s.aborts = append(s.aborts, st.Name)
				}
				continue
			}
			if !workDone(&st) && st.State != Skipped {
				// What it was waiting for to the end says more than that it was ended.
				if st.State != Pending || st.Message == "" {
					st.Reason, st.Message = "", r.Message
				}
				st.State, st.Finished = r.State, &now
			}
			record(&s, r, &st)
		case st.State == Waiting && st.Reason == "", st.State == Pending, st.State == Running:
			if deploys(planned.Stage) && st.State == Waiting && r.Stages[st.Name].Deploys == "" {
				s.chooses = append(s.chooses, st.Name)
				continue
			}
			s.starts = append(s.starts, ready(planned, &st)...)
		case workDone(&st):
			record(&s, r, &st)
		}
	}
	if r.End == nil && !stop {
		for i := range r.Now {
			sr := r.Stages[r.Now[i].Name]
			if unregistered(&r.Plan.Stages[i], &r.Now[i], sr) {
				pending = true
				if sr.Model.due(now) {
					s.registers = append(s.registers, r.Now[i].Name)
				}
			}
		}
	}
	// A run that ends is looked at no more.
	if r.End == nil && !pending && over(r) {
		s.end = &End{State: r.State, Message: r.Message, At: now.UTC().Truncate(time.Second)}
	}
	return s
}

// workDone says whether the stage's work has ended, whatever its gates say.
func workDone(st *Stage) bool {
	if st.open {
		return false // a rollout asks for approval half way
	}
	switch st.State {
	case Succeeded, Failed, GateFailed, AwaitingApproval:
		return true
	}
	return false
}

// over says whether nothing of the run is left to do.
func over(r Run) bool {
	if !r.State.Terminal() {
		return false
	}
	if r.State == Cancelled || r.State == TimedOut {
		return true
	}
	for _, st := range r.Now {
		if !st.State.Terminal() {
			return false
		}
	}
	return true
}

// ready are the children of a stage that may start now.
func ready(p *pipeline.PlannedStage, st *Stage) []start {
	limit := p.Parallel
	if limit <= 0 {
		limit = defaultParallel
	}
	for _, c := range st.Children {
		if c.State == Pending || c.State == Running {
			limit--
		}
	}
	var out []start
	for i, c := range st.Children {
		if c.State == Waiting && limit > 0 {
			out = append(out, start{stage: p.Name, child: i})
			limit--
		}
	}
	return out
}

// liveJobs are the Jobs of a stage that have not ended. A Deployment is never deleted, it may serve: the rollout of a
// version is aborted instead.
func liveJobs(p *pipeline.PlannedStage, st *Stage) []string {
	if p.Kind() == pipeline.KindDeployment {
		return nil
	}
	var out []string
	for _, c := range st.Children {
		if c.State == Pending || c.State == Running {
			out = append(out, c.Job)
		}
	}
	return out
}

// lateJobs are the Jobs that run although the outcome of their stage is recorded: created by a client that had not
// yet seen the run's end.
func lateJobs(r Run, p *pipeline.PlannedStage, live Live) []string {
	var out []string
	for i := range p.Children {
		name := r.jobName(p.Name, i)
		if fact, ok := live.Jobs[name]; ok && !fact.Final() {
			out = append(out, name)
		}
	}
	return out
}

// noteJobs takes into the record the UIDs of objects that exist and are not in it yet.
func noteJobs(s *step, r Run, st *Stage) {
	if st.recorded {
		return
	}
	sr := r.Stages[st.Name]
	sr.Attempt = st.Attempt
	sr.Jobs = append(make([]string, 0, len(st.Children)), sr.Jobs...)
	changed := false
	for i, c := range st.Children {
		if i >= len(sr.Jobs) {
			sr.Jobs = append(sr.Jobs, "")
		}
		if c.UID != "" && sr.Jobs[i] == "" {
			sr.Jobs[i] = c.UID
			changed = true
		}
	}
	if changed {
		s.stages[st.Name] = sr
	}
}

// record puts a stage's outcome into the step. What the gates say is not part of it: it follows from the result.
func record(s *step, r Run, st *Stage) {
	sr := s.of(r.Record, st.Name)
	sr.Attempt = st.Attempt
	o := Outcome{
		State: st.State, Reason: st.Reason, Message: st.Message,
		Started: st.Started, Finished: st.Finished, Children: slices.Clone(st.Children), Best: st.Best,
	}
	if o.State == GateFailed || o.State == AwaitingApproval {
		o.State, o.Reason, o.Message = Succeeded, "", ""
	}
	for i := range o.Children {
		if c := &o.Children[i]; !c.State.Terminal() {
			c.State = o.State
		}
	}
	if o.State == Skipped {
		return
	}
	sr.Outcome = &o
	s.stages[st.Name] = sr
}

func expire(s *step, p *pipeline.PlannedStage, st *Stage, live Live) {
	if p.TTL == nil {
		return
	}
	for _, c := range st.Children {
		if _, ok := live.Jobs[c.Job]; ok && !live.TTL[c.Job] && c.State.Terminal() {
			s.expire[c.Job] = p.TTL.Duration
		}
	}
}
