package artifact

import (
	"context"
	"errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// State is what became of an artifact that was verified.
type State string

// The states.
const (
	// Intact has the digest that it should have.
	Intact State = "ok"
	// Unverified can be read, and nobody recorded its digest.
	Unverified State = "unverified"
	Mismatch   State = "mismatch"
	Missing    State = "missing"
	// Unread could not be read, so nothing is known of it.
	Unread State = "unread"
)

// Verdict is what Examine found out about one artifact.
type Verdict struct {
	// Version is its name, empty for a URI by itself.
	Version string `json:"version,omitempty"`
	State   State  `json:"state"`
	// Artifact is as it should be; Found is the digest that it has, where that was found out.
	pipeline.Artifact
	Found string `json:"found,omitempty"`
	// Message says why it is not intact.
	Message string `json:"message,omitempty"`
}

// Text is the message behind the version's name, unless that is the URI, which the message names itself.
func (v Verdict) Text() string {
	if v.Version == "" || v.Version == v.URI {
		return v.Message
	}
	return v.Version + ": " + v.Message
}

// Examine is Verify for many: what is wrong with an artifact is part of the answer.
func Examine(ctx context.Context, c *client.Client, version string, item Item, o Options) (Verdict, error) {
	v := Verdict{Version: version, Artifact: item.Artifact}
	a, err := Verify(ctx, c, item, o)
	var mismatch *MismatchError
	var missing *MissingError
	switch {
	case err == nil && item.Digest == "":
		v.State, v.Found, v.Size, v.Message = Unverified, a.Digest, a.Size, "no digest is recorded"
	case err == nil:
		v.State, v.Found, v.Size = Intact, a.Digest, a.Size
	case errors.As(err, &mismatch):
		v.State, v.Found, v.Message = Mismatch, mismatch.Got, err.Error()
	case errors.As(err, &missing):
		v.State, v.Message = Missing, err.Error()
	default:
		v.State, v.Message = Unread, err.Error()
	}
	return v, err
}
