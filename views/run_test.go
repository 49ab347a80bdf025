package views

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// now is when all runs of these tests are looked at; they began ten minutes before.
var (
	now   = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	began = now.Add(-10 * time.Minute)
)

func after(d time.Duration) *time.Time {
	t := began.Add(d)
	return &t
}

func number(v float64) *float64 { return &v }

// aRun makes a run of the given stages, all of them selected but those that are reused.
func aRun(state run.State, message string, stages ...run.Stage) run.Run {
	rec := &run.Record{Name: "house-prices-x7k2p", Namespace: "team-a", Created: began}
	rec.By = "ada"
	rec.Plan = pipeline.Plan{Pipeline: "house-prices", Revision: "0123456789ab", Params: map[string]any{"lr": 0.1, "seed": 7}}
	for _, s := range stages {
		rec.Plan.Stages = append(rec.Plan.Stages, pipeline.PlannedStage{Stage: pipeline.Stage{Name: s.Name}, Selected: s.State != run.Reused})
	}
	r := run.Run{Record: rec, State: state, Message: message, Now: stages}
	if state.Terminal() {
		rec.End = &run.End{State: state, Message: message, At: *after(8 * time.Minute)}
		r.Finished = &rec.End.At
	}
	return r
}

// aStage makes a stage with one execution.
func aStage(name string, state run.State, reason, message string, from, to *time.Time, metrics map[string]float64) run.Stage {
	st := run.Stage{Name: name, State: state, Reason: reason, Message: message, Attempt: 1, Started: from, Finished: to}
	c := run.Child{State: state, Reason: reason, Message: message, Started: from, Finished: to}
	if metrics != nil {
		st.Result = &pipeline.Result{Metrics: metrics}
		c.Result = st.Result
	}
	st.Children = []run.Child{c}
	return st
}

func sweep() run.Stage {
	st := aStage("train", run.Running, "Unschedulable", "0/4 nodes are available: 4 Insufficient nvidia.com/gpu.", after(time.Minute), nil, nil)
	st.GPUs, st.Children = 8, nil
	for i, state := range []run.State{run.Succeeded, run.Failed, run.Running, run.Pending, run.Waiting} {
		c := run.Child{State: state, Swept: map[string]any{"depth": i, "lr": 0.01}}
		switch state {
		case run.Succeeded:
			c.Started, c.Finished, c.Result = after(time.Minute), after(4*time.Minute), &pipeline.Result{Metrics: map[string]float64{"rmse": 31460.2}}
		case run.Failed:
			c.Started, c.Finished, c.Reason, c.Message = after(time.Minute), after(2*time.Minute), "OOMKilled", "exit code 137: out of memory: the container used more than its memory limit"
		case run.Running:
			c.Started = after(time.Minute)
		case run.Pending:
			c.Reason, c.Message = st.Reason, st.Message
		}
		st.Children = append(st.Children, c)
	}
	return st
}

func exampleRuns() map[string]run.Run {
	ingest := aStage("ingest", run.Succeeded, "", "", after(0), after(40*time.Second), map[string]float64{"rows": 4054})
	gate := pipeline.Gate{Metric: "rmse", Max: number(30000)}
	validate := aStage("validate", run.GateFailed, "Gate", "rmse 31460.2 is above max 30000", after(5*time.Minute), after(6*time.Minute), map[string]float64{"rmse": 31460.2, "r2": 0.8922})
	validate.Gates = []pipeline.Verdict{
		{Gate: gate, State: pipeline.Fail, Value: number(31460.2), Reason: validate.Message},
		{Gate: pipeline.Gate{Metric: "r2", Min: number(0.6), Max: number(1)}, State: pipeline.Pass, Value: number(0.8922), Reason: "r2 0.8922 is within"},
		{Gate: pipeline.Gate{Approval: "look at the plots"}, State: pipeline.Waiting, Reason: "waits for approval: look at the plots"},
	}
	approved := validate
	approved.State, approved.Approved = run.Succeeded, &run.Mark{By: "grace", Reason: "known outlier"}
	reused := aStage("ingest", run.Reused, "", "", after(-time.Hour), after(-50*time.Minute), map[string]float64{"rows": 4000})
	reused.ReusedFrom = "house-prices-aaaaa"
	again := aStage("train", run.Failed, "Error", "exit code 1", after(time.Minute), after(2*time.Minute), nil)
	again.Attempt = 3
	wide := aStage("学習", run.Failed, "Error", "evil\x1b]0;pwn\a 失敗しました \u202eabc", after(time.Minute), after(2*time.Minute), nil)
	waiting := aStage("validate", run.Waiting, "needs train", "", nil, nil, nil)
	skipped := aStage("validate", run.Skipped, "train failed", "", nil, nil, nil)
	cancelled := aStage("train", run.Cancelled, "", "cancelled by ada: wrong data", after(time.Minute), after(2*time.Minute), nil)
	return map[string]run.Run{
		"sweep":     aRun(run.Running, "", ingest, sweep(), waiting),
		"gate":      aRun(run.GateFailed, "stage validate: "+validate.Message, ingest, validate),
		"approved":  aRun(run.Succeeded, "", ingest, approved),
		"reused":    aRun(run.Failed, "stage train failed: exit code 1", reused, again, skipped),
		"wide":      aRun(run.Failed, "stage 学習 failed: "+wide.Message, ingest, wide),
		"cancelled": aRun(run.Cancelled, "cancelled by ada: wrong data", ingest, cancelled, skipped),
	}
}

