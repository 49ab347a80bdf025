package run

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

func mark(reason string) Mark { return Mark{By: "ann", At: time.Now().UTC(), Reason: reason} }

func (k *cluster) cancel(name string) {
	k.t.Helper()
	if _, err := Cancel(k.ctx(), k.Client, name, mark("wrong data"), nil); err != nil {
		k.t.Fatal(err)
	}
}

func TestCancelInTheMiddle(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a", lasts: "1h"}, sim{name: "c", needs: "b"}), StartOptions{})
	driven := make(chan Run)
	go func() {
		r, err := Drive(k.ctx(), k.Client, name, func(Update) {})
		if err != nil {
			t.Error(err)
		}
		driven <- r
	}()
	k.eventually("b is created", func() bool { _, ok := k.jobs(name)[name+"-b"]; return ok })
	// The canceller dies right after it has marked the run; whoever drives finishes it.
	k.cancel(name)
	r := <-driven
	if got := states(r); got != "Cancelled a=Succeeded b=Cancelled c=Cancelled" || r.Message != "cancelled by ann: wrong data" {
		t.Errorf("%s: %s", got, r.Message)
	}
	if jobs := k.jobs(name); len(jobs) != 1 {
		t.Errorf("%d Jobs are left", len(jobs))
	}
	k.cancel(name) // once more is no error and changes nothing
	if r := k.get(name); r.Record.Cancel.By != "ann" || r.End == nil {
		t.Errorf("cancelled twice: %+v", r.Record.Cancel)
	}
}

func TestWhoeverLooksFinishesACancellation(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	before, err := observe(k.ctx(), k.Client, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.cancel(name)
	r, err := Settle(k.ctx(), k.Client, name)
	if err != nil || r.State != Cancelled || len(k.jobs(name)) != 0 || k.get(name).End == nil {
		t.Fatalf("%s with %d Jobs, %v", states(r), len(k.jobs(name)), err)
	}
	// A client that had not seen the cancellation creates the Job once more.
	late := step{starts: []start{{"a", 0}}, stages: map[string]StageRecord{}}
	if err := act(k.ctx(), k.Client, before, late); err != nil {
		t.Fatal(err)
	}
	if len(k.jobs(name)) != 1 {
		t.Fatal("the late Job is not there")
	}
	if r, err = Follow(k.ctx(), k.Client, name, func(Update) {}); err != nil || states(r) != "Cancelled a=Cancelled" {
		t.Errorf("%s, %v", states(r), err)
	}
	if len(k.jobs(name)) != 0 {
		t.Error("the late Job runs on")
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a", exit: 3}, sim{name: "c", needs: "b"}), StartOptions{})
	var refused *RefusedError
	if _, _, err := Retry(k.ctx(), k.Client, name, "", nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "wait for it, or cancel it first") {
		t.Errorf("a run that goes on is retried: %v", err)
	}
	if r := k.drive(k.Client, name); states(r) != "Failed a=Succeeded b=Failed c=Skipped" {
		t.Fatal(states(r))
	}
	dry, again, err := Retry(k.ctx(), k.Client, name, "a", []string{metav1.DryRunAll})
	if err != nil || !slices.Equal(again, []string{"a", "b", "c"}) || states(dry) != "Pending a=Waiting b=Waiting c=Waiting" || k.get(name).End == nil {
		t.Errorf("a dry run: %s, starts %v, %v", states(dry), again, err)
	}
	if _, _, err := Retry(k.ctx(), k.Client, name, "x", nil); err == nil || !strings.Contains(err.Error(), `no stage "x"; it has: a, b, c`) {
		t.Errorf("from a stage that is not there: %v", err)
	}
	if _, again, err = Retry(k.ctx(), k.Client, name, "", nil); err != nil || !slices.Equal(again, []string{"b", "c"}) {
		t.Fatalf("starts %v, %v", again, err)
	}
	r := k.drive(k.Client, name)
	if states(r) != "Failed a=Succeeded b=Failed c=Skipped" || r.Now[1].Attempt != 2 || len(r.Stages["b"].Previous) != 1 {
		t.Errorf("%s, b: %+v", states(r), r.Stages["b"])
	}
	jobs := k.jobs(name)
	for _, want := range []string{name + "-a", name + "-b", name + "-b-r2"} {
		if _, ok := jobs[want]; !ok || len(jobs) != 3 {
			t.Errorf("%s: %t, %d Jobs", want, ok, len(jobs))
		}
	}
}

// Nobody has looked since the Job failed: its failure is recorded first, so that the retry is a new attempt.
func TestRetryOfARunThatEndedUnseen(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", exit: 3}), StartOptions{})
	k.eventually("the Job fails", func() bool { return k.get(name).State == Failed })
	if _, _, err := Retry(k.ctx(), k.Client, name, "", nil); err != nil {
		t.Fatal(err)
	}
	if r := k.drive(k.Client, name); states(r) != "Failed a=Failed" || r.Now[0].Attempt != 2 || len(k.jobs(name)) != 2 {
		t.Errorf("%s, attempt %d, %d Jobs", states(r), r.Now[0].Attempt, len(k.jobs(name)))
	}
}

func TestApprove(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: "gates: [{approval: look at it}]"}, sim{name: "b", needs: "a"}), StartOptions{})
	if _, err := Approve(k.ctx(), k.Client, name, "a", mark(""), nil); err == nil || !strings.Contains(err.Error(), "only a breached gate or one that awaits approval") {
		t.Errorf("approved before it ran: %v", err)
	}
	if r := k.drive(k.Client, name); states(r) != "AwaitingApproval a=AwaitingApproval b=Waiting" || r.End != nil {
		t.Fatal(states(r))
	}
	if _, err := Approve(k.ctx(), k.Client, name, "a", mark("looks good"), nil); err != nil {
		t.Fatal(err)
	}
	r := k.drive(k.Client, name)
	if states(r) != "Succeeded a=Succeeded b=Succeeded" || r.Now[0].Approved == nil || r.Now[0].Approved.Reason != "looks good" {
		t.Errorf("%s, approved %+v", states(r), r.Now[0].Approved)
	}
}

