package serving

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// state is what has been decided in a rollout. How far the cluster has followed is read from live objects.
type state string

const (
	// stepping: the new side grows, step by step, beside the one that serves.
	stepping state = "stepping"
	// promoting: the stable Deployment takes the new spec, then the canary goes. A rolling rollout begins here.
	promoting state = "promoting"
	// switched: the Service selects the new side, the old one still runs.
	switched state = "switched"
	// aborting: the stable side is brought back, then the new one goes.
	aborting state = "aborting"
	// The ends.
	healthy state = "healthy"
	aborted state = "aborted"
	failed  state = "failed"
)

func (s state) ended() bool { return s == healthy || s == aborted || s == failed }

// record is what is stored of a rollout, in an annotation of the object that decides who serves.
type record struct {
	ID    string `json:"id"`
	Key   string `json:"key,omitempty"`
	State state  `json:"state"`
	Model string `json:"model"`
	// To is the version that is rolled out, From the one before, 0 where there was none.
	To       int               `json:"to"`
	From     int               `json:"from,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Strategy pipeline.Strategy `json:"strategy"`
	// Old and New are the sides.
	Old string `json:"old,omitempty"`
	New string `json:"new"`
	// Size is the number of replicas at full size.
	Size    int32                 `json:"size"`
	Steps   []pipeline.DeployStep `json:"steps,omitempty"`
	Step    int                   `json:"step,omitempty"`
	Started time.Time             `json:"started"`
	// Since is when the state or the step began, Reached when the step had its weight, Ended when it all ended.
	Since   time.Time  `json:"since"`
	Reached *time.Time `json:"reached,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Passed lets the step's pause pass, and frees the old side of a blue-green rollout; Full skips all steps.
	Passed bool `json:"passed,omitempty"`
	Full   bool `json:"full,omitempty"`
	// Target is the spec that is rolled out, Apply the user's manifest that it comes of, Before the pods of the version before.
	Target *appsv1.DeploymentSpec  `json:"target,omitempty"`
	Apply  json.RawMessage         `json:"apply,omitempty"`
	Before *corev1.PodTemplateSpec `json:"before,omitempty"`

	Service string           `json:"service,omitempty"`
	Route   string           `json:"route,omitempty"`
	Keep    *metav1.Duration `json:"keep,omitempty"`
	NoAbort bool             `json:"noAbort,omitempty"`
	Alias   string           `json:"alias,omitempty"`

	By      string `json:"by,omitempty"`
	Comment string `json:"comment,omitempty"`
	Run     string `json:"run,omitempty"`
	Stage   string `json:"stage,omitempty"`
	// Stop is who aborted; Fault why it failed by itself, by a gate if GateFailed.
	Stop       *registry.Mark `json:"stop,omitempty"`
	Fault      string         `json:"fault,omitempty"`
	GateFailed bool           `json:"gateFailed,omitempty"`
	// Image is what the pods of the new side ran, as seen at the end.
	Image string `json:"image,omitempty"`
	// Told are the lines of the model's history that are written, and the alias once it has moved.
	Told     []string `json:"told,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// maxRecord leaves room for other annotations within the 256 KiB that an object may have.
const maxRecord = 200 << 10

func (r *record) encode() (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write the record of the rollout: %w", err)
	}
	if len(b) > maxRecord {
		return "", fmt.Errorf("the record of the rollout has %d bytes, at most %d fit into an annotation: make the pod's spec smaller, such as by ConfigMaps in place of long env values", len(b), maxRecord)
	}
	return string(b), nil
}

// decodeRecord reads the record of an object, nil where it has none.
func decodeRecord(o metav1.Object, object string) (*record, error) {
	text := o.GetAnnotations()[kube.AnnotationRollout]
	if text == "" {
		return nil, nil
	}
	r := &record{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, fmt.Errorf("the record of the rollout is damaged, annotation %s of %s: %w\n  remove it with: kubectl annotate %s %s-", kube.AnnotationRollout, object, err, object, kube.AnnotationRollout)
	}
	if r.ID == "" || r.Size < 0 || r.Step < 0 || r.Step > len(r.Steps) {
		return nil, fmt.Errorf("the record of the rollout is damaged, annotation %s of %s\n  remove it with: kubectl annotate %s %s-", kube.AnnotationRollout, object, object, kube.AnnotationRollout)
	}
	return r, nil
}

// clone is a copy whose fields can be set.
func (r *record) clone() *record {
	out := *r
	out.Told = append([]string(nil), r.Told...)
	out.Warnings = append([]string(nil), r.Warnings...)
	return &out
}

// step is the step that the rollout is at, nil where it has none.
func (r *record) step() *pipeline.DeployStep {
	if r.State != stepping || r.Step >= len(r.Steps) {
		return nil
	}
	return &r.Steps[r.Step]
}

// enter begins a state.
func (r *record) enter(s state, now time.Time) *record {
	out := r.clone()
	out.State, out.Since, out.Reached, out.Passed = s, now, nil, false
	if s.ended() {
		out.Ended = &now
		// What is left to know of it is small; the pods before are kept for undo.
		out.Target, out.Apply, out.Steps, out.Step = nil, nil, nil, 0
	}
	return out
}

// fail begins what follows from a fault: the way back, or the end where nothing is taken back.
func (r *record) fail(fault string, gate bool, now time.Time) *record {
	next := aborting
	if r.Strategy == pipeline.Rolling {
		next = failed
	}
	out := r.enter(next, now)
	out.Fault, out.GateFailed = fault, gate
	return out
}

// version is the version that a template says it serves.
func version(annotations map[string]string) int {
	n, err := strconv.Atoi(annotations[kube.LabelVersion])
	if err != nil || n < 0 {
		return 0
	}
	return n
}
