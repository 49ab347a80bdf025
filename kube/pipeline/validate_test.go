package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func validateCases() []fileCase {
	spec := func(lines string) string { return head + lines + "  stages: [{name: a, image: b:1}]\n" }
	stage := func(lines string) string { return head + "  stages:\n  - name: a\n    image: b:1\n" + lines }
	two := func(second string) string {
		return head + "  params: {seed: 7}\n  stages:\n  - {name: a, image: b:1}\n  - " + second + "\n"
	}
	return []fileCase{
		{"name of the pipeline", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: My_Pipe}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{`p.yaml:3:18: metadata.name: "My_Pipe" is not a DNS label (write my-pipe)`}},
		{"no metadata", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nspec: {stages: [{name: a, image: b:1}]}\n", []string{"metadata.name: is missing"}},
		{"long name", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: " + strings.Repeat("x", 41) + "}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{"has 41 characters, at most 40 fit"}},
		{"reserved label", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: x, labels: {kubectl-ml.dev/run: y}}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{`metadata.labels["kubectl-ml.dev/run"]: kubectl-ml.dev/run is written by kubectl ml itself`}},
		{"label value", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: x, labels: {team: a b}}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{`"a b" is not a label value`}},
		{"no stages", head + "  params: {a: 1}\n", []string{"spec.stages: there are no stages"}},
		{"parameter without value", spec("  params: {a: }\n"), []string{"spec.params.a: has no value"}},
		{"parameter name", spec("  params: {a.b: 1}\n"), []string{`spec.params["a.b"]: "a.b" is not a name of a parameter`}},
		{"parameters of one variable", spec("  params: {a-b: 1, a_b: 2}\n"), []string{"is the same variable as a-b: ML_PARAM_A_B"}},
		{"schedule with seconds", spec("  schedule: \"0 0 2 * * *\"\n"), []string{"Kubernetes has no field for seconds"}},
		{"schedule with a zone", spec("  schedule: \"TZ=UTC 0 2 * * *\"\n"), []string{"a time zone does not belong into the expression (write it as timeZone"}},
		{"schedule macro", spec("  schedule: \"@weekly\"\n"), nil},
		{"schedule out of range", spec("  schedule: \"0 25 * * *\"\n"), []string{"is not a cron expression"}},
		{"empty schedule", spec("  schedule: \"\"\n"), []string{"spec.schedule: is empty"}},
		{"zone", spec("  timeZone: Mars/Olympus\n"), []string{`"Mars/Olympus" is not an IANA time zone`}},
		{"workspace without claim", spec("  workspace: {size: 1Gi}\n"), []string{"spec.workspace.claim: is missing"}},
		{"workspace size", spec("  workspace: {claim: c, size: big}\n"), []string{`spec.workspace.size: "big" is not a size`}},
		{"workspace below ml", spec("  workspace: {claim: c, mountPath: /ml/data}\n"), []string{"spec.workspace.mountPath: /ml holds the source"}},
		{"workspace relative", spec("  workspace: {claim: c, mountPath: data}\n"), []string{`"data" must be absolute`}},
		{"workspace mode", spec("  workspace: {claim: c, size: 1Gi, accessMode: ReadWriteAll}\n"), []string{"spec.workspace.accessMode: \"ReadWriteAll\" is not known here (write ReadWriteMany"}},
		{"absolute source", spec("  source: /src\n"), []string{"spec.source: must be relative"}},
		{"no image", head + "  stages: [{name: a, command: [x]}]\n", []string{"p.yaml:5:12: spec.stages[0].image: the stage has no image, nor have the defaults"}},
		{"image with spaces", head + "  stages: [{name: a, image: \"b c\"}]\n", []string{`"b c" is not an image`}},
		{"image with a scheme", head + "  stages: [{name: a, image: \"https://x/y:1\"}]\n", []string{"is not an image (write REGISTRY/NAME:TAG in lower case, without spaces or https://)"}},
		{"image with port and digest", head + "  stages: [{name: a, image: \"localhost:5000/x/y:1@sha256:" + strings.Repeat("a", 64) + "\"}]\n", nil},
		{"image by a reference", head + "  params: {i: \"b:1\"}\n  stages: [{name: a, image: $(params.i)}]\n", nil},
		{"stages of one name", two("{name: a, image: b:1}"), []string{`spec.stages[1].name: stage "a" stands twice, first in line 7 (rename one of the two)`}},
		{"unknown need", two("{name: c, image: b:1, needs: [b]}"), []string{`spec.stages[1].needs[0]: there is no stage "b" (did you mean "a"?)`}},
		{"needs itself", two("{name: c, image: b:1, needs: [c]}"), []string{"stage c needs itself"}},
		{"needs twice", two("{name: c, image: b:1, needs: [a, a]}"), []string{"stage a stands here twice"}},
		{"circle", head + "  stages:\n  - {name: a, image: b:1, needs: [c]}\n  - {name: b, image: b:1, needs: [a]}\n  - {name: c, image: b:1, needs: [b]}\n", []string{"stages need each other in a circle: a -> c -> b -> a"}},
		{"manifest and command", head + "  stages: [{name: a, manifest: j.yaml, command: [x], gpus: 1}]\n", []string{"spec.stages[0].command: command has no effect here: the stage is made of the manifest as it is (edit the manifest, or use patch)", "spec.stages[0].gpus: gpus has no effect"}},
		{"manifest and deploy", head + "  stages: [{name: a, manifest: j.yaml, deploy: {manifest: d.yaml}}]\n", []string{"the stage has both manifest and deploy"}},
		{"deploy without manifest", head + "  stages: [{name: a, deploy: {strategy: rolling}}]\n", []string{"spec.stages[0].deploy.manifest: is missing"}},
		{"deploy strategy", head + "  stages: [{name: a, deploy: {manifest: d.yaml, strategy: canary}}]\n", []string{"canary is for a version of a model, the stage names none (add model: NAME"}},
		{"deploy with a metric gate", head + "  stages: [{name: a, deploy: {manifest: d.yaml}, gates: [{metric: x, min: 1}]}]\n", []string{"a Deployment leaves no metrics to judge"}},
		{"empty command", stage("    command: []\n"), []string{"spec.stages[0].command: is empty"}},
		{"sweep without best", stage("    sweep: {lr: [1, 2]}\n"), []string{"spec.stages[0].best: is missing: later stages see one child of a sweep"}},
		{"sweep of one", stage("    sweep: {lr: [1]}\n"), nil},
		{"sweep too large", stage("    sweep: {a: [1,2,3,4,5,6], b: [1,2,3,4,5,6], c: [1,2,3,4,5,6]}\n    best: {min: x}\n"), []string{"makes 216 children, at most 200 are run"}},
		{"sweep of lists", stage("    sweep: {a: [[1], [2]]}\n    best: {min: x}\n"), []string{"spec.stages[0].sweep.a[0]: must be a number, a bool or a string, not list"}},
		{"sweep without values", stage("    sweep: {a: []}\n"), []string{"spec.stages[0].sweep.a: has no values"}},
		{"sweep twice the same", stage("    sweep: {a: [1, 1]}\n    best: {min: x}\n"), []string{"1 stands here twice"}},
		{"empty sweep", stage("    sweep: []\n"), []string{"spec.stages[0].sweep: is empty"}},
		{"empty point", stage("    sweep: [{}, {a: 1}]\n    best: {min: x}\n"), []string{"spec.stages[0].sweep[0]: sets no parameter"}},
		{"two bests", stage("    sweep: {a: [1, 2]}\n    best: {min: x, max: y}\n"), []string{"must name exactly one metric"}},
		{"best without sweep", stage("    best: {min: x}\n"), []string{"chooses among the children of a sweep, the stage has none"}},
		{"parallel", stage("    sweep: {a: [1, 2]}\n    best: {min: x}\n    parallel: 0\n"), []string{"spec.stages[0].parallel: must be at least 1"}},
		{"parallel without sweep", stage("    parallel: 2\n"), []string{"bounds the children of a sweep"}},
		{"scheduled sweep", stage("    sweep: {a: [1, 2]}\n    best: {min: x}\n    schedule: \"@daily\"\n"), []string{"a stage with a sweep cannot be a plain CronJob"}},
		{"gate without bound", stage("    gates: [{metric: x}]\n"), []string{"spec.stages[0].gates[0]: does not bound the metric x"}},
		{"empty gate", stage("    gates: [{}]\n"), []string{"has neither metric nor approval"}},
		{"gate of both kinds", stage("    gates: [{metric: x, min: 1, approval: look}]\n"), []string{"has both metric and approval"}},
		{"gate upside down", stage("    gates: [{metric: x, min: 2, max: 1}]\n"), []string{"min 2 is above max 1: nothing passes"}},
		{"negative retries", stage("    retries: -1\n"), []string{"spec.stages[0].retries: must not be negative"}},
		{"no time", stage("    timeout: 0s\n"), []string{"spec.stages[0].timeout: must be more than 0"}},
		{"negative gpus", stage("    gpus: -1\n"), []string{"spec.stages[0].gpus: must not be negative"}},
		{"gpus without count", stage("    gpus: {product: NVIDIA-L4}\n"), []string{"spec.stages[0].gpus.count: is missing"}},
		{"gpu resource", stage("    gpus: {count: 1, resource: gpu}\n"), []string{`"gpu" is not an extended resource`}},
		{"product of another vendor", stage("    gpus: {count: 1, resource: amd.com/gpu, product: MI300}\n"), []string{"is a label that only NVIDIA's nodes have"}},
		{"gpus twice", stage("    gpus: 1\n    resources: {limits: {nvidia.com/gpu: 1}}\n"), []string{"nvidia.com/gpu is asked for here and under resources"}},
		{"request above limit", stage("    resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}\n"), []string{"asks for 2Gi, more than its limit 1Gi"}},
		{"resource name", stage("    resources: {requests: {mem: 2Gi}}\n"), []string{`"mem" is not a resource of Kubernetes (write one of cpu, memory`}},
		{"variable name", stage("    env: [{name: \"A B\", value: x}]\n"), []string{`"A B" is not the name of a variable`}},
		{"variable twice", stage("    env: [{name: A, value: x}, {name: A, value: y}]\n"), []string{"A stands here twice"}},
		{"value and valueFrom", stage("    env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\n"), []string{"has both value and valueFrom"}},
		{"valueFrom nothing", stage("    env: [{name: A, valueFrom: {}}]\n"), []string{"must have exactly one source, has 0"}},
		{"mount without volume", stage("    volumes: [{name: cache, emptyDir: {}}]\n    volumeMounts: [{name: cach, mountPath: /c}]\n"), []string{`there is no volume "cach" (did you mean "cache"?)`}},
		{"mount below ml", stage("    volumes: [{name: cache, emptyDir: {}}]\n    volumeMounts: [{name: cache, mountPath: /ml}]\n"), []string{"/ml holds the source and the parameters"}},
		{"volume of two sources", stage("    volumes: [{name: v, emptyDir: {}, secret: {secretName: s}}]\n"), []string{"must have exactly one source, has 2"}},
		{"volume of ours", stage("    volumes: [{name: ml-inputs, emptyDir: {}}]\n"), []string{"ml-inputs is a volume of kubectl ml itself"}},
		{"pull policy", stage("    imagePullPolicy: always\n"), []string{`"always" is not known here (write Always)`}},
		{"toleration", stage("    tolerations: [{key: a, operator: Exists, value: b}]\n"), []string{"must be empty with operator Exists"}},
		{"unknown parameter", two("{name: c, image: b:1, args: [$(params.sed)]}"), []string{`spec.stages[1].args[0]: $(params.sed): stage c has no parameter sed (did you mean "$(params.seed)"?)`}},
		{"escaped reference", two("{name: c, image: b:1, args: [$$(params.sed), $(HOME), $(date +%s)]}"), nil},
		{"result of a stage not needed", two("{name: c, image: b:1, args: [$(stages.a.metrics.x)]}"), []string{"stage c does not need a, which may not have run by then (add a to needs)"}},
		{"result of a stage needed", two("{name: c, needs: [a], image: b:1, args: [$(stages.a.metrics.val/x)]}"), nil},
		{"result of an unknown stage", two("{name: c, image: b:1, args: [$(stages.b.metrics.x)]}"), []string{"$(stages.b.metrics.x): there is no stage b"}},
		{"own result", two("{name: c, image: b:1, args: [$(stages.c.metrics.x)]}"), []string{"a stage does not know its own result before it has run"}},
		{"malformed reference", two("{name: c, image: b:1, needs: [a], args: [$(stages.a.rmse)]}"), []string{"$(stages.a.rmse) is incomplete: write $(stages.NAME.metrics.KEY)"}},
		{"unknown part", two("{name: c, image: b:1, needs: [a], args: [$(stages.a.metric.x)]}"), []string{"a stage has metrics, outputs, data and model"}},
		{"unknown model field", two("{name: c, image: b:1, needs: [a], args: [$(stages.a.model.url)]}"), []string{"a model has uri, digest, size and format"}},
		{"unknown run field", two("{name: c, image: b:1, args: [$(run.sh)]}"), []string{"write $$(run.sh) when it is not a reference"}},
		{"results in a scheduled stage", two("{name: c, image: b:1, needs: [a], schedule: \"@daily\", args: [$(stages.a.metrics.x)]}"), []string{"the CronJob of a scheduled stage has no earlier stages"}},
		{"run in a scheduled stage", two("{name: c, image: b:1, schedule: \"@daily\", args: [$(run.name)]}"), nil},
		{"run in a scheduled stage's parameter", two("{name: c, image: b:1, schedule: \"@daily\", params: {o: $(run.name)}}"), []string{"$(run.name): stage c is a CronJob too, whose pods alone know the name"}},
		{"parameters in a circle", two("{name: c, image: b:1, params: {x: $(params.y), y: $(params.x)}}"), []string{"parameters refer to each other in a circle"}},
		{"patch with a typo", stage("    patch: {spec: {template: {spec: {containers: [{name: main, volumeMount: []}]}}}}\n"), []string{`spec.stages[0].patch.spec.template.spec.containers[0].volumeMount: unknown field "volumeMount" (did you mean "volumeMounts"?)`}},
		{"patch that removes", stage("    patch: {spec: {backoffLimit: null, template: {spec: {$retainKeys: [containers], tolerations: null}}}}\n"), nil},
		{"patch of the name", stage("    patch: {metadata: {name: x}}\n"), []string{"spec.stages[0].patch.metadata.name: a patch cannot change it"}},
		{"patch of another kind", head + "  stages: [{name: a, deploy: {manifest: d.yaml}, patch: {spec: {backoffLimit: 1}}}]\n", []string{`unknown field "backoffLimit"`}},
		{"model name", stage("    model: House Prices\n"), []string{"spec.stages[0].model: \"House Prices\" is not a DNS label (write house-prices)"}},
	}
}

