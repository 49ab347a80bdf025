package serving

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// ReadManifest finds the one Deployment in a YAML or JSON file of any number of documents.
func ReadManifest(text []byte) (json.RawMessage, error) {
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var found json.RawMessage
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		body, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("read the manifest: %w", err)
		}
		var head metav1.TypeMeta
		if err := json.Unmarshal(body, &head); err != nil {
			return nil, errors.New("the manifest is no object of Kubernetes")
		}
		switch {
		case head.Kind != "Deployment":
		case found != nil:
			return nil, errors.New("the manifest has several Deployments: a rollout is of one")
		default:
			found = body
		}
	}
	if found == nil {
		return nil, errors.New("the manifest has no Deployment")
	}
	return found, nil
}

// ParseSteps reads the steps of a canary from WEIGHT[%][:PAUSE],..., such as 10%:approval,50%:5m,100%.
func ParseSteps(text string) ([]pipeline.DeployStep, error) {
	var out []pipeline.DeployStep
	for part := range strings.SplitSeq(text, ",") {
		weight, pause, pauses := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.ParseInt(strings.TrimSuffix(weight, "%"), 10, 32)
		if err != nil || n < 1 || n > 100 {
			return nil, fmt.Errorf("step %q: a step is a weight from 1%% to 100%%, then perhaps a pause: 10%%:approval,50%%:5m", part)
		}
		s := pipeline.DeployStep{Weight: int32(n)}
		if pauses {
			s.Pause = &pipeline.Pause{Approval: pause == "approval"}
			if !s.Pause.Approval {
				if s.Pause.Duration, err = time.ParseDuration(pause); err != nil || s.Pause.Duration < 0 {
					return nil, fmt.Errorf("step %q: the pause %q is neither a duration such as 5m nor the word approval", part, pause)
				}
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// ReadSteps reads the steps of a canary from YAML as a pipeline file has them: a list, with pauses and gates.
func ReadSteps(text []byte) ([]pipeline.DeployStep, error) {
	var out []pipeline.DeployStep
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		return nil, fmt.Errorf("read the steps, a list of {weight, pause, gates}: %w", err)
	}
	for i, s := range out {
		for j, g := range s.Gates {
			if (g.Ready == nil) == (g.Job == nil) {
				return nil, fmt.Errorf("gate %d of step %d: a gate is either ready, a duration, or job, a container", j+1, i+1)
			}
			if g.Job != nil && g.Job.Image == "" {
				return nil, fmt.Errorf("gate %d of step %d: the job has no image", j+1, i+1)
			}
		}
	}
	return out, nil
}
