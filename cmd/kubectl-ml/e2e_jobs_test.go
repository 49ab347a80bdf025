package main_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// progress follows a training by its loss, and finds it and its GPU in every list while it runs.
func (e *e2e) progress() {
	file := e.pipeline("curve", `
  - name: train
    image: docker.io/kubectl-ml/python-sklearn:bookworm
    gpus: 1
    command:
    - python3
    - -uc
    - |
      import time
      for step in range(60):
          print("::ml:: {\"step\": %d, \"total\": 60, \"loss\": %.4f}" % (step + 1, 1 / (step + 1)))
          time.sleep(0.3)
`)
	cmd, _ := e.start("run", "-f", file)
	name := e.newest()
	e.awaitTraining(name, "Running")
	type list struct {
		Items []struct {
			Metadata struct{ Name string }
			State    string
			Gpus     int
			Nodes    []string
		}
	}
	find := func(args ...string) (found list) {
		r := e.ok(append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
			e.t.Fatalf("%v: %v\n%s", args, err, r.stdout)
		}
		return found
	}
	seen := false
	for _, i := range find("jobs", "-l", "kubectl-ml.dev/run="+name).Items {
		seen = seen || i.State == "Running" && i.Gpus == 1 && len(i.Nodes) == 1 && i.Nodes[0] == "sandbox"
	}
	e.must(seen, "jobs does not show the training on the real node")
	r := e.ok("nodes", "sandbox")
	e.must(strings.Contains(r.stdout, name), "the real node does not show who holds its GPU:\n%s", r.stdout)
	e.must(strings.Contains(e.ok("top", "jobs").stdout, name), "top does not show who holds a GPU")
	r = e.ok("progress", name+"/train", "-f")
	e.must(strings.Contains(r.stdout, "100%"), "followed to its end, the training is not at 100%%:\n%s", r.stdout)
	var p struct {
		Series map[string]struct{ X, Y []float64 }
	}
	r = e.ok("progress", name+"/train", "-o", "json")
	err := json.Unmarshal([]byte(r.stdout), &p)
	loss := p.Series["loss"]
	e.must(err == nil && len(loss.Y) == 60 && loss.X[59] == 60 && loss.Y[0] == 1, "the loss curve: %v\n%s", err, r.stdout)
	e.must(cmd.Wait() == nil, "the run failed")
}

// diagnoses are jobs that go wrong in real containers or never start; `why` must name the true cause first.
func (e *e2e) diagnoses() {
	const image = "docker.io/kubectl-ml/python-sklearn:bookworm"
	for _, tc := range []struct{ name, spec, pod, container, want string }{
		{
			"oom", "backoffLimit: 0", "restartPolicy: Never",
			`image: ` + image + `, command: [python3, -c, "b = b'x' * (1 << 30)"], resources: {limits: {memory: 64Mi}}`, "OOMKilled",
		},
		{"image", "backoffLimit: 0", "restartPolicy: Never", `image: "localhost:1/none:1.0"`, "RegistryUnreachable"},
		{"gpus", "backoffLimit: 0", "restartPolicy: Never", `image: ` + image + `, resources: {limits: {nvidia.com/gpu: 64}}`, "TooLarge"},
		{
			"rank", "backoffLimit: 0, completions: 3, parallelism: 3, completionMode: Indexed", "restartPolicy: Never",
			`image: ` + image + `, command: [sh, -c, "if [ $JOB_COMPLETION_INDEX = 2 ]; then sleep 1; exec python3 -c 'import nothing_like_this'; fi; sleep 20"]`, "Module",
		},
		{"deadline", "backoffLimit: 0, activeDeadlineSeconds: 3", "restartPolicy: Never", `image: ` + image + `, command: [sleep, "60"]`, "Deadline"},
		{"secret", "backoffLimit: 0", "restartPolicy: Never", `image: ` + image + `, envFrom: [{secretRef: {name: none}}]`, "Secret"},
	} {
		manifest := fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: why-%s}\nspec: {%s, template: {spec: {%s, terminationGracePeriodSeconds: 1, containers: [{name: main, %s}]}}}\n",
			tc.name, tc.spec, tc.pod, tc.container)
		e.create(manifest)
		e.awaitCause("why-"+tc.name, tc.want)
	}
	r := e.ok("why")
	for _, name := range []string{"why-oom", "why-gpus", "why-secret"} {
		e.must(strings.Contains(r.stdout, name), "why without a name leaves out %s:\n%s", name, r.stdout)
	}
	for _, name := range []string{"oom", "image", "gpus", "rank", "deadline", "secret"} {
		e.ok("cancel", "job/why-"+name, "--yes")
	}
}

func (e *e2e) create(manifest string) {
	e.t.Helper()
	file := e.write("object.yaml", manifest)
	r := e.run(stageLimit, e.kubectl, "create", "-f", file)
	e.must(r.code == 0, "%s", r.stderr)
}

// awaitCause polls until the first cause of a diagnosis is the one wanted: what a cluster says of a fault comes bit by bit.
func (e *e2e) awaitCause(name, want string) {
	e.t.Helper()
	var d struct {
		Causes []struct{ Code, Title string }
	}
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
		r := e.ok("why", name, "-o", "json")
		if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
			e.t.Fatalf("%v\n%s", err, r.stdout)
		}
		if len(d.Causes) > 0 && strings.Contains(d.Causes[0].Code, want) {
			return
		}
	}
	e.t.Fatalf("why %s does not say %s first: %+v\n%s", name, want, d.Causes, e.ok("why", name).stdout)
}

// distributed trains on three ranks that find each other by name.
func (e *e2e) distributed() {
	work := e.dir + "/distributed"
	e.ok("init", "distributed", "--dir", work)
	j := e.parse(e.ok("run", "-f", work+"/pipeline.yaml", "-o", "json"))
	e.lastRun = j.Metadata.Name
	e.must(j.State == "Succeeded" && len(j.Status) > 0 && j.Status[0].Result != nil, "%+v", j)
	r := e.ok("logs", e.lastRun+"/train", "--rank", "2")
	e.must(r.stdout != "", "rank 2 wrote nothing")
	e.ok("delete", e.lastRun, "--yes")
	out := e.run(stageLimit, e.kubectl, "wait", "--for=delete", "service", "-l", "kubectl-ml.dev/run="+e.lastRun, "--timeout=60s")
	e.must(out.code == 0, "the service of the ranks is left behind:\n%s", out.stderr)
}
