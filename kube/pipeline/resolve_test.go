package pipeline

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func load(t *testing.T, lines string) *Pipeline {
	t.Helper()
	p, _, err := Load("p.yaml", []byte(head+lines))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const diamond = `  stages:
  - {name: deploy, image: b:1, needs: [left, right]}
  - {name: right, image: b:1, needs: [start]}
  - {name: left, image: b:1, needs: [start]}
  - {name: start, image: b:1}
  - {name: alone, image: b:1}
`

func TestSelection(t *testing.T) {
	p := load(t, diamond)
	for _, c := range []struct {
		sel  Selection
		want string
	}{
		{Selection{}, "start right left deploy alone"},
		{Selection{Only: []string{"left", "alone"}}, "left alone"},
		{Selection{From: "left"}, "left deploy"},
		{Selection{To: "left"}, "start left"},
		{Selection{From: "left", To: "deploy"}, "left deploy"},
		{Selection{Only: []string{"lef"}}, `error: there is no stage "lef"; did you mean "left"?`},
		{Selection{Only: []string{"left"}, From: "left"}, "error: name stages, or a range by from and to, not both"},
		{Selection{From: "left", To: "right"}, "error: no stage lies between left and right: right does not need left"},
	} {
		plan, err := Resolve(p, "r", Options{Selection: c.sel})
		if err != nil {
			if got := "error: " + err.Error(); got != c.want {
				t.Errorf("%+v: %s, want %s", c.sel, got, c.want)
			}
			continue
		}
		var all, selected []string
		for _, s := range plan.Stages {
			all = append(all, s.Name)
			if s.Selected {
				selected = append(selected, s.Name)
			}
		}
		// The file's order breaks ties.
		if got := strings.Join(all, " "); got != "start right left deploy alone" {
			t.Errorf("order is %s", got)
		}
		if got := strings.Join(selected, " "); got != c.want {
			t.Errorf("%+v selects %s, want %s", c.sel, got, c.want)
		}
	}
}

func TestOverrides(t *testing.T) {
	p := load(t, `  params: {n: 7, f: 0.1, s: text, b: false, l: [1], m: {a: 1}}
  stages:
  - {name: a, image: b:1, params: {own: 1, f: 0.5}}
  - {name: sw, image: b:1, sweep: {x: [1, 2]}, best: {min: m}}
  - {name: job, manifest: job.yaml}
`)
	read := func(string) ([]byte, error) {
		return []byte("apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}\n"), nil
	}
	for _, c := range []struct {
		set  string
		want Params
		err  string
	}{
		{set: "n=8", want: Params{"n": int64(8)}},
		{set: "f=1", want: Params{"f": 0.5}},
		{set: "a.f=1", want: Params{"f": 1.0}},
		{set: "a.n=9", want: Params{"n": int64(9)}},
		{set: "s=a=b", want: Params{"s": "a=b"}},
		{set: "s=", want: Params{"s": ""}},
		{set: "b=true", want: Params{"b": true}},
		{set: "l=[2, \"x\"]", want: Params{"l": []any{int64(2), "x"}}},
		{set: "m={\"k\": 1}", want: Params{"m": map[string]any{"k": int64(1)}}},
		{set: "n=1.5", err: `--set n: "1.5" is not an int, as its default 7 is`},
		{set: "n=99999999999999999999", err: "does not fit 64 bits"},
		{set: "f=nan", err: `--set f: "nan" is not a finite number`},
		{set: "b=yes", err: `"yes" is not a bool: write true or false`},
		{set: "l={}", err: `is not a JSON list, such as [1]`},
		{set: "nn=1", err: `--set nn: unknown parameter; did you mean "n"?`},
		{set: "own=1", err: "it is a parameter of stage a alone: write --set a.own=VALUE"},
		{set: "x=1", err: "stage sw sweeps it"},
		{set: "sw.x=1", err: "stage sw sweeps it"},
		{set: "job.n=1", err: "stage job is a manifest and takes no parameters"},
		{set: "c.n=1", err: `there is no stage "c"`},
		{set: "n", err: `write --set NAME=VALUE`},
	} {
		plan, err := Resolve(p, "r", Options{Set: []string{c.set}, ReadFile: read})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: want error %q, got %v", c.set, c.err, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.set, err)
			continue
		}
		got := plan.Stage("a").Children[0].Params
		for k, v := range c.want {
			if d := cmp.Diff(v, got[k]); d != "" {
				t.Errorf("%s: %s", c.set, d)
			}
		}
	}
	if p.Spec.Params["n"] != int64(7) {
		t.Error("an override changed the pipeline")
	}
}

func TestSetFile(t *testing.T) {
	p := load(t, "  params: {prompt: \"\", n: 1}\n  stages: [{name: a, image: b:1}]\n")
	read := func(path string) ([]byte, error) {
		if path == "prompt.txt" {
			return []byte("two\nlines\n"), nil
		}
		if path == "n" {
			return []byte("12\n"), nil
		}
		return nil, os.ErrNotExist
	}
	plan, err := Resolve(p, "r", Options{SetFile: []string{"prompt=prompt.txt", "n=n"}, ReadFile: read})
	if err != nil || plan.Params["prompt"] != "two\nlines\n" || plan.Params["n"] != int64(12) {
		t.Error(plan, err)
	}
	if _, err = Resolve(p, "r", Options{SetFile: []string{"prompt=none"}, ReadFile: read}); err == nil || !strings.Contains(err.Error(), "--set-file prompt: file does not exist") {
		t.Error(err)
	}
}

func TestSweepChildren(t *testing.T) {
	p := load(t, `  params: {seed: 7}
  stages:
  - {name: grid, image: b:1, sweep: {z: [1, 2], a: [x, y]}, best: {min: m}}
  - {name: list, image: b:1, sweep: [{lr: 0.1, n: 1}, {lr: 0.2, n: 2}], best: {max: m}}
`)
	plan, err := Resolve(p, "r", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Stages {
		for _, c := range s.Children {
			got = append(got, text(map[string]any(c.Swept)))
			if c.Params["seed"] != int64(7) {
				t.Error("a child lacks the pipeline's parameters")
			}
		}
	}
	want := []string{`{"a":"x","z":1}`, `{"a":"y","z":1}`, `{"a":"x","z":2}`, `{"a":"y","z":2}`, `{"lr":0.1,"n":1}`, `{"lr":0.2,"n":2}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefaultsMerge(t *testing.T) {
	plan, err := Resolve(load(t, `  defaults:
    image: b:1
    gpus: 2
    env: [{name: A, value: "1"}, {name: B, value: "1"}]
    resources: {requests: {cpu: 1, memory: 1Gi}}
    nodeSelector: {a: x, b: x}
    timeout: 1h
    ttl: 2h
  stages:
  - {name: s, gpus: 0, env: [{name: B, value: "2"}, {name: C, value: "2"}], resources: {requests: {cpu: 2}}, nodeSelector: {b: y}, timeout: 1m}
`), "r", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := plan.Stages[0]
	var env []string
	for _, e := range s.Env {
		env = append(env, e.Name+e.Value)
	}
	if got := strings.Join(env, " "); got != "A1 B2 C2" {
		t.Error(got)
	}
	if s.GPUs.Count != 0 || s.Resources.Requests.Cpu().Value() != 2 || s.Resources.Requests.Memory().String() != "1Gi" ||
		s.NodeSelector["a"]+s.NodeSelector["b"] != "xy" || s.Timeout.Minutes() != 1 || s.TTL.Hours() != 2 {
		t.Errorf("%+v", s.Template)
	}
}
