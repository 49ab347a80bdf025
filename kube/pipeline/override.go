package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// overrides are the values of --set and --set-file: for the whole pipeline, and by stage.
type overrides struct {
	global  Params
	byStage map[string]Params
}

// parseOverrides reads NAME=VALUE and STAGE.NAME=VALUE pairs. The default of a parameter gives the type of its value.
func parseOverrides(p *Pipeline, o Options) (overrides, error) {
	out := overrides{global: Params{}, byStage: map[string]Params{}}
	var errs []error
	for _, pair := range o.Set {
		if err := out.add(p, "--set", pair, func(v string) (string, error) { return v, nil }); err != nil {
			errs = append(errs, err)
		}
	}
	for _, pair := range o.SetFile {
		err := out.add(p, "--set-file", pair, func(path string) (string, error) {
			if o.ReadFile == nil {
				return "", fmt.Errorf("cannot read %s: files cannot be read here", path)
			}
			data, err := o.ReadFile(path)
			return string(data), err
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

func (out overrides) add(p *Pipeline, flag, pair string, read func(string) (string, error)) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok || name == "" {
		return fmt.Errorf("%s %q: write %s NAME=VALUE, or %s STAGE.NAME=VALUE", flag, pair, flag, flag)
	}
	into, standard, err := out.target(p, name)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, name, err)
	}
	value, err = read(value)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, name, err)
	}
	if _, isText := standard.(string); !isText {
		value = strings.TrimSpace(value)
	}
	v, err := convert(value, standard)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, name, err)
	}
	_, short, scoped := strings.Cut(name, ".")
	if !scoped {
		short = name
	}
	into[short] = v
	return nil
}

// target finds where an override goes and the default that gives its type.
func (out overrides) target(p *Pipeline, name string) (into Params, standard any, err error) {
	stageName, short, scoped := strings.Cut(name, ".")
	if !scoped {
		if v, ok := p.Spec.Params[name]; ok {
			return out.global, v, nil
		}
		for _, s := range p.Spec.Stages {
			if _, ok := s.Params[name]; ok {
				return nil, nil, fmt.Errorf("it is a parameter of stage %s alone: write --set %s.%s=VALUE", s.Name, s.Name, name)
			}
			if s.Sweep != nil && slices.Contains(s.Sweep.params(), name) {
				return nil, nil, errSwept(s.Name)
			}
		}
		return nil, nil, unknownParam(name, p.Spec.Params)
	}
	for i := range p.Spec.Stages {
		s := &p.Spec.Stages[i]
		if s.Name != stageName {
			continue
		}
		if s.Sweep != nil && slices.Contains(s.Sweep.params(), short) {
			return nil, nil, errSwept(s.Name)
		}
		if s.Manifest != "" || s.Deploy != nil {
			return nil, nil, fmt.Errorf("stage %s is a manifest and takes no parameters: edit the manifest, or use patch", s.Name)
		}
		all := mergedParams(p.Spec.Params, s.Params)
		v, ok := all[short]
		if !ok {
			return nil, nil, unknownParam(short, all)
		}
		if out.byStage[stageName] == nil {
			out.byStage[stageName] = Params{}
		}
		return out.byStage[stageName], v, nil
	}
	names := make([]string, len(p.Spec.Stages))
	for i := range p.Spec.Stages {
		names[i] = p.Spec.Stages[i].Name
	}
	return nil, nil, fmt.Errorf("there is no stage %q%s", stageName, didYouMean(stageName, names))
}

func errSwept(stage string) error {
	return fmt.Errorf("stage %s sweeps it: change the sweep in the file", stage)
}

func unknownParam(name string, params Params) error {
	names := slices.Sorted(maps.Keys(params))
	if c := closest(name, names); c != "" {
		return fmt.Errorf("unknown parameter; did you mean %q?", c)
	}
	if len(names) == 0 {
		return errors.New("unknown parameter: the file has none; give it a default under spec.params")
	}
	return fmt.Errorf("unknown parameter: there are %s", strings.Join(names, ", "))
}

// params are the names that the sweep sets.
func (s Sweep) params() []string {
	seen := map[string]bool{}
	for name := range s.Grid {
		seen[name] = true
	}
	for _, point := range s.List {
		for name := range point {
			seen[name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// convert reads a value given as text as the type of the default.
func convert(value string, standard any) (any, error) {
	switch standard.(type) {
	case string:
		return value, nil
	case bool:
		if value != "true" && value != "false" {
			return nil, fmt.Errorf("%q is not a bool: write true or false", clip(value))
		}
		return value == "true", nil
	case int, int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%q does not fit 64 bits", clip(value))
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not an int, as its default %s is", clip(value), text(standard))
		}
		return n, nil
	case float64:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is not a finite number, as its default %s is", clip(value), text(standard))
		}
		return f, nil
	case []any, map[string]any:
		v, err := decodeValue([]byte(value))
		if err != nil || describe(v) != describe(standard) {
			return nil, fmt.Errorf("%q is not a JSON %s, such as %s", clip(value), describe(standard), text(standard))
		}
		return v, nil
	}
	return nil, fmt.Errorf("its default has no type that a value could have")
}

// clip shortens a value for a message: --set-file may have read a large one.
func clip(value string) string {
	const most = 60
	if len(value) <= most {
		return value
	}
	return strings.ToValidUTF8(value[:most], "") + "..."
}

// mergedParams is a new map of copies; later maps win.
func mergedParams(ms ...map[string]any) Params {
	var out Params
	for _, m := range ms {
		if len(m) > 0 && out == nil {
			out = Params{}
		}
		for k, v := range m {
			out[k] = deepCopy(v)
		}
	}
	return out
}
