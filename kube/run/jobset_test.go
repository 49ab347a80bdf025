package run

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// setCondition is a condition of a JobSet that holds.
func setCondition(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(began)}
}

// childJob is the Job of a JobSet with one pod, whose container ended with an exit code; -1 is one that runs.
func childJob(condition batchv1.JobConditionType, exit int32) (*batchv1.Job, map[string][]*corev1.Pod) {
	owner := []metav1.OwnerReference{{Kind: "JobSet", Name: "s", UID: "uid-s", Controller: new(true)}}
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "s-workers-0", Namespace: "ns", UID: "uid-j", OwnerReferences: owner}}
	indexed := batchv1.IndexedCompletion
	j.Spec.CompletionMode = &indexed
	if condition != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonBackoffLimitExceeded, LastTransitionTime: metav1.NewTime(began)}}
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "s-workers-0-1-x", Namespace: "ns", Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: "1"}}}
	p.Status.Phase = corev1.PodRunning
	if exit >= 0 {
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit, Reason: "Error"}}}}
	}
	if exit == 0 {
		p.Status.Phase = corev1.PodSucceeded
	}
	return j, map[string][]*corev1.Pod{"ns/s-workers-0": {p}}
}

func TestJobSetFact(t *testing.T) {
	running, runs := childJob("", -1)
	failed, fails := childJob(batchv1.JobFailed, 7)
	done, succeeds := childJob(batchv1.JobComplete, 0)
	leaving := failed.DeepCopy()
	leaving.DeletionTimestamp = &metav1.Time{Time: began}
	foreign := failed.DeepCopy()
	foreign.OwnerReferences[0].UID = "another"
	suspended := func(s *jobSet) { s.Spec.Suspend = new(true) }
	has := func(c metav1.Condition) func(*jobSet) {
		return func(s *jobSet) { s.Status.Conditions = append(s.Status.Conditions, c) }
	}
	for name, c := range map[string]struct {
		set  []func(*jobSet)
		jobs []*batchv1.Job
		pods map[string][]*corev1.Pod
		want string
	}{
		"no Job yet":                 {want: "Pending NoJob: no Job was made yet; if it stays so, see the events of the JobSet, and whether its controller runs"},
		"another's Job":              {jobs: []*batchv1.Job{foreign}, pods: fails, want: "Pending NoJob: no Job was made yet; if it stays so, see the events of the JobSet, and whether its controller runs"},
		"the Job of the try before":  {jobs: []*batchv1.Job{leaving}, pods: fails, want: "Pending NoJob: no Job was made yet; if it stays so, see the events of the JobSet, and whether its controller runs"},
		"runs":                       {jobs: []*batchv1.Job{running}, pods: runs, want: "Running "},
		"failed, will be tried anew": {jobs: []*batchv1.Job{failed}, pods: fails, want: "Pending Restarting: all ranks are started anew; last: Error: rank 1: exit code 7: error of the program, see its log"},
		"failed for good": {
			[]func(*jobSet){has(setCondition("Failed", "ReachedMaxRestarts", "jobset failed")), func(s *jobSet) { s.Status.Restarts = 2 }},
			[]*batchv1.Job{failed}, fails, "Failed Error: rank 1: exit code 7: error of the program, see its log (all ranks were started 3 times)",
		},
		"failed, and its Job is gone": {set: []func(*jobSet){has(setCondition("Failed", "ReachedMaxRestarts", "jobset failed"))}, want: "Failed ReachedMaxRestarts: jobset failed"},
		"its Job has ended":           {jobs: []*batchv1.Job{done}, pods: succeeds, want: "Running "},
		"completed":                   {[]func(*jobSet){has(setCondition("Completed", "AllJobsCompleted", "completed"))}, []*batchv1.Job{done}, succeeds, "Succeeded "},
		"a condition that does not hold": {
			[]func(*jobSet){has(metav1.Condition{Type: "Failed", Status: metav1.ConditionFalse})}, []*batchv1.Job{running}, runs, "Running ",
		},
		"suspended": {[]func(*jobSet){suspended}, []*batchv1.Job{running}, nil, "Suspended Suspended: suspended; it starts when spec.suspend is false"},
		"queued": {
			[]func(*jobSet){suspended, func(s *jobSet) { s.Labels = map[string]string{kube.LabelQueue: "team-a"} }},
			nil, nil, "Suspended Queued: waits in queue team-a for quota",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &jobSet{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns", UID: "uid-s"}}
			for _, f := range c.set {
				f(s)
			}
			f := jobSetFact(s, c.jobs, c.pods)
			if got := f.State + " " + f.Why(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if f.Name != "s" || f.UID != "uid-s" || f.Final() != (f.Finished != nil) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A run with a JobSet needs the very same steps as one with a Job.
func TestJobSetsAreJobs(t *testing.T) {
	set := func(p *pipeline.PlannedStage) { p.Replicas, p.Engine = 2, pipeline.EngineJobSet }
	one := func() *situation { return makeRun("p-1").stage("a", set).stage("b", needs("a")) }
	check(t, []decision{
		{"starts", one(), []string{"run Pending", "a Waiting", "b Waiting (needs a)", "start p-1-a"}},
		{"was deleted", one().noted("a"), []string{
			"run Failed: stage a failed: job p-1-a was deleted before it ended", "a Failed (JobDeleted): job p-1-a was deleted before it ended",
			"b Skipped (a failed)", "record a Failed (JobDeleted): job p-1-a was deleted before it ended", "end Failed",
		}},
		{"queued", one().noted("a").job("a", job.Suspended, because("Queued", "waits in queue q for quota")), []string{
			"run Pending: stage a: Queued: waits in queue q for quota", "a Pending (Queued): waits in queue q for quota", "b Waiting (needs a)",
		}},
	})
}

// jobSetCluster is a namespace of a cluster with JobSet and Kueue, with a queue for so many CPUs.
func jobSetCluster(t *testing.T) *cluster {
	t.Helper()
	s := kubetest.OpenWith(t, "jobset", "kueue")
	k := &cluster{t: t, cfg: s.Config(t)}
	k.Client = k.connect(k.cfg, s.Namespace(t))
	return k
}

// queue makes a LocalQueue with a quota of CPUs of its own.
func (k *cluster) queue(name, cpus string) {
	k.t.Helper()
	own := k.Namespace + "-" + name
	for _, text := range []string{
		"apiVersion: kueue.x-k8s.io/v1beta1\nkind: ResourceFlavor\nmetadata: {name: " + own + "}\n",
		"apiVersion: kueue.x-k8s.io/v1beta1\nkind: ClusterQueue\nmetadata: {name: " + own + "}\nspec: {namespaceSelector: {}, resourceGroups: [{coveredResources: [cpu], flavors: [{name: " + own + ", resources: [{name: cpu, nominalQuota: " + cpus + "}]}]}]}\n",
		"apiVersion: kueue.x-k8s.io/v1beta1\nkind: LocalQueue\nmetadata: {name: " + name + ", namespace: " + k.Namespace + "}\nspec: {clusterQueue: " + own + "}\n",
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			k.t.Fatal(err)
		}
		gvr := schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: strings.ToLower(o.GetKind()) + "s"}
		if _, err := k.Dynamic.Resource(gvr).Namespace(o.GetNamespace()).Create(k.ctx(), o, metav1.CreateOptions{}); err != nil {
			k.t.Fatal(err)
		}
		if o.GetNamespace() == "" {
			k.t.Cleanup(func() { _ = k.Dynamic.Resource(gvr).Delete(k.ctx(), own, metav1.DeleteOptions{}) })
		}
	}
	gvr := schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "localqueues"}
	k.eventually("the queue is active", func() bool {
		q, err := k.Dynamic.Resource(gvr).Namespace(k.Namespace).Get(k.ctx(), name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		conditions, _, _ := unstructured.NestedSlice(q.Object, "status", "conditions")
		return strings.Contains(fmt.Sprint(conditions), "type:Active") && strings.Contains(fmt.Sprint(conditions), "status:True")
	})
}

func (k *cluster) sets(run string) []string {
	k.t.Helper()
	sets, err := listJobSets(k.ctx(), k.Client, k.Namespace, kube.ListOptions(map[string]string{kube.LabelRun: run}))
	if err != nil {
		k.t.Fatal(err)
	}
	out := []string{}
	for _, s := range sets {
		out = append(out, s.Name)
	}
	return out
}

// A JobSet, run by its real controller: it starts all ranks anew when one fails, and gives the result of rank 0.
func TestJobSet(t *testing.T) {
	t.Parallel()
	k := jobSetCluster(t)
	name := k.start(pipelineOf(t, "",
		sim{name: "a", more: ranks(3, "engine: jobset\n    framework: torchrun\n    ttl: 1h", "duration: 1s", `result.0: '{"metrics": {"acc": 0.7}}'`)},
		sim{name: "b", needs: "a", lasts: "10m"},
	), StartOptions{})
	if diff := cmp.Diff([]string{name + "-a"}, k.sets(name)); diff != "" {
		t.Fatal(diff)
	}
	k.eventually("the JobSet has ended", func() bool {
		r, _, err := Advance(k.ctx(), k.Client, name)
		return err == nil && r.Now[0].State.Terminal()
	})
	r := k.get(name)
	if st := r.Now[0]; st.State != Succeeded || st.Result == nil || st.Result.Metrics["acc"] != 0.7 {
		t.Fatalf("%s %v", states(r), st)
	}
	k.eventually("the JobSet goes by itself, later", func() bool {
		if _, _, err := Advance(k.ctx(), k.Client, name); err != nil {
			t.Fatal(err)
		}
		sets, err := listJobSets(k.ctx(), k.Client, k.Namespace, runOf(name))
		return err == nil && len(sets) == 1 && sets[0].Spec.TTLSecondsAfterFinished != nil
	})
	list, err := List(k.ctx(), k.Client, ListOptions{})
	if err != nil || len(list) != 1 || list[0].Done != 1 {
		t.Errorf("%v %+v", err, list)
	}
	gone, err := Delete(k.ctx(), k.Client, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"jobset.jobset.x-k8s.io/" + name + "-a", "job.batch/" + name + "-b", "configmap/mlrun-" + name}
	if diff := cmp.Diff(want, gone); diff != "" {
		t.Error(diff)
	}
	k.eventually("nothing is left", func() bool {
		services, err := k.Kube.CoreV1().Services(k.Namespace).List(k.ctx(), metav1.ListOptions{})
		return err == nil && len(services.Items)+len(k.jobs(name))+len(k.sets(name)) == 0
	})
}

func TestJobSetThatFails(t *testing.T) {
	t.Parallel()
	k := jobSetCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: ranks(3, "engine: jobset\n    retries: 1", "duration: 10m", "duration.1: 300ms", `exit-code.1: "5"`)}), StartOptions{})
	r := k.drive(k.Client, name)
	if st := r.Now[0]; st.State != Failed || !strings.HasPrefix(st.Message, "rank 1: exit code 5: ") || !strings.HasSuffix(st.Message, "(all ranks were started 2 times)") {
		t.Errorf("%s %q", st.State, st.Message)
	}
	if _, _, err := Retry(k.ctx(), k.Client, name, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Advance(k.ctx(), k.Client, name); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{name + "-a", name + "-a-r2"}, k.sets(name)); diff != "" {
		t.Error(diff)
	}
	// A cancelled run ends the JobSet, not the Job in it, which would be made anew.
	if _, err := Cancel(k.ctx(), k.Client, name, Mark{By: "ann"}, nil); err != nil {
		t.Fatal(err)
	}
	if r := k.drive(k.Client, name); r.State != Cancelled {
		t.Error(states(r))
	}
	k.eventually("the JobSet is gone", func() bool { return slices.Equal(k.sets(name), []string{name + "-a"}) })
}

