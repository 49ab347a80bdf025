package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

func webWorkload() []*Workload {
	return []*Workload{{Namespace: "team", Kind: kindDeployment, Name: "web", owners: map[string]string{"web-6f7d8c9b5": ""}}}
}

// TestServingsOfStrangeServers: the request for series says the same of them as all others.
func TestServingsOfStrangeServers(t *testing.T) {
	for what, s := range strange() {
		server := httptest.NewServer(s.server)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		b, err := direct(t, server.URL).Servings(ctx, webWorkload(), false, ServingOptions{Window: time.Minute, Now: time.Now()})
		var explained *client.Error
		if what == "a list" || what == "a matrix" || what == "another API" || what == "hangs on its way" { // of which the words differ
			s.direct = "it does not answer as Prometheus does"
		}
		if b != nil || !errors.As(err, &explained) || !strings.Contains(err.Error(), s.direct) {
			t.Errorf("%s: %v\nwant: %s", what, err, s.direct)
		}
		cancel()
		server.Close()
	}
}

// TestServingsAskLittle: one request for series and three queries for each profile, whatever the number of workloads; what
// one of the queries is refused leaves the others.
func TestServingsAskLittle(t *testing.T) {
	var series, queries atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		if strings.HasSuffix(r.URL.Path, "/series") {
			series.Add(1)
			var list []string
			for i := range 500 {
				for _, suffix := range []string{`_count"`, `_bucket","le":"+Inf"`} {
					list = append(list, fmt.Sprintf(`{"__name__":"vllm:e2e_request_latency_seconds%s,"namespace":"team","pod":"web%d-6f7d8c9b5-x7k2p","model_name":"m"}`, suffix, i))
				}
			}
			say(200, jsonType, `{"status":"success","data":[`+strings.Join(list, ",")+`],"warnings":["a store is away"]}`)(w, r)
			return
		}
		queries.Add(1)
		expr := r.URL.Query().Get("query")
		if strings.Contains(expr, "num_requests_waiting") {
			say(422, jsonType, `{"status":"error","errorType":"execution","error":"too many samples"}`)(w, r)
			return
		}
		field, value := FieldP95, "NaN"
		if strings.Contains(expr, "request_success_total") {
			field, value = FieldRate, "0"
		}
		say(200, jsonType, answer(fmt.Sprintf(`{"namespace":"team","%s":"web7-6f7d8c9b5","model_name":"m","%s":"%s"} %s`, groupLabel, fieldLabel, field, value)))(w, r)
	}))
	defer server.Close()
	var list []*Workload
	for i := range 500 {
		list = append(list, &Workload{Namespace: "team", Kind: kindDeployment, Name: fmt.Sprintf("web%d", i), owners: map[string]string{fmt.Sprintf("web%d-6f7d8c9b5", i): ""}})
	}
	b, err := direct(t, server.URL).Servings(t.Context(), list, true, ServingOptions{Namespace: "team", Window: time.Minute, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := b.Measure(t.Context())
	if series.Load() != 1 || queries.Load() != 3 || len(rows) != 500 {
		t.Errorf("%d requests for series, %d queries, %d rows", series.Load(), queries.Load(), len(rows))
	}
	if err == nil || !strings.Contains(err.Error(), "too many samples") || !strings.Contains(err.Error(), "a store is away") {
		t.Errorf("%v", err)
	}
	for i := range rows {
		if s := &rows[i]; s.Name == "web7" && (!s.Idle || s.P95 != nil || s.Served != "m" || s.Unmeasured()) || s.Name != "web7" && !s.Unmeasured() {
			t.Errorf("%+v", s)
		}
		if _, err := json.Marshal(rows[i]); err != nil {
			t.Error(err)
		}
	}
}
