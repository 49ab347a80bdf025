package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// GateState is the outcome of one gate.
type GateState string

// The states of a gate.
const (
	// Pass lets the run go on.
	Pass GateState = "Pass"
	// Fail ends the run at this stage.
	Fail GateState = "Fail"
	// Waiting holds the run until a person approves.
	Waiting GateState = "Waiting"
)

// Verdict is one gate with its outcome.
type Verdict struct {
	Gate  Gate      `json:"gate"`
	State GateState `json:"state"`
	// Value is the metric's value; nil when there is none.
	Value *float64 `json:"value,omitempty"`
	// Reason says in one line why, such as "rmse 71000 is above max 60000".
	Reason string `json:"reason"`
}

// Evaluate judges the gates, in order, on a stage's result; nil is a stage that left none.
// An approval is always Waiting here: who approved is not part of a result.
func Evaluate(gates []Gate, r *Result) []Verdict {
	verdicts := make([]Verdict, len(gates))
	for i, g := range gates {
		verdicts[i] = evaluate(g, r)
	}
	return verdicts
}

func evaluate(g Gate, r *Result) Verdict {
	if g.Metric == "" {
		return Verdict{Gate: g, State: Waiting, Reason: "waits for approval: " + g.Approval}
	}
	v := Verdict{Gate: g, State: Fail}
	value, ok := metric(r, g.Metric)
	if !ok {
		v.Reason = fmt.Sprintf("no metric %s in the stage's result, %s", g.Metric, metricsThereAre(r))
		return v
	}
	v.Value = &value
	switch {
	case g.Min != nil && value < *g.Min:
		v.Reason = fmt.Sprintf("%s %s is below min %s", g.Metric, formatFloat(value), formatFloat(*g.Min))
	case g.Max != nil && value > *g.Max:
		v.Reason = fmt.Sprintf("%s %s is above max %s", g.Metric, formatFloat(value), formatFloat(*g.Max))
	default:
		v.State = Pass
		v.Reason = fmt.Sprintf("%s %s is within %s", g.Metric, formatFloat(value), bounds(g))
	}
	return v
}

func bounds(g Gate) string {
	var parts []string
	if g.Min != nil {
		parts = append(parts, "min "+formatFloat(*g.Min))
	}
	if g.Max != nil {
		parts = append(parts, "max "+formatFloat(*g.Max))
	}
	return strings.Join(parts, ", ")
}

func metric(r *Result, name string) (float64, bool) {
	if r == nil {
		return 0, false
	}
	v, ok := r.Metrics[name]
	return v, ok
}

func metricsThereAre(r *Result) string {
	if r == nil {
		return "which left no result in /dev/termination-log"
	}
	if len(r.Metrics) == 0 {
		return "which has no metrics"
	}
	return "which has " + strings.Join(slices.Sorted(maps.Keys(r.Metrics)), ", ")
}

// BestChild is the index of the winner of a sweep: the child with the least (or greatest) value of the metric.
// Children without a result (nil) or without the metric do not take part; of equals the first wins.
func BestChild(b *Best, results []*Result) (int, error) {
	if b == nil || (b.Min == "") == (b.Max == "") {
		return -1, errors.New("best names no metric: write best: {min: METRIC} or best: {max: METRIC}")
	}
	name := b.Min + b.Max
	best, found := -1, 0.0
	for i, r := range results {
		v, ok := metric(r, name)
		if !ok {
			continue
		}
		if best < 0 || (b.Min != "" && v < found) || (b.Max != "" && v > found) {
			best, found = i, v
		}
	}
	if best < 0 {
		seen := &Result{Metrics: map[string]float64{}}
		for _, r := range results {
			if r != nil {
				maps.Copy(seen.Metrics, r.Metrics)
			}
		}
		return -1, fmt.Errorf("no child of the sweep has the metric %s, by which best chooses: their result %s", name, strings.TrimPrefix(metricsThereAre(seen), "which "))
	}
	return best, nil
}
