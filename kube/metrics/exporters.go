package metrics

import "strings"

// field is what a series says of a device.
type field int

const (
	busy field = iota
	memoryUsed
	// memoryRest is memory that is not used, or not usable; with memoryUsed it makes the total of exporters that name none.
	memoryRest
	memoryTotal
	power
	temperature
	xid
	throttle
	fields
)

// series is a metric of an exporter and what it says in our units: percent, bytes, watts, degrees Celsius.
type series struct {
	metric string
	field  field
	factor float64
	// adds says that several series make up the field. Otherwise the first one in the table that is exported is it.
	adds bool
}

const mib = 1 << 20

// exported is the table of what is understood.
//
// NVIDIA dcgm-exporter, etc/default-counters.csv (on MIG devices there is no GPU_UTIL); AMD device-metrics-exporter,
// docs/configuration/metricslist.md, with or without the prefix amd_, its MB being MiB; Intel Gaudi,
// docs.habana.ai Prometheus_Metric_Exporter; AWS neuron-monitor-prometheus, one device per NeuronCore; Huawei Ascend
// NPU-Exporter, its MB being MiB.
func exported() []series {
	return []series{
		{metric: "DCGM_FI_DEV_GPU_UTIL", field: busy, factor: 1},
		{metric: "DCGM_FI_PROF_GR_ENGINE_ACTIVE", field: busy, factor: 100},
		{metric: "DCGM_FI_DEV_FB_USED", field: memoryUsed, factor: mib},
		{metric: "DCGM_FI_DEV_FB_FREE", field: memoryRest, factor: mib, adds: true},
		{metric: "DCGM_FI_DEV_FB_RESERVED", field: memoryRest, factor: mib, adds: true},
		{metric: "DCGM_FI_DEV_FB_TOTAL", field: memoryTotal, factor: mib},
		{metric: "DCGM_FI_DEV_POWER_USAGE", field: power, factor: 1},
		{metric: "DCGM_FI_DEV_GPU_TEMP", field: temperature, factor: 1},
		{metric: "DCGM_FI_DEV_XID_ERRORS", field: xid, factor: 1},
		{metric: "DCGM_FI_DEV_CLOCKS_EVENT_REASONS", field: throttle, factor: 1},
		{metric: "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", field: throttle, factor: 1}, // its name before DCGM 3.3

		{metric: "gpu_gfx_activity", field: busy, factor: 1},
		{metric: "gpu_used_vram", field: memoryUsed, factor: mib},
		{metric: "gpu_free_vram", field: memoryRest, factor: mib, adds: true},
		{metric: "gpu_total_vram", field: memoryTotal, factor: mib},
		{metric: "gpu_package_power", field: power, factor: 1},
		{metric: "gpu_average_package_power", field: power, factor: 1},
		{metric: "gpu_power_usage", field: power, factor: 1},
		{metric: "gpu_junction_temperature", field: temperature, factor: 1},
		{metric: "gpu_edge_temperature", field: temperature, factor: 1},

		{metric: "habanalabs_utilization", field: busy, factor: 1},
		{metric: "habanalabs_memory_used_bytes", field: memoryUsed, factor: 1},
		{metric: "habanalabs_memory_total_bytes", field: memoryTotal, factor: 1},
		{metric: "habanalabs_power_mW", field: power, factor: 1e-3},
		{metric: "habanalabs_temperature_onchip", field: temperature, factor: 1},

		{metric: "neuroncore_utilization_ratio", field: busy, factor: 100},
		{metric: "neuroncore_memory_usage_constants", field: memoryUsed, factor: 1, adds: true},
		{metric: "neuroncore_memory_usage_model_code", field: memoryUsed, factor: 1, adds: true},
		{metric: "neuroncore_memory_usage_model_shared_scratchpad", field: memoryUsed, factor: 1, adds: true},
		{metric: "neuroncore_memory_usage_runtime_memory", field: memoryUsed, factor: 1, adds: true},
		{metric: "neuroncore_memory_usage_tensors", field: memoryUsed, factor: 1, adds: true},

		{metric: "npu_chip_info_utilization", field: busy, factor: 1},
		{metric: "npu_chip_info_hbm_used_memory", field: memoryUsed, factor: mib},
		{metric: "npu_chip_info_hbm_total_memory", field: memoryTotal, factor: mib},
		{metric: "npu_chip_info_power", field: power, factor: 1},
		{metric: "npu_chip_info_temperature", field: temperature, factor: 1},
	}
}

// optionalPrefix is what AMD's documentation proposes as MetricsFieldPrefix.
const optionalPrefix = "amd_"

// pattern is the regular expression that the names of a metric match.
func (s *series) pattern() string {
	if strings.HasPrefix(s.metric, "gpu_") {
		return "(" + optionalPrefix + ")?" + s.metric
	}
	return s.metric
}

// Labels by which exporters, and Prometheus where a label of the target has the same name, say one thing; the first that
// is there counts.
func uuidLabels() []string {
	return []string{"UUID", "uuid", "gpu_uuid", "vdie_id", "Serial", "serial_number"}
}
func indexLabels() []string { return []string{"gpu", "gpu_id", "neuroncore", "npu_id", "npuID", "id"} }
func modelLabels() []string {
	return []string{"modelName", "model_name", "card_series", "card_model", "instance_type"}
}
func partLabels() []string    { return []string{"GPU_I_ID", "gpu_partition_id"} }
func profileLabels() []string { return []string{"GPU_I_PROFILE", "gpu_compute_partition_type"} }
func nodeLabels() []string {
	return []string{"node", "kubernetes_node", "nodename", "node_name", "Hostname", "hostname"}
}

// holderLabels are the labels that name a pod, and with each those that name its namespace and container, the better
// ones first. Without honor_labels Prometheus renames a label of the exporter to exported_* where the target has one of
// that name too; with it, that of the target stands where the exporter has none.
func holderLabels() []struct {
	pod                   string
	namespaces, container []string
} {
	return []struct {
		pod                   string
		namespaces, container []string
	}{
		{"exported_pod", []string{"exported_namespace", "namespace"}, []string{"exported_container", "container"}},
		// Intel Gaudi, dcgm-exporter --use-old-namespace, Huawei Ascend.
		{"pod_name", []string{"pod_namespace", "exported_namespace", "namespace"}, []string{"container_name"}},
		{"pod", []string{"namespace"}, []string{"container"}},
	}
}

// fieldsOf finds what a metric says by its name.
func fieldsOf() map[string]int {
	rows := map[string]int{}
	for i, s := range exported() {
		rows[s.metric] = i
		if p := s.pattern(); p != s.metric {
			rows[optionalPrefix+s.metric] = i
		}
	}
	return rows
}

// names is the expression of all metrics of the table that says is true for.
func names(says func(s *series) bool) string {
	var patterns []string
	for _, s := range exported() {
		if says(&s) {
			patterns = append(patterns, s.pattern())
		}
	}
	return strings.Join(patterns, "|")
}
