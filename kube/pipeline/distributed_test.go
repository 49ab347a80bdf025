package pipeline

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// gangPlan is the plan of testdata/pipeline-distributed.yaml.
func gangPlan(t *testing.T) *Plan {
	t.Helper()
	const file = "testdata/pipeline-distributed.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, warnings, err := Load(file, data)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	plan, err := Resolve(p, Revision(data), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestGoldenDistributed(t *testing.T) {
	plan := gangPlan(t)
	run := RunRef{Name: "gangs-k3x9", Namespace: "team"}
	for _, s := range plan.Stages {
		job, err := Job(plan, run, s.Name, 0, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.UsesJobSet() {
			set, err := JobSet(&s, job)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "distributed-"+s.Name, set)
			continue
		}
		golden(t, "distributed-"+s.Name, job)
		if s.Name == "none" {
			golden(t, "distributed-service", Service(job))
		}
	}
}

// Whoever reads the variables of a rank must find in them what TensorFlow, Open MPI and others expect.
func TestRanksKnowEachOther(t *testing.T) {
	plan := gangPlan(t)
	run := RunRef{Name: "gangs-k3x9", Namespace: "team"}
	for stage, want := range map[string]map[string]string{
		"none":       {"MASTER_ADDR": "gangs-k3x9-none-1-0.gangs-k3x9-none-1", "MASTER_PORT": "29500", "RANK": "2", "WORLD_SIZE": "3", "NPROC_PER_NODE": "1", "LOCAL_RANK": ""},
		"torchrun":   {"PET_NNODES": "2", "PET_NODE_RANK": "2", "PET_NPROC_PER_NODE": "8", "PET_RDZV_ENDPOINT": "gangs-k3x9-torchrun-0.gangs-k3x9-torchrun:29500"},
		"tensorflow": {"TF_CONFIG": `{"cluster":{"worker":["gangs-k3x9-tensorflow-0.gangs-k3x9-tensorflow:29500","gangs-k3x9-tensorflow-1.gangs-k3x9-tensorflow:29500"]},"task":{"type":"worker","index":2}}`},
		"jax":        {"JAX_COORDINATOR_ADDRESS": "gangs-k3x9-jax-0.gangs-k3x9-jax:29500", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
		"ray":        {"MASTER_PORT": "6379", "NODE_RANK": "2", "RANK": ""},
		"mpi":        {"NPROC_PER_NODE": "4", "OMPI_MCA_orte_default_hostfile": "/ml/hostfile", "RANK": "", "WORLD_SIZE": ""},
		"set":        {"MASTER_ADDR": "gangs-k3x9-set-workers-0-0.gangs-k3x9-set", "PET_NPROC_PER_NODE": "1"},
	} {
		job, err := Job(plan, run, stage, plan.Stage(stage).lastChild(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		env := kubeletEnv(job.Spec.Template.Spec.Containers[0].Env, "2")
		for name, value := range want {
			if env[name] != value {
				t.Errorf("%s: %s=%s, want %s", stage, name, env[name], value)
			}
		}
		if config := env["TF_CONFIG"]; config != "" && !json.Valid([]byte(config)) {
			t.Errorf("not JSON: %s", config)
		}
	}
}

func (s PlannedStage) lastChild() int { return len(s.Children) - 1 }

// kubeletEnv is the environment as the kubelet of a rank makes it: what stands before may be referred to.
func kubeletEnv(env []corev1.EnvVar, rank string) map[string]string {
	out := map[string]string{}
	for _, e := range env {
		value := e.Value
		if e.ValueFrom != nil {
			value = rank
		}
		for name, v := range out {
			value = strings.ReplaceAll(value, "$("+name+")", v)
		}
		out[e.Name] = value
	}
	return out
}

// The scripts are read by the shells of whatever image, and before them by the kubelet.
func TestScripts(t *testing.T) {
	for name, script := range map[string]string{"mpi": mpiScript, "ray": rayScript} {
		if strings.Contains(script, "$(") || strings.Contains(script, "$$") {
			t.Errorf("the script of %s has what the kubelet would expand", name)
		}
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("the script of %s: %v\n%s", name, err, out)
		}
	}
}

// The key is read by OpenSSH itself, where it is installed: as the private key that the public one belongs to.
func TestSSHSecret(t *testing.T) {
	secret, err := SSHSecret(gangPlan(t), RunRef{Name: "gangs-k3x9", Namespace: "team"}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(secret.Data[sshPublic]), "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB") {
		t.Errorf("public key: %s", secret.Data[sshPublic])
	}
	if secret.Name != "gangs-k3x9-ssh" || !strings.HasPrefix(string(secret.Data[sshKey]), "-----BEGIN EC PRIVATE KEY-----\n") {
		t.Errorf("secret %s has no private key", secret.Name)
	}
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		return
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, secret.Data[sshKey], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), keygen, "-y", "-f", file).CombinedOutput()
	if err != nil || string(out) != string(secret.Data[sshPublic]) {
		t.Errorf("ssh-keygen gives %v\n%s, want\n%s", err, out, secret.Data[sshPublic])
	}
}
