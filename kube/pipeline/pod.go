package pipeline

import (
	"fmt"
	"maps"
	slashpath "path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// What a container stage's pod looks like to patches and to its own command.
const (
	// ContainerName is the name of the container that runs the stage.
	ContainerName = "main"
	// InputsPath is where a pod finds params.json and src.
	InputsPath = "/ml"
	// SourcePath is where the packaged source is, and the working directory when there is a source.
	SourcePath = "/ml/src"

	inputsVolume    = "ml-inputs"
	workspaceVolume = "ml-workspace"
	memoryVolume    = "ml-shm"
	memoryPath      = "/dev/shm"
	productLabel    = "nvidia.com/gpu.product"
	// maxParams leaves room for other annotations within the 256 KiB that an object may have.
	maxParams = 200 << 10
)

// podTemplate is the pod of a container stage.
func (b builder) podTemplate() (corev1.PodTemplateSpec, error) {
	s := b.stage
	params, err := b.scope.resolved()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	b.scope.params = params
	document := text(params)
	if len(document) > maxParams {
		return corev1.PodTemplateSpec{}, fmt.Errorf("stage %s: its parameters are %d bytes of JSON, at most %d fit: put large values into a file of the source or the workspace", s.Name, len(document), maxParams)
	}
	container, err := b.container()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	volumes, err := b.volumes()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	selector, err := fillAll(b.scope, "nodeSelector", s.NodeSelector)
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	spec := corev1.PodSpec{
		RestartPolicy:      corev1.RestartPolicyNever,
		ServiceAccountName: s.ServiceAccountName,
		ImagePullSecrets:   s.ImagePullSecrets,
		NodeSelector:       merged(selector),
		Tolerations:        slices.Clone(s.Tolerations),
		Volumes:            volumes,
		Affinity:           b.affinity(),
		Containers:         []corev1.Container{container},
		// The part of the restricted profile that any image bears; runAsNonRoot is left to a patch, since
		// many training images run as root.
		SecurityContext: &corev1.PodSecurityContext{
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if s.ServiceAccountName == "" {
		// A stage that names no account has no business with the API server.
		spec.AutomountServiceAccountToken = new(false)
	}
	b.addGPUs(&spec)
	notes := map[string]string{kube.AnnotationParams: document}
	if b.gang != nil {
		spec.Subdomain = b.gang.service
		if s.UsesSSH() {
			notes[kube.AnnotationHostfile] = b.gang.each("%s slots="+strconv.Itoa(b.gang.procs)+"\n", "")
		}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      merged(b.plan.Labels, b.labels),
			Annotations: merged(b.annotations(), notes),
		},
		Spec: spec,
	}, nil
}

func (b builder) container() (corev1.Container, error) {
	s, sc := b.stage, b.scope
	var err error
	c := corev1.Container{
		Name:            ContainerName,
		ImagePullPolicy: s.ImagePullPolicy,
		EnvFrom:         s.EnvFrom,
		Resources:       *s.Resources.DeepCopy(),
		// The last log lines stand in for a missing message when the stage fails, so that the Job says why;
		// a result is read from succeeded stages only and never mistaken for a log.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if c.Image, err = sc.fill("image", s.Image, literal); err != nil {
		return c, err
	}
	if c.WorkingDir, err = sc.fill("workingDir", s.WorkingDir, literal); err != nil {
		return c, err
	}
	if c.WorkingDir == "" && b.plan.Source != nil {
		c.WorkingDir = SourcePath
	}
	if c.Command, err = sc.fillList("command", s.Command); err != nil {
		return c, err
	}
	if c.Args, err = sc.fillList("args", s.Args); err != nil {
		return c, err
	}
	if b.gang != nil && b.gang.script != "" {
		if len(c.Command) == 0 {
			return c, fmt.Errorf("stage %s: framework %s runs around the command, which is missing", s.Name, s.Framework)
		}
		c.Command = slices.Concat([]string{"/bin/sh", "-c", b.gang.script, "ml-" + string(s.Framework)}, c.Command)
		c.SecurityContext.Capabilities.Add = b.gang.adds
	}
	if c.Env, err = b.env(); err != nil {
		return c, err
	}
	mounts, err := fillAll(sc, "volumeMounts", s.VolumeMounts)
	if err != nil {
		return c, err
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: inputsVolume, MountPath: InputsPath, ReadOnly: true}}
	if w := b.plan.Workspace; w != nil {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: workspaceVolume, MountPath: w.Path()})
	}
	if b.sharesMemory() {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: memoryVolume, MountPath: memoryPath})
	}
	c.VolumeMounts = append(c.VolumeMounts, mounts...)
	return c, nil
}

