package views

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
)

const (
	// driftBar is how many cells a bar of drift takes, driftScale how many times the limit to alert it reaches.
	driftBar   = 20
	driftScale = 2
	// driftName is the most that a name takes.
	driftName = 40
)

// DriftHead says whose report it is and how it stands, in one line.
func DriftHead(r *drift.Report, window time.Duration) Line {
	name := cmp.Or(r.Model, "model unknown")
	if r.Version != "" {
		name += ":" + r.Version
	}
	text := fmt.Sprintf(" against %s, last %s: ", r.Against, Age(window))
	return Line{Toned(Sanitize(name), Accent), Text(Sanitize(text)), Toned(cmp.Or(r.Counts(), "nothing to judge"), verdictTone(r.Verdict))}
}

// Drifts lists how features and predictions stand, as of now.
func Drifts(now time.Time) List[drift.Row] {
	type row = drift.Row
	number := func(c Column, get func(row) *float64) ListColumn[row] {
		return numberColumn(c, get, func(v float64) string { return fmt.Sprintf("%.3f", v) })
	}
	return List[row]{
		textColumn(Column{Name: "FEATURE", Min: 12, Max: driftName}, driftNameOf),
		number(Column{Name: "PSI", Min: 5}, func(r row) *float64 { return r.PSI }),
		ListColumn[row]{Column{Name: "DRIFT", Min: driftBar}, func(r row) Cell { return Toned(DriftBar(r, driftBar), verdictTone(r.Verdict)) }, func(r row) SortKey {
			if r.PSI == nil {
				return SortKey{}
			}
			return SortKey{Number: *r.PSI / max(r.Limits.Alert, 1e-9), Known: true}
		}},
		ListColumn[row]{Column{Name: "VERDICT"}, func(r row) Cell { return Toned(string(r.Verdict), verdictTone(r.Verdict)) }, func(r row) SortKey {
			return SortKey{Text: string(r.Verdict), Known: true}
		}},
		number(Column{Name: "JS", Min: 5, Drop: 4}, func(r row) *float64 { return r.JS }),
		number(Column{Name: "KS>=", Min: 5, Drop: 5}, func(r row) *float64 { return r.KS }),
		countColumn(Column{Name: "SAMPLES", Min: 7, Drop: 2}, func(r row) int64 { return int64(math.Round(r.Samples)) }),
		ListColumn[row]{Column{Name: "LAST", Right: true, Min: 4, Drop: 3}, func(r row) Cell {
			if r.Last.IsZero() {
				return Toned(Unknown, Dim)
			}
			return Text(Age(now.Sub(r.Last)))
		}, func(r row) SortKey { return SortKey{Number: now.Sub(r.Last).Seconds(), Known: !r.Last.IsZero()} }},
		number(Column{Name: "CHANCE", Wide: true}, func(r row) *float64 { return r.Chance }),
		countColumn(Column{Name: "BASELINE", Wide: true}, func(r row) int64 { return int64(math.Round(r.BaselineSamples)) }),
		countColumn(Column{Name: "BINS", Wide: true}, func(r row) int64 { return int64(len(r.Bins)) }),
		textColumn(Column{Name: "WARN", Wide: true, Right: true}, func(r row) string { return Float(r.Limits.Warn) }),
		textColumn(Column{Name: "ALERT", Wide: true, Right: true}, func(r row) string { return Float(r.Limits.Alert) }),
	}
}

// driftNameOf names a row: a feature by its name, a prediction as such.
func driftNameOf(r drift.Row) string {
	if r.Kind != drift.KindPrediction {
		return r.Name
	}
	if r.Name == drift.Prediction {
		return "(prediction)"
	}
	return "(prediction) " + r.Name
}

// DriftBar draws the PSI of a row in exactly width cells, with a mark where it warns and one where it alerts: both stand
// at the same place in all rows whose limits have the same ratio, whatever the limits are. Beyond the scale it ends in an
// arrow.
func DriftBar(r drift.Row, width int) string {
	if width < 1 {
		return ""
	}
	cells := []rune(strings.Repeat(" ", width))
	end := driftScale * r.Limits.Alert
	at := func(v float64) int { return min(max(int(math.Round(v/end*float64(width))), 0), width-1) }
	if r.PSI != nil && end > 0 {
		full := barUnits(*r.PSI/end, width*8)
		for i := range cells {
			switch units := full - i*8; {
			case units >= 8:
				cells[i] = '█'
			case units > 0:
				cells[i] = []rune(eighths)[units-1]
			}
		}
		if *r.PSI > end {
			cells[width-1] = '▶'
		}
	}
	for _, m := range []struct {
		v    float64
		mark rune
	}{{r.Limits.Warn, '┊'}, {r.Limits.Alert, '┃'}} {
		if i := at(m.v); end > 0 && cells[i] != '▶' {
			cells[i] = m.mark
		}
	}
	return string(cells)
}

