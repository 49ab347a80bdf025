package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testScope() scope {
	return scope{
		stage: "eval", run: "demo-1", pipeline: "demo",
		params: Params{"n": int64(7), "f": 1e-5, "big": 1e30, "s": "a $(HOME) b", "l": []any{int64(1), "x"}, "ref": "$(stages.train.metrics.rmse)", "mixed": "v$(params.n)", "esc": "$$(params.n)"},
		results: map[string]Result{"train": {
			Metrics: map[string]float64{"rmse": 54321.5, "val/r2": 0.6},
			Outputs: map[string]any{"k": "v", "n": int64(3)},
			Data:    map[string]any{"version": "1"},
			Model:   &Artifact{URI: "s3://b/k", Size: 12},
		}},
	}
}

func TestSubstitute(t *testing.T) {
	for _, c := range []struct{ in, literal, kubelet string }{
		{"plain", "plain", "plain"},
		{"--n=$(params.n)", "--n=7", "--n=7"},
		{"$(params.f) $(params.big)", "0.00001 1e+30", "0.00001 1e+30"},
		{"$(params.l)", `[1,"x"]`, `[1,"x"]`},
		{"$(params.mixed)", "v7", "v7"},
		{"$(params.ref)", "54321.5", "54321.5"},
		{"$(params.esc)", "$(params.n)", "$$(params.n)"},
		{"$(params.s)", "a $(HOME) b", "a $$(HOME) b"},
		{"$(run.name)/$(pipeline.name)", "demo-1/demo", "demo-1/demo"},
		{"$(stages.train.metrics.val/r2)", "0.6", "0.6"},
		{"$(stages.train.outputs.k)$(stages.train.outputs.n)$(stages.train.data.version)", "v31", "v31"},
		{"$(stages.train.model.uri)#$(stages.train.model.size)", "s3://b/k#12", "s3://b/k#12"},
		{"$$(params.n)", "$(params.n)", "$$(params.n)"},
		{"$(HOME) $(date +%s) $( x ) $() $(params.n", "$(HOME) $(date +%s) $( x ) $() $(params.n", "$(HOME) $(date +%s) $( x ) $() $(params.n"},
		{"$$ $", "$$ $", "$$ $"},
		{"sh -c 'echo $$; $(params.n)'", "sh -c 'echo $$; 7'", "sh -c 'echo $$; 7'"},
	} {
		for d, want := range map[dialect]string{literal: c.literal, kubelet: c.kubelet} {
			got, err := testScope().fill("args[0]", c.in, d)
			if err != nil || got != want {
				t.Errorf("%q in dialect %d is %q, want %q (%v)", c.in, d, got, want, err)
			}
		}
	}
}