func (sc scope) fillList(field string, list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		var err error
		if out[i], err = sc.fill(fmt.Sprintf("%s[%d]", field, i), s, kubelet); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// env is ours first, then the user's, so that the user's may refer to ours; the user's win by name.
func (b builder) env() ([]corev1.EnvVar, error) {
	given := map[string]bool{}
	for _, e := range b.stage.Env {
		given[e.Name] = true
	}
	var env []corev1.EnvVar
	add := func(e corev1.EnvVar) {
		if !given[e.Name] {
			env = append(env, e)
		}
	}
	add(corev1.EnvVar{Name: "ML_PIPELINE", Value: b.plan.Pipeline})
	if b.scope.scheduled {
		// Nobody but the CronJob controller names the Jobs of a schedule.
		add(corev1.EnvVar{Name: "ML_RUN", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
			APIVersion: "v1", FieldPath: "metadata.labels['batch.kubernetes.io/job-name']",
		}}})
	} else {
		add(corev1.EnvVar{Name: "ML_RUN", Value: b.scope.run})
	}
	add(corev1.EnvVar{Name: "ML_STAGE", Value: b.stage.Name})
	if b.gang != nil {
		for _, e := range b.gang.env(b.gang) {
			add(e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.scope.params)) {
		// Kubernetes expands $(VAR) in env values; a parameter is data and arrives as it is.
		value := strings.ReplaceAll(text(b.scope.params[name]), "$", "$$")
		add(corev1.EnvVar{Name: "ML_PARAM_" + envName(name), Value: value})
	}
	// Without it Python keeps log lines back while it trains.
	add(corev1.EnvVar{Name: "PYTHONUNBUFFERED", Value: "1"})
	for _, e := range b.stage.Env {
		value, err := b.scope.fill("env "+e.Name, e.Value, kubelet)
		if err != nil {
			return nil, err
		}
		e.Value = value
		env = append(env, e)
	}
	return env, nil
}

func (b builder) volumes() ([]corev1.Volume, error) {
	sources := []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{
		Items: []corev1.DownwardAPIVolumeFile{{
			Path:     "params.json",
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + kube.AnnotationParams + "']"},
		}},
	}}}
	if src := b.plan.Source; src != nil {
		items := make([]corev1.KeyToPath, 0, len(src.Keys))
		for _, key := range slices.Sorted(maps.Keys(src.Keys)) {
			items = append(items, corev1.KeyToPath{Key: key, Path: "src/" + src.Keys[key]})
		}
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: src.ConfigMap}, Items: items,
		}})
	}
	if b.stage.UsesSSH() {
		sources = append(sources,
			corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path:     strings.TrimPrefix(hostfilePath, InputsPath+"/"),
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + kube.AnnotationHostfile + "']"},
			}}}},
			corev1.VolumeProjection{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: SSHSecretName(b.scope.run)},
				Items:                []corev1.KeyToPath{{Key: sshKey, Path: sshPath + "/" + sshKey}, {Key: sshPublic, Path: sshPath + "/" + sshPublic}},
			}})
	}
	// Readable and executable for all, so that scripts run whatever user the image has.
	mode := int32(0o555)
	volumes := []corev1.Volume{{Name: inputsVolume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: &mode},
	}}}
	if w := b.plan.Workspace; w != nil {
		volumes = append(volumes, corev1.Volume{Name: workspaceVolume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.Claim},
		}})
	}
	if b.sharesMemory() {
		volumes = append(volumes, corev1.Volume{Name: memoryVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory},
		}})
	}
	own, err := fillAll(b.scope, "volumes", b.stage.Volumes)
	if err != nil {
		return nil, err
	}
	return append(volumes, own...), nil
}

// sharesMemory says whether the pod gets all the shared memory that its limit allows instead of the 64 MiB of a container:
// data loaders and NCCL pass batches through it, and die of a bus error where it is short. What it holds counts as memory
// of the container. A mount of the user's own at that place wins.
func (b builder) sharesMemory() bool {
	if b.gang == nil && (b.stage.GPUs == nil || b.stage.GPUs.Count == 0) {
		return false
	}
	return !slices.ContainsFunc(b.stage.VolumeMounts, func(m corev1.VolumeMount) bool { return slashpath.Clean(m.MountPath) == memoryPath })
}

// addGPUs asks for accelerators, for nodes that have the product, and tolerates the taint that keeps others off them.
func (b builder) addGPUs(spec *corev1.PodSpec) {
	g := b.stage.GPUs
	if g == nil || g.Count == 0 {
		return
	}
	name := g.ResourceOrDefault()
	count := *resource.NewQuantity(g.Count, resource.DecimalSI)
	res := &spec.Containers[0].Resources
	if res.Limits == nil {
		res.Limits = corev1.ResourceList{}
	}
	if res.Requests == nil {
		res.Requests = corev1.ResourceList{}
	}
	res.Limits[name], res.Requests[name] = count, count
	if g.Product != "" {
		spec.NodeSelector = merged(spec.NodeSelector, map[string]string{productLabel: g.Product})
	}
	toleration := corev1.Toleration{Key: string(name), Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	for _, t := range spec.Tolerations {
		if t == toleration {
			return
		}
	}
	spec.Tolerations = append(spec.Tolerations, toleration)
}
