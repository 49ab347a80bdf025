package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// kubelet answers the API server for the simulated nodes, which have no kubelet: so that
// `kubectl logs` works on their pods.
type kubelet struct {
	pods dynamic.Interface
	gpus http.Handler // the metric exporters beside the kubelets
	now  func() time.Time
}

func (k *kubelet) serve(ctx context.Context, d state.Dir, address string) error {
	ca, err := os.ReadFile(d.Join("pki", "ca.crt"))
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(d.Join("pki", "local.crt"), d.Join("pki", "local.key"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.Handle("GET /gpus/{node}/metrics", k.gpus)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a simulated pod has logs, and nothing else of a real one", http.StatusNotImplemented)
	})
	server := &http.Server{
		Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: clients, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert,
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// logs serves the text of a pod's annotation as what its container writes while it runs.
func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	ctx, q := r.Context(), r.URL.Query()
	pods := k.pods.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(r.PathValue("namespace"))
	get := func() (*unstructured.Unstructured, error) {
		return pods.Get(ctx, r.PathValue("pod"), metav1.GetOptions{})
	}
	pod, err := get()
	switch {
	case apierrors.IsNotFound(err):
		http.Error(w, "pod not found", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	case q.Get("previous") == "true":
		http.Error(w, "a simulated container never restarts: it has no previous log", http.StatusBadRequest)
		return
	}
	sent := 0
	for first := true; ; first = false {
		lines, ended := script(pod, r.PathValue("container"), k.now())
		if first {
			sent = skip(lines, q, k.now())
		}
		for ; sent < len(lines); sent++ {
			if q.Get("timestamps") == "true" {
				_, _ = fmt.Fprint(w, lines[sent].at.UTC().Format(time.RFC3339Nano), " ")
			}
			if _, err := fmt.Fprintln(w, lines[sent].text); err != nil {
				return
			}
		}
		_ = http.NewResponseController(w).Flush()
		if ended || q.Get("follow") != "true" || !proc.Sleep(ctx, 200*time.Millisecond) {
			return
		}
		if pod, err = get(); err != nil {
			return
		}
	}
}

type line struct {
	at   time.Time
	text string
}

// The annotations of simulated pods that matter here.
const (
	logsAnnotation     = "sandbox.kubectl-ml.dev/logs"
	durationAnnotation = "sandbox.kubectl-ml.dev/duration"
	jobDuration        = 3 * time.Second // as in the stage that ends a Job's pod
)

// annotation is what an annotation says of the pod: the one that ends in its rank comes first.
func annotation(pod *unstructured.Unstructured, name string) string {
	all := pod.GetAnnotations()
	if text, ok := all[name+"."+all["batch.kubernetes.io/job-completion-index"]]; ok {
		return text
	}
	return all[name]
}

// script gives the lines that a container has written until now: those of the annotation, spread
// over the pod's run, so that a simulated training has a curve that grows.
func script(pod *unstructured.Unstructured, container string, now time.Time) (written []line, ended bool) {
	start, end := times(pod, container)
	if start.IsZero() {
		return nil, false
	}
	text := annotation(pod, logsAnnotation)
	if text == "" {
		text = "simulated container " + container + " of pod " + pod.GetName() + " on node " + nodeOf(pod)
	}
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	run, err := time.ParseDuration(annotation(pod, durationAnnotation))
	if err != nil {
		run = jobDuration
	}
	if !end.IsZero() {
		now = end
	}
	for i, text := range all {
		at := start.Add(run * time.Duration(i) / time.Duration(len(all)))
		if end.IsZero() && at.After(now) {
			break
		}
		if !end.IsZero() && at.After(end) { // times in the API are whole seconds
			at = end
		}
		written = append(written, line{at, text})
	}
	return written, !end.IsZero()
}

// times gives when a container started, and when it ended if it has.
func times(pod *unstructured.Unstructured, container string) (start, end time.Time) {
	for _, list := range []string{"containerStatuses", "initContainerStatuses"} {
		statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", list)
		for _, item := range statuses {
			status, ok := item.(map[string]any)
			if !ok || status["name"] != container {
				continue
			}
			at := func(path ...string) time.Time {
				text, _, _ := unstructured.NestedString(status, path...)
				t, _ := time.Parse(time.RFC3339, text)
				return t
			}
			if t := at("state", "running", "startedAt"); !t.IsZero() {
				return t, time.Time{}
			}
			return at("state", "terminated", "startedAt"), at("state", "terminated", "finishedAt")
		}
	}
	return time.Time{}, time.Time{}
}

func nodeOf(pod *unstructured.Unstructured) string {
	node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
	return node
}

// skip says how many of the first lines the caller does not want.
func skip(lines []line, q url.Values, now time.Time) int {
	n := 0
	if tail, err := strconv.Atoi(q.Get("tailLines")); err == nil {
		n = max(0, len(lines)-tail)
	}
	since, err := time.Parse(time.RFC3339, q.Get("sinceTime"))
	if seconds, convErr := strconv.Atoi(q.Get("sinceSeconds")); convErr == nil {
		since, err = now.Add(-time.Duration(seconds)*time.Second), nil
	}
	for err == nil && n < len(lines) && lines[n].at.Before(since) {
		n++
	}
	return n
}
