package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answer is what Prometheus gives for series, each a line of labels as JSON and a value.
func answer(series ...string) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i, s := range series {
		text, value, _ := strings.Cut(s, "} ")
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"metric":%s},"value":[1700000000.1,%q]}`, text, value)
	}
	b.WriteString(`]}}`)
	return b.String()
}

// decoded reads answers to both questions.
func decoded(t testing.TB, now, means string) []Device {
	t.Helper()
	var d decoder
	for text, f := range map[string]func(sample){now: d.now, means: d.mean} {
		if _, err := readVector(strings.NewReader(text), f); err != nil {
			t.Fatal(err)
		}
	}
	return d.devices(Query{})
}

// who says which device is held by whom.
func who(devices []Device) []string {
	list := []string{}
	for _, d := range devices {
		list = append(list, fmt.Sprintf("%s@%s: %s/%s/%s", d.ID(), d.Node, d.Namespace, d.Pod, d.Container))
	}
	return list
}

func TestHolders(t *testing.T) {
	const up = `{"job":"j","instance":"10.0.0.1:9400","namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"exporter"} 1700000000`
	series := func(labels string) string {
		return `{"__name__":"DCGM_FI_DEV_FB_USED","job":"j","instance":"10.0.0.1:9400","UUID":"G",` + labels + `} 1`
	}
	for name, c := range map[string]struct {
		series []string
		want   []string
	}{
		"renamed by Prometheus": {
			[]string{up, series(`"exported_namespace":"a","exported_pod":"p","exported_container":"c","namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"exporter"`)},
			[]string{"G/@: a/p/c"},
		},
		"renamed, and the target has no container": {
			[]string{up, series(`"exported_namespace":"a","exported_pod":"p","container":"c","namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1"`)},
			[]string{"G/@: a/p/c"},
		},
		"renamed pod alone": {
			[]string{up, series(`"exported_pod":"p","namespace":"a","container":"c","pod":"nvidia-dcgm-exporter-1"`)},
			[]string{"G/@: a/p/c"},
		},
		"the exporter's own pod is no holder": {
			[]string{up, series(`"namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"exporter"`)},
			[]string{"G/@: //"},
		},
		"also when its target comes last": {
			[]string{series(`"namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"exporter"`), up},
			[]string{"G/@: //"},
		},
		"without targets names tell": {
			[]string{series(`"namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"nvidia-dcgm-exporter"`)},
			[]string{"G/@: //"},
		},
		"without targets others hold": {
			[]string{series(`"namespace":"a","pod":"exporter-of-models","container":"main"`)},
			[]string{"G/@: a/exporter-of-models/main"},
		},
		"a pod in the exporter's namespace": {
			[]string{up, series(`"namespace":"gpu-operator","pod":"cuda-validator","container":"main"`)},
			[]string{"G/@: gpu-operator/cuda-validator/main"},
		},
		"a pod of the same name elsewhere": {
			[]string{up, series(`"namespace":"a","pod":"nvidia-dcgm-exporter-1","container":"main"`)},
			[]string{"G/@: a/nvidia-dcgm-exporter-1/main"},
		},
		"old names": {
			[]string{up, series(`"pod_namespace":"a","pod_name":"p","container_name":"c","namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-1","container":"exporter"`)},
			[]string{"G/@: a/p/c"},
		},
		"a pod without a namespace": {
			[]string{up, series(`"pod":"p"`)},
			[]string{"G/@: //"},
		},
		"two exporters, of which one knows": {
			[]string{
				up, series(`"exported_namespace":"a","exported_pod":"p","exported_container":"c"`),
				`{"__name__":"DCGM_FI_DEV_GPU_TEMP","job":"other","instance":"10.0.0.1:9401","UUID":"G"} 1`,
			},
			[]string{"G/@: a/p/c"},
		},
		"two pods share it": {
			[]string{up, series(`"exported_namespace":"a","exported_pod":"q"`), series(`"exported_namespace":"a","exported_pod":"p"`)},
			[]string{"G/@: a/p/", "G/@: a/q/"},
		},
		"the name of the node": {[]string{up, series(`"hostname":"node-1"`)}, []string{"G/@node-1: //"}},
		"the exporter's pod is no node": {
			[]string{up, series(`"Hostname":"nvidia-dcgm-exporter-1","node":"node-1"`), series(`"Hostname":"nvidia-dcgm-exporter-1","GPU_I_ID":"3"`)},
			[]string{"G/3@: //", "G/@node-1: //"},
		},
	} {
		if diff := cmp.Diff(c.want, who(decoded(t, answer(c.series...), answer()))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestDevicesWithoutNames(t *testing.T) {
	got := decoded(t, answer(
		`{"__name__":"neuroncore_utilization_ratio","instance":"trn-1:8000","neuroncore":"10"} 0.5`,
		`{"__name__":"neuroncore_utilization_ratio","instance":"trn-1:8000","neuroncore":"9"} 0.5`,
		`{"__name__":"neuroncore_utilization_ratio","instance":"10.0.0.2:8000","neuroncore":"9"} 0.5`,
		`{"__name__":"gpu_used_vram","instance":"10.0.0.2:5000","gpu_id":"0","serial_number":"N/A"} 1`,
		`{"__name__":"gpu_used_vram","instance":"10.0.0.2:5000","gpu_id":"1","serial_number":"N/A"} 1`,
	), answer())
	want := []string{"10.0.0.2:5000/0/@: //", "10.0.0.2:5000/1/@: //", "10.0.0.2:8000/9/@: //", "trn-1:8000/9/@trn-1: //", "trn-1:8000/10/@trn-1: //"}
	if diff := cmp.Diff(want, who(got)); diff != "" {
		t.Error(diff)
	}
}

func TestNumbersThatNobodyCanKnow(t *testing.T) {
	const dev = `"instance":"i","UUID":"G"`
	got := decoded(t, answer(
		`{"__name__":"DCGM_FI_DEV_FB_USED",`+dev+`} NaN`, `{"__name__":"DCGM_FI_DEV_FB_FREE",`+dev+`} 5`,
		`{"__name__":"DCGM_FI_DEV_POWER_USAGE",`+dev+`} +Inf`, `{"__name__":"DCGM_FI_DEV_GPU_TEMP",`+dev+`} -Inf`,
		`{"__name__":"DCGM_FI_DEV_GPU_UTIL",`+dev+`} 7`, `{"__name__":"SOMETHING_ELSE",`+dev+`} 7`,
		`{"instance":"i"} NaN`,
	), answer(`{"kubectl_ml_window":"mean",`+dev+`} NaN`, `{"kubectl_ml_window":"busy","UUID":"gone"} 3`, `{`+dev+`} 8`))
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	d := got[0]
	for name, v := range map[string]float64{"memory": d.MemoryUsed, "total": d.MemoryTotal, "power": d.Power, "temperature": d.Temperature, "mean": d.Mean, "XID": d.XID} {
		if !math.IsNaN(v) {
			t.Errorf("%s is %v", name, v)
		}
	}
	if d.Busy != 7 || !d.At.IsZero() {
		t.Errorf("busy %v at %v", d.Busy, d.At)
	}
	text, err := json.Marshal(got)
	if want := `[{"node":"i","uuid":"G","busy":7}]`; err != nil || string(text) != want {
		t.Errorf("%s (%v), want %s", text, err, want)
	}
}

func TestTheFirstMetricOfTheTableWins(t *testing.T) {
	const dev = `"instance":"i","gpu_id":"0"`
	for _, series := range [][]string{
		{`{"__name__":"gpu_power_usage",` + dev + `} 3`, `{"__name__":"gpu_package_power",` + dev + `} 1`, `{"__name__":"gpu_average_package_power",` + dev + `} 2`},
		{`{"__name__":"gpu_package_power",` + dev + `} 1`, `{"__name__":"gpu_average_package_power",` + dev + `} 2`},
	} {
		if got := decoded(t, answer(series...), answer()); len(got) != 1 || got[0].Power != 1 {
			t.Errorf("%+v", got)
		}
	}
}

// Each metric of the table is asked for by both its names, and each of utilisation is in the means.
func TestWhatIsAskedFor(t *testing.T) {
	now, means := nowExpr(Query{}), meansExpr(Query{Window: 90 * time.Minute})
	for _, s := range exported() {
		if !strings.Contains(now, s.metric) {
			t.Errorf("%s is not asked for", s.metric)
		}
		if in := strings.Count(means, s.metric); s.field == busy && in != 2 || s.field != busy && in != 0 {
			t.Errorf("%s is in the means %d times", s.metric, in)
		}
		if s.factor == 0 {
			t.Errorf("%s is multiplied by 0", s.metric)
		}
	}
	for _, part := range []string{"[5m]", "[1h30m]"} {
		if !strings.Contains(means, part) {
			t.Errorf("no %s in %s", part, means)
		}
	}
	// Proxies accept some 8,000 bytes of URL.
	long := Query{Namespace: strings.Repeat("n", 63), Window: time.Hour}
	if n := len(nowExpr(long)) + 1000; n > 8000 {
		t.Errorf("%d bytes", n)
	}
	if n := len(meansExpr(long)) + 1000; n > 8000 {
		t.Errorf("%d bytes", n)
	}
}

// large is an answer of 200 nodes with 8 devices each.
func large() (now, means string) {
	var nows, busy []string
	for node := range 200 {
		for gpu := range 8 {
			labels := fmt.Sprintf(`"job":"dcgm-exporter","instance":"10.0.%d.1:9400","gpu":"%d","UUID":"GPU-%d-%d","pci_bus_id":"00000000:07:00.0","device":"nvidia%d","modelName":"NVIDIA H100 80GB HBM3","hostname":"node-%d","exported_namespace":"team","exported_pod":"train-%d","exported_container":"main","namespace":"gpu-operator","pod":"nvidia-dcgm-exporter-%d","container":"exporter","endpoint":"metrics","service":"nvidia-dcgm-exporter"`, node, gpu, node, gpu, gpu, node, node, node)
			for _, m := range []string{"GPU_UTIL", "FB_USED", "FB_FREE", "FB_RESERVED", "POWER_USAGE", "GPU_TEMP", "XID_ERRORS"} {
				nows = append(nows, `{"__name__":"DCGM_FI_DEV_`+m+`",`+labels+`} 42`)
			}
			busy = append(busy, `{"kubectl_ml_window":"busy",`+labels+`} 41.5`, `{"kubectl_ml_window":"mean",`+labels+`} 40.5`)
		}
	}
	return answer(nows...), answer(busy...)
}

func TestLargeFleetsAreReadInLittleMemory(t *testing.T) {
	now, means := large()
	var got []Device
	bytes := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			got = decoded(b, now, means)
		}
	}).AllocedBytesPerOp()
	if len(got) != 1600 || got[0].Busy != 41.5 || got[0].Mean != 40.5 || got[0].Index != "0" || got[7].Index != "7" {
		t.Fatalf("%d devices, the first %+v", len(got), got[0])
	}
	t.Logf("%.1f MiB of answers in %.1f MiB", float64(len(now)+len(means))/mib, float64(bytes)/mib)
	if bytes > 8<<20 {
		t.Errorf("%d MiB for 1600 devices", bytes>>20)
	}
}

func BenchmarkDevices(b *testing.B) {
	now, means := large()
	b.ReportAllocs()
	for b.Loop() {
		decoded(b, now, means)
	}
}
