// Package run is the room of runs: the record of a run, its state as derived from the cluster's live objects and the
// recorded outcomes, and the steps that take it forward. Any client may take any step at any time: every step is
// idempotent, Jobs have deterministic names, and the record changes only under its resourceVersion.
package run

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// State is where a run, a stage or one child of a sweep stands.
type State string

// The states. A run is never Waiting, Skipped or Reused.
const (
	// Waiting: what it needs has not succeeded yet.
	Waiting State = "Waiting"
	// Pending: its objects exist, but no container runs yet.
	Pending State = "Pending"
	Running State = "Running"
	// AwaitingApproval: the work succeeded and a gate asks for a person.
	AwaitingApproval State = "AwaitingApproval"
	Succeeded        State = "Succeeded"
	Failed           State = "Failed"
	// GateFailed: the work succeeded, but its results breach a gate.
	GateFailed State = "GateFailed"
	Cancelled  State = "Cancelled"
	// TimedOut: the run's own deadline passed; a stage that exceeds its timeout is Failed.
	TimedOut State = "TimedOut"
	// Skipped: not part of this run, or something it needs did not succeed.
	Skipped State = "Skipped"
	// Reused: not part of this run; the results of an earlier one stand in.
	Reused State = "Reused"
)

// Terminal says whether nothing more happens by itself in this state.
func (s State) Terminal() bool {
	switch s {
	case Waiting, Pending, Running, AwaitingApproval:
		return false
	}
	return true
}

// passed says whether stages that need one in this state may start.
func (s State) passed() bool { return s == Succeeded || s == Reused }

// Record is the run as it is stored, in the ConfigMap mlrun-NAME.
type Record struct {
	// Name is PIPELINE-ID.
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	UID       string    `json:"uid,omitempty"`
	Created   time.Time `json:"created"`
	// Labels are the record's own.
	Labels map[string]string `json:"labels,omitempty"`
	Header
	Plan pipeline.Plan `json:"plan"`
	// Stages has an entry for each stage that has started or is reused.
	Stages map[string]StageRecord `json:"stages,omitempty"`
	// Cancel is set when somebody cancelled the run.
	Cancel *Mark `json:"cancel,omitempty"`
	// End is set when the run has ended.
	End *End `json:"end,omitempty"`
}

// Header says who started a run and how.
type Header struct {
	// By is the user name that the API server knows the starter by.
	By string `json:"by,omitempty"`
	// Detached is true when a driver in the cluster advances the run.
	Detached bool `json:"detached,omitempty"`
	// Reason is the starter's own words on why the run was made; a schedule says "schedule".
	Reason string `json:"reason,omitempty"`
	// Started is when the starter asked for the run, by its own clock. The server's time of creation has whole
	// seconds; this tells apart what it made in the same second.
	Started time.Time `json:"started,omitzero"`
	// Timeout bounds the run; Deadline is when it ends.
	Timeout  *metav1.Duration `json:"timeout,omitempty"`
	Deadline *time.Time       `json:"deadline,omitempty"`
	// Helper is the image of this program, for pods of servers that have to download their model.
	Helper           string            `json:"helper,omitempty"`
	HelperPullPolicy corev1.PullPolicy `json:"helperPullPolicy,omitempty"`
}

// StageRecord is what is stored of one stage.
type StageRecord struct {
	// Attempt counts from 1; retry adds one.
	Attempt int `json:"attempt"`
	// Jobs are the UIDs of the objects started in this attempt, by child index; "" for one not started yet.
	Jobs []string `json:"jobs,omitempty"`
	// Refused is why the server does not take what this attempt starts; nothing more of it is started then.
	Refused string `json:"refused,omitempty"`
	// Outcome is set once the stage has ended.
	Outcome *Outcome `json:"outcome,omitempty"`
	// ReusedFrom names the run whose outcome stands in.
	ReusedFrom string `json:"reusedFrom,omitempty"`
	// Approval lets the run pass the stage's gates whatever they say.
	Approval *Mark `json:"approval,omitempty"`
	// Model is what became of the stage's model: which version it is, or why it is none.
	Model *Registration `json:"model,omitempty"`
	// Deploys is the version that a deploy stage rolls out, MODEL:N, chosen before it begins.
	Deploys string `json:"deploys,omitempty"`
	// Abort says that the run ends before its rollout: asked, it is being taken back; left, that could not be.
	Abort string `json:"abort,omitempty"`
	// Previous are the outcomes of earlier attempts, oldest first.
	Previous []Outcome `json:"previous,omitempty"`
}

// Outcome is how a stage ended.
type Outcome struct {
	// State is Succeeded, Failed, Cancelled or TimedOut; gates are judged anew from the result.
	State State `json:"state"`
	// Reason is one word, Message a sentence.
	Reason   string     `json:"reason,omitempty"`
	Message  string     `json:"message,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Finished *time.Time `json:"finished,omitempty"`
	// Children are the executions; one for a stage without sweep.
	Children []Child `json:"children,omitempty"`
	// Best is the index of the child whose result counts.
	Best int `json:"best,omitempty"`
}

// Result is what a stage that succeeded gave back: the best child's document, or nil.
func (o *Outcome) Result() *pipeline.Result {
	if o == nil || o.State != Succeeded || o.Best < 0 || o.Best >= len(o.Children) {
		return nil
	}
	return o.Children[o.Best].Result
}

// Child is one execution of a stage.
type Child struct {
	State State `json:"state"`
	// Job is the name of the Job, or of the Deployment.
	Job     string `json:"job,omitempty"`
	UID     string `json:"uid,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Pods, Node and Image are of the last pod; Image is with the digest that the node pulled.
	Node     string           `json:"node,omitempty"`
	Image    string           `json:"image,omitempty"`
	ExitCode *int32           `json:"exitCode,omitempty"`
	Restarts int32            `json:"restarts,omitempty"`
	Started  *time.Time       `json:"started,omitempty"`
	Finished *time.Time       `json:"finished,omitempty"`
	Swept    map[string]any   `json:"swept,omitempty"`
	Result   *pipeline.Result `json:"result,omitempty"`
}

