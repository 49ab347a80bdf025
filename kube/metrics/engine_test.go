package metrics

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// exporter is what the engine is to scrape.
type exporter struct {
	job   string
	honor bool
	// target are labels that service discovery gives, such as pod: nvidia-dcgm-exporter-x.
	target map[string]string
	// text is the exposition, by how often it was asked for.
	text func(n int) string
}

// scraped are options of its job: one whose name begins with native has its classic histograms stored as native ones.
func (e *exporter) scraped() string {
	if strings.HasPrefix(e.job, "native-") {
		return "  scrape_native_histograms: true\n  convert_classic_histograms_to_nhcb: true\n"
	}
	return ""
}

// file is an exporter that says the same each time.
func file(t *testing.T, name string) func(int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return func(int) string { return string(data) }
}

// engine runs a real Prometheus, that of the sandbox, on the exporters until each was asked at least twice.
func engine(t *testing.T, exporters ...exporter) *Source {
	t.Helper()
	return engineWith(t, "", exporters...)
}

// engineWith is engine with lines for each scrape configuration. Samples with times of their own, as old as a month, are
// taken as they are.
func engineWith(t *testing.T, lines string, exporters ...exporter) *Source {
	t.Helper()
	binary := filepath.Join(filepath.Dir(kubetest.Open(t).Kubectl), "prometheus")
	counts := make([]atomic.Int64, len(exporters))
	mux := http.NewServeMux()
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 500ms, scrape_timeout: 400ms}\nstorage: {tsdb: {out_of_order_time_window: 30d}}\nscrape_configs:\n")
	for i, e := range exporters {
		mux.HandleFunc(fmt.Sprintf("/%d/metrics", i), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(e.text(int(counts[i].Add(1)))))
		})
		fmt.Fprintf(&config, "- job_name: %s\n%s  honor_labels: %t\n  metrics_path: /%d/metrics\n  static_configs:\n  - targets: [ADDRESS]\n    labels: {instance: '10.0.0.%d:9400'", e.job, e.scraped(), e.honor, i, i+1)
		for name, value := range e.target {
			fmt.Fprintf(&config, ", %s: %q", name, value)
		}
		config.WriteString("}\n" + lines)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	path := filepath.Join(dir, "prometheus.yaml")
	text := strings.ReplaceAll(config.String(), "ADDRESS", server.Listener.Addr().String())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })

	c, err := client.New(&rest.Config{Host: "https://no-cluster"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		s, err := Find(t.Context(), c, Options{URL: "http://" + address})
		if err == nil {
			scraped := 0
			err = s.each(t.Context(), "count_over_time(up[1m]) > 2", func(sample) { scraped++ })
			if err == nil && scraped == len(exporters) {
				return s
			}
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("Prometheus does not scrape: %v\n%s", err, said)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

const (
	gib = 1 << 30
	eps = 1e-9
)

func nan() float64 { return math.NaN() }

func pod(job string) map[string]string {
	return map[string]string{"namespace": "gpu-operator", "pod": job + "-x7k2p", "container": job, "service": job, "endpoint": "metrics"}
}

// TestExporters loads what each exporter says into a real Prometheus and asks for devices.
func TestExporters(t *testing.T) {
	t.Parallel()
	dcgm := file(t, "dcgm.txt")
	renamed := func(old, now string) func(int) string {
		return func(n int) string { return strings.NewReplacer(old, now, "node-a", "node-"+now).Replace(dcgm(n)) }
	}
	s := engine(t,
		// As the charts of NVIDIA set it up, as many others do, and with nothing that tells of the exporter's pod.
		exporter{"dcgm", false, pod("nvidia-dcgm-exporter"), renamed("GPU-a", "GPU-renamed")},
		exporter{"dcgm-honored", true, pod("nvidia-dcgm-exporter"), renamed("GPU-a", "GPU-honored")},
		exporter{"dcgm-static", false, nil, renamed("GPU-a", "GPU-static")},
		exporter{"dcgm-mig", false, pod("nvidia-dcgm-exporter"), file(t, "dcgm-mig.txt")},
		exporter{"dcgm-shared", false, map[string]string{"namespace": "gpu-operator", "pod": "dcgm-exporter-cmhft", "node": "node-s"}, file(t, "dcgm-shared.txt")},
		exporter{"amd", true, pod("amd-exporter"), file(t, "amd.txt")},
		exporter{"amd-renamed", false, pod("amd-exporter"), func(n int) string {
			return strings.NewReplacer("node-d", "node-e", "6924090", "9924090", "rocm-0", "rocm-1").Replace(file(t, "amd.txt")(n))
		}},
		exporter{"amd-prefixed", true, pod("amd-exporter"), file(t, "amd-prefixed.txt")},
		exporter{"gaudi", false, pod("metric-exporter"), file(t, "gaudi.txt")},
		exporter{"neuron", false, pod("neuron-monitor"), file(t, "neuron.txt")},
		exporter{"ascend", false, pod("npu-exporter"), file(t, "ascend.txt")},
		exporter{"ascend-static", true, nil, func(n int) string { return strings.ReplaceAll(file(t, "ascend.txt")(n), "DIE-5", "DIE-6") }},
		exporter{"noise", false, pod("noise"), func(int) string { return "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL 3\ngpu_clock 4\nup_to_date 1\n" }},
	)
	h100 := Device{Namespace: "team", Pod: "train-0", Container: "main", Index: "0", Model: "NVIDIA H100 80GB HBM3", Busy: 92, Mean: 92, MemoryUsed: 61616 * mib, MemoryTotal: 81559 * mib, Power: 512.25, Temperature: 61, XID: 94}
	idle := Device{Index: "1", Model: "NVIDIA H100 80GB HBM3", Busy: 0, Mean: 0, MemoryUsed: 1 * mib, MemoryTotal: 81559 * mib, Power: 70.5, Temperature: 30, XID: 0}
	mi300 := Device{Namespace: "team", Pod: "rocm-0", Container: "main", Node: "node-d", Index: "0", UUID: "692409005408", Model: "AMD Instinct MI300X OAM", Busy: 77, Mean: 77, MemoryUsed: 100000 * mib, MemoryTotal: 196592 * mib, Power: 640, Temperature: 68, XID: nan()}
	mi300idle := Device{Node: "node-d", Index: "1", UUID: "692409005409", Model: "AMD Instinct MI300X OAM", Busy: 0, Mean: 0, MemoryUsed: 283 * mib, MemoryTotal: 196592 * mib, Power: 138, Temperature: nan(), XID: nan()}
	npu := Device{Namespace: "team", Pod: "npu-0", Container: "main", Index: "5", UUID: "DIE-5", Model: "Ascend910B", Busy: 36, Mean: 36, MemoryUsed: 8192 * mib, MemoryTotal: 65536 * mib, Power: 188.4, Temperature: 62, XID: nan()}
	with := func(d Device, instance, node, uuid string) Device {
		d.Instance, d.Node, d.UUID = "10.0.0."+instance+":9400", node, uuid
		return d
	}
	mig := Device{Node: "node-m", Index: "0", Model: "NVIDIA A100-SXM4-40GB", Container: "main", Power: 210, Temperature: nan(), XID: nan()}
	half, eighth := mig, mig
	half.Namespace, half.Pod, half.Part, half.Profile, half.Busy, half.Mean, half.MemoryUsed, half.MemoryTotal = "team", "mig-a", "1", "3g.20gb", 50, 50, 10000*mib, 19984*mib
	eighth.Namespace, eighth.Pod, eighth.Part, eighth.Profile, eighth.Busy, eighth.Mean, eighth.MemoryUsed, eighth.MemoryTotal = "other", "mig-b", "13", "1g.5gb", 12.5, 12.5, 500*mib, 4864*mib
	slice := Device{Namespace: "team", Pod: "slice-0", Container: "main", Index: "0", Model: "Tesla T4", Busy: 40, Mean: 40, MemoryUsed: 4000 * mib, MemoryTotal: nan(), Power: 50, Temperature: nan(), XID: nan()}
	slice1 := slice
	slice1.Pod = "slice-1"
	renamedMI, renamedMIidle, prefixed := mi300, mi300idle, mi300
	renamedMI.Pod = "rocm-1"
	prefixed.Pod, prefixed.Part, prefixed.Profile, prefixed.Power, prefixed.Temperature = "rocm-prefixed", "3", "cpx", nan(), nan()
	want := []Device{
		with(npu, "11", "", "DIE-5"), with(npu, "12", "", "DIE-6"),
		with(Device{
			Namespace: "team", Pod: "gaudi-0", Index: "3", Busy: 55, Mean: 55, MemoryUsed: 0.75 * gib, MemoryTotal: 96 * gib, Power: 98, Temperature: 39, XID: nan(),
		}, "9", "", "01P0-HL2080A0-15-TNPS34-20-07-08"),
		with(Device{
			Index: "0", Model: "trn1.32xlarge", Busy: 75, Mean: 75, MemoryUsed: 6317072, MemoryTotal: nan(), Power: nan(), Temperature: nan(), XID: nan(),
		}, "10", "", ""),
		with(h100, "2", "node-GPU-honored", "GPU-honored0"), with(idle, "2", "node-GPU-honored", "GPU-honored1"),
		with(h100, "1", "node-GPU-renamed", "GPU-renamed0"), with(idle, "1", "node-GPU-renamed", "GPU-renamed1"),
		with(h100, "3", "node-GPU-static", "GPU-static0"), with(idle, "3", "node-GPU-static", "GPU-static1"),
		with(mi300, "6", "node-d", "692409005408"), with(mi300idle, "6", "node-d", "692409005409"),
		with(renamedMI, "7", "node-e", "992409005408"), with(renamedMIidle, "7", "node-e", "992409005409"),
		with(half, "4", "node-m", "GPU-m0"), with(eighth, "4", "node-m", "GPU-m0"),
		with(prefixed, "8", "node-p", "792409005408"),
		with(slice, "5", "node-s", "GPU-s0"), with(slice1, "5", "node-s", "GPU-s0"),
	}
	got, err := s.Devices(t.Context(), Query{Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	options := cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateApprox(eps, eps), cmpopts.IgnoreFields(Device{}, "At"), cmpopts.SortSlices(func(a, b Device) bool { return a.ID()+a.Pod < b.ID()+b.Pod })}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Error(diff)
	}
	for _, d := range got {
		if age := time.Since(d.At); age < -time.Second || age > 30*time.Second {
			t.Errorf("%s was asked %s ago", d.ID(), age)
		}
	}

	t.Run("of a namespace", func(t *testing.T) {
		var mine []Device
		for _, d := range want {
			if d.Namespace == "team" {
				d.Mean = nan()
				mine = append(mine, d)
			}
		}
		got, err := s.Devices(t.Context(), Query{Namespace: "team"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(mine, got, options); diff != "" {
			t.Error(diff)
		}
		if got, err := s.Devices(t.Context(), Query{Namespace: "gpu-operator"}); err != nil || len(got) != 0 {
			t.Errorf("the exporters hold %v (%v)", got, err)
		}
	})
	t.Run("as the library reads it", func(t *testing.T) { compareWithLibrary(t, s) })
}

// compareWithLibrary reads one answer in both ways.
func compareWithLibrary(t *testing.T, s *Source) {
	t.Helper()
	const expr = `{__name__=~".+", __name__!~"up|scrape_.*"}`
	slow, err := s.vector(t.Context(), expr)
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]float64{}
	err = s.each(t.Context(), expr, func(v sample) {
		m := model.Metric{}
		for name, value := range v.labels {
			m[model.LabelName(name)] = model.LabelValue(value)
		}
		read[m.String()] = v.value
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(slow) != len(read) || len(slow) < 30 {
		t.Fatalf("%d series, and %d by the library", len(read), len(slow))
	}
	for _, v := range slow {
		if got, ok := read[v.Metric.String()]; !ok || got != float64(v.Value) {
			t.Errorf("%s is %v, not %v", v.Metric, got, v.Value)
		}
	}
}

// TestBusyIsAMeanOfWhoHoldsTheDevice changes values and holders from scrape to scrape.
func TestBusyIsAMeanOfWhoHoldsTheDevice(t *testing.T) {
	t.Parallel()
	s := engine(t, exporter{"dcgm", false, pod("dcgm-exporter"), func(n int) string {
		who, util := "after", 10*(n%2)
		if n <= 2 {
			who, util = "before", 100
		}
		return fmt.Sprintf(`DCGM_FI_DEV_FB_USED{gpu="0",UUID="G",namespace="team",pod=%q,container="main"} 1
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="G",namespace="team",pod=%[1]q,container="main"} %[2]d
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="G",namespace="team",pod=%[1]q,container="main"} NaN
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="G",namespace="team",pod=%[1]q,container="main"} +Inf
`, who, util)
	}})
	var got []Device
	var means []float64
	for range 50 { // until a scrape does not fall between the questions
		before := handMean(t, s)
		var err error
		if got, err = s.Devices(t.Context(), Query{Window: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if means = []float64{before, handMean(t, s)}; means[0] == means[1] && len(got) == 1 && got[0].Pod == "after" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(got) != 1 || got[0].Pod != "after" || math.Abs(got[0].Busy-means[1]) > eps || math.Abs(got[0].Mean-means[1]) > eps || got[0].Busy > 10 {
		t.Errorf("%+v, want a mean of %v", got, means)
	}
	if d := got[0]; !math.IsNaN(d.Power) || !math.IsNaN(d.Temperature) || !math.IsNaN(d.XID) {
		t.Errorf("numbers that nobody can know: %+v", d)
	}
}

// handMean is the mean of the samples as they are stored.
func handMean(t *testing.T, s *Source) float64 {
	t.Helper()
	value, _, _, err := s.api.Query(t.Context(), `DCGM_FI_DEV_GPU_UTIL{exported_pod="after"}[5m]`, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	matrix, ok := value.(model.Matrix)
	if !ok || len(matrix) != 1 {
		return -1
	}
	total := 0.0
	for _, v := range matrix[0].Values {
		total += float64(v.Value)
	}
	return total / float64(len(matrix[0].Values))
}
