package job

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestProgressJSON(t *testing.T) {
	at := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	for _, tc := range []struct {
		p    Progress
		want string
	}{
		{silent(), `{}`},
		{
			Progress{Step: 0, Total: 100, Percent: 0, Epoch: Unknown, Epochs: Unknown, Source: SourceMarked, Metrics: map[string]float64{"loss": 0.5}, Names: []string{"loss"}, At: at},
			`{"source":"ml","step":0,"total":100,"percent":0,"metrics":{"loss":0.5},"at":"2026-03-14T09:26:53Z"}`,
		},
		{
			Progress{Step: 3, Total: 9, Percent: 40, Epoch: 2, Epochs: 5, PerEpoch: true, Source: SourceKeras, Label: "x", Rate: 2.5, Remaining: 90 * time.Second, NotFinite: []string{"loss"}},
			`{"source":"keras","step":3,"total":9,"percent":40,"perEpoch":true,"epoch":2,"epochs":5,"rate":2.5,"remainingSeconds":90,"label":"x","notFinite":["loss"]}`,
		},
	} {
		text, err := json.Marshal(&tc.p)
		if err != nil || string(text) != tc.want {
			t.Errorf("got %s (%v), want %s", text, err, tc.want)
		}
		var back Progress
		if err := json.Unmarshal(text, &back); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tc.p, back, cmpopts.IgnoreUnexported(Progress{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("there and back (-want +got):\n%s", diff)
		}
	}
	bad := Progress{Step: math.NaN(), Total: math.Inf(1), Rate: math.NaN(), Percent: Unknown, Epoch: Unknown, Epochs: Unknown, Metrics: map[string]float64{"a": math.NaN(), "b": 1}}
	if text, err := json.Marshal(map[string]any{"p": &bad}); err != nil || string(text) != `{"p":{"metrics":{"b":1}}}` {
		t.Errorf("got %s (%v)", text, err)
	}
}
