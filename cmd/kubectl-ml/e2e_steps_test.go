package main_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func (e *e2e) version() {
	r := e.ok("version")
	e.must(strings.Contains(r.stdout, "Server Version: v1."), "no server version:\n%s", r.stdout)
}

func (e *e2e) apply() {
	e.ml(1, "diff", "-f", e.file)
	e.ok("apply", "-f", e.file)
	e.ok("diff", "-f", e.file)
	r := e.ok("apply", "-f", e.file)
	e.must(!strings.Contains(r.stdout, "configured"), "the second apply changed something:\n%s", r.stdout)
}

func (e *e2e) wholeRun() {
	j := e.parse(e.ok("run", "-f", e.file, "-o", "json"))
	e.lastRun = j.Metadata.Name
	e.must(j.State == "Succeeded" && len(j.Status) == 4, "%+v", j)
	for _, s := range j.Status {
		e.must(s.Attempt == 1 && len(s.Children) == 1, "stage %s: %+v", s.Name, s)
	}
	m := j.Status[3].Result.Metrics
	e.must(m["rmse"] > 20000 && m["rmse"] < 40000 && m["r2"] > 0.85, "metrics of a model that learnt nothing: %v", m)
	e.must(strings.HasPrefix(j.Status[2].Result.Model.Digest, "sha256:"), "no digest: %+v", j.Status[2].Result.Model)
}

func (e *e2e) logs() {
	r := e.ok("logs", e.lastRun+"/train", "--grep", "::ml::")
	e.must(strings.Count(r.stdout, `"loss"`) >= 10, "few progress lines:\n%s", r.stdout)
	r = e.ok("logs", "train", "--tail", "1", "--prefix", "--timestamps")
	e.must(strings.Count(r.stdout, "\n") == 1 && strings.Contains(r.stdout, "train "), "--tail 1 --prefix:\n%s", r.stdout)
}

func (e *e2e) oneStage() {
	j := e.parse(e.ok("run", "train", "-f", e.file, "--set", "pace=0", "--set", "lr=0.05", "-o", "json"))
	e.lastRun = j.Metadata.Name
	e.must(j.State == "Succeeded", "%+v", j)
	states := map[string]string{}
	for _, s := range j.Status {
		states[s.Name] = s.State
	}
	e.must(states["train"] == "Succeeded" && states["ingest"] == "Skipped" && states["validate"] == "Skipped", "%v", states)
}

func (e *e2e) followed() {
	cmd, _ := e.start("run", "-f", e.file, "--set", "pace=0.1")
	name := e.newest()
	watch, stderr := e.start("status", name, "-w")
	r := e.ok("wait", name, "--timeout", "4m")
	e.must(strings.Contains(r.stdout, "succeeded"), "%s", r.stdout)
	e.must(watch.Wait() == nil && cmd.Wait() == nil, "status -w or run failed")
	e.must(strings.Contains(stderr.String(), "stage train Running"), "status -w saw no training:\n%s", stderr)
	e.ml(4, "wait", e.stuck(), "--timeout", "2s")
}

// stuck starts a run whose first stage never starts, and returns its name.
func (e *e2e) stuck() string {
	file := e.pipeline("stuck", `
  - name: wait
    image: docker.io/kubectl-ml/python-sklearn:bookworm
    command: [python3, -c, "print(1)"]
    gpus: 64
`)
	e.ok("run", "-f", file, "--only", "wait", "--detach")
	return e.newest()
}

// pipeline writes a pipeline file with the given stages.
func (e *e2e) pipeline(name, stages string) string {
	return e.write(name+".yaml", fmt.Sprintf("apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: %s}\nspec:\n  stages:%s", name, stages))
}

