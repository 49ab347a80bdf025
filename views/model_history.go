package views

import (
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// timeOf writes a time to the second in the zone of now, which the heading over it names.
func timeOf(t, now time.Time) string {
	return zoned(t, now, time.DateTime)
}

// minuteOf is timeOf to the minute.
func minuteOf(t, now time.Time) string { return zoned(t, now, "2006-01-02 15:04") }

func zoned(t, now time.Time, layout string) string {
	if t.IsZero() {
		return Unknown
	}
	t = t.In(now.Location())
	text := t.Format(layout)
	if _, offset := t.Zone(); offset != zoneOffset(now) { // summer time of another season
		text += t.Format(" -07:00")
	}
	return text
}

func zoneOffset(now time.Time) int {
	_, offset := now.Zone()
	return offset
}

// timeHeading is a column's name with the zone of its times: WHEN(CET).
func timeHeading(name string, now time.Time) string {
	zone, _ := now.Zone()
	if strings.ContainsAny(zone, " \t") || zone == "" {
		zone = now.Format("-07:00")
	}
	return name + "(" + zone + ")"
}

// Zone names the zone of now with its offset: CET (UTC+01:00).
func Zone(now time.Time) string {
	zone, offset := now.Zone()
	if offset == 0 {
		return "UTC"
	}
	return Sanitize(zone) + " (UTC" + now.Format("-07:00") + ")"
}

// History lists what happened to models, in the order given. models names the model in each line, namespaces its
// namespace too. Times are in the zone of now.
func History(entries []registry.Entry, models, namespaces bool, now time.Time) Table {
	columns := List[registry.Entry]{
		textColumn(Column{Name: columnNamespace, Min: 12}, func(e registry.Entry) string { return e.Room }),
		textColumn(Column{Name: "MODEL", Min: 8}, func(e registry.Entry) string { return e.Model }),
		entryColumn(Column{Name: timeHeading("WHEN", now), Min: 19}, func(e registry.Entry) Cell { return Text(timeOf(e.At, now)) }),
		entryColumn(Column{Name: "WHO", Min: 8, Drop: 1}, func(e registry.Entry) Cell { return Text(orUnknown(e.By)) }),
		entryColumn(Column{Name: "WHAT", Min: 19}, func(e registry.Entry) Cell { return Toned(what(e.Event), actionTone(e.Action)) }),
		entryColumn(Column{Name: "FROM", Right: true, Drop: 2}, func(e registry.Entry) Cell {
			if e.Alias == "" && e.From == 0 {
				return Toned(Unknown, Dim)
			}
			return versionCell(e.From)
		}),
		entryColumn(Column{Name: "TO", Right: true}, func(e registry.Entry) Cell {
			if e.Alias == "" && e.Version == 0 {
				return Toned(Unknown, Dim)
			}
			return versionCell(e.Version)
		}),
		entryColumn(Column{Name: "WHERE", Min: 12, Drop: 3}, func(e registry.Entry) Cell { return orDash(where(e)) }),
		entryColumn(Column{Name: "STRATEGY", Wide: true}, func(e registry.Entry) Cell { return orDash(e.Strategy) }),
		entryColumn(Column{Name: "RUN", Wide: true}, func(e registry.Entry) Cell { return orDash(e.Run) }),
		entryColumn(Column{Name: "IMAGE", Wide: true}, func(e registry.Entry) Cell { return orDash(e.Image) }),
		entryColumn(Column{Name: "DIGEST", Wide: true}, func(e registry.Entry) Cell { return orDash(shortDigest(e.Digest)) }),
		entryColumn(Column{Name: "IMPORTED", Wide: true}, func(e registry.Entry) Cell { return orDash(e.Origin) }),
		entryColumn(Column{Name: "COMMENT", Min: 10, Drop: 4}, func(e registry.Entry) Cell { return orDash(comment(e.Event)) }),
	}
	if !models {
		columns = columns.without("MODEL")
	}
	if !namespaces {
		columns = columns.without(columnNamespace)
	}
	return columns.Table(entries)
}

func entryColumn(c Column, cell func(registry.Entry) Cell) ListColumn[registry.Entry] {
	return ListColumn[registry.Entry]{Column: c, Cell: cell}
}

func orDash(s string) Cell {
	if s == "" {
		return Toned(Unknown, Dim)
	}
	return Text(s)
}

// versionCell is a version's number; 0 is none.
func versionCell(n int) Cell {
	if n == 0 {
		return Toned(None, Dim)
	}
	return Text(strconv.Itoa(n))
}

// what an event did, with the alias that it moved.
func what(e registry.Event) string {
	switch {
	case e.Alias == "":
		return string(e.Action)
	case e.Action == registry.Moved:
		return "alias " + e.Alias
	}
	return string(e.Action) + " " + e.Alias
}

// where a version is served; in the model's own namespace its name alone says it.
func where(e registry.Entry) string {
	if e.Namespace == "" || e.Namespace == e.Room {
		return e.Target
	}
	return e.Namespace + "/" + e.Target
}

// comment is a person's words, and that a line tells of another place.
func comment(e registry.Event) string {
	if e.Origin == "" {
		return e.Comment
	}
	return strings.TrimSuffix("(of "+e.Origin+") "+e.Comment, " ")
}

func actionTone(a registry.Action) Tone {
	switch a {
	case registry.Promoted, registry.Deployed, registry.Approved:
		return Good
	case registry.RolledBack, registry.Archived, registry.Deploying, registry.Removed:
		return Warn
	case registry.Rejected, registry.Aborted, registry.Failed, registry.Deleted:
		return Bad
	}
	return Plain
}

// shortDigest keeps as many digits of a digest as people compare by eye.
func shortDigest(d string) string {
	algorithm, digits, ok := strings.Cut(d, ":")
	if !ok || len(digits) <= 12 {
		return d
	}
	return algorithm + ":" + digits[:12]
}
