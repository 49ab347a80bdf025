package views

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// lossCurve falls with some noise from 2.5, over n steps of ten.
func lossCurve(n int, floor float64, seed uint64) (x, y []float64) {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same curve every time
	x, y = make([]float64, n), make([]float64, n)
	for i := range y {
		x[i] = float64(10 * i)
		y[i] = floor + 2.2*math.Exp(-4*float64(i)/float64(n)) + 0.08*r.NormFloat64()
	}
	return x, y
}

func trainingChart(n int) Chart {
	x, loss := lossCurve(n, 0.3, 1)
	ex, eval := lossCurve(12, 0.5, 2)
	for i := range ex {
		ex[i] *= float64(n) / 12
	}
	return Chart{
		Series: []Series{{Name: "loss", X: x, Y: loss, Tone: HueOf(0)}, {Name: "eval_loss", X: ex, Y: eval, Tone: HueOf(1)}},
		X:      Axis{Name: "step"},
	}
}

func latencyChart() Chart {
	n := 120
	x := make([]float64, n)
	series := []Series{{Name: "p50", Tone: Good}, {Name: "p95", Tone: Warn}, {Name: "p99", Tone: Bad}}
	for k := range series {
		r := rand.New(rand.NewPCG(uint64(k), 7)) //nolint:gosec // the same curve every time
		series[k].X, series[k].Y = x, make([]float64, n)
		for i := range n {
			x[i] = 1773480000 + 30*float64(i)
			series[k].Y[i] = 0.05*float64(k+1)*float64(k+1) + 0.01*r.Float64()*float64(k+1)
			if i >= 40 && i < 50 {
				series[k].Y[i] = math.NaN()
			}
		}
	}
	return Chart{
		Title: "▲ latency", Series: series, X: Axis{Unit: Clock}, Y: Axis{Unit: Seconds, Fixed: true, Min: 0, Max: 0.6},
		Guides: []Guide{{Name: "SLO 250ms", Value: 0.25, Tone: Warn}},
	}
}

func logChart() Chart {
	y := make([]float64, 400)
	for i := range y {
		y[i] = 10 * math.Exp(-float64(i)/40)
	}
	y[7] = -1
	return Chart{Series: []Series{{Name: "loss", Y: y, Tone: Accent}}, X: Axis{Name: "step"}, Y: Axis{Log: true}}
}

func TestChartGoldens(t *testing.T) {
	steps := make([]float64, 5)
	for i := range steps {
		steps[i] = float64(i + 1)
	}
	charts := map[string]Chart{
		"training": trainingChart(1000),
		"latency":  latencyChart(),
		"log":      logChart(),
		"empty":    {Title: "loss", X: Axis{Name: "step"}, Empty: "waiting for the first line"},
		"few":      {Series: []Series{{Name: "acc", X: steps, Y: []float64{0.5, 0.7, math.NaN(), 0.9, 0.95}, Tone: Accent}}, X: Axis{Name: "epoch"}, Y: Axis{Unit: Fraction}},
		"flat":     {Series: []Series{{Name: "lr", Y: []float64{0.001, 0.001, 0.001}}}},
	}
	ascii := trainingChart(1000)
	ascii.ASCII = true
	charts["ascii"] = ascii
	for name, c := range charts {
		for _, size := range [][2]int{{19, 4}, {20, 5}, {40, 10}, {80, 16}, {160, 30}} {
			if name != "training" && size[0] != 80 {
				continue
			}
			lines := c.Lines(size[0], size[1])
			if len(lines) > size[1] {
				t.Errorf("%s %v: %d lines", name, size, len(lines))
			}
			for _, l := range lines {
				if l.Width() > size[0] {
					t.Errorf("%s %v: a line takes %d cells: %s", name, size, l.Width(), l.Text())
				}
			}
			golden(t, fmt.Sprintf("chart-%s-%dx%d", name, size[0], size[1]), lines)
		}
	}
}

