package views

import (
	"math"
	"unicode/utf8"
)

// canvas is a plot of w by h cells, each of several dots.
type canvas struct {
	w, h int
	// dw and dh are the size in dots.
	dw, dh int
	ascii  bool
	// bits are the dots of each cell, tone the curve that painted it last, text what stands there instead.
	bits []uint8
	tone []Tone
	text []rune
}

func newCanvas(w, h int, ascii bool) *canvas {
	p := &canvas{w: w, h: h, dw: 2 * w, dh: 4 * h, ascii: ascii}
	if ascii {
		p.dw, p.dh = w, 2*h
	}
	p.bits, p.tone, p.text = make([]uint8, w*h), make([]Tone, w*h), make([]rune, w*h)
	return p
}

// brailleBits are the dots of a Braille pattern by row and column (Unicode, block U+2800).
var brailleBits = [4][2]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// fill paints the dots of one column from one row to another, as far as they are on the canvas.
func (p *canvas) fill(x, from, to int, tone Tone) {
	if from > to {
		from, to = to, from
	}
	for r := max(from, 0); r <= min(to, p.dh-1); r++ {
		var i int
		if p.ascii {
			i = r/2*p.w + x
			p.bits[i] |= 1 << (r % 2)
		} else {
			i = r/4*p.w + x/2
			p.bits[i] |= brailleBits[r%4][x%2]
		}
		p.tone[i] = tone
	}
}

// row is the row of dots of a value; it lies outside of the canvas when the value is outside of the scale.
func (p *canvas) row(v float64, y *scale) int {
	f := (1 - y.fraction(v)) * float64(p.dh-1)
	return int(math.Floor(min(max(f, -1e6), 1e6) + 0.5))
}

// segment paints column k of a curve and the way to it from the column before that has values, -1 for none.
func (p *canvas) segment(curve []column, before, k int, y *scale, tone Tone) {
	c := &curve[k]
	p.fill(k, p.row(c.hi, y), p.row(c.lo, y), tone)
	if before < 0 || c.gap {
		return
	}
	at, to := p.row(curve[before].last, y), p.row(c.first, y)
	step := float64(to-at) / float64(k-before)
	for d := before + 1; d <= k; d++ {
		next := to - int(math.Floor(step*float64(k-d)+0.5))
		from := at
		switch { // the dot where the last column ended is there already
		case next > at:
			from++
		case next < at:
			from--
		}
		p.fill(d, from, next, tone)
		at = next
	}
}

// guide draws a dashed line with its name where no curve is.
func (p *canvas) guide(g Guide, y *scale) {
	if f := y.fraction(g.Value); !(f >= 0 && f <= 1) {
		return
	}
	dash := '╌'
	if p.ascii {
		dash = '-'
	}
	start := y.row(g.Value, p.h) * p.w
	cells := p.bits[start : start+p.w]
	name := []rune(Sanitize(g.Name))
	if len(name) > 0 && len(name)+2 <= p.w && Width(string(name)) == len(name) && free(cells[1:len(name)+1]) {
		for i, r := range name {
			p.put(start+1+i, r, g.Tone)
		}
	}
	for i := range cells {
		if cells[i] == 0 && p.text[start+i] == 0 {
			p.put(start+i, dash, g.Tone)
		}
	}
}

func free(cells []uint8) bool {
	for _, c := range cells {
		if c != 0 {
			return false
		}
	}
	return true
}

func (p *canvas) put(i int, r rune, tone Tone) { p.text[i], p.tone[i] = r, tone }

// letters marks the i-th of n curves with its letter: at its end, and now and then before.
func (p *canvas) letters(curve []column, y *scale, i, n int, tone Tone) {
	per := p.dw / p.w
	mark := func(k int) bool {
		r := p.row(curve[k].last, y)
		if curve[k].n == 0 || r < 0 || r >= p.dh {
			return false
		}
		at := r/(p.dh/p.h)*p.w + k/per
		if t := p.text[at]; t >= 'a' && t <= 'z' {
			return false
		}
		p.put(at, rune(letterOf(i)), tone)
		return true
	}
	end := len(curve) - 1
	for end >= 0 && !mark(end) {
		end--
	}
	stride := max(p.dw/3, 16*per)
	for from := stride * (i + 1) / (n + 1); from < end-stride/2; from += stride {
		for k := from; k < min(from+stride/(n+1), end) && !mark(k); k++ { //nolint:revive // the look itself is the work
		}
	}
}

// note writes a text in the middle.
func (p *canvas) note(text string) {
	line := []rune(Truncate(text, p.w))
	if Width(string(line)) != len(line) {
		return
	}
	start := p.h/2*p.w + (p.w-len(line))/2
	for i, r := range line {
		p.put(start+i, r, Dim)
	}
}

// asciiDots are the characters for the two dots of a cell.
const asciiDots = " '.:"

// lines are the rows as runs of one tone; what is blank takes the tone of what stands before.
func (p *canvas) lines() []Line {
	out := make([]Line, p.h)
	buf := make([]byte, 0, 3*p.w)
	for y := range out {
		var line Line
		buf = buf[:0]
		tone := Plain
		blank := true
		for i := y * p.w; i < (y+1)*p.w; i++ {
			shown := p.bits[i] != 0 || p.text[i] != 0
			if shown && p.tone[i] != tone {
				if !blank {
					line = append(line, Cell{Text: string(buf), Tone: tone})
					buf = buf[:0]
				}
				tone = p.tone[i]
			}
			blank = blank && !shown
			switch {
			case p.text[i] != 0:
				buf = utf8.AppendRune(buf, p.text[i])
			case p.bits[i] == 0:
				buf = append(buf, ' ')
			case p.ascii:
				buf = append(buf, asciiDots[p.bits[i]])
			default: // U+2800 to U+28FF
				buf = append(buf, 0xe2, 0xa0|p.bits[i]>>6, 0x80|p.bits[i]&0x3f)
			}
		}
		if len(buf) > 0 {
			line = append(line, Cell{Text: string(buf), Tone: tone})
		}
		out[y] = line
	}
	return out
}
