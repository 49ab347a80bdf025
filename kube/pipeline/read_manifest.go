package pipeline

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// readManifest reads one object and returns it as JSON, as it stands in the file.
func readManifest(file string, data []byte) (json.RawMessage, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var head metav1.TypeMeta
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if !isManifestKind(head.Kind) {
		return nil, fmt.Errorf("%s: kind %q: a stage's manifest is a Job, CronJob or Deployment", file, head.Kind)
	}
	return raw, nil
}

func checkManifestStage(s *PlannedStage) error {
	if s.Deploy != nil && s.Kind() != KindDeployment {
		return fmt.Errorf("stage %s: deploy needs a Deployment", s.Name)
	}
	return nil
}
