package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// MLflow is a tracking server that speaks MLflow's REST API 2.0, as mlflow/protos/{model_registry,service}.proto say.
type MLflow struct {
	// URI is the server's, such as https://mlflow.example.com, with a path where it has one.
	URI string
	// Token is sent as a bearer token; else User and Password, where User is not empty.
	Token, User, Password string
	// HTTP is nil for a client that waits mlflowTime for each answer.
	HTTP *http.Client
}

const mlflowTime = 30 * time.Second

// maxAnswer bounds an answer of MLflow, in bytes.
const maxAnswer = 16 << 20

// ParseMLflow takes apart mlflow://MODEL/VERSION or mlflow://MODEL@ALIAS. What is special in a URL is escaped in the name:
// a slash is %2F, an @ is %40.
func ParseMLflow(ref string) (model, version, alias string, err error) {
	rest, ok := strings.CutPrefix(ref, "mlflow://")
	model, alias, byAlias := strings.Cut(rest, "@")
	if !byAlias {
		if i := strings.LastIndex(rest, "/"); i >= 0 {
			model, version = rest[:i], rest[i+1:]
		}
	}
	model, bad := url.PathUnescape(model)
	n, noNumber := strconv.Atoi(version)
	if !ok || bad != nil || model == "" || byAlias && alias == "" || !byAlias && (noNumber != nil || n <= 0) {
		return "", "", "", fmt.Errorf("%q names no version of MLflow: write mlflow://MODEL/VERSION or mlflow://MODEL@ALIAS", ref)
	}
	return model, version, alias, nil
}

// Foreign is a version as another registry has it.
type Foreign struct {
	Facts
	// Aliases are those that point at it there.
	Aliases []string
	// Notes are its description and tags.
	Notes map[string]string
	// Left says what could not be taken over.
	Left []string
}

// Get reads a version by its number or by an alias, with the run that made it. The facts carry MLflow's name and number,
// and no digest: MLflow knows none.
func (m MLflow) Get(ctx context.Context, model, version, alias string) (Foreign, error) {
	var v struct {
		Version mlflowVersion `json:"model_version"`
	}
	var err error
	if alias != "" {
		err = m.ask(ctx, "registered-models/alias", url.Values{"name": {model}, "alias": {alias}}, &v)
	} else {
		err = m.ask(ctx, "model-versions/get", url.Values{"name": {model}, "version": {version}}, &v)
	}
	if err != nil {
		return Foreign{}, fmt.Errorf("read model %s from MLflow: %w", model, err)
	}
	f, err := v.Version.foreign()
	if err != nil {
		return f, fmt.Errorf("model %s of MLflow: %w", model, err)
	}
	f.Aliases = m.aliases(ctx, model, v.Version)
	if strings.HasPrefix(f.Artifact.URI, "models:") {
		m.resolve(ctx, model, f.Version, &f)
	}
	if id := v.Version.RunID; id != "" {
		m.run(ctx, id, &f)
	}
	return f, nil
}

// aliases are of the version; servers before 2.9 name them only with the model.
func (m MLflow) aliases(ctx context.Context, model string, v mlflowVersion) []string {
	if len(v.Aliases) > 0 {
		return v.Aliases
	}
	var r struct {
		Model struct {
			Aliases []struct {
				Alias   string `json:"alias"`
				Version text   `json:"version"`
			} `json:"aliases"`
		} `json:"registered_model"`
	}
	if m.ask(ctx, "registered-models/get", url.Values{"name": {model}}, &r) != nil {
		return nil
	}
	var out []string
	for _, a := range r.Model.Aliases {
		if a.Version == v.Version {
			out = append(out, a.Alias)
		}
	}
	return out
}

// resolve finds the files behind models:/..., which only MLflow itself understands.
func (m MLflow) resolve(ctx context.Context, model string, version int, f *Foreign) {
	var r struct {
		URI string `json:"artifact_uri"`
	}
	err := m.ask(ctx, "model-versions/get-download-uri", url.Values{"name": {model}, "version": {strconv.Itoa(version)}}, &r)
	if err != nil || r.URI == "" {
		f.Left = append(f.Left, fmt.Sprintf("where its files are: MLflow says only %s", f.Artifact.URI))
		return
	}
	f.Artifact.URI = r.URI
}

// run adds what the run knows. A run that is gone takes nothing away from the version.
func (m MLflow) run(ctx context.Context, id string, f *Foreign) {
	f.Run = &Origin{Kind: "mlflow", Name: id}
	var r struct {
		Run mlflowRun `json:"run"`
	}
	if err := m.ask(ctx, "runs/get", url.Values{"run_id": {id}}, &r); err != nil {
		f.Left = append(f.Left, fmt.Sprintf("the metrics, parameters and data of run %s: %v", id, err))
		return
	}
	r.Run.into(f)
}