// Mark is a decision of a person.
type Mark struct {
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// End is how a run ended.
type End struct {
	State   State     `json:"state"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

// Keys of the record's ConfigMap; a stage's key is keyStage + its name.
const (
	keyHeader = "run.json"
	keyPlan   = "plan.json"
	keyCancel = "cancel.json"
	keyEnd    = "end.json"
	keyStage  = "stage."
)

// Stage returns the plan of the named stage, or nil.
func (r *Record) Stage(name string) *pipeline.PlannedStage { return r.Plan.Stage(name) }

// attempt is the current attempt of a stage, 1 when it has not started.
func (r *Record) attempt(stage string) int { return max(1, r.Stages[stage].Attempt) }

// ref is what object builders need to know of the run.
func (r *Record) ref() pipeline.RunRef {
	return pipeline.RunRef{Name: r.Name, Namespace: r.Namespace, Started: r.Created}
}

// jobName is the name of the Job of one execution, in the stage's current attempt.
func (r *Record) jobName(stage string, child int) string {
	return r.Stage(stage).JobName(r.Name, child, r.attempt(stage))
}

// encode writes the record into cm, leaving what else the object carries: keys of a later release among it. The plan
// never changes, so it stays as it was written.
func (r *Record) encode(cm *corev1.ConfigMap) error {
	cm.Name, cm.Namespace = kube.PrefixRun+r.Name, r.Namespace
	data := map[string]string{}
	for key, text := range cm.Data {
		if key != keyCancel && key != keyEnd && !strings.HasPrefix(key, keyStage) {
			data[key] = text
		}
	}
	put := func(key string, v any) error {
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			return fmt.Errorf("write %s of run %s: %w", key, r.Name, err)
		}
		data[key] = string(b)
		return nil
	}
	if err := put(keyHeader, r.Header); err != nil {
		return err
	}
	if data[keyPlan] == "" {
		if err := put(keyPlan, r.Plan); err != nil {
			return err
		}
	}
	for name, s := range r.Stages {
		if err := put(keyStage+name, s); err != nil {
			return err
		}
	}
	if r.Cancel != nil {
		if err := put(keyCancel, r.Cancel); err != nil {
			return err
		}
	}
	if r.End != nil {
		if err := put(keyEnd, r.End); err != nil {
			return err
		}
	}
	cm.Data = data
	return r.encodeMeta(cm)
}

// encodeMeta copies into labels and annotations what selectors and lists need.
func (r *Record) encodeMeta(cm *corev1.ConfigMap) error {
	set := func(m *map[string]string, k, v string) {
		if *m == nil {
			*m = map[string]string{}
		}
		if v == "" {
			delete(*m, k)
			return
		}
		(*m)[k] = v
	}
	for k, v := range r.Plan.Labels {
		set(&cm.Labels, k, v)
	}
	set(&cm.Labels, kube.LabelManagedBy, kube.ManagedBy)
	set(&cm.Labels, kube.LabelKind, kube.KindRun)
	set(&cm.Labels, kube.LabelPipeline, r.Plan.Pipeline)
	set(&cm.Labels, kube.LabelRun, r.Name)
	if src := r.Plan.Source; src != nil {
		set(&cm.Labels, kube.LabelSource, src.ConfigMap)
	}
	state := ""
	if r.End != nil {
		state = string(r.End.State)
	}
	set(&cm.Labels, kube.LabelState, state)
	b, err := json.Marshal(r.summary())
	if err != nil {
		return fmt.Errorf("write the summary of run %s: %w", r.Name, err)
	}
	set(&cm.Annotations, kube.AnnotationSummary, string(b))
	return nil
}

// decode reads a record. It fails on a damaged one, saying which key.
func decode(cm *corev1.ConfigMap) (*Record, error) {
	r := &Record{
		Name:      strings.TrimPrefix(cm.Name, kube.PrefixRun),
		Namespace: cm.Namespace, UID: string(cm.UID),
		Created: cm.CreationTimestamp.Time, Labels: cm.Labels,
		Stages: map[string]StageRecord{},
	}
	get := func(key string, v any) error {
		text, ok := cm.Data[key]
		if !ok {
			return nil
		}
		if err := json.Unmarshal([]byte(text), v); err != nil {
			return fmt.Errorf("the record of run %s is damaged: key %s of ConfigMap %s: %w", r.Name, key, cm.Name, err)
		}
		return nil
	}
	if cm.Data[keyPlan] == "" {
		return nil, fmt.Errorf("ConfigMap %s is no record of a run: it has no %s", cm.Name, keyPlan)
	}
	if err := get(keyHeader, &r.Header); err != nil {
		return nil, err
	}
	if err := get(keyPlan, &r.Plan); err != nil {
		return nil, err
	}
	if err := get(keyCancel, &r.Cancel); err != nil {
		return nil, err
	}
	if err := get(keyEnd, &r.End); err != nil {
		return nil, err
	}
	for key := range cm.Data {
		name, ok := strings.CutPrefix(key, keyStage)
		if !ok {
			continue
		}
		var s StageRecord
		if err := get(key, &s); err != nil {
			return nil, err
		}
		r.Stages[name] = s
	}
	return r, nil
}
