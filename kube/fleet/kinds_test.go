package fleet

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// fixtures reads the objects of a file below testdata.
func fixtures(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := d.Decode(&u.Object); err != nil {
			return out
		}
		out = append(out, u)
	}
}

// kindFor is the row of the table for an object.
func kindFor(t *testing.T, u *unstructured.Unstructured) *kind {
	t.Helper()
	table := kinds()
	for i := range table {
		k := &table[i]
		gv := u.GroupVersionKind()
		if k.kind == u.GetKind() && k.group == gv.Group && k.knows(gv.Version) {
			return k
		}
	}
	t.Fatalf("no row for %s", u.GroupVersionKind())
	return nil
}

// told is what a kind of the table says without any pods.
type told struct {
	state, reason string
	want          int
	gpus          int64
	product       string
	queue         string
	priority, by  string
	seconds       float64 // from start to end
}

func TestKinds(t *testing.T) {
	const (
		pending, running, suspended = job.Pending, job.Running, job.Suspended
		succeeded, failed           = job.Succeeded, job.Failed
	)
	want := map[string]map[string]told{
		"pytorchjob.yaml": {
			"PyTorchJob/running":    {state: running, want: 4, gpus: 32, product: "NVIDIA-H100-80GB-HBM3", queue: "research", priority: "high", by: "ada@example.com"},
			"PyTorchJob/queued":     {state: suspended, reason: "Queued", want: 2, gpus: 2, queue: "research"},
			"PyTorchJob/failed":     {state: failed, reason: "PyTorchJobFailed", want: 1, gpus: 1, seconds: 3598},
			"PyTorchJob/succeeded":  {state: succeeded, want: 1, seconds: 3598},
			"PyTorchJob/restarting": {state: pending, reason: "PyTorchJobRestarting", want: 2, gpus: 8},
		},
		"trainingjobs.yaml": {
			"TFJob/tf":         {state: pending, reason: "NoPods", want: 7, gpus: 9, queue: "gold", priority: "high"},
			"XGBoostJob/xgb":   {state: pending, reason: "NoPods", want: 3},
			"PaddleJob/paddle": {state: running, want: 2, gpus: 2},
			"JAXJob/jax":       {state: pending, reason: "NoPods", want: 4, gpus: 16, product: "tpu-v5-lite-podslice"},
			"MPIJob/mpi":       {state: succeeded, want: 3, gpus: 16, seconds: 3598},
			"MPIJob/mpi-v1":    {state: suspended, reason: "Suspended", want: 3, gpus: 2},
		},
		"jobset.yaml": {
			"JobSet/running":   {state: pending, reason: "NoPods", want: 9, gpus: 32, product: "tpu-v6e-slice", queue: "tpu", priority: "low"},
			"JobSet/queued":    {state: suspended, reason: "Queued", want: 1, gpus: 2, queue: "tpu"},
			"JobSet/failed":    {state: failed, reason: "FailedJobs", want: 2, gpus: 4},
			"JobSet/completed": {state: succeeded, want: 2},
		},
		"trainjob.yaml": {
			"TrainJob/running":         {state: pending, reason: "NoPods", want: 2, gpus: 8, queue: "research"},
			"TrainJob/runtime-decides": {state: pending, reason: "NoPods", want: Unknown},
			"TrainJob/suspended":       {state: suspended, reason: "Suspended", want: 1, gpus: 1},
			"TrainJob/deadline":        {state: failed, reason: "DeadlineExceeded", want: 1},
			"TrainJob/complete":        {state: succeeded, want: 1},
		},
		"ray.yaml": {
			"RayJob/running":         {state: running, want: 3, gpus: 8, queue: "ray"},
			"RayJob/starts":          {state: pending, reason: "Initializing", want: 3, gpus: 8},
			"RayJob/succeeded":       {state: succeeded, want: 3, gpus: 8, seconds: 3600},
			"RayJob/completed-badly": {state: failed, reason: "FAILED", want: 3, gpus: 8},
			"RayJob/retries":         {state: pending, reason: "AppFailed", want: 3, gpus: 8},
			"RayJob/too-late":        {state: failed, reason: "DeadlineExceeded", want: 3, gpus: 8},
			"RayJob/queued":          {state: suspended, reason: "Queued", want: 3, gpus: 8, queue: "ray"},
			"RayJob/elsewhere":       {state: running, want: Unknown},
			"RayCluster/ready":       {state: running, want: 9, gpus: 33, product: "tpu-v4-podslice"},
			"RayCluster/no-quota":    {state: pending, reason: "FailedCreateHeadPod", want: 1},
			"RayCluster/suspended":   {state: suspended, reason: "RayClusterSuspended", want: 1},
			"RayService/serve":       {state: pending, reason: "NoPods", want: 3, gpus: 8},
		},
		"volcano.yaml": {
			"Job/running":   {state: running, want: 3, gpus: 4, queue: "gold", priority: "high"},
			"Job/completed": {state: succeeded, want: 2, gpus: 2, queue: "gold"},
			"Job/aborted":   {state: suspended, reason: "AbortJob", want: 2, gpus: 2, queue: "gold"},
			"Job/pending":   {state: pending, reason: "NoPods", want: 2, gpus: 2},
		},
		"others.yaml": {
			"Workflow/train":        {state: running, want: Unknown, product: "NVIDIA-L4", by: "grace"},
			"LeaderWorkerSet/llm":   {state: pending, reason: "NoPods", want: 8, gpus: 52},
			"LeaderWorkerSet/plain": {state: pending, reason: "NoPods", want: 2, gpus: 16},
			"LeaderWorkerSet/off":   {state: suspended, reason: "ScaledToZero"},
			"AppWrapper/queued":     {state: suspended, reason: "Queued", want: 6, gpus: 12, queue: "research"},
			"AppWrapper/failed":     {state: failed, reason: "FoundFailedPods", want: Unknown},
		},
	}
	for file, works := range want {
		got := map[string]told{}
		for _, u := range fixtures(t, filepath.Join("kinds", file)) {
			found, _ := group(parts{roots: []*root{kindFor(t, u).decode(u)}}, choice{})
			for _, w := range found {
				one := told{w.State, w.Reason, w.Want, w.GPUs, w.Product, w.Queue, w.Priority, w.By, 0}
				if w.Started != nil && w.Finished != nil {
					one.seconds = w.Finished.Sub(*w.Started).Seconds()
				}
				if w.Final() && w.Finished == nil && w.Kind != "AppWrapper" {
					t.Errorf("%s %s: no end", file, w.Name)
				}
				got[w.Kind+"/"+w.Name] = one
			}
		}
		if diff := cmp.Diff(works, got, cmp.AllowUnexported(told{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestTrainJobProgress(t *testing.T) {
	for _, u := range fixtures(t, "kinds/trainjob.yaml") {
		p := kindFor(t, u).decode(u).progress
		switch u.GetName() {
		case "running":
			if p == nil || p.Percent != 42 || p.Remaining != 795*time.Second || p.Step != job.Unknown || !cmp.Equal(p.Metrics, map[string]float64{"loss": 0.42}) || p.At.IsZero() {
				t.Errorf("progress %+v", p)
			}
		case "complete":
			if p == nil || p.Percent != 100 {
				t.Errorf("progress %+v", p)
			}
		default:
			if p != nil {
				t.Errorf("%s: progress %+v from nothing", u.GetName(), p)
			}
		}
	}
}

// TestHostile decodes objects with the wrong shape in every place, which must not panic.
func TestHostile(t *testing.T) {
	values := []any{nil, "x", int64(-1), 1e300, true, []any{}, map[string]any{}, []any{nil, "x", map[string]any{"replicas": "x"}}, map[string]any{"*": nil}}
	var spoil func(v any, with any) []any
	spoil = func(v any, with any) []any {
		var out []any
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				for _, bad := range append(spoil(inner, with), with) {
					m := map[string]any{}
					for kk, vv := range v {
						m[kk] = vv
					}
					m[k] = bad
					out = append(out, m)
				}
			}
		case []any:
			for i := range v {
				for _, bad := range append(spoil(v[i], with), with) {
					l := append([]any{}, v...)
					l[i] = bad
					out = append(out, l)
				}
			}
		}
		return out
	}
	n := 0
	for _, file := range []string{"pytorchjob", "trainjob", "jobset", "ray", "volcano", "others"} {
		for _, u := range fixtures(t, "kinds/"+file+".yaml") {
			k := kindFor(t, u)
			for _, value := range values {
				for _, part := range []string{"spec", "status"} {
					for _, bad := range spoil(u.Object[part], value) {
						o := map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "metadata": u.Object["metadata"], "spec": u.Object["spec"], "status": u.Object["status"]}
						o[part] = bad
						works, _ := group(parts{roots: []*root{k.decode(&unstructured.Unstructured{Object: o})}}, choice{})
						for _, w := range works {
							if w.GPUs < 0 || w.Want < Unknown || w.Ready < 0 {
								t.Fatalf("%s: %+v", u.GetName(), w)
							}
						}
						n++
					}
				}
			}
		}
	}
	if n < 1000 {
		t.Errorf("only %d objects", n)
	}
}
