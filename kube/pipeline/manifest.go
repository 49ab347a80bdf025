package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// lastApplied is kubectl's own memory of another object; copied to ours it would confuse kubectl apply.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// manifestJob is the Job of a Job manifest, or of the job template of a CronJob manifest, its spec unchanged.
func (b builder) manifestJob(name string) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	var own string
	switch b.stage.Kind() {
	case KindCronJob:
		cron, err := b.manifestCronJob()
		if err != nil {
			return nil, err
		}
		own = cron.Name
		job.Labels, job.Annotations = cron.Spec.JobTemplate.Labels, cron.Spec.JobTemplate.Annotations
		job.Spec = cron.Spec.JobTemplate.Spec
	default:
		if err := b.decodeObject(job); err != nil {
			return nil, err
		}
		if err := b.checkNamespace(job.Namespace); err != nil {
			return nil, err
		}
		own = job.Name
		if own == "" {
			own = job.GenerateName
		}
		// A patch of a CronJob was merged over the CronJob.
		patched, err := patchObject(b, job)
		if err != nil {
			return nil, err
		}
		job = patched
	}
	job.TypeMeta = metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: string(KindJob)}
	job.ObjectMeta = metav1.ObjectMeta{
		Name: name, Namespace: b.namespace,
		Labels:      merged(b.plan.Labels, job.Labels, b.labels),
		Annotations: merged(b.annotations(), job.Annotations, map[string]string{kube.AnnotationManifestName: own}),
	}
	delete(job.Annotations, lastApplied)
	job.Spec.Template.Labels = merged(job.Spec.Template.Labels, b.labels)
	return job, nil
}

// manifestCronJob is the CronJob of the file, with the stage's patch merged.
func (b builder) manifestCronJob() (*batchv1.CronJob, error) {
	cron := &batchv1.CronJob{}
	if err := b.decodeObject(cron); err != nil {
		return nil, err
	}
	if err := b.checkNamespace(cron.Namespace); err != nil {
		return nil, err
	}
	return patchObject(b, cron)
}

func (b builder) decodeObject(into any) error {
	if err := json.Unmarshal(b.stage.Object, into); err != nil {
		return fmt.Errorf("stage %s: manifest %s: %w", b.stage.Name, b.stage.ManifestFile(), err)
	}
	return nil
}

func (b builder) checkNamespace(own string) error {
	if own == "" || b.namespace == "" || own == b.namespace {
		return nil
	}
	return fmt.Errorf("stage %s: manifest %s is for namespace %s, the run is in %s: remove metadata.namespace from the manifest, or run with -n %s",
		b.stage.Name, b.stage.ManifestFile(), own, b.namespace, own)
}

// ManifestFile is the file that holds the stage's object; empty for container stages.
func (s Stage) ManifestFile() string {
	if s.Deploy != nil {
		return s.Deploy.Manifest
	}
	return s.Manifest
}

// Deployment builds the Deployment of a stage, under its own name. Labels of ours stand on the object alone:
// the selector of a Deployment cannot change, and new pod labels would roll the pods for nothing.
func Deployment(plan *Plan, run RunRef, stage string) (*appsv1.Deployment, error) {
	s, err := plan.mustHave(stage)
	if err != nil {
		return nil, err
	}
	if s.Kind() != KindDeployment || len(s.Object) == 0 {
		return nil, fmt.Errorf("stage %s is a %s, not a Deployment", stage, s.Kind())
	}
	b := builder{plan: plan, stage: s, namespace: run.Namespace}
	b.labels = b.ownLabels(run.Name)
	d := &appsv1.Deployment{}
	if err := b.decodeObject(d); err != nil {
		return nil, err
	}
	if err := b.checkNamespace(d.Namespace); err != nil {
		return nil, err
	}
	if d, err = patchObject(b, d); err != nil {
		return nil, err
	}
	d.TypeMeta = metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: string(KindDeployment)}
	d.ObjectMeta = metav1.ObjectMeta{
		Name: d.Name, Namespace: orElse(b.namespace, d.Namespace),
		Labels:      merged(plan.Labels, d.Labels, b.labels),
		Annotations: merged(b.annotations(), d.Annotations),
	}
	delete(d.Annotations, lastApplied)
	return d, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// CronJobs builds the plain CronJobs of a plan: one named PIPELINE-STAGE for each container stage with a schedule,
