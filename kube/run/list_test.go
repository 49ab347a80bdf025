package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// remember stores the record of a run without any Job.
func (k *cluster) remember(id string, now time.Time, options ...func(*Record)) string {
	k.t.Helper()
	s := makeRun("p-" + id).stage("a")
	s.rec.Namespace, s.rec.Started = k.Namespace, now
	for _, o := range options {
		o(s.rec)
	}
	cm := &corev1.ConfigMap{}
	if err := s.rec.encode(cm); err != nil {
		k.t.Fatal(err)
	}
	if _, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Create(k.ctx(), cm, metav1.CreateOptions{}); err != nil {
		k.t.Fatal(err)
	}
	return s.rec.Name
}

func hasEnded(r *Record) { r.End = &End{State: Succeeded, At: began} }

func TestListsCostTheSameHoweverManyRuns(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	var asked atomic.Int32
	c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		asked.Add(1)
		return send(r)
	})
	list := func() ([]Summary, int32) {
		asked.Store(0)
		s, err := List(k.ctx(), c, ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s, asked.Load()
	}
	now := time.Now()
	add := func(n int) {
		for range n {
			id := fmt.Sprint(k.records())
			k.remember("open-"+id, now)
			k.remember("ended-"+id, now, hasEnded)
		}
	}
	add(1)
	few, cost := list()
	add(10)
	many, same := list()
	if len(few) != 2 || len(many) != 22 || cost != same || cost > 4 {
		t.Errorf("%d runs cost %d requests, %d runs %d", len(few), cost, len(many), same)
	}
	for _, s := range many {
		want := Pending
		if strings.HasPrefix(s.Name, "p-ended") {
			want = Succeeded
		}
		if s.State != want {
			t.Errorf("%s is %s", s.Name, s.State)
		}
	}
	one, err := List(k.ctx(), c, ListOptions{Selector: "kubectl-ml.dev/state=Succeeded", Pipeline: "p", AllNamespaces: true})
	if err != nil || !slices.ContainsFunc(one, func(s Summary) bool { return s.Namespace == k.Namespace && s.Name == "p-ended-0" }) {
		t.Errorf("by state, in all namespaces: %v, %v", one, err)
	}
}

