package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Advance takes a run one step forward, if there is one to take, and returns how it stood before.
// acted tells whether something was done, so that the caller looks again.
func Advance(ctx context.Context, c *client.Client, name string) (r Run, acted bool, err error) {
	return advance(ctx, c, name, true)
}

// Settle records what has ended and finishes a cancellation, without starting anything, as far as the caller's
// rights go.
func Settle(ctx context.Context, c *client.Client, name string) (Run, error) {
	r, _, err := advance(ctx, c, name, false)
	if apierrors.IsForbidden(err) {
		return Get(ctx, c, name)
	}
	return r, err
}

func advance(ctx context.Context, c *client.Client, name string, starting bool) (Run, bool, error) {
	// Whoever looks finishes a cancellation.
	o, err := observe(ctx, c, name, func(rec *Record) bool { return starting || rec.Cancel != nil })
	if err != nil {
		return Run{}, false, err
	}
	if o.lacksResults() {
		// Recorded now, the results would be lost for good.
		return o.run, false, o.unseen
	}
	s := next(o.run, o.live, time.Now())
	if !starting {
		s.starts, s.chooses, s.looking = nil, nil, true
	}
	if s.idle() {
		return o.run, o.acted, nil
	}
	return o.run, true, act(ctx, c, o, s)
}

// act does a step. What it has done when it fails is found again by the next look.
func act(ctx context.Context, c *client.Client, o *observation, s step) error {
	for _, name := range s.deletes {
		if err := endJob(ctx, c, name, o.live.JobSets[name]); err != nil {
			return err
		}
	}
	for _, stage := range s.aborts {
		if err := abort(ctx, c, o.run, stage, s); err != nil {
			return err
		}
	}
	for _, stage := range s.chooses {
		if err := choose(ctx, c, o.run, stage, s); err != nil {
			return err
		}
	}
	for _, stage := range s.registers {
		if err := register(ctx, c, o.run, stage, s); err != nil {
			return err
		}
	}
	for _, st := range s.starts {
		if err := begin(ctx, c, o.run, st, s); err != nil {
			return err
		}
	}
	if s.saves() {
		err := save(ctx, c, o.cm, s.apply(o.run.Record))
		switch {
		case apierrors.IsConflict(err):
			return nil // somebody else took a step: the next look decides again
		case apierrors.IsNotFound(err):
			return takeBack(ctx, c, o.run, s)
		case err != nil:
			return err
		}
	}
	for name, ttl := range s.expire {
		if err := setTTL(ctx, c, name, o.live.JobSets[name], ttl); err != nil {
			return err
		}
	}
	return nil
}

// setTTL lets a finished Job, or JobSet, go by itself.
func setTTL(ctx context.Context, c *client.Client, name string, set bool, ttl time.Duration) error {
	patch := fmt.Appendf(nil, `{"spec":{"ttlSecondsAfterFinished":%d}}`, int64(ttl.Seconds()))
	opts := metav1.PatchOptions{FieldManager: kube.FieldManager}
	var err error
	if set {
		_, err = jobSets(c, c.Namespace).Patch(ctx, name, types.MergePatchType, patch, opts)
	} else {
		_, err = c.Kube.BatchV1().Jobs(c.Namespace).Patch(ctx, name, types.MergePatchType, patch, opts)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return c.Explain("set the TTL of job "+name, err)
}

// endJob deletes a Job, or a JobSet of that name.
func endJob(ctx context.Context, c *client.Client, name string, set bool) error {
	opts := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}
	end := c.Kube.BatchV1().Jobs(c.Namespace).Delete
	if set {
		end = func(ctx context.Context, name string, opts metav1.DeleteOptions) error {
			return jobSets(c, c.Namespace).Delete(ctx, name, opts)
		}
	}
	if err := end(ctx, name, opts); !apierrors.IsNotFound(err) {
		return c.Explain("end job "+name, err)
	}
	return nil
}

