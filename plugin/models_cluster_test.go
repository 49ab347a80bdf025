package plugin

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// registered puts two versions of a model, the second made of the first, and the code of both into a namespace.
func registered(t *testing.T, b *bench) {
	t.Helper()
	c, err := b.Client()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"mlsource-p-1": "import os\nlr = 0.1\n", "mlsource-p-2": "import os\nlr = 0.2\n"} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"lib..train.py": text}, Immutable: new(true)}
		if _, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	run := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: kube.PrefixRun + "p-a"}}
	if run, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), run, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for n, f := range []registry.Facts{
		{Metrics: map[string]float64{"rmse": 200, "rows": 10}, Params: pipeline.Params{"lr": 0.1, "seed": int64(7)}, Code: registry.Code{Source: "mlsource-p-1"}},
		{
			Metrics: map[string]float64{"rmse": 150, "rows": 10}, Params: pipeline.Params{"lr": 0.2, "seed": int64(7)}, Code: registry.Code{Source: "mlsource-p-2"}, Parents: []string{"m:1"},
			Run:       &registry.Origin{Kind: "run", Name: "p-a", Namespace: c.Namespace, UID: "another", Stage: "train", Job: "p-a-train", JobUID: "u"},
			Signature: json.RawMessage(`{"inputs":[]}`),
		},
	} {
		if n == 0 {
			f.Run = &registry.Origin{Kind: "run", Name: "p-a", Namespace: c.Namespace, UID: string(run.UID), Stage: "train"}
		}
		f.Model, f.CreatedBy, f.CreatedAt = "m", "alice", b.Now()
		f.Artifact = pipeline.Artifact{URI: "s3://bucket/key", Size: 1000}
		if _, _, err := registry.Register(t.Context(), c, f, registry.RegisterOptions{Key: string(rune('a' + n))}); err != nil {
			t.Fatal(err)
		}
	}
	one := 1
	for _, m := range []registry.Move{{To: 1, Action: registry.Promoted, By: "bob", Comment: "first"}, {To: 2, IfCurrent: &one, Action: registry.Moved, By: "alice"}} {
		m.Model, m.Alias = "m", "production"
		if _, err := registry.SetAlias(t.Context(), c, m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModelVerbsOnACluster(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	on := func() *bench {
		b := newBench()
		*b.Config.KubeConfig, *b.Config.Namespace = sandbox.Kubeconfig, ns
		return b
	}
	(&step{"models of nothing", call(runModels, modelsOptions{}), 0, "", "^No models found in namespace test-"}).check(t, on())
	(&step{"audit of nothing", call(runAudit, auditOptions{}), 0, "", "^No models found in namespace test-"}).check(t, on())
	begin := time.Now()
	registered(t, on())
	json := output{Format: "json"}
	for _, s := range []step{
		{"models", call(runModels, modelsOptions{}), 0, `(?m)^m +2 +2 +2 +<none> +rmse=150 rows=10 +[0-9]+s$`, ""},
		{"names", call(runModels, modelsOptions{Output: output{Format: "name"}}), 0, `^model/m\n$`, ""},
		{"versions", call(runModels, modelsOptions{Model: "m"}), 0, `(?s)RMSE +ROWS.*\n +2 +production +<none> +150 +10 +1000B +<none> +run/p-a +alice .*\n +1 +<none> +<none> +200 `, ""},
		{"sorted", call(runModels, modelsOptions{Model: "m", SortBy: "-rmse", Output: output{Format: "name"}}), 0, `^model/m:1\nmodel/m:2\n$`, ""},
		{"sorted by nothing known", call(runModels, modelsOptions{Model: "m", SortBy: "f1"}), ExitError, "", `no column "f1" to sort by; there are version, aliases, `},
		{"versions of one", call(runModels, modelsOptions{Model: "m:1"}), ExitError, "", "kubectl ml model show m:1"},
		{"versions of none", call(runModels, modelsOptions{Model: "n"}), ExitError, "", "there is no model n in namespace test-"},
		{"show", call(runModelShow, modelShowOptions{Ref: "m@production"}), 0, `(?s)^Version: +m:2\nAliases: +production\n.*rmse +150 +lower.*Source: +configmap/mlsource-p-2.*Stage: +train`, ""},
		{"show as JSON", call(runModelShow, modelShowOptions{Ref: "model/m:1", Output: json}), 0, `"kind": "ModelVersion"`, ""},
		{"show no alias", call(runModelShow, modelShowOptions{Ref: "m@staging"}), ExitError, "", "model m has no alias staging"},
		{"show no version", call(runModelShow, modelShowOptions{Ref: "m:9"}), ExitError, "", "m:9"},
		{"diff", call(runModelDiff, modelDiffOptions{To: "m", Code: true}), 0, `(?s)^--- m:1 .*\+\+\+ m:2 \(production\).*rmse +200 +150 +-25% +better.*lr +0\.1 +0\.2\n.*lib/train\.py +changed +\+1 -1.*--- m:1/lib/train\.py\n\+\+\+ m:2/lib/train\.py\n.*-lr = 0\.1\n\+lr = 0\.2\n$`, ""},
		{"diff with production", call(runModelDiff, modelDiffOptions{To: "m:1", ExitCode: true}), ExitError, `^--- m:2 \(production\)`, ""},
		{"diff of the same", call(runModelDiff, modelDiffOptions{From: "m:1", To: "m:1", Code: true, ExitCode: true}), 0, "do not differ", ""},
		{"diff as JSON", call(runModelDiff, modelDiffOptions{To: "m:2", Code: true, Output: output{Format: "jsonpath={.metrics[0].verdict} {.files[0].path}"}}), 0, "^better lib/train.py$", ""},
		{"history", call(runModelHistory, modelHistoryOptions{Model: "m"}), 0, `(?s)WHO.*alice +alias production +1 +2 .*bob +promoted production +<none> +1 .*registered +- +2 .*registered +- +1 `, ""},
		{"history of a version", call(runModelHistory, modelHistoryOptions{Model: "m:1"}), ExitError, "", `name it as m\n$`},
		{"lineage", call(runModelLineage, modelLineageOptions{Ref: "m:2"}), 0, `(?s)run/p-a +replaced.*stage train.*job/p-a-train +gone.*configmap/mlsource-p-2 +present.*m:1 +present.*run/p-a +present.*made into +no version`, ""},
		{"lineage downwards", call(runModelLineage, modelLineageOptions{Ref: "m:1"}), 0, `(?s)made into.*m:2 +present +production`, ""},
		{"lineage as JSON", call(runModelLineage, modelLineageOptions{Ref: "m:2", Output: output{Format: "jsonpath={.madeOf[0].presence} {.madeOf[1].name}"}}), 0, `^replaced m:1$`, ""},
		{"audit", call(runAudit, auditOptions{Who: "BOB"}), 0, `(?m)^m +.* bob +promoted production +<none> +1 +- +first$`, ""},
		{"audit since", call(runAudit, auditOptions{Since: "1h", Alias: "production", Output: output{Format: "jsonpath={.items[*].version}"}}), 0, `^2 1$`, ""},
		{"audit as JSON", call(runAudit, auditOptions{Output: json}), 0, `"kind": "ModelEvent"`, ""},
		{"audit now", call(runAudit, auditOptions{At: "0s"}), 0, `(?s)^MODEL +ALIAS +VERSION .*\nm +production +2 +yes .* alice +-\n$`, "^As of "},
		{"audit before", call(runAudit, auditOptions{At: begin.Add(-time.Hour).Format(time.RFC3339)}), 0, "", "No alias pointed anywhere"},
		{"audit of no model", call(runAudit, auditOptions{Model: "n"}), ExitError, "", "there is no model n"},
	} {
		s.check(t, on())
	}
	b := on()
	c, err := b.Client()
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string][]string{
		"":         {"m", "m@latest", "m@production"},
		"m:":       {"m:1", "m:2"},
		"model/m":  {"model/m", "model/m@latest", "model/m@production"},
		"model/m:": {"model/m:1", "model/m:2"},
	} {
		got, err := refNames(prefix)(t.Context(), c)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("completion of %q: %v (-want +got):\n%s", prefix, err, diff)
		}
	}
}
