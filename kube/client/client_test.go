package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os/user"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

func connect(t *testing.T, cfg *rest.Config, ns string) *Client {
	t.Helper()
	c, err := New(cfg, ns)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhoAmI(t *testing.T) {
	cfg := kubetest.Cluster(t)
	if got := connect(t, cfg, "default").WhoAmI(t.Context()); got != "sandbox-admin" {
		t.Errorf("the administrator is %q", got)
	}
	// Everybody may ask that, whatever else they may do.
	cfg.Impersonate.UserName = "trainee"
	if got := connect(t, cfg, "default").WhoAmI(t.Context()); got != "trainee" {
		t.Errorf("a user without any rights is %q", got)
	}
}

func TestWhoAmIWhereTheServerDoesNotSay(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer s.Close()
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	if got, want := connect(t, &rest.Config{Host: s.URL}, "default").WhoAmI(t.Context()), "local:"+me.Username; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamespaceExists(t *testing.T) {
	cfg := kubetest.Cluster(t)
	if !connect(t, cfg, "default").NamespaceExists(t.Context()) {
		t.Error("default does not exist")
	}
	if connect(t, cfg, "nowhere").NamespaceExists(t.Context()) {
		t.Error("nowhere exists")
	}
	cfg.Impersonate.UserName = "trainee"
	if !connect(t, cfg, "nowhere").NamespaceExists(t.Context()) {
		t.Error("who may not look says that it does not exist")
	}
}

func what(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.What
}

// The server's own answers, as the table of errors has them.
func TestTheServersRefusals(t *testing.T) {
	cfg := kubetest.Cluster(t)
	c := connect(t, cfg, "nowhere")
	_, err := c.Kube.RbacV1().Roles("nowhere").Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if got, want := what(c.Explain("create role x", err)), `namespace "nowhere" does not exist`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	cfg.Impersonate.UserName = "trainee"
	c = connect(t, cfg, "default")
	_, err = c.Kube.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if got, want := what(c.Explain("list", err)), "forbidden: needs list jobs.batch in namespace default (you are trainee)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	anonymous := rest.AnonymousClientConfig(cfg)
	anonymous.BearerToken = "expired"
	c = connect(t, anonymous, "default")
	_, err = c.Kube.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if got, want := what(c.Explain("list", err)), "the API server does not accept these credentials (expired, or of another cluster)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNewLeavesTheConfigurationAsItIs(t *testing.T) {
	cfg := &rest.Config{Host: "https://h:6443"}
	c := connect(t, cfg, "ns")
	if cfg.QPS != 0 || cfg.ContentType != "" || c.Host != cfg.Host || c.Namespace != "ns" {
		t.Errorf("%+v %+v", cfg, c)
	}
	if _, err := New(&rest.Config{Host: "https://h:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("x")}}, "ns"); err == nil {
		t.Error("a damaged CA is accepted")
	}
}
