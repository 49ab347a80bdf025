package serving

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// The sides of rollouts, values of the label kubectl-ml.dev/side.
const (
	sideStable = "stable"
	sideCanary = "canary"
	sideBlue   = "blue"
	sideGreen  = "green"
)

const (
	// labelName is the selector of what is generated.
	labelName = "app.kubernetes.io/name"
	// lastApplied is kubectl's own memory of another object.
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	// maxName leaves room for the sides in the names of Services.
	maxName = validation.DNS1123LabelMaxLength - len("-canary")
	// serverUser is the user of generated pods: the restricted profile wants any but root.
	serverUser = 65532

	containerName = "server"
	portName      = "http"
)

// checkName refuses what cannot be the name of a Deployment with its Services.
func checkName(name string) error {
	if msgs := validation.IsDNS1035Label(name); len(msgs) > 0 {
		return fmt.Errorf("%q cannot name a Deployment and its Service: it must be letters, digits and - only, start with a letter, and end in none of - (choose one with --to NAME)", name)
	}
	if len(name) > maxName {
		return fmt.Errorf("the name %s has %d characters, at most %d leave room for -canary: choose another with --to NAME", name, len(name), maxName)
	}
	return nil
}

// deploymentName is the name of the Deployment of a side.
func deploymentName(name, side string) string {
	if side == sideStable {
		return name
	}
	return name + "-" + side
}

// skeleton is the Deployment of a model's server before anything is said of it.
func skeleton(name string) *appsv1.Deployment {
	labels := map[string]string{labelName: name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{kube.LabelManagedBy: kube.ManagedBy, labelName: name}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(labels)},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken: new(false),
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: new(true), RunAsUser: ptr.To[int64](serverUser),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{Name: containerName, SecurityContext: confined()}},
				},
			},
		},
	}
}

// confined is the container's part of the restricted Pod Security profile.
func confined() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// decodeManifest reads the user's Deployment.
func decodeManifest(text json.RawMessage, namespace string) (*appsv1.Deployment, error) {
	d := &appsv1.Deployment{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("read the Deployment's manifest: %w", err)
	}
	switch {
	case d.Kind != "Deployment" || d.APIVersion != appsv1.SchemeGroupVersion.String():
		return nil, fmt.Errorf("the manifest is a %s %s; only a Deployment of apps/v1 can serve a version", d.APIVersion, d.Kind)
	case d.Namespace != "" && d.Namespace != namespace:
		return nil, fmt.Errorf("the manifest is for namespace %s, not %s: remove metadata.namespace, or use -n %s", d.Namespace, namespace, d.Namespace)
	case len(d.Spec.Template.Spec.Containers) == 0:
		return nil, errors.New("the manifest's pod has no container")
	case d.Spec.Selector == nil || len(d.Spec.Selector.MatchLabels) == 0:
		return nil, errors.New("the manifest has no spec.selector.matchLabels")
	}
	d.Status = appsv1.DeploymentStatus{}
	d.ObjectMeta = metav1.ObjectMeta{Name: d.Name, Labels: d.Labels, Annotations: d.Annotations}
	delete(d.Annotations, lastApplied)
	return d, nil
}

// overlay lays over a Deployment what the request says: where nothing is said, what is there stays.
func overlay(d *appsv1.Deployment, q *Request, imageVolumes bool) (*appsv1.Deployment, error) {
	d = d.DeepCopy()
	d.TypeMeta = metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"}
	s := q.Deploy.Serve
	if s == nil {
		s = &pipeline.Serve{}
	}
	if s.Replicas != nil {
		d.Spec.Replicas = s.Replicas
	}
	pod := &d.Spec.Template.Spec
	overPod(pod, s.Pod)
	c := &pod.Containers[0]
	overContainer(c, s)
	if c.Image == "" {
		return nil, errors.New("nothing says which image serves the model: name it with --image, or give a manifest with -f")
	}
	scrape(&d.Spec.Template, s.Metrics)
	if err := addArtifact(pod, q, imageVolumes); err != nil {
		return nil, err
	}
	v := q.Version
	facts := map[string]string{kube.LabelModel: v.Model, kube.LabelVersion: strconv.Itoa(v.Version)}
	put(&d.Labels, facts)
	put(&d.Spec.Template.Labels, facts)
	put(&d.Spec.Template.Labels, map[string]string{kube.LabelSide: sideStable})
	put(&d.Annotations, facts)
	put(&d.Spec.Template.Annotations, facts)
	if v.Artifact.Digest != "" {
		put(&d.Annotations, map[string]string{kube.AnnotationDigest: v.Artifact.Digest})
		put(&d.Spec.Template.Annotations, map[string]string{kube.AnnotationDigest: v.Artifact.Digest})
	}
	if q.Run != "" {
		put(&d.Labels, map[string]string{kube.LabelRun: q.Run})
	}
	if q.Stage != "" {
		put(&d.Labels, map[string]string{kube.LabelStage: q.Stage})
	}
	return patched(d, s.Patch)
}

func put(m *map[string]string, pairs map[string]string) {
	if *m == nil {
		*m = map[string]string{}
	}
	maps.Copy(*m, pairs)
}

