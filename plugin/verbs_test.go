package plugin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// flagsAreDocumented holds the flags of a verb to what a reader needs: a text, a named value, the default in words
// where the zero value means more than nothing.
func flagsAreDocumented(t *testing.T, c *cobra.Command) {
	t.Helper()
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" {
			t.Errorf("%s --%s has no text", c.CommandPath(), f.Name)
		}
		zero := map[string]string{"int64": "-1", "duration": "0s"}[f.Value.Type()]
		named := strings.Contains(f.Usage, "`")
		switch {
		case f.Value.Type() == "bool" || f.Name == "help":
		case !named:
			t.Errorf("%s --%s: its value has no name", c.CommandPath(), f.Name)
		case zero != "" && f.DefValue == zero && f.Name != "since" && !strings.Contains(f.Usage, "("):
			t.Errorf("%s --%s does not say what %s means: %s", c.CommandPath(), f.Name, zero, f.Usage)
		}
	})
}

// bench is a factory whose output is kept.
type bench struct {
	*Factory
	out, errOut bytes.Buffer
}

func newBench() *bench {
	b := &bench{}
	b.Factory = NewFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &b.out, ErrOut: &b.errOut}, func(string) string { return "" })
	return b
}

// step is a run function called with a literal, its exit code, and what it prints on both streams, as expressions.
type step struct {
	name     string
	do       func(context.Context, *Factory) error
	code     int
	out, err string
}

func call[O any](do func(context.Context, *Factory, O) error, o O) func(context.Context, *Factory) error {
	return func(ctx context.Context, f *Factory) error { return do(ctx, f, o) }
}

func (s step) check(t *testing.T, b *bench) {
	t.Helper()
	code := b.report(s.do(t.Context(), b.Factory))
	if code != s.code {
		t.Errorf("%s: exit code %d, want %d", s.name, code, s.code)
	}
	for stream, want := range map[*bytes.Buffer]string{&b.out: s.out, &b.errOut: s.err} {
		if want == "" && stream.Len() > 0 || !regexp.MustCompile(want).MatchString(stream.String()) {
			t.Errorf("%s: printed %q, want %q", s.name, stream.String(), want)
		}
	}
}

func TestVerbsWithoutACluster(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pipeline.yaml")
	for _, s := range []step{
		{"init", call(runInit, initOptions{Template: "house-prices", Dir: dir}), 0, `pipeline\.yaml created`, `kubectl ml run -f `},
		{"init again", call(runInit, initOptions{Template: "house-prices", Dir: dir}), 1, "", `^error: .* exists? in `},
		{"lint", call(runLint, lintOptions{File: file, Strict: true}), 0, "", "pipeline house-prices is good: 4 stages"},
		{"lint of nothing", call(runLint, lintOptions{File: "nowhere.yaml"}), 1, "", "^error: pipeline file nowhere.yaml not found"},
		{"version", call(runVersion, versionOptions{Client: true}), 0, "^Client Version: v", ""},
	} {
		s.check(t, newBench())
	}
}

