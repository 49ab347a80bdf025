package serving

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// maxRestarts is how often a container may start again before its side counts as broken: less waits for what may pass,
// more would only wait longer between the same ends (the kubelet's back-off).
const maxRestarts = 3

// decodeSide makes a fact of a Deployment and the pods of its selector.
func decodeSide(side string, d *appsv1.Deployment, pods []corev1.Pod) *seen {
	if d == nil {
		return nil
	}
	t := d.Spec.Template.Annotations
	s := &seen{
		side: side, id: t[kube.AnnotationRollout], version: version(t), replicas: 1,
		current: d.Status.ObservedGeneration >= d.Generation,
		total:   d.Status.Replicas, updated: d.Status.UpdatedReplicas, ready: d.Status.ReadyReplicas, available: d.Status.AvailableReplicas,
	}
	if d.Spec.Replicas != nil {
		s.replicas = *d.Spec.Replicas
	}
	if s.version == 0 {
		s.version = version(d.Labels)
	}
	for _, p := range pods {
		s.addPod(&p)
	}
	if cs := d.Spec.Template.Spec.Containers; s.image == "" && len(cs) > 0 {
		s.image = cs[0].Image // no node has said its digest
	}
	if s.ready < s.replicas {
		s.readySince = time.Time{}
	}
	if s.current {
		s.addConditions(d.Status.Conditions)
	}
	return s
}

// addConditions reads what the controller says. Pods say more exactly what is wrong with them.
func (s *seen) addConditions(conditions []appsv1.DeploymentCondition) {
	for _, c := range conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			s.trouble = "pods cannot be made: " + c.Message
		case c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded":
			s.broken = true
			if s.trouble == "" {
				s.trouble = "its pods do not get ready in time: " + c.Message
			} else {
				s.trouble += " (given up after the progress deadline)"
			}
		}
	}
}

// addPod counts a pod of the template that is being rolled out.
func (s *seen) addPod(p *corev1.Pod) {
	if p.DeletionTimestamp != nil || p.Annotations[kube.AnnotationRollout] != s.id {
		return
	}
	ready := false
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			ready = true
			if c.LastTransitionTime.After(s.readySince) {
				s.readySince = c.LastTransitionTime.Time
			}
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && s.trouble == "":
			s.trouble = fmt.Sprintf("pod %s finds no node: %s", p.Name, c.Message)
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		s.restarts += c.RestartCount
		if c.ImageID != "" && c.Name != pullName && s.image == "" {
			s.image = imageOf(c)
		}
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			s.trouble = fmt.Sprintf("pod %s, container %s: %s", p.Name, c.Name, w.Reason)
			if w.Message != "" {
				s.trouble += ": " + w.Message
			}
			s.trouble += lastWords(c.LastTerminationState.Terminated)
			s.broken = s.broken || w.Reason == "InvalidImageName"
		} else if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			s.trouble = fmt.Sprintf("pod %s, container %s ended with exit code %d (%s)%s", p.Name, c.Name, t.ExitCode, t.Reason, lastWords(t))
		}
		if c.RestartCount >= maxRestarts && !ready {
			s.broken = true
			if s.trouble == "" {
				s.trouble = fmt.Sprintf("pod %s, container %s was started again %d times", p.Name, c.Name, c.RestartCount)
			}
		}
	}
}

// imageOf is the image of a container with the digest that the node pulled.
func imageOf(c corev1.ContainerStatus) string {
	if i := slices.Index([]byte(c.ImageID), '@'); i >= 0 {
		return c.Image + c.ImageID[i:]
	}
	return c.Image + "@" + c.ImageID
}

// lastWords is what a container left as its termination message, in one line.
func lastWords(t *corev1.ContainerStateTerminated) string {
	const most = 300
	if t == nil || t.ExitCode == 0 {
		return ""
	}
	text := strings.Join(strings.Fields(t.Message), " ")
	if text == "" {
		return ""
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return ": " + text
}
