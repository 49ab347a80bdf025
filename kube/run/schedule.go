package run

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Schedule is a CronJob that kubectl ml made: of a whole pipeline, or of one stage.
type Schedule struct {
	// Name is the CronJob's.
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	// Stage is empty for the schedule of a whole pipeline.
	Stage     string     `json:"stage,omitempty"`
	Schedule  string     `json:"schedule"`
	TimeZone  string     `json:"timeZone,omitempty"`
	Suspended bool       `json:"suspended"`
	Active    int        `json:"active"`
	Last      *time.Time `json:"last,omitempty"`
	// LastSuccess is when a Job of the schedule last succeeded.
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	Created     time.Time  `json:"created"`
}

func scheduleFrom(cj *batchv1.CronJob) Schedule {
	s := Schedule{
		Name: cj.Name, Namespace: cj.Namespace, Pipeline: cj.Labels[kube.LabelPipeline], Stage: cj.Labels[kube.LabelStage],
		Schedule: cj.Spec.Schedule, TimeZone: ptr.Deref(cj.Spec.TimeZone, ""), Suspended: ptr.Deref(cj.Spec.Suspend, false),
		Active: len(cj.Status.Active), Created: cj.CreationTimestamp.Time,
	}
	if t := cj.Status.LastScheduleTime; t != nil {
		s.Last = &t.Time
	}
	if t := cj.Status.LastSuccessfulTime; t != nil {
		s.LastSuccess = &t.Time
	}
	return s
}

// Schedules lists the schedules, in one namespace or all.
func Schedules(ctx context.Context, c *client.Client, all bool, selector string) ([]Schedule, error) {
	ns := c.Namespace
	if all {
		ns = metav1.NamespaceAll
	}
	opts := kube.ListOptions(nil)
	if selector != "" {
		opts.LabelSelector += "," + selector
	}
	list, err := c.Kube.BatchV1().CronJobs(ns).List(ctx, opts)
	if err != nil {
		return nil, c.Explain("list the schedules", err)
	}
	out := make([]Schedule, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, scheduleFrom(&list.Items[i]))
	}
	return out, nil
}

// Suspend stops a schedule, or starts it again.
func Suspend(ctx context.Context, c *client.Client, name string, suspend bool, dryRun []string) (changed bool, err error) {
	cj, err := getSchedule(ctx, c, name)
	if err != nil {
		return false, err
	}
	if ptr.Deref(cj.Spec.Suspend, false) == suspend {
		return false, nil
	}
	patch := fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspend)
	_, err = c.Kube.BatchV1().CronJobs(c.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	return true, c.Explain("change schedule "+name, err)
}

// Trigger runs a schedule now, as kubectl create job --from does, and returns the Job's name.
func Trigger(ctx context.Context, c *client.Client, name string, dryRun []string) (string, error) {
	cj, err := getSchedule(ctx, c, name)
	if err != nil {
		return "", err
	}
	annotations := map[string]string{"cronjob.kubernetes.io/instantiate": "manual"}
	for k, v := range cj.Spec.JobTemplate.Annotations {
		annotations[k] = v
	}
	// A CronJob's name has at most 52 characters, so the suffix fits.
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-now-" + utilrand.String(5), Namespace: cj.Namespace, Labels: cj.Spec.JobTemplate.Labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cj, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: cj.Spec.JobTemplate.Spec,
	}
	_, err = c.Kube.BatchV1().Jobs(c.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	return j.Name, c.Explain("trigger schedule "+name, err)
}

func getSchedule(ctx context.Context, c *client.Client, name string) (*batchv1.CronJob, error) {
	cj, err := c.Kube.BatchV1().CronJobs(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &client.Error{
			What: fmt.Sprintf("no schedule %q in namespace %s", name, c.Namespace),
			Hint: "list them with: kubectl ml schedule   or make one: spec.schedule in the pipeline file, then kubectl ml apply -f", Err: err,
		}
	case err != nil:
		return nil, c.Explain("read schedule "+name, err)
	case cj.Labels[kube.LabelManagedBy] != kube.ManagedBy:
		return nil, fmt.Errorf("cronjob %s was not made by kubectl ml: use kubectl for it", name)
	}
	return cj, nil
}