// patched merges a strategic merge patch.
func patched(d *appsv1.Deployment, patch json.RawMessage) (*appsv1.Deployment, error) {
	if len(patch) == 0 {
		return d, nil
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("merge the patch of the Deployment: %w", err)
	}
	if body, err = strategicpatch.StrategicMergePatch(body, patch, appsv1.Deployment{}); err != nil {
		return nil, fmt.Errorf("merge the patch of the Deployment: %w", err)
	}
	out := &appsv1.Deployment{}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("merge the patch of the Deployment: %w", err)
	}
	return out, nil
}

// overPod sets what is said of the pod.
func overPod(pod *corev1.PodSpec, p pipeline.Pod) {
	if p.ServiceAccountName != "" {
		pod.ServiceAccountName, pod.AutomountServiceAccountToken = p.ServiceAccountName, nil
	}
	if len(p.ImagePullSecrets) > 0 {
		pod.ImagePullSecrets = p.ImagePullSecrets
	}
	if len(p.NodeSelector) > 0 {
		put(&pod.NodeSelector, p.NodeSelector)
	}
	for _, t := range p.Tolerations {
		if !slices.Contains(pod.Tolerations, t) {
			pod.Tolerations = append(pod.Tolerations, t)
		}
	}
	for _, v := range p.Volumes {
		setBy(&pod.Volumes, v, func(v corev1.Volume) string { return v.Name })
	}
	c := &pod.Containers[0]
	for _, m := range p.VolumeMounts {
		setBy(&c.VolumeMounts, m, func(m corev1.VolumeMount) string { return m.MountPath })
	}
	for _, e := range p.Env {
		setBy(&c.Env, e, func(e corev1.EnvVar) string { return e.Name })
	}
	if len(p.EnvFrom) > 0 {
		c.EnvFrom = p.EnvFrom
	}
	quantities(&c.Resources.Requests, p.Resources.Requests)
	quantities(&c.Resources.Limits, p.Resources.Limits)
	if g := p.GPUs; g != nil && g.Count > 0 {
		n := corev1.ResourceList{g.ResourceOrDefault(): *resource.NewQuantity(g.Count, resource.DecimalSI)}
		quantities(&c.Resources.Requests, n)
		quantities(&c.Resources.Limits, n)
		t := corev1.Toleration{Key: string(g.ResourceOrDefault()), Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
		if !slices.Contains(pod.Tolerations, t) {
			pod.Tolerations = append(pod.Tolerations, t)
		}
		if g.Product != "" {
			put(&pod.NodeSelector, map[string]string{"nvidia.com/gpu.product": g.Product})
		}
	}
	if p.Image != "" {
		c.Image = p.Image
	}
	if p.ImagePullPolicy != "" {
		c.ImagePullPolicy = p.ImagePullPolicy
	}
	if p.WorkingDir != "" {
		c.WorkingDir = p.WorkingDir
	}
}

func quantities(into *corev1.ResourceList, from corev1.ResourceList) {
	if len(from) == 0 {
		return
	}
	if *into == nil {
		*into = corev1.ResourceList{}
	}
	maps.Copy(*into, from)
}

// setBy replaces the element of the same key, or appends one.
func setBy[T any](list *[]T, e T, key func(T) string) {
	for i := range *list {
		if key((*list)[i]) == key(e) {
			(*list)[i] = e
			return
		}
	}
	*list = append(*list, e)
}

// overContainer sets command, port and probes. Probes are there from the start for what is generated; a manifest keeps
// its own unless a path is given.
func overContainer(c *corev1.Container, s *pipeline.Serve) {
	if len(s.Command) > 0 {
		c.Command = s.Command
	}
	if len(s.Args) > 0 {
		c.Args = s.Args
	}
	if s.Port != 0 {
		setBy(&c.Ports, corev1.ContainerPort{Name: portName, ContainerPort: s.Port, Protocol: corev1.ProtocolTCP}, func(p corev1.ContainerPort) string { return p.Name })
	}
	if s.Probe == "" && (s.Port == 0 || c.ReadinessProbe != nil && c.ReadinessProbe.TCPSocket == nil) {
		return
	}
	port := firstPort(c)
	// A model may take minutes to load: the startup probe gives it ten, and the others begin after it.
	c.StartupProbe = probe(s.Probe, port, 5, 120)
	c.ReadinessProbe = probe(s.Probe, port, 5, 3)
	c.LivenessProbe = probe(s.Probe, port, 10, 6)
}

// firstPort is the container's port that answers HTTP, by name or the first.
func firstPort(c *corev1.Container) int32 {
	for _, p := range c.Ports {
		if p.Name == portName {
			return p.ContainerPort
		}
	}
	if len(c.Ports) > 0 {
		return c.Ports[0].ContainerPort
	}
	return pipeline.DefaultServePort
}

func probe(path string, port, period, failures int32) *corev1.Probe {
	p := &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: 5, FailureThreshold: failures}
	if path != "" {
		p.HTTPGet = &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}
		return p
	}
	p.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}
	return p
}

// scrape tells Prometheus, where it discovers pods by the usual annotations, what to ask.
func scrape(t *corev1.PodTemplateSpec, m *pipeline.ServeMetrics) {
	if m == nil {
		return
	}
	path := m.Path
	if path == "" {
		path = pipeline.DefaultMetricsPath
	}
	put(&t.Annotations, map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": strconv.Itoa(int(m.Port)), "prometheus.io/path": path})
}
