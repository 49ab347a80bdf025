package metrics

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

func TestChoices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f := Choices{Path: filepath.Join(dir, "prometheus.json")}
	good := Choice{Namespace: "monitoring", Service: "mimir", Port: "8080", Path: "/prometheus", Tenant: "a", Why: "label x"}
	if _, ok := f.Get("here"); ok {
		t.Error("nothing was kept, and something is there")
	}
	if err := f.Put("here", good); err != nil {
		t.Fatal(err)
	}
	if err := f.Put("there", Choice{Namespace: "m", Service: "p", Port: "9090"}); err != nil {
		t.Fatal(err)
	}
	if got, ok := f.Get("here"); !ok || got != good {
		t.Errorf("kept %+v", got)
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
	c, _ := good.candidate()
	if c.proxy != "/api/v1/namespaces/monitoring/services/mimir:8080/proxy/prometheus" || c.header.Get("X-Scope-OrgID") != "a" || *c.choice != good {
		t.Errorf("%+v", c)
	}
	// What somebody wrote into the file leads nowhere but to a Service.
	for _, c := range []Choice{
		{Namespace: "../..", Service: "p", Port: "80"}, {Namespace: "m", Service: "p/../../secrets", Port: "80"}, {Namespace: "m", Service: "p", Port: "80/proxy"},
		{Namespace: "m", Service: "p", Port: "80", Path: "/../../../secrets"}, {Namespace: "m", Service: "p", Port: "0"}, {Namespace: "m", Service: "p", Port: "80", Scheme: "ftp"}, {},
	} {
		if err := f.Put("bad", c); err != nil {
			t.Fatal(err)
		}
		if _, ok := f.Get("bad"); ok {
			t.Errorf("%+v is taken", c)
		}
	}
	if ok, err := f.Forget("here"); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := f.Forget("here"); ok || err != nil {
		t.Error(ok, err)
	}
	for _, damaged := range []string{"", "{", `[1]`, `{"there": 3}`, "null"} {
		if err := os.WriteFile(f.Path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := f.Get("there"); ok {
			t.Errorf("%q is taken", damaged)
		}
		if damaged != "null" {
			if err := f.Put("here", good); err != nil {
				t.Errorf("%q: %v", damaged, err)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v", left)
	}
	nowhere := Choices{}
	if err := nowhere.Put("here", good); err != nil {
		t.Error(err)
	}
}

// TestCredentials are given to the Prometheus that is asked, to nobody that it sends to, and to no API server.
func TestCredentials(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	var got http.Header
	redirect := false
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if redirect {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return
		}
		say(200, jsonType, answer(`{"a":"b"} 1`))(w, r)
	}))
	defer server.Close()
	ca := strings.Builder{}
	ca.WriteString("-----BEGIN CERTIFICATE-----\n" + base64Lines(server.Certificate().Raw) + "-----END CERTIFICATE-----\n")
	c, err := client.New(&rest.Config{Host: "https://127.0.0.1:1", BearerToken: "kube"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	find := func(as Credentials) error {
		got = nil
		_, err := Find(t.Context(), c, Options{URL: server.URL, As: as})
		return err
	}
	if err := find(Credentials{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	if err := find(Credentials{Insecure: true, User: "me", Password: "hidden", Tenant: "team"}); err != nil || got.Get("Authorization") != "Basic bWU6aGlkZGVu" || got.Get("X-Scope-OrgID") != "team" {
		t.Errorf("%v (%v)", got, err)
	}
	if err := find(Credentials{CA: []byte(ca.String()), Token: "hidden"}); err != nil || got.Get("Authorization") != "Bearer hidden" {
		t.Errorf("%v (%v)", got, err)
	}
	redirect = true
	if err := find(Credentials{Insecure: true, Token: "hidden"}); err == nil || strings.Contains(err.Error(), "hidden") || elsewhere != 0 {
		t.Errorf("%d requests went elsewhere (%v)", elsewhere, err)
	}
	for want, as := range map[string]Credentials{
		"a token and a user exclude each other": {Token: "a", User: "b"}, "a password needs a user": {Password: "a"}, "needs its key": {Cert: []byte("a")},
		"no certificate in PEM": {CA: []byte("x")}, "the client certificate: ": {Cert: []byte("a"), Key: []byte("b")}, "has a line break": {Token: "a\nb"},
	} {
		if err := find(as); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	as := Credentials{Token: "hidden", Tenant: "team"}
	if h := as.header(false); h.Get("Authorization") != "" || h.Get("X-Scope-OrgID") != "team" {
		t.Errorf("through the API server: %v", h)
	}
}

func TestSecretCredentials(t *testing.T) {
	kube := fake.NewClientset(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "m", Name: "p"}, Data: map[string][]byte{"token": []byte("t\n"), "tenant": []byte("a"), "ca.crt": []byte("ca")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "here", Name: "empty"}},
	)
	c := &client.Client{Kube: kube, Namespace: "here"}
	got, err := SecretCredentials(t.Context(), c, "m/p")
	if err != nil || got.Token != "t" || got.Tenant != "a" || string(got.CA) != "ca" || strings.Contains(got.String()+got.GoString(), "t\n") {
		t.Errorf("%+v (%v)", got.Token, err)
	}
	for ref, want := range map[string]string{"empty": "it has none of the keys token, username", "none": "not found"} {
		if _, err := SecretCredentials(t.Context(), c, ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func base64Lines(der []byte) string {
	text := base64.StdEncoding.EncodeToString(der)
	var b strings.Builder
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	return b.String() + text + "\n"
}
