package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// counted counts requests and refuses what is no GET.
type counted struct {
	under    http.RoundTripper
	requests atomic.Int64
	others   atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	if r.Method != http.MethodGet {
		c.others.Add(1)
	}
	return c.under.RoundTrip(r)
}

// connect is a client of the sandbox, as user or as the administrator, with a count of its requests.
func connect(t *testing.T, namespace, user string) (*client.Client, *counted) {
	t.Helper()
	cfg := kubetest.Cluster(t)
	cfg.Impersonate.UserName = user
	count := &counted{}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { count.under = rt; return count })
	c, err := client.New(cfg, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return c, count
}

// withService skips where the sandbox has no Service of Prometheus.
func withService(t *testing.T) kubernetes.Interface {
	t.Helper()
	kube := kubernetes.NewForConfigOrDie(kubetest.Cluster(t))
	_, err := kube.CoreV1().Services("monitoring").Get(t.Context(), "prometheus-server", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.Skip("only root can give the sandbox's Prometheus an address that the API server proxies to")
	}
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

func TestFindAmong300Services(t *testing.T) {
	kube := withService(t)
	ns := kubetest.Open(t).Namespace(t)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 30 {
				s := &corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s-%d-%d", worker, i), Labels: map[string]string{"app": "web"}},
					Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 80}}},
				}
				if i == 0 && worker < 4 { // look like one, and nobody is there
					s.Labels = map[string]string{"app": "kube-prometheus-stack-prometheus"}
				}
				if _, err := kube.CoreV1().Services(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, count := connect(t, ns, "")
	s, err := Find(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Where() != "monitoring/prometheus-server:80" || s.Why() != "label app.kubernetes.io/component=server,app.kubernetes.io/name=prometheus" {
		t.Errorf("%s by %s", s.Where(), s.Why())
	}
	if n := count.requests.Load(); n > 8 {
		t.Errorf("%d requests", n)
	}
	if _, err := s.Devices(t.Context(), Query{Window: time.Hour}); err != nil {
		t.Error(err)
	}
	if n := count.others.Load(); n > 0 {
		t.Errorf("%d requests that are no GET", n)
	}
}

func TestAServiceByName(t *testing.T) {
	withService(t)
	c, count := connect(t, "default", "")
	for name, want := range map[string]string{
		"monitoring/prometheus-server":      "monitoring/prometheus-server:9090",
		"monitoring/prometheus-server:80":   "monitoring/prometheus-server:80",
		"monitoring/prometheus-server:http": "monitoring/prometheus-server:http",
	} {
		if s, err := Find(t.Context(), c, Options{URL: name}); err != nil || s.Where() != want || s.Why() != "--prometheus" {
			t.Errorf("%s: %+v (%v)", name, s, err)
		}
	}
	for name, want := range map[string]string{
		"monitoring/nothing":              `services "nothing" not found`,
		"monitoring/nothing:80":           `services "nothing" not found`,
		"monitoring/prometheus-server:81": `no service port 81 found for service "prometheus-server"`,
	} {
		if _, err := Find(t.Context(), c, Options{URL: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	count.requests.Store(0)
	if _, err := Find(t.Context(), c, Options{URL: None}); !errors.Is(err, ErrNone) || count.requests.Load() != 0 {
		t.Errorf("%v after %d requests", err, count.requests.Load())
	}
	if s, err := Find(t.Context(), c, Options{URL: kubetest.Open(t).Prometheus}); err != nil || s.Where() != kubetest.Open(t).Prometheus {
		t.Errorf("%+v (%v)", s, err)
	}
}

// grant gives a user rights in a namespace.
func grant(t *testing.T, kube kubernetes.Interface, namespace, user string, rule rbacv1.PolicyRule) {
	t.Helper()
	role, err := kube.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Rules: []rbacv1.PolicyRule{rule},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = kube.RbacV1().RoleBindings(namespace).Delete(ctx, binding.Name, metav1.DeleteOptions{})
		_ = kube.RbacV1().Roles(namespace).Delete(ctx, role.Name, metav1.DeleteOptions{})
	})
}

// until asks again as long as the API server has not heard of new rights.
func until(t *testing.T, done func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = done(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error(err)
}

func TestFindWithFewRights(t *testing.T) {
	kube := withService(t)
	ns := kubetest.Open(t).Namespace(t)

	c, count := connect(t, ns, "none-"+ns)
	_, err := Find(t.Context(), c, Options{})
	var none *NotFoundError
	if !errors.As(err, &none) || len(none.Tried) != 1 {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{
		"no Prometheus found: the services of the cluster, and of ", "monitoring, prometheus, ", ns, "forbidden: needs list services (you are none-" + ns + ")",
		"ask for that right", "--prometheus URL or NAMESPACE/SERVICE:PORT", OptIn,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in\n%v", part, err)
		}
	}
	if strings.Contains(none.Short(), "\n") || !apierrors.IsForbidden(err) {
		t.Errorf("%q, forbidden %t", none.Short(), apierrors.IsForbidden(err))
	}
	if n := count.requests.Load(); n > 8 {
		t.Errorf("%d requests", n)
	}

	// Who may see it and not ask it is told the right that is missing.
	user := "lists-" + ns
	grant(t, kube, "monitoring", user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list"}})
	c, _ = connect(t, ns, user)
	until(t, func() error {
		_, err := Find(t.Context(), c, Options{})
		if err != nil && strings.Contains(err.Error(), "monitoring/prometheus-server:80: forbidden: needs get services/proxy in namespace monitoring (you are "+user+")") {
			return nil
		}
		return fmt.Errorf("not told which right is missing: %w", err)
	})

	// Two rights in one namespace are enough; one when it is named.
	grant(t, kube, "monitoring", user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services/proxy"}, Verbs: []string{"get"}})
	until(t, func() error {
		s, err := Find(t.Context(), c, Options{})
		if err == nil && s.Where() != "monitoring/prometheus-server:80" {
			err = errors.New(s.Where())
		}
		return err
	})
	user = "asks-" + ns
	grant(t, kube, "monitoring", user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services/proxy"}, Verbs: []string{"get"}})
	c, _ = connect(t, ns, user)
	until(t, func() error {
		s, err := Find(t.Context(), c, Options{URL: "monitoring/prometheus-server"})
		if err != nil {
			return err
		}
		_, err = s.Devices(t.Context(), Query{})
		return err
	})
}

func TestFindWithoutACluster(t *testing.T) {
	c, err := client.New(&rest.Config{Host: "https://127.0.0.1:1"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Find(t.Context(), c, Options{})
	if err == nil || !strings.Contains(err.Error(), "list the services to find Prometheus: the API server https://127.0.0.1:1 refuses connections") {
		t.Errorf("%v", err)
	}
	_, err = Find(t.Context(), c, Options{URL: "monitoring/p:80"})
	if err == nil || !strings.Contains(err.Error(), "the API server https://127.0.0.1:1 refuses connections") {
		t.Errorf("%v", err)
	}
}

func TestNotFoundReadsWell(t *testing.T) {
	fail := func(text, hint string) error { return &client.Error{What: text, Hint: hint} }
	for want, e := range map[string]*NotFoundError{
		"no Prometheus found: no Service looks like one\n  name one with --prometheus URL or NAMESPACE/SERVICE:PORT, or label its Service kubectl-ml.dev/prometheus=true": {},
		"no Prometheus found: a/b:80: refused\n  a/b:80: refused\n    do that\n  name one with --prometheus URL or NAMESPACE/SERVICE:PORT, or label its Service kubectl-ml.dev/prometheus=true": {
			Tried: []Attempt{{"a/b:80", fail("refused", "do that")}},
		},
		"no Prometheus found in 2 places\n  a/b:80: one\n  c/d:80: two\n  3 more that look like one were not asked\n  name one with --prometheus URL or NAMESPACE/SERVICE:PORT, or label its Service kubectl-ml.dev/prometheus=true": {
			Tried: []Attempt{{"a/b:80", fail("one", "")}, {"c/d:80", fail("two", "")}}, Left: 3,
		},
	} {
		if e.Error() != want {
			t.Errorf("got\n%s\nwant\n%s", e, want)
		}
	}
}
