package serving

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

const (
	modelVolume = "ml-model"
	pullName    = "ml-model"
	inlineKey   = "artifact"
)

// addArtifact lets the artifact of a version reach the pod, in place of the one that it had, and says what it is by
// the environment.
func addArtifact(pod *corev1.PodSpec, q *Request, imageVolumes bool) error {
	c := &pod.Containers[0]
	pod.InitContainers = slices.DeleteFunc(pod.InitContainers, func(c corev1.Container) bool { return c.Name == pullName })
	pod.Volumes = slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == modelVolume })
	folder := pipeline.DefaultModelPath
	if i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == modelVolume }); i >= 0 {
		folder = c.VolumeMounts[i].MountPath
	}
	if s := q.Deploy.Serve; s != nil && s.ModelPath != "" {
		folder = s.ModelPath
	}
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == modelVolume })
	if i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == folder }); i >= 0 {
		return fmt.Errorf("the pod mounts %s at %s, where the model goes: choose another place with --model-path", c.VolumeMounts[i].Name, folder)
	}
	v := q.Version
	source, file, pull, err := artifactVolume(q, imageVolumes)
	if err != nil {
		return fmt.Errorf("%s:%d cannot be deployed: %w", v.Model, v.Version, err)
	}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: modelVolume, VolumeSource: source})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: modelVolume, MountPath: folder, ReadOnly: true})
	if pull {
		pod.InitContainers = append(pod.InitContainers, puller(q, folder, path.Join(folder, file)))
	}
	for _, e := range []corev1.EnvVar{
		{Name: "ML_MODEL", Value: v.Model}, {Name: "ML_MODEL_VERSION", Value: strconv.Itoa(v.Version)},
		{Name: "ML_MODEL_URI", Value: literal(v.Artifact.URI)}, {Name: "ML_MODEL_DIGEST", Value: v.Artifact.Digest},
		{Name: "ML_MODEL_PATH", Value: literal(path.Join(folder, file))},
	} {
		setBy(&c.Env, e, func(e corev1.EnvVar) string { return e.Name })
	}
	return nil
}

// literal keeps Kubernetes from expanding $(VAR).
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// artifactVolume is where the pod finds the artifact: the volume, the file or folder in it, and whether an init container
// has to fetch it.
func artifactVolume(q *Request, imageVolumes bool) (v corev1.VolumeSource, file string, pull bool, err error) {
	uri := q.Version.Artifact.URI
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		scheme, rest, _ = strings.Cut(uri, ":")
	}
	switch scheme {
	case "pvc":
		claim, inside, _ := strings.Cut(rest, "/")
		if inside = path.Clean("/" + inside)[1:]; claim == "" {
			return v, "", false, fmt.Errorf("its artifact %s names no claim", uri)
		}
		v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}
		return v, inside, false, nil
	case "inline":
		name := path.Base(path.Clean("/" + rest))
		if name == "/" {
			name = "model"
		}
		v.ConfigMap = &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: q.Version.Object},
			Items:                []corev1.KeyToPath{{Key: inlineKey, Path: name}},
		}
		return v, name, false, nil
	case "oci":
		if imageVolumes {
			v.Image = &corev1.ImageVolumeSource{Reference: rest, PullPolicy: corev1.PullIfNotPresent}
			return v, "", false, nil
		}
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		return v, "", true, pullable(q)
	case "s3", "http", "https":
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		name := path.Base(strings.SplitN(path.Clean("/"+rest), "?", 2)[0])
		return v, name, true, pullable(q)
	case "file":
		return v, "", false, fmt.Errorf("its artifact %s is a file of one machine, which pods cannot reach: store it with: kubectl ml model push", uri)
	case "":
		return v, "", false, fmt.Errorf("it has no artifact")
	}
	return v, "", false, fmt.Errorf("pods cannot be given an artifact of %s://: copy it with kubectl ml model push to s3://, oci:// or pvc://", scheme)
}

func pullable(q *Request) error {
	if q.Helper == "" {
		return fmt.Errorf("its artifact %s has to be downloaded by the pod, and no image holds this program: name one with --driver-image or KUBECTL_ML_DRIVER_IMAGE", q.Version.Artifact.URI)
	}
	return nil
}

// puller is the init container that downloads the artifact and verifies its digest.
func puller(q *Request, folder, to string) corev1.Container {
	args := []string{"model", "pull", "--uri", q.Version.Artifact.URI, "--to", to, "--force"}
	if d := q.Version.Artifact.Digest; d != "" {
		args = append(args, "--digest", d)
	}
	c := corev1.Container{
		Name: pullName, Image: q.Helper, ImagePullPolicy: q.HelperPullPolicy, Args: args,
		VolumeMounts:    []corev1.VolumeMount{{Name: modelVolume, MountPath: folder}},
		SecurityContext: confined(),
		// Why it failed, such as another digest, is then seen in the pod's status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	c.SecurityContext.RunAsNonRoot = new(true)
	user := int64(serverUser)
	c.SecurityContext.RunAsUser = &user
	if s := q.Deploy.Serve; s != nil && s.Secret != "" {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: s.Secret}}}}
	}
	return c
}
