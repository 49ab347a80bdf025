package pipeline

import (
	"fmt"
	"strings"
	"testing"
)

// stagesFile is a pipeline file of n stages, each with what stages usually have.
func stagesFile(n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: large}\nspec:\n  params: {seed: 7, lr: 0.1}\n" +
		"  source: ./stages\n  workspace: {claim: data, size: 10Gi}\n  defaults: {image: example.com/python:3.12, timeout: 30m}\n  stages:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: stage-%d\n", i)
		if i > 0 {
			fmt.Fprintf(&b, "    needs: [stage-%d]\n", i-1)
		}
		fmt.Fprintf(&b, "    command: [python3, train.py, --seed=$(params.seed)]\n")
		if i > 0 {
			fmt.Fprintf(&b, "    args: [\"--rmse=$(stages.stage-%d.metrics.rmse)\"]\n", i-1)
		}
		b.WriteString("    env:\n    - {name: MODE, value: fast}\n    resources:\n      requests: {cpu: 500m, memory: 1Gi}\n      limits: {memory: 2Gi}\n" +
			"    gpus: {count: 1, product: NVIDIA-L4}\n    gates:\n    - {metric: rmse, max: 60000}\n")
	}
	return []byte(b.String())
}

func BenchmarkLoad1000(b *testing.B) {
	data := stagesFile(1000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := Load("pipeline.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve1000(b *testing.B) {
	p, _, err := Load("pipeline.yaml", stagesFile(1000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Resolve(p, "r", Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
