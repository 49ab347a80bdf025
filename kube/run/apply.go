package run

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Application is a pipeline ready to be applied: the record and what runs by schedule.
type Application struct {
	Pipeline *corev1.ConfigMap
	// Source and Claim are nil when there are none.
	Source *corev1.ConfigMap
	Claim  *corev1.PersistentVolumeClaim
	// Schedules are the CronJobs of the pipeline and of its stages.
	Schedules []*batchv1.CronJob
	driver    *Driver
	plan      *pipeline.Plan
}

// Change is one object that apply or delete touched.
type Change struct {
	// Object is such as cronjob.batch/nightly.
	Object string `json:"object"`
	// Done is created, configured, unchanged or deleted.
	Done string `json:"done"`
}

// NewApplication builds what applying a bundle writes. driver runs the pipeline's own schedule.
func NewApplication(ctx context.Context, c *client.Client, b *Bundle, driver *Driver, by string) (*Application, error) {
	if err := b.Pack(ctx, c.Namespace); err != nil {
		return nil, err
	}
	plan, err := b.Resolve(nil, nil, pipeline.Selection{})
	if err != nil {
		return nil, err
	}
	a := &Application{Source: b.SourceMap, Claim: pipeline.WorkspaceClaim(plan, c.Namespace), driver: driver, plan: plan}
	if a.Pipeline, err = b.applied(c.Namespace, by); err != nil {
		return nil, err
	}
	if a.Schedules, err = pipeline.CronJobs(plan, c.Namespace); err != nil {
		return nil, err
	}
	if b.Pipeline.Spec.Schedule != "" {
		a.Schedules = append(a.Schedules, driver.schedule(b.Pipeline, c.Namespace))
	}
	return a, nil
}

// schedule is the CronJob that runs a whole pipeline. The pod's owner gives the run its ID, so that a pod that
// is started again takes up its run instead of starting another.
func (d *Driver) schedule(p *pipeline.Pipeline, ns string) *batchv1.CronJob {
	labels := map[string]string{
		kube.LabelManagedBy: kube.ManagedBy, kube.LabelDriver: "true", kube.LabelPipeline: p.Metadata.Name,
	}
	name := p.Metadata.Name
	cj := &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Labels: labels},
		Spec: batchv1.CronJobSpec{
			Schedule: p.Spec.Schedule, ConcurrencyPolicy: batchv1.ForbidConcurrent,
			SuccessfulJobsHistoryLimit: ptr.To[int32](3), FailedJobsHistoryLimit: ptr.To[int32](3),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: batchv1.JobSpec{
					BackoffLimit: ptr.To[int32](driverRetries),
					Template:     d.pod(labels, []string{"run", "-f", name, "--id", "$(ML_DRIVER_UID)", "--reason", "schedule"}),
				},
			},
		},
	}
	if p.Spec.TimeZone != "" {
		cj.Spec.TimeZone = &p.Spec.TimeZone
	}
	return cj
}

// Apply writes an application by server-side apply and removes the schedules that the file no longer has.
func (a *Application) Apply(ctx context.Context, c *client.Client, dryRun []string, said func(Change)) error {
	// A CronJob makes its Jobs suspended for a queue; a whole run looks for itself when it starts.
	scheduled := slices.DeleteFunc(slices.Clone(a.plan.Stages), func(s pipeline.PlannedStage) bool { return s.Schedule == "" })
	if err := checkInstalled(ctx, c, scheduled); err != nil {
		return err
	}
	if a.Source != nil {
		created, err := createSource(ctx, c, a.Source, dryRun)
		if err != nil {
			return err
		}
		made := "unchanged"
		if created {
			made = "created"
		}
		said(Change{"configmap/" + a.Source.Name, made})
	}
	if a.Claim != nil {
		created, err := createClaim(ctx, c, a.Claim, dryRun)
		if err != nil {
			return err
		}
		if created {
			said(Change{"persistentvolumeclaim/" + a.Claim.Name, "created"})
		}
	}
	if a.usesDriver() {
		if err := a.driver.ensureIdentity(ctx, c, a.record(), dryRun); err != nil {
			return err
		}
	}
	if err := applyObject(ctx, c, c.Kube.CoreV1().ConfigMaps(c.Namespace), "configmap", a.Pipeline, dryRun, said); err != nil {
		return err
	}
	for _, cj := range a.Schedules {
		if err := applyObject(ctx, c, c.Kube.BatchV1().CronJobs(c.Namespace), "cronjob.batch", cj, dryRun, said); err != nil {
			return err
		}
	}
	return a.prune(ctx, c, dryRun, said)
}

