package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// manifestType is the type and API version of a kind that a manifest may have.
func manifestType(kind StageKind) (reflect.Type, string) {
	switch kind {
	case KindJob:
		return reflect.TypeFor[batchv1.Job](), batchv1.SchemeGroupVersion.String()
	case KindCronJob:
		return reflect.TypeFor[batchv1.CronJob](), batchv1.SchemeGroupVersion.String()
	case KindDeployment:
		return reflect.TypeFor[appsv1.Deployment](), appsv1.SchemeGroupVersion.String()
	}
	return nil, ""
}

// readManifest checks a manifest strictly and returns its object as JSON, as it stands in the file:
// no default is filled in, and what the cluster alone writes (status, uid, ...) is left out.
func readManifest(file string, data []byte) (json.RawMessage, error) {
	c := newChecker(file)
	root := c.parse(data, "manifest")
	if root != nil {
		c.root = root
		c.manifest()
	}
	if errs, _ := c.split(); len(errs) > 0 {
		return nil, errs
	}
	root.keep("apiVersion", "kind", "metadata", "spec")
	root.get("metadata").keep("name", "generateName", "namespace", "labels", "annotations")
	return root.appendJSON(nil), nil
}

// keep removes all fields but these.
func (n *node) keep(keys ...string) {
	if n == nil {
		return
	}
	n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return !slices.Contains(keys, f.key) })
}

func (c *checker) manifest() {
	var top *path
	const fix = "a stage's manifest holds one Job, CronJob or Deployment"
	if c.root.bad {
		return
	}
	if c.root.shape != mapping {
		c.err(top, "the file holds "+c.root.shape.String()+", not an object", fix)
		return
	}
	kind := c.root.get("kind")
	switch {
	case kind == nil:
		c.err(top.field("kind"), "is missing", fix)
		return
	case kind.text == "List" || strings.HasSuffix(kind.text, "List"):
		c.err(top.field("kind"), "the file holds a list of objects", "one object a file: move each into a file of its own")
		return
	case !isManifestKind(kind.text):
		c.err(top.field("kind"), quoted(kind)+" cannot be a stage", fix)
		return
	}
	t, want := manifestType(StageKind(kind.text))
	if version := c.root.get("apiVersion"); version == nil || version.text != want {
		c.err(top.field("apiVersion"), "must be "+want+" for a "+kind.text, "write apiVersion: "+want)
	}
	c.check(c.root, t, top, rules{nulls: true})
	c.required(top, kind.text)
}

// required finds what the API server would refuse, while the file and its lines are at hand.
func (c *checker) required(top *path, kind string) {
	meta := top.field("metadata")
	name := c.root.get("metadata").get("name")
	switch {
	case name == nil && (kind != string(KindJob) || c.root.get("metadata").get("generateName") == nil):
		c.err(meta.field("name"), "is missing", "name the "+kind)
	case name != nil && len(validation.IsDNS1123Subdomain(name.text)) > 0:
		c.err(meta.field("name"), strconv.Quote(name.text)+" is not an object name", "use lower-case letters, digits, - and .")
	}
	spec, at := c.root.get("spec"), top.field("spec")
	if spec == nil {
		c.err(at, "is missing", "write the spec of the "+kind)
		return
	}
	if kind == string(KindCronJob) {
		schedule := spec.get("schedule")
		if schedule == nil {
			c.err(at.field("schedule"), "is missing", `write one such as "0 2 * * *"`)
		} else if err := checkSchedule(schedule.text); err != nil || schedule.text == "" {
			c.err(at.field("schedule"), quoted(schedule)+" is not a cron expression", `write five fields: minute hour day month weekday, such as "0 2 * * *"`)
		}
		spec, at = spec.get("jobTemplate").get("spec"), at.fields("jobTemplate", "spec")
	}
	if kind != string(KindDeployment) {
		c.exported(spec, at)
	}
	pod, podAt := spec.get("template").get("spec"), at.fields("template", "spec")
	containers := pod.get("containers")
	if containers == nil || len(containers.items) == 0 {
		c.err(podAt.field("containers"), "there are no containers", "write at least one: - {name: main, image: ...}")
		return
	}
	for i, container := range containers.items {
		for _, key := range []string{"name", "image"} {
			if container.shape == mapping && container.get(key) == nil {
				c.err(podAt.field("containers").at(i).field(key), "is missing", "write "+key+": ...")
			}
		}
	}
	if restart := pod.get("restartPolicy"); kind != string(KindDeployment) && (restart == nil || (restart.text != "Never" && restart.text != "OnFailure")) {
		c.err(podAt.field("restartPolicy"), "must be Never or OnFailure in a "+kind, "write restartPolicy: Never")
	}
}

// exported finds what the cluster added to a Job that was read back from it; a second Job with it is refused.
func (c *checker) exported(spec *node, at *path) {
	manual := spec.get("manualSelector")
	if spec.get("selector") != nil && (manual == nil || manual.text != "true") {
		c.err(at.field("selector"), "was made by the cluster for another Job", "remove it")
	}
	labels := spec.get("template").get("metadata").get("labels")
	if labels == nil {
		return
	}
	for _, f := range labels.fields {
		if strings.HasSuffix(f.key, "controller-uid") {
			c.err(at.fields("template", "metadata", "labels", f.key), "was made by the cluster for another Job", "remove it")
		}
	}
}

// checkManifestStage holds a stage against the object that its manifest turned out to be.
func checkManifestStage(s *PlannedStage) error {
	kind := s.Kind()
	if s.Deploy != nil {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(s.Object, &head); err != nil {
			return fmt.Errorf("stage %s: manifest %s: %w", s.Name, s.ManifestFile(), err)
		}
		if head.Kind != string(KindDeployment) {
			return fmt.Errorf("stage %s: deploy rolls out a Deployment, %s is a %s: name it by manifest instead", s.Name, s.ManifestFile(), head.Kind)
		}
	}
	if kind == KindDeployment {
		for _, g := range s.Gates {
			if g.Metric != "" {
				return fmt.Errorf("stage %s: a Deployment leaves no metric %s to judge: put the gate on the stage that makes it", s.Name, g.Metric)
			}
		}
	}
	if s.Manifest == "" || len(s.Patch) == 0 {
		return nil
	}
	// What the patch is merged over is known only now; its lines in the pipeline file are not.
	c := newChecker("")
	root := c.parse(s.Patch, "patch")
	if root != nil {
		c.root = root
		t, _ := manifestType(kind)
		c.check(root, t, nil, rules{nulls: true, directives: true})
		c.patchIdentity(root, nil, string(kind))
	}
	errs, _ := c.split()
	if len(errs) == 0 {
		return nil
	}
	for i := range errs {
		errs[i].Line, errs[i].Column = 0, 0
	}
	return fmt.Errorf("stage %s: patch of %s: %w", s.Name, s.ManifestFile(), errs)
}
