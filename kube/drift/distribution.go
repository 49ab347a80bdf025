package drift

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Distribution is how often values were seen: numbers by bins, or categories by name. One of Bounds and Values is set.
type Distribution struct {
	// Bounds ascend and are finite. Bin i holds the values above Bounds[i-1] up to and with Bounds[i]; the first has no
	// lower end, the last no upper one, so that there is one bin more than bounds.
	Bounds []float64 `json:"bounds,omitempty"`
	// Values are categories, each once.
	Values []string `json:"values,omitempty"`
	// Counts are finite and not negative; those of Prometheus are estimates, and not whole numbers.
	Counts []float64 `json:"counts"`
}

// Categorical says that it counts categories.
func (d Distribution) Categorical() bool { return len(d.Values) > 0 }

// Total is how many values were counted.
func (d Distribution) Total() float64 {
	total := 0.0
	for _, n := range d.Counts {
		total += n
	}
	return total
}

// Check says what is wrong with it.
func (d Distribution) Check() error {
	switch want := len(d.Bounds) + 1; {
	case d.Categorical() && len(d.Bounds) > 0:
		return errors.New("it has bounds and values: give one of them")
	case d.Categorical() && len(d.Counts) != len(d.Values):
		return fmt.Errorf("it has %d counts for %d values", len(d.Counts), len(d.Values))
	case !d.Categorical() && len(d.Bounds) == 0:
		return errors.New("it has neither bounds nor values")
	case !d.Categorical() && len(d.Counts) != want:
		return fmt.Errorf("it has %d counts for %d bounds: %d are needed, with those below the first bound and above the last, or %d between them",
			len(d.Counts), len(d.Bounds), want, want-2)
	}
	for i, b := range d.Bounds {
		switch {
		case !finite(b):
			return fmt.Errorf("bound %d is no finite number", i+1)
		case i > 0 && b <= d.Bounds[i-1]:
			return fmt.Errorf("bounds must ascend: %v comes after %v", b, d.Bounds[i-1])
		}
	}
	seen := make(map[string]bool, len(d.Values))
	for _, v := range d.Values {
		if seen[v] {
			return fmt.Errorf("the value %q is there twice", v)
		}
		seen[v] = true
	}
	for i, n := range d.Counts {
		if !finite(n) || n < 0 {
			return fmt.Errorf("count %d is %v: counts are finite and not negative", i+1, n)
		}
	}
	if !finite(d.Total()) {
		return errors.New("its counts are too large to add")
	}
	return nil
}

// Bucket is a bucket of a Prometheus histogram: how many values were at most LE, +Inf for all.
type Bucket struct{ LE, Count float64 }

// FromBuckets makes a distribution of the cumulative buckets of a classic histogram, in any order. Sums of rates that
// fall a little from one bucket to the next, as rounding makes them, are taken for equal.
func FromBuckets(buckets []Bucket) (Distribution, error) {
	buckets = slices.Clone(buckets)
	for _, b := range buckets {
		switch {
		case math.IsNaN(b.LE) || math.IsInf(b.LE, -1):
			return Distribution{}, fmt.Errorf("a bucket ends at %v", b.LE)
		case !finite(b.Count) || b.Count < 0:
			return Distribution{}, fmt.Errorf("the bucket up to %v counts %v", b.LE, b.Count)
		}
	}
	slices.SortFunc(buckets, func(a, b Bucket) int {
		if a.LE < b.LE {
			return -1
		}
		if a.LE > b.LE {
			return 1
		}
		return 0
	})
	n := len(buckets)
	if n == 0 || !math.IsInf(buckets[n-1].LE, 1) {
		return Distribution{}, errors.New("it has no bucket +Inf")
	}
	if n == 1 {
		return Distribution{}, errors.New("it has one bucket only")
	}
	var d Distribution
	before, slack := 0.0, buckets[n-1].Count*1e-6
	for i, b := range buckets {
		if i > 0 && b.LE == buckets[i-1].LE {
			return Distribution{}, fmt.Errorf("two buckets end at %v", b.LE)
		}
		if b.Count < before-slack {
			return Distribution{}, fmt.Errorf("the bucket up to %s counts less than the one before it: histograms of several layouts were added up", number(b.LE))
		}
		if i < n-1 {
			d.Bounds = append(d.Bounds, b.LE)
		}
		d.Counts = append(d.Counts, max(b.Count-before, 0))
		before = max(b.Count, before)
	}
	return d, nil
}

// Span is a bucket of a native histogram: how many values were between two ends, which may be infinite.
type Span struct{ Lower, Upper, Count float64 }

// FromSpans makes a distribution of the buckets of a native histogram. What lies between them is known to be empty.
func FromSpans(spans []Span) (Distribution, error) {
	var d Distribution
	for _, s := range spans {
		if math.IsNaN(s.Lower) || math.IsNaN(s.Upper) || s.Lower > s.Upper || !finite(s.Count) || s.Count < 0 {
			return Distribution{}, fmt.Errorf("a bucket from %v to %v counts %v", s.Lower, s.Upper, s.Count)
		}
		for _, b := range []float64{s.Lower, s.Upper} {
			if finite(b) {
				d.Bounds = append(d.Bounds, b)
			}
		}
	}
	slices.Sort(d.Bounds)
	d.Bounds = slices.Compact(d.Bounds)
	if len(d.Bounds) == 0 {
		return Distribution{}, errors.New("it has no buckets")
	}
	d.Counts = make([]float64, len(d.Bounds)+1)
	for _, s := range spans {
		// A bucket is the bin that ends where it does.
		i, _ := slices.BinarySearch(d.Bounds, s.Upper)
		d.Counts[i] += s.Count
	}
	return d, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number is a number as people write it.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
