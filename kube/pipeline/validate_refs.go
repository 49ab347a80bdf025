package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// references checks that every $(...) of a container stage can be resolved in a run.
func (v *validator) references(at *path, i int) {
	s, d := &v.p.Spec.Stages[i], &v.p.Spec.Defaults
	r := refChecker{validator: v, stage: i}
	base := (*path)(nil).fields("spec", "defaults")
	r.literal = true
	if s.Image == "" {
		r.text(base.field("image"), d.Image)
	}
	if s.WorkingDir == "" {
		r.text(base.field("workingDir"), d.WorkingDir)
	}
	r.text(at.field("image"), s.Image)
	r.text(at.field("workingDir"), s.WorkingDir)
	r.literal = false
	for j, t := range s.Command {
		r.text(at.field("command").at(j), t)
	}
	for j, t := range s.Args {
		r.text(at.field("args").at(j), t)
	}
	for j, e := range d.Env {
		r.text(base.field("env").at(j).field("value"), e.Value)
	}
	for j, e := range s.Env {
		r.text(at.field("env").at(j).field("value"), e.Value)
	}
	r.literal = true
	for name, value := range s.Params {
		if t, ok := value.(string); ok {
			r.text(at.fields("params", name), t)
		}
	}
	for name, value := range v.p.Spec.Params {
		if t, ok := value.(string); ok {
			r.text((*path)(nil).fields("spec", "params", name), t)
		}
	}
	for _, place := range []*path{base, at} {
		for _, field := range []string{"volumes", "volumeMounts", "nodeSelector"} {
			if n, _, _, exact := v.find(place.field(field)); exact {
				r.tree(place.field(field), n)
			}
		}
	}
	r.circles(at)
}

// refChecker checks the references of one stage.
type refChecker struct {
	*validator
	stage     int
	ancestors []bool
	// literal texts are final before the pod starts: the name of a scheduled stage's run is not known to them.
	literal bool
}

func (r *refChecker) tree(at *path, n *node) {
	if n.shape == str {
		r.text(at, n.text)
	}
	for i := range n.fields {
		r.tree(at.field(n.fields[i].key), n.fields[i].value)
	}
	for i, item := range n.items {
		r.tree(at.at(i), item)
	}
}

func (r *refChecker) text(at *path, s string) {
	if !strings.Contains(s, "$(") {
		return
	}
	before := len(r.problems)
	eachReference(s, func(ref reference, err error) {
		if err != nil {
			r.err(at, err.Error(), "")
			return
		}
		r.reference(at, ref)
	})
	if len(r.problems) > before {
		// A text of the defaults is seen by every stage; once is enough.
		r.silent[at.String()] = true
	}
}

func (r *refChecker) reference(at *path, ref reference) {
	s := &r.p.Spec.Stages[r.stage]
	switch ref.root {
	case "run":
		if r.literal && s.Schedule != "" {
			r.err(at, fmt.Sprintf("$(%s): stage %s is a CronJob too, whose pods alone know the name", ref.text, s.Name), "use it in command, args and env, or read the variable ML_RUN")
		}
	case "params":
		if r.knows(ref.key) {
			return
		}
		fix := "give it a default under spec.params"
		if c := closest(ref.key, r.paramNames()); c != "" {
			fix = `did you mean "$(params.` + c + `)"?`
		}
		r.err(at, fmt.Sprintf("$(%s): stage %s has no parameter %s", ref.text, s.Name, ref.key), fix)
	case "stages":
		r.stageReference(at, ref, s)
	}
}

