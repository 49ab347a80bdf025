package diagnose

import (
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Names of Kueue.
const (
	labelJobUID       = "kueue.x-k8s.io/job-uid"
	gateKueue         = "kueue.x-k8s.io/admission"
	gateKueueTopology = "kueue.x-k8s.io/topology"
	groupKueue        = "kueue.x-k8s.io"
	groupVisibility   = "visibility.kueue.x-k8s.io"
)

// Kueue is what Kueue says of a piece of work. Unknown counts are -1.
type Kueue struct {
	// Queue is the LocalQueue that the work names.
	Queue string
	// Installed says that the cluster has Kueue.
	Installed bool
	// Workload stands for the work in Kueue; nil when there is none, or it could not be read.
	Workload *Workload
	// WorkloadsRead says that they could be listed, so that a nil Workload means that there is none.
	WorkloadsRead bool
	// Local is the LocalQueue, nil when there is none of that name or LocalUnknown. Queues are those that there are.
	Local        *Queue
	LocalUnknown bool
	Queues       []string
	// Cluster is the ClusterQueue behind it; nil when there is none or ClusterUnknown.
	Cluster        *Queue
	ClusterUnknown bool
	// Position in the LocalQueue and in the ClusterQueue, from 0; About says that it was computed from the waiting
	// workloads of the namespace and not asked of Kueue.
	Position, PositionCluster int
	About                     bool
}

// Workload is a Workload of Kueue.
type Workload struct {
	Name     string
	Active   bool
	Queue    string
	Priority int64
	Created  time.Time
	// ClusterQueue is where it has quota; empty while it waits.
	ClusterQueue string
	Conditions   []fleet.Condition
	Checks       []Check
	// Requeue is when it may be tried again after an eviction, and how often it was.
	RequeueAt    time.Time
	RequeueCount int64
}

// Check is the state of an admission check.
type Check struct{ Name, State, Message string }

// Queue is a LocalQueue or a ClusterQueue.
type Queue struct {
	Name string
	// ClusterQueue is the one behind a LocalQueue.
	ClusterQueue string
	Cohort       string
	// Stop is None, Hold or HoldAndDrain.
	Stop       string
	Pending    int64
	Admitted   int64
	Conditions []fleet.Condition
	Flavors    []Flavor
}

// Flavor is the quota of one resource in one flavor.
type Flavor struct {
	Name, Resource          string
	Nominal, Used, Borrowed string
	// BorrowingLimit is empty when there is none.
	BorrowingLimit string
}

// manages says whether Kueue decides when the work starts.
func (k *Kueue) manages() bool {
	return k.Installed && (k.Workload != nil || k.Queue != "")
}

func find(list []fleet.Condition, kind string) (fleet.Condition, bool) {
	i := slices.IndexFunc(list, func(c fleet.Condition) bool { return c.Type == kind })
	if i < 0 {
		return fleet.Condition{}, false
	}
	return list[i], true
}

func isTrue(list []fleet.Condition, kind string) bool {
	c, ok := find(list, kind)
	return ok && c.Status == "True"
}

// conditionLine is a condition as evidence, its reason and message verbatim.
func (e *Evidence) conditionLine(of string, c fleet.Condition) string {
	since := ""
	if !c.Since.IsZero() {
		since = ", for " + age(e.Now.Sub(c.Since))
	}
	return fmt.Sprintf("%s: %s=%s (%s%s): %s", of, c.Type, c.Status, c.Reason, since, c.Message)
}
