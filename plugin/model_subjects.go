package plugin

import (
	"context"
	"fmt"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

func (f *Factory) versionItem(_ context.Context, _ *client.Client, target string) (*client.Client, artifact.Item, error) {
	return nil, artifact.Item{}, fmt.Errorf("%q is no URI of an artifact", target)
}

func (f *Factory) allVersions(context.Context, []string) (*client.Client, []subject, error) {
	return nil, nil, fmt.Errorf("name the URIs of artifacts")
}

func (f *Factory) modelRefs(context.Context, *client.Client) ([]string, error) { return nil, nil }
