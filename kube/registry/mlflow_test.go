package registry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// answers are what MLflow 2.14 says, by path and query: numbers of 64 bits as numbers, NaN as a word.
func answers() map[string]string {
	return map[string]string{
		"model-versions/get?name=House+Prices&version=3": `{"model_version": {"name": "House Prices", "version": "3", "creation_timestamp": 1767225600000,
			"last_updated_timestamp": 1767225600000, "user_id": "", "current_stage": "Production", "description": "with the new features",
			"source": "s3://mlflow/1/0f1e/artifacts/model", "run_id": "0f1e", "status": "READY", "run_link": "",
			"tags": [{"key": "team", "value": "pricing"}], "aliases": ["champion"]}}`,
		"registered-models/alias?alias=champion&name=House+Prices":    `{"model_version": {"name": "House Prices", "version": 3, "creation_timestamp": "1767225600000", "source": "models:/m-1", "status": "READY"}}`,
		"registered-models/get?name=House+Prices":                     `{"registered_model": {"name": "House Prices", "aliases": [{"alias": "champion", "version": "3"}, {"alias": "old", "version": "2"}]}}`,
		"model-versions/get-download-uri?name=House+Prices&version=3": `{"artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts"}`,
		"runs/get?run_id=0f1e": `{"run": {"info": {"run_id": "0f1e", "run_uuid": "0f1e", "run_name": "calm-owl-7", "experiment_id": "1", "user_id": "ada", "status": "FINISHED",
			"start_time": 1767225500000, "end_time": 1767225590000, "artifact_uri": "s3://mlflow/1/0f1e/artifacts", "lifecycle_stage": "active"},
			"data": {"metrics": [{"key": "rmse", "value": 51234.5, "timestamp": 1767225590000, "step": 10}, {"key": "grad", "value": "NaN", "timestamp": 1, "step": "0"}],
			"params": [{"key": "lr", "value": "0.1"}, {"key": "n_estimators", "value": "100"}, {"key": "warm_start", "value": "False"}, {"key": "id", "value": "007"}, {"key": "max", "value": "nan"}],
			"tags": [{"key": "mlflow.user", "value": "ada"}, {"key": "mlflow.source.git.commit", "value": "abc123"},
			{"key": "mlflow.log-model.history", "value": "[{\"run_id\": \"0f1e\", \"artifact_path\": \"model\", \"signature\": {\"inputs\": \"[]\"}, \"flavors\": {\"python_function\": {}, \"sklearn\": {}}}]"}]},
			"inputs": {"dataset_inputs": [{"tags": [], "dataset": {"name": "houses", "digest": "67a57f6b", "source_type": "local", "source": "{\"url\": \"houses.csv\"}"}}]}}}`,
	}
}

// mlflow is a server that answers so, and refuses who has no token.
func mlflow(t *testing.T, says map[string]string) MLflow {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, "You are not authenticated.")
			return
		}
		text, ok := says[strings.TrimPrefix(r.URL.Path, "/team/api/2.0/mlflow/")+"?"+r.URL.RawQuery]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version (name=x, version=9) not found"}`)
			return
		}
		_, _ = fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return MLflow{URI: s.URL + "/team/", Token: "secret", HTTP: s.Client()}
}

