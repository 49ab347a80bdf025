package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// DefaultServiceAccount is the identity of drivers; it is made, with its rights, when it is missing.
const DefaultServiceAccount = "kubectl-ml-driver"

// driverRetries is how often a driver's pod may fail before its Job gives up; it only re-reads and goes on.
const driverRetries = 20

// driverTTL is how long a finished driver's Job stays, for its log.
const driverTTL = 24 * time.Hour

// Driver advances runs from inside the cluster: this program, in a Job.
type Driver struct {
	// Image holds this program as its entrypoint.
	Image string
	// ServiceAccount is used as it is, unless it is the default one.
	ServiceAccount string
	// PullPolicy of the image; empty is the cluster's default.
	PullPolicy corev1.PullPolicy
}

func (d *Driver) account() string {
	if d.ServiceAccount == "" {
		return DefaultServiceAccount
	}
	return d.ServiceAccount
}

// DriverRules are the least rights with which a driver can do its work in one namespace. What only distributed stages
// need, or those that deploy versions of models, is in them when the run has such stages.
func DriverRules(rec *Record) []rbacv1.PolicyRule {
	return append([]rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "update"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"get", "create"}},
	}, extraRules(rec)...)
}

// extraRules are those that only some runs need.
func extraRules(rec *Record) []rbacv1.PolicyRule { return append(gangRules(rec), deployRules(rec)...) }

// gangRules are the rights for what ranks meet by.
func gangRules(rec *Record) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	if rec.any(needsService) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"create", "patch"}})
	}
	if rec.any(pipeline.Stage.UsesSSH) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}})
	}
	if rec.any(pipeline.Stage.UsesJobSet) {
		sets := pipeline.JobSets()
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{sets.Group}, Resources: []string{sets.Resource}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}})
	}
	return rules
}

// objects are what a driver of the run needs, in the order of creation.
func (d *Driver) objects(rec *Record) []runtime.Object {
	return append(d.identity(rec), d.job(rec))
}

// identity is the default service account with its rights; a named one is the user's own affair.
func (d *Driver) identity(rec *Record) []runtime.Object {
	ns := rec.Namespace
	if d.account() != DefaultServiceAccount {
		return nil
	}
	meta := metav1.ObjectMeta{Name: DefaultServiceAccount, Namespace: ns, Labels: map[string]string{kube.LabelManagedBy: kube.ManagedBy}}
	return []runtime.Object{
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta},
		&rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"}, ObjectMeta: meta, Rules: DriverRules(rec)},
		&rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"}, ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: DefaultServiceAccount},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: DefaultServiceAccount, Namespace: ns}},
		},
	}
}

// job is the Job that resumes a run. It is scratch: it goes with the run's record.
func (d *Driver) job(rec *Record) *batchv1.Job {
	labels := map[string]string{
		kube.LabelManagedBy: kube.ManagedBy, kube.LabelDriver: "true",
		kube.LabelRun: rec.Name, kube.LabelPipeline: rec.Plan.Pipeline,
	}
	j := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: driverName(rec.Name), Namespace: rec.Namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](driverRetries), TTLSecondsAfterFinished: ptr.To(int32(driverTTL.Seconds())),
			Template: d.pod(labels, []string{"resume", rec.Name}),
		},
	}
	j.OwnerReferences = rec.owner()
	return j
}

// pod runs this program with args. The exit code tells of the run, not of the driver, so the run's ends count as success.
func (d *Driver) pod(labels map[string]string, args []string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{
			ServiceAccountName: d.account(),
			RestartPolicy:      corev1.RestartPolicyOnFailure,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "driver", Image: d.Image, ImagePullPolicy: d.PullPolicy,
				Args: append(args, "--exit-zero"),
				Env: []corev1.EnvVar{{
					Name:      "ML_DRIVER_UID",
					ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}},
				}, {
					// The runs that it starts need an image of this program too.
					Name: "KUBECTL_ML_DRIVER_IMAGE", Value: d.Image,
				}},
				Resources: corev1.ResourceRequirements{Requests: driverRequests(), Limits: driverLimits()},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// launch makes the driver of a run, and first what it needs.
