package job

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func names(curves []Curve) string {
	var out []string
	for _, c := range curves {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

func curveOf(name string, values ...float64) Curve {
	c := Curve{Name: name}
	for i, v := range values {
		c.Points = append(c.Points, Point{Step: float64(i + 1), Epoch: math.NaN(), Value: v})
	}
	return c
}

func TestMatch(t *testing.T) {
	tr := &Training{Curves: []Curve{curveOf("loss"), curveOf("eval_loss"), curveOf("train/acc"), curveOf("memory[GB]")}}
	for patterns, want := range map[string]string{
		"": "loss eval_loss train/acc memory[GB]", "loss": "loss", "LOSS": "loss", "*loss": "loss eval_loss", "eval_* loss": "eval_loss loss", "*acc": "train/acc", "train*": "train/acc",
		"l?ss": "loss", "nope": "", "[": "", "memory[GB]": "", "*": "loss eval_loss train/acc memory[GB]",
	} {
		if got := names(tr.Match(strings.Fields(patterns))); got != want {
			t.Errorf("%q: %s, want %s", patterns, got, want)
		}
	}
}

func TestMainCurves(t *testing.T) {
	for want, curves := range map[string][]Curve{
		"loss eval_loss":    {curveOf("lr", 0.1), curveOf("loss", 2, 1), curveOf("acc", 0.5), curveOf("eval_loss", 3, 2), curveOf("loss_scale", 65536)},
		"loss":              {curveOf("loss", 2, 1), curveOf("kl_loss", 0.001, 0.002)},
		"accuracy":          {curveOf("lr", 0.1), curveOf("accuracy", 0.5), curveOf("f1", 0.5)},
		"lr":                {curveOf("lr", 0.1), curveOf("grad_norm", 1)},
		"":                  nil,
		"box_loss cls_loss": {curveOf("box_loss", 2.3), curveOf("cls_loss", 4.1), curveOf("mAP50", 0.8)},
		"loss val_loss":     {curveOf("loss", math.NaN()), curveOf("val_loss", 1)},
	} {
		tr := &Training{Curves: curves}
		if got := names(tr.Main()); got != want {
			t.Errorf("%s: the main ones are %q, want %q", names(curves), got, want)
		}
	}
}

func TestBest(t *testing.T) {
	for _, tc := range []struct {
		curve Curve
		at    float64
	}{
		{curveOf("val_loss", 3, math.NaN(), 1, 2), 3}, {curveOf("val_rmse", 3, 1, 2), 2}, {curveOf("val_acc", 0.1, 0.9, 0.5), 2}, {curveOf("x", math.NaN()), 0}, {curveOf("x"), 0},
	} {
		if best, ok := tc.curve.Best(); ok != (tc.at > 0) || best.Step != tc.at {
			t.Errorf("the best of %s is at %g", tc.curve.Name, best.Step)
		}
	}
}

func TestOver(t *testing.T) {
	c := Curve{Points: []Point{{Step: math.NaN(), Epoch: 0.5, At: 1000, Value: 1}, {Step: 2, Epoch: math.NaN(), Value: math.NaN()}, {Step: 3, Epoch: 1, At: 3000, Value: 3}}}
	for axis, want := range map[string]string{AxisStep: "[2 3] [NaN 3]", AxisEpoch: "[0.5 1] [1 3]", AxisTime: "[0 2] [1 3]"} {
		if x, y := c.Over(axis, 1000); fmt.Sprint(x, y) != want {
			t.Errorf("over %s: %v %v, want %s", axis, x, y, want)
		}
	}
}

func TestSmooth(t *testing.T) {
	// Of 1, 0, 0 at weight 0.5: 0.5/0.5, 0.25/0.75, 0.125/0.875.
	for _, tc := range []struct {
		values []float64
		weight float64
		want   string
	}{
		{[]float64{1, 0, 0}, 0.5, "[1 0.3333 0.1429]"}, {[]float64{3, 3, 3}, 0.9, "[3 3 3]"}, {[]float64{1, math.NaN(), 0}, 0.5, "[1 NaN 0.3333]"}, {[]float64{1, 2}, 0, "[1 2]"}, {nil, 0.5, "[]"},
	} {
		out := Smooth(tc.values, tc.weight)
		parts := make([]string, len(out))
		for i, v := range out {
			parts[i] = fmt.Sprintf("%.4g", v)
		}
		if got := "[" + strings.Join(parts, " ") + "]"; got != tc.want {
			t.Errorf("%v at %g: %s, want %s", tc.values, tc.weight, got, tc.want)
		}
	}
}

func TestNamesOfMetrics(t *testing.T) {
	for name, want := range map[string]string{
		"loss": "measure loss", "eval_loss": "measure loss evaluation", "val/acc": "measure evaluation", "lr": "", "loss_scale": "measure", "valid_0_rmse": "measure evaluation",
		"evaluation_time": "evaluation", "LanguageCrossEntropy": "measure loss", "actor/entropy": "measure", "test-rmse": "measure evaluation", "grad_norm": "", "latest": "",
	} {
		got := ""
		for _, kind := range []struct {
			is   bool
			word string
		}{{IsMeasure(name), " measure"}, {IsLoss(name), " loss"}, {IsEvaluation(name), " evaluation"}} {
			if kind.is {
				got += kind.word
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
