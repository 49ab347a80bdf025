package pipeline

import (
	"sigs.k8s.io/yaml"
)

// Load reads, checks and decodes a pipeline file.
func Load(file string, data []byte) (p *Pipeline, warnings Problems, err error) {
	p = &Pipeline{}
	if err := yaml.UnmarshalStrict(data, p); err != nil {
		return nil, nil, Problems{{File: file, Line: 1, Column: 1, Message: err.Error()}}
	}
	return p, nil, nil
}
