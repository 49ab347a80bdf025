package gpus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// object reads what a watch would give.
func object(t *testing.T, text string, values ...any) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(fmt.Appendf(nil, text, values...)); err != nil {
		t.Fatal(err)
	}
	return u
}

func nodeObject(t *testing.T, resource, ready string, gpus int) *unstructured.Unstructured {
	return object(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"gpu-0","labels":{"nvidia.com/gpu.product":"NVIDIA-H100-80GB-HBM3"}},
		"status":{"capacity":{%q:"%d"},"conditions":[{"type":"Ready","status":%q}]}}`, resource, gpus, ready)
}

func podObject(t *testing.T, name string, gpus int, annotations, phase string) *unstructured.Unstructured {
	return object(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":%[1]q,"namespace":"team","uid":%[1]q,"creationTimestamp":"2026-03-04T05:00:00Z","annotations":{%[3]s}},
		"spec":{"nodeName":"gpu-0","containers":[{"name":"side"},{"name":"main","resources":{"limits":{"nvidia.com/gpu":"%[2]d"}}}]},
		"status":{"phase":%[4]q,"containerStatuses":[{"name":"main","state":{"running":{"startedAt":"2026-03-04T05:00:00Z"}}}]}}`, name, gpus, annotations, phase)
}

func exporter(t *testing.T, objs ...*unstructured.Unstructured) *Exporter {
	t.Helper()
	e := New(func() time.Time { return now })
	for _, obj := range objs {
		s := store{e, e.setPod, e.replacePods}
		if obj.GetKind() == "Node" {
			s = store{e, e.setNode, e.replaceNodes}
		}
		if err := s.Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// scrape gives the lines of a metric of gpu-0.
func scrape(t *testing.T, e *Exporter, metric string) []string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/gpus/gpu-0/metrics", nil)
	r.SetPathValue("node", "gpu-0")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, metric+"{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestTheExporterSaysWhatDcgmExporterSays(t *testing.T) {
	e := exporter(t, nodeObject(t, "nvidia.com/gpu", "True", 2), podObject(t, "train-0", 1, `"sandbox.kubectl-ml.dev/gpu-util":"35","sandbox.kubectl-ml.dev/xid":"79"`, "Running"))
	uuid := func(i int) string { return e.nodes["gpu-0"].read(i, now).uuid }
	want := []string{
		`DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-` + uuid(0) + `",pci_bus_id="00000000:17:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",hostname="gpu-0",DCGM_FI_DRIVER_VERSION="580.82.07",container="main",namespace="team",pod="train-0"} 35`,
		`DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-` + uuid(1) + `",pci_bus_id="00000000:27:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",hostname="gpu-0",DCGM_FI_DRIVER_VERSION="580.82.07"} 0`,
	}
	if got := scrape(t, e, "DCGM_FI_DEV_GPU_UTIL"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := scrape(t, e, "DCGM_FI_DEV_XID_ERRORS"); !strings.HasSuffix(got[0], `,err_code="79",err_msg="GPU has fallen off the bus"} 79`) || !strings.HasSuffix(got[1], " 0") {
		t.Errorf("XID: %q", got)
	}
}

func TestMemoryAddsUpToThatOfTheBoard(t *testing.T) {
	e := exporter(t, nodeObject(t, "nvidia.com/gpu", "True", 2), podObject(t, "train-0", 1, "", "Running"))
	for i := range 2 {
		r := e.nodes["gpu-0"].read(i, now)
		if sum := r.memory + r.free + r.reserved; sum != 81559 {
			t.Errorf("device %d has %v MiB", i, sum)
		}
	}
}

func TestDevicesStayWithTheirPods(t *testing.T) {
	e := exporter(t, nodeObject(t, "nvidia.com/gpu", "True", 4), podObject(t, "a", 1, "", "Running"), podObject(t, "b", 2, "", "Running"))
	holders := func() string {
		var names []string
		for _, line := range scrape(t, e, "DCGM_FI_DEV_GPU_TEMP") {
			_, rest, _ := strings.Cut(line, `pod="`)
			name, _, _ := strings.Cut(rest, `"`)
			names = append(names, "["+name+"]")
		}
		return strings.Join(names, "")
	}
	pods := store{e, e.setPod, e.replacePods}
	steps := []struct {
		what string
		do   func() error
		want string
	}{
		{"two pods", func() error { return nil }, "[a][b][b][]"},
		{"the first ends", func() error { return pods.Update(podObject(t, "a", 1, "", "Succeeded")) }, "[][b][b][]"},
		{"another comes", func() error { return pods.Add(podObject(t, "c", 2, "", "Running")) }, "[c][b][b][c]"},
		{"the node reports", func() error {
			return store{e, e.setNode, e.replaceNodes}.Update(nodeObject(t, "nvidia.com/gpu", "True", 4))
		}, "[c][b][b][c]"},
		{"the watch begins anew", func() error { return pods.Replace([]any{podObject(t, "b", 2, "", "Running")}, "") }, "[][b][b][]"},
		{"more than there are", func() error { return pods.Add(podObject(t, "d", 9, "", "Running")) }, "[d][b][b][d]"},
		{"one is deleted", func() error { return pods.Delete(podObject(t, "b", 2, "", "Running")) }, "[d][d][d][d]"},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		if got := holders(); got != s.want {
			t.Errorf("%s: %s, want %s", s.what, got, s.want)
		}
	}
}

func TestUtilisationIsThatOfATraining(t *testing.T) {
	low, high := 100.0, 0.0
	p := &pod{uid: "u", started: now}
	for age := 30.0; age < 600; age++ {
		u := p.busy(0, age, now.Add(time.Duration(age)*time.Second))
		low, high = min(low, u), max(high, u)
	}
	if high < 60 || high > 100 || low < 10 || low > 0.5*high {
		t.Errorf("between %v and %v", low, high)
	}
	if a, b := p.busy(0, 100, now), p.busy(0, 100, now); a != b {
		t.Errorf("%v and %v at the same time", a, b)
	}
	for text, want := range map[string]float64{"2": 2, "0": 0, "140": 100, "-1": 0} {
		if got := (&pod{util: text}).busy(0, 1, now); got != want {
			t.Errorf("annotation %s: %v", text, got)
		}
	}
}

func TestWhoHasNoDevices(t *testing.T) {
	for what, obj := range map[string]*unstructured.Unstructured{
		"asks for none": podObject(t, "p", 0, "", "Running"),
		"has ended":     podObject(t, "p", 1, "", "Failed"),
		"is nothing":    object(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}`),
		"is not bound":  object(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"resources":{"limits":{"nvidia.com/gpu":"1"}}}]}}`),
	} {
		if p := podOf(obj); p != nil {
			t.Errorf("a pod that %s: %+v", what, p)
		}
	}
	if n := nodeOf(object(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"status":{"capacity":{"nvidia.com/gpu":"0"}}}`)); n != nil {
		t.Errorf("a node without devices: %+v", n)
	}
}

func TestAnnotationsOfARank(t *testing.T) {
	text := `"batch.kubernetes.io/job-completion-index":"1","sandbox.kubectl-ml.dev/gpu-util":"80","sandbox.kubectl-ml.dev/gpu-util.1":"3"`
	if p := podOf(podObject(t, "p", 1, text, "Running")); p.util != "3" {
		t.Errorf("%q", p.util)
	}
}

func TestNodesWithoutAnExporter(t *testing.T) {
	e := exporter(t, nodeObject(t, "nvidia.com/gpu", "False", 2))
	for node, want := range map[string]int{"gpu-0": http.StatusServiceUnavailable, "gpu-1": http.StatusNotFound} {
		if _, code := e.scrape(node); code != want {
			t.Errorf("%s: %d", node, code)
		}
	}
}

func TestAMDNodesHaveAMDsExporter(t *testing.T) {
	e := exporter(t, nodeObject(t, "amd.com/gpu", "True", 1))
	got := scrape(t, e, "gpu_gfx_activity")
	if len(got) != 1 || !strings.Contains(got[0], `gpu_id="0"`) || !strings.Contains(got[0], `namespace="",pod="",serial_number="`) {
		t.Errorf("%q", got)
	}
}