// takeBack ends the Jobs that a step has created for a run that was deleted meanwhile: nobody would find them.
func takeBack(ctx context.Context, c *client.Client, r Run, s step) error {
	for _, st := range s.starts {
		p := r.Stage(st.stage)
		if p.Kind() == pipeline.KindDeployment {
			continue
		}
		if err := endJob(ctx, c, r.jobName(st.stage, st.child), p.UsesJobSet()); err != nil {
			return err
		}
	}
	return &client.Error{What: fmt.Sprintf("run %s was deleted", r.Name)}
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
func begin(ctx context.Context, c *client.Client, r Run, st start, s step) error {
	if s.of(r.Record, st.stage).Refused != "" {
		return nil // a child before it was refused in this step
	}
	uid, err := create(ctx, c, r, st)
	switch {
	case err == nil:
		s.note(r.Record, st, string(uid), "")
	case client.Transient(err) || ctx.Err() != nil || nothingStarted(r, s):
		return err
	default:
		s.note(r.Record, st, "", oneLine(err))
	}
	return nil
}

// nothingStarted says whether neither the run nor the step has started anything.
func nothingStarted(r Run, s step) bool {
	for _, st := range r.Now {
		sr := s.of(r.Record, st.Name)
		if sr.ReusedFrom == "" && (len(sr.Jobs) > 0 || sr.Outcome != nil || len(sr.Previous) > 0) {
			return false
		}
		if st.ReusedFrom == "" && slices.ContainsFunc(st.Children, func(c Child) bool { return c.UID != "" }) {
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
	p := rec.Stage(st.stage)
	switch {
	case deploys(p.Stage):
		return beginRollout(ctx, c, rec, st.stage)
	case p.Kind() == pipeline.KindDeployment:
		return rollOut(ctx, c, rec, st.stage)
	}
	j, err := pipeline.Job(&rec.Plan, rec.ref(), st.stage, st.child, rec.attempt(st.stage), r.results())
	if err != nil {
		return "", err
	}
	limitToDeadline(&j.Spec.ActiveDeadlineSeconds, rec.Deadline, time.Now())
	if err := prepareMeeting(ctx, c, rec, p, j); err != nil {
		return "", err
	}
	if p.UsesJobSet() {
		set, err := pipeline.JobSet(p, j)
		if err != nil {
			return "", err
		}
		return createJobSet(ctx, c, set)
	}
	made, err := c.Kube.BatchV1().Jobs(c.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return adopt(ctx, c, j)
	}
	if err != nil {
		return "", c.Explain("create job "+j.Name, err)
	}
	if needsService(p.Stage) {
		handOver(ctx, c, j, made.UID)
	}
	return made.UID, nil
}

// deadlineGrace is how long after the run's deadline its Jobs end by themselves. Whoever drives the run comes first
// and ends it as timed out.
const deadlineGrace = 30 * time.Second

// limitToDeadline keeps a Job within the run's deadline, so that it holds even when nobody drives the run.
func limitToDeadline(seconds **int64, deadline *time.Time, now time.Time) {
	if deadline == nil {
		return
	}
	left := max(1, int64(math.Ceil((deadline.Sub(now) + deadlineGrace).Seconds())))
	if *seconds == nil || **seconds > left {
		*seconds = ptr.To(left)
	}
}

// adopt finds the Job that another client created first.
func adopt(ctx context.Context, c *client.Client, want *batchv1.Job) (types.UID, error) {
	j, err := c.Kube.BatchV1().Jobs(c.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return "", c.Explain("read job "+want.Name, err)
	}
	return j.UID, isOfRun(j, want, "job")
}

// isOfRun refuses an object that has the name of one of ours and is not it.
func isOfRun(have, want metav1.Object, kind string) error {
	is, must := have.GetLabels(), want.GetLabels()
	if is[kube.LabelRun] != must[kube.LabelRun] || is[kube.LabelStage] != must[kube.LabelStage] {
		return fmt.Errorf("%s %s exists and is not of run %s: delete or rename it", kind, want.GetName(), must[kube.LabelRun])
	}
	return nil
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
