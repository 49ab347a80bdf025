package views

import (
	"math"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Age is a duration as kubectl writes ages: 5s, 3m, 2d4h. A negative one, from clocks that differ, is 0s.
func Age(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// Percent writes a fraction, where 1 is the whole, as whole percent: 0.45 is 45%. It never rounds up to 100%
// or down to 0%, and NaN, infinite and negative fractions are Unknown.
func Percent(fraction float64) string {
	if math.IsNaN(fraction) || math.IsInf(fraction, 0) || fraction < 0 {
		return Unknown
	}
	p := math.Round(fraction * 100)
	switch {
	case p >= 100 && fraction < 1:
		p = 99
	case p == 0 && fraction > 0:
		p = 1
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// Bytes writes a size in binary units with at most one decimal: 512B, 1.5KiB, 20GiB. Negative sizes are Unknown.
func Bytes(n int64) string {
	if n < 0 {
		return Unknown
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + "B"
	}
	v, unit := float64(n)/1024, 0
	for v >= 1023.95 && unit < len("KMGTPE")-1 {
		v /= 1024
		unit++
	}
	return oneDecimal(v) + "KMGTPE"[unit:unit+1] + "iB"
}

// Count writes a number of things: exact below 100,000 (12345), then in thousands, millions, billions and
// trillions with at most one decimal (123.5k, 4.2M, 7B, 1.5T).
func Count(n int64) string {
	v := math.Abs(float64(n))
	if v < 100_000 {
		return strconv.FormatInt(n, 10)
	}
	v, unit := v/1000, 0
	for v >= 999.95 && unit < len("kMBT")-1 {
		v /= 1000
		unit++
	}
	sign := ""
	if n < 0 {
		sign = "-"
	}
	return sign + oneDecimal(v) + "kMBT"[unit:unit+1]
}

func oneDecimal(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// Float writes a metric with four significant digits and no trailing zeros: 0.5123, 47810, 0.00025.
// Digits before the point are never rounded away below 1e9: 1234567. An exponent is used only below 1e-4 and from
// 1e9, without padding: 2e-5, 1.5e12. NaN and the infinities are NaN, +Inf and -Inf.
func Float(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case a == 0:
		return "0"
	case a >= 1000 && a < 1e9:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	s := strconv.FormatFloat(v, 'e', 3, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	e, err := strconv.Atoi(exponent)
	if err != nil {
		return s
	}
	if e >= -4 && e < 9 {
		return trimZeros(strconv.FormatFloat(v, 'f', max(3-e, 0), 64))
	}
	return trimZeros(mantissa) + "e" + strconv.Itoa(e)
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

const eighths = "▏▎▍▌▋▊▉"

// Bar draws a fraction as a bar of exactly width cells, to an eighth of a cell: ████▌░░░.
// The fraction is clamped to 0..1; NaN draws an empty bar.
func Bar(fraction float64, width int) string {
	width = max(width, 0)
	units := barUnits(fraction, width*8)
	full, rest := units/8, units%8
	var b strings.Builder
	b.Grow(width * len("█"))
	b.WriteString(strings.Repeat("█", full))
	if rest > 0 {
		n := len("▏")
		b.WriteString(eighths[(rest-1)*n : rest*n])
		full++
	}
	b.WriteString(strings.Repeat("░", width-full))
	return b.String()
}

// barUnits is how many of n units are full: all only at 1, none only at 0.
func barUnits(fraction float64, n int) int {
	switch {
	case n == 0 || math.IsNaN(fraction) || fraction <= 0:
		return 0
	case fraction >= 1:
		return n
	}
	return min(max(int(math.Round(fraction*float64(n))), 1), n-1)
}
