package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// StageKind is the kind of Kubernetes object that a stage becomes.
type StageKind string

// The kinds of stages.
const (
	// KindJob is a container stage or a Job manifest. A container stage with a schedule is one too when a run executes it.
	KindJob StageKind = "Job"
	// KindCronJob is a CronJob manifest; a run executes its job template once, as a Job.
	KindCronJob StageKind = "CronJob"
	// KindDeployment is a Deployment manifest, rolled out by deploy or named by manifest.
	KindDeployment StageKind = "Deployment"
)

// Kind is the kind of object that the stage becomes.
func (s PlannedStage) Kind() StageKind {
	if s.Deploy != nil {
		return KindDeployment
	}
	if len(s.Object) == 0 {
		return KindJob
	}
	var head metav1.TypeMeta
	if err := json.Unmarshal(s.Object, &head); err != nil {
		return KindJob
	}
	return StageKind(head.Kind)
}

// Stage is the planned stage of that name, or nil.
func (p *Plan) Stage(name string) *PlannedStage {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i]
		}
	}
	return nil
}

func (p *Plan) mustHave(name string) (*PlannedStage, error) {
	if s := p.Stage(name); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("pipeline %s has no stage %q%s", p.Pipeline, name, didYouMean(name, stageNames(p.Stages)))
}

func stageNames(stages []PlannedStage) []string {
	names := make([]string, len(stages))
	for i := range stages {
		names[i] = stages[i].Name
	}
	return names
}

// Job builds the Job of one child of a stage, in its attempt (from 1), without asking a cluster. Of a stage with engine
// jobset it is what JobSet takes.
// results are those of the stages before it, by name; nil builds a draft, in which references to results stay as they stand.
func Job(plan *Plan, run RunRef, stage string, child, attempt int, results map[string]Result) (*batchv1.Job, error) {
	s, err := plan.mustHave(stage)
	if err != nil {
		return nil, err
	}
	if child < 0 || child >= len(s.Children) {
		return nil, fmt.Errorf("stage %s has no child %d, it has %d", stage, child, len(s.Children))
	}
	b := builder{plan: plan, stage: s, namespace: run.Namespace}
	b.scope = scope{stage: stage, run: run.Name, pipeline: plan.Pipeline, params: s.Children[child].Params, results: results}
	b.labels = b.ownLabels(run.Name)
	b.labels[kube.LabelAttempt] = strconv.Itoa(max(attempt, 1))
	if len(s.Children) > 1 {
		b.labels[kube.LabelChild] = strconv.Itoa(child)
	}
	name := s.JobName(run.Name, child, attempt)
	switch {
	case s.Kind() == KindDeployment:
		return nil, fmt.Errorf("stage %s rolls out a Deployment, it has no Job", stage)
	case len(s.Object) > 0:
		return b.manifestJob(name)
	}
	if s.Distributed() {
		b.gang = gangOf(s, name)
	}
	return b.job(name)
}

// builder holds what all objects of one stage have in common.
type builder struct {
	plan      *Plan
	stage     *PlannedStage
	namespace string
	scope     scope
	// labels are ours alone; the user's stand in the plan.
	labels map[string]string
	// gang is nil for a stage of one pod.
	gang *gang
}

func (b builder) ownLabels(run string) map[string]string {
	l := map[string]string{
		kube.LabelManagedBy: kube.ManagedBy,
		kube.LabelPipeline:  b.plan.Pipeline,
		kube.LabelStage:     b.stage.Name,
	}
	if run != "" {
		l[kube.LabelRun] = run
	}
	if b.stage.Model != "" {
		l[kube.LabelModel] = b.stage.Model
	}
	return l
}

// merged is a new map; later maps win.
func merged(ms ...map[string]string) map[string]string {
	var out map[string]string
	for _, m := range ms {
		if len(m) > 0 && out == nil {
			out = map[string]string{}
		}
		maps.Copy(out, m)
	}
	return out
}

func (b builder) annotations() map[string]string {
	commit := map[string]string{}
	if src := b.plan.Source; src != nil && src.Commit != "" {
		commit[kube.AnnotationGitCommit] = src.CommitText()
	}
	return merged(b.plan.Annotations, commit)
}

