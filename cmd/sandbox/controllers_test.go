package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// queued are two Jobs, of which the queue of examples/queue.yaml has room for the first.
const queued = `
apiVersion: batch/v1
kind: Job
metadata: {name: first, labels: {kueue.x-k8s.io/queue-name: research}}
spec:
  parallelism: 2
  completions: 2
  template:
    metadata: {annotations: {sandbox.kubectl-ml.dev/duration: 1h}}
    spec: {restartPolicy: Never, containers: [{name: main, image: train:v1, resources: {limits: {nvidia.com/gpu: 8}}}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: second, labels: {kueue.x-k8s.io/queue-name: research}}
spec:
  template:
    metadata: {annotations: {sandbox.kubectl-ml.dev/duration: 1s}}
    spec: {restartPolicy: Never, containers: [{name: main, image: train:v1, resources: {limits: {nvidia.com/gpu: 1}}}]}
`

const jobSet = `
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: NAME}
spec:
  replicatedJobs:
  - name: leader
    template: &job
      spec:
        template:
          metadata: {annotations: {sandbox.kubectl-ml.dev/duration: 1s}}
          spec: {restartPolicy: Never, containers: [{name: main, image: train:v1}]}
  - {name: worker, replicas: 2, template: *job}
`

func TestARunningSandboxIsGivenControllers(t *testing.T) {
	m := newMachine(t)
	m.sandbox("up", "--real-node=off", "--gpu-nodes=4")
	m.sandbox("up", "--with", "kueue,jobset")
	st := m.status()
	if got := strings.Join(st.With, ","); got != "jobset,kueue" || st.Phase != cluster.Running {
		t.Errorf("status: with %s, %s", got, st.Phase)
	}

	// Kueue admits what the quota holds and suspends the rest, with the reason.
	m.kubectl("", "apply", "-f", filepath.Join("examples", "queue.yaml"))
	m.kubectl("", "wait", "--for=condition=Active", "localqueue/research", "--timeout=30s")
	m.kubectl(queued, "apply", "-f", "-")
	m.kubectl("", "wait", "--for=jsonpath={.status.ready}=2", "job/first", "--timeout=60s")
	uid := m.kubectl("", "get", "job", "second", "-o", "jsonpath={.metadata.uid}")
	workload := []string{"workload", "-l", "kueue.x-k8s.io/job-uid=" + uid}
	m.kubectl("", append([]string{"wait", "--for=condition=QuotaReserved=False", "--timeout=30s"}, workload...)...)
	reason := m.kubectl("", append([]string{"get", "-o", `jsonpath={.items[0].status.conditions[?(@.type=="QuotaReserved")].message}`}, workload...)...)
	if !strings.Contains(reason, "insufficient unused quota for nvidia.com/gpu") {
		t.Errorf("the second Job waits because: %q", reason)
	}
	if got := m.kubectl("", "get", "job", "second", "-o", "jsonpath={.spec.suspend} {.status.active}"); got != "true" {
		t.Errorf("suspend and active pods of the second Job = %q", got)
	}

	// A controller dies: up brings it back, and it goes on where it was.
	id, err := proc.ReadFile(filepath.Join(m.state, "run", "kueue.pid"))
	if err != nil || proc.Stop(t.Context(), 0, id) != nil {
		t.Fatalf("stop kueue: %v", err)
	}
	if _, _, err := run(t.Context(), m.program, "status", "--state", m.state); err == nil {
		t.Error("status says that all is well without kueue")
	}
	m.sandbox("up")
	m.kubectl("", "delete", "job", "first")
	m.kubectl("", "wait", "--for=condition=complete", "job/second", "--timeout=60s")

	// JobSet runs sets, and its webhook refuses what could not run.
	m.kubectl(strings.Replace(jobSet, "NAME", "good", 1), "apply", "-f", "-")
	m.kubectl("", "wait", "--for=condition=Completed", "jobset/good", "--timeout=60s")
	if got := m.kubectl("", "get", "jobs", "-l", "jobset.sigs.k8s.io/jobset-name=good", "-o", "name"); strings.Count(got, "\n") != 2 {
		t.Errorf("the Jobs of the set:\n%s", got)
	}
	bad := exec.CommandContext(t.Context(), st.Kubectl, "--kubeconfig", st.Kubeconfig, "apply", "-f", "-")
	bad.Stdin = strings.NewReader(strings.Replace(jobSet, "NAME", strings.Repeat("n", 60), 1))
	if out, err := bad.CombinedOutput(); err == nil || !strings.Contains(string(out), `admission webhook "vjobset.kb.io" denied the request`) {
		t.Errorf("a name too long for the set's pods: %v\n%s", err, out)
	}

	m.sandbox("down")
	m.gone(st.Network.Address)
}
