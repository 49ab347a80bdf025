package pipeline

import (
	"fmt"
	slashpath "path"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// latest is the alias of the newest version that every model has.
const latest = "latest"

// deploy checks a stage that rolls out a Deployment.
func (v *validator) deploy(at *path, i int) {
	s, here := &v.p.Spec.Stages[i], at.field("deploy")
	d := s.Deploy
	if d.Serve != nil {
		v.onlyManifest(at, "the Deployment that deploy.serve describes", "write it under deploy.serve")
		if len(s.Patch) > 0 {
			v.err(at.field("patch"), "patch has no effect here: the Deployment is generated", "write it under deploy.serve")
		}
	} else {
		v.onlyManifest(at, "the Deployment", "edit the Deployment, or use patch")
	}
	if len(s.Patch) > 0 && d.Serve == nil {
		v.patch(at.field("patch"), reflect.TypeFor[appsv1.Deployment]())
	}
	v.oneOf(here.field("strategy"), string(d.Strategy), []string{string(Rolling), string(BlueGreen), string(Canary)})
	switch {
	case d.Manifest == "" && d.Serve == nil && d.Model == "":
		v.err(here.field("manifest"), "is missing", "name the file of the Deployment, relative to the pipeline file; or name a model, and say under serve what serves it")
	case d.Manifest == "" && d.Serve == nil:
		v.err(here, "says neither manifest nor serve", "name the file of a Deployment by manifest, or write what serves the model: serve: {command: [...], port: 8080}")
	case d.Manifest != "" && d.Serve != nil:
		v.err(here.field("serve"), "the stage has both manifest and serve", "keep one of the two")
	}
	if d.Name != "" {
		v.deploymentName(here.field("name"), d.Name, "use lower-case letters, digits and -, beginning with a letter")
	} else if name, _, _ := splitModel(d.Model); d.Serve != nil && dnsLabel(name, maxName) == "" {
		v.deploymentName(here.field("model"), name, "add name, beginning with a letter")
	}
	if d.Model == "" {
		v.withoutModel(here, d)
		return
	}
	if s.Model != "" {
		v.err(at.field("model"), "a stage that deploys registers nothing", "keep deploy.model alone")
	}
	v.deployModel(here, i)
	v.steps(here, d)
	if d.Serve != nil {
		v.serve(here.field("serve"), d.Serve)
	}
}

// withoutModel refuses what only the rollout of a version does.
func (v *validator) withoutModel(at *path, d *Deploy) {
	for _, field := range []string{"name", "steps", "serve", "alias"} {
		if v.has(at.field(field)) {
			v.err(at.field(field), field+" is for a version of a model, the stage names none", "add model: NAME, or remove it")
		}
	}
	if d.Strategy != "" && d.Strategy != Rolling {
		v.err(at.field("strategy"), string(d.Strategy)+" is for a version of a model, the stage names none", "add model: NAME, or write rolling: the Deployment's own strategy holds")
	}
}

// deployModel checks which version is deployed, and where it is known by then.
func (v *validator) deployModel(at *path, i int) {
	s := &v.p.Spec.Stages[i]
	d, here := s.Deploy, at.field("model")
	name, tail, sep := splitModel(d.Model)
	v.label(here, name)
	switch {
	case sep == ':' && !isVersion(tail):
		v.err(here, strconv.Quote(tail)+" is not the number of a version", "write "+name+":1, or "+name+"@production")
	case sep == '@' && dnsLabel(tail, maxName) != "":
		v.err(here, strconv.Quote(tail)+" is not an alias", "write one such as "+name+"@production")
	}
	if d.Alias != "" {
		v.label(at.field("alias"), d.Alias)
		if d.Alias == latest {
			v.err(at.field("alias"), "latest is always the newest version", "write one such as production or staging")
		}
	}
	if sep != 0 {
		return
	}
	before := v.upstream(i)
	for j := range v.p.Spec.Stages {
		if maker := &v.p.Spec.Stages[j]; maker.Model == name && j != i && maker.Deploy == nil && !before[j] {
			v.err(here, fmt.Sprintf("stage %s does not need %s, whose model may not be registered by then", s.Name, maker.Name),
				"add "+maker.Name+" to needs, or write "+name+"@"+latest+" for the newest one that there is")
			return
		}
	}
}

// splitModel takes MODEL, MODEL:N or MODEL@ALIAS apart; sep is 0 for the first.
func splitModel(ref string) (name, tail string, sep byte) {
	i := strings.IndexAny(ref, ":@")
	if i < 0 {
		return ref, "", 0
	}
	return ref[:i], ref[i+1:], ref[i]
}

var versionPattern = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

func isVersion(s string) bool { return versionPattern.MatchString(s) }

// steps checks those of a canary.
func (v *validator) steps(at *path, d *Deploy) {
	here := at.field("steps")
	switch {
	case d.Strategy != Canary && v.has(here):
		v.err(here, "steps are those of a canary", "write strategy: canary, or remove them")
		return
	case d.Strategy == Canary && len(d.Steps) == 0:
		v.err(here, "a canary has at least one step", "write steps such as [{weight: 20, pause: 10m}, {weight: 50, pause: approval}]")
	}
	last := int32(0)
	for i, step := range d.Steps {
		at := here.at(i)
		switch {
		case step.Weight < 1 || step.Weight > 100:
			v.err(at.field("weight"), "must be from 1 to 100", "write the share of the new version in percent")
		case step.Weight <= last:
			v.err(at.field("weight"), fmt.Sprintf("%d is not more than the %d of the step before", step.Weight, last), "write the weights in rising order")
		}
		last = max(last, step.Weight)
		if step.Pause != nil && !step.Pause.Approval && step.Pause.Duration <= 0 {
			v.err(at.field("pause"), "must be more than 0", "write a duration such as 10m, approval, or remove the line")
		}
		for j, g := range step.Gates {
			v.deployGate(at.field("gates").at(j), g)
		}
	}
}

func (v *validator) deployGate(at *path, g DeployGate) {
	switch {
	case (g.Ready == nil) == (g.Job == nil):
		v.err(at, "must say exactly one of ready and job", "write {ready: 1m}, or {job: {command: [...]}}")
		return
	case g.Ready != nil:
		if g.Ready.Duration <= 0 {
			v.err(at.field("ready"), "must be more than 0", "write a duration such as 1m")
		}
		return
	}
	here := at.field("job")
	v.servedPod(here, &g.Job.Pod)
	if len(g.Job.Command) == 0 && v.has(here.field("command")) {
		v.err(here.field("command"), "is empty", "write a list such as [python3, check.py], or remove the line to run the image's own")
	}
	if g.Job.Timeout != nil && g.Job.Timeout.Duration <= 0 {
		v.err(here.field("timeout"), "must be more than 0", "write a duration such as 5m, or remove the line")
	}
}

// servedPod checks a pod that takes the rest from the defaults.
func (v *validator) servedPod(at *path, p *Pod) {
	v.pod(at, p, &v.p.Spec.Defaults.Pod)
	if p.Image == "" && v.p.Spec.Defaults.Image == "" && !v.has(at.field("image")) {
		v.err(at.field("image"), "is missing, nor have the defaults one", "write image: REGISTRY/NAME:TAG")
	}
}

func (v *validator) serve(at *path, s *Serve) {
	v.servedPod(at, &s.Pod)
	if len(s.Command) == 0 && v.has(at.field("command")) {
		v.err(at.field("command"), "is empty", "write a list such as [python3, serve.py], or remove the line to run the image's own")
	}
	v.port(at.field("port"), s.Port)
	if s.Replicas != nil && *s.Replicas < 1 {
		v.err(at.field("replicas"), "must be at least 1", "write how many pods serve")
	}
	if s.Probe != "" && !strings.HasPrefix(s.Probe, "/") {
		v.err(at.field("probe"), "must begin with /", "write the HTTP path, such as /healthz")
	}
	if m := s.Metrics; m != nil {
		v.port(at.fields("metrics", "port"), m.Port)
		if m.Path != "" && !strings.HasPrefix(m.Path, "/") {
			v.err(at.fields("metrics", "path"), "must begin with /", "write the HTTP path, such as /metrics")
		}
		if m.Port == 0 && !v.has(at.fields("metrics", "port")) {
			v.err(at.fields("metrics", "port"), "is missing", "write the port on which the server exposes its metrics, such as 9090")
		}
	}
	v.autoscale(at.field("autoscale"), s)
	v.budget(at.field("disruptionBudget"), s.DisruptionBudget)
	if s.Host != "" && len(validation.IsDNS1123Subdomain(strings.TrimPrefix(s.Host, "*."))) > 0 {
		v.err(at.field("host"), strconv.Quote(s.Host)+" is not a DNS name", "write one such as models.example.com, without https:// and path")
	}
	if s.Gateway != "" {
		namespace, name, found := strings.Cut(s.Gateway, "/")
		if !found {
			namespace, name = "x", s.Gateway
		}
		if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			v.err(at.field("gateway"), strconv.Quote(s.Gateway)+" is not a Gateway", "write NAME, or NAMESPACE/NAME")
		}
	}
	v.modelPath(at.field("modelPath"), s)
	if s.Secret != "" {
		v.objectName(at.field("secret"), s.Secret)
	}
	if len(s.Patch) > 0 {
		v.patch(at.field("patch"), reflect.TypeFor[appsv1.Deployment]())
	}
}

