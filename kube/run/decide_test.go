package run

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// decision is a situation, and in lines how the run stands (run, stages) and what it needs (start, delete, note,
// record, expire, end).
type decision struct {
	name string
	in   *situation
	want []string
}

func check(t *testing.T, cases []decision) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.in.describe()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestStagesFollowTheirJobs(t *testing.T) {
	two := func() *situation { return makeRun("p-1").stage("a").stage("b", needs("a")) }
	check(t, []decision{
		{"new", two(), []string{"run Pending", "a Waiting", "b Waiting (needs a)", "start p-1-a"}},
		{
			"created and not noted", two().job("a", job.Pending),
			[]string{"run Pending", "a Pending", "b Waiting (needs a)", `note a ["uid-p-1-a"]`},
		},
		{
			"pending says why", two().noted("a").job("a", job.Pending, because("Unschedulable", "no GPUs")),
			[]string{"run Pending: stage a: Unschedulable: no GPUs", "a Pending (Unschedulable): no GPUs", "b Waiting (needs a)"},
		},
		{
			"suspended is pending", two().noted("a").job("a", job.Suspended, because("Queued", "waits for quota")),
			[]string{"run Pending: stage a: Queued: waits for quota", "a Pending (Queued): waits for quota", "b Waiting (needs a)"},
		},
		{
			"running", two().noted("a").job("a", job.Running),
			[]string{"run Running", "a Running", "b Waiting (needs a)"},
		},
		{
			"succeeded, not recorded", two().noted("a").job("a", job.Succeeded),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b", "record a Succeeded"},
		},
		{
			"succeeded and recorded", two().noted("a").recorded("a", Succeeded, nil),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b"},
		},
		{
			"failed", two().noted("a").job("a", job.Failed, because("OOMKilled", "out of memory")),
			[]string{
				"run Failed: stage a failed: out of memory", "a Failed (OOMKilled): out of memory", "b Skipped (a failed)",
				"record a Failed (OOMKilled): out of memory", "end Failed",
			},
		},
		{
			"the last succeeds", two().recorded("a", Succeeded, nil).noted("b").job("b", job.Succeeded),
			[]string{"run Succeeded", "a Succeeded", "b Succeeded", "record b Succeeded", "end Succeeded"},
		},
		{
			"ended", two().recorded("a", Succeeded, nil).recorded("b", Succeeded, nil).ended(Succeeded),
			[]string{"run Succeeded", "a Succeeded", "b Succeeded"},
		},
		{
			"a branch goes on when another fails",
			makeRun("p-1").stage("a").stage("b").stage("c", needs("a", "b")).noted("a", "b").job("a", job.Failed, because("Error", "exit 1")).job("b", job.Running),
			[]string{"run Running", "a Failed (Error): exit 1", "b Running", "c Skipped (a failed)", "record a Failed (Error): exit 1"},
		},
		{
			"the refusal of the server fails the stage",
			two().with(func(r *Record) {
				r.Stages["a"] = StageRecord{Attempt: 1, Jobs: []string{""}, Refused: "exceeded quota"}
			}),
			[]string{
				"run Failed: stage a failed: exceeded quota", "a Failed (NotStarted): exceeded quota", "b Skipped (a failed)",
				"record a Failed (NotStarted): exceeded quota", "end Failed",
			},
		},
		{
			"left out without results, needed for order alone",
			makeRun("p-1").stage("a", leftOut()).stage("b", needs("a")),
			[]string{"run Pending", "a Skipped (not part of this run)", "b Waiting", "start p-1-b"},
		},
		{
			"left out with results of an earlier run",
			makeRun("p-1").stage("a", leftOut(), minAcc(1)).stage("b", needs("a")).recorded("a", Succeeded, nil),
			[]string{"run Pending", "a Reused", "b Waiting", "start p-1-b"},
		},
		{
			"a second attempt does not see the Job of the first",
			makeRun("p-1").stage("a").job("a", job.Failed).with(func(r *Record) { r.Stages["a"] = StageRecord{Attempt: 2} }),
			[]string{"run Pending", "a Waiting", "start p-1-a-r2"},
		},
	})
}

func TestAJobThatIsGone(t *testing.T) {
	one := func() *situation { return makeRun("p-1").stage("a").noted("a") }
	deleted := "job p-1-a was deleted before it ended"
	check(t, []decision{
		{
			"was deleted by somebody", one(),
			[]string{"run Failed: stage a failed: " + deleted, "a Failed (JobDeleted): " + deleted, "record a Failed (JobDeleted): " + deleted, "end Failed"},
		},
		{
			"was deleted to cancel, by a client that died before it could record it", one().cancelled(),
			[]string{"run Cancelled: cancelled by ann", "a Cancelled", "record a Cancelled: cancelled by ann", "end Cancelled"},
		},
		{
			"was deleted because the time was over", one().timeout(30 * time.Second),
			[]string{
				"run TimedOut: the run did not end within 30s", "a TimedOut", "record a TimedOut: the run did not end within 30s", "end TimedOut",
			},
		},
		{
			"expired after its outcome was recorded", one().recorded("a", Succeeded, nil),
			[]string{"run Succeeded", "a Succeeded", "end Succeeded"},
		},
	})
	s := one()
	s.live = Live{}
	if got := Derive(s.rec, s.live, s.now).State; got != Running {
		t.Errorf("where nobody looked for Jobs, a noted one is %s", got)
	}
}

