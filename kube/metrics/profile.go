package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is in which form a serving runtime exports its latency.
type Kind string

// The kinds. A Histogram is classic or native, whichever Prometheus stores. A SumCount knows the mean only, such as the
// Summary of Python's client. A CounterRatio divides one counter by another. A Summary has quantiles that each pod worked
// out for itself, which cannot be added up.
const (
	Histogram    Kind = "histogram"
	SumCount     Kind = "sum_count"
	CounterRatio Kind = "counter_ratio"
	Summary      Kind = "summary"
)

// Factors of Profile.Unit.
const (
	inSeconds      = 1.0
	inMilliseconds = 1e-3
	inMicroseconds = 1e-6
)

// Counter is a counter under the names that versions of a runtime give it, the newest first.
type Counter struct {
	Names []string
	// Where are label matchers, such as code=~"5.."; may be empty.
	Where string
}

// Profile says how a serving runtime exports what people ask of it.
type Profile struct {
	Name string
	// Latency is the metric of whole requests, without _bucket, _sum or _count.
	Latency string
	// Unit is how many seconds one of its units is.
	Unit float64
	// Kind is what the runtime documents. What Prometheus stores counts: see Reading.Forms.
	Kind Kind
	// Per is the counter that Latency is divided by; for CounterRatio only.
	Per string
	// Where are label matchers of Latency; may be empty.
	Where string
	// Model and Version are the labels that name the model and its version, the better ones first.
	Model, Version []string
	// Requests add up to all requests; empty: the observations of Latency.
	Requests []Counter
	// Errors are the requests that failed; without names nothing is known of them.
	Errors Counter
	// LazyErrors says that a series of Errors appears with the first error, so that none means no error where the label
	// that Errors.Where begins with, or the counter of all requests, is exported.
	LazyErrors bool
	// Queue and Running are gauges of requests that wait and are worked on, Tokens a counter of generated tokens, Full a
	// gauge of how full the cache of keys and values is, 0..1.
	Queue, Running, Tokens, Full []string
	// FirstToken and NextToken are histograms in seconds: until the first token, and between two.
	FirstToken, NextToken []string
	// OfService says that the series carry the name of a Service, not of the pod that serves.
	OfService bool
	// General says that it may be any web server, which alone does not make a workload serve models.
	General bool
}

// pair are the labels that hold the namespace and the name of what a series is about.
type pair struct {
	namespace, name string
	// without is a label that must be missing: where it is there, another pair holds the truth.
	without string
}

// podPairs and servicePairs: without honor_labels Prometheus renames a label of the exporter to exported_* where the
// target has one of that name too; charts from before 2021 call those of the target kubernetes_*; Knative had its own.
func podPairs() []pair {
	return []pair{
		{"exported_namespace", "exported_pod", ""},
		{"namespace", "pod", "exported_pod"},
		{"kubernetes_namespace", "kubernetes_pod_name", "pod"},
		{"namespace_name", "pod_name", "pod"},
	}
}

func servicePairs() []pair {
	return []pair{{"exported_namespace", "exported_service", ""}, {"namespace", "service", "exported_service"}}
}

func (p *Profile) pairs() []pair {
	if p.OfService {
		return servicePairs()
	}
	return podPairs()
}