// ask sends one GET and reads its JSON.
func (m MLflow) ask(ctx context.Context, path string, query url.Values, into any) error {
	base, err := url.Parse(m.URI)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return fmt.Errorf("%q is no address of a tracking server: write it as https://HOST", m.URI)
	}
	at := base.JoinPath("api/2.0/mlflow", path)
	at.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	switch {
	case m.Token != "":
		r.Header.Set("Authorization", "Bearer "+m.Token)
	case m.User != "":
		r.SetBasicAuth(m.User, m.Password)
	}
	c := m.HTTP
	if c == nil {
		c = &http.Client{Timeout: mlflowTime}
	}
	answer, err := c.Do(r)
	if err != nil {
		return fmt.Errorf("%w\n  is this the tracking server? try: curl %s/version", err, strings.TrimSuffix(base.Redacted(), "/"))
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := readAll(answer.Body, maxAnswer, "the answer of "+base.Host)
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", base.Host, err)
	}
	if answer.StatusCode != http.StatusOK {
		return refusal(base.Host, answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s does not answer as MLflow does (it begins with %.40q): check --tracking-uri", base.Host, text)
	}
	return nil
}

// refusal reads MLflow's own errors, {"error_code": ..., "message": ...}.
func refusal(host string, code int, body []byte) error {
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &e)
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%s does not let us in (HTTP %d)\n  set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD", host, code)
	case e.Message != "":
		return errors.New(e.Message)
	case code == http.StatusNotFound:
		return fmt.Errorf("%s has no MLflow REST API at this address (HTTP 404): check --tracking-uri", host)
	}
	return fmt.Errorf("%s answers with HTTP %d: %.80q", host, code, body)
}

// text is a string; some servers write numbers where the API says string, and the other way round.
type text string

// UnmarshalJSON takes a string or a number.
func (t *text) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case string:
		*t = text(v)
	case float64:
		*t = text(b)
	default:
		return fmt.Errorf("%s is neither a text nor a number", b)
	}
	return nil
}

type mlflowPair struct {
	Key   string `json:"key"`
	Value text   `json:"value"`
}

type mlflowVersion struct {
	Name        string       `json:"name"`
	Version     text         `json:"version"`
	Created     text         `json:"creation_timestamp"`
	User        string       `json:"user_id"`
	Stage       string       `json:"current_stage"`
	Description string       `json:"description"`
	Source      string       `json:"source"`
	RunID       string       `json:"run_id"`
	Status      string       `json:"status"`
	StatusText  string       `json:"status_message"`
	Tags        []mlflowPair `json:"tags"`
	Aliases     []string     `json:"aliases"`
}

func (v mlflowVersion) foreign() (Foreign, error) {
	n, err := strconv.Atoi(string(v.Version))
	switch {
	case err != nil || n <= 0:
		return Foreign{}, errors.New("the answer has no model version: check --tracking-uri")
	case v.Status != "" && v.Status != "READY":
		return Foreign{}, fmt.Errorf("version %d is not ready (%s %s)", n, v.Status, v.StatusText)
	case v.Source == "":
		return Foreign{}, fmt.Errorf("version %d has no source", n)
	}
	f := Foreign{Facts: Facts{Model: v.Name, Version: n, CreatedBy: v.User, Artifact: pipeline.Artifact{URI: strings.ReplaceAll(v.Source, " ", "%20")}}, Notes: map[string]string{}}
	if ms, err := strconv.ParseInt(string(v.Created), 10, 64); err == nil && ms > 0 {
		f.CreatedAt = time.UnixMilli(ms).UTC()
	}
	if v.Description != "" {
		f.Notes["description"] = v.Description
	}
	if v.Stage != "" && v.Stage != "None" {
		f.Notes["mlflow.stage"] = v.Stage
	}
	for _, t := range v.Tags {
		f.Notes[t.Key] = string(t.Value)
	}
	return f, nil
}

type mlflowRun struct {
	Data struct {
		Metrics []struct {
			Key       string `json:"key"`
			Value     text   `json:"value"`
			Timestamp text   `json:"timestamp"`
			Step      text   `json:"step"`
		} `json:"metrics"`
		Params []mlflowPair `json:"params"`
		Tags   []mlflowPair `json:"tags"`
	} `json:"data"`
	Inputs struct {
		Datasets []struct {
			Dataset struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
				Source string `json:"source"`
			} `json:"dataset"`
		} `json:"dataset_inputs"`
	} `json:"inputs"`
}

