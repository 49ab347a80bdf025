package run

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// versions are those of the model m.
func (k *cluster) versions() []registry.VersionSummary {
	k.t.Helper()
	list, err := registry.Versions(k.ctx(), k.Client, "m")
	if err != nil {
		k.t.Fatal(err)
	}
	return list
}

// refusal is what a server says that does not do it.
func refusal(r *http.Request, code int, reason string) *http.Response {
	body := fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not today", "reason": %q, "code": %d}`, reason, code)
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Request: r, Body: io.NopCloser(strings.NewReader(body))}
}

// mentions says whether the body of a request that changes ConfigMaps has a text in it.
func mentions(t *testing.T, r *http.Request, method, text string) bool {
	if !is(r, method, "configmaps") {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte(text))
}

func TestSeveralClientsRegisterOneVersion(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "source: src",
		sim{name: "a", says: leftModel, more: "model: m\n    sweep: {lr: [1, 2, 3]}\n    best: {max: acc}"},
		sim{name: "b", needs: "a", more: `args: ["$(stages.a.model.ref)", "$(stages.a.model.version)"]`},
	), StartOptions{})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { _, _ = Drive(k.ctx(), k.Client, name, func(Update) {}) })
	}
	all.Wait()
	r := k.drive(k.Client, name)
	if got := k.versions(); len(got) != 1 || states(r) != "Succeeded a=Succeeded b=Succeeded" || r.Now[0].Registered.Ref() != "m:1" {
		t.Errorf("%s, %+v, %+v", states(r), r.Now[0].Registered, got)
	}
	if args := k.jobs(name)[name+"-b"].Spec.Template.Spec.Containers[0].Args; len(args) != 2 || args[0] != "m:1" || args[1] != "1" {
		t.Errorf("the stage after it got %q", args)
	}
	v, err := registry.Resolve(k.ctx(), k.Client, registry.Ref{Model: "m", Version: 1})
	if err != nil || v.Run.UID != r.UID || v.Run.Job == "" || v.Run.JobUID == "" || v.Code.Source == "" || v.Params["lr"] == nil || v.Better["acc"] != registry.Higher {
		t.Errorf("%+v %v", v, err)
	}
}

// A client that dies after a version was made and before the run knows of it leaves a run that the next one takes up.
func TestAClientThatDiesWhileItRegisters(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", says: leftModel, more: "model: m"}), StartOptions{})
	dies := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if is(r, http.MethodPut, "configmaps") && strings.HasSuffix(r.URL.Path, kube.PrefixRun+name) && len(k.versions()) > 0 {
			return refusal(r, http.StatusForbidden, "Forbidden"), nil
		}
		return send(r)
	})
	if _, err := Drive(k.ctx(), dies, name, func(Update) {}); err == nil {
		t.Fatal("it went on")
	}
	if r := k.get(name); len(k.versions()) != 1 || r.Now[0].Registered != nil {
		t.Fatalf("%d versions, %+v", len(k.versions()), r.Now[0].Registered)
	}
	r := k.drive(k.Client, name)
	if got := k.versions(); len(got) != 1 || r.State != Succeeded || r.Now[0].Registered.Ref() != "m:1" {
		t.Errorf("%s, %+v, %+v", states(r), r.Now[0].Registered, got)
	}
}

func TestARefusedRegistrationCostsTheRunNothing(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", says: leftModel, more: "model: m"}, sim{name: "b", needs: "a", more: `args: ["$(stages.a.model.ref)"]`}), StartOptions{})
	poor := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if mentions(t, r, http.MethodPost, kube.PrefixModel) || mentions(t, r, http.MethodPost, kube.PrefixVersion) {
			return refusal(r, http.StatusForbidden, "Forbidden"), nil
		}
		return send(r)
	})
	r := k.drive(poor, name)
	if g := r.Now[0].Registered; states(r) != "Failed a=Succeeded b=Failed" || g == nil || g.Retry != nil || g.Failed == "" {
		t.Errorf("%s %+v", states(r), g)
	}
	if !strings.Contains(r.Message, "the model of stage a was not registered") {
		t.Errorf("the stage that needs the version says %q", r.Message)
	}
	// Who may do it tries it again with what failed for the lack of it.
	if _, again, err := Retry(k.ctx(), k.Client, name, "", nil); err != nil || len(again) != 1 {
		t.Fatalf("%v: %v", again, err)
	}
	if r := k.drive(k.Client, name); states(r) != "Succeeded a=Succeeded b=Succeeded" || r.Now[0].Registered.Ref() != "m:1" {
		t.Errorf("%s %+v", states(r), r.Now[0].Registered)
	}
}

func TestARegistryThatIsBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", says: leftModel, more: "model: m"}), StartOptions{})
	var refused atomic.Bool
	busy := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if mentions(t, r, http.MethodPost, kube.PrefixVersion) && refused.CompareAndSwap(false, true) {
			return refusal(r, http.StatusInternalServerError, "InternalError"), nil
		}
		return send(r)
	})
	var said string
	r, err := Drive(k.ctx(), busy, name, func(u Update) {
		if g := u.Run.Now[0].Registered; g != nil && g.Retry != nil {
			said = g.Failed
		}
	})
	if err != nil || r.State != Succeeded || r.Now[0].Registered.Ref() != "m:1" || said == "" || len(k.versions()) != 1 {
		t.Errorf("%s %+v, said %q: %v", states(r), r.Now[0].Registered, said, err)
	}
}
