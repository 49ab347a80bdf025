package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(stagesFile(3))
	for _, c := range append(syntaxCases(), typeCases()...) {
		// Large seeds make the fuzzer slow; the tests read them anyway.
		if len(c.text) < 4096 {
			f.Add([]byte(c.text))
		}
	}
	manifest := []byte("apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: y}]}}}\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = readManifest("m.yaml", data)
		p, warnings, err := Load("p.yaml", data)
		for _, w := range warnings {
			if w.Line < 1 || w.Column < 1 || !w.Warning {
				t.Errorf("warning without a place: %v", w)
			}
		}
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 || p != nil {
				t.Fatalf("error is %T: %v", err, err)
			}
			for _, q := range problems {
				if q.Line < 1 || q.Column < 1 || q.Message == "" || q.File != "p.yaml" {
					t.Errorf("problem without a place: %v", q)
				}
			}
			return
		}
		plan, err := Resolve(p, Revision(data), Options{ReadFile: func(string) ([]byte, error) { return manifest, nil }})
		if err != nil {
			return
		}
		run := RunRef{Name: plan.Pipeline + "-x1", Namespace: "ns"}
		for _, s := range plan.Stages {
			for child := range s.Children {
				_, _ = Job(plan, run, s.Name, child, 1, nil)
			}
			_, _ = Deployment(plan, run, s.Name)
		}
		_, _ = CronJobs(plan, "ns")
		_ = WorkspaceClaim(plan, "ns")
	})
}

func FuzzParseResult(f *testing.F) {
	for _, s := range []string{"", "{}", `{"metrics":{"rmse":1}}`, `{"metrics":{"a":1e400}}`, `{"model":{"uri":"s3://b/k","size":3}}`, `[1]`, `{"data":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseResult(s)
		if err != nil && r != nil {
			t.Error("a result and an error")
		}
		_ = Evaluate([]Gate{{Metric: "a", Min: new(1.0)}}, r)
	})
}
