package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var inf = math.Inf(1)

func TestFromBuckets(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name    string
		buckets []Bucket
		want    Distribution
		err     string
	}{
		{"in any order", []Bucket{{inf, 10}, {1, 2}, {5, 9}}, Distribution{Bounds: []float64{1, 5}, Counts: []float64{2, 7, 1}}, ""},
		{"rounded", []Bucket{{1, 5000.0001}, {2, 5000}, {inf, 5000}}, Distribution{Bounds: []float64{1, 2}, Counts: []float64{5000.0001, 0, 0}}, ""},
		{"nothing counted", []Bucket{{1, 0}, {inf, 0}}, Distribution{Bounds: []float64{1}, Counts: []float64{0, 0}}, ""},
		{"no end", []Bucket{{1, 2}, {5, 9}}, Distribution{}, "no bucket +Inf"},
		{"none", nil, Distribution{}, "no bucket +Inf"},
		{"one", []Bucket{{inf, 3}}, Distribution{}, "one bucket only"},
		{"a count of NaN", []Bucket{{1, nan}, {inf, 9}}, Distribution{}, "counts NaN"},
		{"an infinite count", []Bucket{{1, 2}, {inf, inf}}, Distribution{}, "counts +Inf"},
		{"below zero", []Bucket{{1, -2}, {inf, 3}}, Distribution{}, "counts -2"},
		{"a bound of NaN", []Bucket{{nan, 2}, {inf, 3}}, Distribution{}, "ends at NaN"},
		{"twice", []Bucket{{1, 2}, {1, 2}, {inf, 3}}, Distribution{}, "two buckets end at 1"},
		{"mixed layouts", []Bucket{{1, 5}, {2, 3}, {inf, 9}}, Distribution{}, "several layouts"},
	} {
		got, err := FromBuckets(c.buckets)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFromSpans(t *testing.T) {
	got, err := FromSpans([]Span{{-1, 0, 2}, {0, 1, 3}, {4, 8, 5}, {8, inf, 1}})
	want := Distribution{Bounds: []float64{-1, 0, 1, 4, 8}, Counts: []float64{0, 2, 3, 0, 5, 1}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, bad := range [][]Span{nil, {{1, 0, 2}}, {{0, 1, math.NaN()}}, {{math.NaN(), 1, 2}}, {{0, 1, -1}}} {
		if got, err := FromSpans(bad); err == nil {
			t.Errorf("%v gives %v", bad, got)
		}
	}
}

func TestAlign(t *testing.T) {
	fine := Distribution{Bounds: []float64{1, 2, 3, 4}, Counts: []float64{1, 1, 2, 3, 3}}
	for _, c := range []struct {
		name       string
		base, live Distribution
		want       string
		note, err  string
	}{
		{"the same bounds", fine, fine, "<= 1 10/10, 1 .. 2 10/10, 2 .. 3 20/20, 3 .. 4 30/30, > 4 30/30", "", ""},
		{
			"one has a bound less", fine, Distribution{Bounds: []float64{1, 2, 4}, Counts: []float64{5, 0, 5, 0}},
			"<= 1 10/50, 1 .. 2 10/0, 2 .. 4 50/50, > 4 30/0", "", "",
		},
		{
			"as float32 has it", fine, Distribution{Bounds: []float64{1, 2, 3.0000000001, 4}, Counts: []float64{5, 0, 5, 0, 0}},
			"<= 1 10/50, 1 .. 2 10/0, 2 .. 3 20/50, 3 .. 4 30/0, > 4 30/0", "", "",
		},
		{
			"each has bounds of its own", fine, Distribution{Bounds: []float64{1, 2.5, 3, 9}, Counts: []float64{5, 1, 1, 2, 1}},
			"<= 1 10/50, 1 .. 3 30/20, > 3 60/30", "compared in 3 bins", "",
		},
		{
			"empty bins may be cut", Distribution{Bounds: []float64{0, 10}, Counts: []float64{0, 10, 0}}, Distribution{Bounds: []float64{10, 20, 30}, Counts: []float64{0, 4, 4, 2}},
			"<= 0 0/0, 0 .. 10 100/0, 10 .. 20 0/40, 20 .. 30 0/40, > 30 0/20", "", "",
		},
		{"other bounds", fine, Distribution{Bounds: []float64{1.5, 2.5, 3.5, 4}, Counts: []float64{1, 1, 1, 1, 1}}, "", "", "share 1 of 4 bounds"},
		{"numbers and categories", fine, Distribution{Values: []string{"a"}, Counts: []float64{1}}, "", "", "the baseline has numbers, what is exported are categories"},
		{"nothing live", fine, Distribution{Bounds: []float64{1}, Counts: []float64{0, 0}}, "", "", "nothing was counted"},
		{"no baseline", Distribution{Bounds: []float64{1}, Counts: []float64{0, 0}}, fine, "", "", "the baseline counts nothing"},
		{
			"categories", Distribution{Values: []string{"b", "a", "gone"}, Counts: []float64{30, 60, 10}}, Distribution{Values: []string{"a", "new", "none", "b"}, Counts: []float64{1, 1, 0, 2}},
			"a 60/25, b 30/50, gone 10/0, new 0/25", "", "",
		},
	} {
		got, err := align(c.base, c.live)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var parts []string
		for _, b := range got.bins {
			parts = append(parts, b.Label()+" "+number(math.Round(100*b.Baseline))+"/"+number(math.Round(100*b.Live)))
		}
		if text := strings.Join(parts, ", "); text != c.want || !strings.Contains(got.note, c.note) || (c.note == "") != (got.note == "") {
			t.Errorf("%s: %s (%s)\nwant %s (%s)", c.name, text, got.note, c.want, c.note)
		}
	}
}

// TestRareCategoriesAreTakenTogether keeps what there is.
func TestRareCategoriesAreTakenTogether(t *testing.T) {
	var base, live Distribution
	for i := range 100 {
		base.Values, base.Counts = append(base.Values, string(rune('A'+i))), append(base.Counts, float64(i+1))
		live.Values, live.Counts = append(live.Values, string(rune('A'+i))), append(live.Counts, float64(100-i))
	}
	a, err := align(base, live)
	if err != nil || len(a.bins) != MaxBins || !strings.Contains(a.note, "69 rare categories") {
		t.Fatalf("%d bins, %q, %v", len(a.bins), a.note, err)
	}
	if p, q := sums(a.bins); math.Abs(p-1) > 1e-9 || math.Abs(q-1) > 1e-9 {
		t.Errorf("shares add up to %v and %v", p, q)
	}
}

func sums(bins []Bin) (p, q float64) {
	for _, b := range bins {
		p, q = p+b.Baseline, q+b.Live
	}
	return p, q
}

// TestRebinKeepsMass rebins any layouts: nothing is lost, nothing moves across a bound, and order plays no part.
func TestRebinKeepsMass(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func() Distribution {
		var d Distribution
		for v := range 60 {
			if r.IntN(2) == 0 {
				d.Bounds = append(d.Bounds, float64(v))
			}
		}
		d.Bounds = append(d.Bounds, 60)
		for range len(d.Bounds) + 1 {
			d.Counts = append(d.Counts, float64(r.IntN(3)*r.IntN(50)))
		}
		return d
	}
	below := func(d Distribution, v float64) float64 {
		n := 0.0
		for i, b := range d.Bounds {
			if b <= v {
				n += d.Counts[i]
			}
		}
		return n
	}
	compared := 0
	for range 2000 {
		x, y := random(), random()
		bounds := common(x, y)
		for _, d := range []Distribution{x, y} {
			counts := rebin(d, bounds)
			sum := 0.0
			for i, n := range counts {
				sum += n
				if i == len(bounds) {
					break
				}
				// What lies below a bound is what lay below it before: bins across it are empty.
				if want := below(d, bounds[i]); sum != want {
					t.Fatalf("%v below %v, want %v", sum, bounds[i], want)
				}
			}
			if sum != d.Total() {
				t.Fatalf("%v of %v are left", sum, d.Total())
			}
		}
		a, err := align(x, y)
		b, reversed := align(y, x)
		if (err == nil) != (reversed == nil) {
			t.Fatalf("%v, the other way %v", err, reversed)
		}
		if err != nil {
			continue
		}
		compared++
		if p, q := sums(a.bins); math.Abs(p-1) > 1e-9 || math.Abs(q-1) > 1e-9 || len(a.bins) > MaxBins {
			t.Fatalf("shares add up to %v and %v in %d bins", p, q, len(a.bins))
		}
		var one, two Row
		one.measure(a)
		two.measure(b)
		if math.Abs(*one.PSI-*two.PSI) > 1e-9 || *one.PSI < 0 || *one.JS > 1 {
			t.Fatalf("PSI %v, the other way %v; JS %v", *one.PSI, *two.PSI, *one.JS)
		}
		if same, err := align(x, x); err == nil {
			var row Row
			if row.measure(same); *row.PSI != 0 || *row.JS != 0 || *row.KS != 0 {
				t.Fatalf("differs from itself: %v", *row.PSI)
			}
		}
	}
	if compared < 500 {
		t.Errorf("only %d were compared", compared)
	}
}

func TestDistributionCheck(t *testing.T) {
	for _, bad := range []Distribution{
		{}, {Counts: []float64{1}}, {Bounds: []float64{1}, Counts: []float64{1}}, {Bounds: []float64{1}, Values: []string{"a"}, Counts: []float64{1, 2}},
		{Values: []string{"a", "b"}, Counts: []float64{1}}, {Values: []string{"a", "a"}, Counts: []float64{1, 1}},
		{Bounds: []float64{2, 1}, Counts: []float64{1, 1, 1}}, {Bounds: []float64{1, 1}, Counts: []float64{1, 1, 1}},
		{Bounds: []float64{math.NaN()}, Counts: []float64{1, 1}}, {Bounds: []float64{inf}, Counts: []float64{1, 1}},
		{Bounds: []float64{1}, Counts: []float64{1, math.NaN()}}, {Bounds: []float64{1}, Counts: []float64{1, -1}}, {Bounds: []float64{1}, Counts: []float64{inf, 1}},
		{Bounds: []float64{1}, Counts: []float64{math.MaxFloat64, math.MaxFloat64}},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	if !slices.Equal(inner(Distribution{Bounds: []float64{1, 2, 3}, Counts: []float64{0, 0, 1, 0}}), []float64{2, 3}) {
		t.Error("bounds between empty bins tell nothing")
	}
}