// job is the Job of a container stage.
func (b builder) job(name string) (*batchv1.Job, error) {
	template, err := b.podTemplate()
	if err != nil {
		return nil, err
	}
	job := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: string(KindJob)},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: b.namespace,
			Labels: merged(b.plan.Labels, b.labels), Annotations: b.annotations(),
		},
		Spec: b.jobSpec(template),
	}
	if queue := b.stage.Queue; queue != "" {
		// Kueue starts it; without Kueue it would start before anybody has asked for quota.
		job.Labels[kube.LabelQueue] = queue
		job.Spec.Suspend = new(true)
	}
	return patchObject(b, job)
}

func (b builder) jobSpec(template corev1.PodTemplateSpec) batchv1.JobSpec {
	retries := int32(0)
	if b.stage.Retries != nil {
		retries = *b.stage.Retries
	}
	completion, replacement := batchv1.NonIndexedCompletion, batchv1.Failed
	spec := batchv1.JobSpec{
		BackoffLimit:   &retries,
		CompletionMode: &completion,
		// A pod is replaced once it has ended: two trainers must never write the same checkpoint.
		PodReplacementPolicy: &replacement,
		// Eviction, preemption and lost nodes are not the stage's fault and cost no retry.
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			}},
		}}},
		Template: template,
		// No TTL: it is set once the outcome stands in the run's record.
	}
	if b.stage.Timeout != nil {
		seconds := int64(math.Ceil(b.stage.Timeout.Seconds()))
		spec.ActiveDeadlineSeconds = &seconds
	}
	if b.gang != nil {
		b.gang.policies(&spec, b.stage.UsesJobSet())
	}
	return spec
}

// patchObject merges the stage's patch and puts back what identifies the object.
func patchObject[T any](b builder, object *T) (*T, error) {
	if len(b.stage.Patch) == 0 {
		return object, nil
	}
	var zero T
	original, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", b.stage.Name, err)
	}
	raw, err := strategicpatch.StrategicMergePatch(original, b.stage.Patch, zero)
	if err != nil {
		return nil, fmt.Errorf("stage %s: patch: %w", b.stage.Name, err)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("stage %s: patch: %w", b.stage.Name, err)
	}
	switch o := any(out).(type) {
	case *batchv1.Job:
		if was, ok := any(object).(*batchv1.Job); ok {
			o.Name, o.Namespace = was.Name, was.Namespace
			o.Labels = merged(o.Labels, b.labels)
			o.Spec.Template.Labels = merged(o.Spec.Template.Labels, b.labels)
		}
	case *batchv1.CronJob:
		if was, ok := any(object).(*batchv1.CronJob); ok {
			o.Name, o.Namespace = was.Name, was.Namespace
		}
	case *appsv1.Deployment:
		if was, ok := any(object).(*appsv1.Deployment); ok {
			o.Name, o.Namespace = was.Name, was.Namespace
		}
	}
	return out, nil
}

// DefaultMountPath is where stages see the workspace when the file does not say.
const DefaultMountPath = "/data"

// Path is where stages see the workspace.
func (w Workspace) Path() string {
	if w.MountPath == "" {
		return DefaultMountPath
	}
	return w.MountPath
}

// WorkspaceClaim is the claim to make when it does not exist yet; nil when the plan has no workspace or no size for it.
func WorkspaceClaim(plan *Plan, namespace string) *corev1.PersistentVolumeClaim {
	w := plan.Workspace
	if w == nil || w.Size == "" {
		return nil
	}
	size, err := resource.ParseQuantity(w.Size)
	if err != nil {
		return nil
	}
	mode := w.AccessMode
	if mode == "" {
		mode = corev1.ReadWriteOnce
	}
	return &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Name: w.Claim, Namespace: namespace,
			Labels: merged(plan.Labels, map[string]string{
				kube.LabelManagedBy: kube.ManagedBy, kube.LabelPipeline: plan.Pipeline,
			}),
			Annotations: merged(plan.Annotations),
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{mode},
			StorageClassName: w.StorageClass,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	}
}
