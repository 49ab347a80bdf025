package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

var errKilled = errors.New("the client was killed")

// killer is a connection that dies at its n-th write of a ConfigMap: before the server has it, or after.
type killer struct {
	http.RoundTripper
	mu     sync.Mutex
	left   int
	after  bool
	killed bool
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.killed {
		return nil, errKilled
	}
	if r.Method == http.MethodGet || !strings.Contains(r.URL.Path, "/configmaps") {
		return k.RoundTripper.RoundTrip(r)
	}
	if k.left--; k.left > 0 {
		return k.RoundTripper.RoundTrip(r)
	}
	k.killed = true
	if k.after {
		if resp, err := k.RoundTripper.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}
	return nil, errKilled
}

// mortal is a client that dies at its n-th write.
func mortal(t *testing.T, s kubetest.Sandbox, ns string, n int, after bool) (*client.Client, *killer) {
	t.Helper()
	k := &killer{left: n, after: after}
	cfg := s.Config(t)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { k.RoundTripper = rt; return k })
	c, err := client.New(cfg, ns)
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

// long is a history line that fills pages quickly.
func long() string { return strings.Repeat("x", maxText) }

// TestKilledAnywhere kills a client before and after each of its writes. What it leaves must read well, and the next
// client must be able to do the same, or something else, as if nothing had been.
func TestKilledAnywhere(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	two := func(t *testing.T, c *client.Client, model string) {
		for i := range 2 {
			must(t)(register(t, c, model, "", i+1))
		}
	}
	cases := map[string]struct {
		prepare func(t *testing.T, c *client.Client, model string)
		act     func(t *testing.T, c *client.Client, model string) error
		// writes is how many there are, versions how many exist in the end.
		writes   int
		versions []int
		lines    int
	}{
		"first": {
			act: func(t *testing.T, c *client.Client, m string) error { return register(t, c, m, "key", 0) }, writes: 3, versions: []int{1}, lines: 1,
		},
		"third": {
			prepare: two, act: func(t *testing.T, c *client.Client, m string) error { return register(t, c, m, "key", 0) }, writes: 3, versions: []int{3, 2, 1}, lines: 3,
		},
		"then-alias": {
			prepare: two,
			act: func(t *testing.T, c *client.Client, m string) error {
				if err := register(t, c, m, "key", 0); err != nil {
					return err
				}
				return alias(t, c, m, 3, "")
			},
			writes: 4, versions: []int{3, 2, 1}, lines: 4,
		},
		"alias": {
			prepare: two, act: func(t *testing.T, c *client.Client, m string) error { return alias(t, c, m, 2, "") }, writes: 1, versions: []int{2, 1}, lines: 3,
		},
		"delete": {
			prepare: two,
			act: func(t *testing.T, c *client.Client, m string) error {
				err := Delete(t.Context(), c, Ref{Model: m, Version: 1}, Mark{By: "ann"}, nil)
				if isNotFound(err) {
					return nil
				}
				return err
			},
			writes: 2, versions: []int{2}, lines: 3,
		},
		"page": {
			prepare: func(t *testing.T, c *client.Client, m string) {
				two(t, c, m)
				for range 23 {
					must(t)(Record(t.Context(), c, m, Event{Action: Deployed, By: "ann", Comment: long()}))
				}
			},
			act: func(t *testing.T, c *client.Client, m string) error { return alias(t, c, m, 1, long()) }, writes: 2, versions: []int{2, 1}, lines: 26,
		},
	}
	for name, tc := range cases {
		for n := 1; n <= tc.writes; n++ {
			for _, after := range []bool{false, true} {
				model := fmt.Sprintf("%s-%d-%v", name, n, after)
				t.Run(model, func(t *testing.T) {
					t.Parallel()
					c, err := client.New(s.Config(t), ns)
					if err != nil {
						t.Fatal(err)
					}
					if tc.prepare != nil {
						tc.prepare(t, c, model)
					}
					dying, k := mortal(t, s, ns, n, after)
					if err := tc.act(t, dying, model); err == nil || !k.killed {
						t.Fatalf("it was not killed at write %d: %v", n, err)
					}
					reads(t, c, model, n > 1 || after || tc.prepare != nil)
					if err := tc.act(t, c, model); err != nil {
						t.Fatalf("the next client: %v", err)
					}
					settled(t, c, model, tc.versions, tc.lines)
				})
			}
		}
		t.Run(name+"-writes", func(t *testing.T) {
			t.Parallel()
			model := name + "-writes"
			c, k := mortal(t, s, ns, 1000, false)
			if tc.prepare != nil {
				tc.prepare(t, c, model)
			}
			before := k.left
			if err := tc.act(t, c, model); err != nil {
				t.Fatal(err)
			}
			if got := before - k.left; got != tc.writes {
				t.Errorf("%d writes, the test kills at %d", got, tc.writes)
			}
		})
	}
}

