package pipeline

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A float stays a float and text stays readable, through the record of a run and into /ml/params.json.
func TestParamsKeepTheirTypes(t *testing.T) {
	in := Params{"float": 1.0, "int": int64(1), "list": []any{2.0, int64(2)}, "map": map[string]any{"x": -3.0}, "small": 1e-4, "big": 1e300, "text": "a < b"}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Params
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	const want = `{"big":1e+300,"float":1.0,"int":1,"list":[2.0,2],"map":{"x":-3.0},"small":0.0001,"text":"a < b"}`
	if got := text(in); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
