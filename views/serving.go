package views

import (
	"math"

	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// ServingOptions say how servings are listed.
type ServingOptions struct {
	// Namespaces says that there may be several.
	Namespaces bool
	// SLO is what the 95th percentile, or the mean where there is none, may be at most, in seconds; 0 for no limit.
	SLO float64
	// Trends are values over time by Serving.ID, drawn as sparklines; nil for no such column.
	Trends map[string][]float64
	// ASCII draws without block characters.
	ASCII bool
}

// trendWidth is how many cells a sparkline takes.
const trendWidth = 16

// errorsWarn and errorsBad are shares of failed requests that deserve a look.
const errorsWarn, errorsBad = 0.01, 0.05

// Servings lists how models are served; columns of which no row knows anything are left out.
func Servings(rows []*metrics.Serving, o ServingOptions) List[*metrics.Serving] {
	type row = *metrics.Serving
	l := List[row]{
		textColumn(Column{Name: columnNamespace, Min: 12}, func(s row) string { return s.Namespace }),
		textColumn(Column{Name: "NAME", Min: 16}, func(s row) string { return s.Name }),
		textColumn(Column{Name: "MODEL", Min: 10, Drop: 8}, servedModel),
		textColumn(Column{Name: "VERSION", Drop: 4}, func(s row) string { return s.Version }),
		ListColumn[row]{Column{Name: "READY", Drop: 7}, readyCell, func(s row) SortKey { return SortKey{Number: float64(s.Ready), Known: s.Kind != ""} }},
		latencyColumn("P50", metrics.FieldP50, 0, func(s row) *float64 { return s.P50 }),
		latencyColumn("P95", metrics.FieldP95, o.SLO, func(s row) *float64 { return s.P95 }),
		latencyColumn("P99", metrics.FieldP99, 0, func(s row) *float64 { return s.P99 }),
		meanLatency(o.SLO),
		numberColumn(Column{Name: "RATE"}, func(s row) *float64 { return s.Rate }, perSecond),
		errorsColumn(),
	}
	for _, c := range []struct {
		name string
		get  func(row) *float64
		show func(float64) string
		drop int
	}{
		{"QUEUE", func(s row) *float64 { return s.Queue }, Float, 3},
		{"RUNNING", func(s row) *float64 { return s.Running }, Float, 9},
		{"TOKENS", func(s row) *float64 { return s.Tokens }, perSecond, 5},
		{"TTFT", func(s row) *float64 { return s.FirstToken }, Latency, 6},
		{"ITL", func(s row) *float64 { return s.NextToken }, Latency, 9},
		{"CACHE", func(s row) *float64 { return s.Full }, Percent, 9},
	} {
		for _, r := range rows {
			if c.get(r) != nil {
				l = append(l, numberColumn(Column{Name: c.name, Drop: c.drop}, c.get, c.show))
				break
			}
		}
	}
	if o.Trends != nil {
		l = append(l, ListColumn[row]{Column{Name: "TREND", Drop: 10, Min: trendWidth}, func(s row) Cell { return Toned(sparkOf(o.Trends[s.ID()], o.ASCII), Accent) }, func(row) SortKey { return SortKey{} }})
	}
	l = append(l,
		ListColumn[row]{Column{Name: "NOTES", Drop: 2, Max: 40}, servingNotes, func(s row) SortKey {
			text := servingNotes(s).Text
			return SortKey{Text: text, Known: text != ""}
		}},
		textColumn(Column{Name: "SIDE", Wide: true}, func(s row) string { return s.Side }),
		textColumn(Column{Name: "PROFILE", Wide: true}, func(s row) string { return s.Profile }),
		textColumn(Column{Name: "METRIC", Wide: true}, func(s row) string { return s.Metric }),
	)
	if !o.Namespaces {
		l = l.without(columnNamespace)
	}
	return l
}

// servedModel is the model by the cluster's labels, else by the metric's.
func servedModel(s *metrics.Serving) string { return orElse(s.Model, s.Served) }

func readyCell(s *metrics.Serving) Cell {
	switch {
	case s.Kind == "":
		return Toned(Unknown, Dim)
	case s.Ready < s.Wanted:
		return Toned(Count(int64(s.Ready))+"/"+Count(int64(s.Wanted)), Warn)
	}
	return Text(Count(int64(s.Ready)) + "/" + Count(int64(s.Wanted)))
}

// Latency writes seconds with the digits that people compare: 250ms, 1.2s.
func Latency(v float64) string { return Axis{Unit: Seconds}.Value(v) }

// perSecond writes a rate: 12/s.
func perSecond(v float64) string {
	switch {
	case v >= 100_000:
		return Count(int64(v)) + "/s"
	case v >= 1000:
		return Float(float64(int64(v+0.5))) + "/s"
	}
	return shortNumber(v, 0) + "/s"
}

func latencyColumn(name, field string, limit float64, get func(*metrics.Serving) *float64) ListColumn[*metrics.Serving] {
	c := numberColumn(Column{Name: name}, get, Latency)
	plain := c.Cell
	c.Cell = func(s *metrics.Serving) Cell {
		cell := plain(s)
		v := get(s)
		if v == nil {
			return cell
		}
		for _, f := range s.AtLeast {
			if f == field {
				cell.Text = ">=" + cell.Text
			}
		}
		if limit > 0 && *v > limit {
			cell = Toned(cell.Text+"!", Bad)
		}
		return cell
	}
	return c
}

// meanLatency is held to the limit where there is no quantile.
func meanLatency(limit float64) ListColumn[*metrics.Serving] {
	mean := func(s *metrics.Serving) *float64 { return s.Mean }
	c, judged := latencyColumn("MEAN", metrics.FieldMean, 0, mean), latencyColumn("MEAN", metrics.FieldMean, limit, mean)
	c.Column.Drop = 1
	plain := c.Cell
	c.Cell = func(s *metrics.Serving) Cell {
		if s.P95 == nil {
			return judged.Cell(s)
		}
		return plain(s)
	}
	return c
}

func errorsColumn() ListColumn[*metrics.Serving] {
	c := numberColumn(Column{Name: "ERRORS"}, func(s *metrics.Serving) *float64 { return s.Errors }, share)
	plain := c.Cell
	c.Cell = func(s *metrics.Serving) Cell {
		cell := plain(s)
		switch e := s.Errors; {
		case e != nil && *e >= errorsBad:
			cell.Tone = Bad
		case e != nil && *e >= errorsWarn:
			cell.Tone = Warn
		}
		return cell
	}
	return c
}

// share writes a fraction in percent, with digits that count below ten: 0.25%, 4.2%, 12%.
func share(v float64) string {
	switch {
	case v <= 0 || v >= 0.1:
		return Percent(v)
	case v < 1e-4:
		return "<0.01%"
	}
	return Float(math.Round(v*1e4)/100) + "%"
}

// servingNotes is why numbers are missing, in short.
func servingNotes(s *metrics.Serving) Cell {
	switch {
	case s.Unmeasured():
		return Toned("no metrics", Warn)
	case s.Idle:
		return Toned("no traffic", Dim)
	case s.Form == metrics.SumCount || s.Form == metrics.CounterRatio:
		return Toned("mean only", Dim)
	case s.Form == metrics.Summary:
		return Toned("worst pod", Dim)
	}
	return Cell{Text: Unknown, Tone: Dim}
}

func sparkOf(values []float64, ascii bool) string {
	known := false
	for _, v := range values {
		known = known || finite(v)
	}
	switch {
	case !known:
		return Unknown
	case ascii:
		return ASCIISparkline(values, trendWidth)
	}
	return Sparkline(values, trendWidth)
}