func TestResultsAndGates(t *testing.T) {
	gated := func(options ...stageOption) *situation {
		return makeRun("p-1").stage("a", options...).stage("b", needs("a")).noted("a")
	}
	good, bad := leaves(`{"metrics": {"acc": 0.9}}`), leaves(`{"metrics": {"acc": 0.1}}`)
	invalid := "the command succeeded, but what it wrote to /dev/termination-log cannot be read: the result is not JSON: unexpected EOF: write one JSON object with finite numbers to /dev/termination-log"
	check(t, []decision{
		{
			"plain text is for people", gated().job("a", job.Succeeded, leaves("all went well")),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b", "record a Succeeded"},
		},
		{
			"half a document", gated().job("a", job.Succeeded, leaves(`{"metrics": `)),
			[]string{
				"run Failed: stage a failed: " + invalid, "a Failed (InvalidResult): " + invalid, "b Skipped (a failed)",
				"record a Failed (InvalidResult): " + invalid, "end Failed",
			},
		},
		{
			"gate holds", gated(minAcc(0.5)).job("a", job.Succeeded, good),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b", "record a Succeeded"},
		},
		{
			"gate breached: the work is recorded as it is, the gate is not", gated(minAcc(0.5)).job("a", job.Succeeded, bad),
			[]string{
				"run GateFailed: stage a: acc 0.1 is below min 0.5", "a GateFailed (Gate): acc 0.1 is below min 0.5", "b Skipped (a breached a gate)",
				"record a Succeeded", "end GateFailed",
			},
		},
		{
			"gate without a metric", gated(minAcc(0.5)).job("a", job.Succeeded),
			[]string{
				"run GateFailed: stage a: no metric acc in the stage's result, which left no result in /dev/termination-log",
				"a GateFailed (Gate): no metric acc in the stage's result, which left no result in /dev/termination-log", "b Skipped (a breached a gate)",
				"record a Succeeded", "end GateFailed",
			},
		},
		{
			"gate breached and approved", gated(minAcc(0.5)).recorded("a", Succeeded, map[string]float64{"acc": 0.1}).approved("a"),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b"},
		},
		{
			"awaits approval", gated(approval("look at it")).job("a", job.Succeeded, good),
			[]string{
				"run AwaitingApproval: stage a: waits for approval: look at it", "a AwaitingApproval (Approval): waits for approval: look at it",
				"b Waiting (needs a)", "record a Succeeded",
			},
		},
		{
			"a breach comes before an approval", gated(approval("look at it"), minAcc(0.5)).recorded("a", Succeeded, map[string]float64{"acc": 0.1}),
			[]string{
				"run GateFailed: stage a: acc 0.1 is below min 0.5", "a GateFailed (Gate): acc 0.1 is below min 0.5", "b Skipped (a breached a gate)", "end GateFailed",
			},
		},
		{
			"approved", gated(approval("look at it")).recorded("a", Succeeded, nil).approved("a"),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b"},
		},
		{
			"a failed branch does not hide that a person is asked",
			gated(approval("look at it")).stage("c").recorded("a", Succeeded, nil).recorded("c", Failed, nil),
			[]string{
				"run AwaitingApproval: stage a: waits for approval: look at it", "a AwaitingApproval (Approval): waits for approval: look at it",
				"b Waiting (needs a)", "c Failed",
			},
		},
	})
}

