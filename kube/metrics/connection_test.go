package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// say answers each request the same.
func say(code int, media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text))
	}
}

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

const jsonType = "application/json"

// strange are servers that stand where a Prometheus should, and what is said of them: directly and, where that is
// different, through the API server.
func strange() map[string]struct {
	server      http.HandlerFunc
	direct, via string
} {
	type s = struct {
		server      http.HandlerFunc
		direct, via string
	}
	const anyone = "it does not answer as Prometheus does"
	return map[string]s{
		"a web page":          {say(200, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title>"), "it answers with a web page (200), not as Prometheus does", ""},
		"a page without type": {say(200, "", "  <html>"), "it answers with a web page (200), not as Prometheus does", ""},
		"a login": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example/?rd=x", http.StatusFound)
		}, "it sends to https://login.example/?rd=x", ""},
		"credentials wanted":   {say(401, "text/plain", "Unauthorized"), "it does not accept the credentials (401)", "it asks for credentials, and the API server passes none on"},
		"forbidden":            {say(403, "text/plain", "Forbidden by \x1b[31mpolicy\nof the house"), "it answers 403 Forbidden: Forbidden by policy of the house", ""},
		"not there":            {say(404, "text/plain", "404 page not found"), "it has no Prometheus API at ", ""},
		"starting":             {say(503, "text/plain", "Service Unavailable"), "it answers 503 Service Unavailable: Service Unavailable", ""},
		"a timeout of its own": {say(503, jsonType, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`), "query timed out in expression evaluation", ""},
		"refused by Mimir":     {say(401, jsonType, `{"status":"error","error":"no org id"}`), "it does not accept the credentials (401)", "it asks for credentials"},
		"another API":          {say(200, jsonType, `{"hello":"world"}`), anyone, ""},
		"a list":               {say(200, jsonType, `[1,2]`), anyone + ": [1,2]", ""},
		"a matrix":             {say(200, jsonType, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), anyone, ""},
		"nothing":              {say(200, jsonType, ""), anyone + ": nothing", ""},
		"cut off":              {say(200, jsonType, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"val`), anyone, ""},
		"hangs":                {hang, "it does not answer in time", ""},
		"hangs on its way": {func(w http.ResponseWriter, r *http.Request) {
			say(200, jsonType, `{"status":"success","data":{"resultType":"vector","result":[`)(w, r)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}, "it does not answer in time", ""},
		"closes": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", "error trying to reach service: EOF"},
	}
}