var widths = []int{40, 80, 200}

// checkLines holds what is true of all lines that are drawn.
func checkLines(t *testing.T, name string, lines []Line, width int) {
	t.Helper()
	for _, l := range lines {
		text := l.Text()
		switch {
		case width > 0 && l.Width() > width:
			t.Errorf("%s: a line takes %d cells, not %d: %s", name, l.Width(), width, text)
		case strings.TrimRight(text, " ") != text:
			t.Errorf("%s: blanks at the end of %q", name, text)
		case strings.ContainsAny(text, "\x1b\a\u202e"):
			t.Errorf("%s: not harmless: %q", name, text)
		}
	}
}

func TestRunTreeGoldens(t *testing.T) {
	progress := map[string]job.Progress{ProgressKey("train", 2): {Percent: 45, Source: job.SourceMarked, Metrics: map[string]float64{"loss": 0.51234}}}
	for name, r := range exampleRuns() {
		for _, width := range widths {
			lines := RunTree(r, progress, now, TreeOptions{LineOptions: LineOptions{Width: width}})
			file := fmt.Sprintf("run-tree-%s-%d", name, width)
			checkLines(t, file, lines, width)
			golden(t, file, lines)
		}
	}
}

func TestRunTreeFoldsAwayChildrenFirst(t *testing.T) {
	r := exampleRuns()["sweep"]
	for _, c := range []struct{ rows, want int }{{0, 10}, {20, 10}, {9, 5}, {5, 5}} {
		lines := RunTree(r, nil, now, TreeOptions{LineOptions: LineOptions{Width: 100}, Rows: c.rows})
		text := strings.Join(texts(lines), "\n")
		if (c.want == 5) != !strings.Contains(text, "depth=0") || !strings.Contains(text, "validate") {
			t.Errorf("in %d rows:\n%s", c.rows, text)
		}
	}
}

// TestRunTreeShowsNoChildrenThatNeverBegan: a sweep that was cancelled before its start is one line, and none are done.
func TestRunTreeShowsNoChildrenThatNeverBegan(t *testing.T) {
	st := sweep()
	st.State, st.Reason, st.Message, st.Started = run.Cancelled, "", "cancelled by ada", nil
	for i := range st.Children {
		st.Children[i] = run.Child{State: run.Cancelled, Swept: st.Children[i].Swept}
	}
	lines := texts(RunTree(aRun(run.Cancelled, "cancelled by ada", st), nil, now, TreeOptions{}))
	if len(lines) != 3 || !strings.Contains(lines[2], "0/5") {
		t.Errorf("the tree is\n%s", strings.Join(lines, "\n"))
	}
}

// TestRunTreeSaysThingsOnce: the run's row repeats no stage's message.
func TestRunTreeSaysThingsOnce(t *testing.T) {
	for name, once := range map[string]string{"gate": "is above max", "reused": "exit code 1", "cancelled": "wrong data", "wide": "失敗"} {
		for _, width := range []int{0, 60, 80, 200} {
			text := strings.Join(texts(RunTree(exampleRuns()[name], nil, now, TreeOptions{LineOptions: LineOptions{Width: width}})), "\n")
			if n := strings.Count(text, once); n != 1 {
				t.Errorf("%s at %d: %q is there %d times:\n%s", name, width, once, n, text)
			}
		}
	}
}

