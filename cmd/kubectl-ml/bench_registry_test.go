package main_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// How many models, and versions of each, the list of models is measured with.
const (
	benchModels   = 200
	benchVersions = 50
)

// registry measures the list of models against reading the same records with kubectl.
func (b *bench) registry() {
	c, err := client.New(kubetest.Cluster(b.t), b.namespace)
	if err != nil {
		b.t.Fatal(err)
	}
	work, failed := make(chan int), make(chan error, 8)
	for range cap(failed) {
		go func() {
			var first error
			for i := range work {
				if first == nil {
					first = makeModel(b.t.Context(), c, fmt.Sprintf("bench-model-%d", i))
				}
			}
			failed <- first
		}()
	}
	for i := range benchModels {
		work <- i
	}
	close(work)
	for range cap(failed) {
		if err := <-failed; err != nil {
			b.t.Fatal(err)
		}
	}
	x, y := b.alternate(7,
		func() sample { return b.call(b.ml, "models") },
		func() sample { return b.call(b.kubectl, "get", "configmaps", "-o", "json") })
	figure := fmt.Sprintf("models / get configmaps -o json, %d versions of %d models", benchModels*benchVersions, benchModels)
	b.row(figure, x, y, "<= 0.3x")
	_, _ = fmt.Fprintf(&b.table, "%s: bytes\t%.2f MB\t%.2f MB\t%.3fx\t<= 0.2x\n", figure, float64(x.bytes)/1e6, float64(y.bytes)/1e6, float64(x.bytes)/float64(y.bytes))
	x, y = b.alternate(7,
		func() sample { return b.call(b.ml, "models", "bench-model-7") },
		func() sample {
			return b.call(b.kubectl, "get", "configmaps", "-l", "kubectl-ml.dev/model=bench-model-7", "-o", "json")
		})
	b.row(fmt.Sprintf("models MODEL / get configmaps -l model -o json, %d versions", benchVersions), x, y, "<= 1.0x")
}

// makeModel registers versions as a training run does, the first of them in production.
func makeModel(ctx context.Context, c *client.Client, model string) error {
	for i := range benchVersions {
		f := registry.Facts{
			Model: model, Artifact: pipeline.Artifact{
				URI: fmt.Sprintf("s3://models/%s/%d/model.pkl", model, i), Digest: "sha256:" + strings.Repeat("0a", 32), Size: 1 << 20, Format: "pickle",
			},
			Metrics: map[string]float64{"rmse": 50000 + float64(i), "r2": 0.8, "mae": 31000.25},
			Params:  pipeline.Params{"lr": 0.1, "depth": int64(6), "seed": int64(i), "trees": int64(300)},
			Code:    registry.Code{Repo: "https://git.example.org/house-prices", Commit: strings.Repeat("c0de", 10)},
			Image:   "registry.example.org/train@sha256:" + strings.Repeat("1b", 32),
			Run:     &registry.Origin{Kind: "run", Name: fmt.Sprintf("house-prices-%05d", i), UID: "8d6f2a52-6a56-4f6f-9f3e-0c3a2f1b7a11", Pipeline: "house-prices", Stage: "train", Attempt: 1},
		}
		if _, _, err := registry.Register(ctx, c, f, registry.RegisterOptions{By: "ann"}); err != nil {
			return err
		}
	}
	_, err := registry.SetAlias(ctx, c, registry.Move{Model: model, Alias: registry.Production, To: 1, Action: registry.Promoted, By: "ann"})
	return err
}
