package pipeline

import (
	"encoding/json"
	"time"
)

// Plan is a pipeline resolved for one run. It is stored in the run's record, so that any client,
// at any later time, builds the very same objects from it.
type Plan struct {
	Pipeline    string            `json:"pipeline"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Revision is the first 12 hex digits of the SHA-256 of the pipeline file.
	Revision string         `json:"revision,omitempty"`
	Params   map[string]any `json:"params,omitempty"`
	Source   *SourceRef     `json:"source,omitempty"`
	// TimeZone is the IANA zone of the schedules; empty means the cluster's own.
	TimeZone  string     `json:"timeZone,omitempty"`
	Workspace *Workspace `json:"workspace,omitempty"`
	// Stages are in topological order; the file's order breaks ties.
	Stages []PlannedStage `json:"stages"`
}

// PlannedStage is a stage with the defaults merged in, its manifest read and its sweep spread out.
type PlannedStage struct {
	Stage `json:",inline"`
	// Selected is false for a stage that this run does not run; its last recorded results are used instead.
	Selected bool `json:"selected"`
	// Children are the parameter sets of the stage: one, or one for each point of the sweep.
	Children []Child `json:"children"`
	// Object is the manifest as JSON, for stages with manifest or deploy.
	Object json.RawMessage `json:"object,omitempty"`
}

// Child is one execution of a stage, with the parameters that hold for it (the pipeline's, the stage's, the sweep's).
type Child struct {
	Params Params `json:"params,omitempty"`
	// Swept are just the parameters of the sweep, for display.
	Swept Params `json:"swept,omitempty"`
}

// SourceRef is the packaged source folder of a run.
type SourceRef struct {
	// ConfigMap is mlsource-PIPELINE-HASH.
	ConfigMap string `json:"configMap"`
	// Keys maps each key of the ConfigMap to the file's path below /ml/src.
	Keys map[string]string `json:"keys"`
	// Repo, Commit and Dirty describe the git work tree; empty without one.
	Repo   string `json:"repo,omitempty"`
	Commit string `json:"commit,omitempty"`
	Dirty  bool   `json:"dirty,omitempty"`
}

// CommitText is the commit, with -dirty when the folder differed from it.
func (r SourceRef) CommitText() string {
	if r.Commit != "" && r.Dirty {
		return r.Commit + "-dirty"
	}
	return r.Commit
}

// Result is the document that a stage leaves in its termination message, at most 4 KiB of JSON.
type Result struct {
	// Metrics are finite numbers by name.
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Model locates the artifact that the stage made.
	Model *Artifact `json:"model,omitempty"`
	// Data describes the data used or made (version, digest, rows, ...), as the stage likes.
	Data map[string]any `json:"data,omitempty"`
	// Outputs are further values for later stages.
	Outputs map[string]any `json:"outputs,omitempty"`
	// Registered is the version as which the model was registered, MODEL:N. The registry gives it, not the stage.
	Registered string `json:"-"`
}

// Artifact locates and identifies a model file.
type Artifact struct {
	URI string `json:"uri"`
	// Digest is sha256:<64 hex digits>.
	Digest string `json:"digest,omitempty"`
	// Size is in bytes.
	Size   int64  `json:"size,omitempty"`
	Format string `json:"format,omitempty"`
}

// RunRef identifies the run for which objects are built.
type RunRef struct {
	// Name is PIPELINE-ID, the value of the label kubectl-ml.dev/run.
	Name      string
	Namespace string
	// Started is when the run was made.
	Started time.Time
}
