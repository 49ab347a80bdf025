package diagnose

import (
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// TestStagesWithoutAJob: what the record of a run tells by itself.
func TestStagesWithoutAJob(t *testing.T) {
	r := run.Run{Record: &run.Record{Name: "p-1", Namespace: "team", Created: now}, Now: []run.Stage{
		{Name: "train", State: run.Running},
		{Name: "waits", State: run.Waiting, Needs: []string{"train"}, Reason: "needs train"},
		{Name: "free", State: run.Waiting},
		{Name: "quota", State: run.Failed, Reason: "NotStarted", Message: `jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1`},
		{Name: "gone", State: run.Failed, Reason: "JobDeleted", Message: "job p-1-gone was deleted before it ended"},
		{Name: "breach", State: run.GateFailed, Gates: []pipeline.Verdict{{State: pipeline.Pass, Reason: "fine"}, {State: pipeline.Fail, Reason: "rmse 71000 is above max 60000"}}},
		{Name: "asks", State: run.AwaitingApproval, Message: "waits for approval: lead"},
		{Name: "skipped", State: run.Skipped, Reason: "gone failed"},
		{Name: "late", State: run.TimedOut},
		{Name: "done", State: run.Succeeded},
	}}
	for name, want := range map[string]struct{ code, says string }{
		"waits": {"WaitsForStage", "kubectl ml why p-1/train"}, "free": {"NotDriven", "kubectl ml resume p-1"}, "quota": {"QuotaExceeded", "kubectl ml retry p-1 --from quota"},
		"gone": {"StageFailed", "was deleted before it ended"}, "breach": {"GateBreached", "rmse 71000 is above max 60000"},
		"asks": {"AwaitingApproval", "kubectl ml resume p-1 --approve asks --reason TEXT"}, "skipped": {"StageSkipped", "kubectl ml why p-1/gone"},
		"late": {"RunTimedOut", ""}, "done": {"", "stage done: Succeeded"},
	} {
		st, ok := chooseStage(r, name)
		if !ok {
			t.Fatal(name)
		}
		d := diagnoseStage(r, st, now)
		c, _ := d.First()
		if c.Code != want.code || missingWords(everything(d), want.says) {
			t.Errorf("%s: %s, want %s with %q:\n%s", name, c.Code, want.code, want.says, everything(d))
		}
		if d.Subject.KindName() != "run/p-1" {
			t.Errorf("%s: the subject is %s", name, d.Subject.KindName())
		}
	}
	if st, _ := chooseStage(r, ""); st.Name != "quota" {
		t.Errorf("of the whole run stage %s is told of, want the first that failed", st.Name)
	}
	if _, ok := chooseStage(r, "nothing"); ok {
		t.Error("a stage that the run does not have")
	}
	work := &fleet.Work{State: job.Succeeded}
	for state, want := range map[run.State]bool{run.GateFailed: true, run.AwaitingApproval: true, run.Succeeded: false, run.Running: false} {
		if recordTells(run.Stage{State: state}, work) != want {
			t.Errorf("%s: the record tells: %t", state, !want)
		}
	}
}
