package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

func TestArgvOfTop(t *testing.T) {
	topC, nodesC := argv(newTopCmd), argv(newNodesCmd)
	jobs := topOptions{What: topJobs, IdleBelow: 5, IdleFor: 30 * time.Minute}
	users := topOptions{What: topUsers, By: "user", IdleBelow: 5, IdleFor: 30 * time.Minute}
	with := func(o topOptions, change func(*topOptions)) topOptions {
		change(&o)
		return o
	}
	for line, want := range map[string]topOptions{
		"":     jobs,
		"jobs": jobs,
		"-A -l team=x --sort-by -idle --idle-below 10 --idle-for 2h -w --prometheus m/p -o wide --no-headers": {
			What: topJobs, All: true, Selector: "team=x", SortBy: "-idle", IdleBelow: 10, IdleFor: 2 * time.Hour, Watch: true, Prometheus: "m/p", Output: output{Format: "wide", NoHeaders: true},
		},
		"nodes -l zone=a --sort-by temp -o json": {What: topNodes, Selector: "zone=a", SortBy: "temp", Output: output{Format: "json"}},
		"users":                                  users,
		"users --by queue -A":                    with(users, func(o *topOptions) { o.By, o.All = "queue", true }),
	} {
		if diff := cmp.Diff(want, topC(t, line), cmp.AllowUnexported(output{})); diff != "" {
			t.Errorf("top %s (-want +got): %s", line, diff)
		}
	}
	for line, want := range map[string]nodesOptions{
		"": {Names: []string{}},
		"gpu-0 node/gpu-1 -l a=b --sort-by -free --prometheus u -o wide": {
			Names: []string{"gpu-0", "node/gpu-1"}, Selector: "a=b", SortBy: "-free", Prometheus: "u", Output: output{Format: "wide"},
		},
	} {
		if diff := cmp.Diff(want, nodesC(t, line), cmp.AllowUnexported(output{})); diff != "" {
			t.Errorf("nodes %s (-want +got): %s", line, diff)
		}
	}
}

func TestTopOptions(t *testing.T) {
	for want, o := range map[string]topOptions{
		"":                      {What: topJobs, SortBy: "-GPU-hours", IdleBelow: 100},
		"unknown output format": {What: topJobs, Output: output{Format: "jsn"}},
		"--idle-below is a percentage from 0 to 100, not 101":    {What: topJobs, IdleBelow: 101},
		"--idle-for is negative":                                 {What: topJobs, IdleFor: -1},
		"--by team: use one of user, namespace, queue, pipeline": {What: topUsers, By: "team"},
		"-w redraws a table: it does not go with -o json":        {What: topJobs, Watch: true, Output: output{Format: "json"}},
		`--sort-by: no column "idle"; there are name, product, total, held, free, busy, memory, power, temp, pods, notes, zone, work`: {What: topNodes, SortBy: "-idle"},
	} {
		err := o.check()
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	names, _ := completeSort([]string{"name", "gpus"})(nil, nil, "-g")
	if strings.Join(names, " ") != "-gpus" {
		t.Errorf("completed: %v", names)
	}
}

func TestNotesOfMeasurements(t *testing.T) {
	held, free := metrics.Device{Namespace: "a", Pod: "p"}, metrics.Device{}
	for _, c := range []struct {
		m    measurement
		held int64
		want string
	}{
		{measurement{}, 0, ""}, {measurement{}, 8, ""},
		{measurement{Err: errors.New("nothing there")}, 0, ""},
		{measurement{Err: &metrics.NotFoundError{}}, 8, "Requests only: no Prometheus found: no Service looks like one\n"},
		{measurement{Err: &metrics.NotFoundError{Tried: []metrics.Attempt{{Where: "m/p", Err: errors.New("503")}}}}, 8, "Requests only: no Prometheus found: m/p: 503\n  name one with --prometheus"},
		{measurement{Err: &metrics.NotFoundError{Tried: []metrics.Attempt{{Where: "m/p", Err: errors.New("503")}, {Where: "m/q", Err: errors.New("404")}}}}, 8, "Requests only: no Prometheus found in 2 places\n  m/p: 503\n  m/q: 404\n  name one"},
		{measurement{Err: errUnheard}, 8, "Requests only: Prometheus did not answer in time\n  try again, or name another"},
		{measurement{Where: "m/p:80"}, 8, "Requests only: Prometheus m/p:80 knows no GPUs\n  it needs dcgm-exporter"},
		{measurement{Where: "m/p:80", Devices: []metrics.Device{free}}, 8, "Prometheus m/p:80 does not know which pods hold the GPUs\n"},
		{measurement{Where: "m/p:80", Devices: []metrics.Device{free, held}}, 8, ""},
		{measurement{Where: "m/p:80", Devices: []metrics.Device{held}, Err: errors.New("half of it")}, 8, "warning: half of it"},
	} {
		got := strings.Join(c.m.note(c.held), "|")
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.m, got, c.want)
		}
	}
}