func TestSweeps(t *testing.T) {
	four := func() *situation { return makeRun("p-1").stage("a", sweep(4, 2)) }
	acc := func(v string) func(*job.JobFact) { return leaves(`{"metrics": {"acc": ` + v + `}}`) }
	exit := because("Error", "exit 1")
	check(t, []decision{
		{"starts as many as may run at once", four(), []string{"run Pending", "a Waiting", "start p-1-a-0", "start p-1-a-1"}},
		{
			"starts the next when one ends", four().noted("a/0", "a/1").job("a/0", job.Failed, exit).job("a/1", job.Running),
			[]string{"run Running", "a Running", "start p-1-a-2"},
		},
		{
			"between two children it is pending", four().noted("a/0").job("a/0", job.Succeeded, acc("1")),
			[]string{"run Pending", "a Pending", "start p-1-a-1", "start p-1-a-2"},
		},
		{
			"some failed", four().noted("a/0", "a/1", "a/2", "a/3").job("a/0", job.Failed, exit).
				job("a/1", job.Succeeded, acc("0.5")).job("a/2", job.Succeeded, acc("0.7")).job("a/3", job.Succeeded, acc("0.6")),
			[]string{
				"run Succeeded", "a Succeeded: 1 of 4 children failed, the first by: exit 1",
				"record a Succeeded: 1 of 4 children failed, the first by: exit 1", "end Succeeded",
			},
		},
		{
			"all failed", four().noted("a/0", "a/1", "a/2", "a/3").job("a/0", job.Failed, exit).job("a/1", job.Failed, exit).
				job("a/2", job.Failed, exit).job("a/3", job.Failed, exit),
			[]string{"run Failed: stage a failed: exit 1", "a Failed (Error): exit 1", "record a Failed (Error): exit 1", "end Failed"},
		},
		{
			"none has the metric", makeRun("p-1").stage("a", sweep(2, 2)).noted("a/0", "a/1").
				job("a/0", job.Succeeded, leaves(`{"metrics": {"f1": 1}}`)).job("a/1", job.Failed, exit),
			[]string{
				"run Failed: stage a failed: no child of the sweep has the metric acc, by which best chooses: their result has f1",
				"a Failed (NoBestChild): no child of the sweep has the metric acc, by which best chooses: their result has f1",
				"record a Failed (NoBestChild): no child of the sweep has the metric acc, by which best chooses: their result has f1", "end Failed",
			},
		},
		{
			"a refusal starts no more and lets run what runs",
			four().noted("a/0").job("a/0", job.Running).with(refused("a", "exceeded quota")),
			[]string{"run Running", "a Running"},
		},
		{
			"a refusal fails the sweep, whatever the others found",
			four().noted("a/0").job("a/0", job.Succeeded, acc("1")).with(refused("a", "exceeded quota")),
			[]string{
				"run Failed: stage a failed: exceeded quota", "a Failed (NotStarted): exceeded quota", "record a Failed (NotStarted): exceeded quota", "end Failed",
			},
		},
		{
			"cancelled halfway", four().noted("a/0", "a/1").job("a/0", job.Succeeded, acc("1")).job("a/1", job.Running).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "a Running", "delete p-1-a-1", "record a Cancelled: cancelled by ann", "end Cancelled"},
		},
	})
	s := four().noted("a/0", "a/1", "a/2", "a/3")
	for i, v := range []string{"0.5", "0.7", "0.7", "0.6"} {
		s.job("a/"+string(rune('0'+i)), job.Succeeded, acc(v))
	}
	st := Derive(s.rec, s.live, s.now).Now[0]
	if st.Best != 1 || st.Result == nil || st.Result.Metrics["acc"] != 0.7 {
		t.Errorf("of equals the first wins: got child %d with %+v", st.Best, st.Result)
	}
}

func refused(stage, why string) func(*Record) {
	return func(r *Record) {
		sr := r.Stages[stage]
		sr.Refused = why
		r.Stages[stage] = sr
	}
}

// next must not change what it decides on: the caller shows it.
func TestNextChangesNothing(t *testing.T) {
	s := makeRun("p-1").stage("a", sweep(2, 2)).stage("b", needs("a")).noted("a/0").job("a/0", job.Running).cancelled()
	opts := cmp.Options{cmp.AllowUnexported(Stage{}), cmpopts.EquateEmpty()}
	r, again := Derive(s.rec, s.live, s.now), Derive(s.rec, s.live, s.now)
	n := next(r, s.live, s.now)
	after := n.apply(r.Record)
	if diff := cmp.Diff(again, r, opts); diff != "" {
		t.Errorf("next changed the run:\n%s", diff)
	}
	if after.End == nil || after.Stages["a"].Outcome.Children[0].State != Cancelled || r.End != nil {
		t.Errorf("the record after the step: %+v", after)
	}
}

func TestTheResultIsOfThePodThatSpeaksForTheJob(t *testing.T) {
	s := makeRun("p-1").stage("a").job("a", job.Succeeded, func(f *job.JobFact) {
		f.Pods = []job.PodFact{
			{Name: "rank-0", State: job.Succeeded, Result: `{"metrics": {"acc": 1}}`, Node: "n0"},
			{Name: "rank-1", State: job.Succeeded, Rank: 1, Result: `{"metrics": {"acc": 2}}`, Node: "n1"},
		}
	})
	c := Derive(s.rec, s.live, s.now).Now[0].Children[0]
	want := Child{
		State: Succeeded, Job: "p-1-a", UID: "uid-p-1-a", Node: "n0", Finished: new(began.Add(30 * time.Second)),
		Result: &pipeline.Result{Metrics: map[string]float64{"acc": 1}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}
