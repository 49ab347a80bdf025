package views

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// production is the alias that lists have a column for.
const production = "production"

// metricColumns is how many metrics a list of versions shows a column each of; more need -o wide.
const metricColumns = 4

// ModelColumns define what a row of models is, for lists, -o wide and sorting alike. Ages are as of now.
func ModelColumns(now time.Time) List[registry.Summary] {
	return List[registry.Summary]{
		textColumn(Column{Name: columnNamespace, Min: 12}, func(m registry.Summary) string { return m.Namespace }),
		textColumn(Column{Name: "NAME", Min: registry.MaxModelName}, func(m registry.Summary) string { return m.Name }),
		versionColumn(Column{Name: "LATEST"}, func(m registry.Summary) int { return m.Latest }),
		countColumn(Column{Name: "VERSIONS", Drop: 3}, func(m registry.Summary) int64 { return int64(m.Versions) }),
		versionColumn(Column{Name: "PRODUCTION"}, func(m registry.Summary) int { return m.Aliases[production] }),
		textColumn(Column{Name: "ALIASES", Min: 12, Max: 40, Drop: 2}, func(m registry.Summary) string { return otherAliases(m.Aliases) }),
		textColumn(Column{Name: "METRICS", Min: 16, Max: 48, Drop: 1}, func(m registry.Summary) string { return chosenMetrics(m.Metrics, m.Better) }),
		textColumn(Column{Name: "FORMAT", Wide: true}, func(m registry.Summary) string { return m.Format }),
		numberColumn(Column{Name: "SIZE", Wide: true}, func(m registry.Summary) *float64 { return size(m.Size) }, bytesOf),
		textColumn(Column{Name: "RUN", Wide: true}, func(m registry.Summary) string { return m.Run }),
		textColumn(Column{Name: "BY", Wide: true}, func(m registry.Summary) string { return m.By }),
		ageColumn(Column{Name: "UPDATED", Drop: 4}, now, func(m registry.Summary) time.Time { return m.Updated }),
	}
}

// Models lists models in the order given; namespaces says that there may be several.
func Models(list []registry.Summary, namespaces bool, now time.Time) Table {
	columns := ModelColumns(now)
	if !namespaces {
		columns = columns.without(columnNamespace)
	}
	return columns.Table(list)
}

// size is one that is known.
func size(bytes int64) *float64 {
	if bytes <= 0 {
		return nil
	}
	return new(float64(bytes))
}

func bytesOf(v float64) string { return Bytes(int64(v)) }

// versionColumn holds numbers of versions, 0 where there is none.
func versionColumn[R any](c Column, get func(R) int) ListColumn[R] {
	c.Right = true
	return ListColumn[R]{c, func(r R) Cell { return versionCell(get(r)) }, func(r R) SortKey {
		n := get(r)
		return SortKey{Number: float64(n), Known: n > 0}
	}}
}

// ageColumn holds ages as of now, and sorts by them: the newest first.
func ageColumn[R any](c Column, now time.Time, get func(R) time.Time) ListColumn[R] {
	return ListColumn[R]{c, func(r R) Cell {
		t := get(r)
		if t.IsZero() {
			return Toned(Unknown, Dim)
		}
		return Text(Age(now.Sub(t)))
	}, func(r R) SortKey {
		t := get(r)
		return SortKey{Number: now.Sub(t).Seconds(), Known: !t.IsZero()}
	}}
}

// otherAliases are the aliases beside production, "canary=8 staging=7".
func otherAliases(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != production {
			parts = append(parts, fmt.Sprintf("%s=%d", name, m[name]))
		}
	}
	return strings.Join(parts, " ")
}

// chosenMetrics are the three metrics that say most, and how many more there are.
func chosenMetrics(m map[string]float64, declared map[string]registry.Direction) string {
	var parts []string
	for i, name := range tellingFirst(slices.Collect(maps.Keys(m)), declared) {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("+%d", len(m)-3))
			break
		}
		parts = append(parts, name+"="+Float(m[name]))
	}
	return strings.Join(parts, " ")
}

