package views

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fvbommel/sortorder"
)

// List is the columns of a list of things of one kind: how they are laid out, what stands in them, and how they sort.
type List[R any] []ListColumn[R]

// ListColumn is one column of a List.
type ListColumn[R any] struct {
	Column
	Cell func(R) Cell
	Key  func(R) SortKey
}

// Table lists rows in the order given.
func (l List[R]) Table(rows []R) Table {
	t := Table{Rows: make([][]Cell, 0, len(rows))}
	for _, c := range l {
		t.Columns = append(t.Columns, c.Column)
	}
	cells := make([]Cell, 0, len(rows)*len(l))
	for _, r := range rows {
		for _, c := range l {
			cells = append(cells, c.Cell(r))
		}
		t.Rows = append(t.Rows, cells[len(cells)-len(l):len(cells):len(cells)])
	}
	return t
}

// Sort sorts rows by the column of a name, in any case, and with a - before it the largest first. Rows that are equal
// there stay in their order, and those of which nothing is known come last.
func (l List[R]) Sort(rows []R, by string) error {
	column, descending := strings.CutPrefix(by, "-")
	i := slices.IndexFunc(l, func(c ListColumn[R]) bool { return strings.EqualFold(c.Name, column) })
	if i < 0 {
		return fmt.Errorf("no column %q to sort by; there are %s", column, strings.Join(l.Names(), ", "))
	}
	key, sign := l[i].Key, 1
	if descending {
		sign = -1
	}
	slices.SortStableFunc(rows, func(a, b R) int {
		x, y := key(a), key(b)
		if x.Known != y.Known {
			if x.Known {
				return -1
			}
			return 1
		}
		return sign * cmp.Or(cmp.Compare(x.Number, y.Number), sortorder.NaturalCompare(x.Text, y.Text))
	})
	return nil
}

// Names are the names of all columns in lower case, as they are given to sort by.
func (l List[R]) Names() []string {
	names := make([]string, len(l))
	for i, c := range l {
		names[i] = strings.ToLower(c.Name)
	}
	return names
}

// without leaves the columns of some names out.
func (l List[R]) without(names ...string) List[R] {
	return slices.DeleteFunc(l, func(c ListColumn[R]) bool { return slices.Contains(names, c.Name) })
}

// textColumn holds texts, which sort as texts.
func textColumn[R any](c Column, get func(R) string) ListColumn[R] {
	return ListColumn[R]{c, func(r R) Cell { return Text(get(r)) }, func(r R) SortKey {
		s := get(r)
		return SortKey{Text: s, Known: s != ""}
	}}
}

// numberColumn holds numbers, nil where they are not known, as show writes them.
func numberColumn[R any](c Column, get func(R) *float64, show func(float64) string) ListColumn[R] {
	c.Right = true
	return ListColumn[R]{c, func(r R) Cell {
		v := get(r)
		if v == nil {
			return Toned(Unknown, Dim)
		}
		return Text(show(*v))
	}, func(r R) SortKey {
		v := get(r)
		if v == nil {
			return SortKey{}
		}
		return SortKey{Number: *v, Known: true}
	}}
}

// countColumn holds numbers of things, which are always known.
func countColumn[R any](c Column, get func(R) int64) ListColumn[R] {
	return numberColumn(c, func(r R) *float64 { return new(float64(get(r))) }, func(v float64) string { return Count(int64(v)) })
}

// Screen lays a table out on a screen of height lines, 0 without limit, with foot below. Rows that do not fit are counted.
func Screen(t Table, foot []Line, o LineOptions, height int) []Line {
	hidden := 0
	if room := height - len(foot); height > 0 && len(t.Rows)+1 > room {
		keep := min(max(room-2, 1), len(t.Rows)) // without the names of columns and the count
		hidden = len(t.Rows) - keep
		t.Rows = t.Rows[:keep]
	}
	lines := t.Lines(o)
	if hidden > 0 {
		lines = append(lines, Line{Toned(fmt.Sprintf("… %s more, in a taller window or with -l or --sort-by", Count(int64(hidden))), Dim)})
	}
	lines = append(lines, foot...)
	for i := range lines {
		if o.Width > 0 {
			lines[i] = lines[i].Cut(o.Width)
		}
	}
	return lines
}
