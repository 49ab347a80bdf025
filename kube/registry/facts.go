package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Keys of a version's data. One text a key where the fact is a text, JSON where the name ends in .json.
const (
	keyModel     = "model"
	keyVersion   = "version"
	keyKey       = "key"
	keyMetrics   = "metrics.json"
	keyBetter    = "better.json"
	keyParams    = "params.json"
	keyData      = "data.json"
	keySignature = "signature.json"
	keyBaseline  = "baseline.json"
	keyParents   = "parents"
	keyCreatedAt = "createdAt"
	// keyArtifact is in binaryData.
	keyArtifact = "artifact"
)

// fields are the facts that are a text each, by key.
func (f *Facts) fields() map[string]*string {
	return map[string]*string{
		keyModel: &f.Model, "artifact.uri": &f.Artifact.URI, "artifact.digest": &f.Artifact.Digest, "artifact.format": &f.Artifact.Format,
		"code.repo": &f.Code.Repo, "code.commit": &f.Code.Commit, "code.source": &f.Code.Source, "image.digest": &f.Image, "createdBy": &f.CreatedBy,
	}
}

func (o *Origin) fields() map[string]*string {
	return map[string]*string{
		"run.kind": &o.Kind, "run.name": &o.Name, "run.namespace": &o.Namespace, "run.uid": &o.UID,
		"run.pipeline": &o.Pipeline, "run.stage": &o.Stage, "run.job": &o.Job, "run.jobUID": &o.JobUID,
	}
}

func (o *Origin) numbers() map[string]*int {
	return map[string]*int{"run.child": &o.Child, "run.attempt": &o.Attempt}
}

// encode writes facts as the data of a ConfigMap.
func (f *Facts) encode() (map[string]string, error) {
	data := map[string]string{keyVersion: strconv.Itoa(f.Version), keyCreatedAt: f.CreatedAt.UTC().Format(time.RFC3339Nano)}
	texts := f.fields()
	if f.Run != nil {
		for k, v := range f.Run.fields() {
			texts[k] = v
		}
		for k, n := range f.Run.numbers() {
			if *n != 0 {
				data[k] = strconv.Itoa(*n)
			}
		}
	}
	for k, v := range texts {
		if *v != "" {
			data[k] = *v
		}
	}
	if f.Artifact.Size > 0 {
		data["artifact.size"] = strconv.FormatInt(f.Artifact.Size, 10)
	}
	if len(f.Parents) > 0 {
		data[keyParents] = strings.Join(f.Parents, "\n")
	}
	documents := []struct {
		key   string
		value any
		empty bool
	}{
		{keyMetrics, f.Metrics, len(f.Metrics) == 0},
		{keyBetter, f.Better, len(f.Better) == 0},
		{keyParams, f.Params, len(f.Params) == 0},
		// Params keep whole numbers and floats apart through JSON.
		{keyData, pipeline.Params(f.Data), len(f.Data) == 0},
		{keySignature, f.Signature, len(f.Signature) == 0},
		{keyBaseline, f.Baseline, len(f.Baseline) == 0},
	}
	for _, d := range documents {
		if d.empty {
			continue
		}
		text, err := readable(d.value)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", d.key, err)
		}
		if len(text) > MaxDocument {
			return nil, refuse("%s has %d bytes, %d at most: put it into a file beside the artifact and its URI here", d.key, len(text), MaxDocument)
		}
		data[d.key] = text
	}
	return data, nil
}

// readable is JSON with a line for each entry, as `kubectl get -o yaml` shows it best, or on one line where that would
// not fit a document.
func readable(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", " "); err != nil || out.Len() > MaxDocument {
		return string(b), err
	}
	return out.String(), nil
}

// decodeFacts reads the data of a version as far as it can be read; what cannot is said in problems.
func decodeFacts(data map[string]string) (f Facts, problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for k, v := range f.fields() {
		*v = data[k]
	}
	whole := func(key string, least int64) int64 {
		text, ok := data[key]
		if !ok {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < least {
			bad("%s is %.100q, not a number", key, text)
			return 0
		}
		return n
	}
	n := whole(keyVersion, 1)
	if n > maxVersion {
		n = 0
		bad("version %.100s is out of range", data[keyVersion])
	}
	f.Version, f.Artifact.Size = int(n), whole("artifact.size", 0)
	if f.Artifact.URI == "" {
		bad("artifact.uri is missing")
	}
	if d := f.Artifact.Digest; d != "" && !digestPattern.MatchString(d) {
		bad("artifact.digest %.100q is not sha256: and 64 hex digits", d)
	}
	if data["run.kind"] != "" || data["run.name"] != "" {
		f.Run = &Origin{}
		for k, v := range f.Run.fields() {
			*v = data[k]
		}
		for k, p := range f.Run.numbers() {
			*p = int(min(whole(k, 0), math.MaxInt32))
		}
	}
	if p := strings.TrimSpace(data[keyParents]); p != "" {
		f.Parents = strings.Split(p, "\n")
	}
	if text, ok := data[keyCreatedAt]; ok {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			bad("createdAt is %.100q, not a time", text)
		}
		f.CreatedAt = at
	}
	read := func(key string, into any) {
		text, ok := data[key]
		if !ok {
			return
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			bad("%s is damaged: %v", key, err)
		}
	}
	var extra pipeline.Params
	read(keyMetrics, &f.Metrics)
	read(keyBetter, &f.Better)
	read(keyParams, &f.Params)
	read(keyData, &extra)
	f.Data = extra
	for key, into := range map[string]*json.RawMessage{keySignature: &f.Signature, keyBaseline: &f.Baseline} {
		var compact bytes.Buffer
		text, ok := data[key]
		if !ok {
			continue
		}
		if err := json.Compact(&compact, []byte(text)); err != nil {
			bad("%s is damaged: %v", key, err)
			continue
		}
		*into = compact.Bytes()
	}
	return f, problems
}
