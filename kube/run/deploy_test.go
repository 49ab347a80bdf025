package run

import (
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// servesModel makes the stage the rollout of a version.
func servesModel(ref string) stageOption {
	return func(p *pipeline.PlannedStage) {
		p.Deploy = &pipeline.Deploy{Model: ref, Strategy: pipeline.Canary, Serve: &pipeline.Serve{}}
	}
}

// rolling puts a rollout of the model m into the cluster.
func (s *situation) rolling(ro serving.Rollout) *situation {
	ro.Name, ro.Model, ro.Run = "m", "m", s.rec.Name
	s.live.Rollouts["m"] = ro
	return s
}

// begun says that the stage d has begun to roll out m:2, as the rollout of that ID.
func (s *situation) begun(id string) *situation {
	sr := s.rec.Stages["d"]
	sr.Attempt, sr.Deploys = s.rec.attempt("d"), "m:2"
	if id != "" {
		sr.Jobs = []string{id}
	}
	s.rec.Stages["d"] = sr
	return s
}

func (s *situation) aborting(what string) *situation {
	sr := s.rec.Stages["d"]
	sr.Abort = what
	s.rec.Stages["d"] = sr
	return s
}

func TestRolloutsOfVersions(t *testing.T) {
	one := func(ref string) *situation { return makeRun("p-1").stage("d", servesModel(ref)) }
	at := func(ro serving.Rollout) *situation { return one("m:2").begun("r1").rolling(ro) }
	end := began
	check(t, []decision{
		{"the version is chosen first", one("m@production"), []string{"run Pending", "d Waiting", "choose for d"}},
		{"then it is rolled out", one("m").begun(""), []string{"run Pending", "d Waiting", "start p-1-d"}},
		{
			"progress", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Progressing, Message: "1 of 2 pods are ready"}),
			[]string{"run Running", "d Running: 1 of 2 pods are ready"},
		},
		{
			"a pause of some minutes is progress", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Paused, Message: "9m left"}),
			[]string{"run Running", "d Running: 9m left"},
		},
		{
			"one that waits for a person is not recorded as done",
			at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Paused, Approval: true, Weight: 20}),
			[]string{"run AwaitingApproval: stage d: m:2 has 20% of the traffic and waits for approval", "d AwaitingApproval (Approval): m:2 has 20% of the traffic and waits for approval"},
		},
		{
			"healthy", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Healthy, Ended: true, End: &end}),
			[]string{"run Succeeded", "d Succeeded", "record d Succeeded", "end Succeeded"},
		},
		{
			"aborted by a person", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Aborted, Ended: true, Message: "aborted by bob"}),
			[]string{"run Failed: stage d failed: aborted by bob", "d Failed (Aborted): aborted by bob", "record d Failed (Aborted): aborted by bob", "end Failed"},
		},
		{
			"its gate failed", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Failed, GateFailed: true, Ended: true, Message: "check exited with 1"}),
			[]string{"run Failed: stage d failed: check exited with 1", "d Failed (Gate): check exited with 1", "record d Failed (Gate): check exited with 1", "end Failed"},
		},
		{
			"somebody deployed another version meanwhile", at(serving.Rollout{ID: "r2", Version: 5, Phase: serving.Progressing}),
			[]string{
				"run Failed: stage d failed: another rollout of m began before this one had ended: it deploys m:5",
				"d Failed (Superseded): another rollout of m began before this one had ended: it deploys m:5",
				"record d Failed (Superseded): another rollout of m began before this one had ended: it deploys m:5", "end Failed",
			},
		},
		{
			"deleted", one("m:2").begun("r1"),
			[]string{
				"run Failed: stage d failed: deployment m was deleted before m:2 was rolled out", "d Failed (Deleted): deployment m was deleted before m:2 was rolled out",
				"record d Failed (Deleted): deployment m was deleted before m:2 was rolled out", "end Failed",
			},
		},
		{
			"cancelled half way it is taken back first", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Progressing}).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Running", "abort d"},
		},
		{
			"what is being taken back is waited for", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Progressing}).aborting(abortAsked).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Running"},
		},
		{
			"taken back", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Aborted, Ended: true}).aborting(abortAsked).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Cancelled (Aborted)", "record d Cancelled: cancelled by ann", "end Cancelled"},
		},
		{
			"what cannot be taken back is left", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Progressing}).aborting(abortLeft).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Running", "record d Cancelled: cancelled by ann", "end Cancelled"},
		},
		{
			"cancelled while a person is asked",
			at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Paused, Approval: true}).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d AwaitingApproval (Approval): m:2 has 0% of the traffic and waits for approval", "abort d"},
		},
		{
			"cancelled, and the client died after it began", one("m:2").begun("").cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Cancelled", "abort d"},
		},
		{
			"cancelled after it had ended", at(serving.Rollout{ID: "r1", Version: 2, Phase: serving.Healthy, Ended: true}).cancelled(),
			[]string{"run Cancelled: cancelled by ann", "d Succeeded", "record d Succeeded", "end Cancelled"},
		},
		{
			"what the run registers comes first",
			makeRun("p-1").stage("a", named()).stage("d", servesModel("m"), needs("a")).noted("a").job("a", job.Succeeded, leaves(leftModel)),
			[]string{"run Succeeded", "a Succeeded", "d Waiting (needs m to be registered)", "register a", "record a Succeeded"},
		},
	})
}

func TestWhichVersionIsDeployed(t *testing.T) {
	trained := func() *situation {
		return makeRun("p-1").stage("a", named()).stage("d", servesModel("m"), needs("a")).recorded("a", Succeeded, nil)
	}
	for _, tc := range []struct {
		name string
		in   *situation
		want registry.Ref
		fail string
	}{
		{"registered by this run", trained().registered(Registration{Model: "m", Version: 3}), registry.Ref{Model: "m", Version: 3}, ""},
		{"refused by the registry", trained().registered(Registration{Model: "m", Failed: "forbidden"}), registry.Ref{}, "the model of stage a was not registered: forbidden"},
		{"without a model", trained(), registry.Ref{}, "the result of stage a names no model: there is nothing to deploy"},
		{"not made by this run", makeRun("p-1").stage("a", named(), leftOut()).stage("d", servesModel("m"), needs("a")), registry.Ref{Model: "m"}, ""},
		{"a version", makeRun("p-1").stage("d", servesModel("m:7")), registry.Ref{Model: "m", Version: 7}, ""},
		{"an alias", makeRun("p-1").stage("d", servesModel("m@production")), registry.Ref{Model: "m", Alias: "production"}, ""},
	} {
		r := Derive(tc.in.rec, tc.in.live, tc.in.now)
		got, err := chosen(r, r.Stage("d"))
		switch {
		case tc.fail != "" && (err == nil || err.Error() != tc.fail):
			t.Errorf("%s: %v, want %s", tc.name, err, tc.fail)
		case tc.fail == "" && (err != nil || got != tc.want):
			t.Errorf("%s: %v %v, want %v", tc.name, got, err, tc.want)
		}
	}
}
