package pipeline

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// JobSets is the API of JobSet that stages with engine jobset use.
func JobSets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "jobset.x-k8s.io", Version: "v1alpha2", Resource: "jobsets"}
}

// JobSet is the JobSet of a distributed stage, around the Job that Job builds for it. All ranks are one Job of it: what
// ends that Job starts all of them anew, as often as the stage has retries. What the infrastructure takes does not count.
// It is made by hand and not of JobSet's own types, which would bring its controller's libraries along.
func JobSet(s *PlannedStage, j *batchv1.Job) (*unstructured.Unstructured, error) {
	spec := j.Spec.DeepCopy()
	spec.Suspend = nil // the JobSet's own holds for its Jobs
	template, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&batchv1.JobTemplateSpec{Spec: *spec})
	if err != nil {
		return nil, fmt.Errorf("stage %s: write its JobSet: %w", s.Name, err)
	}
	labels := merged(j.Labels)
	delete(labels, kube.LabelQueue) // Kueue admits the JobSet, not the Job in it
	template["metadata"] = map[string]any{"labels": values(labels), "annotations": values(j.Annotations)}
	retries := int64(0)
	if s.Retries != nil {
		retries = int64(*s.Retries)
	}
	body := map[string]any{
		"network": map[string]any{"enableDNSHostnames": true, "publishNotReadyAddresses": true, "subdomain": j.Name},
		"failurePolicy": map[string]any{
			"maxRestarts": retries,
			"rules": []any{map[string]any{
				"name": "infrastructure", "action": "RestartJobSetAndIgnoreMaxRestarts",
				"onJobFailureReasons": []any{batchv1.JobReasonPodFailurePolicy},
			}},
		},
		"replicatedJobs": []any{map[string]any{"name": jobSetWorkers, "replicas": int64(1), "template": template}},
	}
	if j.Spec.Suspend != nil && *j.Spec.Suspend {
		body["suspend"] = true
	}
	set := &unstructured.Unstructured{Object: map[string]any{"spec": body}}
	set.SetAPIVersion(JobSets().GroupVersion().String())
	set.SetKind("JobSet")
	set.SetName(j.Name)
	set.SetNamespace(j.Namespace)
	set.SetLabels(j.Labels)
	set.SetAnnotations(j.Annotations)
	return set, nil
}

// values is a map of strings as unstructured objects have it.
func values(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
