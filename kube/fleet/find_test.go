package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func TestFind(t *testing.T) {
	work := func(apiVersion, kindName, ns, name string) *Work {
		return &Work{Ref: Ref{APIVersion: apiVersion, Kind: kindName, Namespace: ns, Name: name, UID: kindName + ns + name}}
	}
	stage := func(run, stage string, hour int) *Work {
		w := work("batch/v1", "Job", "ml", run+"-"+stage)
		w.Labels, w.Created = map[string]string{kube.LabelRun: run, kube.LabelStage: stage}, time.Unix(int64(hour)*3600, 0)
		return w
	}
	pods := work("apps/v1", "Deployment", "ml", "serve")
	pods.Pods = []*Pod{{PodFact: job.PodFact{Name: "serve-5d-x"}, Owner: Ref{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "serve-5d"}}}
	twice := stage("p-1", "train", 2)
	twice.Name = "p-1-train-r2"
	works := []*Work{
		work("batch/v1", "Job", "ml", "both"), work("kubeflow.org/v1", "PyTorchJob", "ml", "both"),
		work("batch/v1", "Job", "ml", "same"), work("batch.volcano.sh/v1alpha1", "Job", "ml", "same"),
		work("batch/v1", "Job", "a", "far"), work("batch/v1", "Job", "b", "far"),
		work("v1", "Pod", "ml", "lone"), work("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "ml", "llm"),
		stage("p-1", "train", 1), twice, stage("p-2", "train", 3), pods, work("batch/v1", "Job", "ml", "train-old"),
	}
	for arg, want := range map[string]string{
		"p-2-train": "p-2-train", "job/both": "both", "Jobs/both": "both", "pytorchjob/both": "both", "PYTORCHJOBS/both": "both",
		"pytorchjobs.kubeflow.org/both": "both", "vcjob/same": "same", "jobs.batch/same": "same", "pod/lone": "lone", "po/lone": "lone", "lws/llm": "llm",
		"p-1/train": "p-1-train-r2", "train": "p-2-train", "serve-5d-x": "serve", "pod/serve-5d-x": "serve", "rs/serve-5d": "serve", "deploy/serve": "serve",
	} {
		if w, err := Find(works, arg); err != nil || w.Name != want {
			t.Errorf("%s: %v, %v", arg, w, err)
		}
	}
	if w, _ := Find(works, "pytorchjob/both"); w.Kind != "PyTorchJob" {
		t.Errorf("found %s", w.KindName())
	}
	for arg, want := range map[string]string{
		"both":       "may be any of: job/both, pytorchjob/both\n  say which one, such as: job/both",
		"same":       "jobs.batch/same, jobs.batch.volcano.sh/same",
		"far":        "job/far -n a, job/far -n b",
		"p-2-trian":  "no job \"p-2-trian\"; did you mean \"p-2-train\"?\n  see them all: kubectl ml jobs",
		"job/lone":   "did you mean \"pod/lone\"",
		"p-9/train":  "no job",
		"nodes/both": "no job",
		"":           "no job",
		"/":          "no job",
	} {
		if w, err := Find(works, arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: found %v, error %v\nwant %s", arg, w, err, want)
		}
	}
}
