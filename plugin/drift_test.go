package plugin

import (
	"bytes"
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

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/drift"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

func TestArgvOfDrift(t *testing.T) {
	driftC := argv(newDriftCmd)
	for line, want := range map[string]driftOptions{
		"m": {Target: "m", Window: time.Hour, Against: "baseline", MinSamples: 500},
		"m@production --window 6h --against offset=7d --min-samples 50 --warn 0.2 --alert 0.3 --js 0.4 --feature a,b --feature c --explain a -w --exit-code --prometheus m/p -o wide --no-headers": {
			Target: "m@production", Window: 6 * time.Hour, Against: "offset=7d", MinSamples: 50, Limits: drift.Limits{Warn: 0.2, Alert: 0.3, JS: 0.4}, Features: []string{"a", "b", "c"}, Explain: "a",
			Watch: true, ExitCode: true, Prometheus: "m/p", Output: output{Format: "wide", NoHeaders: true},
		},
	} {
		if diff := cmp.Diff(want, driftC(t, line), cmp.AllowUnexported(output{})); diff != "" {
			t.Errorf("drift %s (-want +got): %s", line, diff)
		}
	}
}

func TestDriftOptions(t *testing.T) {
	good := driftOptions{Window: time.Hour, Against: "baseline"}
	for want, change := range map[string]func(*driftOptions){
		"":                      func(*driftOptions) {},
		"unknown output format": func(o *driftOptions) { o.Output.Format = "jsn" },
		"--warn -1":             func(o *driftOptions) { o.Limits.Warn = -1 },
		"the limit to warn, 2, is above that to alert, 1": func(o *driftOptions) { o.Limits = drift.Limits{Warn: 2, Alert: 1} },
		"--window 1s: it is a minute at least":            func(o *driftOptions) { o.Window = time.Second },
		"-w redraws a table":                              func(o *driftOptions) { o.Watch, o.Output.Format = true, "json" },
		"--exit-code does not go with -w":                 func(o *driftOptions) { o.Watch, o.ExitCode = true, true },
		"--explain draws for people":                      func(o *driftOptions) { o.Explain, o.Output.Format = "a", "json" },
		"--against yesterday: use baseline, or offset=":   func(o *driftOptions) { o.Against = "yesterday" },
		"--against offset=x: use baseline":                func(o *driftOptions) { o.Against = "offset=x" },
		"--against offset=0s: the time to go back":        func(o *driftOptions) { o.Against = "offset=0s" },
	} {
		o := good
		change(&o)
		err := o.check()
		if err == nil {
			_, err = o.request()
		}
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"baseline": 0, "offset=7d": 7 * 24 * time.Hour, "offset=1w12h": 180 * time.Hour} {
		if got, err := (driftOptions{Against: text}).offset(); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

// modelsPrometheus answers as one that counts the features of house-prices: area has moved when shifted says so.
func modelsPrometheus(t *testing.T, namespace string, shifted *atomic.Bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("query")
		var list []string
		add := func(version, feature, rest string, value float64) {
			list = append(list, fmt.Sprintf(`{"metric":{"model":"house-prices","version":%q,"feature":%q,%s},"value":[1795435200,"%g"]}`, version, feature, rest, value))
		}
		histogram := func(prefix, version, feature string, cumulative ...float64) {
			for i, le := range []string{"50", "100", "+Inf"} {
				add(version, feature, fmt.Sprintf(`"le":%q,"kubectl_ml_part":"feature/%sbucket"`, le, prefix), cumulative[i])
				add(version, feature, fmt.Sprintf(`"le":%q,"kubectl_ml_part":"feature/%sseries"`, le, prefix), 2)
			}
		}
		switch mine := strings.Contains(q, `namespace=~"`+namespace+`|"`); {
		case strings.Contains(q, "count(up)"):
			list = []string{`{"metric":{},"value":[1795435200,"3"]}`}
		case !mine || strings.Contains(q, "no-such"):
		case strings.Contains(q, "le, ") || strings.Contains(q, ", le)"):
			area := []float64{250, 500, 1000}
			if shifted.Load() {
				area = []float64{50, 100, 1000}
			}
			histogram("", "1", "area", area...)
			histogram("", "1", "rooms", 250, 500, 1000)
			histogram("", "2", "area", 100, 200, 400)
			if strings.Contains(q, "offset 1w") {
				histogram("before-", "1", "area", 250, 500, 1000)
				histogram("before-", "1", "rooms", 250, 500, 1000)
			}
		case strings.Contains(q, "vector(time())"):
			list = []string{`{"metric":{"kubectl_ml_part":"/now"},"value":[1795435200,"1795435200"]}`}
			add("1", "area", `"kubectl_ml_part":"feature/seen0"`, 1795435140)
			add("1", "gone", `"kubectl_ml_part":"feature/seen1"`, 1795428000)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(list, ","))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestDriftAgainstTheCluster registers versions with the API server and judges what a Prometheus says of them.
func TestDriftAgainstTheCluster(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	c, err := client.New(sandbox.Config(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, baseline := range []string{
		`{"version":1,"features":{"area":{"bounds":[50,100],"counts":[2500,2500,5000]},"rooms":{"bounds":[50,100],"counts":[2500,2500,5000]},"gone":{"bounds":[1],"counts":[900,900]}}}`, "",
	} {
		facts := registry.Facts{Model: "house-prices", Artifact: pipeline.Artifact{URI: "s3://bucket/" + fmt.Sprint(len(baseline))}, Baseline: json.RawMessage(baseline)}
		if baseline == "" {
			facts.Baseline = nil
		}
		if _, _, err := registry.Register(t.Context(), c, facts, registry.RegisterOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	labels := map[string]string{"app": "prices", kube.LabelModel: "house-prices", kube.LabelVersion: "1"}
	replicas := int32(0)
	_, err = c.Kube.AppsV1().Deployments(ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "prices", Labels: labels},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "prices"}}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x"}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var shifted atomic.Bool
	url := modelsPrometheus(t, ns, &shifted)
	for _, step := range []struct {
		name    string
		shifted bool
		change  func(*driftOptions)
		code    int
		want    []string
		not     string
	}{
		{"a model", false, func(o *driftOptions) { o.Target = "house-prices" }, ExitInconclusive, []string{
			"house-prices:1 against its baseline, last 60m: 1 unknown, 2 ok", "area      0.000", "gone: no samples in the last 60 min: last sample 2 h ago", "house-prices:2 has no baseline: register versions with one, or compare with",
		}, ""},
		{"what serves it", true, func(o *driftOptions) { o.Target = "deployment/prices" }, ExitGate, []string{"house-prices:1 against", "1 alert"}, ""},
		{"a version", true, func(o *driftOptions) { o.Target = "house-prices:1" }, ExitGate, []string{"area", "alert", "1 alert, 1 unknown, 1 ok"}, "house-prices:2"},
		{"one feature", false, func(o *driftOptions) { o.Target, o.Features = "house-prices:1", []string{"area"} }, 0, []string{"1 ok"}, "rooms"},
		{"both distributions", true, func(o *driftOptions) { o.Target, o.Explain = "house-prices:1", "area" }, ExitGate, []string{"area: alert; PSI 0.", "BIN", "50 .. 100", "1000 samples against 10000"}, "rooms"},
		{"no such feature", false, func(o *driftOptions) { o.Target, o.Features = "house-prices:1", []string{"aera"} }, ExitError, []string{`there is no feature or prediction "aera"`, "there are: area, gone, rooms"}, ""},
		{"an earlier time", true, func(o *driftOptions) {
			o.Target, o.Against, o.Features = "house-prices:1", "offset=7d", []string{"area", "rooms"}
		}, ExitGate, []string{"against 1w before", "1 alert, 1 ok"}, ""},
		{"limits", true, func(o *driftOptions) {
			o.Target, o.Features, o.Limits = "house-prices:1", []string{"area"}, drift.Limits{Warn: 5, Alert: 9, JS: 1}
		}, 0, []string{"1 ok"}, ""},
		{"few samples", false, func(o *driftOptions) { o.Target, o.MinSamples = "house-prices:1", 2000 }, ExitInconclusive, []string{"area, rooms: 1000 of at least 2000 samples"}, ""},
		{"no such version", false, func(o *driftOptions) { o.Target = "house-prices:9" }, ExitError, []string{"house-prices:9"}, ""},
		{"no such model", false, func(o *driftOptions) { o.Target = "no-such" }, ExitError, []string{"nothing is known of no-such in namespace " + ns, "kubectl ml models"}, ""},
		{"a name that is none", false, func(o *driftOptions) { o.Target = "Not A Name" }, ExitError, []string{"Not A Name"}, ""},
		{"no Prometheus", false, func(o *driftOptions) { o.Target, o.Prometheus = "house-prices", "http://127.0.0.1:1" }, ExitError, []string{"no Prometheus found: http://127.0.0.1:1"}, ""},
	} {
		shifted.Store(step.shifted)
		f := testFactory()
		var out bytes.Buffer
		f.Out = &out
		path := sandbox.Kubeconfig
		f.Config.KubeConfig, f.Config.Namespace = &path, &ns
		o := driftOptions{Window: time.Hour, Against: againstBaseline, MinSamples: 500, ExitCode: true, Prometheus: url}
		step.change(&o)
		err := runDrift(t.Context(), f, o)
		text, code := out.String(), 0
		var coded *CodeError
		switch {
		case errors.As(err, &coded):
			code = coded.Code
		case err != nil:
			code, text = ExitError, text+err.Error()
		}
		if code != step.code {
			t.Errorf("%s: exit code %d, want %d: %v\n%s", step.name, code, step.code, err, text)
		}
		for _, w := range step.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", step.name, w, text)
			}
		}
		if step.not != "" && strings.Contains(text, step.not) {
			t.Errorf("%s: %q in\n%s", step.name, step.not, text)
		}
	}

	f := testFactory()
	var out bytes.Buffer
	f.Out = &out
	path := sandbox.Kubeconfig
	f.Config.KubeConfig, f.Config.Namespace = &path, &ns
	shifted.Store(true)
	if err := runDrift(t.Context(), f, driftOptions{Target: "house-prices", Window: time.Hour, Against: againstBaseline, Prometheus: url, Output: output{Format: "json"}}); err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct{ Name string }
			drift.Report
		}
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list.Items) != 2 {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if r := list.Items[0]; r.Kind != "DriftReport" || r.Metadata.Name != "house-prices-1" || r.Verdict != drift.Alert || len(r.Rows) != 3 || r.Rows[0].Name != "area" || len(r.Rows[0].Bins) != 3 {
		t.Errorf("%+v", r)
	}
}

// TestDriftWatch prints what changed, says once what fails, and shows the last reports meanwhile.
func TestDriftWatch(t *testing.T) {
	report := func(psi float64) []drift.Report {
		return []drift.Report{{Model: "m", Version: "1", Against: "its baseline", Rows: []drift.Row{{Kind: drift.KindFeature, Name: "area", Verdict: drift.OK, PSI: &psi, Limits: drift.DefaultLimits(), Last: time.Unix(1000, 0)}}}}
	}
	f := testFactory()
	var out, said bytes.Buffer
	f.Out, f.ErrOut = &out, &said
	o := driftOptions{Window: time.Hour}
	show := f.driftLog(o)
	show(driftState{reports: report(0.01), at: time.Unix(1060, 0)})
	show(driftState{reports: report(0.01), at: time.Unix(1120, 0)})
	show(driftState{reports: report(0.01), at: time.Unix(1120, 0), err: errors.New("it does not answer\x1b[31m in time")})
	show(driftState{reports: report(0.01), at: time.Unix(1120, 0), err: errors.New("it does not answer\x1b[31m in time")})
	show(driftState{reports: report(0.02), at: time.Unix(1180, 0)})
	if n := strings.Count(out.String(), "area"); n != 2 || !strings.Contains(out.String(), "0.020") {
		t.Errorf("%d pages\n%s", n, out.String())
	}
	if strings.Count(said.String(), "it does not answer") != 1 || strings.Contains(said.String(), "\x1b") {
		t.Errorf("said %q", said.String())
	}
	lines, _ := o.frame(driftState{reports: report(0.01), at: time.Unix(1000, 0), err: errors.New("gone\nhint")})(60, 4, time.Unix(1300, 0))
	text := ""
	for _, l := range lines {
		text += l.Text() + "\n"
		if l.Width() > 60 {
			t.Errorf("%q is too wide", l.Text())
		}
	}
	if len(lines) != 4 || !strings.Contains(text, "as of 5m ago: gone") || !strings.Contains(text, "0.010") {
		t.Errorf("%d lines\n%s", len(lines), text)
	}
	lines, _ = o.frame(driftState{reports: append(report(0.01), report(0.02)...)})(60, 4, time.Unix(1300, 0))
	if len(lines) != 4 || !strings.Contains(lines[3].Text(), "more") {
		t.Errorf("%v", lines)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.watchDrift(ctx, o, func(ctx context.Context) ([]drift.Report, error) { return nil, ctx.Err() }); err == nil {
		t.Error("it goes on though it was left")
	}
}
