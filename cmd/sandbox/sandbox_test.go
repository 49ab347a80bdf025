package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// machine is the sandbox program and one state folder.
type machine struct {
	t              *testing.T
	program, state string
}

// newMachine builds the program as a user would.
func newMachine(t *testing.T) machine {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("boots a control plane: Linux only")
	}
	if testing.Short() {
		t.Skip("-short: boots a control plane")
	}
	dir := t.TempDir()
	m := machine{t: t, program: filepath.Join(dir, "sandbox"), state: filepath.Join(dir, "state")}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", m.program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, m.program, "down", "--state", m.state).CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return m
}

// sandbox runs a command of the program and returns its stdout.
func (m machine) sandbox(args ...string) string {
	m.t.Helper()
	out, stderr, err := run(m.t.Context(), m.program, append(args, "--state", m.state)...)
	if err != nil {
		m.t.Fatalf("sandbox %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return strings.TrimSpace(out)
}

func (m machine) status() cluster.Status {
	m.t.Helper()
	var st cluster.Status
	if err := json.Unmarshal([]byte(m.sandbox("status", "-o", "json")), &st); err != nil {
		m.t.Fatal(err)
	}
	return st
}

func run(ctx context.Context, program string, args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// kubectl runs kubectl with the sandbox's kubeconfig; what it is given it reads from stdin.
func (m machine) kubectl(stdin string, args ...string) string {
	m.t.Helper()
	st := m.status()
	cmd := exec.CommandContext(m.t.Context(), st.Kubectl, append([]string{"--kubeconfig", st.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// gone fails the test if the sandbox left anything.
func (m machine) gone(address string) {
	m.t.Helper()
	if _, err := os.Stat(m.state); !os.IsNotExist(err) {
		m.t.Errorf("the state folder is still there: %v", err)
	}
	dir, err := state.Open(m.state)
	if err != nil {
		m.t.Fatal(err)
	}
	if left := proc.Marked(dir.Mark()); len(left) > 0 {
		m.t.Errorf("processes are still there: %v", left)
	}
	if _, err := os.Stat(dir.Runtime()); !os.IsNotExist(err) {
		m.t.Errorf("the runtime folder is still there: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), string(dir)) {
		m.t.Errorf("mounts are still there (%v):\n%s", err, mounts)
	}
	if rules, err := exec.CommandContext(m.t.Context(), "iptables-save").Output(); err == nil && strings.Contains(string(rules), dir.ID()) {
		m.t.Errorf("rules are still there:\n%s", rules)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, a := range addrs {
		if network := address[:strings.LastIndex(address, ".")+1]; strings.HasPrefix(a.String(), network) {
			m.t.Errorf("address %s is still there", a)
		}
	}
}

const simulatedJobs = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  template:
    metadata:
      annotations:
        sandbox.kubectl-ml.dev/duration: 1s
        sandbox.kubectl-ml.dev/result: '{"metrics":{"rmse":1.5}}'
        sandbox.kubectl-ml.dev/logs: "step 1\nstep 2"
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: train:v1, resources: {limits: {nvidia.com/gpu: 8}}, volumeMounts: [{name: data, mountPath: /data}]}
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {sandbox.kubectl-ml.dev/duration: 1s, sandbox.kubectl-ml.dev/exit-code: "3"}
    spec: {restartPolicy: Never, containers: [{name: main, image: train:v1}]}
`

func TestASandboxFromUpToDown(t *testing.T) {
	m := newMachine(t)
	kubeconfig := m.sandbox("up", "--real-node=off", "--gpu-nodes=2")
	if want := filepath.Join(m.state, "kubeconfig"); kubeconfig != want {
		t.Errorf("up printed %q, want %q", kubeconfig, want)
	}
	st := m.status()
	if st.Phase != cluster.Running || st.Nodes.Simulated != 2 || st.Nodes.Real != "" {
		t.Errorf("status = %+v", st)
	}

	m.kubectl(simulatedJobs, "apply", "-f", "-")
	m.kubectl("", "wait", "--for=condition=complete", "job/good", "--timeout=60s")
	m.kubectl("", "wait", "--for=condition=failed", "job/bad", "--timeout=60s")
	path := "jsonpath={.items[0].status.containerStatuses[0].state.terminated."
	if got := m.kubectl("", "get", "pod", "-l", "job-name=good", "-o", path+"message}"); got != `{"metrics":{"rmse":1.5}}` {
		t.Errorf("termination message = %s", got)
	}
	if got := m.kubectl("", "get", "pod", "-l", "job-name=bad", "-o", path+"exitCode}"); got != "3" {
		t.Errorf("exit code = %s", got)
	}
	if got := m.kubectl("", "logs", "job/good"); got != "step 1\nstep 2" {
		t.Errorf("logs = %q", got)
	}
	if st.Prometheus.Service != "" {
		got := m.kubectl("", "get", "--raw", "/api/v1/namespaces/monitoring/services/prometheus-server:80/proxy/api/v1/query?query=up")
		if !strings.Contains(got, `"status":"success"`) {
			t.Errorf("Prometheus through the service proxy: %s", got)
		}
	}

	// One program dies: up brings it back and the cluster keeps what it holds.
	id, err := proc.ReadFile(filepath.Join(m.state, "run", "etcd.pid"))
	if err != nil || proc.Stop(t.Context(), 0, id) != nil {
		t.Fatalf("stop etcd: %v", err)
	}
	if again := m.sandbox("up"); again != kubeconfig {
		t.Errorf("a second up printed %q", again)
	}
	m.kubectl("", "get", "job", "good")
	after := m.status()
	for i, p := range after.Programs {
		if p.Name != "etcd" && p.PID != st.Programs[i].PID {
			t.Errorf("up restarted %s, which ran", p.Name)
		}
	}

	m.sandbox("down")
	m.gone(st.Network.Address)
	m.sandbox("down") // nothing to do is fine
}

func TestASandboxEndsWithTheProcessItBelongsTo(t *testing.T) {
	m := newMachine(t)
	owner := exec.CommandContext(t.Context(), "sleep", "300")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	m.sandbox("up", "--real-node=off", "--gpu-nodes=0", "--while-pid", strconv.Itoa(owner.Process.Pid))
	address := m.status().Network.Address
	_ = owner.Process.Kill()
	_ = owner.Wait()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(m.state); os.IsNotExist(err) {
			break
		}
	}
	time.Sleep(500 * time.Millisecond) // the supervisor removes the folder and then ends
	m.gone(address)
}

const realJob = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsUser: 1000, runAsNonRoot: true}
      containers:
      - name: main
        image: docker.io/kubectl-ml/python-sklearn:bookworm
        command:
        - python3
        - -c
        - |
          import os, ssl, urllib.request
          import sklearn, prometheus_client
          open("/data/model", "w").write("weights")
          account = "/var/run/secrets/kubernetes.io/serviceaccount/"
          url = "https://%s:%s/version" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
          urllib.request.urlopen(url, context=ssl.create_default_context(cafile=account + "ca.crt")).read()
          print("trained as", os.getuid())
          open("/dev/termination-log", "w").write('{"metrics":{"rmse":2.5}}')
        resources: {limits: {nvidia.com/gpu: 1}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

// peers are the ranks of a distributed training: each finds the others by name, and rank 1 calls rank 0.
const peers = `
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {job-name: peers}}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {job-name: peers, batch.kubernetes.io/job-completion-index: "0"}, ports: [{port: 80, targetPort: 29500}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {job-name: nobody}, ports: [{port: 80}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: peers}
spec:
  completions: 2
  parallelism: 2
  completionMode: Indexed
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      subdomain: peers
      containers:
      - name: main
        image: docker.io/kubectl-ml/python-sklearn:bookworm
        command:
        - python3
        - -c
        - |
          import os, socket, time
          def until(f):
              deadline = time.time() + 30
              while True:
                  try: return f()
                  except OSError:
                      if time.time() > deadline: raise
                      time.sleep(0.1)
          rank = int(os.environ["JOB_COMPLETION_INDEX"])
          names = ["peers-%d.peers.%s.svc.cluster.local" % (i, "default") for i in range(2)]
          addresses = [until(lambda: socket.gethostbyname(name)) for name in names]
          assert addresses[rank] == os.environ["POD_IP"], addresses
          assert socket.gethostbyname("peers-0.peers") == addresses[0]
          assert socket.gethostbyname("kubernetes.default") == os.environ["KUBERNETES_SERVICE_HOST"]
          if rank == 0:
              server = socket.create_server(("", 29500))
              print("called", *(server.accept()[0].recv(9).decode() for _ in range(2)))
          else:
              until(lambda: socket.create_connection((names[0], 29500))).send(b"directly")
              until(lambda: socket.create_connection(("front", 80))).send(b"in front")
              began = time.time()
              try: socket.create_connection(("nobody", 80), timeout=20)
              except ConnectionRefusedError: pass
              assert time.time() - began < 5, "a Service without pods does not refuse at once"
        env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
`

func TestARealNodeRunsContainers(t *testing.T) {
	if why := node.Possible(); why != "" {
		t.Skip(why)
	}
	if missing := node.Missing(); len(missing) > 0 {
		t.Skipf("a test installs nothing: `sandbox up` installs %s", strings.Join(missing, ", "))
	}
	m := newMachine(t)
	m.sandbox("up", "--real-node=on", "--gpu-nodes=1")
	st := m.status()
	m.kubectl(realJob, "apply", "-f", "-")
	m.kubectl("", "wait", "--for=condition=complete", "job/train", "--timeout=60s")
	if got := m.kubectl("", "logs", "job/train"); got != "trained as 1000" {
		t.Errorf("logs = %q", got)
	}
	path := "jsonpath={.items[0].status.containerStatuses[0].state.terminated.message}"
	if got := m.kubectl("", "get", "pod", "-l", "job-name=train", "-o", path); got != `{"metrics":{"rmse":2.5}}` {
		t.Errorf("termination message = %s", got)
	}
	m.kubectl(peers, "apply", "-f", "-")
	m.kubectl("", "wait", "--for=condition=complete", "job/peers", "--timeout=60s")
	if got := m.kubectl("", "logs", "job/peers", "--all-containers", "--all-pods=true"); !strings.Contains(got, "called directly in front") {
		t.Errorf("logs of the peers = %q", got)
	}
	if got := m.sandbox("image", "--binary", m.program, "--name", "test/sandbox:v1"); got != "docker.io/test/sandbox:v1" {
		t.Errorf("image printed %q", got)
	}
	m.kubectl("", "run", "packed", "--image=test/sandbox:v1", "--restart=Never", "--", "--help")
	m.kubectl("", "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/packed", "--timeout=30s")
	m.kubectl("", "run", "running", "--image="+pythonImage(st), "--", "python3", "-c", "import time; time.sleep(600)")
	m.kubectl("", "wait", "--for=condition=ready", "pod/running", "--timeout=30s")
	if got := m.kubectl("", "exec", "running", "--", "echo", "inside"); got != "inside" {
		t.Errorf("exec = %q", got)
	}

	m.sandbox("down") // with a pod that runs
	m.gone(st.Network.Address)
}

func pythonImage(st cluster.Status) string {
	for _, name := range st.Images {
		if strings.Contains(name, "python") {
			return name
		}
	}
	return "none"
}
