package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseResult(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, c := range []struct {
		in   string
		want *Result
		err  string
	}{
		{in: ""}, {in: " \n"},
		{in: "{}", want: &Result{}},
		{in: `{"metrics": {"rmse": 1, "r2": 0.5}, "other": 1}`, want: &Result{Metrics: map[string]float64{"rmse": 1, "r2": 0.5}}},
		{in: `{"model": {"uri": "s3://b/k", "digest": "` + digest + `", "size": 7, "format": "onnx"}}`, want: &Result{Model: &Artifact{URI: "s3://b/k", Digest: digest, Size: 7, Format: "onnx"}}},
		{in: `{"data": {"rows": 7}, "outputs": {"l": [1]}, "metrics": null}`, want: &Result{Data: map[string]any{"rows": int64(7)}, Outputs: map[string]any{"l": []any{int64(1)}}}},
		{in: "done", err: "the result is not JSON"},
		{in: "{} {}", err: "more than one JSON value"},
		{in: "[1]", err: "the result is a JSON list, not an object"},
		{in: `{"metrics": {"a": NaN}}`, err: "write one JSON object with finite numbers"},
		{in: `{"metrics": {"a": 1e400}}`, err: "1e400 does not fit a 64-bit number"},
		{in: `{"metrics": {"a": "1"}}`, err: "metrics.a must be a number, not string"},
		{in: `{"metrics": [1]}`, err: "metrics must be an object, not list"},
		{in: `{"metric": {"a": 1}}`, err: `unknown key "metric": did you mean "metrics"?`},
		{in: `{"model": {"url": "s3://b/k"}}`, err: "model.url is unknown"},
		{in: `{"model": {}}`, err: "model.uri is missing"},
		{in: `{"model": {"uri": "x", "digest": "abc"}}`, err: `model.digest "abc" must be sha256:`},
		{in: `{"model": {"uri": "x", "size": -1}}`, err: "must not be negative"},
		{in: `{"model": {"uri": 5}}`, err: "uri, digest and format are strings"},
		{in: `{"data": 1}`, err: "data must be an object, not int"},
		{in: `{"outputs": {"a": "` + strings.Repeat("x", 4096) + `"}}`, err: "Kubernetes keeps 4096"},
		{in: (`{"outputs": {"a": "` + strings.Repeat("x", 4096))[:4096], err: "the result was cut at 4096 bytes"},
	} {
		got, err := ParseResult(c.in)
		if c.err != "" {
			if err == nil || got != nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%.60s: want %q, got %v", c.in, c.err, err)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%.60s: %v %s", c.in, err, d)
		}
	}
}

func TestEvaluate(t *testing.T) {
	r := &Result{Metrics: map[string]float64{"rmse": 100, "r2": 0.5}}
	for _, c := range []struct {
		gate   Gate
		result *Result
		state  GateState
		reason string
	}{
		{Gate{Metric: "rmse", Max: new(100.0)}, r, Pass, "rmse 100 is within max 100"},
		{Gate{Metric: "rmse", Max: new(99.5)}, r, Fail, "rmse 100 is above max 99.5"},
		{Gate{Metric: "r2", Min: new(0.6)}, r, Fail, "r2 0.5 is below min 0.6"},
		{Gate{Metric: "r2", Min: new(0.1), Max: new(0.9)}, r, Pass, "r2 0.5 is within min 0.1, max 0.9"},
		{Gate{Metric: "mae", Max: new(1.0)}, r, Fail, "no metric mae in the stage's result, which has r2, rmse"},
		{Gate{Metric: "mae", Max: new(1.0)}, &Result{}, Fail, "which has no metrics"},
		{Gate{Metric: "mae", Max: new(1.0)}, nil, Fail, "which left no result"},
		{Gate{Approval: "look"}, r, Waiting, "waits for approval: look"},
	} {
		v := Evaluate([]Gate{c.gate}, c.result)[0]
		if v.State != c.state || !strings.Contains(v.Reason, c.reason) || (v.Value != nil) != (c.state == Pass || strings.Contains(v.Reason, " is ")) {
			t.Errorf("%+v: %+v", c.gate, v)
		}
	}
	if got := Evaluate(nil, r); len(got) != 0 {
		t.Error(got)
	}
}

func TestBestChild(t *testing.T) {
	r := func(v float64) *Result { return &Result{Metrics: map[string]float64{"m": v}} }
	for _, c := range []struct {
		best    *Best
		results []*Result
		want    int
		err     string
	}{
		{&Best{Min: "m"}, []*Result{r(3), nil, r(1), r(1)}, 2, ""},
		{&Best{Max: "m"}, []*Result{r(-3), {}, r(-1)}, 2, ""},
		{&Best{Max: "m"}, []*Result{nil, {}}, -1, "no child of the sweep has the metric m, by which best chooses: their result has no metrics"},
		{&Best{Max: "x"}, []*Result{r(1)}, -1, "their result has m"},
		{nil, []*Result{r(1)}, -1, "best names no metric"},
		{&Best{Min: "m", Max: "m"}, []*Result{r(1)}, -1, "best names no metric"},
	} {
		got, err := BestChild(c.best, c.results)
		if got != c.want || (c.err == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v: %d %v", c.best, got, err)
		}
	}
}

func TestUnionsRoundTrip(t *testing.T) {
	for _, in := range []string{`1`, `0`, `{"count":2,"resource":"amd.com/gpu"}`, `{"count":1,"product":"NVIDIA-L4"}`} {
		var g GPUs
		if err := json.Unmarshal([]byte(in), &g); err != nil || mustJSON(t, g) != in {
			t.Errorf("%s became %s, %v", in, mustJSON(t, g), err)
		}
	}
	for _, in := range []string{`{"z":[1,2],"a":["x"]}`, `[{"lr":0.1},{"lr":0.01}]`, `[]`, `{}`, `{"n":[9007199254740993]}`} {
		var s Sweep
		if err := json.Unmarshal([]byte(in), &s); err != nil || mustJSON(t, s) != in {
			t.Errorf("%s became %s, %v", in, mustJSON(t, s), err)
		}
	}
	for _, in := range []string{`"1"`, `1.5`, `[1]`} {
		if err := json.Unmarshal([]byte(in), &GPUs{}); err == nil {
			t.Errorf("gpus take %s", in)
		}
	}
	for _, in := range []string{`1`, `{"a":1}`, `[1]`} {
		if err := json.Unmarshal([]byte(in), &Sweep{}); err == nil {
			t.Errorf("sweep takes %s", in)
		}
	}
}

func TestClosest(t *testing.T) {
	for in, want := range map[string]string{"comand": "command", "IMAGE": "image", "gpu": "gpus", "xyzzy": "", "a": ""} {
		if got := closest(in, []string{"command", "image", "gpus"}); got != want {
			t.Errorf("%s is near %q, want %q", in, got, want)
		}
	}
}

func TestFormatFloat(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 1: "1", 0.1: "0.1", 1e-5: "0.00001", 1e-9: "1e-09", 123456789: "123456789", 1e20: "100000000000000000000", 1e22: "1e+22", -2.5: "-2.5"} {
		if got := formatFloat(in); got != want {
			t.Errorf("%g is %s, want %s", in, got, want)
		}
	}
}
