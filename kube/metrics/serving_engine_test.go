package metrics

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// growing is an exporter whose counters are n times what the file says when it is asked for the n-th time, so that what
// is observed between two scrapes is what the file says.
func growing(t *testing.T, name string) func(int) string {
	t.Helper()
	text := file(t, "serving/"+name+".txt")(0)
	return func(n int) string { return multiplied(text, n) }
}

func multiplied(text string, n int) string {
	gauges := map[string]bool{}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		metric, _, _ := strings.Cut(line, "{")
		metric, _, _ = strings.Cut(metric, " ")
		at := strings.LastIndex(line, " ")
		v, err := strconv.ParseFloat(line[at+1:], 64)
		switch {
		case strings.HasPrefix(line, "# TYPE ") && strings.HasSuffix(line, " gauge"):
			gauges[strings.Fields(line)[2]] = true
			fallthrough
		case strings.HasPrefix(line, "#"), err != nil, gauges[metric], strings.Contains(line, "quantile="):
			out.WriteString(line + "\n")
		default:
			fmt.Fprintf(&out, "%s %v\n", line[:at], v*float64(n))
		}
	}
	return out.String()
}

// served is what is compared of a Serving.
type served struct {
	Profile                           string
	Kind                              Kind
	Model, Version                    string
	P50, P95, P99, Mean, Errors       float64
	Queue, Running, Full, First, Next float64
	AtLeast                           string
}

func servedOf(s *Serving) served {
	v := func(p *float64) float64 {
		if p == nil {
			return math.NaN()
		}
		return *p
	}
	return served{
		s.Profile, s.Form, s.Served, s.Version, v(s.P50), v(s.P95), v(s.P99), v(s.Mean), v(s.Errors), v(s.Queue), v(s.Running), v(s.Full), v(s.FirstToken), v(s.NextToken), strings.Join(s.AtLeast, " "),
	}
}

// sameServed compares what was worked out by hand with what Prometheus answered.
func sameServed(t *testing.T, what string, want, got served) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-6, 1e-9)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func servingPod(name string) map[string]string {
	return map[string]string{"namespace": "team", "pod": name + "-7d4b9c6f5d-x7k2p", "container": "main"}
}

