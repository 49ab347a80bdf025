package pipeline

import (
	"strings"
	"testing"
)

func TestValidateDistributed(t *testing.T) {
	stage := func(lines string) string {
		return head + "  stages:\n  - name: a\n    image: b:1\n    command: [x]\n    " + strings.ReplaceAll(lines, "; ", "\n    ") + "\n"
	}
	const at = "p.yaml:9:"
	for _, c := range []fileCase{
		{"two", stage("replicas: 2"), nil},
		{"one", stage("replicas: 1; framework: torchrun; engine: jobset; topology: {together: zone}; queue: team-a"), nil},
		{"none at all", stage("replicas: 0"), []string{at + "15: spec.stages[0].replicas: must be at least 1"}},
		{"fewer than none", stage("replicas: -2"), []string{"spec.stages[0].replicas: must be at least 1"}},
		{"more than nodes", stage("replicas: 5001"), []string{"5001 are more than a cluster has nodes"}},
		{"more than can be listed", stage("replicas: 401; framework: mpi"), []string{"401 are too many for framework mpi, which is told the names of all; at most 400 fit"}},
		{"text", stage("replicas: two"), []string{at + "15: spec.stages[0].replicas: must be an int, not a string"}},
		{"framework alone", stage("framework: torchrun"), []string{at + "16: spec.stages[0].framework: is for a stage of several replicas, this one is a single pod (add replicas: 2"}},
		{"engine and topology alone", stage("engine: jobset; topology: {spread: host}"), []string{"spec.stages[0].engine: is for a stage", "spec.stages[0].topology: is for a stage"}},
		{"framework", stage("replicas: 2; framework: pytorch"), []string{`p.yaml:10:16: spec.stages[0].framework: "pytorch" is not known here (write one of none, torchrun, mpi, ray, tensorflow, jax)`}},
		{"near framework", stage("replicas: 2; framework: torchrum"), []string{`"torchrum" is not known here (write torchrun)`}},
		{"engine", stage("replicas: 2; engine: jobsets"), []string{`"jobsets" is not known here (write jobset)`}},
		{"no command for mpi", head + "  stages: [{name: a, image: b:1, replicas: 2, framework: mpi}]\n", []string{"spec.stages[0].command: is missing: framework mpi starts it on rank 0"}},
		{"no command for none", head + "  stages: [{name: a, image: b:1, replicas: 2}]\n", nil},
		{"schedule", stage(`replicas: 2; schedule: "@daily"`), []string{"spec.stages[0].schedule: a distributed stage cannot be a plain CronJob"}},
		{"sweep", stage("replicas: 2; sweep: {lr: [1, 2]}; best: {min: loss}"), nil},
		{"manifest", head + "  stages: [{name: a, manifest: j.yaml, replicas: 2, queue: q}]\n", []string{"spec.stages[0].replicas: replicas has no effect here", "spec.stages[0].queue: queue has no effect here"}},
		{"deploy", head + "  stages: [{name: a, deploy: {manifest: d.yaml}, engine: jobset}]\n", []string{"spec.stages[0].engine: engine has no effect here"}},
		{"defaults", head + "  defaults: {replicas: 2}\n  stages: [{name: a, image: b:1}]\n", []string{`spec.defaults.replicas: unknown field "replicas"`}},
		{"queue of the defaults", head + "  defaults: {queue: team-a}\n  stages: [{name: a, image: b:1}]\n", nil},
		{"queue", stage("queue: Team A"), []string{`spec.stages[0].queue: "Team A" is not the name of a queue (write it as kubectl get localqueues shows it)`}},
		{"long queue", stage("queue: " + strings.Repeat("q", 64)), []string{"is not the name of a queue"}},
		{"empty queue", stage(`queue: ""`), []string{"spec.stages[0].queue: is empty"}},
		{"empty topology", stage("replicas: 2; topology: {}"), []string{"spec.stages[0].topology: says neither spread nor together"}},
		{"topology against itself", stage("replicas: 2; topology: {spread: zone, together: topology.kubernetes.io/zone}"), []string{`replicas cannot be apart and together at once by "zone"`}},
		{"topology of no label", stage("replicas: 2; topology: {spread: \"a b\"}"), []string{`p.yaml:10:24: spec.stages[0].topology.spread: "a b" is not a label of nodes`}},
		{"both topologies", stage("replicas: 2; topology: {spread: host, together: rack, required: true}"), nil},
		{"workers", stage("workers: 2"), []string{`unknown field "workers" (did you mean "replicas"?)`}},
		{"volume of ours", stage("replicas: 2; volumes: [{name: ml-shm, emptyDir: {}}]"), []string{"ml-shm is a volume of kubectl ml itself"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkFile(t, c) })
	}
}

func TestWorkspaceOfOneNode(t *testing.T) {
	for mode, want := range map[string]string{
		"": "spec.stages[0].replicas: replicas on several nodes cannot mount the workspace c", ", accessMode: ReadWriteOncePod": "which is made for one node",
		", accessMode: ReadWriteMany": "", ", accessMode: ReadOnlyMany": "",
	} {
		_, warnings, err := Load("p.yaml", []byte(head+"  workspace: {claim: c, size: 1Gi"+mode+"}\n  stages: [{name: a, image: b:1, replicas: 2}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := warnings.Error(); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: warnings are %q, want %q", mode, got, want)
		}
	}
}