// TestChartOfAnySize: whatever the values and the size, the lines fit, and they are as many as asked for.
func TestChartOfAnySize(t *testing.T) {
	huge := []float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 0}
	odd := []float64{math.NaN(), math.Inf(1), 1, math.Inf(-1), math.NaN(), 5}
	charts := []Chart{
		{}, trainingChart(100), latencyChart(), logChart(),
		{Title: strings.Repeat("title", 60), Series: []Series{{Name: strings.Repeat("学", 90), Y: huge}, {Name: "\x1b[31mevil\n", Y: odd}}},
		{Series: []Series{{Y: []float64{math.NaN()}}, {X: []float64{math.NaN(), math.NaN()}, Y: []float64{1, 2}}, {X: []float64{1}, Y: []float64{1, 2, 3}}}},
		{Series: []Series{{X: []float64{5, 3, 9, 1}, Y: []float64{1, 2, 3, 4}}}, Guides: []Guide{{Value: math.NaN()}, {Name: "\x1b[0m", Value: 2}, {Value: math.Inf(1)}}},
		{Series: []Series{{Y: huge}}, X: Axis{Fixed: true, Min: 3, Max: 1}, Y: Axis{Fixed: true, Min: math.NaN(), Max: 2, Log: true}},
		{Series: []Series{{Y: []float64{1, 2, 3}}}, X: Axis{Fixed: true, Min: 1, Max: 1.5}, Y: Axis{Fixed: true, Min: 1.4, Max: 1.6, Unit: ByteSize}},
		{Series: []Series{{Y: []float64{1e-320, 2e-320}}}, X: Axis{Unit: Seconds}, Y: Axis{Log: true, Unit: Clock}},
	}
	for range 30 {
		charts = append(charts, Chart{Series: append(charts[4].Series, charts[1].Series...)})
	}
	for i, c := range charts {
		for _, ascii := range []bool{false, true} {
			c.ASCII = ascii
			for w := -1; w < 90; w += 1 + w/20 {
				for h := -1; h < 30; h++ {
					lines := c.Lines(w, h)
					if w >= chartMinWidth && h >= chartMinHeight && len(lines) != h || len(lines) > max(h, 0) {
						t.Fatalf("chart %d at %dx%d: %d lines", i, w, h, len(lines))
					}
					for _, l := range lines {
						if l.Width() > w || strings.ContainsAny(l.Text(), "\x1b\n") {
							t.Fatalf("chart %d at %dx%d: %q takes %d", i, w, h, l.Text(), l.Width())
						}
					}
				}
			}
		}
	}
}

// TestChartKeepsExtremes: one value among a hundred thousand is seen.
func TestChartKeepsExtremes(t *testing.T) {
	y := make([]float64, 100_000)
	y[54_321] = 1
	lines := Chart{Series: []Series{{Name: "x", Y: y}}, Y: Axis{Fixed: true, Min: 0, Max: 1}}.Lines(80, 12)
	top := lines[1].Text()
	if blank := strings.TrimRight(top[strings.Index(top, "┤")+3:], " "); blank == "" {
		t.Errorf("the peak is lost:\n%s", top)
	}
}

// TestChartTellsCurvesApartWithoutColour: each has its letter in the plot as well as in the legend.
func TestChartTellsCurvesApartWithoutColour(t *testing.T) {
	lines := trainingChart(1000).Lines(80, 16)
	plot := ""
	for _, l := range lines[1 : len(lines)-2] {
		_, row, _ := strings.Cut(l.Text(), "│")
		_, tick, _ := strings.Cut(l.Text(), "┤")
		plot += row + tick
	}
	for _, letter := range []string{"a", "b"} {
		if !strings.Contains(lines[0].Text(), letter+" ") || strings.Count(plot, letter) < 2 {
			t.Errorf("letter %s stands %d times in the plot; legend %q", letter, strings.Count(plot, letter), lines[0].Text())
		}
	}
}

// TestChartGap: nothing is drawn across what is missing.
func TestChartGap(t *testing.T) {
	y := []float64{1, 1, math.NaN(), math.NaN(), 1, 1}
	row := Chart{Series: []Series{{Name: "x", Y: y}}, Y: Axis{Fixed: true, Min: 0, Max: 2}}.Lines(40, 8)
	middle := ""
	for _, l := range row[1 : len(row)-1] {
		if strings.ContainsAny(l.Text(), "⠉⠒⠤⣀⠁⠂⠄⡀") {
			middle = l.Text()
		}
	}
	_, middle, _ = strings.Cut(middle, "┤")
	if fields := strings.Fields(middle); len(fields) != 2 {
		t.Errorf("the gap is not seen: %q", middle)
	}
}