// record is what a run of the pipeline would be about, for the rights that its driver needs.
func (a *Application) record() *Record {
	return &Record{Namespace: a.Pipeline.Namespace, Plan: *a.plan}
}

// done names what an apply did, from the object before and after it.
func done(before, after metav1.Object, err error) string {
	switch {
	case apierrors.IsNotFound(err):
		return "created"
	case before.GetResourceVersion() == after.GetResourceVersion():
		return "unchanged"
	}
	return "configured"
}

func applyOptions(dryRun []string) metav1.PatchOptions {
	return metav1.PatchOptions{FieldManager: kube.FieldManager, Force: ptr.To(true), DryRun: dryRun}
}

// applier is what typed clients of client-go have in common for server-side apply.
type applier[T metav1.Object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Patch(ctx context.Context, name string, kind types.PatchType, body []byte, o metav1.PatchOptions, subresources ...string) (T, error)
}

// applyObject applies one object of a kind, such as cronjob.batch, and says what that did.
func applyObject[T metav1.Object](ctx context.Context, c *client.Client, api applier[T], kind string, object T, dryRun []string, said func(Change)) error {
	name := object.GetName()
	short, _, _ := strings.Cut(kind, ".")
	what := short + " " + name
	before, getErr := api.Get(ctx, name, metav1.GetOptions{})
	if getErr != nil && !apierrors.IsNotFound(getErr) {
		return c.Explain("read "+what, getErr)
	}
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	after, err := api.Patch(ctx, name, types.ApplyPatchType, body, applyOptions(dryRun))
	if err != nil {
		return c.Explain("apply "+what, err)
	}
	said(Change{kind + "/" + name, done(before, after, getErr)})
	return nil
}

// prune removes the pipeline's CronJobs that it no longer names.
func (a *Application) prune(ctx context.Context, c *client.Client, dryRun []string, said func(Change)) error {
	keep := map[string]bool{}
	for _, cj := range a.Schedules {
		keep[cj.Name] = true
	}
	return deleteCronJobs(ctx, c, a.Pipeline.Labels[kube.LabelPipeline], keep, dryRun, said)
}

func deleteCronJobs(ctx context.Context, c *client.Client, pipe string, keep map[string]bool, dryRun []string, said func(Change)) error {
	api := c.Kube.BatchV1().CronJobs(c.Namespace)
	list, err := api.List(ctx, kube.ListOptions(map[string]string{kube.LabelPipeline: pipe}))
	if err != nil {
		return c.Explain("list the schedules of pipeline "+pipe, err)
	}
	for _, cj := range list.Items {
		if keep[cj.Name] {
			continue
		}
		err := api.Delete(ctx, cj.Name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground), DryRun: dryRun})
		if err != nil && !apierrors.IsNotFound(err) {
			return c.Explain("delete cronjob "+cj.Name, err)
		}
		said(Change{"cronjob.batch/" + cj.Name, "deleted"})
	}
	return nil
}

// Unapply removes an applied pipeline and its schedules; its runs stay.
func Unapply(ctx context.Context, c *client.Client, pipe string, dryRun []string, said func(Change)) error {
	api := c.Kube.CoreV1().ConfigMaps(c.Namespace)
	name := kube.PrefixPipeline + pipe
	cm, err := api.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &client.Error{
			What: fmt.Sprintf("no run and no applied pipeline is named %q in namespace %s", pipe, c.Namespace),
			Hint: "list the runs with: kubectl ml runs", Err: err,
		}
	}
	if err != nil {
		return c.Explain("read configmap "+name, err)
	}
	if err := deleteCronJobs(ctx, c, pipe, nil, dryRun, said); err != nil {
		return err
	}
	opts := metav1.DeleteOptions{DryRun: dryRun}
	if err := api.Delete(ctx, name, opts); err != nil && !apierrors.IsNotFound(err) {
		return c.Explain("delete configmap "+name, err)
	}
	said(Change{"configmap/" + name, "deleted"})
	if source := cm.Labels[kube.LabelSource]; source != "" {
		gone, err := dropSource(ctx, c, source, name, opts)
		for _, g := range gone {
			said(Change{g, "deleted"})
		}
		return err
	}
	return nil
}

