package run

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// Run is a run as it stands: the record and what the live objects say.
type Run struct {
	*Record
	State State `json:"state"`
	// Message says in a sentence why the run is in its state.
	Message string  `json:"message,omitempty"`
	Now     []Stage `json:"status"`
	// Finished is when the run ended.
	Finished *time.Time `json:"finished,omitempty"`
}

// Stage is a stage as it stands.
type Stage struct {
	Name    string   `json:"name"`
	Needs   []string `json:"needs,omitempty"`
	State   State    `json:"state"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Attempt int      `json:"attempt"`
	// GPUs is what one execution asks for, Replicas how many pods a distributed one has.
	GPUs     int64              `json:"gpus,omitempty"`
	Replicas int                `json:"replicas,omitempty"`
	Started  *time.Time         `json:"started,omitempty"`
	Finished *time.Time         `json:"finished,omitempty"`
	Children []Child            `json:"children,omitempty"`
	Best     int                `json:"best,omitempty"`
	Result   *pipeline.Result   `json:"result,omitempty"`
	Gates    []pipeline.Verdict `json:"gates,omitempty"`
	// Approved tells who let the run pass the gates.
	Approved   *Mark  `json:"approved,omitempty"`
	ReusedFrom string `json:"reusedFrom,omitempty"`
	// Registered is what became of the stage's model.
	Registered *Registration `json:"registered,omitempty"`
	// Deploys is the version that a deploy stage rolls out, MODEL:N.
	Deploys string `json:"deploys,omitempty"`
	// recorded is true when the outcome is in the record already, open when a rollout goes on.
	recorded, open bool
}

// results are those of all stages that have passed, recorded or not.
func (r Run) results() map[string]pipeline.Result {
	out := map[string]pipeline.Result{}
	for _, s := range r.Now {
		switch {
		case !s.State.passed():
		case s.Result != nil:
			result := *s.Result
			result.Registered = s.Registered.Ref()
			out[s.Name] = result
		default:
			out[s.Name] = pipeline.Result{}
		}
	}
	return out
}

// Live is what the cluster has of a run right now. A nil map means that nobody looked: what the record says was
// started is then taken to run.
type Live struct {
	// Jobs by name. A JobSet is one too, under its own name.
	Jobs map[string]job.JobFact
	// TTL tells which of the Jobs expire by themselves, JobSets which are JobSets.
	TTL, JobSets map[string]bool
	// Deployments by name; Rollouts of versions of models, by the name of the Deployment.
	Deployments map[string]*appsv1.Deployment
	Rollouts    map[string]serving.Rollout
}

// Derive works out how a run stands. It is a pure function of the record, the live objects and the clock.
func Derive(rec *Record, live Live, now time.Time) Run {
	r := Run{Record: rec, Now: make([]Stage, 0, len(rec.Plan.Stages))}
	at := map[string]*Stage{}
	for i := range rec.Plan.Stages {
		st := deriveStage(rec, &rec.Plan.Stages[i], live, now, at)
		r.Now = append(r.Now, st)
		at[st.Name] = &r.Now[len(r.Now)-1]
	}
	r.State, r.Message = runState(&r, now)
	if rec.End != nil {
		r.State, r.Message, r.Finished = rec.End.State, rec.End.Message, &rec.End.At
	}
	return r
}

func deriveStage(rec *Record, p *pipeline.PlannedStage, live Live, now time.Time, done map[string]*Stage) Stage {
	sr := rec.Stages[p.Name]
	st := Stage{Name: p.Name, Needs: p.Needs, Attempt: rec.attempt(p.Name), Approved: sr.Approval, ReusedFrom: sr.ReusedFrom, Registered: sr.Model, Deploys: sr.Deploys}
	st.Replicas = p.Replicas
	if p.GPUs != nil {
		st.GPUs = p.GPUs.Count * int64(max(1, p.Replicas))
	}
	if o := sr.Outcome; o != nil {
		st.recorded = true
		st.State, st.Reason, st.Message = o.State, o.Reason, o.Message
		st.Started, st.Finished, st.Children, st.Best, st.Result = o.Started, o.Finished, o.Children, o.Best, o.Result()
		if !p.Selected {
			st.State = Reused
			return st
		}
		judge(&st, p, rec.Cancel != nil)
		return st
	}
	if !p.Selected {
		st.State, st.Reason = Skipped, "not part of this run"
		return st
	}
	switch {
	case deploys(p.Stage):
		deriveRollout(rec, p, sr, live, now, &st)
	case p.Kind() == pipeline.KindDeployment:
		deriveDeployment(rec, p, sr, live, &st)
	default:
		deriveJobs(rec, p, sr, live, now, &st)
	}
	if st.State == Waiting {
		st.State, st.Reason = waitsFor(rec, p, done)
	}
	judge(&st, p, rec.Cancel != nil)
	return st
}

// waitsFor says why a stage that has not started has not. An empty reason with Waiting means it may start now.
func waitsFor(rec *Record, p *pipeline.PlannedStage, done map[string]*Stage) (State, string) {
	var open []string
	for _, need := range p.Needs {
		d := done[need]
		switch {
		case d == nil || d.State.passed():
		case d.State == Skipped && !rec.Stage(need).Selected:
		case d.State.Terminal():
			return Skipped, fmt.Sprintf("%s %s", need, phrase(d.State))
		default:
			open = append(open, need)
		}
	}
	switch {
	case rec.Cancel != nil:
		return Cancelled, ""
	case rec.End != nil && rec.End.State == TimedOut:
		return TimedOut, ""
	case len(open) > 0:
		return Waiting, "needs " + strings.Join(open, ", ")
	}
	for _, maker := range rec.Plan.NeedsVersions(p) {
		if d := done[maker]; d != nil && unregistered(rec.Stage(maker), d, rec.Stages[maker]) {
			return Waiting, fmt.Sprintf("needs %s to be registered", rec.Stage(maker).Model)
		}
	}
	return Waiting, ""
}

func phrase(s State) string {
	switch s {
	case Failed:
		return "failed"
	case GateFailed:
		return "breached a gate"
	case Cancelled:
		return "was cancelled"
	case TimedOut:
		return "ran out of the run's time"
	}
	return "was skipped"
}

// judge applies the gates to a stage whose work has succeeded.
func judge(st *Stage, p *pipeline.PlannedStage, cancelled bool) {
	if st.State != Succeeded || len(p.Gates) == 0 {
		return
	}
	st.Gates = pipeline.Evaluate(p.Gates, st.Result)
	if st.Approved != nil {
		return
	}
	var failed, waiting []string
	for _, v := range st.Gates {
		switch v.State {
		case pipeline.Fail:
			failed = append(failed, v.Reason)
		case pipeline.Waiting:
			waiting = append(waiting, v.Reason)
		}
	}
	switch {
	case len(failed) > 0:
		st.State, st.Reason, st.Message = GateFailed, "Gate", strings.Join(failed, "; ")
	case len(waiting) > 0 && !cancelled: // nobody is asked any more
		st.State, st.Reason, st.Message = AwaitingApproval, "Approval", strings.Join(waiting, "; ")
	}
}

func deriveJobs(rec *Record, p *pipeline.PlannedStage, sr StageRecord, live Live, now time.Time, st *Stage) {
	results := make([]*pipeline.Result, len(p.Children))
	for i, planned := range p.Children {
		c := Child{State: Waiting, Job: rec.jobName(p.Name, i), Swept: planned.Swept}
		fact, exists := live.Jobs[c.Job]
		noted := i < len(sr.Jobs) && sr.Jobs[i] != ""
		if noted {
			c.UID = sr.Jobs[i]
		}
		switch {
		case exists:
			childFromJob(&c, fact)
			if c.Reason == batchv1.JobReasonDeadlineExceeded && rec.Deadline != nil && c.Finished != nil && !c.Finished.Before(*rec.Deadline) {
				c.State, c.Reason, c.Message = TimedOut, "", ""
			}
		case noted && live.Jobs == nil:
			c.State = Running
		// Deleting comes before recording: what is gone from a run that is to stop was deleted for that.
		case noted && rec.Cancel != nil:
			c.State = Cancelled
		case noted && rec.overdue(now):
			c.State = TimedOut
		case noted:
			c.State, c.Reason, c.Message = Failed, "JobDeleted", fmt.Sprintf("job %s was deleted before it ended", c.Job)
		case sr.Refused != "":
			c.State, c.Reason, c.Message = Failed, reasonNotStarted, sr.Refused
		}
		results[i] = c.Result
		st.Children = append(st.Children, c)
	}
	sumUp(st, p, results)
	if sr.Refused != "" && st.State == Succeeded {
		// Some children succeeded and others never ran: the best of them is not known.
		st.State, st.Reason, st.Message, st.Best, st.Result = Failed, reasonNotStarted, sr.Refused, 0, nil
	}
}

// reasonNotStarted is the reason of what the server refused to start.
const reasonNotStarted = "NotStarted"

// overdue says whether the run's deadline has passed.
func (r *Record) overdue(now time.Time) bool { return r.Deadline != nil && now.After(*r.Deadline) }

// sumUp makes the state of a stage from its children's.
func sumUp(st *Stage, p *pipeline.PlannedStage, results []*pipeline.Result) {
	n := map[State]int{}
	var failed *Child
	for i := range st.Children {
		c := &st.Children[i]
		n[c.State]++
		if c.State == Failed && failed == nil {
			failed = c
		}
		if c.Started != nil && (st.Started == nil || c.Started.Before(*st.Started)) {
			st.Started = c.Started
		}
		if c.Finished != nil && (st.Finished == nil || c.Finished.After(*st.Finished)) {
			st.Finished = c.Finished
		}
	}
	total := len(st.Children)
	ended := n[Succeeded] + n[Failed] + n[Cancelled] + n[TimedOut]
	if ended < total {
		st.Finished = nil
	}
	switch {
	case n[Waiting] == total:
		st.State = Waiting
		return
	case ended == total && n[Cancelled] > 0:
		st.State = Cancelled
	case ended == total && n[TimedOut] > 0:
		st.State = TimedOut
	case ended == total:
	case n[Running] > 0:
		st.State = Running
	default:
		st.State = Pending
	}
	if st.State != "" {
		for _, c := range st.Children {
			if c.State == Pending && c.Reason != "" || total == 1 {
				st.Reason, st.Message = c.Reason, c.Message
			}
		}
		return
	}
	if n[Succeeded] == 0 {
		st.State, st.Reason, st.Message = Failed, failed.Reason, failed.Message
		return
	}
	st.State = Succeeded
	if total == 1 {
		st.Result, st.Message = results[0], st.Children[0].Message
		return
	}
	if n[Failed] > 0 {
		st.Message = fmt.Sprintf("%d of %d children failed, the first by: %s", n[Failed], total, failed.Message)
	}
	if p.Best == nil {
		return
	}
	best, err := pipeline.BestChild(p.Best, results)
	if err != nil {
		st.State, st.Reason, st.Message = Failed, "NoBestChild", err.Error()
		return
	}
	st.Best, st.Result = best, results[best]
}

func childFromJob(c *Child, f job.JobFact) {
	c.UID, c.Reason, c.Message = f.UID, f.Reason, f.Message
	c.Started, c.Finished = f.Started, f.Finished
	c.State = State(f.State)
	if f.State == job.Suspended {
		c.State = Pending
	}
	last := lastPod(f)
	if last == nil {
		return
	}
	c.Node, c.Image, c.ExitCode, c.Restarts = last.Node, last.ImageID, last.ExitCode, last.Restarts
	if c.State != Succeeded {
		return
	}
	// A container may write plain text there for people; only what looks like our document must be one.
	text := f.Result()
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return
	}
	res, err := pipeline.ParseResult(text)
	if err != nil {
		c.State, c.Reason = Failed, "InvalidResult"
		c.Message = fmt.Sprintf("the command succeeded, but what it wrote to /dev/termination-log cannot be read: %v", err)
		return
	}
	c.Result = res
}

// lastPod is the pod that speaks for a Job: the one that succeeded, else the newest. Of several ranks it is the one that
// the others died of.
func lastPod(f job.JobFact) *job.PodFact {
	if first, ok := f.FirstFailure(); ok && f.Indexed && f.State == job.Failed {
		return &first
	}
	var last *job.PodFact
	for i := range f.Pods {
		p := &f.Pods[i]
		if p.State == job.Succeeded {
			return p
		}
		if last == nil || p.Started != nil && (last.Started == nil || p.Started.After(*last.Started)) {
			last = p
		}
	}
	return last
}
