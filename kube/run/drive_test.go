package run

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

func TestAWholeRun(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "params: {seed: 7}",
		sim{name: "train", says: `{"metrics": {"acc": 0.9}, "outputs": {"epoch": 3}}`, more: "sweep: {lr: [0.1, 0.01]}\n    best: {max: acc}\n    ttl: 1h"},
		sim{name: "check", needs: "train", says: `{"metrics": {"rmse": 4}}`, more: "args: [$(stages.train.outputs.epoch)]\n    gates: [{metric: rmse, max: 5}]"},
		sim{name: "free", says: "plain text"},
	)
	var early atomic.Bool
	c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if is(r, http.MethodPatch, "jobs") {
			cm, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Get(r.Context(), "mlrun-p-whole", metav1.GetOptions{})
			if err != nil || !strings.Contains(cm.Data["stage.train"], `"outcome"`) {
				early.Store(true)
			}
		}
		return send(r)
	})
	k.start(b, StartOptions{ID: "whole"})
	r := k.drive(c, "p-whole")
	if got := states(r); got != "Succeeded train=Succeeded check=Succeeded free=Succeeded" || r.End == nil || r.Finished == nil {
		t.Fatalf("%s, end %v", got, r.End)
	}
	if early.Load() {
		t.Error("a Job got its TTL before its outcome was recorded")
	}
	jobs := k.jobs("p-whole")
	if len(jobs) != 4 {
		t.Errorf("%d Jobs", len(jobs))
	}
	for _, name := range []string{"p-whole-train-0", "p-whole-train-1"} {
		if s := jobs[name].Spec.TTLSecondsAfterFinished; s == nil || *s != 3600 {
			t.Errorf("TTL of %s: %v", name, s)
		}
	}
	if args := jobs["p-whole-check"].Spec.Template.Spec.Containers[0].Args; len(args) != 1 || args[0] != "3" {
		t.Errorf("check gets %q of train", args)
	}
	if g := r.Now[1].Gates; len(g) != 1 || g[0].State != "Pass" {
		t.Errorf("gates: %+v", g)
	}
}

func TestEightClientsDriveOneRun(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a"}, sim{name: "c", needs: "a"}, sim{name: "d", needs: "b, c"}), StartOptions{})
	n := &counter{created: map[string]int{}}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := Drive(k.ctx(), k.through(n.count), name, func(Update) {})
			if err != nil || r.End == nil || states(r) != "Succeeded a=Succeeded b=Succeeded c=Succeeded d=Succeeded" {
				t.Errorf("%s, %v", states(r), err)
			}
		})
	}
	all.Wait()
	// The first was created with the run.
	if n.created["jobs"] != 3 || len(k.jobs(name)) != 4 {
		t.Errorf("%d Jobs were created after the first, %d are there", n.created["jobs"], len(k.jobs(name)))
	}
}

func TestDriversThatDieAnywhere(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "", sim{name: "a", more: "ttl: 1h"}, sim{name: "b", needs: "a", more: "sweep: {x: [1, 2, 3]}\n    best: {max: acc}", says: `{"metrics": {"acc": 1}}`}, sim{name: "c", needs: "b"})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	name := k.start(b, StartOptions{})
	n := &counter{created: map[string]int{}}
	lives := 0
	for k.get(name).End == nil {
		lives++
		ctx, die := context.WithCancelCause(k.ctx())
		var left atomic.Int32
		left.Store(1 + dice.Int32N(25))
		before := dice.IntN(2) == 0
		c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
			gone := left.Add(-1) == 0
			if gone && before {
				die(errDead)
			}
			resp, err := n.count(r, send)
			if gone {
				die(errDead)
			}
			return resp, err
		})
		if _, err := Drive(ctx, c, name, func(Update) {}); err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		die(nil)
	}
	t.Logf("%d lives", lives)
	if got := states(k.get(name)); got != "Succeeded a=Succeeded b=Succeeded c=Succeeded" {
		t.Error(got)
	}
	if jobs := len(k.jobs(name)); jobs != 5 || n.created["jobs"] > 4 {
		t.Errorf("%d Jobs, %d created after the first", jobs, n.created["jobs"])
	}
}

