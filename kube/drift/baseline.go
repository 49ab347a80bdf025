package drift

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"
)

// Limits of a baseline.
const (
	// BaselineVersion is the version of the document.
	BaselineVersion = 1
	// MaxBaseline is its size in bytes, as the registry keeps it.
	MaxBaseline = 64 << 10
	// MaxFeatures is how many features and predictions it may have together, MaxCells how many counts each.
	MaxFeatures = 1000
	MaxCells    = 500
	// MaxName is the length of a name or category in bytes.
	MaxName = 253
)

// Baseline are the distributions that a version of a model was trained with: what the registry keeps of them.
type Baseline struct {
	// Version is BaselineVersion.
	Version int `json:"version"`
	// Features are what the model is given, by name.
	Features map[string]Reference `json:"features,omitempty"`
	// Predictions are what it gave on data that it was not trained on, by the name of the output; a model with one output
	// has it under Prediction.
	Predictions map[string]Reference `json:"predictions,omitempty"`
}

// Prediction is the name of the only output of a model.
const Prediction = "prediction"

// Reference is one distribution, with limits of its own where the usual ones do not fit.
type Reference struct {
	Distribution
	Limits *Limits `json:"limits,omitempty"`
}

// DecodeBaseline reads a baseline. Unknown fields, names that are too long and distributions that contradict themselves
// are errors that name the feature. Counts of bins between the bounds alone, as numpy.histogram has them, are taken too:
// nothing was outside then.
func DecodeBaseline(data []byte) (*Baseline, error) {
	if len(data) > MaxBaseline {
		return nil, fmt.Errorf("the baseline has %d bytes: %d is the most", len(data), MaxBaseline)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("the baseline is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var b Baseline
	if err := dec.Decode(&b); err != nil {
		return nil, fmt.Errorf("the baseline is no document of this form: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the baseline has something behind its end")
	}
	switch n := len(b.Features) + len(b.Predictions); {
	case b.Version != BaselineVersion:
		return nil, fmt.Errorf("the baseline has version %d: this program knows version %d", b.Version, BaselineVersion)
	case n == 0:
		return nil, errors.New("the baseline has neither features nor predictions")
	case n > MaxFeatures:
		return nil, fmt.Errorf("the baseline has %d features: %d is the most", n, MaxFeatures)
	}
	for kind, set := range map[Kind]map[string]Reference{KindFeature: b.Features, KindPrediction: b.Predictions} {
		for name, r := range set {
			if err := r.complete(name); err != nil {
				return nil, fmt.Errorf("%s %q of the baseline: %w", kind, cut(name), err)
			}
			set[name] = r
		}
	}
	return &b, nil
}

// complete adds the outer bins where they are left out, and checks everything.
func (r *Reference) complete(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("its name has %d bytes: 1 to %d are allowed", len(name), MaxName)
	}
	if n := len(r.Bounds); n > 1 && len(r.Counts) == n-1 {
		r.Counts = slices.Concat([]float64{0}, r.Counts, []float64{0})
	}
	if n := len(r.Counts); n > MaxCells {
		return fmt.Errorf("it has %d counts: %d are the most", n, MaxCells)
	}
	for _, v := range r.Values {
		if len(v) > MaxName {
			return fmt.Errorf("a value has %d bytes: %d are the most", len(v), MaxName)
		}
	}
	if err := r.Check(); err != nil {
		return err
	}
	if !(r.Total() > 0) {
		return errors.New("it counts nothing")
	}
	if r.Limits != nil {
		return r.Limits.Check()
	}
	return nil
}

// Encode writes the document, which DecodeBaseline reads back.
func (b *Baseline) Encode() ([]byte, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("write the baseline: %w", err)
	}
	if _, err := DecodeBaseline(data); err != nil {
		return nil, err
	}
	return data, nil
}

// cut is enough of a name to know it by.
func cut(name string) string {
	if len(name) <= 60 {
		return name
	}
	end := 57
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + "..."
}

// Limits are where a distribution is said to have drifted.
type Limits struct {
	// Warn and Alert are values of PSI.
	Warn  float64 `json:"warn,omitempty"`
	Alert float64 `json:"alert,omitempty"`
	// JS is the Jensen-Shannon distance from which on there is a warning.
	JS float64 `json:"js,omitempty"`
}

// DefaultLimits are convention and not law: PSI 0.1 and 0.25 come from credit scoring, JS 0.1 is Evidently's.
func DefaultLimits() Limits { return Limits{Warn: 0.1, Alert: 0.25, JS: 0.1} }

// Check refuses limits that make no sense; 0 is one that is not set.
func (l Limits) Check() error {
	for _, v := range []float64{l.Warn, l.Alert, l.JS} {
		if !finite(v) || v < 0 {
			return fmt.Errorf("a limit is %v: limits are finite and not negative", v)
		}
	}
	switch {
	case l.JS > 1:
		return fmt.Errorf("the limit of JS is %v: it is at most 1", l.JS)
	case l.Warn > 0 && l.Alert > 0 && l.Warn > l.Alert:
		return fmt.Errorf("the limit to warn, %v, is above that to alert, %v", l.Warn, l.Alert)
	}
	return nil
}

// over are the limits l where they are set, else those of rest; an alert is never below a warning.
func (l Limits) over(rest Limits) Limits {
	pick := func(a, b float64) float64 {
		if a > 0 {
			return a
		}
		return b
	}
	out := Limits{Warn: pick(l.Warn, rest.Warn), Alert: pick(l.Alert, rest.Alert), JS: pick(l.JS, rest.JS)}
	switch {
	case out.Warn <= out.Alert:
	case l.Warn > 0:
		out.Alert = math.Max(out.Alert, out.Warn)
	default:
		out.Warn = out.Alert
	}
	return out
}