// A run that ends, or starts again, between two requests of a list shows once.
func TestListsMissNoRunThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		before, after func(*Record)
	}{
		{"ends", func(*Record) {}, hasEnded},
		{"starts again", hasEnded, func(r *Record) { r.End = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := realCluster(t)
			name := k.remember("1", time.Now(), c.before)
			lists := 0
			through := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
				resp, err := send(r)
				if is(r, http.MethodGet, "configmaps") {
					if lists++; lists == 1 {
						cm, rec, getErr := getRecord(r.Context(), k.Client, name)
						if getErr != nil {
							return nil, getErr
						}
						c.after(rec)
						if err := save(r.Context(), k.Client, cm, rec); err != nil {
							return nil, err
						}
					}
				}
				return resp, err
			})
			s, err := List(k.ctx(), through, ListOptions{})
			if err != nil || len(s) != 1 || s[0].Name != name {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestADamagedRecordHidesNoOther(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	good, bad := k.remember("good", time.Now()), k.remember("bad", time.Now())
	cm, _, err := getRecord(k.ctx(), k.Client, bad)
	if err != nil {
		t.Fatal(err)
	}
	cm.Data[keyHeader] = "{"
	if _, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Update(k.ctx(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := List(k.ctx(), k.Client, ListOptions{})
	if err != nil || len(s) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	at := map[string]Summary{s[0].Name: s[0], s[1].Name: s[1]}
	if at[good].State != Pending || at[bad].State != Failed || !strings.Contains(at[bad].Message, "key run.json of ConfigMap mlrun-p-bad") {
		t.Errorf("%+v", at)
	}
}

// The server's time of creation has whole seconds; runs of the same second still have an order.
func TestTheLatestRunOfASecond(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	now := time.Now()
	var want []string
	for i, id := range []string{"m", "z", "a", "k"} {
		want = append(want, k.remember(id, now.Add(time.Duration(i)*time.Millisecond), func(r *Record) {
			if i%2 == 0 {
				hasEnded(r)
			}
		}))
	}
	slices.Reverse(want)
	names, err := Names(k.ctx(), k.Client)
	if diff := cmp.Diff(want, names); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
	s, err := List(k.ctx(), k.Client, ListOptions{})
	var listed []string
	for _, one := range s {
		listed = append(listed, one.Name)
	}
	if diff := cmp.Diff(want, listed); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
	for arg, want := range map[string]string{"@latest": "p-k", "p@latest": "p-k", "run/p-m": "p-m", "p-z": "p-z"} {
		if got, err := Find(k.ctx(), k.Client, arg); got != want || err != nil {
			t.Errorf("%s is %s, %v", arg, got, err)
		}
	}
	if _, err := Find(k.ctx(), k.Client, "q@latest"); err == nil || !strings.Contains(err.Error(), "no run of pipeline q in namespace") {
		t.Errorf("of a pipeline without runs: %v", err)
	}
}

func TestAgesGoByTheServersClockFirst(t *testing.T) {
	sec := func(n int) time.Time { return began.Add(time.Duration(n) * time.Second) }
	ages := []age{{sec(0), sec(9), "b"}, {sec(1), sec(0), "b"}, {sec(1), sec(1), "a"}, {sec(1), sec(1), "b"}}
	for i, a := range ages {
		for j, b := range ages {
			if got, want := a.compare(b) < 0, i < j; got != want {
				t.Errorf("%d before %d: %t", i, j, got)
			}
		}
	}
}

// logCase is what a person types and what it means.
type logCase struct{ arg, what, err string }

func TestWhoseLogs(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a", lasts: "1h"}), StartOptions{ID: "1"})
	k.eventually("a's pod", func() bool { return len(k.pods(name)) > 0 })
	pod := k.pods(name)[0]
	for _, c := range []logCase{
		{arg: "p-1", what: "run p-1"},
		{arg: "run/p-1", what: "run p-1"},
		{arg: "@latest", what: "run p-1"},
		{arg: "p@latest/b", what: "stage b of run p-1"},
		{arg: "p-1/a", what: "stage a of run p-1"},
		{arg: "b", what: "stage b of run p-1"},
		{arg: "job/p-1-a", what: "job p-1-a"},
		{arg: "pod/" + pod, what: "pod " + pod},
		{arg: pod, what: "pod " + pod},
		{arg: "p-1/x", err: `run p-1 has no stage "x"; it has: a, b`},
		{arg: "p-2/a", err: `run "p-2" not found in namespace`},
		{arg: "job/x", err: `"x" not found`},
		{arg: "nothing", err: `"nothing" is no run, no stage of a run and no pod in namespace`},
	} {
		got, err := FindLogs(k.ctx(), k.Client, c.arg)
		if got.What != c.what || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", c.arg, got.What, err)
		}
	}
	for _, arg := range []string{"p-1/a", "job/p-1-a", pod} {
		target, err := FindLogs(k.ctx(), k.Client, arg)
		if err != nil {
			t.Fatal(err)
		}
		k.eventually(arg+" is done", func() bool { done, err := target.Done(k.ctx()); return done && err == nil })
	}
	target, err := FindLogs(k.ctx(), k.Client, "p-1")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := target.Done(k.ctx()); done || err != nil {
		t.Errorf("a run that goes on has no more lines: %v", err)
	}
}

func TestAFileIsPreferredToAnAppliedPipeline(t *testing.T) {
	never := func() (*client.Client, error) { return nil, context.Canceled }
	b := pipelineOf(t, "", sim{name: "a"})
	if got, err := FileOrApplied(t.Context(), never, b.File, nil); err != nil || got.Pipeline.Metadata.Name != "p" {
		t.Errorf("%v", err)
	}
	if _, err := FileOrApplied(t.Context(), never, "missing.yaml", nil); err == nil || !strings.Contains(err.Error(), "pipeline file missing.yaml not found") {
		t.Errorf("%v", err)
	}
	if _, err := FileOrApplied(t.Context(), never, "house-prices", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a name connects: %v", err)
	}
}
