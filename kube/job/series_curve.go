package job

import (
	"math"
	"slices"
)

// Point is one value of a metric, and where the training stood.
type Point struct {
	// Step counts over all epochs; Epoch is a fraction where it can be told. What is not known is NaN.
	Step, Epoch float64
	// At is when, in milliseconds since 1970; 0 when that is not known.
	At int64
	// Value is NaN for what was not finite.
	Value float64
}

// Curve is one metric as it changed.
type Curve struct {
	Name string
	// Points are in order. Where Seen is more, neighbours were merged into the least and the greatest of them.
	Points []Point
	// Seen counts the values printed, those that a restart took back left out.
	Seen int64
}

// against orders two points by what both know; 0 when that is nothing.
func (p Point) against(q Point) int {
	if !math.IsNaN(p.Step) && !math.IsNaN(q.Step) {
		return compare(p.Step, q.Step)
	}
	if !math.IsNaN(p.Epoch) && !math.IsNaN(q.Epoch) {
		return compare(p.Epoch, q.Epoch)
	}
	return 0
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// strays is how many points in a row must stand further back before that is a training that began again, rather than a
// line that looks like progress.
const strays = 2

// curve collects the points of a metric in bounded memory.
type curve struct {
	name string
	max  int
	seen int64
	// points are never written to once they are there, for they are handed out.
	points []Point
	// bucket are the newest points, of which two times stride are merged into two; stride 1 merges none.
	bucket []Point
	stride int
	// again are points further back than the last.
	again []Point
	// from is the pod that the last point came from.
	from string
	// ownStep and ownEpoch count the points whose line said so itself.
	ownStep, ownEpoch int64
	// stood counts the points that stand where the one before did.
	stood int64
}

// last is the newest point.
func (c *curve) last() (Point, bool) {
	for _, list := range [][]Point{c.bucket, c.points} {
		if n := len(list); n > 0 {
			return list[n-1], true
		}
	}
	return Point{}, false
}

// add takes in a point that pod from printed. Where the training went back it gives the last point before that.
func (c *curve) add(p Point, from string) (back Point, went bool) {
	other := c.from != "" && c.from != from
	c.from = from
	last, ok := c.last()
	switch {
	case !ok || p.against(last) > 0:
		c.again = nil
	case p.against(last) == 0:
		if len(c.again) > 0 { // it came this way before
			return last, c.back(p)
		}
		if p.Value == last.Value && (p.Step == last.Step || p.Epoch == last.Epoch) {
			return Point{}, false // a bar that was drawn again
		}
		c.stood++
	default:
		if n := len(c.again); n > 0 && p.against(c.again[n-1]) <= 0 {
			c.again = c.again[:0]
		}
		if len(c.again)+1 >= strays || other {
			return last, c.back(p)
		}
		c.again = append(c.again, p)
		return Point{}, false
	}
	c.push(p)
	return Point{}, false
}

// back goes on from the points further back, of which p is the newest.
func (c *curve) back(p Point) bool {
	again := append(c.again, p) //nolint:gocritic // c.again ends here
	c.cut(again[0])
	for _, p := range again {
		c.push(p)
	}
	c.again = nil
	return true
}

// cut drops all points from where p stands on: what was learnt since is lost.
func (c *curve) cut(p Point) {
	stays := func(list []Point) int {
		n := len(list)
		for n > 0 && list[n-1].against(p) >= 0 {
			n--
		}
		return n
	}
	n, before := stays(c.bucket), int64(len(c.points)+len(c.bucket))
	c.bucket = c.bucket[:n]
	if n == 0 {
		c.points = slices.Clone(c.points[:stays(c.points)])
	}
	if before > 0 {
		c.seen = c.seen * int64(len(c.points)+len(c.bucket)) / before
	}
}

func (c *curve) push(p Point) {
	c.seen++
	if c.stride <= 1 {
		c.points = append(c.points, p)
	} else if c.bucket = append(c.bucket, p); len(c.bucket) >= 2*c.stride {
		c.points = append(c.points, extremes(c.bucket)...)
		c.bucket = c.bucket[:0]
	}
	if len(c.points) < c.max {
		return
	}
	merged := make([]Point, 0, c.max+2)
	for four := range slices.Chunk(c.points, 4) {
		merged = append(merged, extremes(four)...)
	}
	c.points, c.stride = merged, max(2*c.stride, 2)
}

// extremes are the least and the greatest of some points, in order. Of points that are not finite one is left where
// there is no other.
func extremes(points []Point) []Point {
	lo, hi := -1, -1
	for i := range points {
		v := points[i].Value
		if math.IsNaN(v) {
			continue
		}
		if lo < 0 || v < points[lo].Value {
			lo = i
		}
		if hi < 0 || v > points[hi].Value {
			hi = i
		}
	}
	switch {
	case lo < 0:
		return points[:1]
	case lo == hi:
		return points[lo : lo+1]
	case lo < hi:
		return []Point{points[lo], points[hi]}
	}
	return []Point{points[hi], points[lo]}
}

// snapshot is the curve so far, which stays as it is while the curve grows.
func (c *curve) snapshot() Curve {
	points := c.points[:len(c.points):len(c.points)]
	if n := len(c.bucket); n > 0 {
		points = append(points, extremes(c.bucket)...) // a copy: there is no capacity left
		if last := c.bucket[n-1]; points[len(points)-1] != last {
			points = append(points, last)
		}
	}
	return Curve{Name: c.name, Points: points, Seen: c.seen}
}