// check finds that the prober, the library and the reader of devices all say the same of a server.
func check(t *testing.T, what, want string, c *client.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Find(ctx, c, Options{URL: name})
	var none *NotFoundError
	if !errors.As(err, &none) || len(none.Tried) != 1 || !strings.Contains(err.Error(), want) || strings.ContainsAny(none.Short(), "\n\x1b") {
		t.Errorf("%s: %v\nwant: %s", what, err, want)
	}
	list, err := explicit(t.Context(), c, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := list[0].open(c, Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	devices, err := s.Devices(ctx, Query{})
	var explained *client.Error
	if len(devices) > 0 || !errors.As(err, &explained) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s, devices: %v\nwant: %s", what, err, want)
	}
}

func TestStrangeServers(t *testing.T) {
	c, err := client.New(&rest.Config{Host: "https://127.0.0.1:1"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range strange() {
		server := httptest.NewServer(s.server)
		check(t, what, s.direct, c, server.URL)
		server.Close()
	}
}

// TestStrangeServersBehindTheAPIServer asks the same servers through a Service.
func TestStrangeServersBehindTheAPIServer(t *testing.T) {
	kube := withService(t)
	ns := kubetest.Open(t).Namespace(t)
	answers := serve(t, kube, ns)
	c, _ := connect(t, ns, "")
	for what, s := range strange() {
		answers.Store(s.server)
		want := s.via
		if want == "" {
			want = s.direct
		}
		check(t, what, want, c, ns+"/strange:80")
	}
}

// serve makes a Service strange:80 in the namespace that leads to a server of the test, and returns what answers there.
// The API server proxies to pods only, so a pod of the host's network, on a node that is simulated, stands for it.
func serve(t *testing.T, kube kubernetes.Interface, ns string) *atomic.Value {
	t.Helper()
	node, err := kube.CoreV1().Nodes().Get(t.Context(), "control-plane", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			address = a.Address
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var answers atomic.Value // an http.HandlerFunc; it changes while the server runs
	answers.Store(say(200, jsonType, answer(`{"a":"b"} 1`)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers.Load().(http.HandlerFunc)(w, r)
	}))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "strange"}
	_, err = kube.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "strange"},
		Spec:       corev1.ServiceSpec{Selector: labels, ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(int32(port))}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kube.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "strange", Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: "control-plane", HostNetwork: true, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "main", Image: "x", Ports: []corev1.ContainerPort{{ContainerPort: int32(port)}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := connect(t, ns, "")
	until(t, func() error {
		_, err := Find(t.Context(), c, Options{URL: ns + "/strange:80"})
		return err
	})
	return &answers
}

func TestCredentialsStayWhereTheyBelong(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	var user, password string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ = r.BasicAuth(); user == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c, err := client.New(&rest.Config{Host: "https://127.0.0.1:1", BearerToken: "kube"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Find(t.Context(), c, Options{URL: strings.Replace(server.URL, "://", "://me:hidden@", 1)})
	if user != "me" || password != "hidden" || elsewhere != 0 {
		t.Errorf("%s:%s was given, %d requests went elsewhere", user, password, elsewhere)
	}
	if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "me:xxxxx@") {
		t.Errorf("%v", err)
	}
	server.Close()
	if _, err = Find(t.Context(), c, Options{URL: strings.Replace(server.URL, "://", "://me:hidden@", 1)}); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v", err)
	}
}

func TestWarningsComeBesideWhatIsKnown(t *testing.T) {
	text := answer(`{"__name__":"DCGM_FI_DEV_GPU_UTIL","UUID":"G"} 3`)
	server := httptest.NewServer(say(200, jsonType, strings.TrimSuffix(text, "}")+`,"warnings":["store a is away"]}`))
	defer server.Close()
	s := direct(t, server.URL)
	devices, err := s.Devices(t.Context(), Query{})
	var partial *PartialError
	if len(devices) != 1 || devices[0].Busy != 3 || !errors.As(err, &partial) || !strings.Contains(err.Error(), "warns: store a is away") {
		t.Errorf("%+v (%v)", devices, err)
	}
}

func TestWithoutMeansDevicesAreKnown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Query().Get("query"), "avg_over_time") {
			say(422, jsonType, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}`)(w, r)
			return
		}
		say(200, jsonType, answer(`{"__name__":"DCGM_FI_DEV_GPU_UTIL","UUID":"G"} 3`))(w, r)
	}))
	defer server.Close()
	s := direct(t, server.URL)
	devices, err := s.Devices(t.Context(), Query{})
	if len(devices) != 1 || devices[0].Busy != 3 || err == nil || !strings.Contains(err.Error(), "too many samples") {
		t.Errorf("%+v (%v)", devices, err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	one := `{"metric":{"UUID":"` + strings.Repeat("x", 1<<16) + `"},"value":[1,"1"]},`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		_, err := fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`)
		for err == nil && r.Context().Err() == nil {
			_, err = fmt.Fprint(w, one)
		}
	}))
	defer server.Close()
	s := direct(t, server.URL)
	s.conn.limit = 2 << 20
	for what, ask := range map[string]func() error{
		"devices":     func() error { _, err := s.Devices(t.Context(), Query{}); return err },
		"the library": func() error { _, err := s.vector(t.Context(), "x"); return err },
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), "its answer is larger than 2 MiB") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// direct is a Source that was not asked yet.
func direct(t *testing.T, url string) *Source {
	t.Helper()
	list, err := explicit(t.Context(), nil, url)
	if err != nil {
		t.Fatal(err)
	}
	s, err := list[0].open(nil, Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// places are candidates at servers.
func places(t *testing.T, handlers ...http.HandlerFunc) []candidate {
	t.Helper()
	var list []candidate
	for i, h := range handlers {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		one, err := explicit(t.Context(), nil, server.URL)
		if err != nil {
			t.Fatal(err)
		}
		one[0].where = strconv.Itoa(i)
		list = append(list, one...)
	}
	return list
}

func TestFirstOf(t *testing.T) {
	good := say(200, jsonType, answer(`{} 3`))
	empty := say(200, jsonType, answer())
	bad := say(503, "text/plain", "starting")
	slow := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(200 * time.Millisecond):
			good(w, r)
		case <-r.Context().Done():
		}
	}
	for name, c := range map[string]struct {
		list []http.HandlerFunc
		want string
		most time.Duration
	}{
		"the best":                             {[]http.HandlerFunc{good, good, hang}, "0", probeGrace},
		"the best, though slower":              {[]http.HandlerFunc{bad, slow, good}, "1", probeGrace},
		"one that hangs is not waited for":     {[]http.HandlerFunc{hang, good}, "1", probeTimeout},
		"one that watches nothing is the last": {[]http.HandlerFunc{empty, bad, slow}, "2", probeGrace},
		"better than none":                     {[]http.HandlerFunc{bad, empty}, "1", probeGrace},
	} {
		start := time.Now()
		s, err := firstOf(t.Context(), nil, places(t, c.list...), nil, Credentials{})
		if err != nil || s.Where() != c.want || time.Since(start) > c.most+2*time.Second {
			t.Errorf("%s: %+v (%v) after %s", name, s, err, time.Since(start))
		}
	}

	_, err := firstOf(t.Context(), nil, places(t, bad, bad, bad, bad, bad, bad, good, good), []Attempt{{"before", errFor(t)}}, Credentials{})
	var none *NotFoundError
	if !errors.As(err, &none) || len(none.Tried) != 1+maxProbes || none.Left != 2 || none.Tried[0].Where != "before" || none.Tried[1].Where != "0" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := firstOf(ctx, nil, places(t, hang), nil, Credentials{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
