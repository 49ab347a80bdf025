package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// TestBench measures the built program against kubectl in one run and prints ratios; it asserts nothing, because
// machines are shared and noisy. It needs BENCH=1 (`make bench` sets it) and bin/kubectl-ml.
func TestBench(t *testing.T) {
	if os.Getenv("BENCH") == "" {
		t.Skip("set BENCH=1, or say: make bench")
	}
	b := newBench(t)
	b.coldStart()
	b.size()
	b.launch()
	b.lint()
	b.runs()
	b.fleet()
	b.registry()
	b.print()
}

type bench struct {
	t         *testing.T
	ml        string
	kubectl   string
	namespace string
	kube      kubernetes.Interface
	env       []string
	requests  *atomic.Int64
	bytes     *atomic.Int64
	table     bytes.Buffer
}

// newBench puts a plain-HTTP proxy before the API server that counts requests, and points both programs at it.
func newBench(t *testing.T) *bench {
	t.Helper()
	ml, err := filepath.Abs("../../bin/kubectl-ml")
	if err != nil {
		t.Fatal(err)
	}
	sandbox := kubetest.Open(t)
	cfg := sandbox.Config(t)
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ml: ml, kubectl: sandbox.Kubectl, namespace: sandbox.Namespace(t), kube: kube, requests: &atomic.Int64{}, bytes: &atomic.Int64{}}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		proxy.ServeHTTP(&counted{w, b.bytes}, r)
	}))
	t.Cleanup(server.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: bench\n"+
		"clusters: [{name: bench, cluster: {server: %q}}]\ncontexts: [{name: bench, context: {cluster: bench, namespace: %s}}]\n", server.URL, b.namespace)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	_, _ = fmt.Fprintln(&b.table, "FIGURE\tKUBECTL ML\tKUBECTL\tRATIO\tWANTED")
	return b
}

// counted counts the bytes of answers, as they are on the wire.
type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// Unwrap lets the proxy flush.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (b *bench) print() {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, _ = w.Write(b.table.Bytes())
	_ = w.Flush()
	fmt.Println(out.String())
}

// sample is what one call took.
type sample struct {
	wall, cpu time.Duration
	requests  int64
	bytes     int64 // of the answers
	// memory is the largest resident set, in bytes.
	memory int64
}

func (b *bench) call(name string, args ...string) sample {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), name, args...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = b.env, &out, &out
	before, sent, start := b.requests.Load(), b.bytes.Load(), time.Now()
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s %s: %v\n%.2000s", name, strings.Join(args, " "), err, out.String())
	}
	s := sample{wall: time.Since(start), requests: b.requests.Load() - before, bytes: b.bytes.Load() - sent}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = usage.Maxrss * 1024 // kilobytes on Linux
	}
	return s
}

// alternate calls two commands in turn, so that both see the same noise, and returns the medians.
func (b *bench) alternate(n int, first, second func() sample) (x, y sample) {
	var xs, ys []sample
	for range n {
		xs, ys = append(xs, first()), append(ys, second())
	}
	return median(xs), median(ys)
}