func (v *validator) port(at *path, port int32) {
	if v.has(at) && (port < 1 || port > 65535) {
		v.err(at, "must be from 1 to 65535", "write a port such as 8080")
	}
}

func (v *validator) autoscale(at *path, s *Serve) {
	a := s.Autoscale
	if a == nil {
		return
	}
	switch {
	case a.Max < 1:
		v.err(at.field("max"), "must be at least 1", "write the most pods that there may be")
	case a.Min < 0 || v.has(at.field("min")) && a.Min == 0:
		v.err(at.field("min"), "must be at least 1", "write the least pods that there may be")
	case a.Min > a.Max:
		v.err(at, fmt.Sprintf("min %d is more than max %d", a.Min, a.Max), "swap them?")
	}
	if a.CPU < 0 || v.has(at.field("cpu")) && a.CPU == 0 {
		v.err(at.field("cpu"), "must be at least 1", "write a percentage of the CPU requests, such as 80")
	}
	_, asked := s.Resources.Requests["cpu"]
	if _, usual := v.p.Spec.Defaults.Resources.Requests["cpu"]; !asked && !usual {
		v.err(at, "the load is measured against the CPU requests, the pods make none", "add resources: {requests: {cpu: 250m}}")
	}
}

func (v *validator) budget(at *path, b *intstr.IntOrString) {
	if b == nil {
		return
	}
	if n, err := intstr.GetScaledValueFromIntOrPercent(b, 100, true); err != nil || n < 1 {
		v.err(at, strconv.Quote(b.String())+" is neither a count from 1 nor a percentage", "write 1, or \"25%\"")
	}
}

func (v *validator) modelPath(at *path, s *Serve) {
	switch clean := slashpath.Clean(s.ModelPath); {
	case s.ModelPath == "":
	case !strings.HasPrefix(s.ModelPath, "/") || clean == "/":
		v.err(at, strconv.Quote(s.ModelPath)+" is not a folder of the container", "write an absolute path such as "+DefaultModelPath)
	case clean == InputsPath || strings.HasPrefix(clean, InputsPath+"/"):
		v.err(at, "nothing can be mounted below "+InputsPath, "write another path such as "+DefaultModelPath)
	}
}

// maxDeployment leaves room for what tells the sides of a rollout apart in the names of Services.
const maxDeployment = validation.DNS1123LabelMaxLength - len("-canary")

// deploymentName checks the name of a Deployment that a Service is named after.
func (v *validator) deploymentName(at *path, name, fix string) {
	switch {
	case len(validation.IsDNS1035Label(name)) > 0:
		v.err(at, strconv.Quote(name)+" cannot name a Service", fix)
	case len(name) > maxDeployment:
		v.err(at, fmt.Sprintf("%q has %d characters, at most %d fit", name, len(name), maxDeployment), fix)
	}
}
