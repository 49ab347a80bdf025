package views

import (
	"math"
	"strconv"
	"time"
)

// Unit is what the numbers of an axis are, which decides where its ticks stand and how they read.
type Unit uint8

// The units. Whole are things that are counted, Fraction is 1 for 100%, Seconds are durations, Clock is seconds since
// 1970 shown as times of day in UTC.
const (
	Number Unit = iota
	Whole
	Fraction
	Seconds
	Clock
	ByteSize
)

// scale maps values to 0..1 and knows the ticks between.
type scale struct {
	lo, hi float64
	// a and b are lo and hi, or their logarithms.
	a, b  float64
	log   bool
	unit  Unit
	name  string
	ticks []float64
	step  float64
}

// newScale scales lo to hi with about n ticks. A range that is empty or none becomes one.
func newScale(axis Axis, lo, hi float64, n int) scale {
	if !finite(lo) || !finite(hi) || lo > hi {
		lo, hi = 0, 1
	}
	lo, hi = max(lo, -math.MaxFloat64/4), min(hi, math.MaxFloat64/4)
	s := scale{log: axis.Log && lo > 0, unit: axis.Unit, name: Sanitize(axis.Name)}
	if hi-lo <= math.Abs(lo)*1e-12 {
		pad := math.Abs(lo) / 10
		if pad == 0 {
			pad = 1
		}
		lo, hi = lo-pad, hi+pad
	}
	s.lo, s.hi, s.a, s.b = lo, hi, lo, hi
	if s.log {
		s.a, s.b = math.Log10(lo), math.Log10(hi)
		s.decades(n)
		if len(s.ticks) >= 2 {
			return s
		}
	}
	s.linear((hi - lo) / float64(max(n, 1)))
	if len(s.ticks) < 2 { // a tick alone tells no scale
		s.linear(s.step / 2.6)
	}
	return s
}

// linear puts ticks on the multiples of the least nice step of at least v.
func (s *scale) linear(v float64) {
	s.step, s.ticks = niceStep(v, s.unit), nil
	first := math.Ceil(s.lo/s.step - 1e-9)
	for i := range 100 {
		v := (first + float64(i)) * s.step
		if v > s.hi+s.step*1e-9 {
			return
		}
		s.ticks = append(s.ticks, v)
	}
}

// decades puts ticks on powers of ten, or on 1, 2 and 5 times these where there are few, or on every so many powers
// where there are many.
func (s *scale) decades(n int) {
	from, to := int(math.Floor(s.a)), int(math.Ceil(s.b))
	every, digits := 1, []float64{1}
	if to-from > n {
		every = (to - from + n - 1) / max(n, 1)
	} else if 3*(s.b-s.a) <= float64(n+2) {
		digits = []float64{1, 2, 5}
	}
	for e := from; e <= to; e++ {
		if e%every != 0 {
			continue
		}
		for _, d := range digits {
			if v := d * math.Pow10(e); v >= s.lo*(1-1e-9) && v <= s.hi*(1+1e-9) {
				s.ticks = append(s.ticks, v)
			}
		}
	}
}

func (s *scale) fraction(v float64) float64 {
	if s.log {
		v = math.Log10(v)
	}
	return (v - s.a) / (s.b - s.a)
}

func (s *scale) value(f float64) float64 {
	v := s.a + f*(s.b-s.a)
	if s.log {
		return math.Pow(10, v)
	}
	return v
}

// clockSteps are the steps in which people read time, in seconds.
var clockSteps = [...]float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800}

