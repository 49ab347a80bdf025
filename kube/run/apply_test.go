package run

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	nightly    = "schedule: \"0 2 * * *\"\n  timeZone: Europe/Paris\n  source: ./src"
	cronJobOfA = "schedule: \"@hourly\"\n    ttl: 90m"
)

// application builds what applying a bundle writes.
func (k *cluster) application(b *Bundle) *Application {
	k.t.Helper()
	a, err := NewApplication(k.ctx(), k.Client, b, &Driver{Image: "registry.example/kubectl-ml:1"}, "ann")
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

// apply gives the changes by object, "configmap/x created".
func (k *cluster) apply(a *Application, dryRun ...string) []string {
	k.t.Helper()
	var changes []string
	err := a.Apply(k.ctx(), k.Client, dryRun, func(c Change) { changes = append(changes, c.Object+" "+c.Done) })
	if err != nil {
		k.t.Fatal(err)
	}
	return changes
}

func TestApply(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, nightly, sim{name: "a", more: cronJobOfA}, sim{name: "b", needs: "a"})
	a := k.application(b)
	source := "configmap/" + a.Source.Name
	changes := func(what string) []string {
		return []string{source + " " + what, "configmap/mlpipeline-p " + what, "cronjob.batch/p-a " + what, "cronjob.batch/p " + what}
	}
	if diff := cmp.Diff(changes("created"), k.apply(a, metav1.DryRunAll)); diff != "" {
		t.Error(diff)
	}
	if k.configMapExists("mlpipeline-p") {
		t.Fatal("a dry run has created something")
	}
	if live, _, err := a.LiveFiles(k.ctx(), k.Client); err != nil || len(live) != 0 {
		t.Errorf("before it is applied there is %v, %v", live, err)
	}
	if diff := cmp.Diff(changes("created"), k.apply(a)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(changes("unchanged"), k.apply(k.application(b))); diff != "" {
		t.Errorf("applied twice:\n%s", diff)
	}
	live, merged, err := k.application(b).LiveFiles(k.ctx(), k.Client)
	if diff := cmp.Diff(live, merged); diff != "" || err != nil {
		t.Errorf("applied, and still different: %v\n%s", err, diff)
	}
	want := []string{"cronjob-p-a.yaml", "cronjob-p.yaml", "pipeline.yaml", "src/work.py"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(live))); diff != "" {
		t.Error(diff)
	}

	// The same pipeline as read from the cluster.
	applied, err := ReadApplied(k.ctx(), k.Client, "p")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Pipeline, applied.Pipeline); diff != "" {
		t.Error(diff)
	}
	name := k.start(applied, StartOptions{})
	if src := k.get(name).Plan.Source; src == nil || src.ConfigMap != a.Source.Name {
		t.Errorf("the run's source is %+v", src)
	}

	// A file without schedules loses their CronJobs, and only those.
	less := k.application(pipelineOf(t, "params: {x: 1}", sim{name: "a"}, sim{name: "b", needs: "a"}))
	got := k.apply(less)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"configmap/mlpipeline-p configured", "cronjob.batch/p deleted", "cronjob.batch/p-a deleted"}, got); diff != "" {
		t.Error(diff)
	}
	if s, err := Schedules(k.ctx(), k.Client, false, ""); err != nil || len(s) != 0 {
		t.Errorf("schedules are left: %+v, %v", s, err)
	}
}

