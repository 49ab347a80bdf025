package fleet

import (
	"slices"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// kind is what there is to know of a kind of work that is read as data. Its facts are field paths of the kind's CRD.
type kind struct {
	group, kind string
	// versions that the paths are for.
	versions []string
	// always lists it even when it asks for no accelerator: it exists for training.
	always bool
	// sets are its pod templates, wraps leads to whole objects that it makes. below says that what it made tells better
	// how many pods there will be than it does itself.
	sets  []set
	wraps string
	below bool
	// replicas leads to the number that switches off what never ends when it is 0.
	replicas string
	// suspend is a path to a truth value, queue and priority are paths to names.
	suspend, queue, priority string
	// meanings decide or explain its state; the first that holds counts. reason and message are where it says why.
	meanings        []meaning
	reason, message string
	// started and finished are paths to times, done to counts of pods that have succeeded, restarts to how often all of
	// it was started again.
	started, finished, done, restarts string
	// progress is a path to what a trainer reports.
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
	// unless leads to a truth value that switches it off.
	unless string
	// counts are multiplied: how many pods are made. None means that only the pods tell.
	counts []count
}

// count is the number at a path, or otherwise, and plus.
type count struct {
	path      string
	otherwise int64
	plus      int64
}

// meaning is what a condition that is True says, or one of words at a path.
type meaning struct {
	condition string
	path      string
	words     []string
	// state is one of job's; empty says that it waits.
	state string
	// why is a condition that tells more of it.
	why string
	// firm says that the reason is a cause and not a consequence of pods that failed.
	firm bool
}

func when(name, state string) meaning { return meaning{condition: name, state: state} }

func says(path, state string, words ...string) meaning {
	return meaning{path: path, words: words, state: state}
}

// replicas is the count that most kinds have.
func replicas() []count { return []count{{path: "replicas", otherwise: 1}} }

// kubeflowJob is a kind of the training operator: common_types.go of its API, and of the MPI operator's.
func kubeflowJob(name, replicaSpecs string, versions ...string) kind {
	return kind{
		group: "kubeflow.org", kind: name, versions: versions, always: true,
		sets:    []set{{path: "spec." + replicaSpecs + ".*", templates: []string{"template"}, counts: replicas()}},
		suspend: "spec.runPolicy.suspend", queue: "spec.runPolicy.schedulingPolicy.queue", priority: "spec.runPolicy.schedulingPolicy.priorityClass",
		meanings: []meaning{
			when("Failed", job.Failed), when("Succeeded", job.Succeeded), when("Suspended", job.Suspended),
			when("Restarting", ""), when("Running", job.Running),
		},
		started: "status.startTime", finished: "status.completionTime", done: "status.replicaStatuses.*.succeeded",
	}
}

// rayCluster are the pods of a RayCluster's spec.
func rayCluster(at string) []set {
	return []set{
		{path: below(at, "headGroupSpec"), templates: []string{"template"}, counts: []count{{otherwise: 1}}},
		{
			path: below(at, "workerGroupSpecs.*"), templates: []string{"template"}, unless: "suspend",
			counts: []count{{path: "replicas"}, {path: "numOfHosts", otherwise: 1}},
		},
	}
}

func ray(name string, sets []set) kind {
	return kind{group: "ray.io", kind: name, versions: []string{"v1", "v1alpha1"}, always: true, sets: sets, suspend: "spec.suspend"}
}

// kinds is the table of the kinds of work beside those that every cluster has.
func kinds() []kind {
	rayJob := ray("RayJob", rayCluster("spec.rayClusterSpec"))
	rayJob.below = true
	rayJob.meanings = []meaning{
		says("status.jobDeploymentStatus", job.Suspended, "Suspended", "Suspending"),
		says("status.jobDeploymentStatus", "", "Initializing", "Retrying", "Waiting"),
		says("status.jobDeploymentStatus", job.Failed, "Failed", "ValidationFailed"),
		says("status.jobStatus", job.Failed, "FAILED", "STOPPED"), says("status.jobStatus", job.Succeeded, "SUCCEEDED"),
		says("status.jobDeploymentStatus", job.Succeeded, "Complete"), says("status.jobDeploymentStatus", job.Running, "Running"),
	}
	rayJob.reason, rayJob.message, rayJob.started, rayJob.finished = "status.reason", "status.message", "status.startTime", "status.endTime"

	cluster := ray("RayCluster", rayCluster("spec"))
	cluster.meanings = []meaning{
		when("RayClusterSuspended", job.Suspended), says("status.state", job.Suspended, "suspended"),
		{condition: "ReplicaFailure", firm: true}, says("status.state", job.Running, "ready"),
	}
	service := ray("RayService", rayCluster("spec.rayClusterConfig"))
	service.always, service.below = false, true
	service.meanings = []meaning{when("Suspended", job.Suspended)}

	return []kind{
		kubeflowJob("PyTorchJob", "pytorchReplicaSpecs", "v1"), kubeflowJob("TFJob", "tfReplicaSpecs", "v1"),
		kubeflowJob("XGBoostJob", "xgbReplicaSpecs", "v1"), kubeflowJob("PaddleJob", "paddleReplicaSpecs", "v1"),
		kubeflowJob("JAXJob", "jaxReplicaSpecs", "v1"), kubeflowJob("MPIJob", "mpiReplicaSpecs", "v2beta1", "v1"),
		{
			group: "jobset.x-k8s.io", kind: "JobSet", versions: []string{"v1alpha2"}, always: true,
			sets: []set{{path: "spec.replicatedJobs.*", templates: []string{"template.spec.template"}, counts: []count{
				{path: "replicas", otherwise: 1}, {path: "template.spec.parallelism", otherwise: 1},
			}}},
			suspend:  "spec.suspend",
			meanings: []meaning{when("Failed", job.Failed), when("Completed", job.Succeeded), when("Suspended", job.Suspended)},
			restarts: "status.restarts",
		},
		{
			group: "trainer.kubeflow.org", kind: "TrainJob", versions: []string{"v1alpha1"}, always: true, below: true,
			sets:     []set{{path: "spec.trainer", resources: "resourcesPerNode", counts: []count{{path: "numNodes", otherwise: 1}}}},
			suspend:  "spec.suspend",
			meanings: []meaning{when("Failed", job.Failed), when("Complete", job.Succeeded), when("Suspended", job.Suspended)},
			progress: "status.trainerStatus",
		},
		rayJob, cluster, service,
		{
			group: "batch.volcano.sh", kind: "Job", versions: []string{"v1alpha1"}, always: true,
			sets:  []set{{path: "spec.tasks.*", templates: []string{"template"}, counts: []count{{path: "replicas"}}}},
			queue: "spec.queue", priority: "spec.priorityClassName", reason: "status.state.reason", message: "status.state.message",
			meanings: []meaning{
				says("status.state.phase", job.Succeeded, "Completed"), says("status.state.phase", job.Failed, "Failed", "Terminated"),
				says("status.state.phase", job.Suspended, "Aborted", "Aborting"), says("status.state.phase", job.Running, "Running", "Completing"),
			},
			finished: "status.state.lastTransitionTime", done: "status.succeeded", restarts: "status.retryCount",
		},
		{
			group: "argoproj.io", kind: "Workflow", versions: []string{"v1alpha1"},
			sets:    []set{{path: "spec.templates.*", containers: []string{"container", "script", "containerSet.containers.*", "sidecars.*"}}},
			suspend: "spec.suspend", message: "status.message", priority: "spec.podPriorityClassName",
			meanings: []meaning{
				says("status.phase", job.Succeeded, "Succeeded"), says("status.phase", job.Failed, "Failed", "Error"), says("status.phase", job.Running, "Running"),
			},
			started: "status.startedAt", finished: "status.finishedAt",
		},
		{
			group: "leaderworkerset.x-k8s.io", kind: "LeaderWorkerSet", versions: []string{"v1"}, replicas: "spec.replicas",
			sets: []set{
				{path: "spec", templates: []string{"leaderWorkerTemplate.leaderTemplate", "leaderWorkerTemplate.workerTemplate"}, counts: replicas()},
				{path: "spec", templates: []string{"leaderWorkerTemplate.workerTemplate"}, counts: []count{
					{path: "replicas", otherwise: 1}, {path: "leaderWorkerTemplate.size", otherwise: 1, plus: -1},
				}},
			},
		},
		{
			group: "workload.codeflare.dev", kind: "AppWrapper", versions: []string{"v1beta2"}, always: true, below: true,
			wraps: "spec.components.*.template", suspend: "spec.suspend",
			meanings: []meaning{
				says("status.phase", job.Succeeded, "Succeeded"), {path: "status.phase", words: []string{"Failed"}, state: job.Failed, why: "Unhealthy"},
				says("status.phase", job.Suspended, "Suspended", "Suspending"), says("status.phase", job.Running, "Running"),
			},
		},
	}
}

// builtin are the kinds of every cluster as data, for where they stand inside of other objects.
func builtin() []kind {
	spec := func(group, name string, counts []count) kind {
		return kind{group: group, kind: name, sets: []set{{path: "spec", templates: []string{"template"}, counts: counts}}}
	}
	return []kind{
		spec("batch", "Job", []count{{path: "parallelism", otherwise: 1}}), spec("apps", "Deployment", replicas()), spec("apps", "StatefulSet", replicas()),
		{kind: "Pod", sets: []set{{templates: []string{""}, counts: []count{{otherwise: 1}}}}},
	}
}

// knows says that a version is one that the paths are for.
func (k *kind) knows(version string) bool { return slices.Contains(k.versions, version) }