// niceStep is the least step of at least v that people like to read: 1, 2 or 5 times a power of ten, and for times what
// clocks have.
func niceStep(v float64, unit Unit) float64 {
	switch {
	case unit == Clock || unit == Seconds && v > 1:
		for _, s := range clockSteps {
			if s >= v {
				return s
			}
		}
	case unit == ByteSize:
		return math.Exp2(math.Ceil(math.Log2(max(v, 1))))
	}
	if unit == Whole {
		v = max(v, 1)
	}
	if v <= math.SmallestNonzeroFloat64 {
		return math.SmallestNonzeroFloat64
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, d := range [...]float64{1, 2, 5} {
		if d*p >= v*(1-1e-9) {
			return d * p
		}
	}
	return 10 * p
}

// label writes a tick in at most chartGutter cells.
func (s *scale) label(v float64) string {
	switch s.unit {
	case Fraction:
		decimals := 0
		if s.step > 0 && s.step < 0.01 {
			decimals = min(int(math.Ceil(-math.Log10(s.step)-1e-9))-2, 3)
		}
		return strconv.FormatFloat(v*100, 'f', decimals, 64) + "%"
	case Seconds:
		return shortSeconds(v)
	case Clock:
		t := time.Unix(int64(math.Floor(v)), 0).UTC()
		switch {
		case s.step >= 86400:
			return t.Format("Jan 2")
		case s.step >= 60:
			return t.Format("15:04")
		}
		return t.Format("15:04:05")
	case ByteSize:
		if v >= 0 && v < math.MaxInt64 {
			return Bytes(int64(v))
		}
	}
	return shortNumber(v, s.step)
}

// shortNumber writes v with as many decimals as its step needs; step 0 is for numbers far apart.
func shortNumber(v, step float64) string {
	a := math.Abs(v)
	if a < step*1e-9 {
		return "0" // what is left of adding steps
	}
	if a >= 1e4 && a < 1e15 {
		for i, unit := range [...]string{"T", "G", "M", "k"} {
			if p := math.Pow10(12 - 3*i); a >= p {
				return shortNumber(v/p, step/p) + unit
			}
		}
	}
	if step > 0 && a < 1e4 {
		if d := int(math.Ceil(-math.Log10(step) - 1e-9)); d <= 4 {
			return strconv.FormatFloat(v, 'f', max(d, 0), 64)
		}
	}
	s := Float(v)
	if len(s) > chartGutter {
		s = strconv.FormatFloat(v, 'e', 0, 64)
	}
	return s
}

// shortSeconds writes a duration in at most two units: 90 is 1m30s, 0.25 is 250ms.
func shortSeconds(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a < 1e-3:
		return shortNumber(v*1e6, 0) + "us"
	case a < 1:
		return shortNumber(v*1e3, 0) + "ms"
	case a < 60:
		return shortNumber(v, 0) + "s"
	}
	two := func(big, small int64, b, s string) string {
		out := strconv.FormatInt(big, 10) + b
		if small != 0 {
			out += strconv.FormatInt(max(small, -small), 10) + s
		}
		return out
	}
	switch n := int64(min(a, 1e15)); {
	case a < 3600:
		return two(n/60, n%60, "m", "s")
	case a < 86400:
		return two(n/3600, n%3600/60, "h", "m")
	default:
		return two(n/86400, n%86400/3600, "d", "h")
	}
}

// rows are the labels beside h rows of cells, and which rows have one.
func (s *scale) rows(h int) ([]string, []bool) {
	labels, ticks := make([]string, h), make([]bool, h)
	for _, v := range s.ticks {
		if r := s.row(v, h); !ticks[r] {
			labels[r], ticks[r] = s.label(v), true
		}
	}
	for r, l := range labels {
		labels[r] = spaces(chartGutter-Width(l)) + Truncate(l, chartGutter)
	}
	return labels, ticks
}

// row is the row of cells where a value stands, from the top.
func (s *scale) row(v float64, h int) int { return dot(1-s.fraction(v), 4*h) / 4 }

// dot is where a fraction falls among n dots.
func dot(f float64, n int) int { return min(max(int(f*float64(n-1)+0.5), 0), n-1) }

// columns are the cells of w with a tick, and the line of labels below them with the axis' name at its end.
func (s *scale) columns(w int) ([]bool, string) {
	marks, line := make([]bool, w), make([]rune, 0, w)
	room := w
	if n := Width(s.name); n > 0 && n <= w/3 {
		room -= n + 1
	}
	for _, v := range s.ticks {
		at, text := dot(s.fraction(v), 2*w)/2, []rune(s.label(v))
		from := max(at-(len(text)-1)/2, 0)
		if over := from + len(text) - w; over > 0 {
			from -= over
		}
		switch {
		case from+len(text) > room && room < w, from < 0, len(line) > 0 && from < len(line)+2:
			continue
		}
		for len(line) < from {
			line = append(line, ' ')
		}
		line = append(line, text...)
		marks[at] = true
	}
	if room < w {
		return marks, string(line) + spaces(w-len(line)-Width(s.name)) + s.name
	}
	return marks, string(line)
}