// TestKilledThenAnother kills a registration at each of its writes; somebody else's must then take the next number,
// with neither gap nor loss.
func TestKilledThenAnother(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	for n := 1; n <= 3; n++ {
		for _, after := range []bool{false, true} {
			model := fmt.Sprintf("other-%d-%v", n, after)
			t.Run(model, func(t *testing.T) {
				t.Parallel()
				c, err := client.New(s.Config(t), ns)
				if err != nil {
					t.Fatal(err)
				}
				dying, _ := mortal(t, s, ns, n, after)
				if err := register(t, dying, model, "dead", 0); err == nil {
					t.Fatal("it was not killed")
				}
				must(t)(register(t, c, model, "alive", 1))
				want := []int{1}
				if n == 3 || n == 2 && after {
					want = []int{2, 1} // the dead client's record was written
				}
				settled(t, c, model, want, len(want))
			})
		}
	}
}

// TestDeletingAModelKilledAnywhere ends with nothing left of the model.
func TestDeletingAModelKilledAnywhere(t *testing.T) {
	s := kubetest.Open(t)
	ns := s.Namespace(t)
	for n := 1; n <= 4; n++ {
		for _, after := range []bool{false, true} {
			model := fmt.Sprintf("gone-%d-%v", n, after)
			t.Run(model, func(t *testing.T) {
				t.Parallel()
				c, err := client.New(s.Config(t), ns)
				if err != nil {
					t.Fatal(err)
				}
				must(t)(register(t, c, model, "", 1))
				must(t)(register(t, c, model, "", 2))
				dying, k := mortal(t, s, ns, n, after)
				whole := Ref{Model: model}
				if err := Delete(t.Context(), dying, whole, Mark{By: "ann"}, nil); err == nil || !k.killed {
					t.Fatalf("it was not killed: %v", err)
				}
				begun := n > 1 || after
				if ended := n == 4 && after; begun && !ended {
					if err := register(t, c, model, "", 3); err == nil || !strings.Contains(err.Error(), "is being deleted by ann") {
						t.Errorf("a registration meanwhile: %v", err)
					}
				}
				if err := Delete(t.Context(), c, whole, Mark{By: "ann"}, nil); err != nil && !isNotFound(err) {
					t.Fatal(err)
				}
				if _, err := Check(t.Context(), c, model); !isNotFound(err) {
					t.Errorf("something is left: %v", err)
				}
				must(t)(register(t, c, model, "", 1))
				settled(t, c, model, []int{1}, 1)
			})
		}
	}
}

func must(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func register(t *testing.T, c *client.Client, model, key string, i int) error {
	f := facts(i)
	f.Model = model
	_, _, err := Register(t.Context(), c, f, RegisterOptions{Key: key, By: "ann"})
	return err
}

func alias(t *testing.T, c *client.Client, model string, n int, comment string) error {
	_, err := SetAlias(t.Context(), c, Move{Model: model, Alias: "staging", To: n, By: "ann", Comment: comment})
	return err
}

// reads looks at everything that is there of a model: nothing of it may be damaged.
func reads(t *testing.T, c *client.Client, model string, exists bool) {
	t.Helper()
	_, err := GetHead(t.Context(), c, model)
	if !exists {
		if !isNotFound(err) {
			t.Errorf("the head: %v", err)
		}
		return
	}
	must(t)(err)
	if _, err := Models(t.Context(), c, ListOptions{}); err != nil {
		t.Errorf("models: %v", err)
	}
	versions, err := Versions(t.Context(), c, model)
	must(t)(err)
	for _, s := range versions {
		if v, err := Resolve(t.Context(), c, Ref{Model: model, Version: s.Version}); err != nil || len(v.Problems) > 0 {
			t.Errorf("version %d: %v %v", s.Version, err, v.Problems)
		}
	}
	if _, problems, err := History(t.Context(), c, model); err != nil || len(problems) > 0 {
		t.Errorf("history: %v %v", err, problems)
	}
	problems, err := Check(t.Context(), c, model)
	must(t)(err)
	for _, p := range problems {
		if !strings.Contains(p.What, "its record is still there") {
			t.Errorf("check: %+v", p)
		}
	}
}

// settled sees that nothing is left half done: these versions, the highest first, and so many lines of history.
func settled(t *testing.T, c *client.Client, model string, want []int, lines int) {
	t.Helper()
	reads(t, c, model, true)
	h, err := GetHead(t.Context(), c, model)
	must(t)(err)
	if h.Pending != nil || h.Highest != want[0] || h.Count() != len(want) {
		t.Errorf("the head: pending %v, highest %d, count %d", h.Pending, h.Highest, h.Count())
	}
	versions, err := Versions(t.Context(), c, model)
	must(t)(err)
	var got []int
	for _, v := range versions {
		got = append(got, v.Version)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("versions %v, want %v", got, want)
	}
	events, _, err := History(t.Context(), c, model)
	must(t)(err)
	if len(events) != lines {
		t.Errorf("%d lines of history, want %d", len(events), lines)
	}
	models, err := Models(t.Context(), c, ListOptions{})
	must(t)(err)
	for _, s := range models {
		if s.Name == model && (s.Latest != want[0] || s.Versions != len(want) || s.Metrics == nil) {
			t.Errorf("the list says %+v", s)
		}
	}
	problems, err := Check(t.Context(), c, model)
	must(t)(err)
	if len(problems) > 0 {
		t.Errorf("check: %+v", problems)
	}
}
