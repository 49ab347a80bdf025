package drift

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = `{
  "version": 1,
  "features": {
    "area":  {"bounds": [50, 100, 150], "counts": [10, 40, 40, 10], "limits": {"alert": 0.4}},
    "numpy": {"bounds": [0, 1, 2], "counts": [3, 4]},
    "zone":  {"values": ["north", "south"], "counts": [70, 30]}
  },
  "predictions": {"prediction": {"bounds": [100000], "counts": [60, 40]}}
}`

func TestDecodeBaseline(t *testing.T) {
	got, err := DecodeBaseline([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	want := &Baseline{
		Version: 1,
		Features: map[string]Reference{
			"area":  {Distribution: Distribution{Bounds: []float64{50, 100, 150}, Counts: []float64{10, 40, 40, 10}}, Limits: &Limits{Alert: 0.4}},
			"numpy": {Distribution: Distribution{Bounds: []float64{0, 1, 2}, Counts: []float64{0, 3, 4, 0}}},
			"zone":  {Distribution: Distribution{Values: []string{"north", "south"}, Counts: []float64{70, 30}}},
		},
		Predictions: map[string]Reference{Prediction: {Distribution: Distribution{Bounds: []float64{100000}, Counts: []float64{60, 40}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	data, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeBaseline(data); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("written and read again: %v, %v", again, err)
	}
}

func TestDecodeBaselineRefuses(t *testing.T) {
	feature := func(text string) string { return `{"version": 1, "features": {"f": ` + text + `}}` }
	many := make([]string, MaxFeatures+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"f%d":{"bounds":[1],"counts":[1,1]}`, i)
	}
	for text, want := range map[string]string{
		"":                              "EOF",
		"null":                          "version 0",
		"[]":                            "no document of this form",
		`{"version": 2}`:                "version 2",
		`{"version": 1}`:                "neither features nor predictions",
		`{"version": 1, "feature": {}}`: `unknown field "feature"`,
		feature(`{"bounds": [1], "counts": [1, 1]}`) + "x": "behind its end",
		feature(`{}`): "neither bounds nor values",
		feature(`{"bounds": [1], "counts": [1, 1], "mean": 3}`):                                                     `unknown field "mean"`,
		feature(`{"bounds": [1, 2], "counts": [1, 1, 1, 1]}`):                                                       `feature "f" of the baseline: it has 4 counts for 2 bounds`,
		feature(`{"bounds": [2, 1], "counts": [1, 1, 1]}`):                                                          "must ascend",
		feature(`{"bounds": [1], "counts": [0, 0]}`):                                                                "counts nothing",
		feature(`{"bounds": [1], "counts": [-1, 2]}`):                                                               "not negative",
		feature(`{"bounds": [1e999], "counts": [1, 2]}`):                                                            "no document of this form",
		feature(`{"bounds": [NaN], "counts": [1, 2]}`):                                                              "no document of this form",
		feature(`{"values": ["a", "a"], "counts": [1, 2]}`):                                                         "there twice",
		feature(`{"values": ["a"], "bounds": [1], "counts": [1, 2]}`):                                               "give one of them",
		feature(`{"values": ["` + strings.Repeat("a", 300) + `"], "counts": [1]}`):                                  "a value has 300 bytes",
		feature(`{"bounds": [1], "counts": [1, 1], "limits": {"warn": 2, "alert": 1}}`):                             "above that to alert",
		`{"version": 1, "features": {"": {"bounds": [1], "counts": [1, 1]}}}`:                                       "its name has 0 bytes",
		`{"version": 1, "predictions": {"` + strings.Repeat("n", 254) + `": {"bounds": [1], "counts": [1, 1]}}}`:    "its name has 254 bytes",
		`{"version": 1, "features": {` + strings.Join(many, ",") + `}}`:                                             "1001 features",
		feature(`{"values": ["x"], "counts": [` + strings.TrimSuffix(strings.Repeat("1,", MaxCells+1), ",") + `]}`): "501 counts",
		strings.Repeat(" ", MaxBaseline+1):                                                                          "65537 bytes",
		"{\"version\": 1, \"features\": {\"\xff\": {\"bounds\": [1], \"counts\": [1, 1]}}}":                         "not UTF-8",
	} {
		if b, err := DecodeBaseline([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s gives %v and %v, want %q", text, b, err, want)
		}
	}
}

// FuzzDecodeBaseline: whatever is read can be compared with itself, and written and read again.
func FuzzDecodeBaseline(f *testing.F) {
	for _, seed := range []string{document, `{"version":1,"features":{"f":{"bounds":[-1e308,1e308],"counts":[0,1e308,0]}}}`, `{"version":1,"features":{"f":{"bounds":[1e-320,2e-320],"counts":[5]}}}`, "null", `{"version":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBaseline(data)
		if err != nil {
			return
		}
		for name, r := range b.Features {
			row := Judge(&r, &Observation{Kind: KindFeature, Name: name, Live: r.Distribution}, Options{MinSamples: 1e-300})
			if row.PSI != nil && *row.PSI != 0 || row.JS != nil && *row.JS > 1e-6 {
				t.Errorf("%q differs from itself: %+v", name, row)
			}
		}
		text, err := b.Encode()
		if err != nil {
			if len(data) > MaxBaseline/4 { // what is written may be longer than what was read
				return
			}
			t.Fatal(err)
		}
		if again, err := DecodeBaseline(text); err != nil || !reflect.DeepEqual(again, b) {
			t.Errorf("%v, read again %v (%v)", b, again, err)
		}
	})
}
