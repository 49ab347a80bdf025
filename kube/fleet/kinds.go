package fleet

import (
	"slices"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// kind is what there is to know of a kind of work that is read as data: the facts stand in its CRD.
type kind struct {
	group, kind, resource string
	// versions that are known, the newest first.
	versions []string
	// always lists it even when it asks for no accelerator: it exists for training.
	always bool
	// sets are its pod templates; below says that the objects it makes tell better how many pods there will be.
	sets  []set
	below bool
	// suspend is a path to a truth value, queue and priority are paths to names.
	suspend, queue, priority string
	// conditions that decide or explain its state; the first whose status fits counts.
	conditions []meaning
	// phase is a path to a word and phases what the words mean; reason and message stand beside it.
	phase, reason, message string
	phases                 map[string]string
	// started and finished are paths to times, done to counts of succeeded pods.
	started, finished, done string
	// progress is a path to the status that a trainer reports.
	progress string
}

// set is a place in an object where a pod template stands.
type set struct {
	// path leads to one or, with *, many places; all others are relative to it.
	path string
	// templates lead to a pod template; the first that is there counts.
	templates []string
	// containers lead to single containers where there is no pod template, resources to what one container asks for.
	containers []string
	resources  string
	// counts are multiplied: how many pods are made. None means that only the pods tell.
	counts []count
}

// count is a count of pods.
type count struct {
	path      string
	otherwise int64
	plus      int64
}

// meaning is what a condition with status True (or is) says.
type meaning struct {
	condition, is string
	// state is one of job's; empty says only why it waits.
	state string
	// firm says that its reason is a cause and not a consequence.
	firm bool
}

// replicas is the count that most kinds have.
func replicas() []count { return []count{{path: "replicas", otherwise: 1}} }

// kubeflow are the conditions of the training operator's kinds and of MPIJob.
func kubeflow() []meaning {
	return []meaning{
		{condition: "Failed", state: job.Failed}, {condition: "Succeeded", state: job.Succeeded},
		{condition: "Suspended", state: job.Suspended}, {condition: "Restarting"}, {condition: "Running", state: job.Running},
	}
}

func kubeflowJob(name, resource, replicaSpecs string, versions ...string) kind {
	return kind{
		group: "kubeflow.org", kind: name, resource: resource, versions: versions, always: true,
		sets:    []set{{path: "spec." + replicaSpecs + ".*", templates: []string{"template"}, counts: replicas()}},
		suspend: "spec.runPolicy.suspend", queue: "spec.runPolicy.schedulingPolicy.queue", priority: "spec.runPolicy.schedulingPolicy.priorityClass",
		conditions: kubeflow(), started: "status.startTime", finished: "status.completionTime", done: "status.replicaStatuses.*.succeeded",
	}
}

func rayCluster(at string) []set {
	return []set{
		{path: at + ".headGroupSpec", templates: []string{"template"}, counts: []count{{otherwise: 1}}},
		{path: at + ".workerGroupSpecs.*", templates: []string{"template"}, counts: []count{{path: "replicas", otherwise: 0}, {path: "numOfHosts", otherwise: 1}}},
	}
}

// kinds is the table of the kinds of work beside those that every cluster has.
func kinds() []kind {
	return []kind{
		kubeflowJob("PyTorchJob", "pytorchjobs", "pytorchReplicaSpecs", "v1"),
		kubeflowJob("TFJob", "tfjobs", "tfReplicaSpecs", "v1"),
		kubeflowJob("XGBoostJob", "xgboostjobs", "xgbReplicaSpecs", "v1"),
		kubeflowJob("PaddleJob", "paddlejobs", "paddleReplicaSpecs", "v1"),
		kubeflowJob("JAXJob", "jaxjobs", "jaxReplicaSpecs", "v1"),
		kubeflowJob("MPIJob", "mpijobs", "mpiReplicaSpecs", "v2beta1", "v1"),
		{
			group: "jobset.x-k8s.io", kind: "JobSet", resource: "jobsets", versions: []string{"v1alpha2"}, always: true,
			sets: []set{{path: "spec.replicatedJobs.*", templates: []string{"template.spec.template"}, counts: []count{
				{path: "replicas", otherwise: 1}, {path: "template.spec.parallelism", otherwise: 1},
			}}},
			suspend: "spec.suspend",
			conditions: []meaning{
				{condition: "Failed", state: job.Failed}, {condition: "Completed", state: job.Succeeded}, {condition: "Suspended", state: job.Suspended},
			},
		},
		{
			group: "trainer.kubeflow.org", kind: "TrainJob", resource: "trainjobs", versions: []string{"v1alpha1"}, always: true, below: true,
			sets:    []set{{path: "spec.trainer", resources: "resourcesPerNode", counts: []count{{path: "numNodes", otherwise: 1}}}},
			suspend: "spec.suspend",
			conditions: []meaning{
				{condition: "Failed", state: job.Failed}, {condition: "Complete", state: job.Succeeded}, {condition: "Suspended", state: job.Suspended},
			},
			progress: "status.trainerStatus",
		},
		{
			group: "ray.io", kind: "RayJob", resource: "rayjobs", versions: []string{"v1", "v1alpha1"}, always: true, below: true,
			sets: rayCluster("spec.rayClusterSpec"), suspend: "spec.suspend",
			phase: "status.jobDeploymentStatus", reason: "status.reason", message: "status.message",
			phases:  map[string]string{"Complete": job.Succeeded, "Failed": job.Failed, "Suspended": job.Suspended, "Running": job.Running},
			started: "status.startTime", finished: "status.endTime",
		},
		{
			group: "ray.io", kind: "RayCluster", resource: "rayclusters", versions: []string{"v1", "v1alpha1"}, always: true,
			sets: rayCluster("spec"), suspend: "spec.suspend",
			phase: "status.state", reason: "status.reason", phases: map[string]string{"suspended": job.Suspended, "ready": job.Running},
		},
		{
			group: "ray.io", kind: "RayService", resource: "rayservices", versions: []string{"v1", "v1alpha1"}, below: true,
			sets: rayCluster("spec.rayClusterConfig"),
		},
		{
			group: "batch.volcano.sh", kind: "Job", resource: "jobs", versions: []string{"v1alpha1"}, always: true,
			sets:  []set{{path: "spec.tasks.*", templates: []string{"template"}, counts: []count{{path: "replicas", otherwise: 0}}}},
			queue: "spec.queue", priority: "spec.priorityClassName", phase: "status.state.phase", reason: "status.state.reason", message: "status.state.message",
			phases:   map[string]string{"Completed": job.Succeeded, "Failed": job.Failed, "Terminated": job.Failed, "Aborted": job.Suspended, "Running": job.Running},
			finished: "status.state.lastTransitionTime", done: "status.succeeded",
		},
		{
			group: "argoproj.io", kind: "Workflow", resource: "workflows", versions: []string{"v1alpha1"},
			sets:    []set{{path: "spec.templates.*", containers: []string{"container", "script", "containerSet.containers.*", "sidecars.*", "initContainers.*"}}},
			suspend: "spec.suspend", phase: "status.phase", message: "status.message",
			phases:  map[string]string{"Succeeded": job.Succeeded, "Failed": job.Failed, "Error": job.Failed, "Running": job.Running},
			started: "status.startedAt", finished: "status.finishedAt", priority: "spec.podPriorityClassName",
		},
		{
			group: "leaderworkerset.x-k8s.io", kind: "LeaderWorkerSet", resource: "leaderworkersets", versions: []string{"v1"},
			sets: []set{
				{path: "spec", templates: []string{"leaderWorkerTemplate.leaderTemplate", "leaderWorkerTemplate.workerTemplate"}, counts: replicas()},
				{path: "spec", templates: []string{"leaderWorkerTemplate.workerTemplate"}, counts: []count{
					{path: "replicas", otherwise: 1}, {path: "leaderWorkerTemplate.size", otherwise: 1, plus: -1},
				}},
			},
		},
		{
			group: "workload.codeflare.dev", kind: "AppWrapper", resource: "appwrappers", versions: []string{"v1beta2"}, always: true, below: true,
			suspend: "spec.suspend", phase: "status.phase",
			phases: map[string]string{"Succeeded": job.Succeeded, "Failed": job.Failed, "Suspended": job.Suspended, "Running": job.Running},
		},
	}
}

// knows says that a version is one that the paths are for.
func (k *kind) knows(version string) bool { return slices.Contains(k.versions, version) }
