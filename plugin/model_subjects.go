package plugin

import (
	"context"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// subject is an artifact to verify under its name.
type subject struct {
	name string
	item artifact.Item
}

// subjectOf is the artifact of a version, by the name of which everything else is said of it.
func subjectOf(ctx context.Context, c *client.Client, name string) (subject, error) {
	ref, err := registry.ParseRef(name)
	if err != nil {
		return subject{}, err
	}
	v, err := registry.Resolve(ctx, c, ref)
	if err != nil {
		return subject{}, err
	}
	return subject{
		name: registry.Ref{Model: v.Model, Version: v.Version}.String(),
		item: artifact.Item{
			Artifact: v.Artifact, Namespace: v.Namespace,
			Inline: func(ctx context.Context) ([]byte, error) { return registry.Inline(ctx, c, v) },
		},
	}, nil
}

// allVersions are the artifacts of every version of models, or of all models. A record that cannot be read is among
// the problems, not in the way of the others.
func (f *Factory) allVersions(ctx context.Context, c *client.Client, models []string) ([]subject, []artifact.Verdict, error) {
	if len(models) == 0 {
		all, err := registry.Names(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		models = all
	}
	var list []subject
	var unread []artifact.Verdict
	for _, m := range models {
		versions, err := registry.Versions(ctx, c, m)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range versions {
			name := registry.Ref{Model: v.Model, Version: v.Version}.String()
			s, err := subjectOf(ctx, c, name)
			if err != nil {
				unread = append(unread, artifact.Verdict{Version: name, State: artifact.Unread, Message: err.Error()})
				continue
			}
			list = append(list, s)
		}
	}
	return list, unread, nil
}