// fakePrometheus answers with one device of a pod, after a while when asked for means.
func fakePrometheus(t *testing.T, asked *int, slow time.Duration) string {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("query")
		sample := func(labels string, value string) string {
			return fmt.Sprintf(`{"metric":{%s},"value":[1772366400,%q]}`, labels, value)
		}
		device := `"gpu":"0","UUID":"GPU-0","namespace":"ml","pod":"train-0","container":"main"`
		result := ""
		switch {
		case strings.Contains(q, "avg_over_time"):
			select {
			case <-time.After(slow):
			case <-r.Context().Done():
			}
			result = sample(device+`,"kubectl_ml_window":"busy"`, "40") + "," + sample(device+`,"kubectl_ml_window":"mean"`, "2")
		case strings.Contains(q, "count(up)"):
			mu.Lock()
			*asked++
			mu.Unlock()
			result = sample("", "3")
		default:
			result = sample(`"__name__":"DCGM_FI_DEV_GPU_UTIL",`+device, "90")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, result)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestMeter(t *testing.T) {
	f := testFactory()
	c, err := f.Offline()
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	m := f.meter(c, fakePrometheus(t, &asked, 0), "ml", time.Hour)
	for range 2 {
		got := m.ask(t.Context())()
		if len(got.Devices) != 1 || got.Err != nil || got.Devices[0].Busy != 40 || got.Devices[0].Mean != 2 || got.Where == "" {
			t.Fatalf("%+v", got)
		}
	}
	if asked != 1 {
		t.Errorf("Prometheus was looked for %d times", asked)
	}

	begin := time.Now()
	slow := f.meter(c, fakePrometheus(t, &asked, time.Minute), "ml", time.Hour).ask(t.Context())()
	if took := time.Since(begin); took > metricsTime+time.Second {
		t.Errorf("a slow Prometheus was waited for %s", took)
	}
	if len(slow.Devices) != 1 || !errors.Is(slow.Err, errHalf) || slow.Devices[0].Busy != 90 || !math.IsNaN(slow.Devices[0].Mean) {
		t.Errorf("of a slow Prometheus: %+v", slow)
	}

	gone := f.meter(c, "http://127.0.0.1:1", "ml", 0).ask(t.Context())()
	if gone.Err == nil || gone.Devices != nil {
		t.Errorf("of none: %+v", gone)
	}
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	hangs := &meter{find: func(context.Context) (*metrics.Source, error) { <-end; return nil, errors.New("too late") }}
	if got := hangs.ask(t.Context())(); !errors.Is(got.Err, errUnheard) {
		t.Errorf("of one that hangs: %+v", got)
	}
}

func topSnapshot() *fleet.Snapshot {
	work := func(name string, gpus int64, node string) *fleet.Work {
		p := &fleet.Pod{PodFact: job.PodFact{Name: name + "-0", Namespace: "ml", Node: node, State: job.Running, GPUs: gpus}}
		w := &fleet.Work{Ref: fleet.Ref{Kind: "Job", Namespace: "ml", Name: name}, State: job.Running, GPUs: gpus, Pods: []*fleet.Pod{p}, By: "ada"}
		if node != "" {
			w.Held = gpus
		} else {
			w.State = job.Pending
		}
		return w
	}
	node := func(name string, used int64) *fleet.Node {
		return &fleet.Node{Name: name, Ready: true, Total: 8, Used: used, Product: "NVIDIA-H100", Labels: map[string]string{"name": name}}
	}
	return &fleet.Snapshot{
		Works: []*fleet.Work{work("small", 1, "gpu-0"), work("large", 8, "gpu-1"), work("waits", 4, "")}, Nodes: []*fleet.Node{node("gpu-0", 1), node("gpu-1", 8)},
		Problems: []fleet.Problem{{Resource: "jobsets.jobset.x-k8s.io", Err: errors.New("forbidden")}, {Resource: "jobsets.jobset.x-k8s.io", Err: errors.New("forbidden")},
			{Resource: "pods of other namespaces", Err: errors.New("forbidden")}, {Resource: "nodes", Err: errors.New("forbidden")}},
	}
}

func TestTopPages(t *testing.T) {
	s := topSnapshot()
	for _, c := range []struct {
		o     topOptions
		rows  string
		notes string
	}{
		{topOptions{What: topJobs}, "job/large job/small job/waits", "warning: jobsets.jobset.x-k8s.io: forbidden|warning: pods of other namespaces: forbidden|Requests only: none"},
		{topOptions{What: topJobs, SortBy: "name"}, "job/large job/small job/waits", "warning: jobsets.jobset.x-k8s.io: forbidden|warning: pods of other namespaces: forbidden|Requests only: none"},
		{topOptions{What: topJobs, SortBy: "held"}, "job/waits job/small job/large", "warning: jobsets.jobset.x-k8s.io: forbidden|warning: pods of other namespaces: forbidden|Requests only: none"},
		{topOptions{What: topUsers, By: "user"}, "user/ada", "warning: jobsets.jobset.x-k8s.io: forbidden|warning: pods of other namespaces: forbidden|Requests only: none"},
		{topOptions{What: topNodes}, "node/gpu-1 node/gpu-0", "warning: pods of other namespaces: forbidden|Requests only: none"},
		{topOptions{What: topNodes, Selector: "name=gpu-0"}, "node/gpu-0", "warning: pods of other namespaces: forbidden|Requests only: none"},
	} {
		p, err := c.o.page(s, measurement{Err: errors.New("none")}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, i := range p.items {
			rows = append(rows, i.ref)
			if _, err := i.object(); err != nil {
				t.Errorf("%s: %v", i.ref, err)
			}
		}
		if got := strings.Join(rows, " "); got != c.rows || len(p.table().Rows) != len(rows) {
			t.Errorf("%+v: %s, want %s", c.o, got, c.rows)
		}
		if got := strings.Join(p.notes, "|"); got != c.notes {
			t.Errorf("%+v notes %s, want %s", c.o, got, c.notes)
		}
	}
	if _, err := (topOptions{What: topNodes, Selector: "=("}).page(s, measurement{}, time.Now()); err == nil {
		t.Error("a broken selector is accepted")
	}
}

func TestTopOnAScreen(t *testing.T) {
	state := topState{fleet: topSnapshot(), lost: true, since: time.Now().Add(-time.Minute)}
	lines, next := topOptions{What: topNodes}.frame(state)(60, 20, time.Now())
	text := ""
	for _, l := range lines {
		text += l.Text() + "\n"
	}
	for _, want := range []string{"NAME ", "gpu-1 ", "gpu-0 ", "7 of 16 GPUs free on 1 node.", "warning: pods of other namespaces: forbidden", "stale, 60s old"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if next != topEvery {
		t.Errorf("it is drawn again after %s", next)
	}
	if lines, _ := (topOptions{What: topNodes, Selector: "=("}).frame(state)(60, 20, time.Now()); len(lines) != 1 || lines[0][0].Tone != views.Bad {
		t.Errorf("%v", lines)
	}
}

// Without a terminal a page is printed when it differs, and not all the time.
func TestTopLog(t *testing.T) {
	b := newBench()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.Now = func() time.Time { return now }
	show := b.topLog(topOptions{What: topNodes})
	s := topSnapshot()
	s.Problems = nil
	pages := func() int { return strings.Count(b.out.String(), "NAME ") }
	show(topState{fleet: s})
	show(topState{fleet: s})
	now = now.Add(topEvery + time.Second)
	show(topState{fleet: s})
	if pages() != 1 {
		t.Errorf("the same was printed %d times", pages())
	}
	other := topSnapshot()
	other.Nodes = other.Nodes[:1]
	for range 2 {
		show(topState{fleet: other})
		show(topState{fleet: s, lost: true})
	}
	show(topState{fleet: other})
	if pages() != 2 {
		t.Errorf("a change was printed %d times:\n%s", pages()-1, b.out.String())
	}
	want := "warning: pods of other namespaces: forbidden\nthe API server is away, trying again\nthe API server is back\nthe API server is away, trying again\nthe API server is back\n"
	if got := b.errOut.String(); got != want {
		t.Errorf("said\n%swant\n%s", got, want)
	}
}

// counted is the number of requests that a verb sends.
func counted(t *testing.T, sandbox kubetest.Sandbox, ns string, do func(context.Context, *Factory) error) int {
	t.Helper()
	b := newBench()
	*b.Config.KubeConfig, *b.Config.Namespace = sandbox.Kubeconfig, ns
	var mu sync.Mutex
	n := 0
	wrap := b.Config.WrapConfigFn
	b.Config.WrapConfigFn = func(c *rest.Config) *rest.Config {
		c = wrap(c)
		c.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				if !strings.Contains(r.URL.Path, "/proxy/") {
					n++
				}
				return next.RoundTrip(r)
			})
		})
		return c
	}
	if err := do(t.Context(), b.Factory); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.out.Bytes()) {
		t.Fatalf("no JSON: %s", b.out.String())
	}
	return n
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTopAsksTheSameOfMany(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	kube := kubernetes.NewForConfigOrDie(sandbox.Config(t))
	start := func(from, to int) {
		for i := from; i < to; i++ {
			j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("work-", i)}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"sandbox.kubectl-ml.dev/duration": "1h"}},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever, NodeSelector: map[string]string{"type": "kwok"}, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					Containers: []corev1.Container{{Name: "main", Image: "x", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}}},
				},
			}}}
			if _, err := kube.BatchV1().Jobs(ns).Create(t.Context(), j, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	asJSON := output{Format: "json"}
	verbs := map[string]func(context.Context, *Factory) error{
		"jobs":  call(runTop, topOptions{What: topJobs, Output: asJSON, Prometheus: "http://127.0.0.1:1"}),
		"nodes": call(runTop, topOptions{What: topNodes, Output: asJSON, Prometheus: "http://127.0.0.1:1"}),
		"users": call(runTop, topOptions{What: topUsers, By: "user", Output: asJSON, Prometheus: "http://127.0.0.1:1"}),
		"list":  call(runNodes, nodesOptions{Output: asJSON, Prometheus: "http://127.0.0.1:1"}),
	}
	start(0, 1)
	few := map[string]int{}
	for name, do := range verbs {
		few[name] = counted(t, sandbox, ns, do)
	}
	start(1, 8)
	for name, do := range verbs {
		n, others := counted(t, sandbox, ns, do), 0
		if name == "nodes" || name == "list" {
			others = 5 // kinds that other tests bring into their namespaces meanwhile
		}
		if n < few[name]-others || n > few[name]+others || n == 0 {
			t.Errorf("%s: %d requests for one work, %d for eight", name, few[name], n)
		}
	}
}
