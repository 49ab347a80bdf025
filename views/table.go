package views

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// Tone is what a text means, for the printer to colour or not. Colour is never the only signal:
// the text itself says the same.
type Tone uint8

// The tones. Head is for column names, Accent for what the reader looks for first. The hues only tell things apart.
const (
	Plain Tone = iota
	Dim
	Good
	Warn
	Bad
	Accent
	Head
	Hue1
	Hue2
	Hue3
	Hue4
)

// Cell is a text in a tone. In a Table the text may be raw, in a Line it is sanitized.
type Cell struct {
	Text string
	Tone Tone
}

// Text is a plain cell.
func Text(s string) Cell { return Cell{Text: s} }

// Toned is a cell in a tone.
func Toned(s string, t Tone) Cell { return Cell{Text: s, Tone: t} }

// Column describes a column of a Table.
type Column struct {
	// Name is the heading, in capitals and without spaces.
	Name string
	// Wide columns show with -o wide only.
	Wide bool
	// Right aligns to the right.
	Right bool
	// Max cuts longer texts to that many cells, the last an ellipsis; 0 cuts nothing.
	Max int
	// Min is how many cells the column keeps when lines must fit a width; 0 is eight, and it is never less than the name.
	Min int
	// Drop orders the columns that are left out, the highest first, when lines do not fit a width with all columns cut
	// to their Min; those in which no row says anything go before the others. 0 is never left out.
	Drop int
}

// Table is rows under named columns. A row may be shorter than Columns; what is missing or empty prints as None.
type Table struct {
	Columns []Column
	Rows    [][]Cell
}

// LineOptions say how lines are laid out.
type LineOptions struct {
	// Wide shows the wide columns too.
	Wide bool
	// NoHeaders leaves out the heading.
	NoHeaders bool
	// Width is the cells a line may take, 0 without limit. To fit, columns with a Drop are left out until the others
	// fit with their Min; then the widest columns are cut, to no less than their Min; then the line is cut.
	Width int
}

// Line is one line of sanitized text as spans of one tone each, padding included.
type Line []Cell

// Text is the line without tones.
func (l Line) Text() string {
	n := 0
	for _, c := range l {
		n += len(c.Text)
	}
	b := make([]byte, 0, n)
	for _, c := range l {
		b = append(b, c.Text...)
	}
	return string(b)
}

// Width is the number of terminal cells the line takes.
func (l Line) Width() int {
	n := 0
	for _, c := range l {
		n += Width(c.Text)
	}
	return n
}

// Lines lays the table out as kubectl does: columns as wide as their longest text, three spaces between
// them, the last not padded. The heading is the first line unless NoHeaders is set; a table without rows is its heading.
func (t Table) Lines(o LineOptions) []Line {
	g := newGrid(t.Columns, len(t.Rows), o)
	for _, row := range t.Rows {
		g.add(row, "")
	}
	return g.lines()
}

const (
	gap = 3
	// least is what a column is cut to at least when lines must fit.
	least = 8
)

// grid is a table being laid out: the shown cells, sanitized and measured.
type grid struct {
	o       LineOptions
	columns []Column
	// source is the index of each shown column in a given row.
	source []int
	width  []int
	// says tells the columns in which a row says something, dropped those that are left out.
	says, dropped []bool
	cells         []measured
}

type measured struct {
	Cell
	// guide stands before the text, in Dim; width counts it.
	guide string
	width int
}

func newGrid(columns []Column, rows int, o LineOptions) *grid {
	g := &grid{o: o}
	for i, c := range columns {
		if c.Wide && !o.Wide {
			continue
		}
		g.columns = append(g.columns, c)
		g.source = append(g.source, i)
	}
	g.width = make([]int, len(g.columns))
	g.says, g.dropped = make([]bool, len(g.columns)), make([]bool, len(g.columns))
	g.cells = make([]measured, 0, (rows+1)*len(g.columns))
	if !o.NoHeaders {
		for i, c := range g.columns {
			g.put(i, measured{Cell: Cell{Text: Sanitize(c.Name), Tone: Head}})
		}
	}
	return g
}

// add measures one row; guide is drawn before its first column.
func (g *grid) add(row []Cell, guide string) {
	for i, from := range g.source {
		m := measured{}
		if from < len(row) {
			m.Cell = row[from]
			m.Text = Sanitize(m.Text)
		}
		if m.Text == "" {
			m.Cell = Cell{Text: None, Tone: Dim}
		}
		if i == 0 {
			m.guide = guide
		}
		g.says[i] = g.says[i] || m.Text != None && m.Text != Unknown
		if limit := g.columns[i].Max; limit > 0 {
			m.Text = Truncate(m.Text, limit)
		}
		g.put(i, m)
	}
}

