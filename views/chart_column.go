package views

import "math"

// column is what falls into one column of dots of a curve.
type column struct {
	// n counts the values; the others mean nothing when it is 0.
	n                   int
	lo, hi, first, last float64
	// gap says that something was missing before the first value.
	gap bool
}

// size is how many points the curve has.
func (s *Series) size() int {
	if s.X != nil {
		return min(len(s.X), len(s.Y))
	}
	return len(s.Y)
}

// span is the range of x, by its ends.
func (s *Series) span() (lo, hi float64, ok bool) {
	n := s.size()
	if n == 0 {
		return 0, 0, false
	}
	if s.X == nil {
		return 0, float64(n - 1), true
	}
	a, b := 0, n-1
	for a < n && !finite(s.X[a]) {
		a++
	}
	for b >= 0 && !finite(s.X[b]) {
		b--
	}
	if a > b {
		return 0, 0, false
	}
	return s.X[a], max(s.X[a], s.X[b]), true
}

// Last is the last value; NaN when there is none, or when it is one.
func (s *Series) Last() float64 {
	if n := s.size(); n > 0 {
		return s.Y[n-1]
	}
	return math.NaN()
}

// columns sorts the points into n columns, in one pass over Y and a few looks at X.
func (s *Series) columns(n int, x *scale, log bool) []column {
	cols := make([]column, n)
	least := math.Inf(-1)
	if log {
		least = 0
	}
	gap := false
	for i, size := s.after(0, x.lo), s.size(); i < size; {
		at := s.at(i)
		if !(at <= x.hi) {
			break
		}
		k := min(max(int(x.fraction(at)*float64(n-1)+0.5), 0), n-1)
		end := math.Nextafter(x.hi, math.Inf(1))
		if k < n-1 {
			end = x.value((float64(k) + 0.5) / float64(n-1))
		}
		j := max(s.after(i, end), i+1)
		gap = cols[k].add(s.Y[i:j], least, gap)
		i = j
	}
	return cols
}

// at is the x of point i.
func (s *Series) at(i int) float64 {
	if s.X == nil {
		return float64(i)
	}
	return s.X[i]
}

// after is the first point from i on whose x is at least v. It takes ever longer strides, and then halves.
func (s *Series) after(i int, v float64) int {
	size := s.size()
	low, stride := i, 1
	for low < size && s.at(low) < v {
		i = low + 1
		low += stride
		stride *= 2
	}
	high := min(low, size)
	for i < high {
		if m := i + (high-i)/2; s.at(m) < v {
			i = m + 1
		} else {
			high = m
		}
	}
	return i
}

// add takes in the values of a column, of which only those above least count. It gets and gives whether one was missing
// since the last.
func (c *column) add(values []float64, least float64, gap bool) bool {
	own := *c
	for _, v := range values {
		if !(v > least && v <= math.MaxFloat64) { // NaN too
			gap = true
			continue
		}
		if own.n == 0 {
			own = column{lo: v, hi: v, first: v, gap: gap}
		}
		own.n++
		own.last, gap = v, false
		if v < own.lo {
			own.lo = v
		}
		if v > own.hi {
			own.hi = v
		}
	}
	*c = own
	return gap
}
