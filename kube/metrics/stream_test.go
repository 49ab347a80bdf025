package metrics

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadVector(t *testing.T) {
	type read struct {
		Labels labels
		Value  float64
	}
	for name, c := range map[string]struct {
		text     string
		want     []read
		warnings []string
		err      string
	}{
		"nothing found": {text: answer()},
		"labels that need unescaping": {
			text: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a\"b":"c\\d","e":"\u00e9\n","":"x","f":""},"value":[1,"2e3"]}]}}`,
			want: []read{{labels{`a"b`: `c\d`, "e": "é\n", "": "x", "f": ""}, 2000}},
		},
		"spaces everywhere": {
			text: " {\n \"status\" : \"success\" , \"data\" : { \"resultType\" : \"vector\" , \"result\" : [ { \"metric\" : { \"a\" : \"b\" , \"c\" : \"d\" } , \"value\" : [ 1 , \"2\" ] } ] } }",
			want: []read{{labels{"a": "b", "c": "d"}, 2}},
		},
		"a series without labels, and one with null": {
			text: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"-Inf"]},{"metric":null,"value":[1,"1"]},{"value":[1,"+Inf"]}]}}`,
			want: []read{{labels{}, math.Inf(-1)}, {labels{}, 1}, {labels{}, math.Inf(1)}},
		},
		"labels of one series do not stay for the next": {
			text: answer(`{"a":"b"} 1`, `{"c":"d"} 2`),
			want: []read{{labels{"a": "b"}, 1}, {labels{"c": "d"}, 2}},
		},
		"fields of later releases": {
			text: `{"status":"success","stats":{"x":[1,{}]},"data":{"extra":[[]],"resultType":"vector","result":[]},"infos":["i"]}`,
		},
		"warnings": {
			text:     `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["one store is away"]}`,
			warnings: []string{"one store is away"},
		},
		"partial, as VictoriaMetrics says it": {
			text:     `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`,
			warnings: []string{"some storage nodes did not answer"},
		},
		"an error with 200": {text: `{"status":"error","errorType":"timeout","error":"query timed out"}`, err: "query timed out"},
		"a matrix":          {text: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, err: "no vector"},
		"no result":         {text: `{"status":"success"}`, err: "no vector"},
		"another API":       {text: `{"kind":"Status","apiVersion":"v1"}`, err: "no vector"},
		"cut off":           {text: answer(`{"a":"b"} 1`)[:90], err: "EOF"},
		"empty":             {text: "", err: "EOF"},
		"an array":          {text: "[]", err: "does not answer as Prometheus does"},
		"a web page":        {text: "<html>", err: "does not answer as Prometheus does"},
		"no number":         {text: answer(`{"a":"b"} many`), err: `"many" is no value`},
		"a histogram":       {text: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`, err: "is no value"},
		"labels as a list":  {text: `{"status":"success","data":{"resultType":"vector","result":[{"metric":["a","b"],"value":[1,"1"]}]}}`, err: "no text"},
		"labels as numbers": {text: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1,"b":"c"},"value":[1,"1"]}]}}`, err: "no text"},
		"results as text":   {text: `{"status":"success","data":{"resultType":"vector","result":"many"}}`, err: "does not answer as Prometheus does"},
		"deep nesting":      {text: `{"data":` + strings.Repeat("[", 20000), err: "does not answer as Prometheus does"},
	} {
		var got []read
		warnings, err := readVector(strings.NewReader(c.text), func(s sample) { got = append(got, read{maps.Clone(s.labels), s.value}) })
		switch {
		case c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		case c.err == "" && !cmp.Equal(got, c.want):
			t.Errorf("%s: %s", name, cmp.Diff(c.want, got))
		case !slices.Equal(warnings, c.warnings):
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

// Whatever a server sends, it is read or refused.
func FuzzReadVector(f *testing.F) {
	f.Add(answer(`{"a":"b"} 1`))
	f.Add(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a\"":"\\"},"value":[1,"NaN"]}]}}`)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = readVector(strings.NewReader(text), func(sample) {})
	})
}