// Files are the application as texts by file name, for a diff.
func (a *Application) Files() (map[string]string, error) {
	files := map[string]string{"pipeline.yaml": a.Pipeline.Data[keyText]}
	if text := a.Pipeline.Data[keyFiles]; text != "" {
		manifests := map[string]string{}
		if err := json.Unmarshal([]byte(text), &manifests); err != nil {
			return nil, fmt.Errorf("read the manifests of %s: %w", a.Pipeline.Name, err)
		}
		maps.Copy(files, manifests)
	}
	if err := sourceFiles(files, a.Pipeline, a.Source); err != nil {
		return nil, err
	}
	for _, cj := range a.Schedules {
		if err := scheduleFile(files, cj); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func scheduleFile(files map[string]string, cj *batchv1.CronJob) error {
	text, err := yaml.Marshal(map[string]any{"spec": cj.Spec})
	if err != nil {
		return fmt.Errorf("write cronjob %s: %w", cj.Name, err)
	}
	files["cronjob-"+cj.Name+".yaml"] = string(text)
	return nil
}

func sourceFiles(files map[string]string, p, source *corev1.ConfigMap) error {
	text := p.Data[keySource]
	if text == "" || source == nil {
		return nil
	}
	var ref pipeline.SourceRef
	if err := json.Unmarshal([]byte(text), &ref); err != nil {
		return fmt.Errorf("read the source of %s: %w", p.Name, err)
	}
	for key, path := range ref.Keys {
		if content, ok := source.Data[key]; ok {
			files["src/"+path] = content
		} else {
			files["src/"+path] = string(source.BinaryData[key])
		}
	}
	return nil
}

// LiveFiles are the same texts of the pipeline as it is applied now; none when it is not. The schedules are compared as the
// server would store them, so that its defaults do not show as differences.
func (a *Application) LiveFiles(ctx context.Context, c *client.Client) (live, merged map[string]string, err error) {
	if merged, err = a.Files(); err != nil {
		return nil, nil, err
	}
	cms := c.Kube.CoreV1().ConfigMaps(c.Namespace)
	old := &Application{}
	old.Pipeline, err = cms.Get(ctx, a.Pipeline.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return map[string]string{}, merged, nil
	}
	if err != nil {
		return nil, nil, c.Explain("read configmap "+a.Pipeline.Name, err)
	}
	if name := old.Pipeline.Labels[kube.LabelSource]; name != "" {
		if old.Source, err = cms.Get(ctx, name, metav1.GetOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, c.Explain("read source "+name, err)
		}
	}
	if live, err = old.Files(); err != nil {
		return nil, nil, err
	}
	list, err := c.Kube.BatchV1().CronJobs(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelPipeline: a.Pipeline.Labels[kube.LabelPipeline]}))
	if err != nil {
		return nil, nil, c.Explain("list the schedules of the pipeline", err)
	}
	old.Schedules = nil
	for i := range list.Items {
		old.Schedules = append(old.Schedules, &list.Items[i])
	}
	return live, merged, a.mergeSchedules(ctx, c, old.Schedules, live, merged)
}

// mergeSchedules puts the CronJobs into both sides: as they are, and as a server-side dry run would leave them.
func (a *Application) mergeSchedules(ctx context.Context, c *client.Client, old []*batchv1.CronJob, live, merged map[string]string) error {
	for _, cj := range old {
		if err := scheduleFile(live, cj); err != nil {
			return err
		}
	}
	for _, cj := range a.Schedules {
		body, err := json.Marshal(cj)
		if err != nil {
			return fmt.Errorf("write cronjob %s: %w", cj.Name, err)
		}
		after, err := c.Kube.BatchV1().CronJobs(c.Namespace).Patch(ctx, cj.Name, types.ApplyPatchType, body, applyOptions([]string{metav1.DryRunAll}))
		if err != nil {
			return c.Explain("compare cronjob "+cj.Name, err)
		}
		if err := scheduleFile(merged, after); err != nil {
			return err
		}
	}
	return nil
}

// Name is the pipeline's name.
func (a *Application) Name() string { return a.Pipeline.Labels[kube.LabelPipeline] }

// Objects are what applying writes, in order.
func (a *Application) Objects() []runtime.Object {
	var out []runtime.Object
	if a.Source != nil {
		out = append(out, a.Source)
	}
	if a.Claim != nil {
		out = append(out, a.Claim)
	}
	if a.usesDriver() {
		out = append(out, a.driver.identity(a.record())...)
	}
	out = append(out, a.Pipeline)
	for _, cj := range a.Schedules {
		out = append(out, cj)
	}
	return out
}

func (a *Application) usesDriver() bool {
	return slices.ContainsFunc(a.Schedules, func(j *batchv1.CronJob) bool { return j.Labels[kube.LabelDriver] != "" })
}
