package pipeline

import (
	_ "embed" // the schema is a file, checked in for editors
)

//go:embed schema.json
var schemaJSON []byte

// Schema is the JSON Schema (2020-12) of a pipeline file.
func Schema() ([]byte, error) { return schemaJSON, nil }
