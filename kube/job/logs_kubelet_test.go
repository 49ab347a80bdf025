package job

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// logText is a line of a container's log as the runtime keeps it.
type logText struct {
	at   time.Time
	text string
}

// cluster plays an API server and its kubelets: pods, their watch, and logs that can be made to break.
type cluster struct {
	t  *testing.T
	mu sync.Mutex
	// changed is closed and replaced at every change.
	changed chan struct{}
	version int
	pods    map[string]*corev1.Pod
	gone    []*corev1.Pod
	logs    map[string][]logText // by pod/container
	old     map[string][]logText // of the instance before
	// cut breaks a connection after so many lines, once each, in turn.
	cut map[string][]int
	// refuse is a status with which the log of a pod is refused; down refuses everything.
	refuse  map[string]int
	noWatch bool
	down    bool
	opens   int
	stuck   map[string]bool // these streams never end by themselves
}

func newCluster(t *testing.T) (*cluster, kubernetes.Interface) {
	t.Helper()
	c := &cluster{
		t: t, changed: make(chan struct{}), version: 1, pods: map[string]*corev1.Pod{}, logs: map[string][]logText{},
		old: map[string][]logText{}, cut: map[string][]int{}, refuse: map[string]int{}, stuck: map[string]bool{},
	}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	cs, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c, cs
}

// do changes the cluster and tells all who wait.
func (c *cluster) do(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.version++
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) set(p *corev1.Pod) { c.do(func() { c.pods[p.Name] = p.DeepCopy() }) }

func (c *cluster) write(key string, lines ...logText) {
	c.do(func() { c.logs[key] = append(c.logs[key], lines...) })
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	down := c.down
	c.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api v1 namespaces NS pods [NAME log]
	switch {
	case len(parts) == 7 && parts[6] == "log":
		c.log(w, r, parts[5])
	case len(parts) == 5 && r.URL.Query().Get("watch") != "":
		c.watch(w, r)
	case len(parts) == 5:
		c.list(w)
	default:
		http.NotFound(w, r)
	}
}

func (c *cluster) list(w http.ResponseWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	list.ResourceVersion = fmt.Sprint(c.version)
	for _, p := range c.pods {
		list.Items = append(list.Items, *p)
	}
	answer(w, http.StatusOK, list)
}

