package fleet

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func TestLeader(t *testing.T) {
	at := time.Now()
	pod := func(name, role, state string, rank int) *Pod {
		p := &Pod{PodFact: job.PodFact{Name: name, State: state, Rank: rank}, Role: role}
		if state == job.Running {
			p.Started = &at
		}
		return p
	}
	for _, c := range []struct {
		want string
		pods []*Pod
	}{
		{"", nil},
		{"", []*Pod{pod("a", "", job.Pending, 0)}},
		{"b", []*Pod{pod("a", "", job.Running, 2), pod("b", "", job.Running, 1), pod("c", "", job.Failed, 0)}},
		{"m", []*Pod{pod("w", "Worker", job.Running, 0), pod("m", "Master", job.Running, 0)}},
		{"l", []*Pod{pod("w", "worker", job.Running, 0), pod("l", "launcher", job.Running, -1)}},
		{"w", []*Pod{pod("w", "worker", job.Running, 0), pod("l", "launcher", job.Pending, -1)}},
		{"first", []*Pod{pod("first", "", job.Running, -1), pod("second", "", job.Running, -1)}},
	} {
		got := ""
		if p := (&Work{Pods: c.pods}).Leader(); p != nil {
			got = p.Name
		}
		if got != c.want {
			t.Errorf("%q leads, want %q", got, c.want)
		}
	}
}

// The number of requests is bounded, and a log that hangs costs no more than the limit.
func TestProgressIsBounded(t *testing.T) {
	var requests atomic.Int64
	cfg := &rest.Config{Host: "http://nowhere", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		requests.Add(1)
		if strings.Contains(r.URL.Path, "/pods/pod-99/") {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		body := http.NoBody
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: body, Request: r}
		if strings.Contains(r.URL.Path, "/pods/pod-98/") {
			resp.Body = readCloser{strings.NewReader("epoch 3/4 loss=0.5\n")}
		}
		return resp, nil
	})}
	c, err := client.New(cfg, "ns")
	if err != nil {
		t.Fatal(err)
	}
	var works []*Work
	for i := range 100 {
		at := time.Unix(int64(i), 0)
		p := &Pod{PodFact: job.PodFact{Name: fmt.Sprintf("pod-%d", i), Namespace: "ns", State: job.Running, Started: &at}}
		works = append(works, &Work{Ref: Ref{UID: p.Name, Namespace: "ns"}, State: job.Running, Started: &at, Pods: []*Pod{p}})
	}
	began := time.Now()
	got := Progress(context.Background(), c, works, 300*time.Millisecond)
	if n := requests.Load(); n != MostLogs {
		t.Errorf("%d requests", n)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(got) != 1 || got["pod-98"] == nil || got["pod-98"].Percent != 75 {
		t.Errorf("got %v", got)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