func TestMLflow(t *testing.T) {
	m := mlflow(t, answers())
	got, err := m.Get(t.Context(), "House Prices", "3", "")
	if err != nil {
		t.Fatal(err)
	}
	want := Foreign{
		Facts: Facts{
			Model: "House Prices", Version: 3, Artifact: pipeline.Artifact{URI: "s3://mlflow/1/0f1e/artifacts/model", Format: "sklearn"},
			Metrics: map[string]float64{"rmse": 51234.5}, Params: pipeline.Params{"lr": 0.1, "n_estimators": int64(100), "warm_start": false, "id": "007", "max": "nan"},
			Data: map[string]any{"name": "houses", "digest": "67a57f6b", "source": `{"url": "houses.csv"}`}, Code: Code{Commit: "abc123"},
			Run: &Origin{Kind: "mlflow", Name: "0f1e"}, Signature: []byte(`{"inputs": "[]"}`), CreatedBy: "ada", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		Aliases: []string{"champion"}, Notes: map[string]string{"description": "with the new features", "mlflow.stage": "Production", "team": "pricing"},
		Left: []string{"metric grad, which is NaN"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	got, err = m.Get(t.Context(), "House Prices", "", "champion")
	if err != nil || got.Version != 3 || got.Artifact.URI != "mlflow-artifacts:/1/models/m-1/artifacts" || len(got.Aliases) != 1 {
		t.Errorf("by its alias: %+v, %v", got, err)
	}
}

func TestMLflowAnswersBadly(t *testing.T) {
	const get = "model-versions/get?name=m&version=1"
	version := func(fields string) string { return `{"model_version": {"name": "m", "version": "1", ` + fields + `}}` }
	for name, c := range map[string]struct {
		says map[string]string
		err  string
		left string
	}{
		"unknown":      {nil, "read model m from MLflow: Model Version (name=x, version=9) not found", ""},
		"html":         {map[string]string{get: "<!doctype html><title>Sign in</title>"}, "does not answer as MLflow does (it begins with \"<!doctype html>", ""},
		"truncated":    {map[string]string{get: `{"model_version": {"name": "m", "ver`}, "does not answer as MLflow does", ""},
		"empty":        {map[string]string{get: `{}`}, "the answer has no model version", ""},
		"wrong types":  {map[string]string{get: version(`"source": "s3://b/k", "tags": {}`)}, "does not answer as MLflow does", ""},
		"a list":       {map[string]string{get: `{"model_version": {"version": []}}`}, "does not answer as MLflow does", ""},
		"version 0":    {map[string]string{get: `{"model_version": {"version": "0"}}`}, "the answer has no model version", ""},
		"not ready":    {map[string]string{get: version(`"status": "FAILED_REGISTRATION", "status_message": "disk full"`)}, "version 1 is not ready (FAILED_REGISTRATION disk full)", ""},
		"no source":    {map[string]string{get: version(`"status": "READY"`)}, "version 1 has no source", ""},
		"huge":         {map[string]string{get: `{"x": "` + strings.Repeat("a", maxAnswer) + `"}`}, "has more than 16 MiB", ""},
		"run gone":     {map[string]string{get: version(`"source": "s3://b/k", "run_id": "r"`)}, "", "the metrics, parameters and data of run r: Model Version"},
		"run in html":  {map[string]string{get: version(`"source": "s3://b/k", "run_id": "r"`), "runs/get?run_id=r": "<html>"}, "", "does not answer as MLflow does"},
		"no numbers":   {map[string]string{get: version(`"source": "s3://b/k", "run_id": "r"`), "runs/get?run_id=r": `{"run": {"data": {"metrics": [{"key": "a", "value": "-Infinity"}]}}}`}, "", "metric a, which is -Infinity"},
		"many metrics": {map[string]string{get: version(`"source": "s3://b/k", "run_id": "r"`), "runs/get?run_id=r": manyMetrics()}, "", "7 of its 71 metrics (rmse_69 ...)"},
		"nowhere":      {map[string]string{get: version(`"source": "models:/m-1"`)}, "", "where its files are: MLflow says only models:/m-1"},
	} {
		got, err := mlflow(t, c.says).Get(t.Context(), "m", "1", "")
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
		if left := strings.Join(got.Left, "; "); !strings.Contains(left, c.left) || c.left == "" && left != "" {
			t.Errorf("%s: left %q, want %q", name, left, c.left)
		}
		if len(got.Metrics) > MaxMetrics {
			t.Errorf("%s: %d metrics", name, len(got.Metrics))
		}
	}
	stranger := mlflow(t, answers())
	stranger.Token, stranger.User, stranger.Password = "", "ada", "x"
	if _, err := stranger.Get(t.Context(), "m", "1", ""); err == nil || !strings.Contains(err.Error(), "does not let us in (HTTP 401)\n  set MLFLOW_TRACKING_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	for _, uri := range []string{"", "mlflow", "file:///mlruns", "http://"} {
		if _, err := (MLflow{URI: uri, HTTP: http.DefaultClient}).Get(t.Context(), "m", "1", ""); err == nil || !strings.Contains(err.Error(), "is no address of a tracking server") {
			t.Errorf("%q: %v", uri, err)
		}
	}
	if _, err := (MLflow{URI: "http://ada:pw@127.0.0.1:1", HTTP: http.DefaultClient}).Get(t.Context(), "m", "1", ""); err == nil || strings.Contains(err.Error(), "pw@") || !strings.Contains(err.Error(), "try: curl http://ada:xxxxx@127.0.0.1:1/version") {
		t.Errorf("a server that is away: %v", err)
	}
}

// manyMetrics are 66 of the model and 5 of the machine.
func manyMetrics() string {
	var b strings.Builder
	for i := range 71 {
		name := "system/gpu_%d"
		if i >= 5 {
			name = "rmse_%02d"
		}
		_, _ = fmt.Fprintf(&b, `,{"key": "`+name+`", "value": %d}`, i, i)
	}
	return `{"run": {"data": {"metrics": [` + b.String()[1:] + `]}}}`
}

func TestParseMLflow(t *testing.T) {
	for ref, want := range map[string][3]string{
		"mlflow://m/3":                  {"m", "3", ""},
		"mlflow://main.prices.hp/12":    {"main.prices.hp", "12", ""},
		"mlflow://House%20Prices%2F1/2": {"House Prices/1", "2", ""},
		"mlflow://m@champion":           {"m", "", "champion"},
		"mlflow://a%40b@champion":       {"a@b", "", "champion"},
	} {
		model, version, alias, err := ParseMLflow(ref)
		if got := [3]string{model, version, alias}; err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "m/3", "mlflow://", "mlflow://m", "mlflow:///3", "mlflow://m/0", "mlflow://m/-1", "mlflow://m/latest", "mlflow://m@", "mlflow://%zz/1"} {
		if _, _, _, err := ParseMLflow(ref); err == nil {
			t.Errorf("%q is taken", ref)
		}
	}
}
