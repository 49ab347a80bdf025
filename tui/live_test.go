package tui

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

var update = flag.Bool("update", false, "write the golden files")

// now is the frozen clock of these tests.
var now = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // a path below testdata
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs, see -update; got\n%swant\n%s", path, got, want)
	}
}

// aRun is in the midst of a sweep of n children.
func aRun(state run.State, n int) run.Run {
	at := func(d time.Duration) *time.Time { u := now.Add(d); return &u }
	rec := &run.Record{Name: "house-prices-x7k2p", Created: now.Add(-5 * time.Minute)}
	ingest := run.Stage{
		Name: "ingest", State: run.Succeeded, Attempt: 1, Started: at(-5 * time.Minute), Finished: at(-4 * time.Minute),
		Children: []run.Child{{State: run.Succeeded}}, Result: &pipeline.Result{Metrics: map[string]float64{"rows": 4054}},
	}
	train := run.Stage{Name: "学習-train", State: run.Running, Attempt: 1, GPUs: 1, Started: at(-4 * time.Minute)}
	for i := range n {
		train.Children = append(train.Children, run.Child{State: run.Running, Swept: map[string]any{"lr": 0.1 / float64(i+1)}, Started: at(-4 * time.Minute)})
	}
	deploy := run.Stage{Name: "deploy", State: run.Waiting, Reason: "needs 学習-train", Attempt: 1}
	stages := []run.Stage{ingest, train, deploy}
	for _, s := range stages {
		rec.Plan.Stages = append(rec.Plan.Stages, pipeline.PlannedStage{Stage: pipeline.Stage{Name: s.Name}, Selected: true})
	}
	r := run.Run{Record: rec, State: state, Now: stages}
	if state.Terminal() {
		rec.End = &run.End{State: state, At: now}
	}
	return r
}

func aLive() Live {
	return Live{Now: func() time.Time { return now }, Paint: func(l views.Line) string { return l.Text() }, CanCancel: true}
}

// press is a key as Bubble Tea reads it.
func press(key string) tea.KeyPressMsg {
	switch key {
	case "ctrl+c":
		return tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	case "esc":
		return tea.KeyPressMsg{Code: tea.KeyEscape}
	case "enter":
		return tea.KeyPressMsg{Code: tea.KeyEnter}
	}
	return tea.KeyPressMsg{Code: rune(key[0]), Text: key}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		keys      string
		canCancel bool
		choice    Choice
		asking    bool
		quits     bool
	}{
		{keys: "ctrl+c", canCancel: true, asking: true},
		{keys: "q", canCancel: true, asking: true},
		{keys: "ctrl+c w", canCancel: true},
		{keys: "ctrl+c esc", canCancel: true},
		{keys: "ctrl+c enter", canCancel: true},
		{keys: "ctrl+c x", canCancel: true, asking: true},
		{keys: "ctrl+c l", canCancel: true, choice: Leave, quits: true},
		{keys: "ctrl+c d", canCancel: true, choice: Leave, quits: true},
		{keys: "ctrl+c ctrl+c", canCancel: true, choice: Leave, quits: true},
		{keys: "ctrl+c c", canCancel: true, choice: CancelRun, quits: true},
		{keys: "c", canCancel: true},
		{keys: "l", canCancel: true},
		{keys: "ctrl+c", choice: Leave, quits: true},
		{keys: "q", choice: Leave, quits: true},
		{keys: "c"},
	} {
		live := aLive()
		live.CanCancel = c.canCancel
		var m tea.Model = liveModel{live: live, update: run.Update{Run: aRun(run.Running, 1)}}
		var cmd tea.Cmd
		for key := range strings.FieldsSeq(c.keys) {
			m, cmd = m.Update(press(key))
		}
		got, ok := m.(liveModel)
		if !ok {
			t.Fatalf("%s: the model became a %T", c.keys, m)
		}
		if got.choice != c.choice || got.asking != c.asking || (cmd != nil) != c.quits || got.done != c.quits {
			t.Errorf("%q (can cancel: %t): choice %d, asking %t, quits %t; want %d, %t, %t", c.keys, c.canCancel, got.choice, got.asking, cmd != nil, c.choice, c.asking, c.quits)
		}
	}
}