func (r *refChecker) stageReference(at *path, ref reference, s *Stage) {
	j, known := r.index[ref.stage]
	if !known {
		names := make([]string, 0, len(r.index))
		for name := range r.index {
			names = append(names, name)
		}
		slices.Sort(names)
		r.err(at, fmt.Sprintf("$(%s): there is no stage %s", ref.text, ref.stage), strings.TrimPrefix(didYouMean(ref.stage, names), "; "))
		return
	}
	if r.ancestors == nil {
		r.ancestors = r.upstream(r.stage)
	}
	switch {
	case j == r.stage:
		r.err(at, fmt.Sprintf("$(%s): a stage does not know its own result before it has run", ref.text), "name a stage that it needs")
	case !r.ancestors[j]:
		r.err(at, fmt.Sprintf("$(%s): stage %s does not need %s, which may not have run by then", ref.text, s.Name, ref.stage), "add "+ref.stage+" to needs")
	case r.p.Spec.Stages[j].Deploy != nil:
		r.err(at, fmt.Sprintf("$(%s): stage %s is a Deployment and leaves no result", ref.text, ref.stage), "name a stage that is a Job")
	case ref.registered() && r.p.Spec.Stages[j].Model == "":
		r.err(at, fmt.Sprintf("$(%s): stage %s registers no model", ref.text, ref.stage), "give it a name: write model: NAME in stage "+ref.stage)
	case s.Schedule != "":
		r.err(at, fmt.Sprintf("$(%s): the CronJob of a scheduled stage has no earlier stages", ref.text), "move the schedule to spec.schedule, which runs the whole pipeline")
	}
}

// upstream marks the stages that a stage needs, directly or not, by their index.
func (v *validator) upstream(i int) []bool {
	if v.edges == nil {
		v.edges = make([][]int, len(v.p.Spec.Stages))
		for i := range v.p.Spec.Stages {
			for _, need := range v.p.Spec.Stages[i].Needs {
				if j, known := v.index[need]; known {
					v.edges[i] = append(v.edges[i], j)
				}
			}
		}
	}
	return reachable(i, v.edges)
}

func (r *refChecker) knows(param string) bool {
	s := &r.p.Spec.Stages[r.stage]
	if _, ok := s.Params[param]; ok {
		return true
	}
	if _, ok := r.p.Spec.Params[param]; ok {
		return true
	}
	if s.Sweep == nil {
		return false
	}
	if s.Sweep.Grid != nil {
		_, ok := s.Sweep.Grid[param]
		return ok
	}
	// A parameter that only some points set is missing in the others.
	return len(s.Sweep.List) > 0 && !slices.ContainsFunc(s.Sweep.List, func(m map[string]any) bool { _, ok := m[param]; return !ok })
}

func (r *refChecker) paramNames() []string {
	s := &r.p.Spec.Stages[r.stage]
	var names []string
	for name := range mergedParams(r.p.Spec.Params, s.Params) {
		names = append(names, name)
	}
	if s.Sweep != nil {
		names = append(names, s.Sweep.params()...)
	}
	slices.Sort(names)
	return names
}

// circles finds parameters that refer to each other.
func (r *refChecker) circles(at *path) {
	s := &r.p.Spec.Stages[r.stage]
	uses := func(name string) []string {
		value, ok := s.Params[name]
		if !ok {
			value = r.p.Spec.Params[name]
		}
		t, ok := value.(string)
		if !ok || !strings.Contains(t, "$(") {
			return nil
		}
		var names []string
		eachReference(t, func(ref reference, err error) {
			if err == nil && ref.root == "params" {
				names = append(names, ref.key)
			}
		})
		return names
	}
	done := map[string]bool{}
	var visit func(name string, via []string) bool
	visit = func(name string, via []string) bool {
		if i := slices.Index(via, name); i >= 0 {
			r.err(at.field("params"), "parameters refer to each other in a circle: "+strings.Join(append(via[i:], name), " -> "), "give one of them a value of its own")
			return true
		}
		if done[name] {
			return false
		}
		done[name] = true
		for _, next := range uses(name) {
			if visit(next, append(slices.Clone(via), name)) {
				return true
			}
		}
		return false
	}
	for _, params := range []Params{s.Params, r.p.Spec.Params} {
		for name, value := range params {
			if t, ok := value.(string); ok && strings.Contains(t, "$(") && visit(name, nil) {
				return
			}
		}
	}
}
