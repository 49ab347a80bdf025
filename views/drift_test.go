package views

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
)

// drifted is a report with something of each kind.
func drifted() *drift.Report {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	shape := func(n float64, shift float64) drift.Distribution {
		return drift.Distribution{Bounds: []float64{50, 100, 150}, Counts: []float64{n * (0.25 - shift), n * 0.25, n * 0.25, n * (0.25 + shift)}}
	}
	ref := func(d drift.Distribution) drift.Reference { return drift.Reference{Distribution: d} }
	zones := drift.Distribution{Values: []string{"north", "south", "evil\x1b[31m\u202e"}, Counts: []float64{700, 200, 100}}
	b := &drift.Baseline{
		Version: 1,
		Features: map[string]drift.Reference{
			"area": ref(shape(10000, 0)), "rooms": ref(shape(10000, 0)), "age": ref(shape(10000, 0)), "zone": ref(zones), "stale": ref(shape(10000, 0)), "few": ref(shape(10000, 0)),
			"gone": ref(shape(10000, 0)), "far": ref(shape(10000, 0)),
			"strict": {Distribution: shape(10000, 0), Limits: &drift.Limits{Warn: 0.001, Alert: 0.01}},
		},
		Predictions: map[string]drift.Reference{drift.Prediction: ref(shape(10000, 0))},
	}
	see := func(name string, d drift.Distribution, age time.Duration) drift.Observation {
		return drift.Observation{Kind: drift.KindFeature, Name: name, Live: d, Last: now.Add(-age)}
	}
	seen := []drift.Observation{
		see("area", shape(12340, 0.17), time.Minute), see("rooms", shape(12340, 0.02), time.Minute), see("age", shape(12340, 0.11), time.Minute),
		see("zone", drift.Distribution{Values: []string{"north", "south", "new"}, Counts: []float64{3000, 2000, 1000}}, 40*time.Minute),
		see("stale", shape(0, 0), 2*time.Hour), see("few", shape(120, 0.2), time.Minute), see("not-trained-on", shape(900, 0), time.Minute),
		see("also-new\x1b[31m", shape(900, 0), time.Minute), see("far", shape(900, 0.25), time.Minute), see("strict", shape(123400, 0.015), time.Minute),
		{Kind: drift.KindPrediction, Name: drift.Prediction, Live: shape(1234567, 0.01), Last: now.Add(-time.Minute)},
		{Kind: drift.KindPrediction, Name: "confidence", Err: fmt.Errorf("it has no bucket +Inf")},
	}
	gauges := []drift.Gauge{
		drift.NewGauge("trustyai_meanshift", 0.012, map[string]string{"subcategory": "area"}), drift.NewGauge("ml_drift_psi", 0.04, map[string]string{"feature": "rooms"}),
		drift.NewGauge("ml_drift_psi", math.NaN(), map[string]string{"feature": "age"}), drift.NewGauge("ml_drift_own", 3, nil),
		drift.NewGauge("ml_drift_last_evaluation_timestamp_seconds", 1795435200, nil),
	}
	r := drift.NewReport(b, "", seen, gauges, drift.Options{Now: now, Window: time.Hour})
	r.Model, r.Version, r.Against, r.Notes = "house-prices", "7", "its baseline", []string{"Prometheus monitoring/prometheus:9090 warns: partial"}
	return &r
}

func TestDriftGoldens(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := drifted()
	for _, c := range []struct {
		name string
		o    LineOptions
	}{{"drift-60", LineOptions{Width: 60}}, {"drift-80", LineOptions{Width: 80}}, {"drift-wide", LineOptions{Wide: true}}} {
		lines := []Line{DriftHead(r, time.Hour)}
		lines = append(lines, Drifts(now).Table(r.Rows).Lines(c.o)...)
		lines = append(lines, Line{})
		lines = append(lines, DriftGauges().Table(r.Gauges).Lines(c.o)...)
		lines = append(append(lines, Line{}), DriftWhy(r)...)
		golden(t, c.name, lines)
		for _, l := range lines {
			if strings.ContainsAny(l.Text(), "\x1b\u202e") {
				t.Errorf("%s: %q", c.name, l.Text())
			}
		}
	}
	for _, name := range []string{"area", "zone", "stale"} {
		i := slices.IndexFunc(r.Rows, func(row drift.Row) bool { return row.Name == name })
		for _, width := range []int{60, 80, 140} {
			lines := DriftExplain(r.Rows[i], width)
			golden(t, fmt.Sprintf("drift-%s-%d", name, width), lines)
			for _, l := range lines {
				if l.Width() > width || strings.ContainsAny(l.Text(), "\x1b\u202e") {
					t.Errorf("%s in %d: %q takes %d", name, width, l.Text(), l.Width())
				}
			}
		}
	}
}

func TestDriftBar(t *testing.T) {
	of := func(v float64) drift.Row { return drift.Row{PSI: &v, Limits: drift.DefaultLimits()} }
	for _, c := range []struct {
		row  drift.Row
		want string
	}{
		{of(0), "  ┊  ┃    "},
		{of(0.05), "█ ┊  ┃    "},
		{of(0.12), "██┊  ┃    "},
		{of(0.26), "██┊██┃    "},
		{of(0.45), "██┊██┃███ "},
		{of(0.5), "██┊██┃████"},
		{of(9), "██┊██┃███▶"},
		{of(math.NaN()), "  ┊  ┃    "},
		{of(math.Inf(1)), "██┊██┃███▶"},
		{drift.Row{Limits: drift.DefaultLimits()}, "  ┊  ┃    "},
		{drift.Row{}, "          "},
	} {
		if got := DriftBar(c.row, 10); got != c.want {
			t.Errorf("%v: %q, want %q", c.row.PSI, got, c.want)
		}
	}
	if DriftBar(of(1), 0) != "" || Width(DriftBar(of(1), 1)) != 1 {
		t.Error("no room, no bar")
	}
}
