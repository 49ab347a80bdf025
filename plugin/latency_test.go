package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

func TestLatencyOptions(t *testing.T) {
	five := measureOptions{Window: 5 * time.Minute}
	parse := argv(newLatencyCmd)
	for line, want := range map[string]latencyOptions{
		"web": {Name: "web", Measure: five, Since: time.Hour},
		"model/m --window 1m --metric x_ms --unit ms --prometheus a/b:9090 --prometheus-secret s --prometheus-tenant t --prometheus-insecure-skip-tls-verify --since 6h --slo 250ms --plot -w --width 90 --height 20 --ascii -o wide --no-headers": {
			Name: "model/m", Measure: measureOptions{Window: time.Minute, Metric: "x_ms", Unit: "ms", Prometheus: prometheusOptions{"a/b:9090", "s", "t", true}}, Since: 6 * time.Hour, SLO: 250 * time.Millisecond,
			Plot: true, Watch: true, Width: 90, Height: 20, ASCII: true, Output: output{Format: "wide", NoHeaders: true},
		},
		"web --profile vllm -o json": {Name: "web", Measure: measureOptions{Window: 5 * time.Minute, Profile: "vllm"}, Since: time.Hour, Output: output{Format: "json"}},
	} {
		got := parse(t, line)
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
		if err := want.check(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	good := latencyOptions{Name: "web", Measure: five, Since: time.Hour}
	for want, change := range map[string]func(*latencyOptions){
		"--window must be a second at least: it should hold four scrapes or more":         func(o *latencyOptions) { o.Measure.Window = 0 },
		"--metric and --profile exclude each other":                                       func(o *latencyOptions) { o.Measure.Metric, o.Measure.Profile = "a", "vllm" },
		"--unit is that of --metric, which is missing":                                    func(o *latencyOptions) { o.Measure.Unit = "ms" },
		`"a{b}" is no name of a metric`:                                                   func(o *latencyOptions) { o.Measure.Metric = "a{b}" },
		`unknown unit "h": use s, ms or us`:                                               func(o *latencyOptions) { o.Measure.Metric, o.Measure.Unit = "a", "h" },
		"--since must be a minute at least":                                               func(o *latencyOptions) { o.Since = time.Second },
		"--slo is negative":                                                               func(o *latencyOptions) { o.SLO = -1 },
		"--width and --height must not be negative":                                       func(o *latencyOptions) { o.Width = -1 },
		"--plot and -w are for people: they do not go with -o json, which has the series": func(o *latencyOptions) { o.Plot, o.Output.Format = true, "json" },
	} {
		o := good
		change(&o)
		if err := o.check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestLatencyDraws makes a page of two versions: marks, the objective, the series.
func TestLatencyDraws(t *testing.T) {
	b := newBench()
	now := time.Unix(1_700_000_000, 0)
	at := func(v float64) *float64 { return &v }
	rows := []metrics.Serving{
		{Workload: metrics.Workload{Namespace: "a", Kind: "Deployment", Name: "web", Version: "7", Ready: 1, Wanted: 1}, Form: metrics.Histogram, P95: at(0.2), AtLeast: []string{"p95"}},
		{Workload: metrics.Workload{Namespace: "a", Kind: "Deployment", Name: "web-canary", Version: "8", Ready: 0, Wanted: 1}, Form: metrics.SumCount, Mean: at(0.3), Notes: []string{"mean only"}},
	}
	trends := []metrics.Trend{
		{ID: rows[0].ID(), Field: metrics.FieldMean, X: []float64{1_699_999_000}, Y: []float64{9}}, {ID: rows[0].ID(), Field: metrics.FieldP95, X: []float64{1_699_999_000, 1_699_999_900}, Y: []float64{0.1, 0.2}},
		{ID: rows[1].ID(), Field: metrics.FieldMean, X: []float64{1_699_999_900}, Y: []float64{0.3}},
	}
	l := &latencyLook{f: b.Factory, o: latencyOptions{Since: time.Hour, SLO: 250 * time.Millisecond, Plot: true, Width: 80, Height: 12, ASCII: true}}
	p := l.draw(rows, trends, now)
	if err := b.printPage(p, output{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p95, or the mean  a web version 7 200ms  b web-canary version 8 300ms", "slo 250ms"} {
		if !strings.Contains(b.out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.out.String())
		}
	}
	if b.errOut.String() != "web-canary version 8: mean only\n" {
		t.Errorf("said %q", b.errOut.String())
	}
	for i, want := range []bool{true, false} {
		fact, ok := p.items[i].fact.(latencyFact)
		if !ok || fact.Met == nil || *fact.Met != want {
			t.Errorf("%d: %+v", i, fact)
		}
	}
}