// TestProfiles loads the documented output of each runtime into a real Prometheus. Quantiles are worked out by hand:
// the bound below, and of the bucket's width the share of its observations that the rank takes.
func TestProfiles(t *testing.T) {
	t.Parallel()
	n := math.NaN()
	const llama = "meta-llama/Llama-3.1-8B-Instruct"
	wants := map[string][]served{
		// p50: rank 50 of 20..60 in 0.5..0.8; p95: rank 95 is the bound 2.0; p99: rank 99 of 97..100 in 2.5..5. First token:
		// rank 95 of 90..100 in 0.06..0.08 after 0.06; next token: rank 950 of 900..1000 in 0.025..0.05.
		"vllm": {{"vllm", Histogram, llama, "", 0.5 + 0.3*30/40, 2, 2.5 + 2.5*2/3, 0.85, 0.02, 3, 8, 0.43, 0.06 + 0.02*5/10, 0.025 + 0.025*50/100, ""}},
		// p50: rank 20 of 10..30 in 1..2; p95: rank 38, p99: rank 39.6 of 30..40 in 2..4.
		"sglang": {{"sglang", Histogram, llama, "", 1.5, 2 + 2*8.0/10, 2 + 2*9.6/10, 1.5, 1.0 / 40, 2, 5, 0.28, 0.095, n, ""}},
		"tgi":    {{"tgi", Histogram, "", "", 1, 1 + 45.0/50, 1 + 49.0/50, 1.2, 2.0 / 102, 4, 16, n, n, n, ""}},
		"triton": {
			{"triton", CounterRatio, "densenet_onnx", "1", n, n, n, 0.02, 0.1, 7, n, n, n, n, ""},
			{"triton", CounterRatio, "densenet_onnx", "2", n, n, n, 0.005, 0, 0, n, n, n, n, ""},
		},
		"triton-summary": {{"triton-summary", Summary, "densenet_onnx", "1", 0.009, 0.02, 0.04, 0.01, 0.01, n, n, n, n, n, ""}},
		"kserve":         {{"kserve", Histogram, "sklearn-iris", "", 0.005, 0.01 + 0.015*5/10, 0.01 + 0.015*9/10, 0.008, n, n, n, n, n, n, ""}},
		// 125 requests of which 25 took more than a second: rank 118.75 is above all bounds.
		"seldon":             {{"seldon", Histogram, "iris_1", "", 0.1 + 0.15*12.5/40, 1, 1, 62.0 / 125, 0.2, n, n, n, n, n, "p95 p99"}},
		"mlserver":           {{"mlserver", SumCount, "mnist-svm", "v0.1.0", n, n, n, 0.005, 0, n, n, n, n, n, ""}},
		"torchserve":         {{"torchserve", CounterRatio, "resnet-18", "1.0", n, n, n, 0.02, n, n, n, n, n, n, ""}},
		"tensorflow-serving": {{"tensorflow-serving", Histogram, "half_plus_two", "", 0.01, 0.018 + 0.0144*15/20, 0.018 + 0.0144*19/20, 0.015, 0.05, n, n, n, n, n, ""}},
		"bentoml":            {{"bentoml", Histogram, "Summarization", "not available", 0.5 + 0.5*10/40, 1 + 1.5*15/20, 1 + 1.5*19/20, 0.7, 0, n, 2, n, n, n, ""}},
		"ray-serve":          {{"ray-serve", Histogram, "Translator", "", 0.01 + 0.09*10/40, 0.1 + 0.9*15/20, 0.1 + 0.9*19/20, 0.1, 0.04, 6, 3, n, n, n, ""}},
		"python":             {{"python", SumCount, "", "", n, n, n, 0.25, n, n, n, n, n, n, ""}},
		"knative":            {{"knative", Histogram, "", "", 0.1 + 0.15*12.5/40, 1, 1, 62.0 / 125, 0.2, n, n, n, n, n, "p95 p99"}},
		"knative-revision":   {{"knative-revision", Histogram, "", "", 0.01, 0.01 + 0.01*45/50, 0.01 + 0.01*49/50, 0.01, 0, n, n, n, n, n, ""}},
		"fastapi":            {{"fastapi", Histogram, "", "", 0.1 + 0.4*50/80, 0.5 + 0.5*15/20, 0.5 + 0.5*19/20, 0.4, 0.01, n, n, n, n, n, ""}},
		"istio":              {{"istio", Histogram, "", "", 0.1, 0.1 + 0.15*45/50, 0.1 + 0.15*49/50, 0.12, 0.02, n, n, n, n, n, ""}},
		"linkerd":            {{"linkerd", Histogram, "", "", 0.01, 0.01 + 0.01*45/50, 0.01 + 0.01*49/50, 0.01, 0, n, n, n, n, n, ""}},
		// Its answers are counted without their status: errors are not known.
		"opentelemetry": {{"opentelemetry", Histogram, "", "", 0.1, 0.25 + 0.25*5/9, 0.5, 0.12, n, n, n, n, n, n, ""}},
		"ingress-nginx": {{"ingress-nginx", Histogram, "", "", 0.25 + 0.75*50/100, 0.25 + 0.75*95/100, 0.25 + 0.75*99/100, 0.6, 0.1, n, n, n, n, n, ""}},
	}
	var exporters []exporter
	var list []*Workload
	for name := range wants {
		w := &Workload{Namespace: "team", Kind: kindDeployment, Name: name, owners: map[string]string{name + "-7d4b9c6f5d": ""}}
		e := exporter{name, false, servingPod(name), growing(t, name)}
		switch name {
		case "ingress-nginx": // asked for by the controller's pod, which is not the one that serves
			e.target = map[string]string{"namespace": "ingress", "pod": "controller-x7k2p", "service": "controller"}
			w.services = []string{"web"}
		case "knative-revision": // says itself whose it is
			e.target = map[string]string{}
			text := e.text
			e.text = func(n int) string { return strings.ReplaceAll(text(n), "POD", "knative-revision-7d4b9c6f5d-x7k2p") }
		}
		exporters, list = append(exporters, e), append(list, w)
	}
	s := engine(t, exporters...)
	o := ServingOptions{Window: time.Minute, Now: time.Now()}
	of := func(name string) *Workload {
		for _, w := range list {
			if w.Name == name {
				return w
			}
		}
		return nil
	}
	check := func(t *testing.T, name string, got []Serving) {
		t.Helper()
		if len(got) != len(wants[name]) {
			t.Errorf("%s: %d rows: %+v", name, len(got), got)
			return
		}
		for i := range got {
			sameServed(t, name, wants[name][i], servedOf(&got[i]))
			if got[i].Rate == nil || *got[i].Rate <= 0 || got[i].Idle {
				t.Errorf("%s: rate %v", name, got[i].Rate)
			}
		}
	}
	for name := range wants {
		b, err := s.Servings(t.Context(), []*Workload{of(name)}, false, o)
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := b.Measure(t.Context())
		if err != nil {
			t.Error(name, err)
		}
		check(t, name, got)
	}
	t.Run("all at once", func(t *testing.T) {
		b, err := s.Servings(t.Context(), list, true, ServingOptions{Namespace: "team", Window: time.Minute, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string][]Serving{}
		for i := range got {
			rows[got[i].Name] = append(rows[got[i].Name], got[i])
		}
		if len(rows) != len(wants) {
			t.Errorf("%d workloads, want %d", len(rows), len(wants))
		}
		for name := range wants {
			check(t, name, rows[name])
		}
	})
	t.Run("rate", func(t *testing.T) { // 100 requests each half second
		o := o
		o.Window = 2 * time.Second
		b, err := s.Servings(t.Context(), []*Workload{of("fastapi")}, false, o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Measure(t.Context())
		if err != nil || len(got) != 1 || got[0].Rate == nil || *got[0].Rate < 150 || *got[0].Rate > 250 {
			t.Errorf("%v (%v)", got[0].Rate, err)
		}
	})
}

// TestVersionsSideBySide has three versions of a model in two Deployments: two ReplicaSets of one version count as one,
// one of them with a native histogram, a canary is slower, and a third answers nobody.
func TestVersionsSideBySide(t *testing.T) {
	t.Parallel()
	fast := "# TYPE http_request_duration_seconds histogram\n" + `http_request_duration_seconds_bucket{le="0.1"} 0
http_request_duration_seconds_bucket{le="0.2"} 100
http_request_duration_seconds_bucket{le="+Inf"} 100
http_request_duration_seconds_sum 15
http_request_duration_seconds_count 100
`
	slow := strings.NewReplacer("} 0", "} 0", `{le="0.1"}`, `{le="1"}`, `{le="0.2"}`, `{le="2"}`, "_sum 15", "_sum 150").Replace(fast)
	at := func(job, pod, text string, grows bool) exporter {
		return exporter{job, false, map[string]string{"namespace": "team", "pod": pod}, func(n int) string {
			if !grows {
				n = 1
			}
			return multiplied(text, n)
		}}
	}
	s := engine(t,
		at("old", "web-6f7d8c9b5-x7k2p", fast, true), at("older", "web-55555bbbb-x7k2p", fast, true), at("canary", "web-canary-8c9b5d7f6-z2wq4", slow, true),
		at("native-job", "native-84d5c9f7b-x7k2p", fast, true), at("idle", "idle-0", fast, false), at("else", "web-else-6f7d8c9b5-x7k2p", slow, true), at("both-0", "both-0", fast, true),
		at("native-both", "both-1", slow, true),
	)
	list := []*Workload{
		{Namespace: "team", Kind: kindDeployment, Name: "web", Model: "house", Version: "7", owners: map[string]string{"web-6f7d8c9b5": "7", "web-55555bbbb": "7", "web-44444bbbb": "6"}},
		{Namespace: "team", Kind: kindDeployment, Name: "web-canary", Model: "house", Version: "8", owners: map[string]string{"web-canary-8c9b5d7f6": "8"}},
		{Namespace: "team", Kind: kindDeployment, Name: "native", owners: map[string]string{"native-84d5c9f7b": ""}},
		{Namespace: "team", Kind: kindStatefulSet, Name: "idle", owners: map[string]string{"idle": ""}},
		{Namespace: "team", Kind: kindStatefulSet, Name: "both", owners: map[string]string{"both": ""}},
		{Namespace: "team", Kind: kindDeployment, Name: "silent", owners: map[string]string{}},
	}
	want := map[string][4]float64{ // p50, p95, mean; of twice as many requests
		"both/": {1.5, 1.95, 1.5, 1}, "web/7": {0.15, 0.195, 0.15, 2}, "web-canary/8": {1.5, 1.95, 1.5, 1}, "native/": {0.15, 0.195, 0.15, 1},
	}
	for _, all := range []bool{false, true} {
		b, err := s.Servings(t.Context(), list, all, ServingOptions{Namespace: "team", Window: time.Minute, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]Serving{}
		for _, r := range got {
			rows[r.Name+"/"+r.Version] = r
		}
		if len(rows) != len(got) || len(got) != map[bool]int{false: 6, true: 7}[all] {
			t.Errorf("%t: %d rows of %d: %v", all, len(got), len(rows), rows)
		}
		for id, w := range want {
			r := rows[id]
			if r.P50 == nil || r.P95 == nil || r.Mean == nil || math.Abs(*r.P50-w[0]) > 1e-6 || math.Abs(*r.P95-w[1]) > 1e-6 || math.Abs(*r.Mean-w[2]) > 1e-6 || len(r.AtLeast) > 0 {
				t.Errorf("%t %s: %+v", all, id, servedOf(&r))
			}
			if ratio := *r.Rate / *rows["native/"].Rate; math.Abs(ratio-w[3]) > 0.5 {
				t.Errorf("%t %s: rate %v times that of one pod", all, id, ratio)
			}
		}
		if r := rows["idle/"]; !r.Idle || r.P95 != nil || r.Mean != nil || len(r.Notes) == 0 || r.Notes[0] != "no traffic in 1m" {
			t.Errorf("idle: %+v", r)
		}
		if r := rows["silent/"]; !r.Unmeasured() || len(r.Notes) != 1 {
			t.Errorf("silent: %+v", r)
		}
		if _, ok := rows["web-else/"]; ok != false && all == false {
			t.Error("another Deployment whose name begins the same was asked about")
		}
	}
}
