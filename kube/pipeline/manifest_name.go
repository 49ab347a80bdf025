package pipeline

import (
	"encoding/json"
	"fmt"
)

// ManifestName checks a manifest as strictly as a stage that names it does, and returns its object's name.
func ManifestName(file string, data []byte) (string, error) {
	object, err := readManifest(file, data)
	if err != nil {
		return "", err
	}
	var m struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(object, &m); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return m.Metadata.Name, nil
}