func TestVerbsOnACluster(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	jobs := filepath.Join("testdata", "forbidden", "jobs.yaml")
	slow := filepath.Join(t.TempDir(), "slow.yaml")
	text, err := os.ReadFile(jobs)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(bytes.Replace(text, []byte("spec:"), []byte("spec:\n  schedule: '@weekly'"), 1), []byte("100ms"), []byte("1h"))
	if err := os.WriteFile(slow, text, 0o600); err != nil {
		t.Fatal(err)
	}
	driver := driverOptions{ServiceAccount: "default"}
	for _, s := range []step{
		{"runs of nothing", call(runRuns, runsOptions{}), 0, "", "^No runs found in namespace test-"},
		{"run", call(runRun, runOptions{File: jobs, ID: "a"}), 0, "^run/p-a created\nrun/p-a succeeded\n$", "stage report Succeeded"},
		{"run again", call(runRun, runOptions{File: jobs, ID: "a"}), 0, "^run/p-a taken up: it was there before\nrun/p-a succeeded\n$", "stage report Succeeded"},
		{"objects", call(runRun, runOptions{File: jobs, ID: "c", DryRun: "client", Output: output{Format: "json"}}), 0, `(?s)^\{\n    "kind": "List",.*"items": \[.*"kind": "ConfigMap".*"kind": "Job".*\]\n\}\n$`, ""},
		{"rank", call(runLogs, logsOptions{Target: "train", Rank: 3, Tail: -1}), ExitError, "", "has no pod of rank 3: only the pods of a Job with completionMode Indexed have ranks"},
		{"run, checked", call(runRun, runOptions{File: jobs, ID: "c", DryRun: "server"}), 0, `job.batch/p-c-train created \(server dry run\)`, ""},
		{"status", call(runStatus, statusOptions{Run: "@latest"}), 0, "State:     Succeeded", ""},
		{"runs", call(runRuns, runsOptions{Output: output{Format: "name"}}), 0, "^run/p-a\n$", ""},
		{"logs", call(runLogs, logsOptions{Target: "train", Rank: -1, Tail: -1, Prefix: true}), 0, "^train p-a-train-", ""},
		{"wait", call(runWait, waitOptions{Run: "p-a", Output: output{Format: "jsonpath={.state}"}}), 0, "^Succeeded$", "stage report"},
		{"retry", call(runRetry, retryOptions{Run: "run/p-a", From: "report"}), 0, "^run/p-a starts again: report\nrun/p-a succeeded\n$", "stage report Succeeded"},
		{"diff", call(runDiff, diffOptions{File: slow, Driver: driver}), ExitError, `\+  schedule: '@weekly'`, ""},
		{"apply", call(runApply, applyOptions{File: slow, Driver: driver}), 0, "cronjob.batch/p created", "kubectl ml run -f p"},
		{"diff of the same", call(runDiff, diffOptions{File: slow, Driver: driver}), 0, "", ""},
		{"schedule", call(runSchedules, scheduleOptions{}), 0, `(?m)^p +\(all\) +@weekly `, ""},
		{"suspend", call(runSuspend, scheduleOptions{Name: "p"}), 0, "^cronjob.batch/p suspended\n$", ""},
		{"trigger", call(runTrigger, scheduleOptions{Name: "p", DryRun: "client"}), 0, `^job.batch/p-now-[a-z0-9]+ created \(dry run\)`, ""},
		{"unsuspend", call(runUnsuspend, scheduleOptions{Name: "p"}), 0, "^cronjob.batch/p resumed\n$", ""},
		{"detach", call(runRun, runOptions{File: "p", ID: "b", Detach: true, Driver: driver}), 0, "^run/p-b created\n$", "Follow it with:  kubectl ml status p-b -n test-.* --kubeconfig .* -w"},
		{"cancel", call(runCancel, cancelOptions{Run: "p-b", Yes: true, Reason: "a test"}), 0, "^run/p-b cancelled\n$", "kubectl ml retry p-b -n test-"},
		{"resume", call(runResume, resumeOptions{Run: "p-b"}), ExitCancelled, "^run/p-b cancelled: cancelled by .*: a test\n$", "stage train Cancelled"},
		{"delete", call(runDelete, deleteOptions{Names: []string{"p-a", "run/p-b", "pipeline/p"}, Yes: true}), 0, "configmap/mlpipeline-p deleted", ""},
	} {
		b := newBench()
		*b.Config.KubeConfig, *b.Config.Namespace = sandbox.Kubeconfig, ns
		s.check(t, b)
	}
}

func TestErrorTexts(t *testing.T) {
	two := pipeline.Problems{{File: "p.yaml", Line: 3, Column: 1, Message: "a"}, {File: "p.yaml", Line: 4, Column: 2, Message: "b\x1b[31m"}}
	for want, err := range map[string]error{
		"error: it broke":      errors.New("it broke"),
		"error: it\n  broke":   errors.New("it\n  bro\x1b[2Jke"),
		"error: p.yaml:3:1: a": two[:1],
		"error: 2 problems in p.yaml:\np.yaml:3:1: a\np.yaml:4:2: b": two,
	} {
		if got := errorText(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWrapText(t *testing.T) {
	text := "One two three\nfour five.\n\n  kept   as it is, however long it may be\nList:\n  - a\nEnd"
	want := "One two three\nfour five.\n\n  kept   as it is, however long it may be\nList:\n  - a\nEnd"
	if got := wrapText(text, 14); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := wrapText("One two three\nfour", 80); got != "One two three four" {
		t.Errorf("a paragraph became %q", got)
	}
	if got := wrapText(text, 0); got != text {
		t.Errorf("without a width the text became %q", got)
	}
}

func TestHints(t *testing.T) {
	waiting := run.Stage{Name: "train", State: run.AwaitingApproval}
	failed := run.Stage{Name: "train", State: run.Failed, Reason: "Error"}
	for name, c := range map[string]struct {
		state run.State
		stage run.Stage
		want  string
	}{
		"a gate waits":              {run.AwaitingApproval, waiting, "Let it pass with:  kubectl ml resume r --approve train --reason TEXT -n a"},
		"cancelled while it waited": {run.Cancelled, waiting, "Start what is missing again with:  kubectl ml retry r -n a"},
		"late while it waited":      {run.TimedOut, waiting, "Start what is missing again with:  kubectl ml retry r -n a"},
		"failed":                    {run.Failed, failed, "See why with:  kubectl ml logs r/train -n a"},
		"late after a failure":      {run.TimedOut, failed, "See why with:  kubectl ml logs r/train -n a"},
	} {
		r := run.Run{Record: &run.Record{Name: "r"}, State: c.state, Now: []run.Stage{c.stage}}
		if got := hints(r, " -n a"); len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestWhere(t *testing.T) {
	b := newBench()
	if got := b.where(); got != "" {
		t.Errorf("without flags: %q", got)
	}
	*b.Config.Namespace, *b.Config.KubeConfig = "a", "/my files/it's"
	if got, want := b.where(), ` -n a --kubeconfig '/my files/it'\''s'`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
