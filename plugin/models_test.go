package plugin

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestModelArgv(t *testing.T) {
	modelsC, showC, diffC := argv(newModelsCmd), argv(newModelShowCmd), argv(newModelDiffCmd)
	historyC, lineageC, auditC := argv(newModelHistoryCmd), argv(newModelLineageCmd), argv(newAuditCmd)
	for _, c := range []struct {
		parse func(*testing.T, string) any
		line  string
		want  any
	}{
		{modelsC, "", modelsOptions{}},
		{modelsC, "m --sort-by -rmse --all -l a=b -o wide --no-headers", modelsOptions{Model: "m", SortBy: "-rmse", Archived: true, Selector: "a=b", Output: output{Format: "wide", NoHeaders: true}}},
		{modelsC, "-A", modelsOptions{All: true}},
		{showC, "m@production -o yaml", modelShowOptions{Ref: "m@production", Output: output{Format: "yaml"}}},
		{diffC, "m", modelDiffOptions{To: "m", Code: true}},
		{diffC, "m:1 m:2 --code=false --exit-code -o json", modelDiffOptions{From: "m:1", To: "m:2", ExitCode: true, Output: output{Format: "json"}}},
		{historyC, "m --since 7d -o wide", modelHistoryOptions{Model: "m", Since: "7d", Output: output{Format: "wide"}}},
		{lineageC, "m:3", modelLineageOptions{Ref: "m:3"}},
		{auditC, "", auditOptions{}},
		{
			auditC, "--since 7d --until 2026-11-03 --model m --who alice --alias production -A -o json",
			auditOptions{Since: "7d", Until: "2026-11-03", Model: "m", Who: "alice", Alias: "production", All: true, Output: output{Format: "json"}},
		},
		{auditC, "--at 2026-11-03T12:00", auditOptions{At: "2026-11-03T12:00"}},
	} {
		got := c.parse(t, c.line)
		if diff := cmp.Diff(c.want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("%T of %q (-want +got):\n%s", c.want, c.line, diff)
		}
	}
}

func TestAuditRefuses(t *testing.T) {
	now := time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	for want, o := range map[string]auditOptions{
		"--at 2026-11-05T00:00:00Z is in the future":                                                                             {At: "2026-11-05"},
		"--at asks how all stood at a moment: --since, --until and --who choose among changes, so leave them out":                {At: "1d", Who: "alice"},
		"nothing can be between --since 1d and --until 2d":                                                                       {Since: "1d", Until: "2d"},
		"--since: \"soon\" is no time: write a span such as 7d or 36h, 2026-11-03, \"2026-11-03 12:00\" or 2026-11-03T12:00:00Z": {Since: "soon"},
	} {
		if _, _, err := o.filter(now); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f, _, err := auditOptions{Since: "2026-11-03", Until: "2026-11-03"}.filter(now)
	if err != nil || f.Until.Sub(f.Since) != 24*time.Hour {
		t.Errorf("a whole day is from %s to %s, %v", f.Since, f.Until, err)
	}
}
