package metrics

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// svc makes a Service of labels a=b,c=d and ports 80 or 53/UDP or https:443.
func svc(name, labels string, ports ...corev1.ServicePort) corev1.Service {
	namespace, name, _ := strings.Cut(name, "/")
	s := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}}, Spec: corev1.ServiceSpec{Ports: ports}}
	for term := range strings.SplitSeq(labels, ",") {
		key, value, _ := strings.Cut(term, "=")
		s.Labels[key] = value
	}
	return s
}

func port(n int32) corev1.ServicePort { return corev1.ServicePort{Port: n} }

func TestCandidates(t *testing.T) {
	https := "https"
	external := svc("monitoring/far", "app=prometheus-server", port(80))
	external.Spec.Type = corev1.ServiceTypeExternalName
	annotated := svc("x/own", OptIn+"=true", port(8080))
	annotated.Annotations = map[string]string{PathAnnotation: "prom/"}
	elsewhere := svc("x/own", "app=prometheus-server", port(80))
	elsewhere.Annotations = map[string]string{PathAnnotation: "/prom"}
	for name, c := range map[string]struct {
		services []corev1.Service
		want     []string
	}{
		"none": {nil, nil},
		"nothing that looks like one": {[]corev1.Service{
			svc("monitoring/prometheus-node-exporter", "app.kubernetes.io/name=prometheus-node-exporter", port(9100)),
			svc("monitoring/alertmanager", "app.kubernetes.io/name=prometheus,app.kubernetes.io/component=alertmanager", port(9093)),
			svc("monitoring/grafana", "app=grafana", port(3000)),
			svc("monitoring/off", OptIn+"=false", port(9090)),
		}, nil},
		"the operator's chart": {[]corev1.Service{
			svc("monitoring/prometheus-operated", "operated-prometheus=true", port(9090)),
			svc("monitoring/kps-prometheus", "app=kube-prometheus-stack-prometheus", port(9090), port(8080)),
		}, []string{"monitoring/kps-prometheus:9090", "monitoring/prometheus-operated:9090"}},
		"the opt-in goes before all": {[]corev1.Service{
			svc("monitoring/a", "app=kube-prometheus-stack-prometheus", port(9090)), annotated,
		}, []string{"x/own:8080/prom", "monitoring/a:9090"}},
		"the annotation counts with the opt-in only": {[]corev1.Service{elsewhere}, []string{"x/own:80"}},
		"usual namespaces, then one's own, then others": {[]corev1.Service{
			svc("alpha/p", "app=prometheus-server", port(80)), svc("mine/p", "app=prometheus-server", port(80)),
			svc("prometheus/p", "app=prometheus-server", port(80)), svc("monitoring/p", "app=prometheus-server", port(80)),
		}, []string{"monitoring/p:80", "prometheus/p:80", "mine/p:80", "alpha/p:80"}},
		"all ports where none is known, the first of each first": {[]corev1.Service{
			svc("monitoring/p", "app=prometheus-server", port(1), port(2), corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Port: 3, Protocol: corev1.ProtocolTCP}),
			svc("monitoring/q", "app=prometheus-server", port(4), port(5)),
		}, []string{"monitoring/p:1", "monitoring/q:4", "monitoring/p:2", "monitoring/q:5", "monitoring/p:3"}},
		"what has a path and what has TLS": {[]corev1.Service{
			svc("m/vmselect", "app.kubernetes.io/name=vmselect", port(8481)),
			svc("m/mimir", "app.kubernetes.io/name=mimir,app.kubernetes.io/component=query-frontend", port(8080)),
			svc("openshift-monitoring/thanos-querier", "app.kubernetes.io/name=thanos-query", corev1.ServicePort{Port: 9091, AppProtocol: &https}),
		}, []string{"https openshift-monitoring/thanos-querier:9091", "m/vmselect:8481/select/0/prometheus", "m/mimir:8080/prometheus"}},
		"no ports, or no endpoints": {[]corev1.Service{svc("monitoring/p", "app=prometheus-server"), external}, nil},
	} {
		var got []string
		for _, one := range candidates(c.services, "mine") {
			where := one.where
			if strings.Contains(one.proxy, "/https:") {
				where = "https " + where
			}
			got = append(got, where)
			if one.why == "" {
				t.Errorf("%s: no reason for %s", name, where)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestProxyPaths(t *testing.T) {
	p := corev1.ServicePort{Name: "https-web", Port: 9091}
	s := svc("a/b", "x=y", p)
	if got, want := ofPort(&s, &p, "/p").proxy, "/api/v1/namespaces/a/services/https:b:9091/proxy/p"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if header := rules()[len(rules())-1].header; header.Get("X-Scope-OrgID") != "anonymous" {
		t.Errorf("%v", header)
	}
}

func TestWhatAUserNames(t *testing.T) {
	c := &client.Client{Namespace: "default"}
	for name, want := range map[string]string{
		"http://localhost:9090":                  "http://localhost:9090",
		"https://u:secret@prom.example/p/?a=b#c": "https://u:xxxxx@prom.example/p/",
		"monitoring/prometheus:9090":             "monitoring/prometheus:9090",
		"monitoring/prometheus:web":              "monitoring/prometheus:web",
		"monitoring/mimir:8080/prometheus/":      "monitoring/mimir:8080/prometheus",
		"monitoring/thanos:https":                "monitoring/thanos:https",
		"localhost:9090":                         "",
		"prom.example/p":                         "",
		"ftp://x":                                "",
		"https://":                               "",
		"http://[::1":                            "",
		"http://u:secret@%zz":                    "",
		"monitoring/":                            "",
		"/prometheus":                            "",
		"monitoring/prometheus:":                 "",
		"monitoring/../secrets:80":               "",
		"monitoring/Prometheus:80":               "",
		"monitoring/prometheus:80:90":            "",
		"monitoring/prometheus:80%2f..":          "",
	} {
		got, err := explicit(t.Context(), c, name)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is taken as %v", name, got)
		case want == "" && (strings.Contains(err.Error(), "secret@") || !strings.Contains(err.Error(), "NAMESPACE/SERVICE")):
			t.Errorf("%s: %v", name, err)
		case want != "" && (err != nil || len(got) != 1 || got[0].where != want || got[0].why != "--prometheus"):
			t.Errorf("%s: %+v (%v)", name, got, err)
		}
	}
	for text, want := range map[string]bool{"monitoring/t:443": true, "monitoring/t:https-web": true, "monitoring/t:9090": false} {
		got, err := explicit(t.Context(), c, text)
		if err != nil || strings.Contains(got[0].proxy, "https:t") != want {
			t.Errorf("%s: %+v (%v)", text, got, err)
		}
	}
}

func TestPathsStayBelowTheProxy(t *testing.T) {
	const want = "/api/v1/namespaces/x/services/p:80/proxy/secrets"
	got, err := explicit(t.Context(), &client.Client{}, "x/p:80/../../../secrets")
	if err != nil || got[0].proxy != want {
		t.Errorf("%+v (%v)", got, err)
	}
	s := svc("x/p", OptIn+"=true", port(80))
	s.Annotations = map[string]string{PathAnnotation: "../../..//secrets/"}
	if got := candidates([]corev1.Service{s}, "x"); got[0].proxy != want {
		t.Errorf("%+v", got)
	}
}

func TestTheBestAnswerIsTaken(t *testing.T) {
	a, b, c := &Source{where: "a"}, &Source{where: "b"}, &Source{where: "c"}
	late, failed := outcome{}, outcome{err: errFor(t), done: true}
	full := func(s *Source) outcome { return outcome{source: s, done: true} }
	empty := func(s *Source) outcome { return outcome{source: s, done: true, empty: true} }
	for name, o := range map[string]struct {
		outcomes []outcome
		want     *Source
		final    bool
	}{
		"none yet":                       {[]outcome{late, failed}, nil, false},
		"none":                           {[]outcome{failed, failed}, nil, true},
		"the first":                      {[]outcome{full(a), late, late}, a, true},
		"the second, the first is late":  {[]outcome{late, full(b), full(c)}, b, false},
		"the second, the first failed":   {[]outcome{failed, full(b), late}, b, true},
		"one that watches something":     {[]outcome{empty(a), full(b), late}, b, true},
		"empty, others may be better":    {[]outcome{empty(a), late}, a, false},
		"empty when there is no other":   {[]outcome{failed, empty(b), empty(c)}, b, true},
		"a later one, an empty one late": {[]outcome{empty(a), late, full(c)}, c, false},
	} {
		if got, final := best(o.outcomes); got != o.want || final != o.final {
			t.Errorf("%s: %v %t", name, got, final)
		}
	}
}

func errFor(t *testing.T) error {
	t.Helper()
	return &client.Error{What: "x"}
}

func TestRulesAreDistinct(t *testing.T) {
	var seen []string
	for _, r := range rules() {
		if slices.Contains(seen, r.String()) {
			t.Errorf("%s stands twice", r.String())
		}
		seen = append(seen, r.String())
	}
}