// DriftWhy says of rows why they cannot be judged, and what is to know of others: a line for each reason, with those that
// share it.
func DriftWhy(r *drift.Report) []Line {
	var order []string
	names := map[string][]string{}
	tone := map[string]Tone{}
	add := func(reason, name string, t Tone) {
		if reason == "" || slices.Contains(r.Notes, reason) {
			return
		}
		if names[reason] == nil {
			order = append(order, reason)
		}
		names[reason], tone[reason] = append(names[reason], name), max(tone[reason], t)
	}
	for _, row := range r.Rows {
		add(row.Reason, driftNameOf(row), verdictTone(row.Verdict))
	}
	const most = 5
	var lines []Line
	for _, reason := range order {
		list := names[reason]
		text := strings.Join(list[:min(len(list), most)], ", ")
		if n := len(list) - most; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		lines = append(lines, Line{Toned(Sanitize(text), tone[reason]), Text(": " + Sanitize(reason))})
	}
	for _, n := range r.Notes {
		lines = append(lines, Line{Toned(Sanitize(n), Warn)})
	}
	return lines
}

// DriftGauges lists what exporters say of drift themselves.
func DriftGauges() List[drift.Gauge] {
	type row = drift.Gauge
	return List[row]{
		textColumn(Column{Name: "METRIC", Min: 20}, func(g row) string { return g.Name }),
		textColumn(Column{Name: "FEATURE", Min: 8, Max: driftName}, func(g row) string { return g.Feature }),
		ListColumn[row]{Column{Name: "VALUE", Right: true}, gaugeValue, func(row) SortKey { return SortKey{} }},
		textColumn(Column{Name: "DRIFT-WHEN", Drop: 3}, gaugeLimit),
		ListColumn[row]{Column{Name: "VERDICT", Min: 7}, func(g row) Cell {
			if !g.Judged() {
				return Toned(Unknown, Dim)
			}
			return Toned(string(g.Verdict), verdictTone(g.Verdict))
		}, func(g row) SortKey { return SortKey{Text: string(g.Verdict), Known: true} }},
		textColumn(Column{Name: "SOURCE", Drop: 2}, func(g row) string { return g.Source }),
		textColumn(Column{Name: "NOTES", Drop: 1}, func(g row) string { return g.Reason }),
	}
}

func gaugeValue(g drift.Gauge) Cell {
	switch {
	case g.Value == nil:
		return Toned(Unknown, Dim)
	case strings.HasSuffix(g.Name, "_timestamp_seconds"):
		return Text(time.Unix(int64(*g.Value), 0).UTC().Format("2006-01-02T15:04:05Z"))
	}
	return Text(Float(*g.Value))
}

// gaugeLimit says which values mean drift.
func gaugeLimit(g drift.Gauge) string {
	limit := cmp.Or(g.Alert, g.Warn)
	switch g.Sense {
	case drift.Low:
		return "< " + Float(limit)
	case drift.High:
		return ">= " + Float(limit)
	}
	return Unknown
}

// DriftExplain draws both distributions of a row, a line for each bin, in at most width cells, 0 for 100.
func DriftExplain(r drift.Row, width int) []Line {
	if width <= 0 {
		width = 100
	}
	head := Line{Toned(Sanitize(driftNameOf(r)), Accent), Text(": "), Toned(string(r.Verdict), verdictTone(r.Verdict))}
	var numbers []string
	for _, n := range []struct {
		name string
		v    *float64
	}{{"PSI", r.PSI}, {"JS", r.JS}, {"KS at least", r.KS}} {
		if n.v != nil {
			numbers = append(numbers, fmt.Sprintf("%s %.3f", n.name, *n.v))
		}
	}
	numbers = append(numbers, fmt.Sprintf("%s samples against %s", Count(int64(math.Round(r.Samples))), Count(int64(math.Round(r.BaselineSamples)))))
	lines := []Line{append(head, Text("; "+strings.Join(numbers, ", ")))}
	if r.Reason != "" {
		lines = append(lines, Line{Text(Sanitize(r.Reason))})
	}
	if len(r.Bins) == 0 {
		return cutAll(lines, width)
	}
	most, label := 0.0, len("BIN")
	for _, b := range r.Bins {
		most, label = max(most, b.Baseline, b.Live), max(label, Width(Sanitize(b.Label())))
	}
	label = min(label, max(width/4, 8))
	bar := max((width-label-2*6-6-5*gap)/2, 6)
	t := Table{Columns: []Column{
		{Name: "BIN", Min: label, Max: label}, {Name: "BASELINE", Min: bar}, {Name: "", Right: true, Min: 6}, {Name: "LIVE", Min: bar}, {Name: "", Right: true, Min: 6}, {Name: "PSI", Right: true, Min: 6},
	}}
	for _, b := range r.Bins {
		part := drift.PSI([]float64{b.Baseline}, []float64{b.Live})
		tone := Plain
		if r.PSI != nil && *r.PSI >= r.Limits.Warn && part >= *r.PSI/4 {
			tone = verdictTone(r.Verdict)
		}
		t.Rows = append(t.Rows, []Cell{
			Text(b.Label()), Toned(Bar(b.Baseline/most, bar), Dim), Text(fmt.Sprintf("%.1f%%", 100*b.Baseline)),
			Toned(Bar(b.Live/most, bar), tone), Text(fmt.Sprintf("%.1f%%", 100*b.Live)), Toned(fmt.Sprintf("%.3f", part), tone),
		})
	}
	return cutAll(append(lines, t.Lines(LineOptions{Width: width})...), width)
}

func cutAll(lines []Line, width int) []Line {
	for i := range lines {
		lines[i] = lines[i].Cut(width)
	}
	return lines
}

func verdictTone(v drift.Verdict) Tone {
	switch v {
	case drift.OK:
		return Good
	case drift.Warn, drift.Unknown:
		return Warn
	case drift.Alert:
		return Bad
	}
	return Plain
}