func (g *grid) put(column int, m measured) {
	m.width = Width(m.guide) + Width(m.Text)
	g.width[column] = max(g.width[column], m.width)
	g.cells = append(g.cells, m)
}

// drop leaves columns out until the others can be cut to the width asked for, or none may be left out.
func (g *grid) drop() {
	for {
		need, out := -gap, -1
		for i, w := range g.width {
			if g.dropped[i] {
				continue
			}
			need += gap + min(w, g.floor(i))
			if g.columns[i].Drop > 0 && (out < 0 || g.before(i, out)) {
				out = i
			}
		}
		if need <= g.o.Width || out < 0 {
			return
		}
		g.dropped[out] = true
	}
}

// before says whether column i is left out before column j.
func (g *grid) before(i, j int) bool {
	if g.says[i] != g.says[j] {
		return g.says[j]
	}
	return g.columns[i].Drop > g.columns[j].Drop
}

// fit narrows columns until a line takes no more than the width asked for, or nothing can give.
func (g *grid) fit() {
	over := -gap - g.o.Width
	for i, w := range g.width {
		if !g.dropped[i] {
			over += w + gap
		}
	}
	for over > 0 {
		// The widest column gives, down to the next widest or to its own floor.
		widest, next := -1, 0
		for i, w := range g.width {
			switch {
			case g.dropped[i] || w <= g.floor(i):
			case widest < 0 || w > g.width[widest]:
				if widest >= 0 {
					next = max(next, g.width[widest])
				}
				widest = i
			default:
				next = max(next, w)
			}
		}
		if widest < 0 {
			return
		}
		w := g.width[widest]
		to := max(g.floor(widest), min(next, w-1), w-over)
		g.width[widest] = to
		over -= w - to
	}
}

// floor is what a column keeps at least.
func (g *grid) floor(column int) int {
	c := g.columns[column]
	if c.Min > 0 {
		return max(c.Min, Width(c.Name))
	}
	return max(least, Width(c.Name))
}

func (g *grid) lines() []Line {
	n := len(g.columns)
	if n == 0 {
		return nil
	}
	if g.o.Width > 0 {
		g.drop()
		g.fit()
	}
	last := n - 1
	for last > 0 && g.dropped[last] {
		last--
	}
	rows := len(g.cells) / n
	out := make([]Line, 0, rows)
	spans := make([]Cell, 0, rows*(2*n-1)) // one backing array: tables of ten thousand rows cost few allocations
	for r := range rows {
		start := len(spans)
		for i, m := range g.cells[r*n : (r+1)*n] {
			if !g.dropped[i] {
				spans = g.draw(spans, i, m, i == last)
			}
		}
		line := Line(spans[start:len(spans):len(spans)])
		if g.o.Width > 0 {
			line = line.Cut(g.o.Width)
		}
		out = append(out, line)
	}
	return out
}

// draw appends the spans of one cell and, unless it is the last of its line, of the gap behind it.
func (g *grid) draw(spans []Cell, column int, m measured, last bool) []Cell {
	w := g.width[column]
	if m.width > w {
		m.guide = Truncate(m.guide, w)
		m.Text = Truncate(m.Text, w-Width(m.guide))
		m.width = Width(m.guide) + Width(m.Text)
	}
	pad := w - m.width
	if m.guide != "" {
		spans = append(spans, Cell{Text: m.guide, Tone: Dim})
	}
	if pad > 0 && g.columns[column].Right {
		spans = append(spans, Cell{Text: spaces(pad)})
		pad = 0
	}
	spans = append(spans, m.Cell)
	if !last {
		spans = append(spans, Cell{Text: spaces(pad + gap)})
	}
	return spans
}

// Cut returns the line cut, in a copy, to at most width cells, the last an ellipsis where text was lost.
func (l Line) Cut(width int) Line {
	used := 0
	for i, c := range l {
		w := Width(c.Text)
		if used+w <= width {
			used += w
			continue
		}
		out := append(Line(nil), l[:i]...)
		if i > 0 && strings.HasSuffix(l[i-1].Text, ellipsis) && strings.TrimLeft(c.Text, " ") == "" {
			return out // what stands before the gap says already that something is missing
		}
		if used == width { // the ellipsis needs a cell of what already stands
			for len(out) > 0 {
				last := &out[len(out)-1]
				if lw := Width(last.Text); lw > 0 {
					last.Text = displaywidth.TruncateString(last.Text+ellipsis, lw, ellipsis)
					break
				}
				out = out[:len(out)-1]
			}
			return out
		}
		return append(out, Cell{Text: Truncate(c.Text, width-used), Tone: c.Tone})
	}
	return l
}
