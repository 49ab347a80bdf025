package pipeline

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
)

// maxChildren bounds a sweep; a larger search belongs into a tuner inside one stage.
const maxChildren = 200

func (v *validator) stage(at *path, i int) {
	s := &v.p.Spec.Stages[i]
	if n, _, _, exact := v.find(at); exact && n.bad {
		return
	}
	if s.Model != "" {
		v.label(at.field("model"), s.Model)
	}
	v.gates(at.field("gates"), s)
	switch {
	case s.Manifest != "" && s.Deploy != nil:
		v.err(at.field("manifest"), "the stage has both manifest and deploy", "keep deploy, it names its own manifest")
		return
	case s.Deploy != nil:
		v.deploy(at, s)
		return
	case s.Manifest != "":
		v.onlyManifest(at, "the manifest")
		v.patchIsMapping(at.field("patch"))
		return
	}
	v.containerStage(at, s)
	v.references(at, i)
}

func (v *validator) containerStage(at *path, s *Stage) {
	v.template(at, &s.Template, &v.p.Spec.Defaults)
	d := v.p.Spec.Defaults
	if s.Image == "" && d.Image == "" && !v.has(at.field("image")) {
		v.err(at.field("image"), "the stage has no image, nor have the defaults", "write image: REGISTRY/NAME:TAG here or under spec.defaults, or manifest: FILE for an existing Job")
	}
	if len(s.Command) == 0 && v.has(at.field("command")) {
		v.err(at.field("command"), "is empty", "write a list such as [python3, train.py], or remove the line to run the image's own")
	}
	v.params(at.field("params"), s.Params)
	v.sweep(at, s)
	if v.has(at.field("parallel")) {
		switch {
		case s.Parallel < 1:
			v.err(at.field("parallel"), "must be at least 1", "write how many children of the sweep run at once")
		case s.Sweep == nil:
			v.err(at.field("parallel"), "bounds the children of a sweep, the stage has none", "remove it, or add a sweep")
		}
	}
	v.schedule(at.field("schedule"), s.Schedule)
	if s.Schedule != "" && s.Sweep != nil && s.Sweep.Size() > 1 {
		v.err(at.field("schedule"), "a stage with a sweep cannot be a plain CronJob, which makes one Job", "move the schedule to spec.schedule, which runs the whole pipeline")
	}
	if len(s.Patch) > 0 {
		v.patch(at.field("patch"), reflect.TypeFor[batchv1.Job]())
	}
}

func (v *validator) sweep(at *path, s *Stage) {
	here := at.field("sweep")
	if s.Sweep == nil {
		if s.Best != nil {
			v.err(at.field("best"), "chooses among the children of a sweep, the stage has none", "remove it, or add a sweep")
		}
		return
	}
	size := s.Sweep.Size()
	switch {
	case len(s.Sweep.Grid) == 0 && len(s.Sweep.List) == 0:
		v.err(here, "is empty", "write a mapping of lists such as {lr: [0.1, 0.01]}, or remove it")
	case size > maxChildren:
		v.err(here, fmt.Sprintf("makes %s children, at most %d are run", atLeast(size), maxChildren), "shorten its lists, or search inside one stage")
	}
	for _, name := range s.Sweep.names() {
		v.paramName(here.field(name), name)
		if len(s.Sweep.Grid[name]) == 0 {
			v.err(here.field(name), "has no values", "write the values to try, such as [0.1, 0.01]")
		}
		for i, value := range s.Sweep.Grid[name] {
			v.sweepValue(here.field(name).at(i), value)
			if slices.ContainsFunc(s.Sweep.Grid[name][:min(i, maxChildren)], func(x any) bool { return isScalar(x) && x == value }) {
				v.err(here.field(name).at(i), text(value)+" stands here twice", "remove one")
			}
		}
	}
	for i, point := range s.Sweep.List {
		if len(point) == 0 {
			v.err(here.at(i), "sets no parameter", "write a mapping such as {lr: 0.1}")
		}
		for name, value := range point {
			v.paramName(here.at(i).field(name), name)
			v.sweepValue(here.at(i).field(name), value)
		}
	}
	switch {
	case s.Best == nil && size > 1:
		v.err(at.field("best"), "is missing: later stages see one child of a sweep", "write best: {min: METRIC} or best: {max: METRIC}, a metric of the stage's result")
	case s.Best != nil && (s.Best.Min == "") == (s.Best.Max == ""):
		v.err(at.field("best"), "must name exactly one metric", "write best: {min: METRIC} or best: {max: METRIC}")
	}
}

