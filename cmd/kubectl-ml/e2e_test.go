package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestE2E runs the house-prices example in real containers through `kubectl ml`. It needs Linux, root and E2E=1
// (`make e2e` sets it): it boots a sandbox with a real node, which takes minutes the first time.
func TestE2E(t *testing.T) {
	if os.Getenv("E2E") == "" {
		t.Skip("set E2E=1, or say: make e2e")
	}
	e := newE2E(t)
	defer e.report()
	e.step("version", "kubectl finds the plugin and both versions are told", e.version)
	e.step("lint", "the example is good", func() { e.ok("lint", "-f", e.file) })
	e.step("apply, diff", "the pipeline is stored; nothing differs afterwards", e.apply)
	e.step("run", "four stages in real containers, results and gates", e.wholeRun)
	e.step("logs", "progress lines of the training, by stage, filtered", e.logs)
	e.step("run train --set", "one stage with another parameter", e.oneStage)
	e.step("models: registered", "both trainings are versions of house-prices, with run, image, params", e.registered)
	e.step("models: diff, approve, promote", "what differs; approved; production by --if-current", e.compared)
	e.step("models: deploy", "version 1 answers /predict through the API server and exposes its metrics", e.served)
	e.step("models: canary", "version 2 gets a share, is aborted, deployed again, approved and promoted", e.canary)
	e.step("models: rollback", "production and what serves go back to version 1", e.rolledBack)
	e.step("models: pull, verify", "the pickle comes out of its volume with its digest", e.pulled)
	e.step("models: audit", "the history tells who did all that", e.audited)
	e.step("status -w, wait", "followed by others, with its exit code", e.followed)
	e.step("gate", "a bad model is stopped with exit code 7; approved with who and why", e.gate)
	e.step("cancel", "the training's Job goes, exit code 6", e.cancel)
	e.step("retry --from", "the cancelled training again, attempt 2", e.retry)
	e.step("kill -9, resume", "the client dies in the middle; nothing runs twice", e.killed)
	e.step("kill -9 of 2", "two clients drive, one dies, the other ends it", e.twoClients)
	e.step("detach", "a driver in the cluster ends the run", e.detach)
	e.step("sweep", "three children, the best by rmse is validated", e.sweep)
	e.step("failures", "wrong image, missing Secret, too many GPUs, exit 137, bad JSON: each is named", e.failures)
	e.step("progress", "a training followed by its loss; jobs, nodes and top show who holds the GPU", e.progress)
	e.step("why", "out of memory, wrong image, too many GPUs, a failing rank, deadline, Secret: the true cause first", e.diagnoses)
	e.step("distributed", "three ranks find each other by name; nothing is left of them", e.distributed)
	e.step("schedule trigger", "a CronJob's driver starts a run of its own", e.schedule)
	e.step("delete", "runs and their Jobs are gone", e.delete)
}

// e2e is one end-to-end session.
type e2e struct {
	t       *testing.T
	dir     string
	file    string
	kubectl string
	env     []string
	rows    []row
	lastRun string
	// seen are the runs that were there when the step began.
	seen       map[string]bool
	background []*exec.Cmd
}

type row struct {
	name, what, outcome string
	took                time.Duration
}

const (
	driverImage = "docker.io/kubectl-ml/kubectl-ml:dev"
	stageLimit  = 5 * time.Minute
)

func newE2E(t *testing.T) *e2e {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "bin")
	sandbox := filepath.Join(bin, "sandbox")
	if _, err := os.Stat(sandbox); err != nil {
		t.Fatalf("%v: build it with: make build", err)
	}
	e := &e2e{t: t, dir: t.TempDir()}
	state := os.Getenv("E2E_STATE")
	if state == "" {
		state = filepath.Join(e.dir, "sandbox")
		t.Cleanup(func() { e.run(time.Minute, sandbox, "down", "--state", state) })
	}
	up := e.run(25*time.Minute, sandbox, "up", "--state", state, "--real-node=on", "--gpu-nodes=2", "--driver-binary", filepath.Join(bin, "kubectl-ml"))
	if up.code != 0 {
		t.Fatalf("boot the sandbox: exit code %d\n%s", up.code, up.stderr)
	}
	var status struct{ Kubeconfig, Kubectl string }
	out := e.run(time.Minute, sandbox, "status", "--state", state, "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &status); err != nil {
		t.Fatalf("sandbox status: %v\n%s", err, out.stdout)
	}
	e.kubectl = status.Kubectl
	e.env = append(os.Environ(),
		"KUBECONFIG="+status.Kubeconfig, "PATH="+bin+":"+filepath.Dir(status.Kubectl)+":"+os.Getenv("PATH"), "KUBECTL_ML_DRIVER_IMAGE="+driverImage)
	// The example as a user has it: copied out of the templates into an empty folder.
	work := filepath.Join(e.dir, "house-prices")
	e.ok("init", "house-prices", "--dir", work)
	e.file = filepath.Join(work, "pipeline.yaml")
	return e
}

