package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A reference stands in a text as $(params.x), $(stages.train.metrics.rmse), $(stages.train.outputs.k),
// $(stages.train.data.k), $(stages.train.model.uri|digest|size|format), of a stage that registers its model also
// $(stages.train.model.version|ref), $(run.name) or $(pipeline.name).
// $$(params.x) is the text $(params.x); every other $(NAME) is left to Kubernetes.

// reference is the inside of $(...), taken apart.
type reference struct {
	text string
	// root is params, stages, run or pipeline.
	root string
	// stage, part (metrics, outputs, data, model) and key are set for stages; key alone for the others.
	stage, part, key string
}

// parseReference reports false for texts that are not references of ours.
func parseReference(s string) (reference, bool, error) {
	root, rest, ok := strings.Cut(s, ".")
	if !ok || strings.ContainsAny(s, " \t\r\n$(\"'`|;&<>") {
		return reference{}, false, nil
	}
	r := reference{text: s, root: root, key: rest}
	const escape = "write $$(%s) when it is not a reference of the pipeline"
	switch root {
	case "params":
		if rest == "" {
			return r, true, fmt.Errorf("$(%s) names no parameter: "+escape, s, s)
		}
		return r, true, nil
	case "run", "pipeline":
		if rest != "name" {
			return r, true, fmt.Errorf("$(%s) is unknown: there is $(%s.name); "+escape, s, root, s)
		}
		return r, true, nil
	case "stages":
		parts := strings.SplitN(rest, ".", 3)
		if len(parts) < 3 || parts[0] == "" || parts[2] == "" {
			return r, true, fmt.Errorf("$(%s) is incomplete: write $(stages.NAME.metrics.KEY), or outputs, data or model instead of metrics", s)
		}
		r.stage, r.part, r.key = parts[0], parts[1], parts[2]
		switch {
		case r.part == "model" && !slices.Contains([]string{"uri", "digest", "size", "format", "version", "ref"}, r.key):
			return r, true, fmt.Errorf("$(%s) is unknown: a model has uri, digest, size and format, and when it is registered version and ref", s)
		case !slices.Contains([]string{"metrics", "outputs", "data", "model"}, r.part):
			return r, true, fmt.Errorf("$(%s) is unknown: a stage has metrics, outputs, data and model", s)
		}
		return r, true, nil
	}
	return reference{}, false, nil
}

// registered says whether the reference is to what registration makes of a stage's model.
func (r reference) registered() bool {
	return r.root == "stages" && r.part == "model" && (r.key == "version" || r.key == "ref")
}

// dialect is who reads a text after us.
type dialect int

const (
	// literal texts are final: $$(x) becomes $(x) here.
	literal dialect = iota
	// kubelet texts (command, args, env values) are expanded once more by Kubernetes, which undoes $$ itself.
	kubelet
)

// substitute replaces the references in s by what value gives for them.
func substitute(s string, d dialect, value func(reference) (string, error)) (string, error) {
	if !strings.Contains(s, "$(") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			if d == literal && strings.HasPrefix(rest, "$$(") {
				b.WriteString("$(")
				i += 3
				continue
			}
			b.WriteString("$$")
			i += 2
			continue
		case strings.HasPrefix(rest, "$("):
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				break
			}
			ref, ours, err := parseReference(rest[2:end])
			if err != nil {
				return "", err
			}
			if !ours {
				break
			}
			v, err := value(ref)
			if err != nil {
				return "", err
			}
			b.WriteString(v)
			i += end + 1
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String(), nil
}

// eachReference calls f for the references in s, and for those that are malformed with their error.
func eachReference(s string, f func(reference, error)) {
	for rest := s; ; {
		i := strings.Index(rest, "$(")
		if i < 0 {
			return
		}
		// An odd number of $ before the parenthesis opens a reference, an even number is escaped.
		dollars := 1
		for i-dollars >= 0 && rest[i-dollars] == '$' {
			dollars++
		}
		rest = rest[i+2:]
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return
		}
		if dollars%2 == 0 {
			continue
		}
		if ref, ours, err := parseReference(rest[:end]); ours {
			f(ref, err)
		}
	}
}

// scope is what references of one child of a stage can see.
type scope struct {
	stage    string
	run      string
	pipeline string
	params   Params
	// results are those of earlier stages, by name.
	results map[string]Result
	// scheduled marks a plain CronJob: its run is named by the Job's own name, known to its pods alone.
	scheduled bool
}

// fill replaces the references in s; field names the place for errors.
func (sc scope) fill(field, s string, d dialect) (string, error) {
	out, err := substitute(s, d, func(r reference) (string, error) {
		if sc.scheduled && r.root == "run" {
			if d != kubelet {
				return "", fmt.Errorf("$(run.name) is known to a scheduled stage only in command, args and env")
			}
			return "$(ML_RUN)", nil
		}
		v, err := sc.value(r, nil)
		if err != nil {
			return "", err
		}
		if d == kubelet && (r.root != "stages" || !sc.draft()) {
			// The value is data: Kubernetes must not expand what happens to stand in it.
			return strings.ReplaceAll(text(v), "$", "$$"), nil
		}
		return text(v), nil
	})
	if err != nil {
		return "", fmt.Errorf("stage %s: %s: %w", sc.stage, field, err)
	}
	return out, nil
}

// draft says that no results are known yet: references to them are left as they stand.
func (sc scope) draft() bool { return sc.results == nil && !sc.scheduled }

