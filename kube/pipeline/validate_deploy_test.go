package pipeline

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const served = `deploy: {model: m, serve: {image: "r/s:1", port: 8080}}`

func TestDeployIsChecked(t *testing.T) {
	canary := func(rest string) string {
		return `{name: d, deploy: {model: m, strategy: canary, serve: {image: "r/s:1"}, ` + rest + `}}`
	}
	serve := func(fields string) string {
		return `{name: d, deploy: {model: m, serve: {image: "r/s:1", ` + fields + `}}}`
	}
	for _, tc := range []struct{ name, stages, want string }{
		{"manifest of a model", `{name: d, deploy: {model: "m:3", manifest: d.yaml, strategy: bluegreen, alias: production}}`, ""},
		{"generated", "{name: d, " + served + "}", ""},
		{"canary", canary(`steps: [{weight: 10, pause: 5m, gates: [{ready: 1m}]}, {weight: 50, pause: approval, gates: [{job: {image: "r/c:1", command: [x], timeout: 1m}}]}, {weight: 100}]`), ""},
		{"neither manifest nor serve", `{name: d, deploy: {model: m}}`, "deploy: says neither manifest nor serve"},
		{"both", `{name: d, deploy: {model: m, manifest: d.yaml, serve: {image: "r/s:1"}}}`, "deploy.serve: the stage has both manifest and serve"},
		{"serve without model", `{name: d, deploy: {manifest: d.yaml, alias: production}}`, "deploy.alias: alias is for a version of a model"},
		{"version", `{name: d, deploy: {model: "m:0", manifest: d.yaml}}`, `deploy.model: "0" is not the number of a version (write m:1, or m@production)`},
		{"model", `{name: d, deploy: {model: "My Model@x", manifest: d.yaml}}`, "(write my-model)"},
		{"alias", `{name: d, deploy: {model: "m@A b", manifest: d.yaml}}`, `deploy.model: "A b" is not an alias`},
		{"moving latest", `{name: d, deploy: {model: m, manifest: d.yaml, alias: latest}}`, "deploy.alias: latest is always the newest version"},
		{"model and deploy", `{name: d, model: m, deploy: {model: m, manifest: d.yaml}}`, "a stage that deploys registers nothing"},
		{"maker not needed", `{name: t, image: "r/t:1", model: m}, {name: d, ` + served + `}`, "stage d does not need t, whose model may not be registered by then (add t to needs, or write m@latest"},
		{"maker needed", `{name: t, image: "r/t:1", model: m}, {name: d, needs: [t], ` + served + `}`, ""},
		{"maker needed by way of another", `{name: t, image: "r/t:1", model: m}, {name: u, needs: [t], image: "r/t:1"}, {name: d, needs: [u], ` + served + `}`, ""},
		{"strategy", `{name: d, deploy: {model: m, manifest: d.yaml, strategy: Canary}}`, "Canary"},
		{"steps of none", `{name: d, deploy: {model: m, manifest: d.yaml, steps: [{weight: 5}]}}`, "deploy.steps: steps are those of a canary"},
		{"no steps", canary(`name: x`), "deploy.steps: a canary has at least one step"},
		{"weight", canary(`steps: [{weight: 101}]`), "steps[0].weight: must be from 1 to 100"},
		{"falling weights", canary(`steps: [{weight: 50}, {weight: 50}]`), "steps[1].weight: 50 is not more than the 50 of the step before"},
		{"pause without unit", canary(`steps: [{weight: 50, pause: 5}]`), "steps[0].pause: has no unit"},
		{"pause", canary(`steps: [{weight: 50, pause: tomorrow}]`), `steps[0].pause: "tomorrow" is not a duration (write a duration such as 10m, or approval)`},
		{"no pause", canary(`steps: [{weight: 50, pause: 0s}]`), "steps[0].pause: must be more than 0"},
		{"gate", canary(`steps: [{weight: 50, gates: [{}]}]`), "steps[0].gates[0]: must say exactly one of ready and job"},
		{"two gates in one", canary(`steps: [{weight: 50, gates: [{ready: 1s, job: {image: "r/c:1"}}]}]`), "must say exactly one of ready and job"},
		{"gate without image", canary(`steps: [{weight: 50, gates: [{job: {command: [x]}}]}]`), "gates[0].job.image: is missing"},
		{"gate of metrics", canary(`steps: [{weight: 50, gates: [{metric: p95}]}]`), `unknown field "metric"`},
		{"server without image", `{name: d, deploy: {model: m, serve: {port: 8080}}}`, "deploy.serve.image: is missing"},
		{"port", serve("port: 0"), "serve.port: must be from 1 to 65535"},
		{"probe", serve("probe: healthz"), "serve.probe: must begin with /"},
		{"metrics without port", serve("metrics: {path: /m}"), "serve.metrics.port: is missing"},
		{"replicas", serve("replicas: 0"), "serve.replicas: must be at least 1"},
		{"scaling by nothing", serve("autoscale: {max: 3}"), "serve.autoscale: the load is measured against the CPU requests"},
		{"scaling", serve("autoscale: {min: 4, max: 3}, resources: {requests: {cpu: 1}}"), "min 4 is more than max 3"},
		{"budget", serve("disruptionBudget: 0"), "serve.disruptionBudget"},
		{"host", serve(`host: "https://x"`), "serve.host"},
		{"gateway", serve("gateway: a/b/c"), "serve.gateway"},
		{"model path", serve("modelPath: /ml/x"), "serve.modelPath: nothing can be mounted below /ml"},
		{"secret", serve("secret: A_B"), "serve.secret"},
		{"name", `{name: d, deploy: {model: m, name: 1x, serve: {image: "r/s:1"}}}`, "deploy.name"},
		{"a model that names no Service", `{name: d, deploy: {model: 1m, serve: {image: "r/s:1"}}}`, "add name"},
		{"patch of a generated one", `{name: d, patch: {spec: {}}, ` + served + `}`, "write it under deploy.serve"},
		{"patch", serve("patch: {spec: {paused: 1}}"), "serve.patch.spec.paused"},
		{"template fields", `{name: d, image: "r/s:1", ` + served + `}`, "image has no effect here"},
		{"version of a stage without a model", `{name: t, image: "r/t:1"}, {name: u, needs: [t], image: "r/t:1", args: ["$(stages.t.model.version)"]}`, "stage t registers no model"},
		{"version of a stage", `{name: t, image: "r/t:1", model: m}, {name: u, needs: [t], image: "r/t:1", args: ["$(stages.t.model.version) $(stages.t.model.ref)"]}`, ""},
	} {
		text := head + "  stages: [" + tc.stages + "]\n"
		_, _, err := Load("p.yaml", []byte(text))
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestSchemaKnowsDeploy(t *testing.T) {
	schema := compiledSchema(t)
	for stage, good := range map[string]bool{
		`{name: d, deploy: {model: m, strategy: canary, steps: [{weight: 5, pause: approval, gates: [{ready: 1m}]}], serve: {image: i, metrics: {port: 9090}}}}`: true,
		`{name: d, deploy: {model: m, strategy: ab}}`:                          false,
		`{name: d, deploy: {model: m, steps: [{weight: 5, pause: later}]}}`:    false,
		`{name: d, deploy: {model: m, steps: [{weight: 5, gates: [{x: 1}]}]}}`: false,
	} {
		if err := againstSchema(t, schema, []byte(head+"  stages: ["+stage+"]\n")); (err == nil) != good {
			t.Errorf("%s: %v", stage, err)
		}
	}
}

func TestPauseIsOneWord(t *testing.T) {
	for text, want := range map[string]Pause{`"approval"`: {Approval: true}, `"1m30s"`: {Duration: 90 * time.Second}} {
		var p Pause
		if err := json.Unmarshal([]byte(text), &p); err != nil || p != want {
			t.Errorf("%s is %+v, %v", text, p, err)
		}
		if out, err := json.Marshal(p); err != nil || string(out) != text {
			t.Errorf("%s is written as %s, %v", text, out, err)
		}
	}
	for _, text := range []string{`5`, `"soon"`, `{}`} {
		if err := json.Unmarshal([]byte(text), &Pause{}); err == nil {
			t.Error(text + " is taken")
		}
	}
}

func TestDeployTakesDefaultsAndSource(t *testing.T) {
	file := head + `  defaults: {image: "r/d:1", env: [{name: A, value: a}], volumes: [{name: v, emptyDir: {}}]}
  stages:
  - {name: t, model: m}
  - name: d
    needs: [t]
    deploy:
      model: m
      strategy: canary
      steps: [{weight: 5, gates: [{job: {command: [check]}}]}]
      serve: {command: [serve], env: [{name: B, value: b}]}
`
	p, _, err := Load("p.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Resolve(p, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan.Source = &SourceRef{ConfigMap: "mlsource-p-1", Keys: map[string]string{"a..b.py": "a/b.py"}}
	d, err := DeployOf(plan, "d")
	if err != nil {
		t.Fatal(err)
	}
	for what, pod := range map[string]Pod{"server": d.Serve.Pod, "gate": d.Steps[0].Gates[0].Job.Pod} {
		if pod.Image != "r/d:1" || pod.WorkingDir != SourcePath || len(pod.Volumes) != 2 || pod.Volumes[1].ConfigMap.Items[0].Path != "a/b.py" || pod.VolumeMounts[0].MountPath != SourcePath {
			t.Errorf("%s: %+v", what, pod)
		}
	}
	if len(d.Serve.Env) != 2 || d.Serve.Command[0] != "serve" {
		t.Errorf("%+v", d.Serve)
	}
	// Neither the file's value nor the plan's is changed.
	if s := plan.Stage("d").Deploy; len(s.Serve.Volumes) != 1 || p.Spec.Stages[1].Deploy.Serve.Image != "" || p.Spec.Stages[1].Deploy.Steps[0].Gates[0].Job.Image != "" {
		t.Errorf("changed: %+v", s.Serve)
	}
	if diff := cmp.Diff([]string{"t"}, plan.NeedsVersions(plan.Stage("d"))); diff != "" {
		t.Error(diff)
	}
}

func TestReferencesToVersions(t *testing.T) {
	for _, tc := range []struct {
		text, registered, want string
	}{
		{"$(stages.t.model.version)", "m:7", "7"},
		{"serve $(stages.t.model.ref)", "m:7", "serve m:7"},
		{"$(stages.t.model.ref)", "", "the model of stage t was not registered"},
		{"$(stages.t.model.uri)", "", "u"},
	} {
		sc := scope{stage: "s", results: map[string]Result{"t": {Model: &Artifact{URI: "u"}, Registered: tc.registered}}}
		got, err := sc.fill("args", tc.text, literal)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, tc.want) {
			t.Errorf("%s of %q: %s", tc.text, tc.registered, got)
		}
	}
}