// watch sends every pod at every change: more than a server would, and never less.
func (c *cluster) watch(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	forbidden := c.noWatch
	c.mu.Unlock()
	if forbidden {
		refuse(w, http.StatusForbidden, "watch is forbidden")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for {
		c.mu.Lock()
		changed := c.changed
		var events []any
		for _, p := range c.pods {
			events = append(events, map[string]any{"type": "MODIFIED", "object": withKind(p)})
		}
		for _, p := range c.gone {
			events = append(events, map[string]any{"type": "DELETED", "object": withKind(p)})
		}
		c.mu.Unlock()
		for _, e := range events {
			if json.NewEncoder(w).Encode(e) != nil {
				return
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func withKind(p *corev1.Pod) *corev1.Pod {
	p = p.DeepCopy()
	p.Kind, p.APIVersion = "Pod", "v1"
	return p
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, text string) {
	reason := map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 400: metav1.StatusReasonBadRequest, 500: metav1.StatusReasonInternalError}[code]
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: text,
	})
}

// log plays the kubelet: time stamps, tail, since to the second, follow until the container ends, cut connections.
func (c *cluster) log(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	key := name + "/" + q.Get("container")
	c.mu.Lock()
	c.opens++
	p, code := c.pods[name], c.refuse[name]
	left := -1
	if cuts := c.cut[key]; len(cuts) > 0 {
		left, c.cut[key] = cuts[0], cuts[1:]
	}
	c.mu.Unlock()
	if p == nil {
		code = http.StatusNotFound
	} else if code == 0 && !stateOf(p, q.Get("container"), false).started {
		code = http.StatusBadRequest
	}
	if code != 0 {
		refuse(w, code, "no log of "+name)
		return
	}
	var since time.Time
	if s := q.Get("sinceTime"); s != "" {
		since, _ = time.Parse(time.RFC3339, s)
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for at := -1; ; {
		c.mu.Lock()
		changed, lines := c.changed, c.logs[key]
		if q.Get("previous") == "true" {
			lines = c.old[key]
		}
		if at < 0 {
			at = 0
			var tail int
			if _, err := fmt.Sscan(q.Get("tailLines"), &tail); err == nil {
				at = max(len(lines)-tail, 0)
			}
		}
		running := c.pods[name] != nil && stateOf(c.pods[name], q.Get("container"), false).running || c.stuck[key]
		lines = slices.Clone(lines[min(at, len(lines)):])
		c.mu.Unlock()
		for _, l := range lines {
			at++
			if l.at.Before(since) {
				continue
			}
			if left == 0 { // in the middle of a line
				_, _ = fmt.Fprintf(w, "%s %.2s", l.at.Format(time.RFC3339Nano), l.text)
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			left--
			_, _ = fmt.Fprintf(w, "%s %s\n", l.at.Format(time.RFC3339Nano), l.text)
		}
		w.(http.Flusher).Flush()
		if q.Get("follow") != "true" || !running {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// pod builds a pod with one container, main.
func pod(name string, rank int) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID("uid-" + name), Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	if rank >= 0 {
		p.Annotations["batch.kubernetes.io/job-completion-index"] = fmt.Sprint(rank)
	}
	return p
}

func running(p *corev1.Pod) *corev1.Pod {
	p = p.DeepCopy()
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = nil
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
	return p
}

func ended(p *corev1.Pod, code int32) *corev1.Pod {
	p = running(p)
	p.Status.Phase = corev1.PodSucceeded
	if code != 0 {
		p.Status.Phase = corev1.PodFailed
	}
	for i := range p.Status.ContainerStatuses {
		p.Status.ContainerStatuses[i].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	}
	return p
}

// sink collects lines; it can be waited upon.
type sink struct {
	mu     sync.Mutex
	lines  []LogLine
	status []string
	more   chan struct{}
}

func newSink() *sink { return &sink{more: make(chan struct{}, 1)} }

func (s *sink) emit(l LogLine) {
	s.mu.Lock()
	s.lines = append(s.lines, l)
	s.mu.Unlock()
	s.wake()
}

func (s *sink) told(l LogStatus) {
	s.mu.Lock()
	s.status = append(s.status, l.Text)
	s.mu.Unlock()
	s.wake()
}

func (s *sink) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// until waits for a condition on what was collected.
func (s *sink) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		now := ok()
		s.mu.Unlock()
		if now {
			return
		}
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("waited in vain until %s; lines %v, status %q", what, s.texts(), s.status)
		}
	}
}

func (s *sink) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.lines {
		out = append(out, l.Pod+" "+l.Text)
	}
	return out
}

// following runs Logs at a fast pace in the background.
type following struct {
	*sink
	end    chan struct{} // close to say that the work has ended
	cancel context.CancelFunc
	result chan error
	report LogReport
}

func followLogs(t *testing.T, cs kubernetes.Interface, o LogOptions) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{sink: newSink(), end: make(chan struct{}), cancel: cancel, result: make(chan error, 1)}
	t.Cleanup(cancel)
	o.Follow, o.Status = true, f.told
	r := newLogReader(cs, "ns", PodSelector{Rank: AllRanks}, o, f.emit)
	r.pace = fast
	go func() {
		err := r.follow(ctx, func(context.Context) (bool, error) {
			select {
			case <-f.end:
				return true, nil
			default:
				return false, nil
			}
		})
		f.report = r.report
		f.result <- err
	}()
	return f
}

func (f *following) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("does not end; lines %v, status %q", f.texts(), f.status)
		return nil
	}
}

var fast = pace{poll: 20 * time.Millisecond, retry: time.Millisecond, retryMax: 5 * time.Millisecond, grace: 200 * time.Millisecond, settle: time.Millisecond}
