package run

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

func deriveDeployment(rec *Record, p *pipeline.PlannedStage, sr StageRecord, live Live, st *Stage) {
	want, err := pipeline.Deployment(&rec.Plan, rec.ref(), p.Name)
	if err != nil {
		st.State, st.Reason, st.Message = Failed, "InvalidManifest", err.Error()
		return
	}
	c := Child{State: Waiting, Job: want.Name}
	d := live.Deployments[want.Name]
	started := len(sr.Jobs) > 0 && sr.Jobs[0] != ""
	switch {
	case started && live.Deployments == nil:
		c.State = Running
	case started && d == nil:
		c.State, c.Reason, c.Message = Failed, "Deleted", fmt.Sprintf("deployment %s was deleted before it was rolled out", want.Name)
	case started:
		c.UID = string(d.UID)
		c.State, c.Reason, c.Message = rollout(d)
		// A Deployment that was there before the run has begun then, not now.
		c.Started = since(rec.Created, &d.CreationTimestamp.Time)
		if c.State.Terminal() {
			c.Finished = since(rec.Created, updated(d))
		}
	case sr.Refused != "":
		c.State, c.Reason, c.Message = Failed, reasonNotStarted, sr.Refused
	}
	st.Children = []Child{c}
	st.State, st.Reason, st.Message, st.Started, st.Finished = c.State, c.Reason, c.Message, c.Started, c.Finished
}

// rollout is the state of a Deployment's rollout, as kubectl rollout status judges it.
func rollout(d *appsv1.Deployment) (state State, reason, message string) {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	// Until the controller has seen this generation, its conditions tell of the rollout before.
	if s.ObservedGeneration < d.Generation {
		return Pending, "", ""
	}
	for _, c := range s.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
			return Failed, c.Reason, c.Message
		}
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			reason, message = c.Reason, c.Message
		}
	}
	if s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > s.UpdatedReplicas {
		if message == "" {
			message = fmt.Sprintf("%d of %d replicas are updated, %d available", s.UpdatedReplicas, want, s.AvailableReplicas)
		}
		return Running, reason, message
	}
	return Succeeded, "", ""
}

// since is t, or nil when it was before the beginning.
func since(beginning time.Time, t *time.Time) *time.Time {
	if t == nil || t.Before(beginning) {
		return nil
	}
	return t
}

// updated is when the rollout last made progress.
func updated(d *appsv1.Deployment) *time.Time {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			t := c.LastUpdateTime.Time
			return &t
		}
	}
	return nil
}
