package job

import (
	"math"
	"path"
	"slices"
	"strings"
)

// Match are the curves whose names match one of the patterns, in their order: * stands for anything, ? for one character,
// and case does not count. Without patterns it is all.
func (t *Training) Match(patterns []string) []Curve {
	if len(patterns) == 0 {
		return t.Curves
	}
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "\x00") } // * stands for slashes too
	var out []Curve
	for _, pattern := range patterns {
		for _, c := range t.Curves {
			ok, err := path.Match(plain(pattern), plain(c.Name))
			if (ok || err != nil && strings.EqualFold(pattern, c.Name)) && !slices.ContainsFunc(out, func(have Curve) bool { return have.Name == c.Name }) {
				out = append(out, c)
			}
		}
	}
	return out
}

// alike is how many times as large a curve may be to be drawn beside another.
const alike = 50

// Main are the curves that tell best how the training goes, to be drawn together: the losses that share a scale, else
// the first measure of the model, else the first of all.
func (t *Training) Main() []Curve {
	var out []Curve
	scale := 0.0
	for _, c := range t.Curves {
		size := c.size()
		switch {
		case !IsLoss(c.Name):
		case len(out) == 0:
			out, scale = append(out, c), size
		case size <= scale*alike && size >= scale/alike || math.IsNaN(size) || math.IsNaN(scale):
			out = append(out, c)
		}
	}
	for _, fits := range []func(Curve) bool{func(c Curve) bool { return IsMeasure(c.Name) }, func(Curve) bool { return true }} {
		if i := slices.IndexFunc(t.Curves, fits); i >= 0 && len(out) == 0 {
			out = t.Curves[i : i+1]
		}
	}
	return out
}

// size is about how large the values are.
func (c *Curve) size() float64 {
	n := len(c.Points)
	var sizes []float64
	for i := range 15 {
		if v := math.Abs(c.Points[i*(n-1)/14].Value); !math.IsNaN(v) {
			sizes = append(sizes, v)
		}
	}
	if len(sizes) == 0 {
		return math.NaN()
	}
	slices.Sort(sizes)
	return sizes[len(sizes)/2]
}

// Over are the curve's values over an axis: steps, epochs, or seconds since from, which is in milliseconds since 1970. Points
// that have no place there are left out.
func (c *Curve) Over(axis string, from int64) (x, y []float64) {
	x, y = make([]float64, 0, len(c.Points)), make([]float64, 0, len(c.Points))
	for i := range c.Points {
		p := &c.Points[i]
		at := p.Step
		switch axis {
		case AxisEpoch:
			at = p.Epoch
		case AxisTime:
			if at = math.NaN(); p.At != 0 {
				at = float64(p.At-from) / 1000
			}
		}
		if !math.IsNaN(at) {
			x, y = append(x, at), append(y, p.Value)
		}
	}
	return x, y
}

// Best is the point with the least value of a loss or an error, with the greatest of another measure; false when there
// is none.
func (c *Curve) Best() (Point, bool) {
	less := IsLoss(c.Name)
	for _, word := range []string{"error", "rmse", "mae", "mse", "ppl", "perplexity"} {
		less = less || strings.Contains(strings.ToLower(c.Name), word)
	}
	best, ok := Point{}, false
	for _, p := range c.Points {
		if !math.IsNaN(p.Value) && (!ok || less && p.Value < best.Value || !less && p.Value > best.Value) {
			best, ok = p, true
		}
	}
	return best, ok
}

// Last is the last value, NaN when it was not finite or there is none.
func (c *Curve) Last() float64 {
	if n := len(c.Points); n > 0 {
		return c.Points[n-1].Value
	}
	return math.NaN()
}

// IsEvaluation says whether a name is that of a measure taken on data that is not trained on, such as val_loss.
func IsEvaluation(name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("_/- .", r) }), evaluates)
}

// Smooth is the exponential moving average that TensorBoard draws, debiased for its begin: weight, from 0 to 1, is how
// much of what was before stays. Values that are not finite stay as they are and count for nothing.
func Smooth(values []float64, weight float64) []float64 {
	out := make([]float64, len(values))
	last, n := 0.0, 0
	for i, v := range values {
		if !finite(v) {
			out[i] = v
			continue
		}
		last = last*weight + (1-weight)*v
		n++
		out[i] = v
		if debias := 1 - math.Pow(weight, float64(n)); debias > 0 {
			out[i] = last / debias
		}
	}
	return out
}