func TestSwept(t *testing.T) {
	got := Swept(map[string]any{"a": 0.1 / 3, "seed": 4294967295.0, "lr": 1e-5, "on": true, "opt": "adam", "n": 3})
	if want := "a=0.0333333 lr=1e-05 n=3 on=true opt=adam seed=4294967295"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressInATree(t *testing.T) {
	r := aRun(run.Running, "", aStage("train", run.Running, "", "", after(0), nil, nil))
	for want, p := range map[string]job.Progress{
		"██████░░░░░░ 50%": {Percent: 50, Source: "x", Step: 1, Epoch: 1},
		"epoch 2.5": {Percent: job.Unknown, Epoch: 2.5, Step: 10, Source: "x"},
		"step 1200": {Percent: job.Unknown, Epoch: job.Unknown, Step: 1200, Source: "x"},
	} {
		lines := RunTree(r, map[string]job.Progress{ProgressKey("train", 0): p}, now, TreeOptions{})
		if !strings.Contains(lines[2].Text(), want) {
			t.Errorf("%+v gives %q, want %q in it", p, lines[2].Text(), want)
		}
	}
}

func TestRunHeadGoldens(t *testing.T) {
	r := exampleRuns()["sweep"]
	r.Reason, r.Deadline, r.Timeout = "schedule", after(time.Hour), &metav1.Duration{Duration: time.Hour}
	r.Plan.Source = &pipeline.SourceRef{ConfigMap: "mlsource-house-prices-0123456789", Commit: "0af4dc050210f42834d99b340d64800c9df65063", Dirty: true}
	golden(t, "run-head-running", RunHead(r, now))
	golden(t, "run-head-gate", RunHead(exampleRuns()["gate"], now))
}

func TestRunTablesGoldens(t *testing.T) {
	runs := []run.Summary{
		{Name: "house-prices-x7k2p", Namespace: "team-a", Pipeline: "house-prices", State: run.Running, Done: 2, Total: 4, Stage: "train", Created: began, By: "ada",
			Commit: "0af4dc050210f42834d99b340d64800c9df65063-dirty", Metrics: map[string]float64{"rows": 4000, "features": 19}},
		{Name: "a-pipeline-with-a-name-of-forty-letters-12345", Namespace: "team-b", Pipeline: "a-pipeline-with-a-name-of-forty-letters", State: run.AwaitingApproval, Done: 3, Total: 4,
			Stage: "validate", Created: began.Add(-50 * time.Hour), Finished: after(-49 * time.Hour), By: "system:serviceaccount:team-b:kubectl-ml-driver", Commit: "0af4dc05",
			Message: "stage validate: waits for approval: look at the plots", Metrics: map[string]float64{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}},
		{Name: "evil-1", Namespace: "team-a", Pipeline: "evil", State: run.Failed, Total: 1, Stage: "\x1b[31mx", Created: began, Finished: after(time.Second), Message: "line\nbreak"},
	}
	schedules := []run.Schedule{
		{Name: "house-prices", Namespace: "team-a", Pipeline: "house-prices", Schedule: "@weekly", TimeZone: "Europe/Berlin", Created: began, Active: 1, Last: after(0), LastSuccess: after(-7 * 24 * time.Hour)},
		{Name: "house-prices-ingest", Namespace: "team-a", Pipeline: "house-prices", Stage: "ingest", Schedule: "0 2 * * *", Suspended: true, Created: began},
	}
	for name, table := range map[string]Table{
		"runs": Runs(runs, false, now), "runs-all": Runs(runs, true, now),
		"schedules": Schedules(schedules, false, now), "schedules-all": Schedules(schedules, true, now),
		"gates": Gates(exampleRuns()["gate"]), "gates-approved": Gates(exampleRuns()["approved"]), "no-gates": Gates(exampleRuns()["sweep"]),
	} {
		for _, width := range widths[1:] {
			lines := table.Lines(LineOptions{Width: width})
			checkLines(t, name, lines, width)
			golden(t, fmt.Sprintf("run-%s-%d", name, width), lines)
		}
		golden(t, "run-"+name+"-wide", table.Lines(LineOptions{Wide: true}))
	}
}

func TestRunEventsGolden(t *testing.T) {
	pending := func(reason, message string) run.Stage {
		return aStage("train", run.Pending, reason, message, nil, nil, nil)
	}
	looks := []run.Run{
		aRun(run.Pending, "", aStage("ingest", run.Succeeded, "", "", after(0), after(40*time.Second), map[string]float64{"rows": 4054}), aStage("train", run.Waiting, "needs ingest", "", nil, nil, nil)),
		aRun(run.Pending, "", aStage("ingest", run.Succeeded, "", "", after(0), after(40*time.Second), map[string]float64{"rows": 4054}), pending("Scheduling", "not assigned to a node yet")),
		aRun(run.Pending, "", pending("Unschedulable", "0/4 nodes are available")),
		aRun(run.Pending, "", pending("ContainerCreating", "")),
		aRun(run.Running, "", aStage("train", run.Running, "", "", after(0), nil, nil)),
		aRun(run.Running, "", aStage("train", run.Running, "", "", after(0), nil, nil)),
		aRun(run.Pending, "", aStage("train", run.Pending, "", "", after(0), nil, nil)), // between pod and Job
		aRun(run.Failed, "", aStage("train", run.Failed, "Error", "exit code 1\x1b[31m", after(0), after(3*time.Minute), nil)),
		aRun(run.Failed, "", aStage("train", run.Failed, "Error", "exit code 1\x1b[31m", after(0), after(3*time.Minute), nil)),
		exampleRuns()["reused"], exampleRuns()["gate"], exampleRuns()["approved"],
	}
	var before *run.Run
	var lines []Line
	for i, r := range looks {
		lines = append(lines, Line{Toned(fmt.Sprintf("look %d", i+1), Dim)})
		lines = append(lines, RunEvents(before, r)...)
		before = &looks[i]
	}
	checkLines(t, "events", lines, 0)
	golden(t, "run-events", lines)
}
