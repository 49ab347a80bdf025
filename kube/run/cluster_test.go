package run

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// cluster is a namespace of a real API server, seen by its administrator.
type cluster struct {
	*client.Client
	t   *testing.T
	cfg *rest.Config
}

func realCluster(t *testing.T) *cluster {
	t.Helper()
	s := kubetest.Open(t)
	k := &cluster{t: t, cfg: s.Config(t)}
	k.Client = k.connect(k.cfg, s.Namespace(t))
	return k
}

func (k *cluster) connect(cfg *rest.Config, ns string) *client.Client {
	k.t.Helper()
	c, err := client.New(cfg, ns)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// as is a client of a user who has nothing but these rights in the namespace.
func (k *cluster) as(user string, rules ...rbacv1.PolicyRule) *client.Client {
	k.t.Helper()
	meta := metav1.ObjectMeta{Name: user, Namespace: k.Namespace}
	_, err := k.Kube.RbacV1().Roles(k.Namespace).Create(k.ctx(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	if err == nil {
		_, err = k.Kube.RbacV1().RoleBindings(k.Namespace).Create(k.ctx(), &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		k.t.Fatal(err)
	}
	cfg := rest.CopyConfig(k.cfg)
	cfg.Impersonate.UserName = user
	c := k.connect(cfg, k.Namespace)
	// The authorizer learns of a new role by a watch of its own.
	last := rules[len(rules)-1]
	k.eventually("the rights of "+user, func() bool { return allowed(k.ctx(), c, last) })
	return c
}

func allowed(ctx context.Context, c *client.Client, rule rbacv1.PolicyRule) bool {
	var err error
	switch rule.Resources[0] {
	case "jobs":
		_, err = c.Kube.BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{})
	default:
		_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, metav1.ListOptions{})
	}
	return err == nil
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// requests lets a test see each request of a client, or answer it itself.
type requests func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error)

type tripper struct {
	next http.RoundTripper
	do   requests
}

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t.do(r, t.next.RoundTrip) }

func (k *cluster) through(do requests) *client.Client {
	cfg := rest.CopyConfig(k.cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return tripper{next, do} })
	return k.connect(cfg, k.Namespace)
}

func is(r *http.Request, method, resource string) bool {
	return r.Method == method && strings.Contains(r.URL.Path+"/", "/"+resource+"/")
}

// counter counts what a client, or several, have created.
type counter struct {
	sync.Mutex
	created map[string]int
}

func (n *counter) count(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	resp, err := send(r)
	if err == nil && is(r, http.MethodPost, "jobs") && resp.StatusCode == http.StatusCreated {
		n.Lock()
		defer n.Unlock()
		n.created["jobs"]++
	}
	return resp, err
}

// ctx bounds what a test does with the cluster.
func (k *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	k.t.Cleanup(cancel)
	return ctx
}

func (k *cluster) eventually(what string, ok func() bool) {
	k.t.Helper()
	for until := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			k.t.Fatalf("waited for a minute: %s", what)
		}
	}
}

// sim is a stage on simulated nodes.
type sim struct {
	name, needs string
	// lasts is how long its pod pretends to work, says what it leaves, exit its exit code.
	lasts, says string
	exit        int
	// more is YAML of the stage, one line.
	more string
}

// pipelineOf writes a pipeline file named p and reads it.
func pipelineOf(t *testing.T, spec string, stages ...sim) *Bundle {
	t.Helper()
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, `apiVersion: kubectl-ml.dev/v1alpha1
kind: Pipeline
metadata: {name: p}
spec:
  %s
  defaults:
    image: registry.example/nothing:1
    nodeSelector: {type: kwok}
    tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
  stages:
`, spec)
	for _, s := range stages {
		if s.lasts == "" {
			s.lasts = "100ms"
		}
		_, _ = fmt.Fprintf(&b, "  - name: %s\n    needs: [%s]\n    command: [work]\n", s.name, s.needs)
		if s.more != "" {
			_, _ = fmt.Fprintf(&b, "    %s\n", s.more)
		}
		if !strings.Contains(s.more, "patch:") {
			_, _ = fmt.Fprintf(&b, "    patch: {spec: {template: {metadata: {annotations: {sandbox.kubectl-ml.dev/duration: %s, sandbox.kubectl-ml.dev/exit-code: %q, sandbox.kubectl-ml.dev/result: '%s'}}}}}\n",
				s.lasts, fmt.Sprint(s.exit), s.says)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(spec, "source:") {
		if err := os.MkdirAll(filepath.Join(dir, "src"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "src", "work.py"), []byte("print('"+t.Name()+"')\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bundle, err := ReadFile(file, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return bundle
}

// try prepares and creates a run.
func (k *cluster) try(c *client.Client, b *Bundle, o StartOptions) (*Prepared, error) {
	k.t.Helper()
	o.Now = time.Now()
	p, err := Prepare(k.ctx(), c, b, o)
	if err != nil {
		return nil, err
	}
	return p, p.Create(k.ctx(), c)
}

func (k *cluster) start(b *Bundle, o StartOptions) string {
	k.t.Helper()
	p, err := k.try(k.Client, b, o)
	if err != nil {
		k.t.Fatal(err)
	}
	return p.Record.Name
}

// drive takes a run to its end, or to where a person is asked.
func (k *cluster) drive(c *client.Client, name string) Run {
	k.t.Helper()
	r, err := Drive(k.ctx(), c, name, func(Update) {})
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

func (k *cluster) get(name string) Run {
	k.t.Helper()
	r, err := Get(k.ctx(), k.Client, name)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// jobs are the run's Jobs that nobody has deleted, by name.
func (k *cluster) jobs(name string) map[string]batchv1.Job {
	k.t.Helper()
	list, err := k.Kube.BatchV1().Jobs(k.Namespace).List(k.ctx(), kube.ListOptions(map[string]string{kube.LabelRun: name}))
	if err != nil {
		k.t.Fatal(err)
	}
	out := map[string]batchv1.Job{}
	for _, j := range list.Items {
		if j.DeletionTimestamp == nil {
			out[j.Name] = j
		}
	}
	return out
}

// records counts the runs that the namespace remembers.
func (k *cluster) records() int {
	k.t.Helper()
	names, err := Names(k.ctx(), k.Client)
	if err != nil {
		k.t.Fatal(err)
	}
	return len(names)
}

func (k *cluster) configMapExists(name string) bool {
	k.t.Helper()
	_, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Get(k.ctx(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		k.t.Fatal(err)
	}
	return err == nil
}

// states are the states of a run and its stages, such as "Failed a=Succeeded b=Failed".
func states(r Run) string {
	parts := []string{string(r.State)}
	for _, st := range r.Now {
		parts = append(parts, st.Name+"="+string(st.State))
	}
	return strings.Join(parts, " ")
}

func deployStage(needs string) pipeline.Stage {
	return pipeline.Stage{Name: "serve", Needs: []string{needs}, Deploy: &pipeline.Deploy{Manifest: "server.yaml"}}
}

const serverManifest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: 1
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      nodeSelector: {type: kwok}
      tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
      containers: [{name: server, image: "registry.example/nothing:1"}]
`
