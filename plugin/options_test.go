package plugin

import (
	"context"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

func testFactory() *Factory {
	return NewFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, func(string) string { return "" })
}

// argv makes a test of a command line: what the verb's run function is given.
func argv[O any](build func(*Factory, func(context.Context, *Factory, O) error) *cobra.Command) func(*testing.T, string) any {
	return func(t *testing.T, line string) any {
		t.Helper()
		var got O
		called := false
		c := build(testFactory(), func(_ context.Context, _ *Factory, o O) error {
			got, called = o, true
			return nil
		})
		c.SetArgs(strings.Fields(line))
		c.SilenceErrors, c.SilenceUsage = true, true
		if err := c.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !called {
			t.Fatalf("%s: the run function was not called", line)
		}
		return got
	}
}

func TestArgv(t *testing.T) {
	driver := driverOptions{ServiceAccount: run.DefaultServiceAccount}
	runC, applyC, diffC := argv(newRunCmd), argv(newApplyCmd), argv(newDiffCmd)
	resumeC, retryC, cancelC, deleteC := argv(newResumeCmd), argv(newRetryCmd), argv(newCancelCmd), argv(newDeleteCmd)
	runsC, statusC, waitC, logsC := argv(newRunsCmd), argv(newStatusCmd), argv(newWaitCmd), argv(newLogsCmd)
	initC, lintC, versionC := argv(newInitCmd), argv(newLintCmd), argv(newVersionCmd)
	whyC := argv(newWhyCmd)
	progressC := argv(newProgressCmd)
	type scheduleDo = func(context.Context, *Factory, scheduleOptions) error
	listC := argv(func(f *Factory, do scheduleDo) *cobra.Command { return newScheduleListCmd(f, "list", do) })
	suspendC := argv(func(f *Factory, do scheduleDo) *cobra.Command { return newScheduleChangeCmd(f, "suspend", "", do) })
	for _, c := range []struct {
		parse func(*testing.T, string) any
		line  string
		want  any
	}{
		{runC, "", runOptions{Stages: []string{}, Driver: driver, DryRun: "none"}},
		{
			runC, "train -f p.yaml --set lr=0.1 --set a=b,c --set-file note=n.txt --from a --to b --only x,y --only z --detach --timeout 90m --id 7 --reason why --exit-zero --dry-run=server -o json" +
				" --driver-image i --driver-service-account s --driver-pull-policy Never",
			runOptions{
				Stages: []string{"train"}, File: "p.yaml", Set: []string{"lr=0.1", "a=b,c"}, SetFile: []string{"note=n.txt"}, From: "a", To: "b", Only: []string{"x", "y", "z"}, Detach: true,
				Timeout: 90 * time.Minute, ID: "7", Reason: "why", ExitZero: true, DryRun: "server", Output: output{Format: "json"},
				Driver: driverOptions{Image: "i", ServiceAccount: "s", PullPolicy: "Never"},
			},
		},
		{runC, "a b --dry-run", runOptions{Stages: []string{"a", "b"}, Driver: driver, DryRun: "client"}},
		{applyC, "", applyOptions{Driver: driver, DryRun: "none"}},
		{applyC, "-f - --dry-run=client -o yaml", applyOptions{File: "-", Driver: driver, DryRun: "client", Output: output{Format: "yaml"}}},
		{diffC, "-f p.yaml", diffOptions{File: "p.yaml", Driver: driver}},
		{resumeC, "", resumeOptions{Run: "@latest", Driver: driver, DryRun: "none"}},
		{
			resumeC, "r --approve validate --reason fine --detach --exit-zero -o name",
			resumeOptions{Run: "r", Approve: "validate", Reason: "fine", Detach: true, ExitZero: true, Driver: driver, DryRun: "none", Output: output{Format: "name"}},
		},
		{retryC, "", retryOptions{Run: "@latest", DryRun: "none"}},
		{retryC, "run/r --from train --no-wait --exit-zero --dry-run=server", retryOptions{Run: "run/r", From: "train", NoWait: true, ExitZero: true, DryRun: "server"}},
		{cancelC, "", cancelOptions{Run: "@latest", DryRun: "none"}},
		{cancelC, "r -y --reason wrong", cancelOptions{Run: "r", Yes: true, Reason: "wrong", DryRun: "none"}},
		{deleteC, "a pipeline/b --yes --dry-run=client", deleteOptions{Names: []string{"a", "pipeline/b"}, Yes: true, DryRun: "client"}},
		{runsC, "", runsOptions{}},
		{runsC, "p -A -l a=b -o wide --no-headers", runsOptions{Pipeline: "p", All: true, Selector: "a=b", Output: output{Format: "wide", NoHeaders: true}}},
		{statusC, "", statusOptions{Run: "@latest"}},
		{statusC, "p@latest -w -o yaml", statusOptions{Run: "p@latest", Watch: true, Output: output{Format: "yaml"}}},
		{waitC, "", waitOptions{Run: "@latest"}},
		{waitC, "r --timeout 2h", waitOptions{Run: "r", Timeout: 2 * time.Hour}},
		{logsC, "", logsOptions{Target: "@latest", Rank: job.AllRanks, Tail: -1}},
		{
			logsC, "r/train -f -p --timestamps --prefix --all-containers --rank 3 --since 10m --tail 5 --grep loss -c main",
			logsOptions{
				Target: "r/train", Follow: true, Previous: true, Timestamps: true, Prefix: true, All: true, Rank: 3, Since: 10 * time.Minute, Tail: 5, Grep: "loss", Container: "main",
			},
		},
		{whyC, "", whyOptions{}},
		{whyC, "r/train --nodes --prometheus m/p:9090 -o json", whyOptions{Name: "r/train", Nodes: true, Prometheus: "m/p:9090", Output: output{Format: "json"}}},
		{whyC, "-A -o wide --no-headers", whyOptions{All: true, Output: output{Format: "wide", NoHeaders: true}}},
		{progressC, "j", progressOptions{Name: "j", Rank: job.AllRanks, Tail: -1}},
		{
			progressC, "job/j -f --metric loss,eval_* --metric acc --x epoch --log --smooth 0.6 --rank 2 -c main --since 1h --tail 9 --width 90 --height 20 --ascii -o json",
			progressOptions{
				Name: "job/j", Follow: true, Metrics: []string{"loss", "eval_*", "acc"}, Axis: "epoch", Log: true, Smooth: 0.6, Rank: 2, Container: "main", Since: time.Hour, Tail: 9, Width: 90,
				Height: 20, ASCII: true, Output: output{Format: "json"},
			},
		},
		{argv(newModelPullCmd), "m:7", modelPullOptions{Target: "m:7"}},
		{
			argv(newModelPullCmd), "--uri s3://b/k --digest d --to t --extract --force --secret s --plain-http --quiet --helper-image i --helper-pull-policy Never -o json",
			modelPullOptions{
				Target: "s3://b/k", Digest: "d", To: "t", Extract: true, Force: true, Output: output{Format: "json"},
				Store: storeOptions{Secret: "s", PlainHTTP: true, Quiet: true, Image: "i", PullPolicy: "Never"},
			},
		},
		{argv(newModelPushCmd), "f pvc://c/p --force", modelPushOptions{From: "f", URI: "pvc://c/p", Force: true}},
		{argv(newModelVerifyCmd), "a b@production --all", modelVerifyOptions{Targets: []string{"a", "b@production"}, All: true}},
		{argv(newModelVerifyCmd), "https://h/m --digest d", modelVerifyOptions{Targets: []string{"https://h/m"}, Digest: "d"}},
		{initC, "", initOptions{Dir: ".", DryRun: "none"}},
		{initC, "blank --name n --dir d --force --from j.yaml --dry-run", initOptions{Template: "blank", Name: "n", Dir: "d", Force: true, From: "j.yaml", DryRun: "client"}},
		{lintC, "-f p --strict -o json", lintOptions{File: "p", Strict: true, Output: output{Format: "json"}}},
		{versionC, "--client", versionOptions{Client: true}},
		{listC, "-A -l a=b", scheduleOptions{All: true, Selector: "a=b"}},
		{suspendC, "schedule/nightly --dry-run=server", scheduleOptions{Name: "nightly", DryRun: "server"}},
		{suspendC, "cronjob.batch/nightly", scheduleOptions{Name: "nightly", DryRun: "none"}},
	} {
		got := c.parse(t, c.line)
		if diff := cmp.Diff(c.want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("%T of %q (-want +got):\n%s", c.want, c.line, diff)
		}
	}
}

// TestEveryVerbIsDocumented: help that is thin shows here, before it shows to a person.
func TestEveryVerbIsDocumented(t *testing.T) {
	root := NewRoot(testFactory())
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.IsAdditionalHelpTopicCommand() {
			return
		}
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short text is %q: a phrase without a full stop", path, c.Short)
		}
		if c != root && !strings.Contains(c.Example, path) && !strings.Contains(c.Example, "kubectl-ml "+c.Name()) {
			t.Errorf("%s: no example calls it:\n%s", path, c.Example)
		}
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 120 || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: a line too long, or with blanks at its end: %q", path, line)
			}
		}
		flagsAreDocumented(t, c)
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(root)
}
