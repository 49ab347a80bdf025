package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// full is a record with something in every field.
func full() *Record {
	s := makeRun("p-1").stage("a", sweep(2, 1)).stage("b", needs("a"), approval("look")).stage("c", needs("b"), ttl(time.Hour)).
		noted("a/0", "a/1").recorded("a", Succeeded, map[string]float64{"acc": 0.5}).recorded("b", Succeeded, nil).approved("b").
		with(refused("c", "exceeded quota")).timeout(time.Hour).cancelled().ended(Cancelled)
	r := s.rec
	r.By, r.Detached, r.Reason, r.Started = "ann", true, "test", began.Add(123456789)
	sr := r.Stages["a"]
	sr.Previous = []Outcome{{State: Failed, Reason: "Error", Message: "exit 1", Started: &began, Finished: &began}}
	r.Stages["a"] = sr
	r.Plan.Labels = map[string]string{"team": "ml"}
	r.Plan.Source = &pipeline.SourceRef{ConfigMap: "mlsource-p-1", Keys: map[string]string{"k": "a.py"}, Commit: "abc"}
	r.Plan.Params = map[string]any{"seed": 7.0, "list": []any{"x"}}
	return r
}

// stored is a record's ConfigMap as the server gives it back.
func stored(t testing.TB, r *Record) *corev1.ConfigMap {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: "uid-of-p-1", CreationTimestamp: metav1.NewTime(began)}}
	if err := r.encode(cm); err != nil {
		t.Fatal(err)
	}
	return cm
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	want := full()
	cm := stored(t, want)
	got, err := decode(cm)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Record{}, "Labels")); diff != "" {
		t.Error(diff)
	}
	wantLabels := map[string]string{
		"team": "ml", kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindRun, kube.LabelPipeline: "p",
		kube.LabelRun: "p-1", kube.LabelSource: "mlsource-p-1", kube.LabelState: "Cancelled",
	}
	if diff := cmp.Diff(wantLabels, cm.Labels); diff != "" {
		t.Error(diff)
	}
	s := summaryOf(&metav1.PartialObjectMetadata{ObjectMeta: cm.ObjectMeta})
	if diff := cmp.Diff(Summarize(Derive(got, Live{}, began)), s, cmpopts.IgnoreFields(Summary{}, "Labels")); diff != "" {
		t.Errorf("the annotation does not say what the data says:\n%s", diff)
	}
}

func TestARunThatGoesOnAgainLosesItsEnd(t *testing.T) {
	r := full()
	cm := stored(t, r)
	r.End, r.Cancel = nil, nil
	cm.Data["later.json"], cm.Data[keyPlan] = "of a later release", strings.Replace(cm.Data[keyPlan], `"pipeline"`, `"field of a later release": 1, "pipeline"`, 1)
	plan := cm.Data[keyPlan]
	if err := r.encode(cm); err != nil {
		t.Fatal(err)
	}
	if _, ok := cm.Labels[kube.LabelState]; ok || cm.Data[keyEnd] != "" || cm.Data[keyCancel] != "" {
		t.Errorf("the end is still there: %v %q %q", cm.Labels, cm.Data[keyEnd], cm.Data[keyCancel])
	}
	if cm.Data["later.json"] == "" || cm.Data[keyPlan] != plan {
		t.Error("what a later release wrote is lost")
	}
	if _, err := decode(cm); err != nil {
		t.Errorf("unknown keys and fields are no damage: %v", err)
	}
}

func TestADamagedRecordNamesTheKey(t *testing.T) {
	for key := range stored(t, full()).Data {
		t.Run(key, func(t *testing.T) {
			cm := stored(t, full())
			cm.Data[key] = cm.Data[key][:len(cm.Data[key])/2]
			_, err := decode(cm)
			want := fmt.Sprintf("the record of run p-1 is damaged: key %s of ConfigMap mlrun-p-1: ", key)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s...", err, want)
			}
		})
	}
	cm := stored(t, full())
	delete(cm.Data, keyPlan)
	if _, err := decode(cm); err == nil || err.Error() != "ConfigMap mlrun-p-1 is no record of a run: it has no plan.json" {
		t.Errorf("without a plan: %v", err)
	}
}

// A ConfigMap holds 1 MiB.
func TestARecordOfAThousandStagesFits(t *testing.T) {
	s := makeRun("p-1")
	for i := range 1000 {
		name := fmt.Sprintf("stage-%d", i)
		s.stage(name, minAcc(0.5), func(p *pipeline.PlannedStage) {
			p.Image, p.Command = "registry.example/team/trainer@sha256:"+strings.Repeat("0", 64), []string{"python3", "train.py", "--all"}
			if i > 0 {
				p.Needs = []string{fmt.Sprintf("stage-%d", i-1)}
			}
		})
		s.noted(name).recorded(name, Succeeded, map[string]float64{"acc": 0.987654321, "loss": 0.123456789})
	}
	cm := stored(t, s.rec)
	size := 0
	for key, text := range cm.Data {
		size += len(key) + len(text)
	}
	t.Logf("%d bytes", size)
	if size > 1<<20 {
		t.Errorf("the record has %d bytes", size)
	}
}
