package views

import (
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// standingColumns are the columns that both tables of a moment begin with.
func standingColumns[R any](namespaces bool, namespace, model func(R) string) List[R] {
	l := List[R]{
		textColumn(Column{Name: columnNamespace, Min: 12}, namespace),
		textColumn(Column{Name: "MODEL", Min: 16}, model),
	}
	if !namespaces {
		l = l.without(columnNamespace)
	}
	return l
}

type aliasRow struct {
	registry.AliasAt
	s registry.Standing
}

// AliasesAt lists where the aliases of models pointed at a moment, and since when. Times are in the zone of now.
func AliasesAt(list []registry.Standing, namespaces bool, now time.Time) Table {
	var rows []aliasRow
	for _, s := range list {
		for _, a := range s.Aliases {
			rows = append(rows, aliasRow{a, s})
		}
	}
	columns := standingColumns(namespaces, func(r aliasRow) string { return r.s.Namespace }, func(r aliasRow) string { return r.s.Model })
	cell := func(c Column, get func(aliasRow) Cell) {
		columns = append(columns, ListColumn[aliasRow]{Column: c, Cell: get})
	}
	cell(Column{Name: "ALIAS", Min: 10}, func(r aliasRow) Cell { return Toned(r.Alias, Accent) })
	cell(Column{Name: "VERSION", Right: true}, func(r aliasRow) Cell { return versionCell(r.Version) })
	cell(Column{Name: "SURE", Drop: 2}, func(r aliasRow) Cell {
		if r.Sure {
			return Text("yes")
		}
		return Toned("no", Warn)
	})
	cell(Column{Name: timeHeading("SINCE", now), Min: 19, Drop: 1}, func(r aliasRow) Cell { return Text(timeOf(r.Since, now)) })
	cell(Column{Name: "BY", Min: 8, Drop: 3}, func(r aliasRow) Cell { return orDash(r.By) })
	cell(Column{Name: "COMMENT", Min: 10, Drop: 4}, func(r aliasRow) Cell {
		if r.Deleted != nil {
			return Toned("deleted "+timeOf(*r.Deleted, now), Warn)
		}
		return orDash(r.Comment)
	})
	return columns.Table(rows)
}

type servingRow struct {
	registry.ServingAt
	s registry.Standing
}

// ServingAt lists what workloads served at a moment. Times are in the zone of now.
func ServingAt(list []registry.Standing, namespaces bool, now time.Time) Table {
	var rows []servingRow
	for _, s := range list {
		for _, v := range s.Serving {
			rows = append(rows, servingRow{v, s})
		}
	}
	columns := standingColumns(namespaces, func(r servingRow) string { return r.s.Namespace }, func(r servingRow) string { return r.s.Model })
	cell := func(c Column, get func(servingRow) Cell) {
		columns = append(columns, ListColumn[servingRow]{Column: c, Cell: get})
	}
	cell(Column{Name: "SERVED-BY", Min: 20}, func(r servingRow) Cell {
		return Toned(where(registry.Entry{Room: r.s.Namespace, Event: registry.Event{Target: r.Target, Namespace: r.Namespace}}), Accent)
	})
	cell(Column{Name: "VERSION", Right: true}, func(r servingRow) Cell { return versionCell(r.Version) })
	cell(Column{Name: "ROLLING", Right: true}, func(r servingRow) Cell {
		if r.Rolling == 0 {
			return Toned(Unknown, Dim)
		}
		return Toned(versionCell(r.Rolling).Text, Warn)
	})
	cell(Column{Name: timeHeading("SINCE", now), Min: 19, Drop: 1}, func(r servingRow) Cell { return Text(timeOf(r.Since, now)) })
	cell(Column{Name: "BY", Min: 8, Drop: 2}, func(r servingRow) Cell { return orDash(r.By) })
	cell(Column{Name: "STRATEGY", Wide: true}, func(r servingRow) Cell { return orDash(r.Strategy) })
	cell(Column{Name: "RUN", Wide: true}, func(r servingRow) Cell { return orDash(r.Run) })
	cell(Column{Name: "IMAGE", Wide: true}, func(r servingRow) Cell { return orDash(r.Image) })
	cell(Column{Name: "DIGEST", Wide: true}, func(r servingRow) Cell { return orDash(shortDigest(r.Digest)) })
	return columns.Table(rows)
}
