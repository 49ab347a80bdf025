package serving

import (
	"context"
	"errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

var errSoon = errors.New("rollouts are not built yet")

// Start begins the rollout of a version.
func Start(ctx context.Context, c *client.Client, q Request, dryRun []string) (Rollout, error) {
	return Rollout{}, errSoon
}

// Get is how the rollout of a name stands.
func Get(ctx context.Context, c *client.Client, name string) (Rollout, error) {
	return Rollout{}, errSoon
}

// List are the rollouts of the namespace, or of all.
func List(ctx context.Context, c *client.Client, all bool, selector string) ([]Rollout, error) {
	return nil, errSoon
}

// Advance takes a rollout one step forward.
func Advance(ctx context.Context, c *client.Client, name string) (r Rollout, acted bool, err error) {
	return Rollout{}, false, errSoon
}

// Drive takes a rollout forward until it ends or needs a person.
func Drive(ctx context.Context, c *client.Client, name string, show func(Update)) (Rollout, error) {
	return Rollout{}, errSoon
}

// Promote lets a rollout pass its pause; full skips the steps that are left.
func Promote(ctx context.Context, c *client.Client, name string, full bool, mark registry.Mark, dryRun []string) (Rollout, error) {
	return Rollout{}, errSoon
}

// Abort takes a rollout back.
func Abort(ctx context.Context, c *client.Client, name string, mark registry.Mark, dryRun []string) (Rollout, error) {
	return Rollout{}, errSoon
}

// Undo goes back to the version before the last rollout, or to a version that served earlier.
func Undo(ctx context.Context, c *client.Client, name string, to int, mark registry.Mark, dryRun []string) (Rollout, error) {
	return Rollout{}, errSoon
}
