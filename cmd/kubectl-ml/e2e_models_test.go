package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// versionJSON is what the steps read of a version.
type versionJSON struct {
	Version  int
	Aliases  []string
	Artifact struct{ URI, Digest string }
	Metrics  map[string]float64
	Params   map[string]any
	Image    string
	Run      struct{ Name, UID, JobUID string }
	Approval *struct{ State, By string }
}

// eventJSON is a line of a model's history.
type eventJSON struct {
	Action, Alias, By, Run string
	Version, From          int
}

// decode reads the JSON that a command wrote.
func decode[T any](e *e2e, r result) (out T) {
	e.t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		e.t.Fatalf("the output is not JSON: %v\n%s", err, r.stdout)
	}
	return out
}

func (e *e2e) model(ref string) versionJSON {
	e.t.Helper()
	return decode[versionJSON](e, e.ok("model", "show", ref, "-o", "json"))
}

// registered sees that runs have registered what they trained, one version each, with all that is known of it.
func (e *e2e) registered() {
	train := func(lr string) {
		j := e.parse(e.ok("run", "train", "-f", e.file, "--set", "pace=0", "--set", "lr="+lr, "-o", "json"))
		e.lastRun = j.Metadata.Name
	}
	// The steps before have made two; alone, this one makes them.
	if e.run(stageLimit, e.kubectl, "ml", "model", "show", "house-prices:2").code != 0 {
		e.ok("run", "-f", e.file, "--set", "pace=0")
		train("0.05")
	}
	one, two := e.model("house-prices:1"), e.model("house-prices:2")
	for _, v := range []versionJSON{one, two} {
		e.must(v.Run.UID != "" && v.Run.JobUID != "" && strings.Contains(v.Image, "@sha256:") && strings.HasPrefix(v.Artifact.URI, "pvc://"), "%+v", v)
	}
	e.must(one.Artifact.Digest != two.Artifact.Digest && one.Params["lr"] != two.Params["lr"], "two trainings are one: %+v %+v", one, two)
	r := e.ok("status", two.Run.Name)
	e.must(strings.Contains(r.stdout, "house-prices:2"), "the run does not say which version it made:\n%s", r.stdout)
	r = e.ok("models", "-o", "json")
	e.must(strings.Contains(r.stdout, `"house-prices"`), "models does not list it:\n%s", r.stdout)
}

func (e *e2e) compared() {
	r := e.ok("model", "diff", "house-prices:1", "house-prices:2")
	for _, want := range []string{"lr", "rmse", "0.05"} {
		e.must(strings.Contains(r.stdout, want), "the comparison does not say %s:\n%s", want, r.stdout)
	}
	e.ml(1, "model", "diff", "house-prices:1", "house-prices:2", "--exit-code")
	e.ok("model", "approve", "house-prices:1", "--comment", "seen")
	e.must(e.model("house-prices:1").Approval.State == "approved", "not approved")
	e.ok("model", "promote", "house-prices:1", "--if-current", "0", "--yes")
	e.ml(1, "model", "promote", "house-prices:2", "--if-current", "0", "--yes")
	e.must(e.model("house-prices@production").Version == 1, "production moved although it was not as expected")
}

const house = `{"area": 90, "rooms": 3, "age": 20, "distance": 4, "floor": 2, "garden": 0, "condition": 4, "neighbourhood": "Old Town"}`

// serveFile is the example's own, with what is to be different replaced.
func (e *e2e) serveFile(name string, replace ...string) string {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(e.file), "serve.yaml"))
	if err != nil {
		e.t.Fatal(err)
	}
	out := strings.NewReplacer(replace...).Replace(string(text))
	e.must(out != string(text) || len(replace) == 0, "nothing of serve.yaml was replaced")
	file := filepath.Join(filepath.Dir(e.file), name)
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return file
}

// ask sends requests through the API server's proxy and returns how many each version answered.
func (e *e2e) ask(times int) map[string]int {
	e.t.Helper()
	file := e.write("house.json", house)
	path := "/api/v1/namespaces/" + e.namespace() + "/services/house-prices:80/proxy/predict"
	said := map[string]int{}
	for range times {
		r := e.run(stageLimit, e.kubectl, "create", "--raw", path, "-f", file)
		e.must(r.code == 0, "no answer: %s", r.stderr)
		answer := decode[struct {
			Version string
			Price   float64
		}](e, r)
		e.must(answer.Price > 50_000 && answer.Price < 2_000_000, "that is no price of a house: %s", r.stdout)
		said[answer.Version]++
	}
	return said
}

func (e *e2e) namespace() string {
	r := e.run(stageLimit, e.kubectl, "config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.namespace}")
	if r.stdout == "" {
		return "default"
	}
	return r.stdout
}

