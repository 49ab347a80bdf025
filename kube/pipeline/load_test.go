package pipeline

import (
	"errors"
	"strings"
	"testing"
)

// head begins a valid file; tests append stages to it.
const head = "apiVersion: kubectl-ml.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: demo}\nspec:\n"

type fileCase struct {
	name, text string
	// want are parts of the error, each a line of it; none means that the file is good.
	want []string
}

func syntaxCases() []fileCase {
	return []fileCase{
		{"empty", "", []string{"p.yaml:1:1: the file is empty"}},
		{"only comments", "# nothing\n---\n# here\n", []string{"p.yaml:1:1: the file is empty"}},
		{"null", "~\n", []string{"p.yaml:1:1: the file is empty"}},
		{"list", "- a\n", []string{"p.yaml:1:1: the file holds a list, not a pipeline (begin the file with apiVersion"}},
		{"scalar", "hello\n", []string{"p.yaml:1:1: the file holds a string"}},
		{"other mapping", "a: 1\n", []string{"p.yaml:1:1: the file is not a pipeline: apiVersion and kind are missing"}},
		{"a Job", "apiVersion: batch/v1\nkind: Job\n", []string{`p.yaml:2:7: kind: the file is a Kubernetes Job, not a pipeline (name it in a stage of a pipeline: manifest: "p.yaml")`}},
		{"old version", "apiVersion: kubectl-ml.dev/v1\nkind: Pipeline\nmetadata: {name: x}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{`p.yaml:1:13: apiVersion: "kubectl-ml.dev/v1" is not a version that this kubectl ml knows (write apiVersion: kubectl-ml.dev/v1alpha1)`}},
		{"kind misspelt", "apiVersion: kubectl-ml.dev/v1alpha1\nkind: pipeline\nmetadata: {name: x}\nspec: {stages: [{name: a, image: b:1}]}\n", []string{`p.yaml:2:7: kind: "pipeline" is not the kind of a pipeline (write kind: Pipeline)`}},
		{"two documents", head + "  stages: [{name: a, image: b:1}]\n---\na: 1\n", []string{"p.yaml:7:1: the file holds a second document (one pipeline a file"}},
		{"trailing separator", head + "  stages: [{name: a, image: b:1}]\n---\n", nil},
		{"second document broken", head + "  stages: [{name: a, image: b:1}]\n---\na: [\n", []string{"not valid YAML"}},
		{"tab", head + "  stages:\n\t- name: a\n", []string{"p.yaml:6:1: a tab indents the line (indent with spaces)"}},
		{"tab in a block scalar", head + "  stages:\n  - name: a\n    image: b:1\n    args:\n    - |\n      if true\n      \tthen\n", nil},
		{"not UTF-8", "a: \"\x80\"\n", []string{"p.yaml:1:5: byte 0x80 is not UTF-8"}},
		{"UTF-16", "\xff\xfea\x00", []string{"the file is UTF-16 (save it as UTF-8)"}},
		{"NUL", "a: \x00\n", []string{"p.yaml:1:4: there is a control character, 0x00"}},
		{"BOM", "\xef\xbb\xbf" + head + "  stages: [{name: a, image: b:1}]\n", nil},
		{"CRLF", strings.ReplaceAll(head+"  stages:\n  - name: a\n    image: b:1\n", "\n", "\r\n"), nil},
		{"indentation", "a:\n  b: 1\n c: 2\n", []string{"p.yaml:3:2: not valid YAML: did not find expected key (in the block that begins in line 2)"}},
		{"colon in a value", head + "  description: a: b\n", []string{"p.yaml:5:3: not valid YAML: mapping values are not allowed"}},
		{"no colon", head + "  stages:\n  - name: a\n    image\n    args: [b]\n", []string{"p.yaml:7:5", "write KEY: VALUE, with a space after the colon"}},
		{"open bracket", head + "  stages:\n  - name: a\n    args: [b, c\n    image: d\n", []string{"close the bracket"}},
		{"open quote", head + "  stages:\n  - name: \"a\n", []string{"check quotes and brackets"}},
		{"glob", head + "  stages:\n  - name: a\n    args: [*.csv]\n", []string{"p.yaml:7:5: not valid YAML", "(quote a value that begins with * or &)"}},
		{"unknown anchor", head + "  stages:\n  - name: a\n    args: [*csv]\n", []string{"p.yaml:7:12: not valid YAML: unknown anchor 'csv' referenced (quote a value that begins with *, or define &csv before it)"}},
		{"at sign", head + "  stages:\n  - name: @a\n", []string{"p.yaml:6", "quote values that begin with a character such as @"}},
		{"custom tag", head + "  description: !env X\n", []string{"p.yaml:5:16: spec.description: the tag !env is not supported (remove it)"}},
		{"wrong tag", head + "  description: !!int x\n", []string{"p.yaml:5:16: spec.description: x is not an int of 64 bits"}},
		{"recursive alias", "a: &a [*a]\n", []string{"p.yaml:1:8: a[0]: *a stands within &a itself"}},
		{"alias bomb", "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + bomb(), []string{"the file has more than 500000 values once its aliases are spread out"}},
		{"depth", "a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n", []string{"the file is nested more than 100 deep"}},
		{"absurd depth", "a: " + strings.Repeat("[", 20000) + "\n", []string{"p.yaml:1:1: not valid YAML"}},
		{"too large", "a: " + strings.Repeat("x", 4<<20), []string{"the file has 4194307 bytes, at most 3145728 are read"}},
		{"key is a list", "? [a]\n: b\n", []string{"p.yaml:1:3: a key must be a word"}},
		{"template braces", head + "  description: {{ name }}\n", []string{"a key must be a word"}},
	}
}

func bomb() string {
	var b strings.Builder
	for c := 'b'; c < 'k'; c++ {
		b.WriteString(string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "*" + string(c-1) + "]\n")
	}
	return b.String()
}

func typeCases() []fileCase {
	stage := func(lines string) string { return head + "  stages:\n  - name: a\n    image: b:1\n" + lines }
	return []fileCase{
		{"unknown field", stage("    comand: [x]\n"), []string{`p.yaml:8:5: spec.stages[0].comand: unknown field "comand" (did you mean "command"?)`}},
		{"unknown field without a neighbour", head + "  monitor: {}\n  stages: [{name: a, image: b:1}]\n", []string{`spec.monitor: unknown field "monitor" (the fields here are defaults, description,`}},
		{"case matters", stage("    Command: [x]\n"), []string{`unknown field "Command" (did you mean "command"?)`}},
		{"dependsOn", stage("    dependsOn: [x]\n"), []string{`(did you mean "needs"?)`}},
		{"a pod's field", stage("    affinity: {}\n"), []string{"it is a field of the pod: write patch: {spec: {template: {spec: {affinity: ...}}}}"}},
		{"a container's field", stage("    livenessProbe: {}\n"), []string{"containers: [{name: main, livenessProbe: ...}]"}},
		{"a Job's field", stage("    parallelism: 2\n"), []string{"it is a field of the Job: write patch: {spec: {parallelism: ...}}"}},
		{"deep in a Kubernetes type", stage("    volumes: [{name: v, emptyDir: {sizeLimits: 1Gi}}]\n"), []string{`p.yaml:8:36: spec.stages[0].volumes[0].emptyDir.sizeLimits: unknown field "sizeLimits" (did you mean "sizeLimit"?)`}},
		{"duplicate key", stage("    image: c:1\n"), []string{`p.yaml:8:5: spec.stages[0].image: the key "image" stands here a second time, first in line 7 (keep one of the two)`}},
		{"no value", stage("    command:\n"), []string{"p.yaml:8:13: spec.stages[0].command: has no value"}},
		{"number for text", stage("    env: [{name: A, value: 7}]\n"), []string{`p.yaml:8:28: spec.stages[0].env[0].value: must be a string, not an int (quote it: "7")`}},
		{"bool for text", stage("    args: [true]\n"), []string{`spec.stages[0].args[0]: must be a string, not a bool (quote it: "true")`}},
		{"text for a list", stage("    command: python x.py\n"), []string{`must be a list, not a string (write a list: ["python x.py"])`}},
		{"mapping for env", stage("    env: {A: b}\n"), []string{"must be a list, not a mapping (write a list: [{name: NAME"}},
		{"mapping for stages", head + "  stages: {a: {image: b:1}}\n", []string{`spec.stages: must be a list, not a mapping (begin each element with "- ")`}},
		{"list for a mapping", stage("    resources: [a]\n"), []string{"must be a mapping, not a list (write its fields without"}},
		{"gpus as text", stage("    gpus: \"1\"\n"), []string{"must be a count such as 1, or a mapping", "(remove the quotes)"}},
		{"gpus with a typo", stage("    gpus: {cout: 1}\n"), []string{`spec.stages[0].gpus.cout: unknown field "cout" (did you mean "count"?)`}},
		{"fraction of a gpu", stage("    gpus: 0.5\n"), []string{"spec.stages[0].gpus: must be a count"}},
		{"days", stage("    timeout: 2d\n"), []string{`"2d" is not a duration (the largest unit is the hour: write 48h)`}},
		{"no unit", stage("    timeout: 30\n"), []string{"has no unit (write 30s for seconds, 30m for minutes, 30h for hours)"}},
		{"not a duration", stage("    timeout: soon\n"), []string{`"soon" is not a duration (write a duration such as`}},
		{"not a quantity", stage("    resources: {requests: {memory: 2GB}}\n"), []string{`spec.stages[0].resources.requests.memory: "2GB" is not a quantity`}},
		{"sweep of single values", stage("    sweep: {lr: 0.1}\n    best: {min: x}\n"), []string{"spec.stages[0].sweep.lr: must be a list of values to try, not a float (write [0.1])"}},
		{"sweep of text", stage("    sweep: lr\n"), []string{"spec.stages[0].sweep: must be a mapping of lists"}},
		{"too large for float", stage("    gates: [{metric: x, max: 1e400}]\n"), []string{"1e400 does not fit a 64-bit number"}},
		{"infinite", stage("    gates: [{metric: x, max: .inf}]\n"), []string{"p.yaml:8:30: spec.stages[0].gates[0].max: .inf is not a finite number"}},
		{"nan parameter", head + "  params: {x: .nan}\n  stages: [{name: a, image: b:1}]\n", []string{"spec.params.x: .nan is not a finite number"}},
		{"too large for int", stage("    retries: 3000000000\n"), []string{"3000000000 does not fit 32 bits"}},
		{"too large for 64 bits", head + "  params: {x: 18446744073709551615}\n  stages: [{name: a, image: b:1}]\n", []string{"18446744073709551615 is not an int of 64 bits"}},
		{"yes is text", stage("    volumeMounts: [{name: v, mountPath: /v, readOnly: yes}]\n    volumes: [{name: v, emptyDir: {}}]\n"), []string{"must be a bool, yes is text in YAML 1.2 (write true or false)"}},
		{"patch is text", stage("    patch: x\n"), []string{"spec.stages[0].patch: must be a mapping, not a string"}},
		{"all at once", head + "  parms: {}\n  stages:\n  - name: a\n    imge: b\n  - nme: c\n    image: b:1\n", []string{"p.yaml:5:3: ", "p.yaml:8:5: ", "p.yaml:9:5: "}},
	}
}

func TestLoadReports(t *testing.T) {
	for _, c := range append(syntaxCases(), typeCases()...) {
		t.Run(c.name, func(t *testing.T) { checkFile(t, c) })
	}
}

func checkFile(t *testing.T, c fileCase) {
	t.Helper()
	p, _, err := Load("p.yaml", []byte(c.text))
	if len(c.want) == 0 {
		if err != nil || p == nil {
			t.Fatalf("want no error, got\n%v", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("want an error with %q", c.want)
	}
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error is %T", err)
	}
	for _, want := range c.want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in\n%v", want, err)
		}
	}
}

// One mistake is one problem: what follows from it is not reported too.
func TestLoadReportsOnce(t *testing.T) {
	for _, c := range typeCases() {
		if c.name == "all at once" {
			continue
		}
		_, _, err := Load("p.yaml", []byte(c.text))
		var problems Problems
		if errors.As(err, &problems) && len(problems) != 1 {
			t.Errorf("%s: %d problems:\n%v", c.name, len(problems), err)
		}
	}
}

func TestLoadAnchors(t *testing.T) {
	p, warnings, err := Load("p.yaml", []byte(head+`  stages:
  - &base
    name: a
    image: b:1
    env: &env
    - {name: A, value: "1"}
  - <<: *base
    name: c
  - <<: [{image: d:1}, *base]
    name: e
    env: *env
`))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	c, e := p.Spec.Stages[1], p.Spec.Stages[2]
	if c.Name != "c" || c.Image != "b:1" || c.Env[0].Value != "1" {
		t.Errorf("merged stage is %+v", c)
	}
	if e.Name != "e" || e.Image != "d:1" || e.Env[0].Name != "A" {
		t.Errorf("the first of two merged mappings wins: %+v", e)
	}
}

func TestLoadValues(t *testing.T) {
	p, _, err := Load("p.yaml", []byte(head+`  params: {i: 9007199254740993, hex: 0x1F, f: 1.0, e: 1e-3, s: "7", b: false, l: [1, a], m: {k: 2}, day: 2026-01-31}
  stages:
  - {name: a, image: b:1, gpus: 2, sweep: {z: [1, 2], a: [x]}, best: {min: rmse}, volumes: [{name: v, secret: {secretName: s, defaultMode: 0440}}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"i": int64(9007199254740993), "hex": int64(31), "f": 1.0, "e": 0.001, "s": "7", "b": false, "day": "2026-01-31"} {
		if got := p.Spec.Params[name]; got != want {
			t.Errorf("%s is %T %v, want %T %v", name, got, got, want, want)
		}
	}
	s := p.Spec.Stages[0]
	if s.GPUs.Count != 2 || strings.Join(s.Sweep.Names, " ") != "z a" || *s.Volumes[0].Secret.DefaultMode != 0o440 {
		t.Errorf("stage is %+v", s)
	}
}
