package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Deploy is a stage that rolls out a Deployment: of a manifest, or one that is generated to serve a version of a model.
type Deploy struct {
	// Manifest is the file of the Deployment, relative to the pipeline file. With a model its pods are given the version.
	Manifest string `json:"manifest,omitempty"`
	// Model is what to deploy: MODEL (the version that this run registers, else the latest), MODEL:N or MODEL@ALIAS;
	// without it the manifest is rolled out as it is.
	Model string `json:"model,omitempty"`
	// Name is that of the Deployment; default: the manifest's, or the model's.
	Name string `json:"name,omitempty"`
	// Strategy is how traffic moves to the new pods: rolling, the default, as the Deployment's own strategy says;
	// bluegreen, all at once when the new pods are ready; or canary, step by step.
	Strategy Strategy `json:"strategy,omitempty"`
	// Steps are those of a canary; after the last one everything goes to the new version.
	Steps []DeployStep `json:"steps,omitempty"`
	// Serve says what to generate where there is no manifest.
	Serve *Serve `json:"serve,omitempty"`
	// Alias moves to the version when the rollout has succeeded, such as production.
	Alias string `json:"alias,omitempty"`
}

// Strategy is how traffic moves from one version to the next.
type Strategy string

// The strategies.
const (
	Rolling   Strategy = "rolling"
	BlueGreen Strategy = "bluegreen"
	Canary    Strategy = "canary"
)

// DeployStep is one step of a canary: a share of the traffic, then how long it is held, then what must hold.
type DeployStep struct {
	// Weight is the share of the new version in percent, 1 to 100, more than that of the step before.
	Weight int32 `json:"weight"`
	// Pause holds the step for a duration such as 10m, or, with the word approval, until a person lets it go on.
	Pause *Pause `json:"pause,omitempty"`
	// Gates must all pass before the next step; one that fails aborts the rollout.
	Gates []DeployGate `json:"gates,omitempty"`
}

// pauseApproval is the pause that a person ends.
const pauseApproval = "approval"

// Pause is how long a step is held: for a duration, or until a person lets it go on. In a file it is one word: a duration
// such as 10m, or approval.
type Pause struct {
	Approval bool
	Duration time.Duration
}

// UnmarshalJSON takes a duration or the word approval.
func (p *Pause) UnmarshalJSON(data []byte) error {
	*p = Pause{}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New("pause must be a duration such as 10m, or approval")
	}
	if text == pauseApproval {
		p.Approval = true
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("pause %q must be a duration such as 10m, or approval", text)
	}
	p.Duration = d
	return nil
}

// MarshalJSON writes the word that was read.
func (p Pause) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// String is the word of a file: approval, or the duration.
func (p Pause) String() string {
	if p.Approval {
		return pauseApproval
	}
	return p.Duration.String()
}

// DeployGate is one condition that a canary must meet; exactly one of its fields is set.
type DeployGate struct {
	// Ready is how long all pods of the new version must have been ready without a restart.
	Ready *metav1.Duration `json:"ready,omitempty"`
	// Job is a container whose exit code judges: 0 passes, any other fails.
	Job *GateJob `json:"job,omitempty"`
}

// GateJob is a container that judges a canary by its exit code.
type GateJob struct {
	Pod `json:",inline"`

	// Command and Args are what the container runs; without command the image's own entry point.
	Command []string `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
	// Timeout bounds it; one that takes longer fails. Default 10m.
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Serve describes the Deployment and what stands before it, to be generated. In a pipeline the pod takes what the defaults
// say and it does not, and sees the pipeline's source at /ml/src.
type Serve struct {
	Pod `json:",inline"`

	// Command and Args are what the container runs; without command the image's own entry point. It finds the model's file
	// or folder by ML_MODEL_PATH, and what it is by ML_MODEL, ML_MODEL_VERSION, ML_MODEL_URI and ML_MODEL_DIGEST.
	Command []string `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
	// Port is where the server answers HTTP; default 8080. The Service has it as port 80.
	Port int32 `json:"port,omitempty"`
	// Replicas are the pods at full size; default 1. With autoscale it is where scaling begins.
	Replicas *int32 `json:"replicas,omitempty"`
	// Probe is the HTTP path that says whether the server is ready, such as /healthz; without it a connection is enough.
	Probe string `json:"probe,omitempty"`
	// Metrics says where Prometheus finds the server's metrics.
	Metrics *ServeMetrics `json:"metrics,omitempty"`
	// Autoscale makes a HorizontalPodAutoscaler.
	Autoscale *Autoscale `json:"autoscale,omitempty"`
	// DisruptionBudget is how many pods, or what percentage of them, the drain of a node may take away at once; it makes a
	// PodDisruptionBudget.
	DisruptionBudget *intstr.IntOrString `json:"disruptionBudget,omitempty"`
	// Host makes an Ingress for this DNS name; with gateway it is the host name of the HTTPRoute instead.
	Host string `json:"host,omitempty"`
	// Gateway is the Gateway, NAME or NAMESPACE/NAME, to which an HTTPRoute is attached.
	Gateway string `json:"gateway,omitempty"`
	// ModelPath is the folder in which the container finds the model; default /models.
	ModelPath string `json:"modelPath,omitempty"`
	// Secret names the Secret with the credentials of the store that the model comes from.
	Secret string `json:"secret,omitempty"`
	// Patch is merged (strategic merge) over the generated Deployment, in Kubernetes' own types.
	Patch json.RawMessage `json:"patch,omitempty"`
}

// ServeMetrics is where a server's metrics are.
type ServeMetrics struct {
	Port int32 `json:"port"`
	// Path is /metrics by default.
	Path string `json:"path,omitempty"`
}

// Autoscale bounds the replicas that a HorizontalPodAutoscaler chooses.
type Autoscale struct {
	// Min is 1 by default.
	Min int32 `json:"min,omitempty"`
	Max int32 `json:"max"`
	// CPU is the load in percent of the CPU requests that it aims at; default 80.
	CPU int32 `json:"cpu,omitempty"`
}

// Defaults of what is generated to serve a model.
const (
	DefaultServePort   int32 = 8080
	DefaultModelPath         = "/models"
	DefaultMetricsPath       = "/metrics"
	DefaultScaleCPU    int32 = 80
	DefaultGateTimeout       = 10 * time.Minute
)
