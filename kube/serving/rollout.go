package serving

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// Request asks for a version to be served.
type Request struct {
	// Name is that of the Deployment, and of the Service and what else is generated; default: the manifest's or the model's.
	Name    string
	Version registry.Version
	// Deploy says how. Its Manifest and Model are not read: Object and Version stand for them.
	Deploy pipeline.Deploy
	// Object is the user's own Deployment, or nil. What it names wins over what is there, what it does not name stays.
	Object json.RawMessage
	// Key names what asked, such as a run with stage and attempt: asking again with the same key starts nothing anew.
	Key string
	// Service before the Deployment; default: the one of its name, else the only one that selects its pods.
	Service string
	// Route is an HTTPRoute that shares the traffic of a canary by weight; default: the one that Serve.Gateway makes.
	Route string
	// Keep is how long the old side of a blue-green rollout goes on running; nil is until it is promoted.
	Keep *time.Duration
	// NoAbort leaves a rollout that fails as it is.
	NoAbort bool
	// Helper is the image of this program, for pods that have to download the artifact.
	Helper           string
	HelperPullPolicy corev1.PullPolicy
	// By is who asked, Run and Stage the run on whose behalf.
	By, Comment, Run, Stage string
}

// Phase is where a rollout stands.
type Phase string

// The phases.
const (
	Progressing Phase = "Progressing"
	// Paused: it waits for a duration or for a person.
	Paused Phase = "Paused"
	// Healthy: the new version serves.
	Healthy Phase = "Healthy"
	// Degraded: pods of the new version do not get ready.
	Degraded Phase = "Degraded"
	// Aborted by a person, or Failed by itself: the version before serves, unless the rollout was rolling or told not to abort.
	Aborted Phase = "Aborted"
	Failed  Phase = "Failed"
	// Unmanaged is a Deployment that serves a model without any rollout of ours.
	Unmanaged Phase = "Unmanaged"
)

// Rollout is how a rollout stands, derived from its record and the live objects.
type Rollout struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// UID and Object are those of what decides who serves, such as deployment/house-prices.
	UID    string `json:"uid,omitempty"`
	Object string `json:"object"`
	ID     string `json:"id,omitempty"`
	Model  string `json:"model,omitempty"`
	// Version is rolled out, Stable is the one that serves until then; 0 for none or one that is not known.
	Version  int               `json:"version,omitempty"`
	Stable   int               `json:"stable,omitempty"`
	Strategy pipeline.Strategy `json:"strategy,omitempty"`
	Phase    Phase             `json:"phase"`
	// Step counts from 1, of Steps; 0 before the first and after the last.
	Step  int `json:"step,omitempty"`
	Steps int `json:"steps,omitempty"`
	// Weight is the share of the new version in percent as it is, Asked as the step says: so many pods cannot give any weight.
	Weight int `json:"weight"`
	Asked  int `json:"asked,omitempty"`
	// Message is one sentence on what goes on, or what is wrong.
	Message string `json:"message,omitempty"`
	// Approval is true when it waits for a person, GateFailed when a gate ended it.
	Approval   bool `json:"approval,omitempty"`
	GateFailed bool `json:"gateFailed,omitempty"`
	// Ended is true when nothing more happens unless somebody acts.
	Ended bool   `json:"ended"`
	Alias string `json:"alias,omitempty"`
	// Sides are the Deployments, the one that serves first.
	Sides []Side `json:"sides,omitempty"`
	Gates []Gate `json:"gates,omitempty"`
	// Kept is true when the old side of a blue-green rollout still runs.
	Kept    bool       `json:"kept,omitempty"`
	By      string     `json:"by,omitempty"`
	Comment string     `json:"comment,omitempty"`
	Run     string     `json:"run,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	// Since is when the phase or step began, End when it all ended.
	Since *time.Time `json:"since,omitempty"`
	End   *time.Time `json:"end,omitempty"`
	// Warnings are what did not work beside the rollout itself, such as writing the model's history.
	Warnings []string          `json:"warnings,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Created  time.Time         `json:"created,omitzero"`
}

// Side is one Deployment of a rollout.
type Side struct {
	// Side is stable, canary, blue or green.
	Side       string `json:"side"`
	Deployment string `json:"deployment"`
	Version    int    `json:"version,omitempty"`
	Replicas   int32  `json:"replicas"`
	Ready      int32  `json:"ready"`
	Updated    int32  `json:"updated"`
	Restarts   int32  `json:"restarts,omitempty"`
	// Image is with the digest that the node pulled, where a pod says.
	Image string `json:"image,omitempty"`
	// Trouble is why its pods do not get ready.
	Trouble string `json:"trouble,omitempty"`
	// Serves says whether traffic reaches it.
	Serves bool `json:"serves"`
}

// Gate is one gate of the current step.
type Gate struct {
	// Kind is ready or job.
	Kind    string  `json:"kind"`
	State   Verdict `json:"state"`
	Message string  `json:"message,omitempty"`
	Job     string  `json:"job,omitempty"`
	// made says that the Job is there.
	made bool
}

// Verdict is what a gate says.
type Verdict string

// The verdicts.
const (
	Waiting Verdict = "Waiting"
	Passed  Verdict = "Passed"
	Breach  Verdict = "Failed"
)

// Resting says whether a rollout changes only when somebody acts on it.
func (r *Rollout) Resting() bool { return r.Ended || r.Approval }

// Update is one look at a rollout.
type Update struct {
	Rollout Rollout
	// Lost is set while the API server cannot be reached; Rollout is then what was last known, as of Since.
	Lost  error
	Since time.Time
}
