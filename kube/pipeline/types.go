package pipeline

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// APIVersion and Kind head every pipeline file.
const (
	APIVersion = "kubectl-ml.dev/v1alpha1"
	Kind       = "Pipeline"
)

// Pipeline is one pipeline file.
type Pipeline struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names the pipeline.
type Metadata struct {
	// Name is a DNS label of at most 40 characters; it prefixes the names of all objects of the pipeline.
	Name string `json:"name"`
	// Labels and Annotations are copied to every object that the pipeline makes.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Spec says what the pipeline does.
type Spec struct {
	// Description is one line for people.
	Description string `json:"description,omitempty"`
	// Params are the pipeline's parameters with their defaults; a default gives the type that --set must have:
	// int, float, bool, string, or a list or map (given to --set as JSON).
	Params Params `json:"params,omitempty"`
	// Source is a folder, relative to the pipeline file, packaged as a ConfigMap and mounted at /ml/src.
	Source string `json:"source,omitempty"`
	// Workspace is a volume that all stages share.
	Workspace *Workspace `json:"workspace,omitempty"`
	// Schedule runs the whole pipeline by a CronJob: a cron expression or @daily, @weekly, ...
	Schedule string `json:"schedule,omitempty"`
	// TimeZone is the IANA zone of every schedule of the file; empty means the cluster's own (usually UTC).
	TimeZone string `json:"timeZone,omitempty"`
	// Defaults hold for every stage that does not say otherwise.
	Defaults Template `json:"defaults,omitzero"`
	// Stages are the work, in any order; needs gives the order of running.
	Stages []Stage `json:"stages"`
}

// Workspace is a PersistentVolumeClaim that every stage mounts.
type Workspace struct {
	// Claim names the claim. It is made when absent if Size is given.
	Claim string `json:"claim"`
	// MountPath is where stages see it; default /data.
	MountPath string `json:"mountPath,omitempty"`
	// Size such as 10Gi makes the claim when it does not exist yet.
	Size string `json:"size,omitempty"`
	// StorageClass and AccessMode (default ReadWriteOnce) are used when the claim is made.
	StorageClass *string                           `json:"storageClass,omitempty"`
	AccessMode   corev1.PersistentVolumeAccessMode `json:"accessMode,omitempty"`
}

// Template is what defaults and stages have in common.
type Template struct {
	Pod `json:",inline"`

	// Timeout bounds the stage's Job (activeDeadlineSeconds), such as 90s, 30m or 12h.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Queue is the LocalQueue of Kueue that admits the stage's Jobs; they are created suspended and start when it has quota.
	Queue string `json:"queue,omitempty"`
	// Retries is how often a failed pod is tried again (backoffLimit); default 0. Of a distributed stage each rank is
	// tried again that often, or with engine jobset all of them together.
	// Losses by the infrastructure (eviction, preemption, a lost node) never count.
	Retries *int32 `json:"retries,omitempty"`
	// TTL removes the finished Job after that time, once its outcome is recorded; default: it stays.
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// Pod is what the pod of a stage, a server or a gate runs in.
type Pod struct {
	// Image is REGISTRY/NAME:TAG; name a version or a digest, so that a run can be repeated.
	Image string `json:"image,omitempty"`
	// ImagePullPolicy is Always, IfNotPresent or Never; default: as Kubernetes has it, by the tag.
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSecrets name the Secrets with credentials of the registry.
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// ServiceAccountName gives the pod an identity; without one it gets no token of the API server.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// WorkingDir is where the command starts; default /ml/src when the pipeline has a source, else as the image says.
	WorkingDir string `json:"workingDir,omitempty"`
	// Env are variables of the container; a stage adds to those of the defaults and replaces them by name.
	Env []corev1.EnvVar `json:"env,omitempty"`
	// EnvFrom takes all keys of Secrets and ConfigMaps as variables.
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
	// Resources are what the container asks for and may use; a stage replaces those of the defaults one by one.
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`
	// Volumes are mounted by volumeMounts; a stage replaces those of the defaults by name.
	Volumes []corev1.Volume `json:"volumes,omitempty"`
	// VolumeMounts say where the container sees volumes; nothing can be mounted below /ml.
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
	// NodeSelector are the labels that a node must have.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations allow nodes with these taints; the taint of a GPU is tolerated by itself when gpus are asked for.
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// GPUs is a count, or a mapping of count, resource and product.
	GPUs *GPUs `json:"gpus,omitempty"`
}

// GPUs is an accelerator request of a pod.
type GPUs struct {
	// Count is how many a pod gets; 0 is none, whatever the defaults say.
	Count int64 `json:"count"`
	// Resource is the extended resource; default nvidia.com/gpu.
	Resource corev1.ResourceName `json:"resource,omitempty"`
	// Product selects nodes by the label nvidia.com/gpu.product (NVIDIA resources only).
	Product string `json:"product,omitempty"`
}

// Stage is one step of a pipeline: a command in a container, or an existing manifest.
type Stage struct {
	// Name is a DNS label of at most 40 characters, unique in the file.
	Name string `json:"name"`
	// Needs names the stages that must have succeeded before.
	Needs []string `json:"needs,omitempty"`

	Template `json:",inline"`

	// Command and Args are what the container runs; without command the image's own entry point.
	Command []string `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
	// Params override or add to the pipeline's for this stage.
	Params Params `json:"params,omitempty"`
	// Sweep runs the stage once for each set of parameters: a mapping of lists is a grid, a list of mappings is taken as it is.
	Sweep *Sweep `json:"sweep,omitempty"`
	// Replicas makes the stage a distributed one: so many pods work together, each with a rank from 0 and a name by which
	// the others find it.
	Replicas int `json:"replicas,omitempty"`
	// Framework is what the ranks work together by, and decides what they are told: torchrun, mpi, ray, tensorflow, jax or
	// none, the default.
	Framework Framework `json:"framework,omitempty"`
	// Engine is what the replicas are made of: job, an Indexed Job with a headless Service, the default; or jobset, a
	// JobSet, which has to be installed and tries all ranks again together.
	Engine Engine `json:"engine,omitempty"`
	// Topology says where the replicas go relative to each other; default: where there is room.
	Topology *Topology `json:"topology,omitempty"`
	// Parallel bounds how many children of a sweep run at once; default 4.
	Parallel int `json:"parallel,omitempty"`
	// Best tells which child of a sweep later stages see: {min: rmse} or {max: accuracy}.
	Best *Best `json:"best,omitempty"`
	// Schedule makes the stage a plain CronJob when the pipeline is applied.
	Schedule string `json:"schedule,omitempty"`
	// Model is the name under which the stage's model is known: when the stage has succeeded and its gates hold, the model
	// that its result names is registered as the next version of it. It labels the stage's objects.
	Model string `json:"model,omitempty"`
	// Gates are conditions on the stage's results that must hold before the run goes on.
	Gates []Gate `json:"gates,omitempty"`
	// Manifest is a file, relative to the pipeline file, that holds one Job, CronJob or Deployment.
	Manifest string `json:"manifest,omitempty"`
	// Deploy rolls out a Deployment, of a manifest or one that serves a version of a model, and waits for it.
	Deploy *Deploy `json:"deploy,omitempty"`
	// Patch is merged (strategic merge) over the generated Job, or over the manifest's object, in Kubernetes' own types.
	Patch json.RawMessage `json:"patch,omitempty"`
}

// Framework is what the ranks of a distributed stage work together by.
type Framework string

// The frameworks.
const (
	FrameworkNone       Framework = "none"
	FrameworkTorchrun   Framework = "torchrun"
	FrameworkMPI        Framework = "mpi"
	FrameworkRay        Framework = "ray"
	FrameworkTensorFlow Framework = "tensorflow"
	FrameworkJAX        Framework = "jax"
)

// Engine is what the replicas of a distributed stage are made of.
type Engine string

// The engines.
const (
	EngineJob    Engine = "job"
	EngineJobSet Engine = "jobset"
)

// Topology says where the replicas of a stage go relative to each other.
type Topology struct {
	// Spread puts each replica into another domain, Together all into one: host, zone, or a label of nodes that names
	// the domain, such as a rack.
	Spread   string `json:"spread,omitempty"`
	Together string `json:"together,omitempty"`
	// Required makes replicas wait where that cannot be had; default: they then go where there is room.
	Required bool `json:"required,omitempty"`
}

// Sweep is the search space of a stage.
type Sweep struct {
	// Grid has the values of each parameter; every combination is one child, the first name varying slowest.
	Grid map[string][]any
	// Names are the names of the grid in the order of the file.
	Names []string
	// List has one set of parameters a child.
	List []map[string]any
}

// Best names the metric by which a sweep's winner is chosen; exactly one of the fields is set.
type Best struct {
	// Min is the metric of which the least value wins, Max that of which the greatest wins.
	Min string `json:"min,omitempty"`
	Max string `json:"max,omitempty"`
}

// Gate is one condition on a stage's outcome.
type Gate struct {
	// Metric is a key of the stage's result metrics; Min and Max bound it, both inclusive.
	Metric string   `json:"metric,omitempty"`
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`
	// Approval stops the run until a person approves; the text says what to look at.
	Approval string `json:"approval,omitempty"`
}