func TestValidate(t *testing.T) {
	for _, c := range validateCases() {
		t.Run(c.name, func(t *testing.T) { checkFile(t, c) })
	}
}

func TestWarnings(t *testing.T) {
	key := "AKIA" + strings.Repeat("A", 16)
	for _, c := range []struct{ stage, want string }{
		{"{name: a, image: python}", "p.yaml:5:29: spec.stages[0].image: image python has no tag"},
		{"{name: a, image: \"python:latest\"}", "may be another one tomorrow"},
		{"{name: a, image: \"python:3.12\"}", ""},
		{"{name: a, image: b:1, env: [{name: DB_PASSWORD, value: hunter22}]}", "spec.stages[0].env[0].value: DB_PASSWORD looks like a credential"},
		{"{name: a, image: b:1, env: [{name: ID, value: " + key + "}]}", "looks like a credential"},
		{"{name: a, image: b:1, env: [{name: DB, value: \"postgres://u:pw@host/db\"}]}", "looks like a credential"},
		{"{name: a, image: b:1, params: {k: hf_abcdefghijklmnopqrstuvwxyz}}", "looks like a credential"},
		{"{name: a, image: b:1, env: [{name: MAX_TOKEN, value: \"512\"}, {name: SSH_KEY, value: /keys/id}, {name: TOKENIZER, value: bert}]}", ""},
		{"{name: a, image: b:1, env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}]}", ""},
	} {
		_, warnings, err := Load("p.yaml", []byte(head+"  stages: ["+c.stage+"]\n"))
		if err != nil {
			t.Errorf("%s: %v", c.stage, err)
		}
		if got := warnings.Error(); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: warnings are %q, want %q", c.stage, got, c.want)
		}
		if strings.Contains(warnings.Error(), key) {
			t.Errorf("the credential itself is shown: %v", warnings)
		}
	}
}

// A text of the defaults is seen by every stage, but its mistake is one.
func TestDefaultsReportedOnce(t *testing.T) {
	var stages strings.Builder
	for i := range 50 {
		fmt.Fprintf(&stages, "  - {name: s%d}\n", i)
	}
	_, _, err := Load("p.yaml", []byte(head+"  defaults: {image: b:1, env: [{name: A, value: $(params.x)}]}\n  stages:\n"+stages.String()))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Errorf("want one problem, got\n%v", err)
	}
}

func TestProblemCount(t *testing.T) {
	_, _, err := Load("p.yaml", []byte(head+"  stages:\n"+strings.Repeat("  - {nme: a}\n", 3000)))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != maxProblems {
		t.Errorf("got %d problems", len(problems))
	}
}
