package run

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Objects are all objects that the run would create, in order, with references to results that do not exist
// yet left as they stand.
func (p *Prepared) Objects() ([]runtime.Object, error) {
	var out []runtime.Object
	if p.Source != nil {
		out = append(out, p.Source)
	}
	if p.Claim != nil {
		out = append(out, p.Claim)
	}
	cm := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
	if err := p.Record.encode(cm); err != nil {
		return nil, err
	}
	out = append(out, cm)
	for _, s := range p.Record.Plan.Stages {
		if !s.Selected {
			continue
		}
		if deploys(s.Stage) {
			continue // what serves a version follows from the version, which is not known yet
		}
		if s.Kind() == pipeline.KindDeployment {
			d, err := pipeline.Deployment(&p.Record.Plan, p.Record.ref(), s.Name)
			if err != nil {
				return nil, err
			}
			out = append(out, d)
			continue
		}
		for i := range s.Children {
			j, err := pipeline.Job(&p.Record.Plan, p.Record.ref(), s.Name, i, 1, nil)
			if err != nil {
				return nil, err
			}
			needs, err := meeting(p.Record, &s, j)
			if err != nil {
				return nil, err
			}
			// The key is one for all of a run.
			out = append(out, slices.DeleteFunc(needs, func(o runtime.Object) bool { return contains(out, o) })...)
			if !s.UsesJobSet() {
				out = append(out, j)
				continue
			}
			set, err := pipeline.JobSet(&s, j)
			if err != nil {
				return nil, err
			}
			out = append(out, set)
		}
	}
	if p.driver != nil {
		out = append(out, p.driver.objects(p.Record)...)
	}
	return out, nil
}

// CheckObjects lets the server check objects as if they were created; nothing is stored.
func CheckObjects(ctx context.Context, c *client.Client, objects []runtime.Object) error {
	o := metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: []string{metav1.DryRunAll}}
	for _, obj := range objects {
		var err error
		switch obj := obj.(type) {
		case *corev1.ConfigMap:
			_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Create(ctx, obj, o)
		case *corev1.PersistentVolumeClaim:
			_, err = c.Kube.CoreV1().PersistentVolumeClaims(c.Namespace).Create(ctx, obj, o)
		case *corev1.ServiceAccount:
			_, err = c.Kube.CoreV1().ServiceAccounts(c.Namespace).Create(ctx, obj, o)
		case *batchv1.Job:
			_, err = c.Kube.BatchV1().Jobs(c.Namespace).Create(ctx, obj, o)
		case *appsv1.Deployment:
			_, err = c.Kube.AppsV1().Deployments(c.Namespace).Create(ctx, obj, o)
		case *corev1.Service:
			_, err = c.Kube.CoreV1().Services(c.Namespace).Create(ctx, obj, o)
		case *corev1.Secret:
			_, err = c.Kube.CoreV1().Secrets(c.Namespace).Create(ctx, obj, o)
		case *unstructured.Unstructured:
			_, err = jobSets(c, c.Namespace).Create(ctx, obj, o)
		case *rbacv1.Role:
			_, err = c.Kube.RbacV1().Roles(c.Namespace).Create(ctx, obj, o)
		case *rbacv1.RoleBinding:
			_, err = c.Kube.RbacV1().RoleBindings(c.Namespace).Create(ctx, obj, o)
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return c.Explain("check "+ObjectName(obj), err)
		}
	}
	return nil
}

// contains says whether an object of the same kind and name is in the list.
func contains(list []runtime.Object, o runtime.Object) bool {
	return slices.ContainsFunc(list, func(x runtime.Object) bool {
		return objectKind(x) == objectKind(o) && ObjectName(x) == ObjectName(o)
	})
}

// objectKind is the kind of an object as people write it in a sentence.
func objectKind(o runtime.Object) string {
	return strings.ToLower(o.GetObjectKind().GroupVersionKind().Kind)
}

// ObjectName is the name of an object.
func ObjectName(obj runtime.Object) string {
	if m, ok := obj.(metav1.Object); ok {
		return m.GetName()
	}
	return ""
}