func (e *e2e) write(name, text string) string {
	file := filepath.Join(e.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return file
}

func (e *e2e) gate() {
	j := e.parse(e.ml(7, "run", "-f", e.file, "--set", "pace=0", "--set", "trees=5", "-o", "json"))
	e.lastRun = j.Metadata.Name
	e.must(j.State == "GateFailed" && strings.Contains(j.Message, "rmse"), "%s: %s", j.State, j.Message)
	j = e.parse(e.ok("resume", j.Metadata.Name, "--approve", "validate", "--reason", "a smoke test", "-o", "json"))
	a := j.Status[3].Approved
	e.must(j.State == "Succeeded" && a != nil && a.By != "" && a.Reason == "a smoke test", "%+v", j)
}

func (e *e2e) cancel() {
	cmd, _ := e.start("run", "-f", e.file, "--set", "pace=2")
	name := e.newest()
	j := e.awaitTraining(name, "Running")
	e.ok("cancel", name, "--yes", "--reason", "too slow")
	_ = cmd.Wait()
	e.must(cmd.ProcessState.ExitCode() == 6, "run ended with %d", cmd.ProcessState.ExitCode())
	job := j.Status[2].Children[0].Job
	r := e.run(stageLimit, e.kubectl, "wait", "--for=delete", "job/"+job, "--timeout=60s")
	e.must(r.code == 0, "job %s is still there", job)
}

func (e *e2e) retry() {
	// The pace is the cancelled run's: two seconds for every ten trees.
	j := e.parse(e.ok("retry", e.lastRun, "--from", "train", "-o", "json"))
	e.must(j.State == "Succeeded" && j.Status[2].Attempt == 2 && j.Status[1].Attempt == 1, "%+v", j)
}

func (e *e2e) killed() {
	cmd, _ := e.start("run", "-f", e.file, "--set", "pace=0.3")
	name := e.newest()
	e.awaitTraining(name, "Running")
	e.kill(cmd)
	_ = cmd.Wait()
	e.awaitTraining(name, "Succeeded")
	e.must(e.jobs(name) == 3, "somebody started another stage")
	j := e.parse(e.ok("resume", name, "-o", "json"))
	e.must(j.State == "Succeeded" && e.jobs(name) == 4, "%d jobs: %+v", e.jobs(name), j)
}

// kill ends a client as SIGKILL does: it has no chance to say or do anything.
func (e *e2e) kill(cmd *exec.Cmd) {
	if err := cmd.Process.Kill(); err != nil {
		e.t.Fatal(err)
	}
}

// jobs counts the Jobs of a run's stages.
func (e *e2e) jobs(name string) int {
	r := e.run(stageLimit, e.kubectl, "get", "jobs", "-l", "kubectl-ml.dev/stage,kubectl-ml.dev/run="+name, "-o", "name")
	return strings.Count(r.stdout, "\n")
}

func (e *e2e) twoClients() {
	first, _ := e.start("run", "-f", e.file, "--set", "pace=0.3")
	name := e.newest()
	second, _ := e.start("resume", name)
	e.awaitTraining(name, "Running")
	e.kill(first)
	_ = first.Wait()
	e.must(second.Wait() == nil, "the second client failed")
	e.must(e.status(name).State == "Succeeded" && e.jobs(name) == 4, "%d jobs", e.jobs(name))
}

func (e *e2e) detach() {
	e.ok("run", "-f", e.file, "--set", "pace=0", "--detach")
	name := e.newest()
	e.ok("wait", name, "--timeout", "4m")
	e.must(e.jobs(name) == 4, "%d jobs", e.jobs(name))
	r := e.ok("logs", "job/"+name+"-driver")
	e.must(strings.Contains(r.stdout, "stage validate Succeeded"), "the driver's log:\n%s", r.stdout)
}

func (e *e2e) sweep() {
	file := filepath.Join(filepath.Dir(e.file), "sweep.yaml")
	j := e.parse(e.ok("run", "-f", file, "--set", "pace=0", "-o", "json"))
	e.lastRun = j.Metadata.Name
	i := slices.IndexFunc(j.Status, func(s stageJSON) bool { return s.Name == "train" })
	e.must(j.State == "Succeeded" && i >= 0 && len(j.Status[i].Children) == 3, "%+v", j)
	e.must(math.Abs(j.Status[i].Result.Metrics["rmse"]-31460) < 2000, "the best child: %+v", j.Status[i].Result)
}

// failures are runs that go wrong in ways that happen every day; each must say what it is.
func (e *e2e) failures() {
	const image = "docker.io/kubectl-ml/python-sklearn:bookworm"
	for _, tc := range []struct {
		name, stage, want string
		code              int
	}{
		{"image", "    image: localhost:1/none:1.0\n    command: [x]\n", "ImagePull", 4},
		{"secret", "    image: " + image + "\n    command: [python3]\n    envFrom: [{secretRef: {name: none}}]\n", "secret", 4},
		{"gpus", "    image: " + image + "\n    command: [python3]\n    gpus: 64\n", "Insufficient nvidia.com/gpu", 4},
		{"killed", "    image: " + image + "\n    command: [sh, -c, 'python3 -c \"import os; os.kill(os.getpid(), 9)\"; exit $?']\n", "137", 3},
		{"json", "    image: " + image + "\n    command: [sh, -c, 'echo \"{\\\"metrics\\\": {\" > /dev/termination-log']\n", "/dev/termination-log", 3},
		{"missing", "    image: " + image + "\n    command: [no-such-program]\n", "no-such-program", 3},
	} {
		file := e.pipeline("fail-"+tc.name, "\n  - name: only\n"+tc.stage)
		j := e.parse(e.ml(tc.code, "run", "-f", file, "--timeout", "15s", "-o", "json"))
		e.lastRun = j.Metadata.Name
		text := j.Message
		for _, s := range j.Status {
			text += " " + s.Reason + " " + s.Message
			for _, c := range s.Children {
				text += " " + c.State
			}
		}
		e.must(strings.Contains(text, tc.want), "%s: %q does not say %q", tc.name, text, tc.want)
	}
}

func (e *e2e) schedule() {
	text, err := os.ReadFile(e.file)
	if err != nil {
		e.t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(e.file), "scheduled.yaml")
	scheduled := strings.Replace(string(text), "spec:\n", "spec:\n  schedule: \"0 3 1 1 *\"\n", 1)
	scheduled = strings.Replace(scheduled, "pace: 0.4", "pace: 0.0", 1)
	if err := os.WriteFile(file, []byte(scheduled), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.ok("apply", "-f", file)
	e.ok("schedule", "suspend", "house-prices")
	r := e.ok("schedule")
	e.must(strings.Contains(r.stdout, "true"), "not suspended:\n%s", r.stdout)
	e.ok("schedule", "resume", "house-prices")
	e.ok("schedule", "trigger", "house-prices")
	name := e.newest()
	e.ok("wait", name, "--timeout", "4m")
	j := e.status(name)
	e.must(j.Reason == "schedule" && strings.Contains(j.By, "system:serviceaccount:"), "by %q, reason %q", j.By, j.Reason)
}

func (e *e2e) delete() {
	e.ok("delete", "pipeline/house-prices", "--yes")
	name := e.lastRun
	e.ok("delete", name, "--yes")
	r := e.ml(1, "status", name)
	e.must(strings.Contains(r.stderr, "not found"), "%s", r.stderr)
	e.run(stageLimit, e.kubectl, "wait", "--for=delete", "job", "-l", "kubectl-ml.dev/run="+name, "--timeout=60s")
	e.must(e.jobs(name) == 0, "%d jobs are left", e.jobs(name))
}
