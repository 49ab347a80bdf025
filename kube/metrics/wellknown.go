package metrics

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// OptIn is the label by which a Service says that it is the Prometheus to ask; its value is "true".
const OptIn = "kubectl-ml.dev/prometheus"

// PathAnnotation of such a Service is where below its root the API of Prometheus is, such as /prometheus.
const PathAnnotation = "kubectl-ml.dev/prometheus-path"

// rule knows the Service of a Prometheus, or of what speaks its API, by labels that common installations give it.
type rule struct {
	labels map[string]string
	// ports are tried first, in this order; without one of them all TCP ports are.
	ports []int32
	// path is where the API is below the root of the server.
	path   string
	header http.Header
}

func (r *rule) String() string {
	terms := make([]string, 0, len(r.labels))
	for _, key := range slices.Sorted(maps.Keys(r.labels)) {
		terms = append(terms, key+"="+r.labels[key])
	}
	return "label " + strings.Join(terms, ",")
}

// rules are tried in this order: the opt-in, what watches one cluster, what is asked for many.
func rules() []rule {
	const name, component = "app.kubernetes.io/name", "app.kubernetes.io/component"
	type set = map[string]string
	operator, chart := []int32{9090}, []int32{80, 9090}
	thanos := []int32{9090, 10902, 9091}
	return []rule{
		{labels: set{OptIn: "true"}, ports: []int32{9090, 80}},
		{labels: set{"app": "kube-prometheus-stack-prometheus"}, ports: operator},
		{labels: set{"app": "prometheus", "component": "server"}, ports: chart},
		{labels: set{"app": "prometheus-server"}, ports: chart},
		{labels: set{"app": "prometheus-operator-prometheus"}, ports: operator},
		{labels: set{"app": "rancher-monitoring-prometheus"}, ports: operator},
		{labels: set{"app": "prometheus-prometheus"}, ports: operator},
		{labels: set{name: "prometheus", component: "server"}, ports: chart},
		{labels: set{name: "prometheus", component: "prometheus"}, ports: operator},
		{labels: set{"app": "stack-prometheus"}, ports: operator},
		{labels: set{"operated-prometheus": "true"}, ports: operator},
		{labels: set{name: "thanos", component: "query"}, ports: thanos},
		{labels: set{name: "thanos-query"}, ports: thanos},
		{labels: set{"app": "thanos-query"}, ports: thanos},
		{labels: set{"app": "thanos-querier"}, ports: thanos},
		{labels: set{name: "vmsingle"}, ports: []int32{8428, 8429}},
		{labels: set{name: "victoria-metrics-single"}, ports: []int32{8428}},
		{labels: set{name: "vmselect"}, ports: []int32{8481}, path: "/select/0/prometheus"},
		{
			labels: set{name: "mimir", component: "query-frontend"}, ports: []int32{8080}, path: "/prometheus",
			// The tenant of an installation that does not tell tenants apart.
			header: http.Header{"X-Scope-Orgid": {"anonymous"}},
		},
	}
}

// namespaces are where a Prometheus usually is, for those who may not list the Services of all.
func namespaces() []string {
	return []string{"monitoring", "prometheus", "observability", "kube-prometheus-stack", "cattle-monitoring-system", "openshift-monitoring"}
}