// tellingFirst orders metrics: those of which it is known what is better come first, each part in alphabetical order.
func tellingFirst(names []string, declared map[string]registry.Direction) []string {
	slices.Sort(names)
	slices.SortStableFunc(names, func(a, b string) int {
		_, x := registry.DirectionOf(a, declared)
		_, y := registry.DirectionOf(b, declared)
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	return names
}

// VersionColumns define what a row of versions is. Each metric that any of them has is a column, under its name in
// capitals; the best value of all stands in a tone of its own. Ages are as of now.
func VersionColumns(list []registry.VersionSummary, declared map[string]registry.Direction, now time.Time) List[registry.VersionSummary] {
	type row = registry.VersionSummary
	l := List[row]{
		versionColumn(Column{Name: "VERSION"}, func(v row) int { return v.Version }),
		textColumn(Column{Name: "ALIASES", Min: 10}, func(v row) string { return strings.Join(v.Aliases, ",") }),
		{Column{Name: "APPROVAL", Drop: 2, Min: 17}, approvalCell, func(v row) SortKey {
			s := approvalCell(v).Text
			return SortKey{Text: s, Known: s != ""}
		}},
	}
	fixed := List[row]{
		numberColumn(Column{Name: "SIZE", Drop: 11}, func(v row) *float64 { return size(v.Size) }, bytesOf),
		textColumn(Column{Name: "FORMAT", Min: 8, Drop: 14}, func(v row) string { return v.Format }),
		textColumn(Column{Name: "RUN", Min: 12, Drop: 13}, func(v row) string { return v.Run }),
		textColumn(Column{Name: "BY", Min: 8, Drop: 12}, func(v row) string { return v.By }),
		ageColumn(Column{Name: "AGE", Drop: 1}, now, func(v row) time.Time { return v.Created }),
	}
	taken := append(l.Names(), fixed.Names()...)
	var seen []string
	for _, v := range list {
		seen = slices.AppendSeq(seen, maps.Keys(v.Metrics))
	}
	slices.Sort(seen)
	for i, name := range tellingFirst(slices.Compact(seen), declared) {
		l = append(l, versionMetric(name, i, taken, list, declared))
	}
	return append(l, fixed...)
}

func versionMetric(name string, i int, taken []string, list []registry.VersionSummary, declared map[string]registry.Direction) ListColumn[registry.VersionSummary] {
	heading := strings.ToUpper(strings.Join(strings.Fields(Sanitize(name)), "_"))
	if slices.Contains(taken, strings.ToLower(heading)) {
		heading = "METRIC:" + heading
	}
	c := numberColumn(Column{Name: heading, Drop: 4 + min(i, 6), Wide: i >= metricColumns}, func(v registry.VersionSummary) *float64 {
		value, ok := v.Metrics[name]
		if !ok {
			return nil
		}
		return &value
	}, Float)
	best, known := bestOf(name, list, declared)
	plain := c.Cell
	c.Cell = func(v registry.VersionSummary) Cell {
		cell := plain(v)
		if value, ok := v.Metrics[name]; ok && known && value == best {
			cell.Tone = Good
		}
		return cell
	}
	return c
}

// bestOf is the best value of a metric, where it is known what is better and there is something to choose from.
func bestOf(name string, list []registry.VersionSummary, declared map[string]registry.Direction) (float64, bool) {
	direction, known := registry.DirectionOf(name, declared)
	var values []float64
	for _, v := range list {
		if value, ok := v.Metrics[name]; ok && !math.IsNaN(value) {
			values = append(values, value)
		}
	}
	switch {
	case !known || len(values) < 2:
		return 0, false
	case direction == registry.Lower:
		return slices.Min(values), true
	}
	return slices.Max(values), true
}

func approvalCell(v registry.VersionSummary) Cell {
	text, tone := "", Plain
	if v.Approval != nil {
		text, tone = v.Approval.State, approvalTone(v.Approval.State)
	}
	if v.Archived != nil {
		text, tone = strings.TrimPrefix(text+",archived", ","), Dim
	}
	return Toned(text, tone)
}

func approvalTone(state string) Tone {
	if state == "rejected" {
		return Bad
	}
	return Good
}

// Versions lists the versions of a model in the order given.
func Versions(list []registry.VersionSummary, declared map[string]registry.Direction, now time.Time) Table {
	return VersionColumns(list, declared, now).Table(list)
}