// Profiles are the runtimes that are known, those that serve before the meshes and gateways in front of them, and those
// before the names that any HTTP server may use.
//
// Names and units are those of each project's documentation: docs.vllm.ai production metrics, docs.sglang.ai production
// metrics, huggingface.co/docs/text-generation-inference reference/metrics, Triton docs/user_guide/metrics.md, KServe
// python/kserve/kserve/metrics.py, Knative docs on metrics, Seldon Core 2 docs on local metrics, MLServer
// docs/user-guide/metrics.md, TorchServe docs/metrics.md, TensorFlow Serving monitoring.proto and model_servers, BentoML
// guide on metrics, Ray metrics list, Istio standard metrics, Linkerd proxy metrics, ingress-nginx docs on monitoring.
func Profiles() []Profile {
	name := []string{"model_name"}
	return []Profile{
		{
			Name: "vllm", Latency: "vllm:e2e_request_latency_seconds", Unit: inSeconds, Kind: Histogram, Model: name,
			Requests: []Counter{{Names: []string{"vllm:request_success_total"}}},
			Errors:   Counter{Names: []string{"vllm:request_success_total"}, Where: `finished_reason="error"`},
			Queue:    []string{"vllm:num_requests_waiting"}, Running: []string{"vllm:num_requests_running"}, Tokens: []string{"vllm:generation_tokens_total"},
			Full: []string{"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}, FirstToken: []string{"vllm:time_to_first_token_seconds"},
			NextToken: []string{"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"},
		},
		{
			Name: "sglang", Latency: "sglang:e2e_request_latency_seconds", Unit: inSeconds, Kind: Histogram, Model: name,
			Requests: []Counter{{Names: []string{"sglang:num_requests_total"}}}, Queue: []string{"sglang:num_queue_reqs"}, Running: []string{"sglang:num_running_reqs"},
			Errors: Counter{Names: []string{"sglang:num_aborted_requests_total"}},
			Tokens: []string{"sglang:generation_tokens_total"}, Full: []string{"sglang:token_usage"}, FirstToken: []string{"sglang:time_to_first_token_seconds"},
			NextToken: []string{"sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"},
		},
		{
			Name: "tgi", Latency: "tgi_request_duration", Unit: inSeconds, Kind: Histogram,
			Requests: []Counter{{Names: []string{"tgi_request_count"}}}, Errors: Counter{Names: []string{"tgi_request_failure"}}, LazyErrors: true,
			Queue: []string{"tgi_queue_size"}, Running: []string{"tgi_batch_current_size"}, Tokens: []string{"tgi_request_generated_tokens_sum"},
			NextToken: []string{"tgi_request_mean_time_per_token_duration"},
		},
		triton("triton-summary", "nv_inference_request_summary_us", Summary),
		triton("triton", "nv_inference_request_duration_us", CounterRatio),
		{
			Name: "kserve", Latency: "request_predict_seconds", Unit: inSeconds, Kind: Histogram, Model: name,
		},
		{
			Name: "seldon", Latency: "seldon_model_infer_api_seconds", Unit: inSeconds, Kind: Histogram, Model: []string{"model", "model_name"}, Version: []string{"model_version"},
			Errors: Counter{Names: []string{"seldon_model_infer_api_seconds_count"}, Where: `code!~"OK|200|"`}, LazyErrors: true,
		},
		{
			Name: "mlserver", Latency: "model_infer_request_duration", Unit: inSeconds, Kind: Summary, Model: []string{"model"}, Version: []string{"version"},
			Requests: []Counter{{Names: []string{"model_infer_request_success_total"}}, {Names: []string{"model_infer_request_failure_total"}}},
			Errors:   Counter{Names: []string{"model_infer_request_failure_total"}}, LazyErrors: true,
		},
		{
			Name: "torchserve", Latency: "ts_inference_latency_microseconds", Unit: inMicroseconds, Kind: CounterRatio, Per: "ts_inference_requests_total",
			Model: name, Version: []string{"model_version"}, // Requests5XX tells no models apart
		},
		{
			Name: "tensorflow-serving", Latency: ":tensorflow:serving:request_latency", Unit: inMicroseconds, Kind: Histogram, Model: name,
			Requests: []Counter{{Names: []string{":tensorflow:serving:request_count"}}},
			Errors:   Counter{Names: []string{":tensorflow:serving:request_count"}, Where: `status!="OK"`}, LazyErrors: true,
		},
		{
			Name: "bentoml", Latency: "bentoml_service_request_duration_seconds", Unit: inSeconds, Kind: Histogram, Model: []string{"service_name"}, Version: []string{"service_version"},
			Requests: []Counter{{Names: []string{"bentoml_service_request_total"}}},
			Errors:   Counter{Names: []string{"bentoml_service_request_total"}, Where: `http_response_code=~"5.."`}, LazyErrors: true,
			Running: []string{"bentoml_service_request_in_progress"},
		},
		{
			Name: "ray-serve", Latency: "ray_serve_deployment_processing_latency_ms", Unit: inMilliseconds, Kind: Histogram, Model: []string{"deployment"},
			Requests: []Counter{{Names: []string{"ray_serve_deployment_request_counter_total", "ray_serve_deployment_request_counter"}}},
			Errors:   Counter{Names: []string{"ray_serve_deployment_error_counter_total", "ray_serve_deployment_error_counter"}}, LazyErrors: true,
			Queue: []string{"ray_serve_deployment_queued_queries"}, Running: []string{"ray_serve_replica_processing_queries"},
		},
		{ // the mission's own example: Summary and Counter of Python's client
			Name: "python", Latency: "request_latency_seconds", Unit: inSeconds, Kind: SumCount, Model: []string{"model"}, Version: []string{"version", "model_version"},
			Requests: []Counter{{Names: []string{"request_count_total"}}}, Errors: Counter{Names: []string{"request_errors_total"}},
		},
		{
			Name: "knative", General: true, Latency: "kn_serving_invocation_duration_seconds", Unit: inSeconds, Kind: Histogram,
			Errors: Counter{Names: []string{"kn_serving_invocation_duration_seconds_count"}, Where: `http_response_status_code=~"5.."`}, LazyErrors: true,
		},
		{
			Name: "knative-revision", General: true, Latency: "revision_app_request_latencies", Unit: inMilliseconds, Kind: Histogram,
			Errors: Counter{Names: []string{"revision_app_request_count"}, Where: `response_code_class="5xx"`}, LazyErrors: true,
			Requests: []Counter{{Names: []string{"revision_app_request_count"}}},
		},
		{
			Name: "knative-queue", General: true, Latency: "revision_request_latencies", Unit: inMilliseconds, Kind: Histogram,
			Errors: Counter{Names: []string{"revision_request_count"}, Where: `response_code_class="5xx"`}, LazyErrors: true,
			Requests: []Counter{{Names: []string{"revision_request_count"}}},
		},
		web("fastapi", "http_request_duration_seconds", `status=~"5.."`, "http_requests_total"),
		web("flask", "flask_http_request_duration_seconds", `status=~"5.."`, ""),
		web("opentelemetry", "http_server_request_duration_seconds", `http_response_status_code=~"5.."`, ""),
		{
			Name: "istio", General: true, Latency: "istio_request_duration_milliseconds", Unit: inMilliseconds, Kind: Histogram, Where: `reporter="destination"`,
			Requests: []Counter{{Names: []string{"istio_requests_total"}, Where: `reporter="destination"`}},
			Errors:   Counter{Names: []string{"istio_requests_total"}, Where: `response_code=~"5..",reporter="destination"`}, LazyErrors: true,
		},
		{
			Name: "linkerd", General: true, Latency: "response_latency_ms", Unit: inMilliseconds, Kind: Histogram, Where: `direction="inbound"`,
			Requests: []Counter{{Names: []string{"response_total"}, Where: `direction="inbound"`}},
			Errors:   Counter{Names: []string{"response_total"}, Where: `classification="failure",direction="inbound"`}, LazyErrors: true,
		},
		{
			Name: "ingress-nginx", General: true, Latency: "nginx_ingress_controller_request_duration_seconds", Unit: inSeconds, Kind: Histogram, OfService: true,
			Requests: []Counter{{Names: []string{"nginx_ingress_controller_requests"}}},
			Errors:   Counter{Names: []string{"nginx_ingress_controller_requests"}, Where: `status=~"5.."`}, LazyErrors: true,
		},
	}
}

func triton(name, latency string, kind Kind) Profile {
	success, failure := Counter{Names: []string{"nv_inference_request_success"}}, Counter{Names: []string{"nv_inference_request_failure"}}
	p := Profile{
		Name: name, Latency: latency, Unit: inMicroseconds, Kind: kind, Model: []string{"model"}, Version: []string{"version"},
		Requests: []Counter{success, failure}, Errors: failure, Queue: []string{"nv_inference_pending_request_count"},
	}
	if kind == CounterRatio {
		p.Per = success.Names[0]
	}
	return p
}

// web is a server whose histogram, or another counter, tells the status of each answer.
func web(name, latency, failed, requests string) Profile {
	p := Profile{Name: name, Latency: latency, Unit: inSeconds, Kind: Histogram, LazyErrors: true, General: true}
	p.Errors = Counter{Names: []string{latency + "_count"}, Where: failed}
	if requests != "" {
		p.Errors.Names = []string{requests}
		p.Requests = []Counter{{Names: []string{requests}}}
	}
	return p
}

// ProfileNames are the names of profiles, sorted.
func ProfileNames() []string {
	var names []string
	for _, p := range Profiles() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// CustomProfile is the profile of a metric that a user names, of which no more is known than its name and unit: s, ms or
// us; empty: what the name ends in, else seconds.
func CustomProfile(metric, unit string) (Profile, error) {
	base := metric
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		base = strings.TrimSuffix(base, suffix)
	}
	if !isMetricName(base) {
		return Profile{}, fmt.Errorf("%q is no name of a metric", metric)
	}
	p := Profile{Name: base, Latency: base, Unit: inSeconds, Kind: Histogram, Model: []string{"model", "model_name"}, Version: []string{"version", "model_version"}}
	if unit == "" {
		for _, u := range []struct{ suffix, unit string }{{"_ms", "ms"}, {"_milliseconds", "ms"}, {"_us", "us"}, {"_microseconds", "us"}} {
			if strings.HasSuffix(base, u.suffix) {
				unit = u.unit
			}
		}
	}
	switch unit {
	case "", "s":
	case "ms":
		p.Unit = inMilliseconds
	case "us":
		p.Unit = inMicroseconds
	default:
		return Profile{}, fmt.Errorf("unknown unit %q: use s, ms or us", unit)
	}
	return p, nil
}

func isMetricName(s string) bool {
	for i, r := range s {
		if r != '_' && r != ':' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
