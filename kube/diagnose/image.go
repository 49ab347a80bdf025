package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// imageReasons are the kubelet's for a container whose image is not there (pkg/kubelet/images).
var imageReasons = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}

// imageFault is what a runtime or registry says when an image cannot be pulled.
type imageFault struct {
	text *regexp.Regexp
	code string
	// title has one %s for the image; change and cure may be empty.
	title, change, cure, command string
}

var imageFaults = []imageFault{
	{regexp.MustCompile(`(?i)no match(ing manifest)? for (platform|.*linux/)|exec format error`), "ImageWrongArchitecture", "image %s is not built for the processors of the node", "use an image for the node's architecture, or select nodes of the image's (kubernetes.io/arch)", "", ""},
	{regexp.MustCompile(`(?i)toomanyrequests|429 Too Many Requests|pull rate limit`), "ImageRateLimited", "the registry of image %s limits how much may be pulled", "pull through a mirror or with an account (imagePullSecrets)", "", ""},
	{regexp.MustCompile(`(?i)unauthorized|authentication required|403 Forbidden|401 Unauthorized|insufficient_scope|authorization failed|access denied|denied:|no basic auth credentials`), "ImageUnauthorized", "the registry does not let this cluster pull image %s, or there is no such image", "name a pull secret in imagePullSecrets (and check the image's name)", "make the pull secret", "kubectl create secret docker-registry regcred --docker-server=SERVER --docker-username=USER --docker-password=PASSWORD"},
	{regexp.MustCompile(`(?i)no such host|i/o timeout|connection refused|network is unreachable|no route to host|context deadline exceeded|TLS handshake timeout|dial tcp`), "RegistryUnreachable", "the node cannot reach the registry of image %s", "use a registry that the nodes can reach", "", ""},
	{regexp.MustCompile(`(?i)x509:|certificate|server gave HTTP response to HTTPS client`), "RegistryNotTrusted", "the node does not trust the registry of image %s", "use a registry with a certificate that the nodes know", "", ""},
	{regexp.MustCompile(`(?i)no space left on device`), "NodeDiskFull", "the node's disk is full: image %s does not fit", "", "see the node", "kubectl describe node"},
	{regexp.MustCompile(`(?i)signature`), "ImageSignatureInvalid", "image %s has no valid signature, which the node demands", "use a signed image", "", ""},
	{regexp.MustCompile(`(?i)not found|manifest unknown|name unknown|does not exist`), "ImageNotFound", "image %s does not exist in its registry", "correct the image's name or tag", "", ""},
}

// imageRule: an image that the node does not get.
func imageRule(e *Evidence) []Cause {
	var out []Cause
	seen := map[string]bool{}
	for _, p := range e.Pods {
		for _, s := range statuses(p) {
			w := s.State.Waiting
			if w == nil || !slices.Contains(imageReasons, w.Reason) || seen[s.Image] {
				continue
			}
			seen[s.Image] = true
			out = append(out, e.imageCause(p, s))
		}
	}
	return out
}

func (e *Evidence) imageCause(p *corev1.Pod, s corev1.ContainerStatus) Cause {
	w := s.State.Waiting
	image := s.Image
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == s.Name {
				image = list[i].Image
			}
		}
	}
	said := w.Message
	line := "container " + s.Name + " (" + w.Reason + "): " + w.Message
	pull := e.pullFailure(p, image)
	if pull.Message != "" {
		said += " " + pull.Message
	}
	switch w.Reason {
	case "InvalidImageName":
		return cause(Certain, "InvalidImageName", fmt.Sprintf("%q is no name of an image", image)).because(line).cures(e.change("correct the image's name"))
	case "ErrImageNeverPull":
		return cause(Certain, "ImageNotOnNode", fmt.Sprintf("image %s is not on node %s, and imagePullPolicy: Never forbids to pull it", image, p.Spec.NodeName)).because(line).
			cures(e.change("set imagePullPolicy: IfNotPresent, or select nodes that have the image"))
	}
	for _, f := range imageFaults {
		if !f.text.MatchString(said) {
			continue
		}
		c := cause(Certain, f.code, fmt.Sprintf(f.title, image)).because(line)
		if pull.Message != "" {
			c = c.because(e.eventLine(pull))
		}
		c = c.because(e.pullSecret(p))
		if f.change != "" {
			c = c.cures(e.change(f.change))
		}
		if f.cure != "" {
			command := f.command
			if f.code == "NodeDiskFull" {
				command += " " + p.Spec.NodeName
			}
			c = c.cure(f.cure, command)
		}
		return c
	}
	c := cause(Certain, "ImagePullFailed", "image "+image+" cannot be pulled").because(line)
	if pull.Message != "" {
		c = c.because(e.eventLine(pull))
	}
	return c.because(e.pullSecret(p)).cures(e.change("correct the image, or give access to it"))
}

// pullFailure is the event in which the kubelet tells what the registry said; the status says only that it waits.
func (e *Evidence) pullFailure(p *corev1.Pod, image string) fleet.Event {
	for _, ev := range slices.Backward(e.about("pod/"+p.Name, "Failed", "InspectFailed")) {
		if strings.Contains(ev.Message, "Failed to pull image") && strings.Contains(ev.Message, image) {
			return ev
		}
	}
	return fleet.Event{}
}

// pullSecret says which pull secrets the pod names, and which of them are missing.
func (e *Evidence) pullSecret(p *corev1.Pod) string {
	if len(p.Spec.ImagePullSecrets) == 0 {
		return "the pod names no imagePullSecrets"
	}
	var missing, named []string
	for _, s := range p.Spec.ImagePullSecrets {
		named = append(named, s.Name)
		if there, known := e.Exists["secret/"+s.Name]; known && !there {
			missing = append(missing, s.Name)
		}
	}
	for _, ev := range e.about("pod/"+p.Name, "FailedToRetrieveImagePullSecret") {
		return ev.Message
	}
	if len(missing) > 0 {
		return "its pull secret " + some(missing, 3) + " does not exist"
	}
	return "it pulls with " + some(named, 3)
}
