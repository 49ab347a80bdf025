package job

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// containerState is what matters of a container to the reader of its log.
type containerState struct {
	// started says that there is a log; running that it may grow; final that it never will again.
	started, running, final bool
	restarts                int32
}

func (s *logStream) state() containerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stateOf(s.pod, s.container, s.gone)
}

func stateOf(p *corev1.Pod, container string, gone bool) containerState {
	over := gone || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	st := containerState{final: over}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.Name != container {
				continue
			}
			st.restarts = c.RestartCount
			st.running = c.State.Running != nil && !over
			st.started = c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
			if t := c.State.Terminated; t != nil {
				st.final = over || !mayRestart(p, container, t.ExitCode)
			}
			return st
		}
	}
	return st
}

// mayRestart says whether the kubelet may start a container again that ended with the given code.
func mayRestart(p *corev1.Pod, container string, code int32) bool {
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.Name == container {
			return c.RestartPolicy != nil || code != 0 && p.Spec.RestartPolicy != corev1.RestartPolicyNever
		}
	}
	for i := range p.Spec.Containers {
		if c := &p.Spec.Containers[i]; c.Name == container && c.RestartPolicy != nil {
			return true
		}
	}
	switch p.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// update takes in a newer state of the pod; gone says that it was deleted.
func (s *logStream) update(p *corev1.Pod, gone bool) {
	s.mu.Lock()
	if p != nil {
		s.pod = p
	}
	s.gone = s.gone || gone
	if !s.ended && stateOf(s.pod, s.container, s.gone).final {
		s.ended = true
		close(s.ending)
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// unknownContainer says whether the pod has no container of the name asked for.
func (s *logStream) unknownContainer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]corev1.Container{s.pod.Spec.InitContainers, s.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == s.container {
				return false
			}
		}
	}
	for i := range s.pod.Spec.EphemeralContainers {
		if s.pod.Spec.EphemeralContainers[i].Name == s.container {
			return false
		}
	}
	return true
}

func (s *logStream) noContainer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for i := range s.pod.Spec.Containers {
		names = append(names, s.pod.Spec.Containers[i].Name)
	}
	return fmt.Errorf("pod %s has no container %q; it has %s", s.name, s.container, strings.Join(names, ", "))
}
