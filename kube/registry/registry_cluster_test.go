package registry

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

func connect(t *testing.T) *client.Client {
	t.Helper()
	s := kubetest.Open(t)
	c, err := client.New(s.Config(t), s.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func facts(i int) Facts {
	return Facts{
		Model: "house-prices", Artifact: pipeline.Artifact{URI: fmt.Sprintf("s3://bucket/%d", i), Format: "pickle", Size: int64(i)},
		Metrics: map[string]float64{"rmse": float64(i) + 0.5},
	}
}

// fill registers n versions, one after the other.
func fill(t *testing.T, c *client.Client, n int) {
	t.Helper()
	for i := range n {
		v, made, err := Register(t.Context(), c, facts(i+1), RegisterOptions{})
		if err != nil || !made || v.Version != i+1 {
			t.Fatalf("version %d: %d %v %v", i+1, v.Version, made, err)
		}
	}
}

func TestFiftyRegisterAtOnce(t *testing.T) {
	c := connect(t)
	const n = 50
	var all sync.WaitGroup
	got := make([]int, n)
	errs := make([]error, n)
	for i := range n {
		all.Go(func() {
			v, made, err := Register(t.Context(), c, facts(i), RegisterOptions{By: fmt.Sprintf("user-%d", i)})
			if err == nil && !made {
				err = fmt.Errorf("version %d was there already", v.Version)
			}
			got[i], errs[i] = v.Version, err
		})
	}
	all.Wait()
	by := map[int]int{}
	for i := range n {
		if errs[i] != nil {
			t.Errorf("writer %d: %v", i, errs[i])
			continue
		}
		by[got[i]] = i
	}
	events, problems, err := History(t.Context(), c, "house-prices")
	if err != nil || len(problems) > 0 || len(events) != n {
		t.Fatalf("%d lines of history, %v %v", len(events), problems, err)
	}
	for i, e := range events {
		if e.Version != i+1 || e.Action != Registered || e.By != fmt.Sprintf("user-%d", by[i+1]) {
			t.Errorf("line %d is %+v", i+1, e)
		}
	}
	versions, err := Versions(t.Context(), c, "house-prices")
	if err != nil || len(versions) != n {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	for i, v := range versions {
		if v.Version != n-i || v.Metrics["rmse"] != float64(by[v.Version])+0.5 {
			t.Errorf("%d: %+v", i, v)
		}
	}
	models, err := Models(t.Context(), c, ListOptions{})
	if err != nil || len(models) != 1 || models[0].Latest != n || models[0].Versions != n {
		t.Errorf("%+v %v", models, err)
	}
}
