package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// testPlan is the plan of testdata/pipeline.yaml with a source.
func testPlan(t *testing.T, o Options) *Plan {
	t.Helper()
	data, err := os.ReadFile("testdata/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, warnings, err := Load("testdata/pipeline.yaml", data)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	o.ReadFile = func(name string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", name)) }
	plan, err := Resolve(p, Revision(data), o)
	if err != nil {
		t.Fatal(err)
	}
	plan.Source = &SourceRef{
		ConfigMap: "mlsource-house-prices-0123456789", Commit: "abc", Dirty: true,
		Keys: map[string]string{"train.py": "train.py", "lib..io.py": "lib/io.py"},
	}
	return plan
}

func testRun() RunRef {
	return RunRef{Name: "house-prices-k3x9", Namespace: "team", Started: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
}

func testResults() map[string]Result {
	return map[string]Result{
		"ingest": {Metrics: map[string]float64{"rows": 4054}},
		"train": {Metrics: map[string]float64{"rmse": 31460.2}, Model: &Artifact{
			URI: "pvc://data-volume-claim/model.pkl", Digest: "sha256:aa", Size: 641926, Format: "pickle",
		}},
	}
}

func golden(t *testing.T, name string, object any) {
	t.Helper()
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "golden", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./kube/pipeline -update writes it):\n%s", file, got)
	}
}

func TestGolden(t *testing.T) {
	plan := testPlan(t, Options{})
	for _, c := range []struct {
		stage          string
		child, attempt int
	}{{"ingest", 0, 1}, {"train", 3, 2}, {"validate", 0, 1}, {"retrain", 0, 1}, {"import", 0, 1}} {
		job, err := Job(plan, testRun(), c.stage, c.child, c.attempt, testResults())
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "job-"+c.stage, job)
	}
	d, err := Deployment(plan, testRun(), "deploy")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "deployment", d)
	crons, err := CronJobs(plan, "team")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cronjobs", crons)
	golden(t, "claim", WorkspaceClaim(plan, "team"))
	golden(t, "plan", plan)
}

// A plan that was stored and read back builds the very same objects.
func TestPlanSurvivesItsRecord(t *testing.T) {
	plan := testPlan(t, Options{Set: []string{"seed=9007199254740993"}})
	raw, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Stages {
		if s.Kind() == KindDeployment {
			continue
		}
		for child := range s.Children {
			a, err := Job(plan, testRun(), s.Name, child, 1, testResults())
			if err != nil {
				t.Fatal(err)
			}
			b, err := Job(&back, testRun(), s.Name, child, 1, testResults())
			if err != nil {
				t.Fatal(err)
			}
			x, y := mustJSON(t, a), mustJSON(t, b)
			if x != y {
				t.Errorf("stage %s differs:\n%s\n%s", s.Name, x, y)
			}
		}
	}
}

// Building objects changes neither the plan nor what was built before.
func TestJobIsPure(t *testing.T) {
	plan := testPlan(t, Options{})
	before := mustJSON(t, plan)
	first, err := Job(plan, testRun(), "train", 0, 1, testResults())
	if err != nil {
		t.Fatal(err)
	}
	was := mustJSON(t, first)
	for child := range plan.Stage("train").Children {
		if _, err := Job(plan, testRun(), "train", child, 1, testResults()); err != nil {
			t.Fatal(err)
		}
	}
	if mustJSON(t, plan) != before || mustJSON(t, first) != was {
		t.Error("Job changed the plan or an earlier Job")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