// value looks a reference up; via are the parameters on the way to it.
func (sc scope) value(r reference, via []string) (any, error) {
	switch r.root {
	case "pipeline":
		return sc.pipeline, nil
	case "run":
		if sc.scheduled {
			return nil, fmt.Errorf("$(run.name) is not known in the parameters of a scheduled stage: read the variable ML_RUN")
		}
		return sc.run, nil
	case "params":
		return sc.param(r.key, via)
	}
	if sc.draft() {
		return "$(" + r.text + ")", nil
	}
	result, ok := sc.results[r.stage]
	if !ok {
		return nil, fmt.Errorf("$(%s): stage %s has no recorded result; run it first, or select it for this run too", r.text, r.stage)
	}
	return lookup(r, result)
}

func lookup(r reference, result Result) (any, error) {
	missing := func(keys []string) error {
		has := "none"
		if len(keys) > 0 {
			slices.Sort(keys)
			has = strings.Join(keys, ", ")
		}
		return fmt.Errorf("$(%s): the result of stage %s has no %s.%s; its %s: %s", r.text, r.stage, r.part, r.key, r.part, has)
	}
	switch r.part {
	case "metrics":
		if v, ok := result.Metrics[r.key]; ok {
			// Metrics have one type, but who passes on a count means a whole number.
			if whole := int64(v); float64(whole) == v && math.Abs(v) < 1<<53 {
				return whole, nil
			}
			return v, nil
		}
		return nil, missing(slices.Collect(maps.Keys(result.Metrics)))
	case "outputs", "data":
		m := result.Outputs
		if r.part == "data" {
			m = result.Data
		}
		if v, ok := m[r.key]; ok {
			return v, nil
		}
		return nil, missing(slices.Collect(maps.Keys(m)))
	}
	if result.Model == nil {
		return nil, missing(nil)
	}
	if r.registered() && result.Registered == "" {
		return nil, fmt.Errorf("$(%s): the model of stage %s was not registered", r.text, r.stage)
	}
	values := map[string]any{"uri": result.Model.URI}
	if _, version, sep := splitModel(result.Registered); sep == ':' {
		values["ref"], values["version"] = result.Registered, version
	}
	if result.Model.Digest != "" {
		values["digest"] = result.Model.Digest
	}
	if result.Model.Size != 0 {
		values["size"] = result.Model.Size
	}
	if result.Model.Format != "" {
		values["format"] = result.Model.Format
	}
	if v, ok := values[r.key]; ok {
		return v, nil
	}
	return nil, missing(slices.Collect(maps.Keys(values)))
}

// param is a parameter's value with the references in it replaced.
// A string that is one reference and nothing else takes the type of what it refers to.
func (sc scope) param(name string, via []string) (any, error) {
	v, ok := sc.params[name]
	if !ok {
		return nil, fmt.Errorf("$(params.%s): stage %s has no such parameter; it has: %s", name, sc.stage, strings.Join(slices.Sorted(maps.Keys(sc.params)), ", "))
	}
	s, ok := v.(string)
	if !ok || !strings.Contains(s, "$(") {
		return v, nil
	}
	via = append(slices.Clone(via), name)
	if i := slices.Index(via, name); i < len(via)-1 {
		return nil, fmt.Errorf("parameters refer to each other in a circle: %s", strings.Join(via[i:], " -> "))
	}
	if inner, found := strings.CutPrefix(s, "$("); found && strings.IndexByte(inner, ')') == len(inner)-1 {
		if r, ours, err := parseReference(inner[:len(inner)-1]); ours && err == nil {
			return sc.value(r, via)
		}
	}
	return substitute(s, literal, func(r reference) (string, error) {
		v, err := sc.value(r, via)
		return text(v), err
	})
}

// resolved are all parameters with their references replaced.
func (sc scope) resolved() (Params, error) {
	out := make(Params, len(sc.params))
	for _, name := range slices.Sorted(maps.Keys(sc.params)) {
		v, err := sc.param(name, nil)
		if err != nil {
			return nil, fmt.Errorf("stage %s: params.%s: %w", sc.stage, name, err)
		}
		out[name] = v
	}
	return out, nil
}

// fillAll replaces the references in every string of v, a value in Kubernetes' own types.
func fillAll[T any](sc scope, field string, v T) (T, error) {
	var out T
	raw, err := json.Marshal(v)
	if err != nil {
		return out, fmt.Errorf("stage %s: %s: %w", sc.stage, field, err)
	}
	if !strings.Contains(string(raw), "$(") {
		return v, nil
	}
	tree, err := decodeValue(raw)
	if err != nil {
		return out, fmt.Errorf("stage %s: %s: %w", sc.stage, field, err)
	}
	tree, err = sc.fillTree(field, tree)
	if err != nil {
		return out, err
	}
	if raw, err = json.Marshal(tree); err != nil {
		return out, fmt.Errorf("stage %s: %s: %w", sc.stage, field, err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("stage %s: %s: %w", sc.stage, field, err)
	}
	return out, nil
}

func (sc scope) fillTree(field string, v any) (any, error) {
	var err error
	switch t := v.(type) {
	case string:
		return sc.fill(field, t, literal)
	case []any:
		for i := range t {
			if t[i], err = sc.fillTree(field, t[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(t)) {
			if t[k], err = sc.fillTree(field, t[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// ResolvedParams are the parameters that one child of a stage was given, with the references in them replaced.
func ResolvedParams(plan *Plan, run RunRef, stage string, child int, results map[string]Result) (Params, error) {
	s, err := plan.mustHave(stage)
	if err != nil {
		return nil, err
	}
	if child < 0 || child >= len(s.Children) {
		return nil, fmt.Errorf("stage %s has no child %d, it has %d", stage, child, len(s.Children))
	}
	return scope{stage: stage, run: run.Name, pipeline: plan.Pipeline, params: s.Children[child].Params, results: results}.resolved()
}
