package run

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// named gives a stage's model a name.
func named() stageOption {
	return func(p *pipeline.PlannedStage) { p.Model = "m" }
}

const leftModel = `{"metrics": {"acc": 0.9}, "model": {"uri": "pvc://c/m.pkl", "digest": "sha256:` +
	`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "size": 7, "format": "pickle"}, "data": {"version": "v1"}}`

// registered says what became of the model of stage a.
func (s *situation) registered(g Registration) *situation {
	sr := s.rec.Stages["a"]
	sr.Attempt, sr.Model = s.rec.attempt("a"), &g
	s.rec.Stages["a"] = sr
	return s
}

func TestModelsAreRegistered(t *testing.T) {
	one := func(options ...stageOption) *situation {
		return makeRun("p-1").stage("a", append(options, named())...).noted("a").job("a", job.Succeeded, leaves(leftModel))
	}
	later, now := began.Add(2*time.Minute), began.Add(time.Minute)
	wait := Registration{Model: "m", Failed: "busy", Tries: 1, Retry: &later}
	check(t, []decision{
		{"with its outcome, before the end", one(), []string{"run Succeeded", "a Succeeded", "register a", "record a Succeeded"}},
		{
			"known as a version the run ends", one().registered(Registration{Model: "m", Version: 3}),
			[]string{"run Succeeded", "a Succeeded", "record a Succeeded", "end Succeeded"},
		},
		{
			"refused for good it ends too", one().registered(Registration{Model: "m", Failed: "forbidden"}),
			[]string{"run Succeeded", "a Succeeded", "record a Succeeded", "end Succeeded"},
		},
		{"refused for now it waits", one().registered(wait), []string{"run Succeeded", "a Succeeded", "record a Succeeded"}},
		{
			"and is tried again", one().registered(Registration{Model: "m", Failed: "busy", Tries: 1, Retry: &now}),
			[]string{"run Succeeded", "a Succeeded", "register a", "record a Succeeded"},
		},
		{
			"no result, nothing to register", makeRun("p-1").stage("a", named()).noted("a").job("a", job.Succeeded),
			[]string{"run Succeeded", "a Succeeded", "record a Succeeded", "end Succeeded"},
		},
		{
			"no name, nothing to register", makeRun("p-1").stage("a").noted("a").job("a", job.Succeeded, leaves(leftModel)),
			[]string{"run Succeeded", "a Succeeded", "record a Succeeded", "end Succeeded"},
		},
		{
			"a breached gate keeps it out", one(minAcc(0.95)),
			[]string{
				"run GateFailed: stage a: acc 0.9 is below min 0.95", "a GateFailed (Gate): acc 0.9 is below min 0.95",
				"record a Succeeded", "end GateFailed",
			},
		},
		{"an approved one lets it in", one(minAcc(0.95)).approved("a"), []string{"run Succeeded", "a Succeeded", "register a", "record a Succeeded"}},
		{"a cancelled run registers nothing", one().cancelled(), []string{"run Cancelled: cancelled by ann", "a Succeeded", "record a Succeeded", "end Cancelled"}},
		{
			"a run that ended before models were registered stays as it is",
			one().recorded("a", Succeeded, nil).ended(Succeeded), []string{"run Succeeded", "a Succeeded"},
		},
		{
			"who does not ask for the version need not wait", one().stage("b", needs("a")).registered(wait),
			[]string{"run Running", "a Succeeded", "b Waiting", "start p-1-b", "record a Succeeded"},
		},
		{
			"who asks for it waits", one().stage("b", needs("a"), asks("$(stages.a.model.version)")).registered(wait),
			[]string{"run Succeeded", "a Succeeded", "b Waiting (needs m to be registered)", "record a Succeeded"},
		},
	})
}

// asks gives a stage an argument.
func asks(arg string) stageOption { return func(p *pipeline.PlannedStage) { p.Args = []string{arg} } }