var errDead = errors.New("the driver died")

// Not parallel: no other test may have watches open.
func TestNothingIsLeftOfADriverThatReturned(t *testing.T) {
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}), StartOptions{})
	ctx, cancel := context.WithCancel(k.ctx())
	_, err := Drive(ctx, k.Client, name, func(Update) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a driver that was told to stop says %v", err)
	}
	k.drive(k.Client, name)
	k.eventually("the watches end", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "kube/run.signal(")
	})
}

func TestAJobDeletedByHandIsNotCreatedAgain(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	if err := endJob(k.ctx(), k.Client, name+"-a", false); err != nil {
		t.Fatal(err)
	}
	s, err := List(k.ctx(), k.Client, ListOptions{})
	if err != nil || len(s) != 1 || s[0].State != Failed {
		t.Errorf("the list shows %+v, %v", s, err)
	}
	r := k.drive(k.Client, name)
	if r.State != Failed || r.Now[0].Reason != "JobDeleted" || len(k.jobs(name)) != 0 {
		t.Errorf("%s (%s) with %d Jobs", states(r), r.Now[0].Reason, len(k.jobs(name)))
	}
}

func TestARunOutOfTime(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}, sim{name: "b", needs: "a"}), StartOptions{Timeout: 2 * time.Second})
	// A watcher ends it as a driver would.
	r, err := Follow(k.ctx(), k.Client, name, func(Update) {})
	if err != nil || states(r) != "TimedOut a=TimedOut b=TimedOut" || len(k.jobs(name)) != 0 {
		t.Errorf("%s with %d Jobs, %v", states(r), len(k.jobs(name)), err)
	}
	if _, err := Wait(k.ctx(), k.Client, name, time.Hour, func(Update) {}); err != nil {
		t.Error(err)
	}
}

func TestWaitingHasALimit(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	r, err := Wait(k.ctx(), k.Client, name, 300*time.Millisecond, func(Update) {})
	if !errors.Is(err, ErrWaited) || r.End != nil {
		t.Errorf("%s, %v", states(r), err)
	}
}

func TestWhoMayNotSeePodsRecordsNoResults(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	blind := k.as("blind", rule("", "configmaps", "get", "list", "watch", "update"), rule("batch", "jobs", "get", "list", "watch", "create", "patch", "delete"))
	name := k.start(pipelineOf(t, "", sim{name: "a", says: `{"metrics": {"acc": 1}}`}), StartOptions{})
	_, err := Drive(k.ctx(), blind, name, func(Update) {})
	var e *client.Error
	if !errors.As(err, &e) || !strings.Contains(e.What, "needs list pods") {
		t.Errorf("driving without the right to see pods: %v", err)
	}
	if r, err := Settle(k.ctx(), blind, name); err != nil || r.State != Succeeded || r.End != nil {
		t.Errorf("looking without that right: %s, %v", states(r), err)
	}
	if r := k.drive(k.Client, name); r.Now[0].Result == nil || r.Now[0].Result.Metrics["acc"] != 1 {
		t.Errorf("the result is lost: %+v", r.Now[0].Result)
	}
}

func TestARolloutIsAStage(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "", sim{name: "a"})
	b.Pipeline.Spec.Stages = append(b.Pipeline.Spec.Stages, deployStage("a"))
	b.Files["server.yaml"] = []byte(serverManifest)
	r := k.drive(k.Client, k.start(b, StartOptions{}))
	if states(r) != "Succeeded a=Succeeded serve=Succeeded" || r.Now[1].Started == nil {
		t.Errorf("%s: %s", states(r), r.Message)
	}
}
