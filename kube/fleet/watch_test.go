package fleet

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// live is a namespace of a real API server.
type live struct {
	*client.Client
	t       *testing.T
	sandbox kubetest.Sandbox
}

func realFleet(t *testing.T) *live {
	t.Helper()
	t.Parallel()
	s := kubetest.Open(t)
	l := &live{t: t, sandbox: s}
	l.Client = l.connect(s.Config(t), s.Namespace(t))
	return l
}

func (l *live) connect(cfg *rest.Config, ns string) *client.Client {
	l.t.Helper()
	c, err := client.New(cfg, ns)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// ctx bounds what a test does with the cluster.
func (l *live) ctx() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *live) eventually(what string, ok func() bool) {
	l.t.Helper()
	for until := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			l.t.Fatalf("waited for a minute: %s", what)
		}
	}
}

// submit makes a Job of one pod with a GPU, which runs for so long on a simulated node.
func (l *live) submit(name, lasts string) {
	l.t.Helper()
	limits := corev1.ResourceList{"nvidia.com/gpu": quantity.MustParse("1")}
	_, err := l.Kube.BatchV1().Jobs(l.Namespace).Create(l.ctx(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "a"}},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"sandbox.kubectl-ml.dev/duration": lasts}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Tolerations:   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
				Containers:    []corev1.Container{{Name: "main", Image: "registry.example/nothing:1", Resources: corev1.ResourceRequirements{Limits: limits}}},
			},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) remove(name string) {
	l.t.Helper()
	background := metav1.DeletePropagationBackground
	if err := l.Kube.BatchV1().Jobs(l.Namespace).Delete(l.ctx(), name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		l.t.Fatal(err)
	}
}

// watch begins to watch the namespace with a client.
func (l *live) watch(c *client.Client, o Options) *Watcher {
	l.t.Helper()
	o.Namespace = c.Namespace
	w := newWatcher(c, o, pace{discover: time.Second, retry: time.Second, settle: 50 * time.Millisecond, poll: time.Second})
	w.begin(l.ctx())
	if err := w.Ready(l.ctx()); err != nil {
		l.t.Fatal(err)
	}
	return w
}

// states are the works as text, such as "a=Running b=Pending".
func states(s *Snapshot) string {
	var out []string
	for _, w := range s.Works {
		out = append(out, w.Name+"="+w.State)
	}
	return strings.Join(out, " ")
}

func (l *live) await(w *Watcher, want string) *Snapshot {
	l.t.Helper()
	var s *Snapshot
	l.eventually("to see "+want, func() bool {
		s = w.Snapshot()
		return states(s) == want
	})
	return s
}

func TestWatchSeesChanges(t *testing.T) {
	l := realFleet(t)
	l.submit("before", "1h")
	w := l.watch(l.Client, Options{Nodes: true})
	first := l.await(w, "before=Running")
	if len(first.Problems) > 0 || len(first.Nodes) == 0 || time.Since(first.At) > time.Minute {
		t.Errorf("problems %v, %d nodes, as of %s", first.Problems, len(first.Nodes), first.At)
	}
	l.submit("during", "1s")
	s := l.await(w, "before=Running during=Succeeded")
	if s.Version <= first.Version || states(first) != "before=Running" {
		t.Errorf("version %d after %d; the first snapshot is now %s", s.Version, first.Version, states(first))
	}
	l.remove("before")
	l.await(w, "during=Succeeded")
	if why := ask(w.Lost()); why != "" {
		t.Errorf("lost: %s", why)
	}
	for _, k := range w.State() {
		if !k.Synced || !k.Open || k.Err != nil || k.Heard.IsZero() {
			t.Errorf("%s is not watched: %+v", k.Resource, k)
		}
	}
}

func ask(since time.Time, lost bool, why error) string {
	if !lost {
		return ""
	}
	return fmt.Sprintf("since %s: %v", since, why)
}

// What is watched is what is read: the same functions decode both.
func TestWatchAgreesWithRead(t *testing.T) {
	l := realFleet(t)
	for i := range 3 {
		l.submit(fmt.Sprintf("job-%d", i), "1h")
	}
	o := Options{Namespace: l.Namespace, Nodes: true, Plain: true}
	w := l.watch(l.Client, o)
	watched := l.await(w, "job-0=Running job-1=Running job-2=Running")
	read, err := Read(l.ctx(), l.Client, o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read.Works, watched.Works, cmpopts.EquateApproxTime(0), cmp.AllowUnexported(Pod{}, claimUse{}), cmpopts.IgnoreUnexported(job.Progress{})); diff != "" {
		t.Errorf("read and watched (-read +watched):\n%s", diff)
	}
	if len(read.Nodes) != len(watched.Nodes) {
		t.Errorf("%d nodes are read, %d watched", len(read.Nodes), len(watched.Nodes))
	}
}

