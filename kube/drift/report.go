package drift

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fvbommel/sortorder"
)

// Report is how one version of a model stands.
type Report struct {
	// Model and Version are as the series say, else as the registry does; Version is empty where neither does.
	Model   string `json:"model,omitempty"`
	Version string `json:"version,omitempty"`
	// Against says what was compared with: "baseline of house-prices:7", or "7d before".
	Against string  `json:"against"`
	Verdict Verdict `json:"verdict"`
	// Rows are features and then predictions, the worst first.
	Rows []Row `json:"rows"`
	// Gauges are what other exporters say of drift.
	Gauges []Gauge `json:"gauges,omitempty"`
	// Notes are what is to know of all of it.
	Notes []string `json:"notes,omitempty"`
}

// NewReport judges all that was seen, and what a baseline has that was not seen. Without a baseline why says what is
// missing.
func NewReport(b *Baseline, why string, seen []Observation, gauges []Gauge, opt Options) Report {
	type key struct {
		kind Kind
		name string
	}
	refs := map[key]Reference{}
	if b != nil {
		for name, r := range b.Features {
			refs[key{KindFeature, name}] = r
		}
		for name, r := range b.Predictions {
			refs[key{KindPrediction, name}] = r
		}
	}
	var out Report
	for i := range seen {
		k := key{seen[i].Kind, seen[i].Name}
		r, ok := refs[k]
		delete(refs, k)
		var row Row
		if ok {
			row = Judge(&r, &seen[i], opt)
		} else {
			row = Judge(nil, &seen[i], opt)
			if b == nil && row.Samples > 0 {
				row.Reason = why
			}
		}
		out.Rows = append(out.Rows, row)
	}
	for k, r := range refs {
		row := Judge(&r, &Observation{Kind: k.kind, Name: k.name}, opt)
		row.Reason = "in the baseline, but nothing exports it"
		out.Rows = append(out.Rows, row)
	}
	slices.SortFunc(out.Rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Verdict.rank(), a.Verdict.rank()),
			cmp.Compare(value(b.PSI), value(a.PSI)), sortorder.NaturalCompare(a.Name, b.Name),
		)
	})
	out.Gauges = gauges
	out.Verdict = out.sum()
	return out
}

// sum is the verdict of all: alert when anything alerts; else unknown when anything could not be judged, or there was
// nothing to judge; else warn when anything warns.
func (r *Report) sum() Verdict {
	out, n := OK, 0
	for _, row := range r.Rows {
		out, n = worse(out, row.Verdict), n+1
	}
	for _, g := range r.Gauges {
		if g.Judged() {
			out, n = worse(out, g.Verdict), n+1
		}
	}
	if n == 0 {
		return Unknown
	}
	return out
}

func worse(a, b Verdict) Verdict {
	if order := []Verdict{OK, Warn, Unknown, Alert}; slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// Worst is the verdict of several reports, as Report.Verdict sums rows up.
func Worst(reports []Report) Verdict {
	if len(reports) == 0 {
		return Unknown
	}
	out := OK
	for i := range reports {
		out = worse(out, reports[i].Verdict)
	}
	return out
}

// Counts says how many rows have each verdict, such as "1 alert, 2 ok".
func (r *Report) Counts() string {
	n := map[Verdict]int{}
	for _, row := range r.Rows {
		n[row.Verdict]++
	}
	for _, g := range r.Gauges {
		if g.Judged() {
			n[g.Verdict]++
		}
	}
	var parts []string
	for _, v := range []Verdict{Alert, Warn, Unknown, OK} {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	return strings.Join(parts, ", ")
}

// rank sorts the worst first, and what cannot be judged last.
func (v Verdict) rank() int { return slices.Index([]Verdict{Unknown, OK, Warn, Alert}, v) }

func value(v *float64) float64 {
	if v == nil {
		return -1
	}
	return *v
}