// step runs one step; the first that fails ends the session, for the later ones stand on it. E2E_STEPS, a regular
// expression, chooses steps that stand alone while one works on them.
func (e *e2e) step(name, what string, do func()) {
	e.t.Helper()
	if ok, err := regexp.MatchString(os.Getenv("E2E_STEPS"), name); err != nil || !ok {
		return
	}
	e.seen = map[string]bool{}
	for _, run := range e.runs() {
		e.seen[run] = true
	}
	start := time.Now()
	r := row{name: name, what: what, outcome: "FAILED"}
	defer func() {
		r.took = time.Since(start)
		e.rows = append(e.rows, r)
	}()
	do()
	r.outcome = "ok"
}

func (e *e2e) report() {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "STEP\tTIME\tOUTCOME\tWHAT")
	for _, r := range e.rows {
		_, _ = fmt.Fprintf(w, "%s\t%.1fs\t%s\t%s\n", r.name, r.took.Seconds(), r.outcome, r.what)
	}
	_ = w.Flush()
	fmt.Println(b.String())
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func (e *e2e) run(limit time.Duration, name string, args ...string) result {
	e.t.Helper()
	// Cleaning up goes on when the test's own context is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), limit)
	defer cancel()
	cmd, out, errOut := e.command(ctx, name, args...)
	err := cmd.Run()
	r := result{stdout: out.String(), stderr: errOut.String(), code: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		e.t.Fatalf("%s %s did not end within %s\n%s%s", name, strings.Join(args, " "), limit, r.stdout, r.stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return r
}

func (e *e2e) command(ctx context.Context, name string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.CommandContext(ctx, name, args...)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Env, cmd.Stdout, cmd.Stderr = e.env, stdout, io.MultiWriter(stderr, os.Stderr)
	cmd.WaitDelay = 10 * time.Second
	return cmd, stdout, stderr
}

// ml runs `kubectl ml` and expects an exit code.
func (e *e2e) ml(code int, args ...string) result {
	e.t.Helper()
	kubectl := e.kubectl
	fmt.Fprintf(os.Stderr, "$ kubectl ml %s\n", strings.Join(args, " "))
	r := e.run(stageLimit, kubectl, append([]string{"ml"}, args...)...)
	if r.code != code {
		e.t.Fatalf("kubectl ml %s: exit code %d, not %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

func (e *e2e) ok(args ...string) result { e.t.Helper(); return e.ml(0, args...) }

// start runs `kubectl ml` beside the test. The plugin is called itself, so that a signal reaches it and not kubectl.
func (e *e2e) start(args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	e.t.Helper()
	fmt.Fprintf(os.Stderr, "$ kubectl ml %s &\n", strings.Join(args, " "))
	cmd, _, stderr = e.command(e.t.Context(), "kubectl-ml", args...)
	for _, v := range e.env {
		if dirs, ok := strings.CutPrefix(v, "PATH="); ok {
			cmd.Path = filepath.Join(strings.Split(dirs, ":")[0], "kubectl-ml")
			cmd.Err = nil
		}
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.background = append(e.background, cmd)
	return cmd, stderr
}

// runJSON is what the steps read of `-o json`.
type runJSON struct {
	Metadata struct{ Name string }
	State    string
	Message  string
	By       string
	Reason   string
	Status   []stageJSON
}

type stageJSON struct {
	Name, State, Reason, Message string
	Attempt, Best                int
	Children                     []struct{ Job, State string }
	Result                       *struct {
		Metrics map[string]float64
		Model   *struct{ URI, Digest string }
	}
	Approved *struct{ By, Reason string }
}

func (e *e2e) parse(r result) runJSON {
	e.t.Helper()
	var j runJSON
	if err := json.Unmarshal([]byte(r.stdout), &j); err != nil {
		e.t.Fatalf("the output is not JSON: %v\n%s", err, r.stdout)
	}
	return j
}

func (e *e2e) status(name string) runJSON {
	e.t.Helper()
	return e.parse(e.ok("status", name, "-o", "json"))
}

// awaitTraining polls until a run's stage train is in a state. It is the one that lasts long enough to be met.
func (e *e2e) awaitTraining(name, state string) runJSON {
	e.t.Helper()
	deadline := time.Now().Add(stageLimit)
	for time.Now().Before(deadline) {
		j := e.status(name)
		for _, s := range j.Status {
			if s.Name == "train" && s.State == state {
				return j
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	e.t.Fatalf("the training of run %s did not become %s: %+v", name, state, e.status(name))
	return runJSON{}
}

// newest waits for a run that was not there when the step began, and that the step does not know yet.
func (e *e2e) newest() string {
	e.t.Helper()
	deadline := time.Now().Add(stageLimit)
	for time.Now().Before(deadline) {
		for _, name := range e.runs() {
			if name != e.lastRun && !e.seen[name] {
				e.seen[name], e.lastRun = true, name
				return name
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	e.t.Fatal("no new run appeared")
	return ""
}

// runs are the names of all runs, newest first.
func (e *e2e) runs() []string {
	e.t.Helper()
	r := e.ok("runs", "-o", "json")
	var list struct{ Items []runJSON }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		e.t.Fatal(err)
	}
	names := make([]string, len(list.Items))
	for i, r := range list.Items {
		names[i] = r.Metadata.Name
	}
	return names
}

func (e *e2e) must(ok bool, format string, args ...any) {
	e.t.Helper()
	if !ok {
		e.t.Fatalf(format, args...)
	}
}
