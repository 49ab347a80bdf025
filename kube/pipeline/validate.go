package pipeline

import (
	"fmt"
	"maps"
	slashpath "path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are checked on machines without a zone database too

	"github.com/robfig/cron/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxName bounds the names of pipelines, stages and models, so that RUN-STAGE mostly fits a Job's name.
const maxName = 40

// ourDomain is the prefix of labels and annotations that only kubectl ml writes.
const ourDomain = "kubectl-ml.dev/"

var paramPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`)

// validator checks what types cannot say.
type validator struct {
	*checker
	p *Pipeline
	// index are the stages by name.
	index map[string]int
	// edges are the needs of each stage by index, made when first asked for.
	edges [][]int
}

func (v *validator) pipeline() {
	var root *path
	v.metadata(root.field("metadata"))
	spec := root.field("spec")
	v.params(spec.field("params"), v.p.Spec.Params)
	if s := v.p.Spec.Source; s != "" && filepath.IsAbs(s) {
		v.err(spec.field("source"), "must be relative to the pipeline file", "write a path such as ./stages")
	}
	v.workspace(spec.field("workspace"))
	v.schedule(spec.field("schedule"), v.p.Spec.Schedule)
	v.timeZone(spec.field("timeZone"))
	v.template(spec.field("defaults"), &v.p.Spec.Defaults, nil)
	stages := spec.field("stages")
	if len(v.p.Spec.Stages) == 0 {
		v.err(stages, "there are no stages", "write at least one: - {name: train, image: ..., command: [...]}")
		return
	}
	v.names(stages)
	v.needs(stages)
	for i := range v.p.Spec.Stages {
		v.stage(stages.at(i), i)
	}
}

func (v *validator) metadata(at *path) {
	m := v.p.Metadata
	v.label(at.field("name"), m.Name)
	for _, k := range slices.Sorted(maps.Keys(m.Labels)) {
		if !v.metadataKey(at.fields("labels", k), k) {
			continue
		}
		if problems := validation.IsValidLabelValue(m.Labels[k]); len(problems) > 0 {
			v.err(at.fields("labels", k), strconv.Quote(m.Labels[k])+" is not a label value", "use at most 63 letters, digits, -, _ and .; longer text goes into annotations")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Annotations)) {
		v.metadataKey(at.fields("annotations", k), k)
	}
}

func (v *validator) metadataKey(at *path, key string) bool {
	switch {
	case len(validation.IsQualifiedName(key)) > 0:
		v.err(at, strconv.Quote(key)+" is not a valid key", "write NAME or DOMAIN/NAME, such as team or example.com/team")
	case strings.HasPrefix(key, ourDomain) || key == "app.kubernetes.io/managed-by":
		v.err(at, key+" is written by kubectl ml itself", "use a key of your own")
	default:
		return true
	}
	return false
}

// label checks a name that stands in labels and object names.
func (v *validator) label(at *path, name string) {
	wrong := dnsLabel(name, maxName)
	if wrong == "" {
		return
	}
	fix := "use lower-case letters, digits and -, at most 40"
	if name == "" {
		fix = "give it a name of lower-case letters, digits and -"
	} else if s := asLabel(name); s != "" {
		fix = "write " + s
	}
	v.err(at, wrong, fix)
}

// params checks names and defaults.
func (v *validator) params(at *path, params Params) {
	byEnv := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		v.paramName(at.field(name), name)
		if params[name] == nil {
			v.err(at.field(name), "has no value", `give it a default, such as 0, 0.1, false or ""; the default gives its type`)
		}
		if other, taken := byEnv[envName(name)]; taken {
			v.err(at.field(name), "is the same variable as "+other+": ML_PARAM_"+envName(name), "rename one of the two")
		}
		byEnv[envName(name)] = name
		v.secretValue(at.field(name), "", params[name])
	}
}

func (v *validator) paramName(at *path, name string) {
	if !paramPattern.MatchString(name) {
		v.err(at, strconv.Quote(name)+" is not a name of a parameter", "use letters, digits, _ and -, beginning with a letter")
	}
}

func (v *validator) workspace(at *path) {
	w := v.p.Spec.Workspace
	if w == nil {
		return
	}
	if w.Claim == "" {
		v.err(at.field("claim"), "is missing", "name the PersistentVolumeClaim; give size too to have it made")
	} else if len(validation.IsDNS1123Subdomain(w.Claim)) > 0 {
		v.err(at.field("claim"), strconv.Quote(w.Claim)+" is not an object name", "use lower-case letters, digits, - and .")
	}
	if w.MountPath != "" {
		v.mountPath(at.field("mountPath"), w.MountPath)
	}
	if w.Size != "" {
		if q, err := resource.ParseQuantity(w.Size); err != nil || q.Sign() <= 0 {
			v.err(at.field("size"), strconv.Quote(w.Size)+" is not a size", "write a quantity such as 10Gi")
		}
	} else if w.StorageClass != nil || w.AccessMode != "" {
		v.warn(at, "storageClass and accessMode are for making the claim, which takes a size", "add size, such as 10Gi, or remove them")
	}
	modes := []string{string(corev1.ReadWriteOnce), string(corev1.ReadWriteMany), string(corev1.ReadWriteOncePod), string(corev1.ReadOnlyMany)}
	v.oneOf(at.field("accessMode"), string(w.AccessMode), modes)
}

// oneOf checks a value that may be empty.
func (v *validator) oneOf(at *path, value string, allowed []string) {
	if value == "" || slices.Contains(allowed, value) {
		return
	}
	fix := "write one of " + strings.Join(allowed, ", ")
	if c := closest(value, allowed); c != "" {
		fix = "write " + c
	}
	v.err(at, strconv.Quote(value)+" is not known here", fix)
}

func (v *validator) mountPath(at *path, p string) {
	switch clean := slashpath.Clean(p); {
	case !slashpath.IsAbs(p):
		v.err(at, strconv.Quote(p)+" must be absolute", "begin it with /")
	case strings.Contains(p, ":"):
		v.err(at, strconv.Quote(p)+" must not contain a colon", "use another path")
	case clean == InputsPath || strings.HasPrefix(clean, InputsPath+"/"):
		v.err(at, InputsPath+" holds the source and the parameters of the stage", "mount it elsewhere, such as /data")
	case clean == "/":
		v.err(at, "would hide the image's whole file system", "mount it elsewhere, such as /data")
	}
}

// schedule checks an expression by the parser that Kubernetes uses.
func (v *validator) schedule(at *path, s string) {
	if s == "" {
		if v.has(at) {
			v.err(at, "is empty", `write an expression such as "0 2 * * *" or "@daily"`)
		}
		return
	}
	if strings.Contains(s, "TZ") {
		v.err(at, "a time zone does not belong into the expression", "write it as timeZone under spec")
		return
	}
	if err := checkSchedule(s); err != nil {
		fix := `write five fields: minute hour day month weekday, such as "0 2 * * *", or @daily`
		if n := len(strings.Fields(s)); n == 6 || n == 7 {
			fix = "Kubernetes has no field for seconds: " + fix
		}
		v.err(at, strconv.Quote(s)+" is not a cron expression: "+err.Error(), fix)
	}
}

// checkSchedule turns the panics that the parser has for some malformed expressions into errors.
func checkSchedule(s string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	_, err = cron.ParseStandard(s)
	return err
}

func (v *validator) timeZone(at *path) {
	zone := v.p.Spec.TimeZone
	if zone == "" {
		return
	}
	if _, err := time.LoadLocation(zone); err != nil || strings.EqualFold(zone, "Local") {
		v.err(at, strconv.Quote(zone)+" is not an IANA time zone", "write a name such as Europe/Berlin or Etc/UTC")
	}
}

// names fills the index and finds names that stand twice.
func (v *validator) names(stages *path) {
	v.index = make(map[string]int, len(v.p.Spec.Stages))
	for i := range v.p.Spec.Stages {
		name := v.p.Spec.Stages[i].Name
		at := stages.at(i).field("name")
		v.label(at, name)
		if name == "" {
			continue
		}
		if first, twice := v.index[name]; twice {
			_, line, _, _ := v.find(stages.at(first).field("name"))
			v.err(at, fmt.Sprintf("stage %q stands twice, first in line %d", name, line), "rename one of the two")
			continue
		}
		v.index[name] = i
	}
}

func (v *validator) needs(stages *path) {
	names := slices.Sorted(maps.Keys(v.index))
	for i := range v.p.Spec.Stages {
		s := &v.p.Spec.Stages[i]
		for j, need := range s.Needs {
			at := stages.at(i).field("needs").at(j)
			_, known := v.index[need]
			switch {
			case need == s.Name && need != "":
				v.err(at, "stage "+need+" needs itself", "remove it")
			case !known:
				fix := "the stages are " + strings.Join(names[:min(len(names), 20)], ", ")
				if c := closest(need, names); c != "" {
					fix = `did you mean "` + c + `"?`
				}
				v.err(at, "there is no stage "+strconv.Quote(need), fix)
			case slices.Index(s.Needs, need) < j:
				v.err(at, "stage "+need+" stands here twice", "remove one")
			}
		}
	}
	if circle := cycle(v.p.Spec.Stages, v.index); len(circle) > 2 {
		at := stages.at(v.index[circle[0]]).field("needs")
		v.err(at, "stages need each other in a circle: "+strings.Join(circle, " -> "), "remove one of these needs")
	}
}
