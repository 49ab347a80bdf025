package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// MaxResult is the most that Kubernetes keeps of a container's termination message, in bytes.
const MaxResult = 4096

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// ParseResult reads the document that a succeeded stage left in /dev/termination-log.
// An empty message is no result: nil without an error.
func ParseResult(message string) (*Result, error) {
	if strings.TrimSpace(message) == "" {
		return nil, nil
	}
	if len(message) > MaxResult {
		return nil, fmt.Errorf("the result has %d bytes, Kubernetes keeps %d: put large values into a file on the workspace and its path into the result", len(message), MaxResult)
	}
	v, err := decodeValue([]byte(message))
	if err != nil {
		if len(message) == MaxResult {
			return nil, fmt.Errorf("the result was cut at %d bytes: write less to /dev/termination-log", MaxResult)
		}
		return nil, fmt.Errorf("the result is not JSON: %w: write one JSON object with finite numbers to /dev/termination-log", err)
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf(`the result is a JSON %s, not an object: write {"metrics": {...}} to /dev/termination-log`, describe(v))
	}
	r := &Result{}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		var err error
		switch key {
		case "metrics":
			r.Metrics, err = parseMetrics(doc[key])
		case "model":
			r.Model, err = parseArtifact(doc[key])
		case "data":
			r.Data, err = parseMap(key, doc[key])
		case "outputs":
			r.Outputs, err = parseMap(key, doc[key])
		default:
			// Other keys are none of ours, but a misspelt one would lose what hours of work have found.
			if c := closest(key, resultKeys()); c != "" {
				err = fmt.Errorf("unknown key %q: did you mean %q?", key, c)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("the result is not valid: %w", errors.Join(errs...))
	}
	return r, nil
}

func resultKeys() []string { return []string{"metrics", "model", "data", "outputs"} }

func parseMap(key string, v any) (map[string]any, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s must be an object, not %s", key, describe(v))
	}
	return m, nil
}

func parseMetrics(v any) (map[string]float64, error) {
	m, err := parseMap("metrics", v)
	if err != nil || m == nil {
		return nil, err
	}
	out := make(map[string]float64, len(m))
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch n := m[k].(type) {
		case int64:
			out[k] = float64(n)
		case float64:
			if math.IsNaN(n) || math.IsInf(n, 0) {
				errs = append(errs, fmt.Errorf("metrics.%s must be finite", k))
			}
			out[k] = n
		default:
			errs = append(errs, fmt.Errorf("metrics.%s must be a number, not %s", k, describe(m[k])))
		}
	}
	return out, errors.Join(errs...)
}

func parseArtifact(v any) (*Artifact, error) {
	m, err := parseMap("model", v)
	if err != nil || m == nil {
		return nil, err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains([]string{"uri", "digest", "size", "format"}, k) {
			return nil, fmt.Errorf("model.%s is unknown: a model has uri, digest, size and format", k)
		}
	}
	a := &Artifact{}
	if err := json.Unmarshal(raw, a); err != nil {
		return nil, fmt.Errorf("model: %w: uri, digest and format are strings, size is a number of bytes", err)
	}
	switch {
	case a.URI == "":
		return nil, errors.New("model.uri is missing: say where the artifact is, such as pvc://claim/path or s3://bucket/key")
	case a.Digest != "" && !digestPattern.MatchString(a.Digest):
		return nil, fmt.Errorf("model.digest %q must be sha256: and 64 lower-case hex digits", a.Digest)
	case a.Size < 0:
		return nil, fmt.Errorf("model.size %d must not be negative", a.Size)
	}
	return a, nil
}
