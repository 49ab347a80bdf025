package plugin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

func TestArgvOfRollouts(t *testing.T) {
	driver := driverOptions{ServiceAccount: run.DefaultServiceAccount}
	for _, c := range []struct {
		parse func(*testing.T, string) any
		line  string
		want  any
	}{
		{argv(newDeployCmd), "m:1", deployOptions{Version: "m:1", Replicas: -1, Driver: driver, DryRun: "none"}},
		{
			argv(newDeployCmd), "m@staging --to x -f d.yaml --strategy canary --steps 10%:5m --ready-for 1m --keep 0s --autoscale 2:6 --alias production --diff",
			deployOptions{
				Version: "m@staging", To: "x", File: "d.yaml", Strategy: "canary", Steps: "10%:5m", Ready: time.Minute, KeepSet: true, Autoscale: "2:6",
				Alias: "production", Diff: true, Replicas: -1, Driver: driver, DryRun: "none",
			},
		},
		{argv(newRolloutListCmd), "-A -l a=b", rolloutListOptions{All: true, Selector: "a=b"}},
		{argv(newRolloutStatusCmd), "deployment/x -w", rolloutStatusOptions{Name: "x", Watch: true}},
		{argv(newRolloutResumeCmd), "x --exit-zero", rolloutResumeOptions{Name: "x", ExitZero: true, Driver: driver}},
		{argv(newRolloutPromoteCmd), "x --full --comment why", rolloutPromoteOptions{Name: "x", Full: true, Comment: "why", Driver: driver, DryRun: "none"}},
		{argv(newRolloutAbortCmd), "x -y --no-wait", rolloutAbortOptions{Name: "x", Yes: true, NoWait: true, DryRun: "none"}},
		{argv(newRolloutUndoCmd), "x --to-version 3 --dry-run", rolloutUndoOptions{Name: "x", To: 3, DryRun: "client"}},
	} {
		if diff := cmp.Diff(c.want, c.parse(t, c.line)); diff != "" {
			t.Errorf("%s: %s", c.line, diff)
		}
	}
}