func TestWatchSignalsOnce(t *testing.T) {
	l := realFleet(t)
	w := l.watch(l.Client, Options{})
	for i := range 3 {
		l.submit(fmt.Sprintf("job-%d", i), "1h")
	}
	l.await(w, "job-0=Running job-1=Running job-2=Running")
	time.Sleep(300 * time.Millisecond) // the last change of a status that changes no fact
	pending := 0
	for more := true; more; {
		select {
		case <-w.Changed():
			pending++
		default:
			more = false
		}
	}
	if pending > 1 {
		t.Errorf("%d signals are pending", pending)
	}
	a, b := w.Snapshot(), w.Snapshot()
	if a != b {
		t.Error("a snapshot is made anew although nothing changed")
	}
}

func TestWatchOutlivesTheServer(t *testing.T) {
	l := realFleet(t)
	wire, cfg := l.sandbox.Wire(t)
	l.submit("kept", "1h")
	w := l.watch(l.connect(cfg, l.Namespace), Options{})
	l.await(w, "kept=Running")
	wire.Cut()
	cut := time.Now()
	l.eventually("to be told", func() bool { return ask(w.Lost()) != "" })
	if since, _, why := w.Lost(); since.After(cut.Add(time.Second)) || why == nil || !strings.Contains(why.Error(), "refuses connections") {
		t.Errorf("lost since %s (cut at %s): %v", since, cut, why)
	}
	if s := w.Snapshot(); states(s) != "kept=Running" || len(s.Problems) > 0 || s.At.After(cut.Add(time.Second)) {
		t.Errorf("%s, problems %v, as of %s, cut at %s", states(s), s.Problems, s.At, cut)
	}
	l.submit("missed", "1h")
	l.remove("kept")
	wire.Mend()
	s := l.await(w, "missed=Running")
	l.eventually("to be told that all is well", func() bool { return ask(w.Lost()) == "" })
	if !s.At.After(cut) {
		t.Errorf("as of %s, although it was cut at %s", s.At, cut)
	}
}

