package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// urgent are the states of stages, those first that a person who asks why of a run means.
var urgent = []run.State{
	run.Failed, run.GateFailed, run.AwaitingApproval, run.TimedOut, run.Pending, run.Running, run.Waiting, run.Cancelled, run.Skipped, run.Succeeded, run.Reused,
}

// chooseStage is the stage of a run with a name, or without one that which tells most of the run.
func chooseStage(r run.Run, name string) (run.Stage, bool) {
	var best *run.Stage
	for i := range r.Now {
		st := &r.Now[i]
		if name != "" && st.Name != name {
			continue
		}
		if best == nil || slices.Index(urgent, st.State) < slices.Index(urgent, best.State) {
			best = st
		}
	}
	if best == nil {
		return run.Stage{}, false
	}
	return *best, true
}

// recordTells says that the record of a run knows why of a stage, and its Job does not: there is none (any more), or what
// keeps the run from going on comes after it.
func recordTells(st run.Stage, w *fleet.Work) bool {
	if w == nil {
		return true
	}
	return slices.Contains([]run.State{run.GateFailed, run.AwaitingApproval, run.Cancelled, run.TimedOut}, st.State) ||
		w.State == job.Succeeded && st.State == run.Failed
}

// diagnoseStage says why of a stage by the record of its run alone.
func diagnoseStage(r run.Run, st run.Stage, now time.Time) Diagnosis {
	e := &Evidence{Now: now, Work: &fleet.Work{
		Ref:    fleet.Ref{APIVersion: pipeline.APIVersion, Kind: "Run", Namespace: r.Namespace, Name: r.Name, UID: r.UID},
		Labels: map[string]string{kube.LabelRun: r.Name, kube.LabelStage: st.Name}, State: string(st.State), Created: r.Created,
	}}
	d := Diagnosis{Subject: e.Work.Ref, State: string(st.State), Created: r.Created, Brief: fmt.Sprintf("stage %s: %s", st.Name, st.State)}
	if st.Started != nil && st.Finished == nil {
		d.Brief += " for " + age(now.Sub(*st.Started))
	}
	if c, ok := e.stageCause(r, st); ok {
		d.Causes = []Cause{c}
	}
	d.Headline = headline(&d)
	return d
}

// stageCause is why a stage is in its state.
func (e *Evidence) stageCause(r run.Run, st run.Stage) (Cause, bool) {
	said := strings.TrimPrefix(st.Reason+": "+st.Message, ": ")
	said = strings.TrimSuffix(said, ": ")
	switch st.State {
	case run.Waiting:
		return e.stageWaits(r, st), true
	case run.Failed:
		if st.Reason == "NotStarted" {
			c := e.refusal(st.Message)
			c.Title = "its Job was not created: " + c.Title
			return c.cures(e.again("then start it")), true
		}
		return cause(Certain, "StageFailed", "the stage failed: "+said).cures(e.again("when the cause is mended, start it again")), true
	case run.GateFailed, run.AwaitingApproval:
		code, title := "GateBreached", "its results breach a gate"
		if st.State == run.AwaitingApproval {
			code, title = "AwaitingApproval", "it waits for an approval"
		}
		c := cause(Certain, code, title)
		for _, v := range st.Gates {
			if v.State != pipeline.Pass {
				c = c.because(v.Reason)
			}
		}
		c = c.because(st.Message).cure("let it pass", fmt.Sprintf("kubectl ml resume %s --approve %s --reason TEXT", r.Name, st.Name))
		return c.cures(e.again("or run it again")), true
	case run.Skipped:
		need, _, _ := strings.Cut(st.Reason, " ")
		c := cause(Certain, "StageSkipped", "it was skipped: "+said)
		if _, ok := chooseStage(r, need); ok {
			return c.cure("see why of that stage", "kubectl ml why "+r.Name+"/"+need), true
		}
		return c.cures(e.again("run it all the same")), true
	case run.Cancelled:
		c := cause(Certain, "RunCancelled", "the run was cancelled")
		if r.Cancel != nil {
			c = c.because("by "+r.Cancel.By, r.Cancel.Reason)
		}
		return c.cures(e.again("start it again")), true
	case run.TimedOut:
		return cause(Certain, "RunTimedOut", "the run reached its own deadline (--timeout)").because(r.Message).cures(e.again("start it again")), true
	case run.Pending, run.Running:
		return cause(Possible, "JobUnseen", "its Job could not be looked at: "+said).cure("see what is there", "kubectl ml status "+r.Name), true
	}
	return Cause{}, false
}

// stageWaits: for stages before it, or for a client that takes the run forward.
func (e *Evidence) stageWaits(r run.Run, st run.Stage) Cause {
	c := cause(Certain, "WaitsForStage", "it "+st.Reason)
	for _, need := range st.Needs {
		if before, ok := chooseStage(r, need); ok && strings.Contains(st.Reason, need) {
			c = c.because(fmt.Sprintf("stage %s is %s", need, before.State))
			c = c.cure("see why of that stage", "kubectl ml why "+r.Name+"/"+need)
		}
	}
	if len(c.Remedies) > 0 {
		return c
	}
	return cause(Likely, "NotDriven", "it may start, and no client takes the run forward").because("all stages that it needs have passed").
		cure("take the run forward", "kubectl ml resume "+r.Name)
}
