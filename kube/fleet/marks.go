package fleet

import "github.com/kubectl-ml/kubectl-ml/kube"

// queueMarks are the labels and annotations that name a queue, the ones of the most particular first.
func queueMarks() []string {
	return []string{
		kube.LabelQueue,                        // Kueue
		"volcano.sh/queue-name",                // Volcano, on pods
		"scheduling.volcano.sh/queue-name",     // Volcano, on other kinds
		"kai.scheduler/queue",                  // KAI
		"runai/queue",                          // Run:ai
		"yunikorn.apache.org/queue",            // YuniKorn
		"scheduling.x-k8s.io/elastic-quota",    // capacity scheduling
		"quota.scheduling.koordinator.sh/name", // Koordinator
		"queue",                                // YuniKorn, older
	}
}

// byMarks are the labels and annotations that name who started a piece of work.
func byMarks() []string {
	return []string{
		kube.AnnotationAppliedBy,
		"workflows.argoproj.io/creator-preferred-username", "workflows.argoproj.io/creator-email", "workflows.argoproj.io/creator",
		"kueue.x-k8s.io/submitted-by", "kjobctl.x-k8s.io/created-by",
		"runai/user", "run.ai/username", "hub.jupyter.org/username", "notebooks.kubeflow.org/creator",
		"pipelines.kubeflow.org/created-by", "dask.org/user", "skypilot-user", "parent-skypilot-user", "arena.kubeflow.org/username",
		"field.cattle.io/creatorId", "openshift.io/requester", "created-by", "user", "owner",
	}
}

// mark is the first of marks that labels or annotations have.
func mark(marks []string, sets ...map[string]string) string {
	for _, m := range marks {
		for _, set := range sets {
			if v := set[m]; v != "" {
				return v
			}
		}
	}
	return ""
}

// roleLabels tell the pods of one piece of work apart.
func roleLabels() []string {
	return []string{
		"training.kubeflow.org/replica-type", "training.kubeflow.org/job-role", "ray.io/group", "ray.io/node-type",
		"jobset.sigs.k8s.io/replicatedjob-name", "volcano.sh/task-spec", "spark-role",
	}
}

// productLabels of nodes name the model of their accelerators.
func productLabels() []string {
	return []string{
		"nvidia.com/gpu.product", "amd.com/gpu.product-name", "cloud.google.com/gke-accelerator", "cloud.google.com/gke-tpu-accelerator",
	}
}