// A gang that the infrastructure takes a rank from starts anew, and that counts as no retry.
func TestJobSetOutlivesAnEviction(t *testing.T) {
	t.Parallel()
	k := jobSetCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: ranks(2, "engine: jobset", "duration: 10m")}), StartOptions{})
	pods := func() []corev1.Pod {
		list, err := k.Kube.CoreV1().Pods(k.Namespace).List(k.ctx(), metav1.ListOptions{LabelSelector: StageSelector(name, "a"), FieldSelector: "status.phase=Running"})
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	var first []corev1.Pod
	k.eventually("both ranks run", func() bool { first = pods(); return len(first) == 2 })
	lost := first[0].DeepCopy()
	lost.Status.Phase = corev1.PodFailed
	lost.Status.Conditions = append(lost.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", LastTransitionTime: metav1.Now()})
	if _, err := k.Kube.CoreV1().Pods(k.Namespace).UpdateStatus(k.ctx(), lost, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	old := map[types.UID]bool{first[0].UID: true, first[1].UID: true}
	k.eventually("both ranks run anew", func() bool {
		now := pods()
		return len(now) == 2 && !old[now[0].UID] && !old[now[1].UID]
	})
	if r := k.get(name); r.State != Running {
		t.Error(states(r))
	}
}

// Kueue admits what has quota, and the rest waits under its name: a Job, a gang of Jobs and a JobSet alike.
func TestQueues(t *testing.T) {
	t.Parallel()
	k := jobSetCluster(t)
	k.queue("team-a", "2")
	cpu := "resources: {requests: {cpu: \"1\"}}\n    queue: team-a"
	for name, more := range map[string]string{
		"job":    "queue: team-a\n    resources: {requests: {cpu: \"2\"}}",
		"gang":   "replicas: 2\n    " + cpu,
		"jobset": "replicas: 2\n    engine: jobset\n    " + cpu,
	} {
		t.Run(name, func(t *testing.T) {
			stage := sim{name: "a", more: more + "\n    patch: {spec: {template: {metadata: {annotations: {sandbox.kubectl-ml.dev/duration: 2s}}}}}"}
			first := k.start(pipelineOf(t, "", stage), StartOptions{})
			k.eventually("the first is admitted", func() bool { return k.get(first).State == Running })
			second := k.start(pipelineOf(t, "", stage), StartOptions{})
			if r := k.get(second); r.State != Pending || r.Message != "stage a: Queued: waits in queue team-a for quota" {
				t.Errorf("%s %q", states(r), r.Message)
			}
			for _, run := range []string{first, second} {
				if r := k.drive(k.Client, run); r.State != Succeeded {
					t.Error(states(r), r.Message)
				}
				if _, err := Delete(k.ctx(), k.Client, run, nil); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		_, err := k.try(k.Client, pipelineOf(t, "", sim{name: "a", more: "queue: team-b"}), StartOptions{})
		if err == nil || err.Error() != "stage a has queue team-b, and namespace "+k.Namespace+" has no such LocalQueue\n  the queues here are team-a" {
			t.Error(err)
		}
		if n := k.records(); n > 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

// What is not installed is said before anything is made.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		ranks(2, "engine: jobset"): "stage a has engine jobset, and this cluster has no JobSet (jobset.x-k8s.io/v1alpha2)\n  write engine: job, or have it installed: https://jobset.sigs.k8s.io/docs/installation",
		"queue: team-a":            "stage a has queue team-a, and this cluster has no Kueue (kueue.x-k8s.io)\n  remove queue, or have it installed: https://kueue.sigs.k8s.io/docs/installation",
	} {
		k := realCluster(t)
		// Whatever runs besides in the sandbox of the tests: this cluster has neither.
		c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
			if r.URL.Path == "/apis" {
				return &http.Response{
					StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(`{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`)),
				}, nil
			}
			return send(r)
		})
		_, err := k.try(c, pipelineOf(t, "", sim{name: "a", more: more}), StartOptions{})
		if err == nil || err.Error() != want {
			t.Errorf("%v, want\n%s", err, want)
		}
		if n := k.records(); n > 0 {
			t.Errorf("%d records are left", n)
		}
	}
}

// What is built for every framework and engine is what the API server and the webhooks of JobSet and Kueue take.
func TestTheServerTakesEveryGang(t *testing.T) {
	t.Parallel()
	k := jobSetCluster(t)
	b, err := ReadFile("../pipeline/testdata/pipeline-distributed.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(k.ctx(), k.Client, b, StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := p.Objects()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects {
		kinds[objectKind(o)]++
	}
	// The stage none is a sweep of two; all MPI stages of a run share a key.
	if diff := cmp.Diff(map[string]int{"configmap": 1, "job": 7, "jobset": 1, "service": 7, "secret": 1}, kinds); diff != "" {
		t.Error(diff)
	}
	if err := CheckObjects(k.ctx(), k.Client, objects); err != nil {
		t.Error(err)
	}
}
