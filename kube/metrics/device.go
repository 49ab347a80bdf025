package metrics

import (
	"encoding/json"
	"math"
	"time"
)

// Device is what an exporter says of one accelerator, or of one part of it, in the hands of one container. Numbers that
// are not exported are NaN. A device that several containers share appears once for each of them.
type Device struct {
	// Namespace, Pod and Container hold the device; all are empty when nobody does, or the exporter does not know.
	Namespace, Pod, Container string
	// Node is the name of the node as Prometheus labels it; it may be empty, and is not always the name in the cluster.
	Node string
	// Index is the device's number on its node, UUID its own name, Model such as NVIDIA H100 80GB HBM3.
	Index, UUID, Model string
	// Instance is the address of the exporter.
	Instance string
	// Part numbers the MIG instance or AMD partition of the device, Profile is its size such as 1g.10gb; both are empty
	// for a whole device.
	Part, Profile string
	// Busy is 0..100, the mean share of the last BusyWindow in which a kernel ran (DCGM_FI_DEV_GPU_UTIL,
	// gpu_gfx_activity), counted while the same container held the device.
	Busy float64
	// Mean is the same over Query.Window; NaN when that is 0.
	Mean float64
	// MemoryUsed and MemoryTotal are bytes.
	MemoryUsed, MemoryTotal float64
	// Power is watts, Temperature degrees Celsius. Each part of a device says those of the whole.
	Power, Temperature float64
	// XID is the last error that the driver reported (DCGM_FI_DEV_XID_ERRORS), 0 for none, NaN when not exported.
	XID float64
	// Throttle is why its clock is held down, as bits of nvmlClocksEventReasons (DCGM_FI_DEV_CLOCKS_EVENT_REASONS, which
	// dcgm-exporter exports only when told so); nil when not exported.
	Throttle *uint64
	// At is when the exporter was last asked; zero where Prometheus does not keep that.
	At time.Time
}

// Held says whether a pod is known to hold the device.
func (d *Device) Held() bool { return d.Pod != "" }

// ID tells devices and their parts apart, whoever holds them.
func (d *Device) ID() string {
	if d.UUID != "" {
		return d.UUID + "/" + d.Part
	}
	return d.Instance + "/" + d.Index + "/" + d.Part
}

// throttle is Throttled as JSON has it: left out when not exported, else a list that may be empty.
func (d *Device) throttle() *[]string {
	if d.Throttle == nil {
		return nil
	}
	list := append([]string{}, d.Throttled()...)
	return &list
}

// Throttled are the reasons for which the clock of a loaded device is held down: power cap, heat, power brake, hardware.
// That a device is idle, or its clock set by an administrator, is none.
func (d *Device) Throttled() []string {
	if d.Throttle == nil {
		return nil
	}
	var out []string
	for _, r := range []struct {
		bits uint64
		text string
	}{{0x04, "power cap"}, {0x20 | 0x40, "heat"}, {0x80, "power brake"}, {0x08, "hardware"}} {
		if *d.Throttle&r.bits != 0 {
			out = append(out, r.text)
		}
	}
	return out
}

// MarshalJSON leaves out what is not known: JSON has no NaN.
func (d Device) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Namespace   string    `json:"namespace,omitempty"`
		Pod         string    `json:"pod,omitempty"`
		Container   string    `json:"container,omitempty"`
		Node        string    `json:"node,omitempty"`
		Index       string    `json:"index,omitempty"`
		UUID        string    `json:"uuid,omitempty"`
		Model       string    `json:"model,omitempty"`
		Part        string    `json:"part,omitempty"`
		Profile     string    `json:"profile,omitempty"`
		Busy        *float64  `json:"busy,omitempty"`
		Mean        *float64  `json:"mean,omitempty"`
		MemoryUsed  *float64  `json:"memoryUsed,omitempty"`
		MemoryTotal *float64  `json:"memoryTotal,omitempty"`
		Power       *float64  `json:"power,omitempty"`
		Temperature *float64  `json:"temperature,omitempty"`
		XID         *float64  `json:"xid,omitempty"`
		Throttle    *[]string `json:"throttle,omitempty"`
		At          time.Time `json:"at,omitzero"`
	}{
		d.Namespace, d.Pod, d.Container, d.Node, d.Index, d.UUID, d.Model, d.Part, d.Profile,
		known(d.Busy), known(d.Mean), known(d.MemoryUsed), known(d.MemoryTotal), known(d.Power), known(d.Temperature), known(d.XID), d.throttle(), d.At,
	})
}

// known is nil for what is not a finite number.
func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