func (d *Driver) launch(ctx context.Context, c *client.Client, rec *Record) error {
	if err := d.ensureIdentity(ctx, c, rec, nil); err != nil {
		return goesOnByHand(err, rec.Name)
	}
	_, err := c.Kube.BatchV1().Jobs(c.Namespace).Create(ctx, d.job(rec), metav1.CreateOptions{FieldManager: kube.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return goesOnByHand(c.Explain("create the driver of run "+rec.Name, err), rec.Name)
	}
	return nil
}

// checkDriver refuses a plan with a stage whose Job has the name of the driver's.
func (r *Record) checkDriver() error {
	for _, s := range r.Plan.Stages {
		if s.Selected && s.Kind() != pipeline.KindDeployment && len(s.Children) == 1 && s.JobName(r.Name, 0, 1) == driverName(r.Name) {
			return fmt.Errorf("a run with a stage named %s cannot be detached, the driver's Job has that name: rename the stage, or run without --detach", s.Name)
		}
	}
	return nil
}

// ensureIdentity makes the default service account and its rights unless they are there.
func (d *Driver) ensureIdentity(ctx context.Context, c *client.Client, rec *Record, dryRun []string) error {
	opts := metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun}
	for _, o := range d.identity(rec) {
		var err error
		switch o := o.(type) {
		case *corev1.ServiceAccount:
			_, err = c.Kube.CoreV1().ServiceAccounts(c.Namespace).Create(ctx, o, opts)
		case *rbacv1.Role:
			_, err = c.Kube.RbacV1().Roles(c.Namespace).Create(ctx, o, opts)
			if apierrors.IsAlreadyExists(err) {
				err = extendRole(ctx, c, o.Name, extraRules(rec), dryRun)
			}
		case *rbacv1.RoleBinding:
			_, err = c.Kube.RbacV1().RoleBindings(c.Namespace).Create(ctx, o, opts)
		}
		if apierrors.IsForbidden(err) {
			return &client.Error{
				Doing: "prepare the driver's identity " + DefaultServiceAccount, What: oneLine(c.Explain("", err)),
				Hint: "ask an administrator for it, or name one that exists with --driver-service-account", Err: err,
			}
		}
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return c.Explain("prepare the driver's identity "+DefaultServiceAccount, err)
		}
	}
	return nil
}

// extendRole gives the role that is there the rules that it lacks: an earlier run may have needed fewer. One that
// cannot be read is taken as it is.
func extendRole(ctx context.Context, c *client.Client, name string, rules []rbacv1.PolicyRule, dryRun []string) error {
	if len(rules) == 0 {
		return nil
	}
	roles := c.Kube.RbacV1().Roles(c.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		have, err := roles.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		missing := slices.DeleteFunc(slices.Clone(rules), func(r rbacv1.PolicyRule) bool { return covered(r, have.Rules) })
		if len(missing) == 0 {
			return nil
		}
		have.Rules = append(have.Rules, missing...)
		_, err = roles.Update(ctx, have, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
		return err
	})
}

// covered says whether rules give all that a rule for one resource gives.
func covered(want rbacv1.PolicyRule, rules []rbacv1.PolicyRule) bool {
	has := func(list []string, v string) bool { return slices.Contains(list, v) || slices.Contains(list, "*") }
	for _, verb := range want.Verbs {
		if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
			return len(r.ResourceNames) == 0 && has(r.Verbs, verb) && has(r.APIGroups, want.APIGroups[0]) && has(r.Resources, want.Resources[0])
		}) {
			return false
		}
	}
	return true
}

func driverRequests() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(10, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(64<<20, resource.BinarySI),
	}
}

func driverLimits() corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceMemory: *resource.NewQuantity(256<<20, resource.BinarySI)}
}

// Detach hands a run that somebody left to a driver in the cluster.
func Detach(ctx context.Context, c *client.Client, name string, d *Driver) (Run, error) {
	r, err := change(ctx, c, name, nil, func(r *Run) error {
		if r.End != nil {
			return refuse("run %s has ended already: %s", name, r.State)
		}
		if err := r.checkDriver(); err != nil {
			return refuse("%v", err)
		}
		r.Detached = true
		return nil
	})
	if err != nil {
		return r, err
	}
	// A driver that has ended, because the run waited for an approval or its pod failed too often, makes room for the next.
	jobs := c.Kube.BatchV1().Jobs(c.Namespace)
	old, err := jobs.Get(ctx, driverName(name), metav1.GetOptions{})
	if err == nil && job.DecodeJob(old, nil).Final() {
		err := jobs.Delete(ctx, old.Name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
		if err != nil && !apierrors.IsNotFound(err) {
			return r, c.Explain("replace the driver of run "+name, err)
		}
	}
	return r, d.launch(ctx, c, r.Record)
}

func driverName(run string) string { return run + "-driver" }
