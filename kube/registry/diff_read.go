package registry

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// production is the alias that a single version is compared with.
const production = "production"

// DiffOptions say what is compared.
type DiffOptions struct {
	// From may be empty: then To is compared with production, or with the version before it where it is that itself or
	// where there is none.
	From, To Ref
	// Code compares the files of the stage code too.
	Code bool
}

// DiffOf compares two versions as the cluster has them.
func DiffOf(ctx context.Context, c *client.Client, o DiffOptions) (Diff, error) {
	to, err := Resolve(ctx, c, o.To)
	if err != nil {
		return Diff{}, err
	}
	head, err := GetHead(ctx, c, to.Model)
	if err != nil {
		return Diff{}, err
	}
	if o.From.Model == "" {
		if o.From, err = against(ctx, c, head, to.Version); err != nil {
			return Diff{}, err
		}
	}
	from, err := Resolve(ctx, c, o.From)
	if err != nil {
		return Diff{}, err
	}
	d := Compare(from, to, head.Better)
	if o.Code {
		d.Files, d.NoFiles, err = compareCode(ctx, c, from, to)
	}
	return d, err
}

// against is the version that a single one is compared with.
func against(ctx context.Context, c *client.Client, head *Head, version int) (Ref, error) {
	if n := head.Aliases[production]; n > 0 && n != version {
		return Ref{Model: head.Model, Version: n}, nil
	}
	list, err := Versions(ctx, c, head.Model)
	if err != nil {
		return Ref{}, err
	}
	before := 0
	for _, v := range list {
		if v.Version < version {
			before = max(before, v.Version)
		}
	}
	if before == 0 {
		return Ref{}, &client.Error{
			What: fmt.Sprintf("there is nothing to compare %s:%d with: it is the first version, and no other is production", head.Model, version),
			Hint: fmt.Sprintf("name two versions, as in: kubectl ml model diff %s:%d OTHER:1", head.Model, version),
		}
	}
	return Ref{Model: head.Model, Version: before}, nil
}

// compareCode compares the stage code of two versions, or says why it cannot.
func compareCode(ctx context.Context, c *client.Client, from, to Version) (files []FileDiff, why string, err error) {
	if from.Code.Source != "" && from.Code.Source == to.Code.Source && from.home() == to.home() {
		return nil, "", nil // the name of a source is the hash of its content
	}
	var sides [2]map[string][]byte
	for i, v := range []Version{from, to} {
		sides[i], why, err = source(ctx, c, v)
		if why != "" || err != nil {
			return nil, why, err
		}
	}
	return CompareFiles(from.ref(), to.ref(), sides[0], sides[1]), "", nil
}

func source(ctx context.Context, c *client.Client, v Version) (files map[string][]byte, why string, err error) {
	if v.Code.Source == "" {
		return nil, fmt.Sprintf("the code of %s was not kept: it was not made by a stage with spec.source", v.ref()), nil
	}
	cm, err := c.Kube.CoreV1().ConfigMaps(v.home()).Get(ctx, v.Code.Source, metav1.GetOptions{})
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("the code of %s is gone: configmap/%s in namespace %s was deleted", v.ref(), v.Code.Source, v.home()), nil
	case err != nil:
		return nil, fmt.Sprintf("the code of %s cannot be read: %s", v.ref(), firstLine(c.Explain("read configmap/"+v.Code.Source, err))), nil
	}
	return pipeline.SourceFiles(cm), "", nil
}
