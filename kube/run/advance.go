package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// observation is a run with what is needed to change its record.
type observation struct {
	run  Run
	live Live
	cm   *corev1.ConfigMap
}

// Get returns a run as it stands. It changes nothing.
func Get(ctx context.Context, c *client.Client, name string) (Run, error) {
	o, err := observe(ctx, c, name)
	if err != nil {
		return Run{}, err
	}
	return o.run, nil
}

func getRecord(ctx context.Context, c *client.Client, name string) (*corev1.ConfigMap, *Record, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, kube.PrefixRun+name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, &client.Error{
			What: fmt.Sprintf("run %q not found in namespace %s", name, c.Namespace),
			Hint: "list the runs with: kubectl ml runs", Err: err,
		}
	}
	if err != nil {
		return nil, nil, c.Explain("read run "+name, err)
	}
	rec, err := decode(cm)
	return cm, rec, err
}

func observe(ctx context.Context, c *client.Client, name string) (*observation, error) {
	cm, rec, err := getRecord(ctx, c, name)
	if err != nil {
		return nil, err
	}
	live, err := liveObjects(ctx, c, rec)
	if err != nil {
		return nil, err
	}
	return &observation{run: Derive(rec, live, time.Now()), live: live, cm: cm}, nil
}

// liveObjects reads the Jobs, pods and Deployments of a run. Without the right to see pods the Jobs still tell.
func liveObjects(ctx context.Context, c *client.Client, rec *Record) (Live, error) {
	live := Live{Jobs: map[string]job.JobFact{}, TTL: map[string]bool{}, Deployments: map[string]*appsv1.Deployment{}}
	opts := kube.ListOptions(map[string]string{kube.LabelRun: rec.Name})
	jobs, err := c.Kube.BatchV1().Jobs(c.Namespace).List(ctx, opts)
	if err != nil {
		return live, c.Explain("list the jobs of run "+rec.Name, err)
	}
	byJob := map[string][]*corev1.Pod{}
	if len(jobs.Items) > 0 {
		pods, err := c.Kube.CoreV1().Pods(c.Namespace).List(ctx, opts)
		if err != nil && !apierrors.IsForbidden(err) {
			return live, c.Explain("list the pods of run "+rec.Name, err)
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			owner := metav1.GetControllerOf(p)
			if owner != nil {
				byJob[owner.Name] = append(byJob[owner.Name], p)
			}
		}
	}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		// A Job on its way out is no longer the run's: its place is free, or it counts as deleted.
		if j.DeletionTimestamp != nil {
			continue
		}
		live.Jobs[j.Name] = job.DecodeJob(j, byJob[j.Name])
		live.TTL[j.Name] = j.Spec.TTLSecondsAfterFinished != nil
	}
	return live, liveDeployments(ctx, c, rec, live)
}

func liveDeployments(ctx context.Context, c *client.Client, rec *Record, live Live) error {
	for i := range rec.Plan.Stages {
		p := &rec.Plan.Stages[i]
		sr := rec.Stages[p.Name]
		if p.Kind() != pipeline.KindDeployment || sr.Outcome != nil || len(sr.Jobs) == 0 {
			continue
		}
		want, err := pipeline.Deployment(&rec.Plan, rec.ref(), p.Name)
		if err != nil {
			continue // the stage's state says it
		}
		d, err := c.Kube.AppsV1().Deployments(c.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return c.Explain("read deployment "+want.Name, err)
		default:
			live.Deployments[want.Name] = d
		}
	}
	return nil
}

// Advance takes a run one step forward, if there is one to take, and returns how it stood before.
// acted tells whether something was done, so that the caller looks again.
func Advance(ctx context.Context, c *client.Client, name string) (r Run, acted bool, err error) {
	return advance(ctx, c, name, true)
}

// Settle records what has ended without starting anything, as far as the caller's rights go.
func Settle(ctx context.Context, c *client.Client, name string) (Run, error) {
	r, _, err := advance(ctx, c, name, false)
	if err != nil && (apierrors.IsForbidden(err) || apierrors.IsConflict(err)) {
		return Get(ctx, c, name)
	}
	return r, err
}

func advance(ctx context.Context, c *client.Client, name string, starting bool) (Run, bool, error) {
	o, err := observe(ctx, c, name)
	if err != nil {
		return Run{}, false, err
	}
	now := time.Now()
	s := next(o.run, o.live, now)
	if !starting {
		s.starts, s.deletes = nil, nil
	}
	if s.idle() {
		return o.run, false, nil
	}
	if err := act(ctx, c, o, s); err != nil {
		return o.run, true, err
	}
	return o.run, true, nil
}