// TestChartSpans: as few spans as tones change.
func TestChartSpans(t *testing.T) {
	x, y := lossCurve(5000, 0.3, 3)
	spans := 0
	for _, l := range (Chart{Series: []Series{{Name: "loss", X: x, Y: y, Tone: Accent}}}).Lines(200, 50) {
		spans += len(l)
	}
	if spans > 120 {
		t.Errorf("%d spans for 50 lines of one curve", spans)
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		axis   Axis
		lo, hi float64
		n      int
		want   string
	}{
		{Axis{}, 0, 1, 5, "0 0.2 0.4 0.6 0.8 1.0"},
		{Axis{}, 0.31, 2.47, 5, "0.5 1.0 1.5 2.0"},
		{Axis{Unit: Whole}, 0, 3, 9, "0 1 2 3"},
		{Axis{}, -3, 3, 4, "-2 0 2"},
		{Axis{}, 0, 123456, 5, "0 50k 100k"},
		{Axis{}, 2e-5, 1e-4, 4, "2e-5 4e-5 6e-5 8e-5 0.0001"},
		{Axis{}, 1.5e6, 2.5e6, 4, "1.5M 2.0M 2.5M"},
		{Axis{}, 7, 7, 4, "6.5 7.0 7.5"},
		{Axis{Unit: Fraction}, 0.5, 1, 5, "50% 60% 70% 80% 90% 100%"},
		{Axis{Unit: Fraction}, 0.991, 0.999, 4, "99.2% 99.4% 99.6% 99.8%"},
		{Axis{Unit: Seconds}, 0, 0.6, 4, "0 200ms 400ms 600ms"},
		{Axis{Unit: Seconds}, 0, 5400, 4, "0 30m 1h 1h30m"},
		{Axis{Unit: Seconds}, 0, 400000, 4, "0 2d 4d"},
		{Axis{Unit: Clock}, 1773480000, 1773483600, 6, "09:20 09:30 09:40 09:50 10:00 10:10 10:20"},
		{Axis{Unit: ByteSize}, 0, 80 << 30, 5, "0B 16GiB 32GiB 48GiB 64GiB 80GiB"},
		{Axis{Log: true}, 1e-5, 10, 4, "0.0001 0.01 1"},
		{Axis{Log: true}, 0.2, 30, 6, "0.2 0.5 1 2 5 10 20"},
		{Axis{Log: true}, 2.1, 2.9, 4, "2.2 2.4 2.6 2.8"},
		{Axis{Log: true}, -1, 1, 4, "-1.0 -0.5 0 0.5 1.0"},
		{Axis{}, math.Inf(1), math.Inf(-1), 4, "0 0.5 1.0"},
	} {
		s := newScale(tc.axis, tc.lo, tc.hi, tc.n)
		var got []string
		for _, v := range s.ticks {
			got = append(got, s.label(v))
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%+v %g..%g in %d: %s, want %s", tc.axis, tc.lo, tc.hi, tc.n, g, tc.want)
		}
	}
}

func TestSparkline(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		values []float64
		width  int
		want   string
	}{
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8}, 8, "▁▂▃▄▅▆▇█"},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8}, 4, "▁▃▆█"},
		{[]float64{1, nan, 8}, 9, "▁ █"},
		{[]float64{2, 2}, 5, "▅▅"},
		{[]float64{nan}, 5, " "},
		{nil, 5, ""},
		{[]float64{1}, 0, ""},
		{[]float64{math.Inf(1), 0, 1}, 3, " ▁█"},
	} {
		if got := Sparkline(tc.values, tc.width); got != tc.want {
			t.Errorf("%v in %d: %q, want %q", tc.values, tc.width, got, tc.want)
		}
	}
	if got := ASCIISparkline([]float64{1, 2, 3, 4, 5, 6, 7, 8}, 8); got != "_.,-=+*#" {
		t.Errorf("ASCII: %q", got)
	}
}

func benchmarkChart(points int) Chart {
	c := Chart{X: Axis{Name: "step"}, Title: "loss"}
	for k := range 3 {
		x, y := lossCurve(points, 0.2+0.3*float64(k), uint64(k))
		c.Series = append(c.Series, Series{Name: fmt.Sprintf("loss%d", k), X: x, Y: y, Tone: HueOf(k)})
	}
	return c
}

func BenchmarkChart(b *testing.B) {
	for _, points := range []int{1000, 10_000, 100_000} {
		c := benchmarkChart(points)
		b.Run(fmt.Sprintf("3x%d", points), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Lines(120, 30)
			}
		})
	}
}