// An answer from the middle of nowhere: the version that the watch goes on from is too old.
func TestWatchReadsAnewWhatIsTooOld(t *testing.T) {
	l := realFleet(t)
	wire, cfg := l.sandbox.Wire(t)
	expired := make(chan struct{}, 100)
	var cut atomic.Bool
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			q := r.URL.Query()
			if cut.Load() && q.Get("watch") != "" && q.Get("resourceVersion") != "" && len(expired) < 12 {
				expired <- struct{}{}
				q.Set("resourceVersion", "1")
				r = r.Clone(r.Context())
				r.URL.RawQuery = q.Encode()
			}
			return next.RoundTrip(r)
		})
	})
	l.submit("kept", "1h")
	w := l.watch(l.connect(cfg, l.Namespace), Options{})
	l.await(w, "kept=Running")
	wire.Cut()
	cut.Store(true)
	l.submit("missed", "1h")
	l.remove("kept")
	wire.Mend()
	l.await(w, "missed=Running")
	if len(expired) == 0 {
		t.Error("no watch was asked to go on")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// as is a client of a user who has nothing but these rights in the namespace.
func (l *live) as(user string, rules ...rbacv1.PolicyRule) *client.Client {
	l.t.Helper()
	meta := metav1.ObjectMeta{Name: user, Namespace: l.Namespace}
	_, err := l.Kube.RbacV1().Roles(l.Namespace).Create(l.ctx(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	if err == nil {
		_, err = l.Kube.RbacV1().RoleBindings(l.Namespace).Create(l.ctx(), &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	cfg := rest.CopyConfig(l.sandbox.Config(l.t))
	cfg.Impersonate.UserName = user
	c := l.connect(cfg, l.Namespace)
	l.eventually("the rights of "+user, func() bool { // the authorizer learns of a new role by a watch of its own
		_, err := c.Kube.BatchV1().Jobs(c.Namespace).List(l.ctx(), metav1.ListOptions{})
		return err == nil
	})
	return c
}

func TestWatchWithFewRights(t *testing.T) {
	l := realFleet(t)
	l.submit("seen", "1h")
	c := l.as("few", rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"list", "watch"}})
	var asked atomicCount
	w := l.watch(asked.counted(l, c), Options{Nodes: true})
	s := w.Snapshot()
	if len(s.Works) != 1 || s.Works[0].Name != "seen" {
		t.Errorf("%s", states(s))
	}
	var problems []string
	for _, p := range s.Problems {
		problems = append(problems, p.Resource)
		if !strings.Contains(p.Err.Error(), "forbidden: needs list") {
			t.Errorf("%s: %v", p.Resource, p.Err)
		}
	}
	if got := strings.Join(problems, ", "); !strings.Contains(got, "deployments.apps, nodes, pods, pods of other namespaces") || strings.Contains(got, "jobs.batch") {
		t.Errorf("the problems are %s", got)
	}
	l.submit("later", "1h")
	l.eventually("what may be seen to be seen", func() bool { return len(w.Snapshot().Works) == 2 })
	before := asked.pods.Load()
	time.Sleep(3 * time.Second)
	if n := asked.pods.Load() - before; n > 0 {
		t.Errorf("pods, which are forbidden, were asked for %d times within three seconds", n)
	}
	if why := ask(w.Lost()); why != "" {
		t.Errorf("lost: %s", why)
	}
}

// Who may list and not watch gets the fleet a little later.
func TestWatchWithoutTheRightToWatch(t *testing.T) {
	l := realFleet(t)
	l.submit("seen", "1h")
	c := l.as("lists", rbacv1.PolicyRule{APIGroups: []string{"batch", ""}, Resources: []string{"jobs", "pods"}, Verbs: []string{"list"}})
	w := l.watch(c, Options{})
	l.await(w, "seen=Running")
	for _, k := range w.State() {
		if (k.Resource == "pods" || k.Resource == "jobs.batch") && (!k.Synced || k.Open || k.Err != nil) {
			t.Errorf("%+v", k)
		}
	}
	time.Sleep(patience + 500*time.Millisecond)
	if why := ask(w.Lost()); why != "" {
		t.Errorf("lost: %s", why)
	}
}

func TestWatchOfNothingAtAll(t *testing.T) {
	l := realFleet(t)
	wire, cfg := l.sandbox.Wire(t)
	wire.Cut()
	w := Watch(l.ctx(), l.connect(cfg, l.Namespace), Options{Namespace: l.Namespace})
	if err := w.Ready(l.ctx()); err == nil || !strings.Contains(err.Error(), "refuses connections") {
		t.Errorf("got %v", err)
	}
	wire.Mend() // and yet it comes
	l.submit("late", "1h")
	l.await(w, "late=Running")
	l.eventually("the problems to go", func() bool { return len(w.Snapshot().Problems) == 0 })
	if err := Watch(l.ctx(), l.Client, Options{Selector: "a in"}).Ready(l.ctx()); err == nil || !strings.Contains(err.Error(), "a in") {
		t.Errorf("a bad selector: %v", err)
	}
}

// A kind that is installed while the fleet is watched is seen, and gone when it is removed.
func TestWatchFindsKindsThatCome(t *testing.T) {
	l := realFleet(t)
	crds := l.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	name := "appwrappers.workload.codeflare.dev"
	w := l.watch(l.Client, Options{})
	_, err := crds.Create(l.ctx(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"group": "workload.codeflare.dev", "scope": "Namespaced", "names": map[string]any{"kind": "AppWrapper", "plural": "appwrappers"},
			"versions": []any{map[string]any{
				"name": "v1beta2", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		t.Skip("somebody else installed the kind")
	}
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		err := crds.Delete(context.WithoutCancel(l.ctx()), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	t.Cleanup(remove)
	wrappers := l.Dynamic.Resource(schema.GroupVersionResource{Group: "workload.codeflare.dev", Version: "v1beta2", Resource: "appwrappers"}).Namespace(l.Namespace)
	l.eventually("the new kind to be served", func() bool {
		_, err := wrappers.Create(l.ctx(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "workload.codeflare.dev/v1beta2", "kind": "AppWrapper", "metadata": map[string]any{"name": "wrapped"}, "status": map[string]any{"phase": "Running"},
		}}, metav1.CreateOptions{})
		return err == nil
	})
	s := l.await(w, "wrapped=Running")
	if k := s.Works[0].Kind; k != "AppWrapper" {
		t.Errorf("kind %s", k)
	}
	remove()
	l.await(w, "")
	l.eventually("the kind to be forgotten", func() bool {
		for _, k := range w.State() {
			if strings.HasPrefix(k.Resource, "appwrappers.") {
				return false
			}
		}
		return true
	})
	if s := w.Snapshot(); len(s.Problems) > 0 {
		t.Errorf("problems remain: %v", s.Problems)
	}
}

func TestWatchLeavesNothingBehind(t *testing.T) {
	s := kubetest.Open(t)
	l := &live{t: t, sandbox: s}
	l.Client = l.connect(s.Config(t), s.Namespace(t))
	ctx, cancel := context.WithCancel(t.Context())
	w := Watch(ctx, l.Client, Options{Nodes: true})
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stacks(), "fleet.(*Watcher).keep") {
		t.Fatal("the test does not see what it looks for")
	}
	cancel()
	l.eventually("all goroutines to end", func() bool {
		text := stacks()
		return !strings.Contains(text, "fleet.(*Watcher)") && !strings.Contains(text, "fleet.(*decoding)") && !strings.Contains(text, "cache.(*Reflector)")
	})
}

func stacks() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// atomicCount counts requests for pods.
type atomicCount struct{ pods atomic.Int64 }

// counted is the client of the same user, counted.
func (n *atomicCount) counted(l *live, c *client.Client) *client.Client {
	cfg := rest.CopyConfig(l.sandbox.Config(l.t))
	cfg.Impersonate.UserName = "few"
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/pods") {
				n.pods.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return l.connect(cfg, c.Namespace)
}