func TestChangesMeetDrivers(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	// Every first update of this client is beaten by somebody else's.
	beaten := 3
	c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if is(r, http.MethodPut, "configmaps") && beaten > 0 {
			beaten--
			cm, _, err := getRecord(r.Context(), k.Client, name)
			if err != nil {
				return nil, err
			}
			metav1.SetMetaDataAnnotation(&cm.ObjectMeta, "touched", time.Now().String())
			if _, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Update(r.Context(), cm, metav1.UpdateOptions{}); err != nil {
				return nil, err
			}
		}
		return send(r)
	})
	if r, err := Cancel(k.ctx(), c, name, mark(""), nil); err != nil || r.State != Cancelled || beaten != 0 {
		t.Errorf("%s, %v, %d conflicts left", r.State, err, beaten)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "source: ./src", sim{name: "a", lasts: "1h"})
	one, two := k.start(b, StartOptions{}), k.start(b, StartOptions{})
	source := "configmap/" + b.Source.ConfigMap
	k.eventually("pods", func() bool { return len(k.pods(one)) == 1 })
	dry, err := Delete(k.ctx(), k.Client, two, []string{metav1.DryRunAll})
	if err != nil || len(dry) != 2 || len(k.jobs(two)) != 1 || k.get(two).Record.Cancel != nil {
		t.Errorf("a dry run deleted %v, %v", dry, err)
	}
	gone, err := Delete(k.ctx(), k.Client, one, nil)
	if err != nil || !slices.Equal(gone, []string{"job.batch/" + one + "-a", "configmap/mlrun-" + one}) {
		t.Errorf("deleted %v, %v", gone, err)
	}
	k.eventually("the pods go", func() bool { return len(k.pods(one)) == 0 })
	if !k.configMapExists(b.Source.ConfigMap) {
		t.Error("the source went although the other run uses it")
	}
	// A record that is damaged can be deleted as well.
	cm, _, err := getRecord(k.ctx(), k.Client, two)
	if err != nil {
		t.Fatal(err)
	}
	cm.Data[keyPlan] = "{"
	if _, err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Update(k.ctx(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	gone, err = Delete(k.ctx(), k.Client, two, nil)
	if err != nil || !slices.Contains(gone, source) || k.configMapExists(b.Source.ConfigMap) || k.records() != 0 {
		t.Errorf("deleted %v, %v", gone, err)
	}
	if _, err := Delete(k.ctx(), k.Client, two, nil); err == nil || !strings.Contains(err.Error(), "not found in namespace") {
		t.Errorf("deleted twice: %v", err)
	}
}

// A server goes on with the code that its run has packaged, and a version can be compared by it.
func TestDeleteKeepsCodeInUse(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "source: ./src", sim{name: "a", says: leftModel, more: "model: m"})
	name := k.start(b, StartOptions{})
	k.drive(k.Client, name)
	deployments := k.Kube.AppsV1().Deployments(k.Namespace)
	labels := map[string]string{kube.LabelModel: "m"}
	_, err := deployments.Create(k.ctx(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "m", Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "main", Image: "x"}},
				Volumes: []corev1.Volume{{Name: "src", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: b.Source.ConfigMap},
				}}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Delete(k.ctx(), k.Client, name, nil); err != nil || !k.configMapExists(b.Source.ConfigMap) {
		t.Fatalf("the code of version m:1 is gone: %v", err)
	}
	drop := func() bool {
		t.Helper()
		gone, err := dropSource(k.ctx(), k.Client, b.Source.ConfigMap, "", metav1.DeleteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(gone) > 0
	}
	if err := k.Kube.CoreV1().ConfigMaps(k.Namespace).Delete(k.ctx(), kube.PrefixVersion+"m-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if drop() {
		t.Error("the code went from under a server")
	}
	if err := deployments.Delete(k.ctx(), "m", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if !drop() {
		t.Error("the code stays although nobody uses it")
	}
}

func (k *cluster) pods(name string) []string {
	k.t.Helper()
	list, err := k.Kube.CoreV1().Pods(k.Namespace).List(k.ctx(), kube.ListOptions(map[string]string{kube.LabelRun: name}))
	if err != nil {
		k.t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

// A driver that is about to start the next stage when its run is deleted leaves no Job behind.
func TestADriverOfADeletedRunCleansUp(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a", lasts: "1h"}), StartOptions{})
	c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		resp, err := send(r)
		if is(r, http.MethodPost, "jobs") {
			err = k.Kube.CoreV1().ConfigMaps(k.Namespace).Delete(r.Context(), kube.PrefixRun+name, metav1.DeleteOptions{})
		}
		return resp, err
	})
	if _, err := Drive(k.ctx(), c, name, func(Update) {}); err == nil || !strings.Contains(err.Error(), "was deleted") {
		t.Errorf("got %v", err)
	}
	if _, ok := k.jobs(name)[name+"-b"]; ok {
		t.Error("a Job without a run is left")
	}
}

func TestDetachReplacesADriverThatHasEnded(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	d := &Driver{Image: "registry.example/kubectl-ml:1"}
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	driver := func() string { return string(k.jobs(name)[driverName(name)].UID) }
	if _, err := Detach(k.ctx(), k.Client, name, d); err != nil {
		t.Fatal(err)
	}
	first := driver()
	if _, err := Detach(k.ctx(), k.Client, name, d); err != nil || driver() != first || first == "" {
		t.Errorf("a driver that runs is replaced: %v", err)
	}
	// It has failed too often.
	j := k.jobs(name)[driverName(name)]
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
		Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonBackoffLimitExceeded, LastTransitionTime: metav1.Now(),
	})
	if _, err := k.Kube.BatchV1().Jobs(k.Namespace).UpdateStatus(k.ctx(), &j, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if r, err := Detach(k.ctx(), k.Client, name, d); err != nil || !r.Detached || driver() == first {
		t.Errorf("the failed driver stays: %v", err)
	}
}
