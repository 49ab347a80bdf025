package drift

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// normal is a histogram whose middle moves by shift of its counts.
func normal(n, shift float64) Distribution {
	return Distribution{Bounds: []float64{10, 20, 30}, Counts: []float64{n * (0.25 - shift), n * 0.25, n * 0.25, n * (0.25 + shift)}}
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	base := &Reference{Distribution: normal(10000, 0)}
	own := &Reference{Distribution: normal(10000, 0), Limits: &Limits{Warn: 0.5, Alert: 0.9, JS: 0.9}}
	opt := Options{Now: now, Window: time.Hour}
	fresh := now.Add(-time.Minute)
	for _, c := range []struct {
		name   string
		ref    *Reference
		o      Observation
		want   Verdict
		reason string
	}{
		{"as it was", base, Observation{Live: normal(5000, 0), Last: fresh}, OK, ""},
		{"a little", base, Observation{Live: normal(5000, 0.03), Last: fresh}, OK, ""},
		{"by JS", base, Observation{Live: normal(5000, 0.09), Last: fresh}, Warn, "JS is 0.1 or more"},
		{"by PSI", base, Observation{Live: normal(5000, 0.12), Last: fresh}, Warn, ""},
		{"far", base, Observation{Live: normal(5000, 0.2), Last: fresh}, Alert, ""},
		{"far, with limits of its own", own, Observation{Live: normal(5000, 0.22), Last: fresh}, Warn, ""},
		{"a bucket is empty", base, Observation{Live: Distribution{Bounds: []float64{10, 20, 30}, Counts: []float64{0, 900, 900, 900}}, Last: fresh}, Alert, ""},
		{"few", base, Observation{Live: normal(499, 0.2), Last: fresh}, Unknown, "499 of at least 500 samples"},
		{"a small baseline", &Reference{Distribution: normal(40, 0)}, Observation{Live: normal(5000, 0), Last: fresh}, Unknown, "the baseline has 40 of at least 500"},
		{"none", base, Observation{Live: normal(0, 0), Last: now.Add(-2 * time.Hour)}, Unknown, "no samples in the last 60 min: last sample 2 h ago"},
		{"stale", base, Observation{Live: normal(5000, 0.2), Last: now.Add(-26 * time.Hour)}, Unknown, "last sample 26 h ago"},
		{"never", base, Observation{}, Unknown, "no samples in the last"},
		{"old", base, Observation{Live: normal(5000, 0), Last: now.Add(-40 * time.Minute)}, OK, "last sample 40 min ago"},
		{"a clock ahead", base, Observation{Live: normal(5000, 0), Last: now.Add(time.Hour)}, OK, ""},
		{"unheard of", nil, Observation{Live: normal(5000, 0), Last: fresh}, Unknown, "not in the baseline"},
		{"refused", base, Observation{Err: errors.New("it has no bucket +Inf")}, Unknown, "no bucket +Inf"},
		{"other buckets", base, Observation{Live: Distribution{Bounds: []float64{15, 25, 30}, Counts: []float64{500, 500, 500, 500}}, Last: fresh}, Unknown, "share 1 of 3 bounds"},
		{"merged buckets", base, Observation{Live: Distribution{Bounds: []float64{10, 25, 30}, Counts: []float64{500, 500, 500, 500}}, Last: fresh}, OK, "compared in 3 bins"},
		{"a note", base, Observation{Live: normal(5000, 0), Last: fresh, Note: "two pods differ"}, OK, "two pods differ"},
		{
			"above all buckets", &Reference{Distribution: Distribution{Bounds: []float64{1, 10}, Counts: []float64{0, 0, 9000}}},
			Observation{Live: Distribution{Bounds: []float64{1, 10}, Counts: []float64{0, 0, 700}}, Last: fresh}, Unknown, "above its last bound, 10",
		},
		{
			"a constant", &Reference{Distribution: Distribution{Bounds: []float64{0, 1}, Counts: []float64{9000, 0, 0}}},
			Observation{Live: Distribution{Bounds: []float64{0, 1}, Counts: []float64{700, 0, 0}}, Last: fresh}, OK, "",
		},
		{
			"categories", &Reference{Distribution: Distribution{Values: []string{"a", "b"}, Counts: []float64{900, 100}}},
			Observation{Live: Distribution{Values: []string{"b", "a", "c"}, Counts: []float64{500, 300, 100}}, Last: fresh}, Alert, "",
		},
	} {
		row := Judge(c.ref, &c.o, opt)
		if row.Verdict != c.want || !strings.Contains(row.Reason, c.reason) || c.reason == "" && row.Reason != "" {
			t.Errorf("%s: %s %q, want %s %q", c.name, row.Verdict, row.Reason, c.want, c.reason)
		}
		if row.Verdict != Unknown && (row.PSI == nil || row.JS == nil || (row.KS == nil) != row.Categorical) {
			t.Errorf("%s: numbers are missing", c.name)
		}
	}
}

// TestFewSamplesAreNoDrift: what chance makes of few samples in many bins is neither ok nor drift.
func TestFewSamplesAreNoDrift(t *testing.T) {
	base := Reference{Distribution: Distribution{Counts: []float64{100}}}
	live := Distribution{Counts: []float64{20}}
	for i := range 29 {
		base.Bounds, base.Counts = append(base.Bounds, float64(i)), append(base.Counts, 100)
		live.Counts = append(live.Counts, []float64{14, 20, 26}[i%3])
	}
	live.Bounds = base.Bounds
	row := Judge(&base, &Observation{Live: live}, Options{Limits: Limits{Warn: 0.05, Alert: 0.06, JS: 0.05}})
	if row.Verdict != Unknown || !strings.Contains(row.Reason, "chance alone") || *row.PSI > *row.Chance || *row.PSI < 0.05 {
		t.Errorf("%s %q: PSI %v, chance %v, JS %v", row.Verdict, row.Reason, *row.PSI, *row.Chance, *row.JS)
	}
}

