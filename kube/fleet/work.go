package fleet

import (
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Ref names an object of the cluster.
type Ref struct {
	// APIVersion is group/version, or v1.
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind is as the API has it: Job, PyTorchJob, Pod.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

// Unknown stands in counts for what the cluster does not say.
const Unknown = -1

// Work is one piece of work: a root owner and all pods below it. A Snapshot's works are shared and never written to.
type Work struct {
	// Ref is the root owner.
	Ref
	// Owner is what made the root, where that is no piece of work itself: a CronJob. Else it is nil.
	Owner *Ref `json:"owner,omitempty"`
	// Labels are the root's own; where the root itself could not be read, those of its pods.
	Labels map[string]string `json:"labels,omitempty"`
	// State is one of job.Pending, Running, Succeeded, Failed, Suspended.
	State string `json:"state"`
	// Reason is one word on why it waits or failed, Message explains it. Both are empty when all is well.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Ready counts the pods that are ready or have succeeded. Want is how many there should be, or Unknown.
	Ready int `json:"ready"`
	Want  int `json:"want"`
	// GPUs is how many accelerators the work asks for when all of its pods run at once; Held is how many its bound
	// pods have now.
	GPUs int64 `json:"gpus"`
	Held int64 `json:"held"`
	// Resources are GPUs by extended resource, or by DRA driver.
	Resources map[string]int64 `json:"resources,omitempty"`
	// Product is the model of the accelerators, such as NVIDIA-H100-80GB-HBM3: of the nodes it runs on, else the one
	// that it asks for; empty when neither tells.
	Product string `json:"product,omitempty"`
	// Queue is the queue of Kueue, Volcano, YuniKorn or KAI that it waits in or was admitted through.
	Queue string `json:"queue,omitempty"`
	// Priority is the name of the priority class.
	Priority string `json:"priority,omitempty"`
	// By is who started it, where labels or annotations tell.
	By       string `json:"by,omitempty"`
	Restarts int32  `json:"restarts"`
	// Nodes are the names of the nodes of its pods that have not ended, sorted.
	Nodes []string `json:"nodes,omitempty"`
	// Progress is what the training says of itself in its status or log; nil when unknown.
	Progress *job.Progress `json:"progress,omitempty"`
	// Metrics are those of the result of a stage that has succeeded.
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Created  time.Time          `json:"created"`
	Started  *time.Time         `json:"started,omitempty"`
	Finished *time.Time         `json:"finished,omitempty"`
	// Pods are ordered by rank, then by age.
	Pods []*Pod `json:"pods,omitempty"`
}

// Final says whether the outcome is decided.
func (w *Work) Final() bool { return w.State == job.Succeeded || w.State == job.Failed }

// Pod is what a fleet keeps of a pod.
type Pod struct {
	job.PodFact
	// Role tells the pods of one work apart beside their rank: master, worker, head, launcher; often empty.
	Role string `json:"role,omitempty"`
	// Owner is the pod's controller; its Kind is empty when there is none.
	Owner  Ref               `json:"-"`
	Labels map[string]string `json:"-"`
	// Resources are the accelerators by extended resource or DRA driver that the pod asks for.
	Resources map[string]int64 `json:"resources,omitempty"`
	// Product is the model that the pod's node selector or affinity asks for.
	Product string `json:"-"`
	Queue   string `json:"-"`
	// Priority is the name of the pod's priority class, Account that of its service account.
	Priority string `json:"-"`
	Account  string `json:"-"`
	// Main is the container that the pod is about; empty where there is only one.
	Main string `json:"-"`
	// Bound is when the pod got its node; zero when it has none, or nothing tells.
	Bound time.Time `json:"bound,omitzero"`

	by string
	// claims are the ResourceClaims that it names.
	claims []claimUse
}

// Node is a node and its accelerators.
type Node struct {
	Name string `json:"name"`
	// Ready is the condition of that name; Reason and Message say why not.
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Cordoned says that nothing new is scheduled there (spec.unschedulable).
	Cordoned bool `json:"cordoned,omitempty"`
	// Product is the model of the accelerators; MemoryMiB is what one of them has, 0 when unknown.
	Product   string `json:"product,omitempty"`
	MemoryMiB int64  `json:"memoryMiB,omitempty"`
	// Total and Used count accelerators: allocatable, and requested by the pods bound there that have not ended.
	// Used is Unknown when the pods of other namespaces could not be read.
	Total int64 `json:"total"`
	Used  int64 `json:"used"`
	// Capacity is how many accelerators the node has: more than Total when some of them are broken.
	Capacity int64 `json:"capacity,omitempty"`
	// Resources are Total by extended resource or DRA driver.
	Resources map[string]int64 `json:"resources,omitempty"`
	// Wrong are the conditions beside Ready that speak of trouble: pressure, no network, what a problem detector found.
	Wrong   []Condition       `json:"wrong,omitempty"`
	Taints  []Taint           `json:"taints,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`

	// parts is how many of a resource make one device, where the node counts its devices twice.
	parts map[string]int64
}

// Free is how many accelerators nobody holds; Unknown when Used is.
func (n *Node) Free() int64 {
	if n.Used == Unknown {
		return Unknown
	}
	return max(n.Total-n.Used, 0)
}

// Condition is a condition in the status of an object, whatever its kind.
type Condition struct {
	Type string `json:"type"`
	// Status is True, False or Unknown.
	Status  string    `json:"status,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Taint keeps pods away that do not tolerate it.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// Snapshot is a fleet at one time. It is immutable and may be read by many.
type Snapshot struct {
	// Version grows with every change; snapshots of one Watch with the same Version are equal.
	Version uint64
	// At is when all parts were last known to be current.
	At time.Time
	// Works are sorted by namespace and name; Nodes, by name, are those with accelerators.
	Works []*Work
	Nodes []*Node
	// Problems are the kinds that could not be read. The others are complete.
	Problems []Problem
}

// Problem is a kind of object that could not be read.
type Problem struct {
	// Resource is the plural with its group, such as jobsets.jobset.x-k8s.io.
	Resource string
	Err      error
}
