package run

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// any says whether some stage that the run runs is so.
func (r *Record) any(is func(pipeline.Stage) bool) bool {
	for i := range r.Plan.Stages {
		if s := &r.Plan.Stages[i]; s.Selected && is(s.Stage) {
			return true
		}
	}
	return false
}

// needsService says whether a stage's Job needs a Service that nobody else makes.
func needsService(s pipeline.Stage) bool { return s.Distributed() && !s.UsesJobSet() }

// owner makes an object go with the run's record; a record that is not in the cluster owns nothing yet.
func (r *Record) owner() []metav1.OwnerReference {
	if r.UID == "" {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: kube.PrefixRun + r.Name, UID: types.UID(r.UID)}}
}

// meeting is what the ranks of a Job meet by: the key with which they log in to each other, and the Service that gives
// them names. It is in place before the Job, so no rank ever looks for a name that is not there, and no client that dies
// leaves a Job without it.
func meeting(rec *Record, s *pipeline.PlannedStage, j *batchv1.Job) ([]runtime.Object, error) {
	var out []runtime.Object
	if s.UsesSSH() {
		secret, err := pipeline.SSHSecret(&rec.Plan, rec.ref(), rand.Reader)
		if err != nil {
			return nil, err
		}
		secret.OwnerReferences = rec.owner()
		out = append(out, secret)
	}
	if needsService(s.Stage) {
		service := pipeline.Service(j)
		service.OwnerReferences = rec.owner()
		out = append(out, service)
	}
	return out, nil
}

// prepareMeeting makes what the ranks of a Job meet by, unless it is there.
func prepareMeeting(ctx context.Context, c *client.Client, rec *Record, s *pipeline.PlannedStage, j *batchv1.Job) error {
	objects, err := meeting(rec, s, j)
	if err != nil {
		return err
	}
	o := metav1.CreateOptions{FieldManager: kube.FieldManager}
	for _, obj := range objects {
		switch obj := obj.(type) {
		case *corev1.Secret:
			_, err = c.Kube.CoreV1().Secrets(c.Namespace).Create(ctx, obj, o)
		case *corev1.Service:
			_, err = c.Kube.CoreV1().Services(c.Namespace).Create(ctx, obj, o)
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return c.Explain("create "+objectKind(obj)+" "+ObjectName(obj), err)
		}
	}
	return nil
}

// handOver lets a Service go with its Job, which may be long before the run's record goes. Without the right to it the
// Service stays as long as the record.
func handOver(ctx context.Context, c *client.Client, j *batchv1.Job, uid types.UID) {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": jobOwner(j.Name, uid)}})
	if err != nil {
		return
	}
	_, _ = c.Kube.CoreV1().Services(c.Namespace).Patch(ctx, pipeline.Service(j).Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: kube.FieldManager})
}

func jobOwner(name string, uid types.UID) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Name: name, UID: uid}}
}

// restoreServices makes the Services anew that somebody deleted while ranks need them. Who may not make any cannot tell
// whether one is missing.
func restoreServices(ctx context.Context, c *client.Client, r Run) error {
	for i, st := range r.Now {
		p := &r.Plan.Stages[i]
		if !needsService(p.Stage) || st.recorded {
			continue
		}
		for child, now := range st.Children {
			if now.State != Pending && now.State != Running {
				continue
			}
			j, err := pipeline.Job(&r.Plan, r.ref(), p.Name, child, st.Attempt, r.results())
			if err != nil {
				return err
			}
			service := pipeline.Service(j)
			service.OwnerReferences = jobOwner(j.Name, types.UID(now.UID))
			_, err = c.Kube.CoreV1().Services(c.Namespace).Create(ctx, service, metav1.CreateOptions{FieldManager: kube.FieldManager})
			if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsForbidden(err) {
				return c.Explain(fmt.Sprintf("restore service %s of job %s", service.Name, j.Name), err)
			}
		}
	}
	return nil
}
