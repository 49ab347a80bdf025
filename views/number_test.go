package views

import (
	"math"
	"testing"
	"time"
)

func TestFloat(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.51234: "0.5123", 1: "1", 0.1: "0.1", 47810.4: "47810", 1234567: "1234567", 0.00025: "0.00025", 2e-5: "2e-5",
		123.456: "123.5", 99.99999: "100", -0.5: "-0.5", 1e9: "1e9", 1.5e12: "1.5e12", 0.00012345: "0.0001234", 1000: "1000",
		math.Inf(1): "+Inf", math.Inf(-1): "-Inf", 0.999999: "1", -1234.5: "-1234", 1e-300: "1e-300", 0.3: "0.3",
	} {
		if got := Float(v); got != want {
			t.Errorf("Float(%g) = %q, want %q", v, got, want)
		}
	}
	if got := Float(math.NaN()); got != "NaN" {
		t.Errorf("Float(NaN) = %q", got)
	}
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0%", 0.45: "45%", 1: "100%", 0.999: "99%", 0.001: "1%", 1.5: "150%", -1: Unknown, math.Inf(1): Unknown,
	} {
		if got := Percent(v); got != want {
			t.Errorf("Percent(%g) = %q, want %q", v, got, want)
		}
	}
}

func TestBytesAndCount(t *testing.T) {
	for v, want := range map[int64][2]string{
		0: {"0B", "0"}, 1023: {"1023B", "1023"}, 1024: {"1KiB", "1024"}, 1536: {"1.5KiB", "1536"}, 1<<20 - 1: {"1MiB", "1M"},
		20 << 30: {"20GiB", "21.5B"}, math.MaxInt64: {"8EiB", "9223372T"}, -5: {Unknown, "-5"}, 99_999: {"97.7KiB", "99999"}, 123_456: {"120.6KiB", "123.5k"},
	} {
		if got := [2]string{Bytes(v), Count(v)}; got != want {
			t.Errorf("%d is %q, want %q", v, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "0s", 5 * time.Second: "5s", 52 * time.Hour: "2d4h"} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tc := range []struct {
		fraction float64
		width    int
		bar      string
	}{
		{0, 4, "░░░░"},
		{0.5, 4, "██░░"},
		{0.5625, 8, "████▌░░░"},
		{1, 4, "████"},
		{0.9999, 4, "███▉"},
		{0.0001, 4, "▏░░░"},
		{2, 2, "██"},
		{-1, 2, "░░"},
		{math.NaN(), 2, "░░"},
		{0.5, 0, ""},
		{0.5, -3, ""},
		{0.5, 1, "▌"},
	} {
		if got := Bar(tc.fraction, tc.width); got != tc.bar {
			t.Errorf("Bar(%g, %d) = %q, want %q", tc.fraction, tc.width, got, tc.bar)
		}
	}
}