func TestModelFacts(t *testing.T) {
	s := makeRun("p-1").stage("a", named(), sweep(2, 2), minAcc(0.5)).noted("a/0", "a/1").
		job("a/0", job.Succeeded, leaves(`{"metrics": {"acc": 0.2}}`)).job("a/1", job.Succeeded, leaves(leftModel), on("image@sha256:1"))
	s.rec.Plan.Source = &pipeline.SourceRef{ConfigMap: "mlsource-p-1", Repo: "r", Commit: "c", Dirty: true}
	s.rec.By = "ann"
	s.rec.Plan.Stages[0].Children = []pipeline.Child{{Params: pipeline.Params{"lr": 1}}, {Params: pipeline.Params{"lr": 2, "by": "$(run.name)"}}}
	facts, key, err := ModelFacts(Derive(s.rec, s.live, s.now), "a")
	if err != nil || key != "uid-of-p-1/a/1/1" {
		t.Fatalf("key %q: %v", key, err)
	}
	want := registry.Facts{
		Model:    "m",
		Artifact: pipeline.Artifact{URI: "pvc://c/m.pkl", Digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Size: 7, Format: "pickle"},
		Metrics:  map[string]float64{"acc": 0.9}, Better: map[string]registry.Direction{"acc": registry.Higher},
		Params: pipeline.Params{"lr": 2, "by": "p-1"}, Data: map[string]any{"version": "v1"}, Image: "image@sha256:1",
		Code: registry.Code{Repo: "r", Commit: "c-dirty", Source: "mlsource-p-1"},
		Run: &registry.Origin{
			Kind: "run", Name: "p-1", Namespace: "ns", UID: "uid-of-p-1", Pipeline: "p", Stage: "a", Child: 1, Attempt: 1,
			Job: s.rec.jobName("a", 1), JobUID: "uid-" + s.rec.jobName("a", 1),
		},
		CreatedBy: "ann",
	}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func on(image string) func(*job.JobFact) {
	return func(f *job.JobFact) { f.Pods[0].ImageID = image }
}

func TestModelFactsOfWhatIsNone(t *testing.T) {
	failed := makeRun("p-1").stage("a", named()).noted("a").job("a", job.Failed)
	bare := makeRun("p-1").stage("a", named()).noted("a").job("a", job.Succeeded)
	for _, s := range []*situation{failed, bare, makeRun("p-1").stage("a", leftOut()), makeRun("p-1").stage("b")} {
		var refused *RefusedError
		if _, _, err := ModelFacts(Derive(s.rec, s.live, s.now), "a"); !errors.As(err, &refused) {
			t.Errorf("%v: %v", s.describe(), err)
		}
	}
}

func TestRegistrationThatFails(t *testing.T) {
	s := makeRun("p-1").stage("a", named())
	busy := apierrors.NewGenericServerResponse(http.StatusInternalServerError, "create", schema.GroupResource{}, "", "busy", 0, true)
	n := step{stages: map[string]StageRecord{}}
	var waits []time.Duration
	for range registerTries {
		n.noteModel(s.rec, "a", busy, nil, began)
		if at := n.stages["a"].Model.Retry; at != nil {
			waits = append(waits, at.Sub(began))
		}
	}
	if diff := cmp.Diff([]time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second}, waits); diff != "" {
		t.Error(diff)
	}
	if g := n.stages["a"].Model; g.Tries != registerTries || g.Failed == "" || g.Ref() != "" {
		t.Errorf("%+v", g)
	}
	n = step{stages: map[string]StageRecord{}}
	n.noteModel(s.rec, "a", apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "x", errors.New("no")), nil, began)
	if g := n.stages["a"].Model; g.Retry != nil || g.Failed == "" {
		t.Errorf("what is forbidden is tried again: %+v", g)
	}
	n.noteModel(s.rec, "a", nil, &registry.Version{Facts: registry.Facts{Version: 4}}, began)
	if g := n.stages["a"].Model; g.Ref() != "m:4" || g.Failed != "" {
		t.Errorf("%+v", g)
	}
}
