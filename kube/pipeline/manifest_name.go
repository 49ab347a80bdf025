package pipeline

import "encoding/json"

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
	err = json.Unmarshal(object, &m)
	return m.Metadata.Name, err
}