func TestUpdates(t *testing.T) {
	m := liveModel{live: aLive(), progress: map[string]job.Progress{}}
	if m.View().Content != "" {
		t.Errorf("before the first look: %q", m.View().Content)
	}
	step := func(msg tea.Msg) tea.Cmd {
		next, cmd := m.Update(msg)
		m, _ = next.(liveModel)
		return cmd
	}
	step(tea.WindowSizeMsg{Width: 80, Height: 24})
	step(updateMsg{Run: aRun(run.Running, 1)})
	step(progressMsg{views.ProgressKey("学習-train", 0), job.Progress{Percent: 45, Source: job.SourceMarked, Metrics: map[string]float64{"loss": 0.5}}})
	for _, want := range []string{"学習-train", "45%", "loss=0.5"} {
		if !strings.Contains(m.View().Content, want) {
			t.Errorf("no %q in:\n%s", want, m.View().Content)
		}
	}
	if step(tickMsg(now)) == nil {
		t.Error("the clock stands still after a tick")
	}
	step(updateMsg{Run: aRun(run.Running, 1), Lost: errors.New("connection refused"), Since: now.Add(-90 * time.Second)})
	if want := "The API server is away; this is 90s old; reconnecting"; !strings.Contains(m.View().Content, want) {
		t.Errorf("no %q in:\n%s", want, m.View().Content)
	}
	step(press("ctrl+c"))
	if step(doneMsg{run: aRun(run.Succeeded, 1)}) == nil || m.asking || m.update.Lost != nil || m.update.Run.State != run.Succeeded {
		t.Errorf("after the end: asking %t, lost %v, state %s", m.asking, m.update.Lost, m.update.Run.State)
	}
	if m.View().Content != "" {
		t.Errorf("the last frame is not taken away: %q", m.View().Content)
	}
}

// TestLayouts looks at the lines of all sizes, of screens so small that little can be shown, too.
func TestLayouts(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {10, 3}, {20, 5}, {40, 10}, {80, 24}, {200, 50}} {
		m := liveModel{live: aLive(), update: run.Update{Run: aRun(run.Running, 12), Lost: errors.New("x"), Since: now}, width: size[0], height: size[1], asking: true}
		lines := m.lines()
		for _, l := range lines {
			if l.Width() > size[0] {
				t.Errorf("%v: %q is too wide", size, l.Text())
			}
		}
		if size[1] >= 10 && len(lines) >= size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
	}
}

func TestShowReturnsWhatTheWorkReturned(t *testing.T) {
	failed := errors.New("the work failed")
	for _, want := range []error{nil, failed} {
		live := aLive()
		var out strings.Builder
		live.In, live.Out = strings.NewReader(""), &out
		r, choice, err := live.Show(t.Context(), func(_ context.Context, show func(run.Update), _ func(string, job.Progress)) (run.Run, error) {
			show(run.Update{Run: aRun(run.Running, 1)})
			return aRun(run.Failed, 1), want
		})
		if r.State != run.Failed || choice != Stay || !errors.Is(err, want) {
			t.Errorf("got %s, %d, %v, want the error %v", r.State, choice, err, want)
		}
		if !strings.Contains(out.String(), "✖ house-prices-x7k2p") {
			t.Errorf("the last state does not stay: %q", out.String())
		}
	}
}

func TestShowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	live := aLive()
	live.In, live.Out = strings.NewReader(""), &strings.Builder{}
	_, choice, err := live.Show(ctx, func(ctx context.Context, show func(run.Update), _ func(string, job.Progress)) (run.Run, error) {
		show(run.Update{Run: aRun(run.Running, 1)})
		cancel()
		<-ctx.Done()
		return aRun(run.Running, 1), context.Cause(ctx)
	})
	if choice != Stay || !errors.Is(err, context.Canceled) {
		t.Errorf("choice %d, error %v", choice, err)
	}
}
