package pipeline

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

var imagePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,})?$`)

// template checks what defaults and stages have in common; defaults are nil for the defaults themselves.
func (v *validator) template(at *path, t, defaults *Template) {
	if defaults == nil {
		v.pod(at, &t.Pod, nil)
	} else {
		v.pod(at, &t.Pod, &defaults.Pod)
	}
	v.queue(at.field("queue"), t.Queue)
	if t.Timeout != nil && t.Timeout.Duration <= 0 {
		v.err(at.field("timeout"), "must be more than 0", "write a duration such as 30m, or remove the line")
	}
	if t.Retries != nil && *t.Retries < 0 {
		v.err(at.field("retries"), "must not be negative", "write 0 for no retries")
	}
	if t.TTL != nil && t.TTL.Duration < 0 {
		v.err(at.field("ttl"), "must not be negative", "write a duration such as 24h, or remove the line")
	}
	// Both end in Kubernetes' own seconds, of 64 and 32 bits.
	if t.TTL != nil && t.TTL.Seconds() > 1<<31-1 {
		v.err(at.field("ttl"), "is more than 68 years", "remove the line to keep the Job")
	}
}

// pod checks what runs in a pod; defaults are nil for the defaults themselves.
func (v *validator) pod(at *path, t, defaults *Pod) {
	v.image(at.field("image"), t.Image)
	v.oneOf(at.field("imagePullPolicy"), string(t.ImagePullPolicy), []string{string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever)})
	for i, ref := range t.ImagePullSecrets {
		v.objectName(at.field("imagePullSecrets").at(i).field("name"), ref.Name)
	}
	if t.ServiceAccountName != "" {
		v.objectName(at.field("serviceAccountName"), t.ServiceAccountName)
	}
	if t.WorkingDir != "" && !strings.HasPrefix(t.WorkingDir, "/") && !strings.HasPrefix(t.WorkingDir, "$(") {
		v.err(at.field("workingDir"), "must be absolute", "begin it with /")
	}
	v.env(at, t)
	v.resources(at.field("resources"), t)
	v.volumes(at, t, defaults)
	v.nodeSelector(at.field("nodeSelector"), t.NodeSelector)
	v.tolerations(at.field("tolerations"), t.Tolerations)
	v.gpus(at.field("gpus"), t)
}

func (v *validator) image(at *path, image string) {
	if image == "" {
		if v.has(at) {
			v.err(at, "is empty", "write REGISTRY/NAME:TAG")
		}
		return
	}
	if strings.Contains(image, "$(") {
		return
	}
	if !imagePattern.MatchString(image) {
		v.err(at, strconv.Quote(image)+" is not an image", "write REGISTRY/NAME:TAG in lower case, without spaces or https://")
		return
	}
	name := image[strings.LastIndex(image, "/")+1:]
	switch _, tag, tagged := strings.Cut(name, ":"); {
	case strings.Contains(image, "@"):
	case !tagged:
		v.warn(at, "image "+image+" has no tag: tomorrow's run may not be today's", "name a tag or a digest")
	case tag == "latest":
		v.warn(at, "image "+image+" may be another one tomorrow", "name a version or a digest instead of latest")
	}
}

func (v *validator) objectName(at *path, name string) {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		v.err(at, strconv.Quote(name)+" is not an object name", "use lower-case letters, digits, - and .")
	}
}

func (v *validator) env(at *path, t *Pod) {
	seen := map[string]bool{}
	for i, e := range t.Env {
		here := at.field("env").at(i)
		switch {
		case e.Name == "":
			v.err(here.field("name"), "is missing", "write name: NAME")
		case len(validation.IsEnvVarName(e.Name)) > 0:
			v.err(here.field("name"), strconv.Quote(e.Name)+" is not the name of a variable", "use letters, digits and _, not beginning with a digit")
		case seen[e.Name]:
			v.err(here.field("name"), e.Name+" stands here twice", "keep one of the two")
		}
		seen[e.Name] = true
		if e.ValueFrom != nil {
			if e.Value != "" {
				v.err(here, "has both value and valueFrom", "keep one of the two")
			}
			v.oneSource(here.field("valueFrom"), *e.ValueFrom, "secretKeyRef: {name: SECRET, key: KEY}")
			continue
		}
		v.secretValue(here.field("value"), e.Name, e.Value)
	}
	for i, e := range t.EnvFrom {
		if (e.ConfigMapRef == nil) == (e.SecretRef == nil) {
			v.err(at.field("envFrom").at(i), "must name exactly one source", "write secretRef: {name: SECRET} or configMapRef: {name: CONFIGMAP}")
		}
	}
}

// oneSource checks a Kubernetes union: a struct of pointers of which exactly one is set.
func (v *validator) oneSource(at *path, union any, example string) {
	value, set := reflect.ValueOf(union), 0
	for i := range value.NumField() {
		if f := value.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			set++
		}
	}
	if set != 1 {
		v.err(at, "must have exactly one source, has "+strconv.Itoa(set), "write one, such as "+example)
	}
}

func (v *validator) resources(at *path, t *Pod) {
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"requests", t.Resources.Requests}, {"limits", t.Resources.Limits}} {
		for _, name := range slices.Sorted(maps.Keys(part.list)) {
			here := at.fields(part.name, string(name))
			q := part.list[name]
			switch {
			case len(validation.IsQualifiedName(string(name))) > 0:
				v.err(here, strconv.Quote(string(name))+" is not a resource", "write one such as cpu, memory or nvidia.com/gpu")
			case !strings.Contains(string(name), "/") && !knownResource(string(name)):
				known := []string{"cpu", "memory", "ephemeral-storage"}
				v.err(here, strconv.Quote(string(name))+" is not a resource of Kubernetes", "write one of "+strings.Join(known, ", ")+", or a qualified name such as nvidia.com/gpu")
			case q.Sign() < 0:
				v.err(here, "must not be negative", "write a quantity such as 500m or 2Gi")
			}
			if limit, ok := t.Resources.Limits[name]; ok && part.name == "requests" && q.Cmp(limit) > 0 {
				v.err(here, "asks for "+q.String()+", more than its limit "+limit.String(), "raise the limit or lower the request")
			}
		}
	}
}

func knownResource(name string) bool {
	return slices.Contains([]string{"cpu", "memory", "ephemeral-storage"}, name) || strings.HasPrefix(name, "hugepages-")
}

func (v *validator) volumes(at *path, t, defaults *Pod) {
	known := map[string]bool{workspaceVolume: v.p.Spec.Workspace != nil}
	if defaults != nil {
		for _, volume := range defaults.Volumes {
			known[volume.Name] = true
		}
	}
	own := map[string]bool{}
	for i, volume := range t.Volumes {
		here := at.field("volumes").at(i)
		switch wrong := dnsLabel(volume.Name, validation.DNS1123LabelMaxLength); {
		case wrong != "":
			v.err(here.field("name"), wrong, "name it with lower-case letters, digits and -")
		case volume.Name == inputsVolume || volume.Name == workspaceVolume || volume.Name == memoryVolume:
			v.err(here.field("name"), volume.Name+" is a volume of kubectl ml itself", "use another name")
		case own[volume.Name]:
			v.err(here.field("name"), "volume "+volume.Name+" stands here twice", "keep one of the two")
		}
		own[volume.Name], known[volume.Name] = true, true
		v.oneSource(here, volume.VolumeSource, "emptyDir: {} or persistentVolumeClaim: {claimName: CLAIM}")
	}
	paths := map[string]bool{}
	for i, m := range t.VolumeMounts {
		here := at.field("volumeMounts").at(i)
		if m.MountPath == "" {
			v.err(here.field("mountPath"), "is missing", "write where the container sees the volume, such as /cache")
		} else {
			v.mountPath(here.field("mountPath"), m.MountPath)
		}
		if paths[m.MountPath] {
			v.err(here.field("mountPath"), m.MountPath+" is mounted twice", "keep one of the two")
		}
		paths[m.MountPath] = true
		if w := v.p.Spec.Workspace; w != nil && m.MountPath == w.Path() {
			v.err(here.field("mountPath"), m.MountPath+" is where the workspace is mounted", "use another path")
		}
		// The defaults may mount volumes that only some stages have; each stage is checked with them merged in.
		if !known[m.Name] && (defaults != nil || !v.someStageHas(m.Name)) {
			fix := "add it under volumes"
			if c := closest(m.Name, slices.Sorted(maps.Keys(known))); c != "" && known[c] {
				fix = `did you mean "` + c + `"?`
			}
			v.err(here.field("name"), "there is no volume "+strconv.Quote(m.Name), fix)
		}
	}
}

func (v *validator) someStageHas(volume string) bool {
	return slices.ContainsFunc(v.p.Spec.Stages, func(s Stage) bool {
		return slices.ContainsFunc(s.Volumes, func(x corev1.Volume) bool { return x.Name == volume })
	})
}

func (v *validator) nodeSelector(at *path, selector map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if len(validation.IsQualifiedName(k)) > 0 {
			v.err(at.field(k), strconv.Quote(k)+" is not a label of nodes", "write NAME or DOMAIN/NAME")
		} else if value := selector[k]; !strings.Contains(value, "$(") && len(validation.IsValidLabelValue(value)) > 0 {
			v.err(at.field(k), strconv.Quote(value)+" is not a label value", "use at most 63 letters, digits, -, _ and .")
		}
	}
}

func (v *validator) tolerations(at *path, ts []corev1.Toleration) {
	for i, t := range ts {
		v.oneOf(at.at(i).field("operator"), string(t.Operator), []string{
			string(corev1.TolerationOpExists), string(corev1.TolerationOpEqual), string(corev1.TolerationOpLt), string(corev1.TolerationOpGt),
		})
		v.oneOf(at.at(i).field("effect"), string(t.Effect), []string{
			string(corev1.TaintEffectNoSchedule), string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute),
		})
		if t.Operator == corev1.TolerationOpExists && t.Value != "" {
			v.err(at.at(i).field("value"), "must be empty with operator Exists", "remove it, or write operator: Equal")
		}
		if t.Key == "" && t.Operator != corev1.TolerationOpExists {
			v.err(at.at(i).field("key"), "is missing", "name the taint's key, or write operator: Exists to tolerate every taint")
		}
	}
}

func (v *validator) gpus(at *path, t *Pod) {
	g := t.GPUs
	if g == nil {
		return
	}
	if g.Count < 0 {
		v.err(at, "must not be negative", "write 0 for none")
	}
	if g.Count == 0 && v.has(at.field("resource")) && !v.has(at.field("count")) {
		v.err(at.field("count"), "is missing", "write how many, such as count: 1")
	} else if g.Count == 0 && v.has(at.field("product")) && !v.has(at.field("count")) {
		v.err(at.field("count"), "is missing", "write how many, such as count: 1")
	}
	name := string(g.ResourceOrDefault())
	if !strings.Contains(name, "/") || len(validation.IsQualifiedName(name)) > 0 {
		v.err(at.field("resource"), strconv.Quote(name)+" is not an extended resource", "write DOMAIN/NAME, such as nvidia.com/gpu or amd.com/gpu")
	}
	if g.Product != "" {
		switch {
		case !strings.HasPrefix(name, "nvidia.com/"):
			v.err(at.field("product"), "is a label that only NVIDIA's nodes have", "select the nodes of "+name+" by nodeSelector")
		case len(validation.IsValidLabelValue(g.Product)) > 0:
			v.err(at.field("product"), strconv.Quote(g.Product)+" is not a label value", "write it as the nodes have it: kubectl get nodes -L "+productLabel)
		}
	}
	if _, twice := t.Resources.Limits[corev1.ResourceName(name)]; twice {
		v.err(at, name+" is asked for here and under resources", "keep gpus alone")
	}
}
