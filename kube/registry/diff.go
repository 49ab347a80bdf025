package registry

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Diff says how one version differs from another.
type Diff struct {
	From Version `json:"from"`
	To   Version `json:"to"`
	// Differs is true when anything but number, author and date does.
	Differs bool `json:"differs"`
	// Metrics and the lists below have an entry for each name that either version has, in alphabetical order.
	Metrics  []MetricChange `json:"metrics,omitempty"`
	Params   []Change       `json:"params,omitempty"`
	Data     []Change       `json:"data,omitempty"`
	Code     []Change       `json:"code,omitempty"`
	Artifact []Change       `json:"artifact,omitempty"`
	// Environment is the image and what ran it; Inputs are parents, signature and baseline.
	Environment []Change `json:"environment,omitempty"`
	Inputs      []Change `json:"inputs,omitempty"`
	// Files are those of the stage code that differ, by path.
	Files []FileDiff `json:"files,omitempty"`
	// NoFiles is why the stage code could not be compared.
	NoFiles string `json:"noFiles,omitempty"`
}

// Change is a named value in both versions; nil where a version has none.
type Change struct {
	Name    string `json:"name"`
	From    any    `json:"from"`
	To      any    `json:"to"`
	Changed bool   `json:"changed"`
}

// MetricChange is a metric in both versions; nil where a version has none.
type MetricChange struct {
	Name string   `json:"name"`
	From *float64 `json:"from"`
	To   *float64 `json:"to"`
	// Delta is To - From, Relative that by the size of From: 0.1 is ten percent more. Both are nil where they cannot be known.
	Delta    *float64 `json:"delta,omitempty"`
	Relative *float64 `json:"relative,omitempty"`
	// Better says which values are; empty when nobody declared it and the name tells nothing.
	Better  Direction `json:"better,omitempty"`
	Verdict Verdict   `json:"verdict,omitempty"`
}

// Verdict is what a changed metric means.
type Verdict string

// The verdicts; a metric of unknown direction that changed has none.
const (
	Improved Verdict = "better"
	Worsened Verdict = "worse"
	Same     Verdict = "same"
)

// Compare says how version to differs from version from. declared are the directions that the model's head declares;
// those of the versions themselves come after it.
func Compare(from, to Version, declared map[string]Direction) Diff {
	better := map[string]Direction{}
	for _, m := range []map[string]Direction{from.Better, to.Better, declared} {
		maps.Copy(better, m)
	}
	d := Diff{
		From: from, To: to,
		Metrics:     metricChanges(from.Metrics, to.Metrics, better),
		Params:      changes(from.Params, to.Params),
		Data:        changes(from.Data, to.Data),
		Code:        changes(codeFacts(from.Code), codeFacts(to.Code)),
		Artifact:    changes(artifactFacts(from), artifactFacts(to)),
		Environment: changes(environment(from), environment(to)),
		Inputs:      changes(inputs(from), inputs(to)),
	}
	for _, list := range [][]Change{d.Params, d.Data, d.Code, d.Artifact, d.Environment, d.Inputs} {
		d.Differs = d.Differs || slices.ContainsFunc(list, func(c Change) bool { return c.Changed })
	}
	d.Differs = d.Differs || slices.ContainsFunc(d.Metrics, func(m MetricChange) bool { return m.Verdict != Same })
	return d
}

func metricChanges(from, to map[string]float64, better map[string]Direction) []MetricChange {
	var out []MetricChange
	for _, name := range keysOf(from, to) {
		m := MetricChange{Name: name, From: metricOf(from, name), To: metricOf(to, name)}
		m.Better, _ = DirectionOf(name, better)
		if m.From != nil && m.To != nil {
			m.judge(*m.From, *m.To)
		}
		out = append(out, m)
	}
	return out
}

func (m *MetricChange) judge(from, to float64) {
	delta := to - from
	m.Delta, m.Relative = finite(delta), finite(delta/math.Abs(from))
	switch {
	case from == to:
		m.Verdict, m.Relative = Same, finite(0)
	case m.Better == "" || m.Delta == nil && math.IsNaN(delta):
	case (delta > 0) == (m.Better == Higher):
		m.Verdict = Improved
	default:
		m.Verdict = Worsened
	}
}

// finite is nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func codeFacts(c Code) map[string]any {
	return textFacts("repo", c.Repo, "commit", c.Commit, "source", c.Source)
}

func artifactFacts(v Version) map[string]any {
	m := textFacts("uri", v.Artifact.URI, "digest", v.Artifact.Digest, "format", v.Artifact.Format)
	if v.Artifact.Size > 0 {
		m["size"] = v.Artifact.Size
	}
	return m
}

func environment(v Version) map[string]any {
	m := textFacts("image", v.Image)
	if o := v.Run; o != nil {
		maps.Copy(m, textFacts("kind", o.Kind, "run", o.Name, "namespace", o.Namespace, "pipeline", o.Pipeline, "stage", o.Stage))
	}
	return m
}

func inputs(v Version) map[string]any {
	m := textFacts("signature", string(v.Signature), "baseline", string(v.Baseline))
	for _, p := range v.Parents {
		m["parent "+p] = p
	}
	for _, key := range []string{"signature", "baseline"} {
		var doc any
		if text, ok := m[key].(string); ok && json.Unmarshal([]byte(text), &doc) == nil {
			m[key] = doc
		}
	}
	return m
}

// textFacts makes a map of names and texts, without the empty ones.
func textFacts(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}

// changes compares two documents value by value; what lies deeper is named with dots.
func changes(from, to map[string]any) []Change {
	a, b := map[string]any{}, map[string]any{}
	flatten(a, "", from)
	flatten(b, "", to)
	var out []Change
	for _, name := range keysOf(a, b) {
		x, inFrom := a[name]
		y, inTo := b[name]
		out = append(out, Change{Name: name, From: x, To: y, Changed: inFrom != inTo || !sameValue(x, y)})
	}
	return out
}

func flatten(out map[string]any, prefix string, m map[string]any) {
	for key, v := range m {
		if deeper, ok := v.(map[string]any); ok && len(deeper) > 0 {
			flatten(out, prefix+key+".", deeper)
			continue
		}
		out[prefix+key] = v
	}
}

// sameValue compares values of JSON; numbers by their value, whatever type they were read into.
func sameValue(a, b any) bool {
	if x, ok := digits(a); ok {
		y, ok := digits(b)
		return ok && x == y
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// digits is a value as digits that are equal exactly when the numbers are.
func digits(v any) (string, bool) {
	switch n := v.(type) {
	case int:
		return strconv.Itoa(n), true
	case int64:
		return strconv.FormatInt(n, 10), true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<62 {
			return strconv.FormatInt(int64(n), 10), true
		}
		return strconv.FormatFloat(n, 'g', -1, 64), true
	}
	return "", false
}

// keysOf are the keys of both, in alphabetical order.
func keysOf[K cmp.Ordered, V any](a, b map[K]V) []K {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

func metricOf(m map[string]float64, name string) *float64 {
	v, ok := m[name]
	if !ok {
		return nil
	}
	return &v
}
