package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgvOfWork(t *testing.T) {
	jobC, suspendC, scaleC := argv(newJobCmd), argv(newSuspendCmd), argv(newScaleCmd)
	for _, c := range []struct {
		parse func(*testing.T, string) any
		line  string
		want  any
	}{
		{jobC, "pytorchjob/bert -o wide --prometheus monitoring/prometheus:9090", jobOptions{Name: "pytorchjob/bert", Prometheus: "monitoring/prometheus:9090", Output: output{Format: "wide"}}},
		{suspendC, "train", suspendOptions{Name: "train", DryRun: "none"}},
		{suspendC, "train -y --dry-run=server -o json", suspendOptions{Name: "train", Yes: true, DryRun: "server", Output: output{Format: "json"}}},
		{scaleC, "train", scaleOptions{Name: "train", Replicas: -1, DryRun: "none"}},
		{scaleC, "train --replicas 0 --dry-run", scaleOptions{Name: "train", DryRun: "client"}},
	} {
		if diff := cmp.Diff(c.want, c.parse(t, c.line), cmp.AllowUnexported(output{})); diff != "" {
			t.Errorf("%s: %s", c.line, diff)
		}
	}
}