// and the CronJob manifests under their own names.
func CronJobs(plan *Plan, namespace string) ([]*batchv1.CronJob, error) {
	var out []*batchv1.CronJob
	for i := range plan.Stages {
		s := &plan.Stages[i]
		b := builder{plan: plan, stage: s, namespace: namespace}
		b.labels = b.ownLabels("")
		switch {
		case s.Kind() == KindCronJob:
			cron, err := b.manifestCronJob()
			if err != nil {
				return nil, err
			}
			cron.TypeMeta = metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: string(KindCronJob)}
			cron.ObjectMeta = metav1.ObjectMeta{
				Name: cron.Name, Namespace: orElse(namespace, cron.Namespace),
				Labels:      merged(plan.Labels, cron.Labels, b.labels),
				Annotations: merged(b.annotations(), cron.Annotations),
			}
			delete(cron.Annotations, lastApplied)
			// The Jobs and pods that it makes are found by our labels; nothing else of the template changes.
			cron.Spec.JobTemplate.Labels = merged(cron.Spec.JobTemplate.Labels, b.labels)
			cron.Spec.JobTemplate.Spec.Template.Labels = merged(cron.Spec.JobTemplate.Spec.Template.Labels, b.labels)
			out = append(out, cron)
		case s.Schedule != "" && len(s.Object) == 0:
			cron, err := b.scheduled()
			if err != nil {
				return nil, err
			}
			out = append(out, cron)
		}
	}
	return out, nil
}

// scheduled is the CronJob of a container stage.
func (b builder) scheduled() (*batchv1.CronJob, error) {
	s := b.stage
	if len(s.Children) != 1 {
		return nil, fmt.Errorf("stage %s has a schedule and a sweep: schedule the pipeline instead, a plain CronJob cannot choose among children", s.Name)
	}
	if s.Distributed() {
		return nil, fmt.Errorf("stage %s has a schedule and replicas: schedule the pipeline instead, a plain CronJob makes no Service for them", s.Name)
	}
	b.scope = scope{stage: s.Name, pipeline: b.plan.Pipeline, params: s.Children[0].Params, scheduled: true}
	job, err := b.job("")
	if err != nil {
		return nil, err
	}
	if s.TTL != nil {
		// No run records the outcome of a scheduled Job, so its TTL can stand from the start.
		seconds := int32(s.TTL.Seconds())
		job.Spec.TTLSecondsAfterFinished = &seconds
	}
	return &batchv1.CronJob{
		TypeMeta: metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: string(KindCronJob)},
		ObjectMeta: metav1.ObjectMeta{
			Name: fitName(b.plan.Pipeline+"-"+s.Name, "", maxCronJobName), Namespace: b.namespace,
			Labels: merged(b.plan.Labels, b.labels), Annotations: b.annotations(),
		},
		Spec: batchv1.CronJobSpec{
			Schedule: s.Schedule,
			TimeZone: b.plan.timeZone(),
			// A slow import must not meet its successor on the same data.
			ConcurrencyPolicy:          batchv1.ForbidConcurrent,
			SuccessfulJobsHistoryLimit: new(int32(3)),
			FailedJobsHistoryLimit:     new(int32(3)),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: job.Labels, Annotations: job.Annotations},
				Spec:       job.Spec,
			},
		},
	}, nil
}

func (p *Plan) timeZone() *string {
	if p.TimeZone == "" {
		return nil
	}
	return &p.TimeZone
}

// manifestKinds are the kinds that a manifest may have.
func manifestKinds() []string {
	return []string{string(KindJob), string(KindCronJob), string(KindDeployment)}
}

func isManifestKind(kind string) bool { return slices.Contains(manifestKinds(), kind) }