// served deploys the first version, asks it for prices, and reads the metrics that it exposes.
func (e *e2e) served() {
	file := e.serveFile("serve-1.yaml", "model: house-prices ", "model: house-prices:1 ")
	j := e.parse(e.ok("run", "-f", file, "-o", "json"))
	e.must(j.State == "Succeeded", "%+v", j)
	e.must(e.ask(5)["house-prices:1"] == 5, "another version answers")
	r := e.run(stageLimit, e.kubectl, "get", "pods", "-l", "app.kubernetes.io/name=house-prices,kubectl-ml.dev/side=stable", "-o", "jsonpath={.items[*].metadata.name}")
	sum := 0.0
	for _, pod := range strings.Fields(r.stdout) {
		m := e.run(stageLimit, e.kubectl, "get", "--raw", "/api/v1/namespaces/"+e.namespace()+"/pods/"+pod+":9090/proxy/metrics")
		e.must(strings.Contains(m.stdout, "request_latency_seconds_sum"), "pod %s exposes no latency:\n%s%s", pod, m.stdout, m.stderr)
		for _, line := range strings.Split(m.stdout, "\n") {
			var n float64
			if _, err := fmt.Sscanf(line, "request_count_total %g", &n); err == nil {
				sum += n
			}
		}
	}
	e.must(sum >= 5, "%g requests are counted, 5 were sent", sum)
}

// canary gives the second version a share of the traffic, takes it back, and lets it pass the second time.
func (e *e2e) canary() {
	file := e.serveFile("serve-2.yaml", "model: house-prices ", "model: house-prices:2 ", "# pause: approval ", "pause: approval ")
	begin := func() string {
		j := e.parse(e.ml(5, "run", "-f", file, "-o", "json"))
		e.must(j.State == "AwaitingApproval", "%+v", j)
		// One pod in three answers a third; that none of forty comes from it is a chance of one in ten million.
		said := e.ask(40)
		e.must(said["house-prices:1"] > 0 && said["house-prices:2"] > 0, "the canary's share of the traffic: %v", said)
		return j.Metadata.Name
	}
	name := begin()
	e.ok("rollout", "abort", "house-prices", "--yes", "--comment", "not yet")
	j := e.parse(e.ml(3, "resume", name, "-o", "json"))
	e.must(j.State == "Failed" && strings.Contains(j.Message, "not yet"), "%+v", j)
	e.must(e.ask(10)["house-prices:1"] == 10, "the version that was taken back still answers")
	e.fullSize()

	name = begin()
	j = e.parse(e.ok("resume", name, "--approve", "deploy", "--reason", "it holds", "-o", "json"))
	e.must(j.State == "Succeeded", "%+v", j)
	e.must(e.ask(10)["house-prices:2"] == 10 && e.model("house-prices@production").Version == 2, "version 2 is not in production")
	e.fullSize()

}

// fullSize sees that one Deployment serves alone with all its pods.
func (e *e2e) fullSize() {
	e.t.Helper()
	r := e.run(stageLimit, e.kubectl, "get", "deployments", "-l", "kubectl-ml.dev/model=house-prices", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.replicas} {end}`)
	e.must(r.stdout == "house-prices 3 ", "after the rollout there are: %s", r.stdout)
}

// rolledBack goes back to the version before: the alias, and what serves.
func (e *e2e) rolledBack() {
	e.ok("model", "rollback", "house-prices", "--yes", "--comment", "slower")
	e.must(e.model("house-prices@production").Version == 1, "production is not back at version 1")
	e.ok("rollout", "undo", "house-prices", "--yes")
	e.must(e.ask(10)["house-prices:1"] == 10, "version 1 does not serve again")
}

// pulled takes the pickle out of its volume, and compares it with what was registered.
func (e *e2e) pulled() {
	to := filepath.Join(e.dir, "pulled.pkl")
	e.ok("model", "pull", "house-prices:2", "--to", to)
	content, err := os.ReadFile(to)
	if err != nil {
		e.t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	want := e.model("house-prices:2").Artifact.Digest
	e.must("sha256:"+hex.EncodeToString(sum[:]) == want, "the file is not %s", want)
	e.ok("model", "verify", "house-prices:1", "house-prices:2")
	// Their deletion has been asked for when the verb ends; the pods need a moment to go.
	r := e.run(stageLimit, e.kubectl, "wait", "--for=delete", "jobs,pods", "-l", "kubectl-ml.dev/kind=artifact", "--timeout=30s")
	e.must(r.code == 0, "a helper pod is left behind:\n%s%s", r.stdout, r.stderr)
}

// audited finds all of it in the history, and how things stood in between.
func (e *e2e) audited() {
	list := decode[struct{ Items []eventJSON }](e, e.ok("audit", "--model", "house-prices", "-o", "json"))
	seen := map[string]int{}
	for _, event := range list.Items {
		seen[event.Action]++
		e.must(event.By != "", "nobody did %+v", event)
	}
	for _, action := range []string{"registered", "approved", "promoted", "deploying", "deployed", "aborted", "rolled-back"} {
		e.must(seen[action] > 0, "the history lacks what was %s: %v", action, seen)
	}
	r := e.ok("audit", "--at", time.Now().UTC().Format(time.RFC3339), "--alias", "production")
	e.must(strings.Contains(r.stdout, "house-prices"), "what is in production now:\n%s", r.stdout)
	r = e.ok("model", "lineage", "house-prices:1")
	e.must(strings.Contains(r.stdout, "train") && strings.Contains(r.stdout, "deployment"), "the lineage of version 1:\n%s", r.stdout)
	e.ok("model", "check")
}
