// Package kube names what kubectl ml writes into a cluster: labels, annotations, object name prefixes.
// The packages below it are one domain each.
package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// FieldManager owns the fields that kubectl ml applies.
const FieldManager = "kubectl-ml"

// Labels on everything that kubectl ml makes, where they apply.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "kubectl-ml"

	// LabelKind tells the records apart: pipeline, source, run, model, version, history.
	LabelKind     = "kubectl-ml.dev/kind"
	LabelPipeline = "kubectl-ml.dev/pipeline"
	LabelRun      = "kubectl-ml.dev/run"
	LabelStage    = "kubectl-ml.dev/stage"
	LabelModel    = "kubectl-ml.dev/model"
	// LabelVersion is the number of a model's version, in decimal digits.
	LabelVersion = "kubectl-ml.dev/version"
	// LabelKey is a hash of what a version was registered for, so that it is registered once.
	LabelKey = "kubectl-ml.dev/key"
	// LabelChild is the index of a sweep's child, LabelAttempt the number of the attempt, from 1.
	LabelChild   = "kubectl-ml.dev/child"
	LabelAttempt = "kubectl-ml.dev/attempt"
	// LabelState is the final state of a finished run; a run that goes on has none.
	LabelState = "kubectl-ml.dev/state"
	// LabelSource names the source ConfigMap that a run or an applied pipeline uses.
	LabelSource = "kubectl-ml.dev/source"
	// LabelDriver marks the Jobs and CronJobs that advance runs from inside the cluster; its value is "true".
	LabelDriver = "kubectl-ml.dev/driver"

	// LabelSide tells the Deployments and pods of a rollout apart: stable, canary, blue or green.
	LabelSide = "kubectl-ml.dev/side"

	// LabelQueue is Kueue's own label of the LocalQueue through which a Job is admitted.
	LabelQueue = "kueue.x-k8s.io/queue-name"
)

// Values of LabelKind.
const (
	KindPipeline = "pipeline"
	KindSource   = "source"
	KindRun      = "run"
	KindModel    = "model"
	KindVersion  = "version"
	KindHistory  = "history"
)

// Annotations.
const (
	// AnnotationRevision is the first digits of the hash of an applied pipeline file.
	AnnotationRevision = "kubectl-ml.dev/revision"
	// AnnotationParams is the JSON of a pod's parameters, shown to it as /ml/params.json.
	AnnotationParams = "kubectl-ml.dev/params"
	// AnnotationAppliedBy is the user name that the API server knows the writer by, or the local user.
	AnnotationAppliedBy = "kubectl-ml.dev/applied-by"
	// AnnotationGitCommit is the commit of the source, with -dirty when the work tree differed.
	AnnotationGitCommit = "kubectl-ml.dev/git-commit"
	// AnnotationSummary is the JSON of what lists show of a run, so that they need not read its data.
	AnnotationSummary = "kubectl-ml.dev/summary"
	// AnnotationManifestName is the name that a manifest's object had in its file.
	AnnotationManifestName = "kubectl-ml.dev/manifest-name"
	// AnnotationDigest is the sha256:<hex> of the artifact that a pod serves.
	AnnotationDigest = "kubectl-ml.dev/digest"
	// AnnotationRollout is the JSON of a rollout, on the Deployment or the Service that it changes; on a pod template it is
	// the ID of the rollout that made the template.
	AnnotationRollout = "kubectl-ml.dev/rollout"
	// AnnotationHostfile lists the ranks of a pod's Job for mpirun, shown to it as /ml/hostfile.
	AnnotationHostfile = "kubectl-ml.dev/hostfile"
)

// Prefixes of the records' names.
const (
	PrefixPipeline = "mlpipeline-"
	PrefixSource   = "mlsource-"
	PrefixRun      = "mlrun-"
	PrefixModel    = "mlmodel-"
	PrefixVersion  = "mlversion-"
	PrefixHistory  = "mlhistory-"
)

// Selector selects the objects that kubectl ml made with the given label pairs.
func Selector(pairs map[string]string) string {
	set := labels.Set{LabelManagedBy: ManagedBy}
	for k, v := range pairs {
		set[k] = v
	}
	return labels.SelectorFromSet(set).String()
}

// ListOptions is Selector as list options.
func ListOptions(pairs map[string]string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: Selector(pairs)}
}
