package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

func full() Facts {
	return Facts{
		Model: "house-prices", Version: 7,
		Artifact: pipeline.Artifact{URI: "s3://b/k", Digest: "sha256:" + strings.Repeat("a", 64), Size: 12345678901, Format: "pickle"},
		Metrics:  map[string]float64{"rmse": 0.1, "r2": 1, "tiny": 5e-324, "val/loss": 1e300},
		Better:   map[string]Direction{"rmse": Lower},
		Params:   pipeline.Params{"lr": 0.5, "whole": 2.0, "big": int64(9007199254740993), "list": []any{int64(1), "x", 2.0}, "nested": map[string]any{"a": true}},
		Data:     map[string]any{"version": "2026-01-01", "rows": int64(20640)},
		Code:     Code{Repo: "https://example.org/r.git", Commit: "abc-dirty", Source: "mlsource-x-1"},
		Image:    "img@sha256:1", Parents: []string{"house-prices:3", "hf://org/base"},
		Run:       &Origin{Kind: "run", Name: "house-prices-x", Namespace: "ns", UID: "u", Pipeline: "p", Stage: "train", Child: 2, Attempt: 1, Job: "j", JobUID: "ju"},
		Signature: json.RawMessage(`{"inputs":[{"name":"a","type":"double"}]}`), Baseline: json.RawMessage(`{"a":{"edges":[0,1],"counts":[3]}}`),
		CreatedBy: "ann", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

func TestFactsComeBack(t *testing.T) {
	bare := Facts{Model: "m", Version: 1, Artifact: pipeline.Artifact{URI: "pvc://c/p"}, CreatedAt: time.Unix(1, 0).UTC()}
	for _, want := range []Facts{full(), bare} {
		cm, err := want.object("ns", "key", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, problems := decodeFacts(cm.Data)
		if d := cmp.Diff(want, got); d != "" || len(problems) > 0 {
			t.Errorf("%v\n%s", problems, d)
		}
		if p := contradictions(cm, &got, want.Model, want.Version); len(p) > 0 {
			t.Errorf("a record as it was written: %+v", p)
		}
	}
}

func TestDamagedFactsAreReadAsFarAsTheyCanBe(t *testing.T) {
	cm, err := full().asObject()
	if err != nil {
		t.Fatal(err)
	}
	for key, c := range map[string]struct{ text, want string }{
		"version":         {"seven", `version is "seven", not a number`},
		"artifact.size":   {"-1", "artifact.size"},
		"artifact.digest": {"md5:1", "artifact.digest"},
		"artifact.uri":    {"", "artifact.uri is missing"},
		"metrics.json":    {"{", "metrics.json is damaged"},
		"params.json":     {"[]", "params.json is damaged"},
		"data.json":       {"1", "data.json is damaged"},
		"signature.json":  {"{]", "signature.json is damaged"},
		"baseline.json":   {"", "baseline.json is damaged"},
		"createdAt":       {"yesterday", "createdAt"},
		"run.attempt":     {"x", "run.attempt"},
	} {
		data := maps.Clone(cm.Data)
		data[key] = c.text
		f, problems := decodeFacts(data)
		if len(problems) != 1 || !strings.Contains(problems[0], c.want) {
			t.Errorf("%s: %v, want %q", key, problems, c.want)
		}
		if f.Image != full().Image || f.Code != full().Code {
			t.Errorf("%s: the rest is lost: %+v", key, f)
		}
	}
	if _, problems := decodeFacts(nil); len(problems) == 0 {
		t.Error("nothing is no record")
	}
}

func (f Facts) asObject() (*corev1.ConfigMap, error) { return f.object("ns", "key", nil) }

func TestFactsThatNoRecordCanHold(t *testing.T) {
	many := map[string]float64{}
	for i := range MaxMetrics + 1 {
		many[fmt.Sprint(i)] = 1
	}
	for name, c := range map[string]struct {
		spoil func(f *Facts)
		want  string
	}{
		"model":     {func(f *Facts) { f.Model = "A b" }, "use for example a-b"},
		"version":   {func(f *Facts) { f.Version = -1 }, "out of range"},
		"uri":       {func(f *Facts) { f.Artifact.URI = "" }, "URI is missing"},
		"blanks":    {func(f *Facts) { f.Artifact.URI = "s3://b/a b" }, "blanks"},
		"long":      {func(f *Facts) { f.Artifact.URI = "s3://" + strings.Repeat("x", 5000) }, "4096 at most"},
		"digest":    {func(f *Facts) { f.Artifact.Digest = "sha256:AB" }, "64 lower-case hex digits"},
		"size":      {func(f *Facts) { f.Artifact.Size = -1 }, "must not be negative"},
		"nan":       {func(f *Facts) { f.Metrics["rmse"] = math.NaN() }, "metric rmse is NaN"},
		"inf":       {func(f *Facts) { f.Metrics["rmse"] = math.Inf(-1) }, "must be a finite number"},
		"many":      {func(f *Facts) { f.Metrics = many }, "65 metrics are too many"},
		"escape":    {func(f *Facts) { f.Metrics["\x1b[2J"] = 1 }, "no control characters"},
		"better":    {func(f *Facts) { f.Better["rmse"] = "up" }, "either higher or lower"},
		"lines":     {func(f *Facts) { f.Parents = []string{"a\nb"} }, "must be one line"},
		"parents":   {func(f *Facts) { f.Parents = make([]string, 65) }, "parents are too many"},
		"signature": {func(f *Facts) { f.Signature = json.RawMessage("{") }, "signature is not JSON"},
	} {
		f := full()
		c.spoil(&f)
		if err := f.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	f := full()
	if err := f.check(); err != nil {
		t.Errorf("good facts: %v", err)
	}
	f.Params["text"] = strings.Repeat("x", MaxDocument)
	if _, err := f.asObject(); err == nil || !strings.Contains(err.Error(), "params.json has 65") {
		t.Errorf("a large document: %v", err)
	}
	f = full()
	if _, err := f.object("ns", "key", make([]byte, maxRecord)); err == nil || !strings.Contains(err.Error(), "artifact alone has 1048576") {
		t.Errorf("a large record: %v", err)
	}
}
