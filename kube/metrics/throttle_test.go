package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestThrottled(t *testing.T) {
	for _, c := range []struct {
		bits *uint64
		want string
		json string
	}{
		{nil, "[]", ""},
		{new(uint64(0)), "[]", `"throttle":[]`},
		{new(uint64(0x1 | 0x2 | 0x100)), "[]", `"throttle":[]`},
		{new(uint64(0x4)), "[power cap]", `"throttle":["power cap"]`},
		{new(uint64(0x8 | 0x40 | 0x80)), "[heat power brake hardware]", `"throttle":["heat","power brake","hardware"]`},
	} {
		d := Device{Throttle: c.bits}
		if got := fmt.Sprint(d.Throttled()); got != c.want {
			t.Errorf("%v is %s, want %s", c.bits, got, c.want)
		}
		text, err := json.Marshal(d)
		if err != nil || strings.Contains(string(text), "throttle") != (c.json != "") || !strings.Contains(string(text), c.json) {
			t.Errorf("%s, want %s (%v)", text, c.json, err)
		}
	}
}

func TestThrottleOfAnExporter(t *testing.T) {
	for _, c := range []struct {
		metric string
		value  float64
		want   *uint64
	}{
		{"DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 0x40, new(uint64(0x40))}, {"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", 0, new(uint64(0))},
		{"DCGM_FI_DEV_CLOCKS_EVENT_REASONS", -1, nil}, {"DCGM_FI_DEV_CLOCKS_EVENT_REASONS", math.Inf(1), nil}, {"DCGM_FI_DEV_GPU_TEMP", 60, nil},
	} {
		var d decoder
		d.now(sample{labels: labels{"__name__": c.metric, "gpu": "0", "UUID": "GPU-0"}, value: c.value})
		for _, got := range d.devices(Query{}) {
			if (got.Throttle == nil) != (c.want == nil) || got.Throttle != nil && *got.Throttle != *c.want {
				t.Errorf("%s of %v: %v", c.metric, c.value, got.Throttle)
			}
		}
	}
}
