package run

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deployment puts the Deployment "server" into the cluster, made before the run.
func (s *situation) deployment(f func(*appsv1.Deployment)) *situation {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Name: "server", UID: "uid-server", Generation: 2, CreationTimestamp: metav1.NewTime(began.Add(-time.Hour)),
	}}
	d.Spec.Replicas = new(int32(2))
	f(d)
	s.live.Deployments["server"] = d
	return s
}

func replicas(observed int64, all, updated, available int32, conditions ...appsv1.DeploymentCondition) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: observed, Replicas: all, UpdatedReplicas: updated, AvailableReplicas: available, Conditions: conditions,
		}
	}
}

func TestRollouts(t *testing.T) {
	serve := func() *situation { return makeRun("p-1").stage("serve", rollsOut("server")) }
	noted := func() *situation {
		return serve().with(func(r *Record) { r.Stages["serve"] = StageRecord{Attempt: 1, Jobs: []string{"uid-server"}} })
	}
	stuck := appsv1.DeploymentCondition{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", Message: "no progress",
	}
	noQuota := appsv1.DeploymentCondition{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "exceeded quota",
	}
	check(t, []decision{
		{"applied even if one of that name is there", serve().deployment(replicas(2, 2, 2, 2)), []string{"run Pending", "serve Waiting", "start p-1-serve"}},
		{"not yet seen by the controller", noted().deployment(replicas(1, 2, 2, 2)), []string{"run Pending", "serve Pending"}},
		{"the failure of the rollout before is not ours", noted().deployment(replicas(1, 2, 2, 2, stuck)), []string{"run Pending", "serve Pending"}},
		{
			"some replicas are updated", noted().deployment(replicas(2, 3, 1, 2)),
			[]string{"run Running", "serve Running: 1 of 2 replicas are updated, 2 available"},
		},
		{
			"old replicas still end", noted().deployment(replicas(2, 3, 2, 3)),
			[]string{"run Running", "serve Running: 2 of 2 replicas are updated, 3 available"},
		},
		{
			"pods are refused", noted().deployment(replicas(2, 2, 0, 2, noQuota)),
			[]string{"run Running", "serve Running (FailedCreate): exceeded quota"},
		},
		{
			"no progress", noted().deployment(replicas(2, 3, 1, 2, stuck)),
			[]string{
				"run Failed: stage serve failed: no progress", "serve Failed (ProgressDeadlineExceeded): no progress",
				"record serve Failed (ProgressDeadlineExceeded): no progress", "end Failed",
			},
		},
		{"done", noted().deployment(replicas(2, 2, 2, 2)), []string{"run Succeeded", "serve Succeeded", "record serve Succeeded", "end Succeeded"}},
		{
			"deleted", noted(),
			[]string{
				"run Failed: stage serve failed: deployment server was deleted before it was rolled out",
				"serve Failed (Deleted): deployment server was deleted before it was rolled out",
				"record serve Failed (Deleted): deployment server was deleted before it was rolled out", "end Failed",
			},
		},
		{
			"cancelled: it may serve, so it stays", noted().deployment(replicas(2, 3, 1, 2)).cancelled(),
			[]string{
				"run Cancelled: cancelled by ann", "serve Running: 1 of 2 replicas are updated, 2 available",
				"record serve Cancelled: cancelled by ann", "end Cancelled",
			},
		},
		{
			"refused", serve().with(func(r *Record) { r.Stages["serve"] = StageRecord{Attempt: 1, Jobs: []string{""}, Refused: "forbidden"} }),
			[]string{"run Failed: stage serve failed: forbidden", "serve Failed (NotStarted): forbidden", "record serve Failed (NotStarted): forbidden", "end Failed"},
		},
	})

	s := noted().deployment(replicas(2, 2, 2, 2))
	if st := Derive(s.rec, s.live, s.now).Now[0]; st.Started != nil || st.Finished != nil {
		t.Errorf("a Deployment from before the run began at %v and ended at %v", st.Started, st.Finished)
	}
	s.live.Deployments = nil
	if st := Derive(s.rec, s.live, s.now).Now[0]; st.State != Running {
		t.Errorf("where nobody looked for Deployments, a noted one is %s", st.State)
	}
}
