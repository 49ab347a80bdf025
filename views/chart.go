package views

import "math"

// Chart is curves over a common x axis, as a value that can be drawn in any size. Drawing costs one pass over the
// points and then only what the size costs.
type Chart struct {
	// Title stands above the plot, before the legend; may be empty.
	Title string
	// Series are painted in order, the last on top.
	Series []Series
	X, Y   Axis
	Guides []Guide
	// Empty is what a plot without points says; "no data" by default.
	Empty string
	// ASCII draws without Braille and box characters.
	ASCII bool
}

// Series is one curve.
type Series struct {
	Name string
	// X ascends; nil counts 0, 1, 2. Where it is shorter than Y, so is the curve.
	X []float64
	// Y are the values. NaN and the infinities are gaps; on a logarithmic axis what is not positive is one too.
	Y    []float64
	Tone Tone
	// Quiet leaves the curve out of the legend and gives it no letter: it stands behind another, such as raw values
	// behind smoothed ones.
	Quiet bool
}

// Guide is a dashed line at a value that matters: a limit, an objective.
type Guide struct {
	Name  string
	Value float64
	Tone  Tone
}

// Axis says how one direction is scaled and labelled.
type Axis struct {
	// Name stands at the end of the x axis; the y axis does not show it.
	Name string
	Unit Unit
	// Log scales by decades; it needs a positive range.
	Log bool
	// Fixed takes the range from Min and Max rather than from the points.
	Fixed    bool
	Min, Max float64
}

const (
	// chartMinWidth and chartMinHeight are the least size at which a Chart has axes.
	chartMinWidth  = 20
	chartMinHeight = 5
	// chartGutter are the cells for the labels of the y axis: always the same, so that curves stand still while values
	// change, and charts above one another line up.
	chartGutter = 7
)

// HueOf is the tone of the i-th of several curves: it tells them apart and says nothing else.
func HueOf(i int) Tone { return [...]Tone{Accent, Hue1, Hue2, Hue3, Hue4}[i%5] }

// Lines draws the chart in exactly height lines of at most width cells. Below 20x5 cells it is a sparkline a series, in
// at most height lines.
func (c Chart) Lines(width, height int) []Line {
	if width < chartMinWidth || height < chartMinHeight {
		return c.sparklines(width, height)
	}
	head := c.legend(width, max(1, height/8))
	p := newCanvas(width-chartGutter-1, height-len(head)-1, c.ASCII)
	line := p.h > chartMinHeight // a line of its own for the x axis
	if line {
		p = newCanvas(p.w, p.h-1, c.ASCII)
	}
	x := c.xScale(p.w)
	curves := make([][]column, len(c.Series))
	for i := range c.Series {
		curves[i] = c.Series[i].columns(p.dw, &x, c.Y.Log)
	}
	y := c.yScale(curves, p.h)
	if !c.paint(p, curves, &y) { // nothing but a fixed range has meaning then
		if !c.X.Fixed {
			x.ticks = nil
		}
		if !c.Y.Fixed {
			y.ticks = nil
		}
	}
	out := append(make([]Line, 0, height), head...)
	labels, ticks := y.rows(p.h)
	for r, row := range p.lines() {
		edge := c.sign(ticks[r])
		out = append(out, append(Line{Toned(labels[r]+edge, Dim)}, row...))
	}
	marks, text := x.columns(p.w)
	if line {
		out = append(out, Line{Toned(spaces(chartGutter)+c.ruler(marks), Dim)})
	}
	return append(out, Line{Toned(spaces(chartGutter+1)+text, Dim)})
}

// paint draws the curves, then the guides where nothing stands, then the letters. It says whether there was a point.
func (c Chart) paint(p *canvas, curves [][]column, y *scale) bool {
	empty := true
	for i, curve := range curves {
		before := -1
		for k := range curve {
			if curve[k].n > 0 {
				p.segment(curve, before, k, y, c.Series[i].Tone)
				before, empty = k, false
			}
		}
	}
	for _, g := range c.Guides {
		p.guide(g, y)
	}
	if n := c.named(); n > 1 {
		for i, at := 0, 0; i < len(curves); i++ {
			if !c.Series[i].Quiet {
				p.letters(curves[i], y, at, n, c.Series[i].Tone)
				at++
			}
		}
	}
	if empty {
		p.note(orElse(Sanitize(c.Empty), "no data"))
	}
	return !empty
}

// named is how many series the legend has; from two on each has a letter, because colour alone tells nobody apart.
func (c Chart) named() int {
	n := 0
	for i := range c.Series {
		if !c.Series[i].Quiet {
			n++
		}
	}
	return n
}

// letterOf is the mark of the i-th curve of a legend.
func letterOf(i int) byte { return byte('a' + i%26) }

func (c Chart) xScale(cells int) scale {
	lo, hi := c.X.Min, c.X.Max
	if !c.X.Fixed {
		lo, hi = math.Inf(1), math.Inf(-1)
		for i := range c.Series {
			if a, b, ok := c.Series[i].span(); ok {
				lo, hi = min(lo, a), max(hi, b)
			}
		}
		if lo == hi {
			hi = lo + 1
		}
	}
	return newScale(c.X, lo, hi, max(2, cells/12))
}

func (c Chart) yScale(curves [][]column, rows int) scale {
	lo, hi := c.Y.Min, c.Y.Max
	if !c.Y.Fixed {
		lo, hi = math.Inf(1), math.Inf(-1)
		for _, curve := range curves {
			for i := range curve {
				if curve[i].n > 0 {
					lo, hi = min(lo, curve[i].lo), max(hi, curve[i].hi)
				}
			}
		}
		for _, g := range c.Guides { // a limit that cannot be seen warns nobody
			if lo <= hi && finite(g.Value) && (!c.Y.Log || g.Value > 0) {
				lo, hi = min(lo, g.Value), max(hi, g.Value)
			}
		}
	}
	return newScale(c.Y, lo, hi, max(2, (2*rows+2)/5))
}

// sign is the edge of the plot beside a row.
func (c Chart) sign(tick bool) string {
	switch {
	case c.ASCII && tick:
		return "+"
	case c.ASCII:
		return "|"
	case tick:
		return "┤"
	}
	return "│"
}

// ruler is the line of the x axis; marks are the cells with a tick.
func (c Chart) ruler(marks []bool) string {
	corner, dash, tick := "└", "─", "┬"
	if c.ASCII {
		corner, dash, tick = "+", "-", "+"
	}
	b := make([]byte, 0, 3*len(marks)+3)
	b = append(b, corner...)
	for _, m := range marks {
		if m {
			b = append(b, tick...)
		} else {
			b = append(b, dash...)
		}
	}
	return string(b)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
