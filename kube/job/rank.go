package job

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// PodRank is the number of a pod among those that do one piece of work, -1 without one: the completion index of an
// Indexed Job, else what the operators of other kinds tell the pod or write on it. Where they count by role (the workers
// of an MPIJob, the hosts of a JobSet's replicated job), so does it.
func PodRank(p *corev1.Pod) int {
	for _, from := range []map[string]string{p.Annotations, p.Labels} {
		if n := index(from[batchv1.JobCompletionIndexAnnotation]); n >= 0 {
			return n
		}
	}
	if len(p.OwnerReferences) == 0 {
		return -1
	}
	// The training operator and Volcano set RANK, where it is not the label's number: master 0, worker-0 is 1.
	for i := range p.Spec.Containers {
		for _, e := range p.Spec.Containers[i].Env {
			if (e.Name == "RANK" || e.Name == "PROCESS_ID") && e.ValueFrom == nil {
				if n := index(e.Value); n >= 0 {
					return n
				}
			}
		}
	}
	if worker := index(p.Labels["leaderworkerset.sigs.k8s.io/worker-index"]); worker >= 0 {
		group, size := index(p.Labels["leaderworkerset.sigs.k8s.io/group-index"]), index(p.Annotations["leaderworkerset.sigs.k8s.io/size"])
		return max(group, 0)*max(size, 0) + worker
	}
	for _, label := range []string{"training.kubeflow.org/replica-index", "volcano.sh/task-index", "apps.kubernetes.io/pod-index"} {
		if n := index(p.Labels[label]); n >= 0 {
			return n
		}
	}
	return -1
}

// index is a number counted from 0, -1 when it is none.
func index(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<24 {
		return -1
	}
	return n
}