func median(all []sample) sample {
	mid := func(f func(sample) int64) int64 {
		v := make([]int64, len(all))
		for i, s := range all {
			v[i] = f(s)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return sample{
		wall: time.Duration(mid(func(s sample) int64 { return int64(s.wall) })),
		cpu:  time.Duration(mid(func(s sample) int64 { return int64(s.cpu) })), requests: mid(func(s sample) int64 { return s.requests }),
		memory: mid(func(s sample) int64 { return s.memory }), bytes: mid(func(s sample) int64 { return s.bytes }),
	}
}

func (b *bench) row(figure string, x, y sample, wanted string) {
	ratio := func(a, b time.Duration) string { return fmt.Sprintf("%.2fx", float64(a)/float64(b)) }
	_, _ = fmt.Fprintf(&b.table, "%s: wall\t%s\t%s\t%s\t%s\n", figure, ms(x.wall), ms(y.wall), ratio(x.wall, y.wall), wanted)
	_, _ = fmt.Fprintf(&b.table, "%s: CPU\t%s\t%s\t%s\t\n", figure, ms(x.cpu), ms(y.cpu), ratio(x.cpu, y.cpu))
	_, _ = fmt.Fprintf(&b.table, "%s: API requests\t%d\t%d\t\t\n", figure, x.requests, y.requests)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func (b *bench) coldStart() {
	x, y := b.alternate(30,
		func() sample { return b.call(b.ml, "version", "--client") },
		func() sample { return b.call(b.kubectl, "version", "--client") })
	b.row("version --client", x, y, "<= 1.0x")
}

func (b *bench) size() {
	st, err := os.Stat(b.ml)
	if err != nil {
		b.t.Fatal(err)
	}
	_, _ = fmt.Fprintf(&b.table, "stripped binary\t%.1f MB\t\t\t<= 45 MB\n", float64(st.Size())/1e6)
}

// launch compares a detached stage with the Job that it makes, created by kubectl.
func (b *bench) launch() {
	dir := b.t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	pipeline := "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: bench}\nspec:\n  source: ./src\n  stages:\n" +
		"  - {name: features, image: \"busybox:1.36\", command: [\"true\"]}\n  - {name: train, needs: [features], image: \"busybox:1.36\", command: [\"true\"], gpus: 1}\n"
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: bench-}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n" +
		"      containers:\n      - {name: main, image: \"busybox:1.36\", command: [\"true\"], resources: {limits: {nvidia.com/gpu: 1}}}\n"
	for name, text := range map[string]string{"pipeline.yaml": pipeline, "src/train.py": "print(1)\n", "job.yaml": job} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	x, y := b.alternate(15,
		func() sample { return b.call(b.ml, "run", "-f", file, "--only", "train", "--detach") },
		func() sample { return b.call(b.kubectl, "create", "-f", filepath.Join(dir, "job.yaml")) })
	b.row("run --only train --detach / create -f job.yaml", x, y, "<= 1.5x")
}

func (b *bench) lint() {
	var text strings.Builder
	text.WriteString("apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: big}\nspec:\n  params: {seed: 7}\n  stages:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - name: s%d\n    image: example.org/train:1.0\n    command: [python3, train.py, \"--seed=$(params.seed)\"]\n    gpus: 1\n", i)
		if i > 0 {
			fmt.Fprintf(&text, "    needs: [s%d]\n", i-1)
		}
	}
	file := filepath.Join(b.t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.t.Fatal(err)
	}
	x, base := b.alternate(15,
		func() sample { return b.call(b.ml, "lint", "-f", file) },
		func() sample { return b.call(b.ml, "version", "--client") })
	_, _ = fmt.Fprintf(&b.table, "lint of 1,000 stages: CPU\t%s (start alone: %s)\t\t\t<= 100 ms\n", ms(x.cpu), ms(base.cpu))
}

// recorded is how many runs the list is measured with.
const recorded = 2000

func (b *bench) runs() {
	b.call(b.ml, "wait", "@latest", "--timeout", "2m")
	ctx := b.t.Context()
	api := b.kube.CoreV1().ConfigMaps(b.namespace)
	list, err := api.List(ctx, metav1.ListOptions{LabelSelector: "kubectl-ml.dev/kind=run,kubectl-ml.dev/state=Succeeded", Limit: 1})
	if err != nil || len(list.Items) == 0 {
		b.t.Fatalf("no ended run to copy: %v", err)
	}
	if err := b.copyRuns(ctx, list.Items[0]); err != nil {
		b.t.Fatal(err)
	}
	x, y := b.alternate(11,
		func() sample { return b.call(b.ml, "runs") },
		func() sample { return b.call(b.kubectl, "get", "configmaps") })
	b.row(fmt.Sprintf("runs / get configmaps, %d runs", recorded), x, y, "<= 0.5x")
}

func (b *bench) copyRuns(ctx context.Context, from corev1.ConfigMap) error {
	work, failed := make(chan int), make(chan error, 8)
	for range 8 {
		go func() {
			for i := range work {
				cm := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
					Name: fmt.Sprintf("mlrun-bench-copy%d", i), Namespace: b.namespace, Labels: from.Labels, Annotations: from.Annotations,
				}, Data: from.Data}
				if _, err := b.kube.CoreV1().ConfigMaps(b.namespace).Create(ctx, &cm, metav1.CreateOptions{}); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for i := range recorded {
		work <- i
	}
	close(work)
	for range 8 {
		if err := <-failed; err != nil {
			return fmt.Errorf("copy a run: %w", err)
		}
	}
	return nil
}