func atLeast(n int) string {
	if n >= 1<<20 {
		return "more than a million"
	}
	return strconv.Itoa(n)
}

func (v *validator) sweepValue(at *path, value any) {
	if !isScalar(value) {
		v.err(at, "must be a number, a bool or a string, not "+describe(value), "write single values")
	}
}

func (v *validator) gates(at *path, s *Stage) {
	for i, g := range s.Gates {
		here := at.at(i)
		switch {
		case g.Metric == "" && g.Approval == "":
			v.err(here, "has neither metric nor approval", "write {metric: rmse, max: 60000}, or {approval: \"what to look at\"}")
		case g.Metric != "" && g.Approval != "":
			v.err(here, "has both metric and approval", "make two gates of it")
		case g.Approval != "" && (g.Min != nil || g.Max != nil):
			v.err(here, "an approval has no min or max", "make two gates of it")
		case g.Metric != "" && g.Min == nil && g.Max == nil:
			v.err(here, "does not bound the metric "+g.Metric, "add min, max or both")
		case g.Min != nil && g.Max != nil && *g.Min > *g.Max:
			v.err(here, fmt.Sprintf("min %s is above max %s: nothing passes", formatFloat(*g.Min), formatFloat(*g.Max)), "swap them?")
		}
		if g.Metric != "" && s.Deploy != nil {
			v.err(here, "a Deployment leaves no metrics to judge", "put the gate on the stage that makes the metric")
		}
	}
}

func (v *validator) deploy(at *path, s *Stage) {
	here := at.field("deploy")
	v.onlyManifest(at, "the Deployment")
	if s.Deploy.Manifest == "" {
		v.err(here.field("manifest"), "is missing", "name the file of the Deployment, relative to the pipeline file")
	}
	if s.Deploy.Strategy != "" && s.Deploy.Strategy != "rolling" {
		v.err(here.field("strategy"), strconv.Quote(s.Deploy.Strategy)+" is not supported", "write rolling, or leave it out: the Deployment's own strategy holds")
	}
	if len(s.Patch) > 0 {
		v.patch(at.field("patch"), reflect.TypeFor[appsv1.Deployment]())
	}
}

// onlyManifest reports the fields that a stage made of a manifest has no use for.
func (v *validator) onlyManifest(at *path, what string) {
	n, _, _, exact := v.find(at)
	if !exact || n.shape != mapping {
		return
	}
	for _, f := range n.fields {
		switch f.key {
		case "name", "needs", "manifest", "deploy", "patch", "gates", "model", "ttl":
			continue
		}
		if _, known := v.types.fieldsOf(reflect.TypeFor[Stage]())[f.key]; known {
			v.err(at.field(f.key), f.key+" has no effect here: the stage is made of "+what+" as it is", "edit "+what+", or use patch")
		}
	}
}

func (v *validator) patchIsMapping(at *path) {
	if n, _, _, exact := v.find(at); exact && n.shape != mapping && !n.bad {
		v.err(at, "must be a mapping", "write it in the fields of the manifest's object")
	}
}

// patch checks a patch against the type of the object that it is merged over.
func (v *validator) patch(at *path, t reflect.Type) {
	n, _, _, exact := v.find(at)
	if !exact || n.shape != mapping {
		return
	}
	v.check(n, t, at, rules{nulls: true, directives: true})
	v.patchIdentity(n, at, t.Name())
}

// patchIdentity keeps a patch from changing what an object is.
func (c *checker) patchIdentity(n *node, at *path, kind string) {
	for _, key := range []string{"name", "generateName", "namespace"} {
		if n.get("metadata").get(key) != nil {
			c.err(at.fields("metadata", key), "a patch cannot change it", "remove it")
		}
	}
	if k := n.get("kind"); k != nil && k.text != kind {
		c.err(at.field("kind"), "the patch is merged over a "+kind, "remove kind, or write "+kind)
	}
	if n.get("status") != nil {
		c.err(at.field("status"), "a status is written by the cluster", "remove it")
	}
}

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
