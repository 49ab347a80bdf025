package drift

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxBins is how many bins are compared at most. Neighbours with the least in them are merged until no more are left:
// the more bins, the larger the index that chance alone makes.
const MaxBins = 32

// Others is the bin of the rarest categories where there are more than MaxBins.
const Others = "(others)"

// Bin is a bin of two distributions, with the share of each in 0..1.
type Bin struct {
	// Value is a category; for numbers it is empty, and the bin holds what is above Above and at most UpTo, nil for no end.
	Value string   `json:"value,omitempty"`
	Above *float64 `json:"above,omitempty"`
	UpTo  *float64 `json:"upTo,omitempty"`
	// Baseline and Live are shares.
	Baseline float64 `json:"baseline"`
	Live     float64 `json:"live"`
}

// Label names the bin: a category, "<= 10", "10 .. 20" or "> 20".
func (b Bin) Label() string {
	switch {
	case b.Above != nil && b.UpTo != nil:
		return number(*b.Above) + " .. " + number(*b.UpTo)
	case b.Above != nil:
		return "> " + number(*b.Above)
	case b.UpTo != nil:
		return "<= " + number(*b.UpTo)
	}
	return b.Value
}

// aligned are two distributions in the same bins.
type aligned struct {
	bins []Bin
	// ordered says that the bins are those of numbers.
	ordered bool
	// note says what was done to make them the same, and merged that the bins of neither are left.
	note   string
	merged bool
}

// align brings two distributions into the same bins, without inventing anything: bins are only merged, and split only
// where they are empty.
func align(base, live Distribution) (aligned, error) {
	a, b := base.Total(), live.Total()
	switch {
	case !(a > 0):
		return aligned{}, errors.New("the baseline counts nothing")
	case !(b > 0):
		return aligned{}, errors.New("nothing was counted")
	case base.Categorical() != live.Categorical():
		kind := map[bool]string{true: "categories", false: "numbers"}
		return aligned{}, fmt.Errorf("the baseline has %s, what is exported are %s", kind[base.Categorical()], kind[live.Categorical()])
	case base.Categorical():
		return categories(base, live), nil
	}
	bounds := common(base, live)
	if fewest := min(len(inner(base)), len(inner(live))); len(bounds) < 1 || len(bounds)*2 < fewest {
		return aligned{}, fmt.Errorf("its buckets share %d of %d bounds with the baseline's: too few to compare", len(bounds), fewest)
	}
	p, q := rebin(base, bounds), rebin(live, bounds)
	out := aligned{ordered: true}
	if lost := min(len(base.Bounds), len(live.Bounds)) - len(bounds); lost > 0 {
		out.merged = true
		out.note = fmt.Sprintf("bucket layouts differ: compared in %d bins that both have", len(bounds)+1)
	}
	for i := range p {
		bin := Bin{Baseline: p[i] / a, Live: q[i] / b}
		if i > 0 {
			bin.Above = &bounds[i-1]
		}
		if i < len(bounds) {
			bin.UpTo = &bounds[i]
		}
		out.bins = append(out.bins, bin)
	}
	for len(out.bins) > MaxBins {
		out.bins = mergeLeast(out.bins)
	}
	return out, nil
}

// inner are the bounds that tell something: those with anything on at least one side.
func inner(d Distribution) []float64 {
	var out []float64
	for i, b := range d.Bounds {
		if d.Counts[i] > 0 || d.Counts[i+1] > 0 {
			out = append(out, b)
		}
	}
	return out
}

// near is how far two bounds may be apart, as a fraction, and still be the same: float32 has seven digits.
const near = 1e-6

func same(a, b float64) bool {
	return a == b || math.Abs(a-b) <= near*math.Max(math.Abs(a), math.Abs(b))
}

// common are the bounds at which both can be cut: where a bound of one is a bound of the other too, or falls into an
// empty bin of it.
func common(a, b Distribution) []float64 {
	all := slices.Concat(a.Bounds, b.Bounds)
	slices.Sort(all)
	var out []float64
	for _, v := range all {
		if len(out) > 0 && same(out[len(out)-1], v) {
			continue
		}
		if cuts(a, v) && cuts(b, v) {
			out = append(out, v)
		}
	}
	return out
}

// cuts says whether it is known how much lies below v.
func cuts(d Distribution, v float64) bool {
	i, exact := slices.BinarySearch(d.Bounds, v)
	return exact || i > 0 && same(d.Bounds[i-1], v) || i < len(d.Bounds) && same(d.Bounds[i], v) || d.Counts[i] == 0
}

// rebin adds the counts up between bounds at which d can be cut.
func rebin(d Distribution, bounds []float64) []float64 {
	out := make([]float64, len(bounds)+1)
	at := 0
	for i, n := range d.Counts {
		// The bin ends at its bound, or goes on without end. An empty one adds nothing wherever it is.
		if i < len(d.Bounds) {
			for at < len(bounds) && d.Bounds[i] > bounds[at] && !same(d.Bounds[i], bounds[at]) {
				at++
			}
		} else {
			at = len(bounds)
		}
		out[at] += n
	}
	return out
}

// categories puts the shares of each category side by side, the most frequent of the baseline first.
func categories(base, live Distribution) aligned {
	a, b := base.Total(), live.Total()
	at := map[string]int{}
	var out aligned
	bin := func(v string) *Bin {
		i, ok := at[v]
		if !ok {
			i = len(out.bins)
			at[v] = i
			out.bins = append(out.bins, Bin{Value: v})
		}
		return &out.bins[i]
	}
	for i, v := range base.Values {
		bin(v).Baseline = base.Counts[i] / a
	}
	for i, v := range live.Values {
		bin(v).Live = live.Counts[i] / b
	}
	out.bins = slices.DeleteFunc(out.bins, func(b Bin) bool { return b.Baseline == 0 && b.Live == 0 })
	slices.SortStableFunc(out.bins, func(a, b Bin) int {
		return cmp.Or(cmp.Compare(b.Baseline+b.Live, a.Baseline+a.Live), cmp.Compare(a.Value, b.Value))
	})
	if len(out.bins) > MaxBins {
		rest := Bin{Value: Others}
		for _, b := range out.bins[MaxBins-1:] {
			rest.Baseline += b.Baseline
			rest.Live += b.Live
		}
		out.note = fmt.Sprintf("%d rare categories are taken together", len(out.bins)-MaxBins+1)
		out.bins = append(out.bins[:MaxBins-1], rest)
	}
	slices.SortStableFunc(out.bins, func(a, b Bin) int { return cmp.Compare(b.Baseline, a.Baseline) })
	return out
}

// merge makes one bin of two neighbours.
func merge(a, b Bin) Bin {
	return Bin{Above: a.Above, UpTo: b.UpTo, Baseline: a.Baseline + b.Baseline, Live: a.Live + b.Live}
}

// mergeLeast merges the two neighbours that hold the least together.
func mergeLeast(bins []Bin) []Bin {
	least, at := math.Inf(1), 0
	for i := 1; i < len(bins); i++ {
		if m := merge(bins[i-1], bins[i]); m.Baseline+m.Live < least {
			least, at = m.Baseline+m.Live, i
		}
	}
	bins[at-1] = merge(bins[at-1], bins[at])
	return slices.Delete(bins, at, at+1)
}