func act(ctx context.Context, c *client.Client, o *observation, s step) error {
	for _, name := range s.deletes {
		err := c.Kube.BatchV1().Jobs(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
		if err != nil && !apierrors.IsNotFound(err) {
			return c.Explain("end job "+name, err)
		}
	}
	for _, st := range s.starts {
		if err := begin(ctx, c, o.run, st, &s); err != nil {
			return err
		}
	}
	if len(s.stages) > 0 || s.end != nil {
		for name, sr := range s.stages {
			o.run.Stages[name] = sr
		}
		o.run.End = s.end
		err := save(ctx, c, o.cm, o.run.Record)
		if apierrors.IsConflict(err) {
			return nil // somebody else took a step: the next look decides again
		}
		if err != nil {
			return err
		}
	}
	for name, ttl := range s.expire {
		patch := fmt.Appendf(nil, `{"spec":{"ttlSecondsAfterFinished":%d}}`, int64(ttl.Seconds()))
		_, err := c.Kube.BatchV1().Jobs(c.Namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
		if err != nil && !apierrors.IsNotFound(err) {
			return c.Explain("set the TTL of job "+name, err)
		}
	}
	return nil
}

// save writes the record under the resourceVersion it was read with.
func save(ctx context.Context, c *client.Client, cm *corev1.ConfigMap, rec *Record) error {
	if err := rec.encode(cm); err != nil {
		return err
	}
	_, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Update(ctx, cm, metav1.UpdateOptions{FieldManager: kube.FieldManager})
	if apierrors.IsConflict(err) {
		return err
	}
	return c.Explain("record the progress of run "+rec.Name, err)
}

// begin creates the object of one execution and notes it in the step. A refusal by the server that will not
// pass by itself becomes the stage's failure; other errors are returned, and the next look tries again.
func begin(ctx context.Context, c *client.Client, r Run, st start, s *step) error {
	rec := r.Record
	uid, err := create(ctx, c, r, st)
	if err != nil && client.Transient(err) {
		return err
	}
	if err != nil && ctx.Err() != nil {
		return err
	}
	sr, ok := s.stages[st.stage]
	if !ok {
		sr = rec.Stages[st.stage]
	}
	planned := rec.Stage(st.stage)
	sr.Attempt = rec.attempt(st.stage)
	jobs := make([]string, len(planned.Children))
	copy(jobs, sr.Jobs)
	sr.Jobs = jobs
	sr.Jobs[st.child] = string(uid)
	if err != nil {
		if nothingStarted(rec) {
			return err
		}
		now := time.Now().UTC()
		sr.Outcome = &Outcome{State: Failed, Reason: "NotStarted", Message: oneLine(err), Finished: &now}
	}
	s.stages[st.stage] = sr
	return nil
}

func nothingStarted(rec *Record) bool {
	for _, sr := range rec.Stages {
		if sr.ReusedFrom == "" && (len(sr.Jobs) > 0 || sr.Outcome != nil) {
			return false
		}
	}
	return true
}

func oneLine(err error) string {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Doing + ": " + e.What
	}
	return err.Error()
}

func create(ctx context.Context, c *client.Client, r Run, st start) (types.UID, error) {
	rec := r.Record
	if rec.Stage(st.stage).Kind() == pipeline.KindDeployment {
		return rollOut(ctx, c, rec, st.stage)
	}
	j, err := pipeline.Job(&rec.Plan, rec.ref(), st.stage, st.child, rec.attempt(st.stage), r.results())
	if err != nil {
		return "", err
	}
	limitToDeadline(&j.Spec.ActiveDeadlineSeconds, rec.Deadline, time.Now())
	made, err := c.Kube.BatchV1().Jobs(c.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return adopt(ctx, c, j.Name, rec.Name)
	}
	if err != nil {
		return "", c.Explain("create job "+j.Name, err)
	}
	return made.UID, nil
}

// limitToDeadline keeps a Job within the run's deadline, so that it holds even when nobody drives the run.
func limitToDeadline(seconds **int64, deadline *time.Time, now time.Time) {
	if deadline == nil {
		return
	}
	left := max(1, int64(deadline.Sub(now).Seconds()))
	if *seconds == nil || **seconds > left {
		*seconds = ptr.To(left)
	}
}

// adopt finds the Job that another client created first.
func adopt(ctx context.Context, c *client.Client, name, run string) (types.UID, error) {
	j, err := c.Kube.BatchV1().Jobs(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", c.Explain("read job "+name, err)
	}
	if j.Labels[kube.LabelRun] != run {
		return "", fmt.Errorf("job %s exists and is not of run %s: delete or rename it", name, run)
	}
	return j.UID, nil
}

func rollOut(ctx context.Context, c *client.Client, rec *Record, stage string) (types.UID, error) {
	d, err := pipeline.Deployment(&rec.Plan, rec.ref(), stage)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("write deployment %s: %w", d.Name, err)
	}
	made, err := c.Kube.AppsV1().Deployments(c.Namespace).Patch(ctx, d.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: kube.FieldManager})
	if err != nil {
		return "", c.Explain("apply deployment "+d.Name, err)
	}
	return made.UID, nil
}
