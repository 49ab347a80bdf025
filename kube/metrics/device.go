package metrics

import "time"

// Device is what an exporter says of one accelerator. Numbers that it does not export are NaN.
type Device struct {
	// Namespace, Pod and Container hold the device; all are empty when nobody does, or the exporter does not know.
	Namespace, Pod, Container string
	// Node is the name of the node as Prometheus labels it; it may be empty, and is not always the name in the cluster.
	Node string
	// Index is the device's number on its node, UUID its own name, Model such as NVIDIA H100 80GB HBM3.
	Index, UUID, Model string
	// Busy is 0..100, the share of the time in which a kernel ran (DCGM_FI_DEV_GPU_UTIL, gpu_gfx_activity).
	Busy float64
	// MemoryUsed and MemoryTotal are bytes.
	MemoryUsed, MemoryTotal float64
	// Power is watts, Temperature degrees Celsius.
	Power, Temperature float64
	// XID is the last error that the driver reported (DCGM_FI_DEV_XID_ERRORS), 0 for none, NaN when not exported.
	XID float64
	// At is the time of the newest sample.
	At time.Time
}
