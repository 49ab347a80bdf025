package pipeline

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

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
		v.deploy(at, i)
		return
	case s.Manifest != "":
		v.onlyManifest(at, "the manifest", "edit the manifest, or use patch")
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
	v.distributed(at, s)
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

// onlyManifest reports the fields that a stage made of a manifest has no use for.
func (v *validator) onlyManifest(at *path, what, fix string) {
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
			v.err(at.field(f.key), f.key+" has no effect here: the stage is made of "+what+" as it is", fix)
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
