package cluster

// exporterJob is a job of Prometheus that asks the metric exporters of simulated nodes.
type exporterJob struct {
	Name        string
	Port        int
	HonorLabels bool
	Nodes       string // label selector
}

// exporterJobs are the vendors', with what their charts set.
func exporterJobs() []exporterJob {
	return []exporterJob{
		{"dcgm-exporter", 9400, false, "nvidia.com/gpu.present=true"},
		{"amd-device-metrics-exporter", 5000, true, "amd.com/gpu.product-name"},
	}
}
