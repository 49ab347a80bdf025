package gpus

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// metric is one of an exporter, as its text exposition has it.
type metric struct {
	name, kind, help string
	value            func(r *reading, b board) float64
}

// dcgm are metrics of dcgm-exporter, of those in its etc/default-counters.csv, with their texts.
func dcgm() []metric {
	return []metric{
		{"DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", func(r *reading, _ board) float64 { return r.clock }},
		{"DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", func(r *reading, _ board) float64 { return r.memoryClock }},
		{"DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", func(r *reading, _ board) float64 { return r.temperature + 8 }},
		{"DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", func(r *reading, _ board) float64 { return r.temperature }},
		{"DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", func(r *reading, _ board) float64 { return r.power }},
		{"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", func(r *reading, _ board) float64 { return r.energy }},
		{"DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", func(*reading, board) float64 { return 0 }},
		{"DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", func(r *reading, _ board) float64 { return r.util }},
		{"DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", func(r *reading, _ board) float64 { return float64(int(r.util * 0.45)) }},
		{"DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", func(r *reading, _ board) float64 { return float64(r.xid) }},
		{"DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", func(r *reading, _ board) float64 { return r.free }},
		{"DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", func(r *reading, _ board) float64 { return r.memory }},
		{"DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", func(r *reading, _ board) float64 { return r.reserved }},
		{"DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.", func(r *reading, _ board) float64 { return r.util / 100 }},
		{"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Ratio of cycles the tensor (HMMA) pipe is active.", func(r *reading, _ board) float64 { return r.tensor }},
	}
}

// rocm are metrics of AMD's device-metrics-exporter, with their texts.
func rocm() []metric {
	return []metric{
		{"gpu_gfx_activity", "gauge", "Graphics engine usage percentage (0 - 100)", func(r *reading, _ board) float64 { return r.util }},
		{"gpu_used_vram", "gauge", "Total VRAM memory used in MB", func(r *reading, _ board) float64 { return r.memory + r.reserved }},
		{"gpu_free_vram", "gauge", "Total VRAM memory free in MB", func(r *reading, _ board) float64 { return r.free }},
		{"gpu_total_vram", "gauge", "Total VRAM available in MB", func(_ *reading, b board) float64 { return b.memory }},
		{"gpu_package_power", "gauge", "Current socket power in Watts", func(r *reading, _ board) float64 { return float64(int(r.power)) }},
		{"gpu_junction_temperature", "gauge", "Hotspot (aka junction) temperature value in Celsius", func(r *reading, _ board) float64 { return r.temperature }},
	}
}

// text is what the exporter on a node would say.
func (n *node) text(now time.Time) string {
	metrics, labels := dcgm(), n.dcgmLabels
	if n.kind == amd {
		metrics, labels = rocm(), n.rocmLabels
	}
	b := boardOf(n.model)
	readings := make([]reading, n.count)
	texts := make([]string, n.count)
	for i := range readings {
		readings[i] = n.read(i, now)
		texts[i] = labels(&readings[i], b)
	}
	var w strings.Builder
	for _, m := range metrics {
		_, _ = fmt.Fprintf(&w, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for i := range readings {
			more := ""
			if m.name == "DCGM_FI_DEV_XID_ERRORS" {
				more = fmt.Sprintf(",err_code=\"%d\",err_msg=%q", readings[i].xid, xidText(readings[i].xid))
			}
			_, _ = fmt.Fprintf(&w, "%s{%s%s} %s\n", m.name, texts[i], more, strconv.FormatFloat(m.value(&readings[i], b), 'f', -1, 64))
		}
	}
	return w.String()
}

// dcgmLabels are those of dcgm-exporter with its mapping of pods: what nobody holds has no pod.
func (n *node) dcgmLabels(r *reading, b board) string {
	text := fmt.Sprintf(`gpu="%d",UUID="GPU-%s",pci_bus_id=%q,device="nvidia%d",modelName=%q,hostname=%q,DCGM_FI_DRIVER_VERSION="580.82.07"`,
		r.index, r.uuid, r.busID, r.index, b.name, n.name)
	if r.holder != "" {
		text += fmt.Sprintf(`,container=%q,namespace=%q,pod=%q`, r.container, r.namespace, r.holder)
	}
	return text
}

// rocmLabels are those of device-metrics-exporter: they are always there.
func (n *node) rocmLabels(r *reading, b board) string {
	return fmt.Sprintf(`card_model="102-G30211-0C",card_series=%q,card_vendor="AMD",cluster_name="",container=%q,driver_version="6.12.12",`+
		`gpu_compute_partition_type="spx",gpu_id="%d",gpu_memory_partition_type="nps1",gpu_partition_id="0",hostname=%q,job_id="",job_partition="",job_user="",`+
		`namespace=%q,pod=%q,serial_number=%q`,
		b.name, r.container, r.index, n.name, r.namespace, r.holder, r.serial)
}

// xidText is what dcgm-exporter says of some codes.
func xidText(code int) string {
	texts := map[int]string{
		0: "No Error", 13: "Graphics Engine Exception", 31: "GPU memory page fault", 43: "GPU stopped processing",
		48: "Double Bit ECC Error", 63: "ECC page retirement or row remapping recording event", 74: "NVLINK Error",
		79: "GPU has fallen off the bus", 94: "Contained ECC error", 95: "Uncontained ECC error",
	}
	if text, ok := texts[code]; ok {
		return text
	}
	return "Unknown Error"
}