// into adds the run's facts. The API gives the last value of each metric; NaN and infinity come as words.
func (r mlflowRun) into(f *Foreign) {
	metrics := map[string]float64{}
	for _, m := range r.Data.Metrics {
		v, err := strconv.ParseFloat(string(m.Value), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			f.Left = append(f.Left, fmt.Sprintf("metric %s, which is %s", m.Key, m.Value))
			continue
		}
		if len(m.Key) > MaxMetricName {
			f.Left = append(f.Left, fmt.Sprintf("metric %.40s..., whose name has more than %d characters", m.Key, MaxMetricName))
			continue
		}
		metrics[m.Key] = v
	}
	f.Metrics = f.fewest(metrics)
	for _, p := range r.Data.Params {
		if f.Params == nil {
			f.Params = pipeline.Params{}
		}
		f.Params[p.Key] = Scalar(string(p.Value))
	}
	if text, err := json.Marshal(f.Params); err != nil || len(text) > MaxDocument {
		f.Params = nil
		f.Left = append(f.Left, fmt.Sprintf("its %d parameters, which have %d bytes", len(r.Data.Params), len(text)))
	}
	for _, t := range r.Data.Tags {
		switch value := string(t.Value); t.Key {
		case "mlflow.source.git.commit":
			f.Code.Commit = value
		case "mlflow.source.git.repoURL":
			f.Code.Repo = value
		case "mlflow.log-model.history":
			f.signature(value)
		case "mlflow.user":
			if f.CreatedBy == "" {
				f.CreatedBy = value
			}
		}
	}
	for _, d := range r.Inputs.Datasets[:min(1, len(r.Inputs.Datasets))] {
		f.Data = map[string]any{"name": d.Dataset.Name, "digest": d.Dataset.Digest, "source": d.Dataset.Source}
		maps.DeleteFunc(f.Data, func(_ string, v any) bool { return v == "" })
	}
	if n := len(r.Inputs.Datasets); n > 1 {
		f.Left = append(f.Left, fmt.Sprintf("%d of its %d data sets", n-1, n))
	}
}

// fewest keeps as many metrics as a version has room for: those of the machine go first, then the last of the alphabet.
func (f *Foreign) fewest(metrics map[string]float64) map[string]float64 {
	names := slices.Sorted(maps.Keys(metrics))
	slices.SortStableFunc(names, func(a, b string) int {
		return strings.Compare(strconv.FormatBool(strings.HasPrefix(a, "system/")), strconv.FormatBool(strings.HasPrefix(b, "system/")))
	})
	if len(names) > MaxMetrics {
		f.Left = append(f.Left, fmt.Sprintf("%d of its %d metrics (%s ...): a version keeps %d", len(names)-MaxMetrics, len(names), names[MaxMetrics], MaxMetrics))
		for _, name := range names[MaxMetrics:] {
			delete(metrics, name)
		}
	}
	return metrics
}

// signature reads the tag in which MLflow keeps what was logged: a JSON list, newest last.
func (f *Foreign) signature(tag string) {
	var logged []struct {
		Path      string                     `json:"artifact_path"`
		Signature json.RawMessage            `json:"signature"`
		Flavors   map[string]json.RawMessage `json:"flavors"`
	}
	if json.Unmarshal([]byte(tag), &logged) != nil {
		return
	}
	for _, l := range logged {
		if !strings.HasSuffix(strings.TrimSuffix(f.Artifact.URI, "/"), "/"+l.Path) && len(logged) > 1 {
			continue
		}
		if s := string(l.Signature); s != "" && s != "null" && len(s) <= MaxDocument {
			f.Signature = l.Signature
		}
		for _, flavor := range slices.Sorted(maps.Keys(l.Flavors)) {
			if flavor != "python_function" {
				f.Artifact.Format = flavor
			}
		}
	}
}

// Scalar reads a parameter that is kept as text as the number or the bool that it was; what is neither stays a text.
func Scalar(s string) any {
	switch s {
	case "True":
		return true
	case "False":
		return false
	}
	var p pipeline.Params
	if json.Unmarshal([]byte(`{"v":`+s+`}`), &p) != nil || len(p) != 1 {
		return s
	}
	switch v := p["v"].(type) {
	case int64, float64, bool:
		return v
	}
	return s
}

// Bundle makes a version of another registry one that can be imported; server names that registry.
func (f *Foreign) Bundle(server string, now time.Time) Bundle {
	if f.CreatedAt.IsZero() {
		f.CreatedAt = now.UTC()
	}
	b := Bundle{
		Model: f.Model, Namespace: "mlflow", Server: server, At: now.UTC(),
		Versions: []Bundled{{Facts: f.Facts, Created: f.CreatedAt, Notes: f.Notes}},
		Aliases:  map[string]int{},
		History:  []Event{{At: f.CreatedAt, By: f.CreatedBy, Action: Registered, Version: f.Version, Digest: f.Artifact.Digest}},
	}
	for _, alias := range f.Aliases {
		b.Aliases[alias] = f.Version
	}
	return b
}
