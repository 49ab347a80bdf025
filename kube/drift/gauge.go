package drift

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Sense says which values of a gauge mean drift.
type Sense string

// The senses. A p-value is low where there is drift. Info says something else, such as how many samples were looked at.
const (
	High Sense = "high"
	Low  Sense = "low"
	Info Sense = "info"
)

// Gauge is what an exporter itself says of drift.
type Gauge struct {
	// Name is the metric's, Source the program that exports it.
	Name   string `json:"metric"`
	Source string `json:"source"`
	// Feature is empty where it is about all of them.
	Feature string   `json:"feature,omitempty"`
	Value   *float64 `json:"value,omitempty"`
	Sense   Sense    `json:"sense,omitempty"`
	// Warn and Alert are limits in the direction of Sense; 0 is none.
	Warn  float64 `json:"warn,omitempty"`
	Alert float64 `json:"alert,omitempty"`
	// Verdict is empty for those that only tell.
	Verdict Verdict `json:"verdict,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	// Labels are those that tell it from others of the same name.
	Labels map[string]string `json:"labels,omitempty"`
}

// Judged says that the gauge has a verdict: others only tell.
func (g Gauge) Judged() bool { return g.Sense != Info }

// gaugeKind is a metric that exporters are known to have.
type gaugeKind struct {
	name, source string
	sense        Sense
	warn, alert  float64
}

// gaugeKinds is the table. TrustyAI gives p-values of its tests; the MLServer runtime of alibi-detect gives 0 or 1; ml_drift_*
// is the convention of this program, see docs/guide-drift.md.
func gaugeKinds() []gaugeKind {
	return []gaugeKind{
		{"trustyai_meanshift", "TrustyAI", Low, 0, 0.05},
		{"trustyai_kstest", "TrustyAI", Low, 0, 0.05},
		{"trustyai_approxkstest", "TrustyAI", Low, 0, 0.05},
		{"trustyai_fouriermmd", "TrustyAI", Low, 0, 0.05},
		{"seldon_model_drift", "alibi-detect", High, 0, 1},
		{"ml_drift_psi", "ml_drift", High, 0.1, 0.25},
		{"ml_drift_js", "ml_drift", High, 0.1, 0},
		{"ml_drift_wasserstein", "ml_drift", High, 0.1, 0},
		{"ml_drift_ks_pvalue", "ml_drift", Low, 0, 0.05},
		{"ml_drift_window_samples", "ml_drift", Info, 0, 0},
		{"ml_drift_last_evaluation_timestamp_seconds", "ml_drift", Info, 0, 0},
	}
}

// GaugePattern matches, as a whole, the names of all gauges that NewGauge knows something of.
func GaugePattern() string {
	var names []string
	for _, k := range gaugeKinds() {
		if k.source != "ml_drift" {
			names = append(names, regexp.QuoteMeta(k.name))
		}
	}
	return strings.Join(append(names, "ml_drift_.+"), "|")
}

// NewGauge judges a value of a gauge.
func NewGauge(name string, value float64, labels map[string]string) Gauge {
	g := Gauge{Name: name, Labels: labels, Verdict: OK}
	for _, l := range []string{"feature", "subcategory", "column", "column_name"} {
		if labels[l] != "" {
			g.Feature = labels[l]
			break
		}
	}
	kinds := gaugeKinds()
	i := slices.IndexFunc(kinds, func(k gaugeKind) bool { return k.name == name })
	if i >= 0 {
		k := kinds[i]
		g.Source, g.Sense, g.Warn, g.Alert = k.source, k.sense, k.warn, k.alert
	} else {
		g.Source = "ml_drift"
	}
	if finite(value) {
		g.Value = &value
	}
	switch {
	case i < 0:
		g.Sense, g.Verdict, g.Reason = Info, "", "it is not known which values of it mean drift"
	case g.Value == nil && g.Sense == Info:
		g.Verdict = ""
	case g.Value == nil:
		g.Verdict, g.Reason = Unknown, fmt.Sprintf("its value is %v", value)
	case g.Sense == Info:
		g.Verdict = ""
	case g.Sense == High && g.Alert > 0 && value >= g.Alert, g.Sense == Low && g.Alert > 0 && value < g.Alert:
		g.Verdict = Alert
	case g.Sense == High && g.Warn > 0 && value >= g.Warn:
		g.Verdict = Warn
	}
	return g
}

const evaluated = "ml_drift_last_evaluation_timestamp_seconds"

// Gauges judges together what one exporter says: of ml_drift_* that were computed longer ago than stale nothing is
// known any more. The result is sorted by name and feature.
func Gauges(list []Gauge, stale time.Duration, now time.Time) []Gauge {
	at := map[string]time.Time{}
	for _, g := range list {
		if g.Name == evaluated && g.Value != nil {
			at[scope(g)] = time.Unix(0, int64(*g.Value*1e9))
		}
	}
	for i := range list {
		g := &list[i]
		when, ok := at[scope(*g)]
		if !ok {
			bare := *g
			bare.Feature = ""
			when, ok = at[scope(bare)]
		}
		if ok && g.Source == "ml_drift" && g.Judged() && stale > 0 && now.Sub(when) > stale {
			g.Verdict, g.Reason = Unknown, "computed "+age(now.Sub(when))+" ago"
		}
	}
	slices.SortFunc(list, func(a, b Gauge) int {
		return strings.Compare(a.Name+"\x00"+a.Feature+"\x00"+fmt.Sprint(a.Labels), b.Name+"\x00"+b.Feature+"\x00"+fmt.Sprint(b.Labels))
	})
	return list
}

// scope tells whom a gauge is about.
func scope(g Gauge) string {
	return g.Labels["model"] + "\x00" + g.Labels["version"] + "\x00" + g.Feature
}
