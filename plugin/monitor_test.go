package plugin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

func TestMonitorOptions(t *testing.T) {
	monitor := argv(func(f *Factory, do func(context.Context, *Factory, monitorOptions) error) *cobra.Command {
		return newMonitorCmd(f, do, nil)
	})
	for line, want := range map[string]monitorOptions{
		"": {Measure: measureOptions{Window: 5 * time.Minute}, Since: time.Hour},
		"-A --any --window 1m --profile istio --since 6h --slo 1s --sort-by -p95 -w --ascii -o wide --no-headers": {
			Namespaces: true, Any: true, Measure: measureOptions{Window: time.Minute, Profile: "istio"}, Since: 6 * time.Hour, SLO: time.Second, SortBy: "-p95", Watch: true, ASCII: true,
			Output: output{Format: "wide", NoHeaders: true},
		},
	} {
		if diff := cmp.Diff(any(want), monitor(t, line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
		if err := want.check(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	good := monitorOptions{Measure: measureOptions{Window: time.Minute}, Since: time.Hour}
	for want, change := range map[string]func(*monitorOptions){
		`--sort-by: no column "x"; there are namespace, name, `: func(o *monitorOptions) { o.SortBy = "-x" },
		"-w redraws a table":                func(o *monitorOptions) { o.Watch, o.Output.Format = true, "json" },
		`no profile "x"; there are bentoml`: func(o *monitorOptions) { o.Measure.Profile = "x" },
		"--since must be a minute at least": func(o *monitorOptions) { o.Since = 0 },
		"--slo is negative":                 func(o *monitorOptions) { o.SLO = -1 },
	} {
		o := good
		change(&o)
		if err := o.check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	sources := argv(newSourcesCmd)
	for line, want := range map[string]sourcesOptions{
		"":         {},
		"--forget": {Forget: true},
		"--prometheus a/b --prometheus-secret m/p --prometheus-tenant t -o wide": {Prometheus: prometheusOptions{Where: "a/b", Secret: "m/p", Tenant: "t"}, Output: output{Format: "wide"}},
	} {
		if diff := cmp.Diff(any(want), sources(t, line)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	if err := (sourcesOptions{Forget: true, Output: output{Format: "json"}}).check(); err == nil {
		t.Error("--forget -o json is taken")
	}
}

// TestPrometheusOptions: flags win over the environment, which wins over what is kept.
func TestPrometheusOptions(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(&rest.Config{Host: "https://here"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench()
	env := map[string]string{"XDG_STATE_HOME": dir}
	b.Getenv = func(name string) string { return env[name] }
	*b.Config.Context = "ctx"
	chosen := metrics.Choice{Namespace: "m", Service: "p", Port: "9090"}
	if err := b.choices().Put("ctx https://here", chosen); err != nil {
		t.Fatal(err)
	}
	ask := func(o prometheusOptions) metrics.Options {
		t.Helper()
		got, err := b.prometheusFor(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := ask(prometheusOptions{}); got.URL != "" || got.Kept == nil || *got.Kept != chosen {
		t.Errorf("%+v", got)
	}
	env["KUBECTL_ML_PROMETHEUS"], env["KUBECTL_ML_PROMETHEUS_TENANT"], env["KUBECTL_ML_PROMETHEUS_TOKEN_FILE"] = "http://env", "env", file
	if got := ask(prometheusOptions{}); got.URL != "http://env" || got.Kept != nil || got.As.Tenant != "env" || got.As.Token != "from-a-file" || got.As.Insecure {
		t.Errorf("%+v", got)
	}
	if got := ask(prometheusOptions{Where: "http://flag", Tenant: "flag", Insecure: true}); got.URL != "http://flag" || got.As.Tenant != "flag" || !got.As.Insecure {
		t.Errorf("%+v", got)
	}
	env["KUBECTL_ML_PROMETHEUS_CA"] = filepath.Join(dir, "none")
	if _, err := b.prometheusFor(t.Context(), c, prometheusOptions{}); err == nil || !strings.HasPrefix(err.Error(), "KUBECTL_ML_PROMETHEUS_CA: ") {
		t.Errorf("%v", err)
	}
	env["XDG_STATE_HOME"] = "relative"
	if got := b.choices(); got.Path != "" {
		t.Errorf("kept in %s", got.Path)
	}
	env["HOME"] = dir
	if got, want := b.choices().Path, filepath.Join(dir, ".local", "state", "kubectl-ml", "prometheus.json"); got != want {
		t.Errorf("kept in %s", got)
	}
}
