package serving

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// cluster is a namespace of a real API server with three versions of a model.
type cluster struct {
	*client.Client
	t        *testing.T
	versions []registry.Version
}

func realCluster(t *testing.T) *cluster {
	t.Helper()
	s := kubetest.Open(t)
	c, err := client.New(s.Config(t), s.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	k := &cluster{Client: c, t: t}
	for i := range 3 {
		v, _, err := registry.Register(t.Context(), c, registry.Facts{Model: "m", Artifact: pipeline.Artifact{URI: "inline:m.bin"}}, registry.RegisterOptions{Inline: fmt.Append(nil, "model", i)})
		if err != nil {
			t.Fatal(err)
		}
		k.versions = append(k.versions, v)
	}
	return k
}

// request asks for version 1 on simulated nodes.
func (k *cluster) request() Request {
	serve := &pipeline.Serve{Port: 8080, Replicas: ptr.To[int32](4)}
	serve.Image = "example.com/server:1"
	serve.NodeSelector = map[string]string{"type": "kwok"}
	serve.Tolerations = []corev1.Toleration{{Key: "kwok.x-k8s.io/node", Operator: corev1.TolerationOpExists}}
	return Request{Version: k.versions[0], By: "tester", Deploy: pipeline.Deploy{Serve: serve}}
}

func (k *cluster) start(q Request) Rollout {
	k.t.Helper()
	r, err := Start(k.t.Context(), k.Client, q, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

func (k *cluster) drive(name string) Rollout {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Drive(ctx, k.Client, name, func(Update) {})
	if err != nil {
		k.t.Fatalf("%v; it stood at %+v", err, r)
	}
	return r
}

// deploy takes a version to its end.
func (k *cluster) deploy(q Request) Rollout {
	k.t.Helper()
	return k.drive(k.start(q).Name)
}

// history is the actions on a version, oldest first.
func (k *cluster) history(version int) string {
	k.t.Helper()
	events, problems, err := registry.History(k.t.Context(), k.Client, "m")
	if err != nil || len(problems) > 0 {
		k.t.Fatal(err, problems)
	}
	var out []string
	for _, e := range events {
		if e.Version == version && e.Action != registry.Registered {
			out = append(out, string(e.Action))
		}
	}
	return strings.Join(out, " ")
}

func (k *cluster) hasCanary() bool {
	k.t.Helper()
	_, err := k.Kube.AppsV1().Deployments(k.Namespace).Get(k.t.Context(), "m-canary", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		k.t.Fatal(err)
	}
	return err == nil
}

func side(r Rollout, name string) Side {
	for _, s := range r.Sides {
		if s.Side == name {
			return s
		}
	}
	return Side{}
}

func TestCanary(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	if r := k.deploy(k.request()); r.Phase != Healthy || r.Version != 1 || side(r, sideStable).Ready != 4 {
		t.Fatalf("the first one: %+v", r)
	}
	q := Request{Version: k.versions[1], By: "tester", Deploy: pipeline.Deploy{
		Strategy: pipeline.Canary, Alias: "production",
		Steps: []pipeline.DeployStep{
			{Weight: 25, Gates: []pipeline.DeployGate{{Ready: &metav1.Duration{Duration: time.Second}}}},
			{Weight: 50, Pause: &pipeline.Pause{Approval: true}},
		},
	}}
	r := k.deploy(q)
	if r.Phase != Paused || !r.Approval || r.Step != 2 || r.Weight != 50 || side(r, sideStable).Replicas != 2 || side(r, sideCanary).Ready != 2 {
		t.Fatalf("at the approval: %+v", r)
	}
	// Asked again it goes on; another version is told who is at it.
	if again := k.start(q); again.ID != r.ID {
		t.Errorf("the same request began rollout %s beside %s", again.ID, r.ID)
	}
	var refused *RefusedError
	if _, err := Start(t.Context(), k.Client, Request{Version: k.versions[2]}, nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "begun by tester") {
		t.Errorf("a second rollout: %v", err)
	}
	if _, err := Promote(t.Context(), k.Client, "m", false, registry.Mark{By: "bob"}, nil); err != nil {
		t.Fatal(err)
	}
	r = k.drive("m")
	if r.Phase != Healthy || !r.Ended || r.Stable != 2 || side(r, sideStable).Version != 2 || side(r, sideStable).Ready != 4 || k.hasCanary() {
		t.Fatalf("at the end: %+v", r)
	}
	if got := k.history(2); got != "deploying deployed promoted" {
		t.Errorf("history: %s", got)
	}
	v, err := registry.Resolve(t.Context(), k.Client, registry.Ref{Model: "m", Alias: "production"})
	if err != nil || v.Version != 2 {
		t.Errorf("the alias names %d: %v", v.Version, err)
	}
	if p, err := Prepare(t.Context(), k.Client, Request{Version: k.versions[1], By: "tester"}); err != nil || !p.Unchanged() {
		t.Errorf("what serves already would be changed: %v", err)
	}
	if _, err := Undo(t.Context(), k.Client, "m", 0, registry.Mark{By: "bob"}, nil); err != nil {
		t.Fatal(err)
	}
	if r := k.drive("m"); r.Phase != Healthy || r.Version != 1 || side(r, sideStable).Version != 1 {
		t.Errorf("undone: %+v", r)
	}
}

// A version whose pods never start is taken back, by two drivers at once, and that is recorded once.
func TestAFailedCanaryIsTakenBack(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	k.deploy(k.request())
	q := Request{Version: k.versions[1], By: "tester", Deploy: pipeline.Deploy{
		Strategy: pipeline.Canary, Steps: []pipeline.DeployStep{{Weight: 50}},
		Serve: &pipeline.Serve{Patch: json.RawMessage(`{"spec":{"progressDeadlineSeconds":3,"template":{"metadata":{"annotations":{"sandbox.kubectl-ml.dev/waiting":"ImagePullBackOff: no such image"}}}}}`)},
	}}
	k.start(q)
	var group sync.WaitGroup
	ends := make([]Rollout, 2)
	for i := range ends {
		group.Go(func() { ends[i] = k.drive("m") })
	}
	group.Wait()
	for _, r := range ends {
		if r.Phase != Failed || !strings.Contains(r.Message, "ImagePullBackOff") || side(r, sideStable).Ready != 4 || side(r, sideStable).Version != 1 {
			t.Errorf("the end: %+v", r)
		}
	}
	if got := k.history(2); got != "deploying failed" || k.hasCanary() {
		t.Errorf("history: %s; canary left over: %v", got, k.hasCanary())
	}
}

func TestAGateJobJudges(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	k.deploy(k.request())
	// On a simulated node a Job succeeds; bounded to less time than it takes it fails.
	judge := &pipeline.GateJob{Pod: k.request().Deploy.Serve.Pod, Command: []string{"check"}}
	strict := *judge
	strict.Timeout = &metav1.Duration{Duration: time.Second}
	q := Request{Version: k.versions[1], By: "tester", Deploy: pipeline.Deploy{
		Strategy: pipeline.Canary, Steps: []pipeline.DeployStep{
			{Weight: 25, Gates: []pipeline.DeployGate{{Job: judge}}}, {Weight: 50, Gates: []pipeline.DeployGate{{Job: &strict}}},
		},
	}}
	r := k.deploy(q)
	if r.Phase != Failed || !r.GateFailed || r.Version != 2 || side(r, sideStable).Version != 1 {
		t.Fatalf("the end: %+v", r)
	}
	jobs, err := k.Kube.BatchV1().Jobs(k.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) != 2 {
		t.Fatalf("%d jobs: %v", len(jobs.Items), err)
	}
	env := map[string]string{}
	for _, e := range jobs.Items[0].Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if want := "m-canary." + k.Namespace + ".svc:80"; env["ML_CANARY_ADDRESS"] != want || env["ML_STABLE_ADDRESS"] != strings.Replace(want, "canary", "stable", 1) {
		t.Errorf("the gate is told %v", env)
	}
}

func TestBlueGreen(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	q := k.request()
	q.Deploy.Strategy = pipeline.BlueGreen
	if r := k.deploy(q); r.Phase != Healthy || side(r, sideBlue).Ready != 4 {
		t.Fatalf("the first one: %+v", r)
	}
	r := k.deploy(Request{Version: k.versions[1], By: "tester"})
	if r.Phase != Healthy || !r.Kept || r.Strategy != pipeline.BlueGreen || side(r, sideGreen).Version != 2 || !side(r, sideGreen).Serves || side(r, sideBlue).Serves || side(r, sideBlue).Ready != 4 {
		t.Fatalf("switched: %+v", r)
	}
	if got := k.history(2); got != "deploying deployed" {
		t.Errorf("history: %s", got)
	}
	// The old colour runs, so undo is one change of the Service.
	back, err := Undo(t.Context(), k.Client, "m", 0, registry.Mark{By: "bob"}, nil)
	if err != nil || back.Version != 1 {
		t.Fatal(err, back)
	}
	if r = k.drive("m"); r.Phase != Healthy || !side(r, sideBlue).Serves || side(r, sideGreen).Serves {
		t.Fatalf("switched back: %+v", r)
	}
	if _, err := Promote(t.Context(), k.Client, "m", false, registry.Mark{By: "bob"}, nil); err != nil {
		t.Fatal(err)
	}
	if r = k.drive("m"); r.Kept || side(r, sideGreen).Replicas != 0 || side(r, sideBlue).Ready != 4 {
		t.Errorf("freed: %+v", r)
	}
	var refused *RefusedError
	if _, err := Start(t.Context(), k.Client, Request{Version: k.versions[2], Deploy: pipeline.Deploy{Strategy: pipeline.Canary}}, nil); !errors.As(err, &refused) {
		t.Errorf("a canary beside colours: %v", err)
	}
}

// installRoutes adds the HTTPRoute of the Gateway API, standard channel of v1.4.0, to the sandbox.
func (k *cluster) installRoutes() {
	k.t.Helper()
	f, err := os.Open("testdata/httproutes.yaml.gz")
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		k.t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		k.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		k.t.Fatal(err)
	}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := k.Dynamic.Resource(crds).Create(k.t.Context(), u, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		k.t.Fatal(err)
	}
	for {
		if _, err := k.Dynamic.Resource(routes()).Namespace(k.Namespace).List(k.t.Context(), metav1.ListOptions{}); err == nil {
			return
		} else if k.t.Context().Err() != nil {
			k.t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// backends are the Services of the route with their weights.
func (k *cluster) backends() string {
	k.t.Helper()
	u, err := k.Dynamic.Resource(routes()).Namespace(k.Namespace).Get(k.t.Context(), "m", metav1.GetOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	var out []string
	eachBackends(u, func(refs []any) []any {
		for _, r := range refs {
			name, weight := backendOf(r)
			out = append(out, fmt.Sprintf("%s=%d", name, weight))
		}
		return refs
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestCanaryByRoute(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	k.installRoutes()
	q := k.request()
	q.Deploy.Serve.Gateway, q.Deploy.Serve.Host = "public", "m.example.com"
	k.deploy(q)
	if got := k.backends(); got != "m=100" {
		t.Fatalf("backends: %s", got)
	}
	q = Request{Version: k.versions[1], By: "tester", Route: "m", Deploy: pipeline.Deploy{
		Strategy: pipeline.Canary, Steps: []pipeline.DeployStep{{Weight: 7, Pause: &pipeline.Pause{Approval: true}}},
	}}
	r := k.deploy(q)
	if got := k.backends(); got != "m-canary=7 m-stable=93" || r.Weight != 7 || side(r, sideStable).Ready != 4 || side(r, sideCanary).Ready != 1 {
		t.Fatalf("backends: %s; %+v", got, r)
	}
	if _, err := Abort(t.Context(), k.Client, "m", registry.Mark{By: "bob"}, nil); err != nil {
		t.Fatal(err)
	}
	if r = k.drive("m"); r.Phase != Aborted || k.backends() != "m=100" || k.hasCanary() {
		t.Fatalf("aborted: %s; %+v", k.backends(), r)
	}
	q.Deploy.Steps[0].Pause = nil
	if r = k.deploy(q); r.Phase != Healthy || k.backends() != "m=100" || side(r, sideStable).Version != 2 {
		t.Errorf("promoted: %s; %+v", k.backends(), r)
	}
}

func TestAManifestOfTheUser(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	manifest := func(more string) []byte {
		return []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"own"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"own"}},"template":{"metadata":{"labels":{"app":"own"}},"spec":{"nodeSelector":{"type":"kwok"},"tolerations":[{"key":"kwok.x-k8s.io/node","operator":"Exists"}],"containers":[{"name":"web","image":"example.com/own:1","env":[{"name":"KEEP","value":"1"}` + more + `]}]}}}}`)
	}
	r := k.deploy(Request{Version: k.versions[0], By: "tester", Object: manifest(`,{"name":"GONE","value":"1"}`)})
	if r.Name != "own" || r.Phase != Healthy {
		t.Fatalf("%+v", r)
	}
	// Somebody else adds a field of their own, which stays; what a later manifest leaves out goes.
	api := k.Kube.AppsV1().Deployments(k.Namespace)
	d, err := api.Get(t.Context(), "own", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(&d.Annotations, map[string]string{"team": "theirs"})
	if _, err := api.Update(t.Context(), d, metav1.UpdateOptions{FieldManager: "them"}); err != nil {
		t.Fatal(err)
	}
	r = k.deploy(Request{Version: k.versions[1], By: "tester", Object: manifest(""), Deploy: pipeline.Deploy{Strategy: pipeline.Canary, Steps: []pipeline.DeployStep{{Weight: 50}}}})
	if d, err = api.Get(t.Context(), "own", metav1.GetOptions{}); err != nil || r.Phase != Healthy {
		t.Fatal(err, r)
	}
	env := map[string]string{}
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if _, gone := env["GONE"]; gone || env["KEEP"] != "1" || env["ML_MODEL_VERSION"] != "2" || env["ML_MODEL_PATH"] != "/models/m.bin" || d.Annotations["team"] != "theirs" {
		t.Errorf("env %v, annotations %v", env, d.Annotations)
	}
	var refused *RefusedError
	other := strings.ReplaceAll(string(manifest("")), `"app":"own"`, `"app":"other"`)
	if _, err := Start(t.Context(), k.Client, Request{Version: k.versions[2], Object: json.RawMessage(other)}, nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "cannot change") {
		t.Errorf("another selector: %v", err)
	}
	if _, err := Start(t.Context(), k.Client, Request{Name: "two", Version: k.versions[2], Object: manifest("")}, nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "selects the same pods") {
		t.Errorf("another name: %v", err)
	}
}

// Of many who deploy different versions at the same time one begins, the others are told.
func TestOnlyOneRolloutBegins(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	k.deploy(k.request())
	var group sync.WaitGroup
	var mu sync.Mutex
	begun := map[string]bool{}
	for i := range 8 {
		group.Go(func() {
			r, err := Start(t.Context(), k.Client, Request{Version: k.versions[1+i%2], By: fmt.Sprint("user", i), Deploy: pipeline.Deploy{Strategy: pipeline.Canary}}, nil)
			var refused *RefusedError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				begun[r.ID] = true
			case !errors.As(err, &refused):
				t.Errorf("user%d: %v", i, err)
			}
		})
	}
	group.Wait()
	if len(begun) != 1 {
		t.Errorf("%d rollouts have begun", len(begun))
	}
}