func TestLimits(t *testing.T) {
	d := DefaultLimits()
	for _, c := range []struct{ l, want Limits }{
		{Limits{}, d},
		{Limits{Alert: 0.05}, Limits{Warn: 0.05, Alert: 0.05, JS: 0.1}},
		{Limits{Warn: 0.5}, Limits{Warn: 0.5, Alert: 0.5, JS: 0.1}},
		{Limits{Warn: 0.2, Alert: 0.3, JS: 0.4}, Limits{Warn: 0.2, Alert: 0.3, JS: 0.4}},
	} {
		if got := c.l.over(d); got != c.want {
			t.Errorf("%+v gives %+v, want %+v", c.l, got, c.want)
		}
	}
	for _, bad := range []Limits{{Warn: -1}, {Alert: math.NaN()}, {JS: 2}, {Warn: 0.3, Alert: 0.2}, {Warn: math.Inf(1)}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func TestReport(t *testing.T) {
	b := &Baseline{
		Version:     1,
		Features:    map[string]Reference{"a": {Distribution: normal(10000, 0)}, "b": {Distribution: normal(10000, 0)}, "gone": {Distribution: normal(10000, 0)}},
		Predictions: map[string]Reference{Prediction: {Distribution: normal(10000, 0)}},
	}
	see := func(kind Kind, name string, shift float64) Observation {
		return Observation{Kind: kind, Name: name, Live: normal(5000, shift)}
	}
	seen := []Observation{see(KindFeature, "a", 0), see(KindFeature, "b", 0.2), see(KindFeature, "new", 0), see(KindPrediction, Prediction, 0.12)}
	r := NewReport(b, "", seen, []Gauge{NewGauge("trustyai_kstest", 0.01, nil), NewGauge("ml_drift_window_samples", 700, nil)}, Options{})
	var got []string
	for _, row := range r.Rows {
		got = append(got, string(row.Kind)+" "+row.Name+" "+string(row.Verdict)+" "+row.Reason)
	}
	want := []string{
		"feature b alert ", "feature a ok ", "feature gone unknown in the baseline, but nothing exports it", "feature new unknown not in the baseline", "prediction prediction warn ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.Verdict != Alert || r.Counts() != "2 alert, 1 warn, 2 unknown, 1 ok" {
		t.Errorf("%s: %s", r.Verdict, r.Counts())
	}
	for _, c := range []struct {
		seen []Observation
		base *Baseline
		want Verdict
	}{
		{nil, nil, Unknown},
		{seen[:1], nil, Unknown},
		{seen[:1], &Baseline{Features: map[string]Reference{"a": b.Features["a"]}}, OK},
		{seen[:1], b, Unknown},
		{seen[3:], &Baseline{Predictions: b.Predictions}, Warn},
	} {
		if got := NewReport(c.base, "no baseline", c.seen, nil, Options{}); got.Verdict != c.want {
			t.Errorf("%+v is %s, want %s", got.Rows, got.Verdict, c.want)
		}
	}
	if Worst(nil) != Unknown || Worst([]Report{{Verdict: Warn}, {Verdict: Unknown}, {Verdict: OK}}) != Unknown || Worst([]Report{{Verdict: Unknown}, {Verdict: Alert}}) != Alert {
		t.Error("the worst is not the worst")
	}
}

func TestGauges(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name  string
		value float64
		want  Verdict
	}{
		{"trustyai_meanshift", 0.5, OK},
		{"trustyai_meanshift", 0.01, Alert},
		{"trustyai_fouriermmd", 0.049, Alert},
		{"seldon_model_drift", 0, OK},
		{"seldon_model_drift", 1, Alert},
		{"ml_drift_psi", 0.05, OK},
		{"ml_drift_psi", 0.1, Warn},
		{"ml_drift_psi", 0.25, Alert},
		{"ml_drift_psi", math.NaN(), Unknown},
		{"ml_drift_ks_pvalue", 0.2, OK},
		{"ml_drift_ks_pvalue", 0.001, Alert},
		{"ml_drift_js", 0.3, Warn},
		{"ml_drift_window_samples", 500, ""},
		{"ml_drift_whatever", 500, ""},
	} {
		g := NewGauge(c.name, c.value, map[string]string{"feature": "f"})
		if g.Verdict != c.want || g.Feature != "f" || g.Source == "" || g.Judged() != (c.want != "") {
			t.Errorf("%s %v: %+v, want %q", c.name, c.value, g, c.want)
		}
	}
	of := func(name string, value float64, model, feature string) Gauge {
		return NewGauge(name, value, map[string]string{"model": model, "feature": feature})
	}
	list := Gauges([]Gauge{
		of("ml_drift_psi", 0.3, "old", "f"), of("ml_drift_psi", 0.3, "new", "f"), of(evaluated, 1_800_000_000-7200, "old", ""), of(evaluated, 1_800_000_000-60, "new", "f"),
		of("trustyai_kstest", 0.3, "old", "f"),
	}, time.Hour, now)
	var got []string
	for _, g := range list {
		got = append(got, g.Name+" "+g.Labels["model"]+" "+string(g.Verdict)+" "+g.Reason)
	}
	want := []string{
		evaluated + " old  ", evaluated + " new  ", "ml_drift_psi new alert ", "ml_drift_psi old unknown computed 2 h ago", "trustyai_kstest old ok ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
