package registry

// Problem is something wrong with a record, and how to mend it.
type Problem struct {
	Model string `json:"model"`
	// Version is 0 for the model as a whole.
	Version int `json:"version,omitempty"`
	// Object is the name of the ConfigMap.
	Object string `json:"object,omitempty"`
	What   string `json:"what"`
	Hint   string `json:"hint,omitempty"`
}
