package metrics

import (
	"encoding/json"
	"math"
	"testing"
)

func TestUsageOf(t *testing.T) {
	n := nan()
	for name, c := range map[string]struct {
		devices []Device
		want    string
	}{
		"nothing": {nil, `{"devices":0}`},
		"nothing is known of it": {
			[]Device{{UUID: "a", Busy: n, Mean: n, MemoryUsed: n, MemoryTotal: n, Power: n, Temperature: n, XID: n}}, `{"devices":1}`,
		},
		"sums, means and the hottest": {
			[]Device{
				{UUID: "a", Busy: 90, Mean: 50, MemoryUsed: 10, MemoryTotal: 80, Power: 300, Temperature: 60, XID: 0},
				{UUID: "b", Busy: 10, Mean: 30, MemoryUsed: 30, MemoryTotal: 80, Power: 100, Temperature: 70, XID: n},
			},
			`{"devices":2,"busy":50,"mean":40,"memoryUsed":40,"memoryTotal":160,"power":400,"temperature":70,"xid":0}`,
		},
		"what is not known is left out": {
			[]Device{
				{UUID: "a", Busy: 90, Mean: n, MemoryUsed: n, MemoryTotal: 80, Power: math.Inf(1), Temperature: n, XID: n},
				{UUID: "b", Busy: n, Mean: n, MemoryUsed: 30, MemoryTotal: n, Power: 100, Temperature: n, XID: 79},
				{UUID: "c", Busy: 30, Mean: n, MemoryUsed: n, MemoryTotal: n, Power: n, Temperature: 50, XID: 0},
			},
			`{"devices":3,"busy":60,"memoryUsed":30,"memoryTotal":80,"power":100,"temperature":50,"xid":79}`,
		},
		"a shared device is one": {
			[]Device{
				{UUID: "a", Pod: "p", Busy: 40, Mean: n, MemoryUsed: 10, MemoryTotal: 20, Power: 50, Temperature: 40, XID: n},
				{UUID: "a", Pod: "q", Busy: 20, Mean: n, MemoryUsed: 10, MemoryTotal: 20, Power: 50, Temperature: 40, XID: n},
			},
			`{"devices":1,"busy":30,"memoryUsed":10,"memoryTotal":20,"power":50,"temperature":40}`,
		},
		"parts have memory of their own and draw from one device": {
			[]Device{
				{UUID: "a", Part: "1", Busy: 40, Mean: n, MemoryUsed: 10, MemoryTotal: 20, Power: 210, Temperature: n, XID: n},
				{UUID: "a", Part: "2", Busy: 20, Mean: n, MemoryUsed: 5, MemoryTotal: 10, Power: 211, Temperature: n, XID: n},
			},
			`{"devices":2,"busy":30,"memoryUsed":15,"memoryTotal":30,"power":211}`,
		},
	} {
		got, err := json.Marshal(UsageOf(c.devices))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
	}
}

func TestByPodAndByNode(t *testing.T) {
	devices := []Device{{Namespace: "a", Pod: "p", Index: "0", Node: "n"}, {Index: "1", Node: "n"}, {Namespace: "b", Pod: "p", Index: "2"}, {Namespace: "a", Pod: "p", Index: "3"}}
	pods, nodes := ByPod(devices), ByNode(devices)
	if len(pods) != 2 || len(pods["a/p"]) != 2 || pods["a/p"][1].Index != "3" || pods["b/p"][0].Index != "2" {
		t.Errorf("%v", pods)
	}
	if len(nodes["n"]) != 2 || len(nodes[""]) != 2 {
		t.Errorf("%v", nodes)
	}
}
