package drift

import "math"

// Smoothing is the share that an empty bin is given where a logarithm would have none.
const Smoothing = 1e-4

// PSI is the population stability index: the sum of (p-q) ln(p/q) over bins, which is Jeffreys' divergence in nats.
// Shares that are 0 on one side only count as Smoothing. It is 0 for equal shares, symmetric, and has no upper end.
func PSI(p, q []float64) float64 {
	sum := 0.0
	for i := range p {
		a, b := p[i], q[i]
		if a == b {
			continue
		}
		if a == 0 {
			a = Smoothing
		}
		if b == 0 {
			b = Smoothing
		}
		sum += (a - b) * math.Log(a/b)
	}
	return sum
}

// JS is the Jensen-Shannon distance: the square root of the divergence to base 2, from 0 for equal shares to 1 for shares
// of which no bin has both. Empty bins need no smoothing.
func JS(p, q []float64) float64 {
	sum := 0.0
	for i := range p {
		m := (p[i] + q[i]) / 2
		for _, v := range []float64{p[i], q[i]} {
			if v > 0 {
				sum += v * math.Log2(v/m) / 2
			}
		}
	}
	return math.Sqrt(min(max(sum, 0), 1))
}

// KS is the largest difference of the two cumulative shares at the ends of ordered bins. The statistic of Kolmogorov and
// Smirnov looks at all values, not only at these: it is at least that.
func KS(p, q []float64) float64 {
	largest, a, b := 0.0, 0.0, 0.0
	for i := range p {
		a += p[i]
		b += q[i]
		largest = max(largest, math.Abs(a-b))
	}
	return min(largest, 1)
}

// Chance is the PSI that two samples of n and m values of one and the same distribution exceed once in twenty times, in
// so many bins: (1/n + 1/m) times the 95 % quantile of chi-square with bins-1 degrees of freedom (B. Yurdakul,
// Statistical Properties of Population Stability Index, 2018), which is by the approximation of Wilson and Hilferty
// (1931), to 1 % from three degrees on.
func Chance(n, m float64, bins int) float64 {
	k := float64(bins - 1)
	if k < 1 || !(n > 0) || !(m > 0) {
		return 0
	}
	const z95 = 1.6448536269514722
	v := 2 / (9 * k)
	quantile := k * math.Pow(1-v+z95*math.Sqrt(v), 3)
	return (1/n + 1/m) * quantile
}