func TestSubstituteErrors(t *testing.T) {
	for in, want := range map[string]string{
		"$(stages.train.metrics.mae)":  "stage eval: args[0]: $(stages.train.metrics.mae): the result of stage train has no metrics.mae; its metrics: rmse, val/r2",
		"$(stages.train.model.digest)": "has no model.digest; its model: size, uri",
		"$(stages.other.metrics.x)":    "stage other has no recorded result; run it first",
		"$(params.none)":               "stage eval has no such parameter",
	} {
		_, err := testScope().fill("args[0]", in, kubelet)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	sc := testScope()
	sc.params = Params{"a": "$(params.b)", "b": "x$(params.a)"}
	if _, err := sc.resolved(); err == nil || !strings.Contains(err.Error(), "in a circle: a -> b -> a") {
		t.Error(err)
	}
}

// A parameter that is one reference takes the type of what it names.
func TestParamKeepsType(t *testing.T) {
	got, err := testScope().resolved()
	if err != nil {
		t.Fatal(err)
	}
	if got["ref"] != 54321.5 || got["mixed"] != "v7" {
		t.Error(got)
	}
}

func TestJobErrors(t *testing.T) {
	plan := testPlan(t, Options{})
	none := map[string]Result{}
	for want, call := range map[string]func() error{
		`no stage "trian"; did you mean "train"?`:       func() error { _, err := Job(plan, testRun(), "trian", 0, 1, nil); return err },
		"stage train has no child 9, it has 4":          func() error { _, err := Job(plan, testRun(), "train", 9, 1, nil); return err },
		"stage deploy rolls out a Deployment":           func() error { _, err := Job(plan, testRun(), "deploy", 0, 1, nil); return err },
		"stage train is a Job, not a Deployment":        func() error { _, err := Deployment(plan, testRun(), "train"); return err },
		"stage ingest has no recorded result":           func() error { _, err := Job(plan, testRun(), "train", 0, 1, none); return err },
		"stage train: params.rows: $(stages.ingest.met": func() error { _, err := Job(plan, testRun(), "train", 0, 1, none); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Without any results a Job is a draft, for people to read: what is not known yet stands as it was written.
func TestDraft(t *testing.T) {
	plan, err := Resolve(load(t, "  stages: [{name: a, image: b:1, command: [x]}, {name: c, needs: [a], image: b:1, command: [x], args: [\"$(stages.a.model.uri)\"]}]\n"), "r", Options{})
	if err != nil {
		t.Fatal(err)
	}
	job, err := Job(plan, testRun(), "c", 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := job.Spec.Template.Spec.Containers[0].Args[0]; got != "$(stages.a.model.uri)" {
		t.Error(got)
	}
}

func TestUserEnvWins(t *testing.T) {
	plan, err := Resolve(load(t, "  stages: [{name: a, image: b:1, env: [{name: ML_RUN, value: mine}, {name: PYTHONUNBUFFERED, value: \"0\"}]}]\n"), "r", Options{})
	if err != nil {
		t.Fatal(err)
	}
	job, err := Job(plan, testRun(), "a", 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, e := range job.Spec.Template.Spec.Containers[0].Env {
		env = append(env, e.Name+"="+e.Value)
	}
	want := []string{"ML_PIPELINE=demo", "ML_STAGE=a", "ML_RUN=mine", "PYTHONUNBUFFERED=0"}
	if d := cmp.Diff(want, env); d != "" {
		t.Error(d)
	}
}

func TestJobName(t *testing.T) {
	stage := func(name string, children, replicas int, engine Engine) PlannedStage {
		s := PlannedStage{Children: make([]Child, children)}
		s.Name, s.Replicas, s.Engine = name, replicas, engine
		return s
	}
	long := strings.Repeat("x", 40)
	for _, c := range []struct {
		stage          PlannedStage
		run            string
		child, attempt int
		want           string
	}{
		{stage("train", 1, 0, ""), "demo-1", 0, 1, "demo-1-train"},
		{stage("train", 1, 0, ""), "demo-1", 0, 0, "demo-1-train"},
		{stage("train", 4, 0, ""), "demo-1", 2, 1, "demo-1-train-2"},
		{stage("train", 4, 0, ""), "demo-1", 2, 3, "demo-1-train-2-r3"},
		{stage("train", 1, 0, ""), "demo-1", 0, 2, "demo-1-train-r2"},
		{stage("train", 1, 0, ""), "3d-1", 0, 1, "3d-1-train"},
		{stage("train", 4, 16, ""), "3d-1", 2, 2, "ml-3d-1-train-2-r2"},
		{stage("train", 1, 16, EngineJobSet), "3d-1", 0, 1, "ml-3d-1-train"},
	} {
		if got := c.stage.JobName(c.run, c.child, c.attempt); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	for _, s := range []PlannedStage{stage(long, 200, 0, ""), stage(long, 200, 5000, EngineJob), stage(long, 200, 5000, EngineJobSet)} {
		seen := map[string]bool{}
		// What is put behind the name for the last rank, and what a JobSet's rules want free behind that.
		behind := ""
		if s.Distributed() {
			behind = "-4999"
		}
		if s.UsesJobSet() {
			behind = "-workers-0-4999-abcde"
		}
		for child := range 200 {
			name := s.JobName(long+"-abc", child, 12)
			if len(name+behind) > 63 || seen[name] || name != s.JobName(long+"-abc", child, 12) {
				t.Errorf("%s is too long, not unique or not stable", name)
			}
			seen[name] = true
		}
	}
}
