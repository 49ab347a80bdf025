package registry

import (
	"encoding/json"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Facts are what is known of a version for good: the data of its immutable ConfigMap mlversion-MODEL-N.
type Facts struct {
	// Model is a DNS label of at most 40 characters, Version counts from 1.
	Model   string `json:"model"`
	Version int    `json:"version"`
	// Artifact locates the model's file or folder and says by its digest what it is. The URI of one that is kept in the
	// ConfigMap itself is inline:FILENAME.
	Artifact pipeline.Artifact `json:"artifact"`
	// Metrics are finite numbers by name, 64 at most.
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Better says of metrics whether more or less is better, where somebody declared it.
	Better map[string]Direction `json:"better,omitempty"`
	Params pipeline.Params      `json:"params,omitempty"`
	// Data is what it was trained with: version, digest and whatever else the stage said of it.
	Data map[string]any `json:"data,omitempty"`
	Code Code           `json:"code,omitzero"`
	// Image is the training container's, with the digest that the node pulled.
	Image string  `json:"image,omitempty"`
	Run   *Origin `json:"run,omitempty"`
	// Parents are the versions or URIs that it was made of, such as house-prices:3 or hf://org/base-model.
	Parents []string `json:"parents,omitempty"`
	// Signature describes inputs and outputs, Baseline the distributions that drift is measured against: JSON documents
	// of at most 64 KiB each.
	Signature json.RawMessage `json:"signature,omitempty"`
	Baseline  json.RawMessage `json:"baseline,omitempty"`
	// CreatedBy is the user name that the API server knows the writer by; CreatedAt is by the writer's clock.
	CreatedBy string    `json:"createdBy,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// Direction says which values of a metric are better.
type Direction string

// The directions.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
)

// Code says what code made a version.
type Code struct {
	Repo string `json:"repo,omitempty"`
	// Commit ends in -dirty when the work tree differed from it.
	Commit string `json:"commit,omitempty"`
	// Source is the ConfigMap mlsource-PIPELINE-HASH with the code itself.
	Source string `json:"source,omitempty"`
}

// Origin is the execution that made a version. The UIDs tell it from later objects of the same names.
type Origin struct {
	// Kind is run for a stage of a run of ours, else the kind of the workload in lower case, such as job.
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	Pipeline  string `json:"pipeline,omitempty"`
	Stage     string `json:"stage,omitempty"`
	// Child is the index in a sweep, Attempt counts from 1.
	Child   int    `json:"child,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Job     string `json:"job,omitempty"`
	JobUID  string `json:"jobUID,omitempty"`
}

// Version is a version as it stands: its facts, and what its model's head says of it.
type Version struct {
	Facts
	// Object is the name of its ConfigMap.
	Object    string    `json:"object"`
	Namespace string    `json:"namespace"`
	UID       string    `json:"uid,omitempty"`
	Created   time.Time `json:"created"`
	// Aliases point at it, in alphabetical order.
	Aliases  []string  `json:"aliases,omitempty"`
	Approval *Approval `json:"approval,omitempty"`
	Archived *Mark     `json:"archived,omitempty"`
	// Notes are people's own words on it.
	Notes map[string]string `json:"notes,omitempty"`
	// Problems say where the record contradicts itself.
	Problems []string `json:"problems,omitempty"`
}

// Mark is a decision of a person.
type Mark struct {
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
	Comment string    `json:"comment,omitempty"`
}

// Approval is the last judgement of a version; State is approved or rejected.
type Approval struct {
	State string `json:"state"`
	Mark
}