func TestADiffShowsWhatApplyWouldChange(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, nightly, sim{name: "a", more: cronJobOfA})
	k.apply(k.application(b))
	changed := pipelineOf(t, strings.Replace(nightly, "0 2", "0 3", 1), sim{name: "a"})
	if err := os.WriteFile(filepath.Join(filepath.Dir(changed.File), "src", "more.py"), []byte("pass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	live, merged, err := k.application(changed).LiveFiles(k.ctx(), k.Client)
	if err != nil {
		t.Fatal(err)
	}
	var differ []string
	for _, file := range slices.Sorted(maps.Keys(union(live, merged))) {
		if live[file] != merged[file] {
			differ = append(differ, file)
		}
	}
	if diff := cmp.Diff([]string{"cronjob-p-a.yaml", "cronjob-p.yaml", "pipeline.yaml", "src/more.py"}, differ); diff != "" {
		t.Error(diff)
	}
	if merged["cronjob-p-a.yaml"] != "" || !strings.Contains(merged["cronjob-p.yaml"], "0 3 * * *") {
		t.Errorf("%q", merged["cronjob-p.yaml"])
	}
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func TestUnapply(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, nightly, sim{name: "a", more: cronJobOfA, lasts: "1h"})
	a := k.application(b)
	k.apply(a)
	name := k.start(b, StartOptions{})
	var gone []string
	said := func(c Change) { gone = append(gone, c.Object) }
	if err := Unapply(k.ctx(), k.Client, "p", nil, said); err != nil {
		t.Fatal(err)
	}
	slices.Sort(gone)
	if diff := cmp.Diff([]string{"configmap/mlpipeline-p", "cronjob.batch/p", "cronjob.batch/p-a"}, gone); diff != "" {
		t.Error(diff)
	}
	if !k.configMapExists(a.Source.Name) || k.get(name).End != nil {
		t.Error("the run does not stay as it was")
	}
	if err := Unapply(k.ctx(), k.Client, "p", nil, said); err == nil || !strings.Contains(err.Error(), `no run and no applied pipeline is named "p"`) {
		t.Errorf("twice: %v", err)
	}
	if _, err := ReadApplied(k.ctx(), k.Client, "p"); err == nil || !strings.Contains(err.Error(), `no file and no applied pipeline is named "p"`) {
		t.Errorf("read: %v", err)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	k.apply(k.application(pipelineOf(t, nightly, sim{name: "a", more: cronJobOfA})))
	list, err := Schedules(k.ctx(), k.Client, false, "")
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i := range list {
		list[i].Created = time.Time{}
	}
	want := []Schedule{
		{Name: "p", Namespace: k.Namespace, Pipeline: "p", Schedule: "0 2 * * *", TimeZone: "Europe/Paris"},
		{Name: "p-a", Namespace: k.Namespace, Pipeline: "p", Stage: "a", Schedule: "@hourly", TimeZone: "Europe/Paris"},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		suspend bool
		dryRun  []string
		changed bool
	}{{true, []string{metav1.DryRunAll}, true}, {true, nil, true}, {true, nil, false}, {false, nil, true}, {false, nil, false}} {
		if changed, err := Suspend(k.ctx(), k.Client, "p-a", c.suspend, c.dryRun); err != nil || changed != c.changed {
			t.Errorf("suspend %t %v: changed %t, %v", c.suspend, c.dryRun, changed, err)
		}
	}
	if name, err := Trigger(k.ctx(), k.Client, "p-a", []string{metav1.DryRunAll}); err != nil || !strings.HasPrefix(name, "p-a-now-") {
		t.Errorf("%s, %v", name, err)
	}
	name, err := Trigger(k.ctx(), k.Client, "p-a", nil)
	if err != nil {
		t.Fatal(err)
	}
	jobs := k.Kube.BatchV1().Jobs(k.Namespace)
	made, err := jobs.List(k.ctx(), metav1.ListOptions{})
	if err != nil || len(made.Items) != 1 {
		t.Fatalf("%d Jobs, %v", len(made.Items), err)
	}
	j := made.Items[0]
	if j.Name != name || j.OwnerReferences[0].Name != "p-a" || j.Annotations["cronjob.kubernetes.io/instantiate"] != "manual" || *j.Spec.TTLSecondsAfterFinished != 5400 {
		t.Errorf("%s: %+v", name, j.ObjectMeta)
	}
	k.eventually("the triggered Job succeeds", func() bool {
		j, err := jobs.Get(k.ctx(), name, metav1.GetOptions{})
		return err == nil && j.Status.Succeeded == 1
	})
	if _, err := Trigger(k.ctx(), k.Client, "x", nil); err == nil || !strings.Contains(err.Error(), `no schedule "x" in namespace`) {
		t.Errorf("%v", err)
	}
}

// A pipeline's schedule runs it under an ID that its Job gives, so that a pod that is started again goes on with it.
func TestTheScheduleOfAPipelineNamesItsRun(t *testing.T) {
	b := pipelineOf(t, nightly, sim{name: "a"})
	d := &Driver{Image: "registry.example/kubectl-ml:1"}
	cj := d.schedule(b.Pipeline, "ns")
	c := cj.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	want := []string{"run", "-f", "p", "--id", "$(ML_DRIVER_UID)", "--reason", "schedule", "--exit-zero"}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Error(diff)
	}
	if c.Env[0].Name != "ML_DRIVER_UID" || c.Env[0].ValueFrom.FieldRef.FieldPath != "metadata.labels['batch.kubernetes.io/controller-uid']" {
		t.Errorf("%+v", c.Env)
	}
}
