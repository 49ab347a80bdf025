package run

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// RolloutAccount is the identity of the drivers of rollouts; it is made, with its rights, when it is missing.
const RolloutAccount = "kubectl-ml-rollout"

// DetachRollout hands a rollout to a driver in the cluster: this program, in the Job NAME-rollout.
func DetachRollout(ctx context.Context, c *client.Client, name string, d *Driver) error {
	in := *d
	if in.account() == DefaultServiceAccount {
		in.ServiceAccount = RolloutAccount
		if err := ensureRolloutAccount(ctx, c); err != nil {
			return goesOnAttached(err, name)
		}
	}
	labels := map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelDriver: "true"}
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-rollout", Namespace: c.Namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](driverRetries), TTLSecondsAfterFinished: ptr.To(int32(driverTTL.Seconds())),
			Template: in.pod(labels, []string{"rollout", "resume", name}),
		},
	}
	jobs := c.Kube.BatchV1().Jobs(c.Namespace)
	old, err := jobs.Get(ctx, j.Name, metav1.GetOptions{})
	if err == nil && old.Labels[kube.LabelDriver] == "true" {
		if !job.DecodeJob(old, nil).Final() {
			return nil // it is at it already
		}
		err := jobs.Delete(ctx, old.Name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground), Preconditions: &metav1.Preconditions{UID: &old.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return c.Explain("replace the driver of rollout "+name, err)
		}
	}
	_, err = jobs.Create(ctx, j, metav1.CreateOptions{FieldManager: kube.FieldManager})
	return goesOnAttached(c.Explain("create the driver of rollout "+name, err), name)
}

// goesOnAttached says that the rollout is there and how to go on with it.
func goesOnAttached(err error, name string) error {
	if err == nil {
		return nil
	}
	return &client.Error{What: oneLine(err), Hint: "the rollout has begun; take it forward with: kubectl ml rollout resume " + name, Err: err}
}

// ensureRolloutAccount makes the account, its role with what rollouts need now, and their binding.
func ensureRolloutAccount(ctx context.Context, c *client.Client) error {
	meta := metav1.ObjectMeta{Name: RolloutAccount, Namespace: c.Namespace, Labels: map[string]string{kube.LabelManagedBy: kube.ManagedBy}}
	opts := metav1.CreateOptions{FieldManager: kube.FieldManager}
	_, err := c.Kube.CoreV1().ServiceAccounts(c.Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, opts)
	if err == nil || apierrors.IsAlreadyExists(err) {
		_, err = c.Kube.RbacV1().Roles(c.Namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: serving.Rules()}, opts)
		if apierrors.IsAlreadyExists(err) {
			err = extendRole(ctx, c, RolloutAccount, serving.Rules(), nil)
		}
	}
	if err == nil || apierrors.IsAlreadyExists(err) {
		_, err = c.Kube.RbacV1().RoleBindings(c.Namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: RolloutAccount},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: RolloutAccount, Namespace: c.Namespace}},
		}, opts)
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return c.Explain("prepare the driver's identity "+RolloutAccount, err)
	}
	return nil
}
