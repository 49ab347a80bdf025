package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// jobSet is what a run reads of a JobSet.
type jobSet struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Suspend                 *bool  `json:"suspend"`
		TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished"`
	} `json:"spec"`
	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
		Restarts   int32              `json:"restarts"`
	} `json:"status"`
}

func jobSets(c *client.Client, ns string) dynamic.ResourceInterface {
	return c.Dynamic.Resource(pipeline.JobSets()).Namespace(ns)
}

// listJobSets reads the JobSets that a selector of ours finds; where JobSet is not installed (any more) there are none.
func listJobSets(ctx context.Context, c *client.Client, ns string, opts metav1.ListOptions) ([]jobSet, error) {
	list, err := jobSets(c, ns).List(ctx, opts)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]jobSet, 0, len(list.Items))
	for i := range list.Items {
		var s jobSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &s); err != nil {
			return nil, fmt.Errorf("read jobset %s: %w", list.Items[i].GetName(), err)
		}
		out = append(out, s)
	}
	return out, nil
}

// createJobSet creates a stage's JobSet, or finds it.
func createJobSet(ctx context.Context, c *client.Client, set *unstructured.Unstructured) (types.UID, error) {
	made, err := jobSets(c, c.Namespace).Create(ctx, set, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		if made, err = jobSets(c, c.Namespace).Get(ctx, set.GetName(), metav1.GetOptions{}); err == nil {
			err = isOfRun(made, set, "jobset")
		}
		if err != nil {
			return "", c.Explain("read jobset "+set.GetName(), err)
		}
	}
	if err != nil {
		return "", c.Explain("create jobset "+set.GetName(), err)
	}
	return made.GetUID(), nil
}

// ofJobSet says whether a Job is one that a JobSet made.
func ofJobSet(j *batchv1.Job) bool {
	owner := metav1.GetControllerOf(j)
	return owner != nil && owner.Kind == "JobSet"
}

// jobSetFact reads a JobSet as if it were the Job that it is around. What its Job says of itself is not final: the
// JobSet may start it anew.
func jobSetFact(s *jobSet, jobs []*batchv1.Job, pods map[string][]*corev1.Pod) job.JobFact {
	f := job.JobFact{State: job.Pending, Reason: "NoJob", Message: "no Job was made yet; if it stays so, see the events of the JobSet, and whether its controller runs"}
	for _, j := range jobs {
		if owner := metav1.GetControllerOf(j); owner != nil && owner.UID == s.UID && j.DeletionTimestamp == nil {
			f = job.DecodeJob(j, pods[j.Namespace+"/"+j.Name])
		}
	}
	f.Name, f.Namespace, f.UID, f.Created = s.Name, s.Namespace, string(s.UID), s.CreationTimestamp.Time
	failed, completed := meta.FindStatusCondition(s.Status.Conditions, "Failed"), meta.FindStatusCondition(s.Status.Conditions, "Completed")
	switch {
	case failed != nil && failed.Status == metav1.ConditionTrue:
		if f.State != job.Failed { // its Job, which could say more, is gone
			f.Reason, f.Message = failed.Reason, failed.Message
		}
		f.State, f.Finished = job.Failed, finishedAt(failed)
		if s.Status.Restarts > 0 {
			f.Message += fmt.Sprintf(" (all ranks were started %d times)", s.Status.Restarts+1)
		}
	case completed != nil && completed.Status == metav1.ConditionTrue:
		f.State, f.Reason, f.Message, f.Finished = job.Succeeded, "", "", finishedAt(completed)
	case s.Spec.Suspend != nil && *s.Spec.Suspend:
		f.State, f.Reason, f.Message, f.Started = job.Suspended, job.Suspended, "suspended; it starts when spec.suspend is false", nil
		if queue := s.Labels[kube.LabelQueue]; queue != "" {
			f.Reason, f.Message = "Queued", "waits in queue "+queue+" for quota"
		}
	case f.State == job.Failed:
		f.State, f.Reason, f.Message, f.Finished = job.Pending, "Restarting", "all ranks are started anew; last: "+f.Why(), nil
	case f.State == job.Succeeded:
		f.State, f.Finished = job.Running, nil
	}
	return f
}

func finishedAt(c *metav1.Condition) *time.Time {
	if c.LastTransitionTime.IsZero() {
		return nil
	}
	return &c.LastTransitionTime.Time
}

// deleteJobSets deletes all JobSets of a run. Their Jobs go with them; deleted alone, those would be made anew.
func deleteJobSets(ctx context.Context, c *client.Client, name string, opts metav1.DeleteOptions) (deleted []string, err error) {
	sets, err := listJobSets(ctx, c, c.Namespace, kube.ListOptions(map[string]string{kube.LabelRun: name}))
	if err != nil {
		return nil, c.Explain("list the jobsets of run "+name, err)
	}
	for _, s := range sets {
		if err := jobSets(c, c.Namespace).Delete(ctx, s.Name, opts); err != nil && !apierrors.IsNotFound(err) {
			return deleted, c.Explain("delete jobset "+s.Name, err)
		}
		deleted = append(deleted, "jobset.jobset.x-k8s.io/"+s.Name)
	}
	slices.Sort(deleted)
	return deleted, nil
}
