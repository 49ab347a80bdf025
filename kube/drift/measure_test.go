package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

func near12(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(1, math.Abs(b)) }

// TestMeasuresOfKnownNumbers compares with numbers worked out by another program, in Python.
func TestMeasuresOfKnownNumbers(t *testing.T) {
	for _, c := range []struct {
		name        string
		p, q        []float64
		psi, js, ks float64
	}{
		{"equal", []float64{0.5, 0.5}, []float64{0.5, 0.5}, 0, 0, 0},
		// (0.5-0.9) ln(0.5/0.9) + (0.5-0.1) ln(0.5/0.1)
		{"two bins", []float64{0.5, 0.5}, []float64{0.9, 0.1}, 0.8788898309344879, 0.3831358798599423, 0.4},
		// Empty bins are smoothed for PSI and need nothing for JS: (0.5-0.0001) ln 5000, twice over.
		{"nothing in common", []float64{1, 0}, []float64{0, 1}, 18.41883867587797, 1, 1},
		{"an empty bin", []float64{0.5, 0.5, 0}, []float64{0.5, 0.25, 0.25}, 2.1285158932529735, 0.3945111687006673, 0.25},
		{
			"deciles", []float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1},
			[]float64{0.08, 0.1, 0.12, 0.14, 0.12, 0.1, 0.08, 0.08, 0.1, 0.08}, 0.03860323584174349, 0.08331699187543495, 0.06,
		},
	} {
		if got := PSI(c.p, c.q); !near12(got, c.psi) {
			t.Errorf("%s: PSI %.16g, want %.16g", c.name, got, c.psi)
		}
		if got := JS(c.p, c.q); !near12(got, c.js) {
			t.Errorf("%s: JS %.16g, want %.16g", c.name, got, c.js)
		}
		if got := KS(c.p, c.q); !near12(got, c.ks) {
			t.Errorf("%s: KS %.16g, want %.16g", c.name, got, c.ks)
		}
	}
}

// shares are random shares of n bins, some of them empty.
func shares(r *rand.Rand, n int, holes bool) []float64 {
	p := make([]float64, n)
	total := 0.0
	for i := range p {
		if holes && r.IntN(4) == 0 {
			continue
		}
		p[i] = 0.01 + r.Float64()
		total += p[i]
	}
	if total == 0 {
		p[0], total = 1, 1
	}
	for i := range p {
		p[i] /= total
	}
	return p
}

// TestMeasuresAgainstGonum compares with an implementation of others.
func TestMeasuresAgainstGonum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		n := 2 + r.IntN(40)
		p, q := shares(r, n, false), shares(r, n, false)
		if got, want := PSI(p, q), stat.KullbackLeibler(p, q)+stat.KullbackLeibler(q, p); !near12(got, want) {
			t.Fatalf("PSI %v, want %v", got, want)
		}
		p, q = shares(r, n, true), shares(r, n, true)
		if got, want := JS(p, q), math.Sqrt(stat.JensenShannon(p, q)/math.Ln2); math.Abs(got-want) > 1e-9 {
			t.Fatalf("JS %v, want %v", got, want)
		}
		at := make([]float64, n)
		for i := range at {
			at[i] = float64(i)
		}
		if got, want := KS(p, q), stat.KolmogorovSmirnov(at, p, at, q); math.Abs(got-want) > 1e-9 {
			t.Fatalf("KS %v, want %v", got, want)
		}
	}
}

// TestMeasuresHold checks what holds for any shares.
func TestMeasuresHold(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		n := 1 + r.IntN(40)
		p, q := shares(r, n, true), shares(r, n, true)
		psi, js, ks := PSI(p, q), JS(p, q), KS(p, q)
		equal := slices.Equal(p, q)
		switch {
		case psi < 0 || (psi == 0) != equal:
			t.Fatalf("PSI %v of %v and %v", psi, p, q)
		case js < 0 || js > 1 || ks < 0 || ks > 1:
			t.Fatalf("JS %v, KS %v of %v and %v", js, ks, p, q)
		case PSI(p, p) != 0 || JS(p, p) != 0 || KS(p, p) != 0:
			t.Fatalf("%v differs from itself", p)
		case !near12(psi, PSI(q, p)) || !near12(js, JS(q, p)) || !near12(ks, KS(q, p)):
			t.Fatalf("not symmetric for %v and %v", p, q)
		}
	}
}

// TestKSIsALowerBound compares bins with the samples that they are made of.
func TestKSIsALowerBound(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		shift, width := r.Float64()*2, 0.1+r.Float64()
		x, y := make([]float64, 300), make([]float64, 400)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		for i := range y {
			y[i] = shift + r.NormFloat64()
		}
		a, err := align(bin(x, -3, width, 7), bin(y, -3, width, 7))
		if err != nil {
			t.Fatal(err)
		}
		var row Row
		row.measure(a)
		slices.Sort(x)
		slices.Sort(y)
		if exact := stat.KolmogorovSmirnov(x, nil, y, nil); *row.KS > exact+1e-9 {
			t.Fatalf("KS of bins is %v, of the samples %v", *row.KS, exact)
		}
	}
}

// bin counts samples in bins of one width from lo on.
func bin(samples []float64, lo, width float64, bounds int) Distribution {
	var d Distribution
	for i := range bounds {
		d.Bounds = append(d.Bounds, lo+float64(i)*width)
	}
	d.Counts = make([]float64, bounds+1)
	for _, v := range samples {
		i, _ := slices.BinarySearch(d.Bounds, v)
		d.Counts[i]++
	}
	return d
}

// TestChance compares with the quantile of gonum, and with samples of one distribution.
func TestChance(t *testing.T) {
	for k := 3; k < 100; k++ {
		want := distuv.ChiSquared{K: float64(k)}.Quantile(0.95) * (1.0/500 + 1.0/2000)
		if got := Chance(500, 2000, k+1); math.Abs(got-want) > 0.01*want {
			t.Errorf("%d degrees: %v, want %v", k, got, want)
		}
	}
	for _, bins := range []int{2, 3} {
		want := distuv.ChiSquared{K: float64(bins - 1)}.Quantile(0.95) * 0.002
		if got := Chance(1000, 1000, bins); math.Abs(got-want) > 0.05*want {
			t.Errorf("%d bins: %v, want %v", bins, got, want)
		}
	}
	if Chance(0, 10, 5) != 0 || Chance(10, math.NaN(), 5) != 0 || Chance(10, 10, 1) != 0 {
		t.Error("nothing has no chance")
	}
	r := rand.New(rand.NewPCG(7, 8))
	draw := func(n int) []float64 {
		p := make([]float64, 10)
		for range n {
			p[r.IntN(10)] += 1 / float64(n)
		}
		return p
	}
	over := 0
	for range 2000 {
		if PSI(draw(1000), draw(3000)) > Chance(1000, 3000, 10) {
			over++
		}
	}
	if over < 60 || over > 140 {
		t.Errorf("exceeded %d times in 2000, want about 100", over)
	}
}
