package fleet

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// TestSpeakers: which pods are read, in which order.
func TestSpeakers(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 3, 14, 9, 0, seconds, 0, time.UTC) }
	pod := func(name string, rank int, role, state string, created, finished int) *Pod {
		p := &Pod{PodFact: job.PodFact{Name: name, UID: name, Rank: rank, State: state, Created: at(created)}, Role: role}
		if finished > 0 {
			p.Finished = ptr.To(at(finished))
		}
		return p
	}
	for name, tc := range map[string]struct {
		pods []*Pod
		rank int
		want string
	}{
		"none":               {nil, job.AllRanks, ""},
		"one":                {[]*Pod{pod("a", -1, "", job.Running, 0, 0)}, job.AllRanks, "a"},
		"attempts":           {[]*Pod{pod("b", -1, "", job.Failed, 100, 200), pod("a", -1, "", job.Failed, 0, 90), pod("c", -1, "", job.Running, 210, 0)}, job.AllRanks, "a b c"},
		"side by side":       {[]*Pod{pod("a", -1, "", job.Running, 0, 0), pod("b", -1, "", job.Running, 1, 0)}, job.AllRanks, "a"},
		"the lowest rank":    {[]*Pod{pod("a", 1, "", job.Running, 0, 0), pod("b", 0, "", job.Running, 1, 0)}, job.AllRanks, "b"},
		"a rank":             {[]*Pod{pod("a", 0, "", job.Running, 0, 0), pod("b", 1, "", job.Failed, 0, 50), pod("c", 1, "", job.Running, 60, 0)}, 1, "b c"},
		"no such rank":       {[]*Pod{pod("a", 0, "", job.Running, 0, 0)}, 3, ""},
		"the launcher":       {[]*Pod{pod("w", 0, "worker", job.Running, 0, 0), pod("l", -1, "launcher", job.Running, 5, 0)}, job.AllRanks, "l"},
		"master before rank": {[]*Pod{pod("w", 0, "worker", job.Running, 0, 0), pod("m", 0, "Master", job.Running, 5, 0)}, job.AllRanks, "m"},
		"replaced early":     {[]*Pod{pod("a", 0, "", job.Terminating, 0, 0), pod("b", 0, "", job.Pending, 300, 0)}, job.AllRanks, "a b"},
	} {
		w := &Work{Pods: tc.pods}
		var got []string
		o := TrainingOptions{Rank: tc.rank}
		for p := w.speaker(o, nil); p != nil; p = w.speaker(o, p) {
			got = append(got, p.Name)
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%s: %q, want %q", name, g, tc.want)
		}
	}
	worker, launcher := pod("w", 0, "worker", job.Running, 0, 0), pod("l", -1, "launcher", job.Running, 1, 0)
	if p := (&Work{Pods: []*Pod{worker, launcher}}).speaker(TrainingOptions{Rank: job.AllRanks}, worker); p != launcher {
		t.Error("the launcher that comes late does not take over from a worker")
	}
}

func TestOneSpeaker(t *testing.T) {
	pods := []*Pod{{PodFact: job.PodFact{Name: "a", UID: "a"}}, {PodFact: job.PodFact{Name: "b", UID: "b", Rank: 1}}}
	if p := (&Work{Pods: pods}).speaker(TrainingOptions{Rank: job.AllRanks, Pod: "b"}, nil); p != pods[1] {
		t.Errorf("of pod b %v is read", p)
	}
}

func TestSiblings(t *testing.T) {
	work := func(name, stage, child, attempt string) *Work {
		return &Work{Ref: Ref{Name: name, Namespace: "n", UID: name}, Labels: map[string]string{kube.LabelRun: "r", kube.LabelStage: stage, kube.LabelChild: child, kube.LabelAttempt: attempt}}
	}
	works := []*Work{
		work("c2", "train", "2", "1"), work("c0", "train", "0", "1"), work("c0-r2", "train", "0", "2"), work("other", "eval", "0", "1"), work("c1", "train", "1", "1"),
		{Ref: Ref{Name: "alone", Namespace: "n"}},
	}
	names := func(list []*Work) string {
		var out []string
		for _, w := range list {
			out = append(out, w.Name)
		}
		return strings.Join(out, " ")
	}
	if got := names(Siblings(works, works[0])); got != "c0-r2 c1 c2" {
		t.Errorf("siblings %s", got)
	}
	if got := names(Siblings(works, works[5])); got != "alone" {
		t.Errorf("without a stage %s", got)
	}
}

func TestNoRank(t *testing.T) {
	ranked := &Work{Ref: Ref{Kind: "Job", Name: "j"}, Pods: []*Pod{{PodFact: job.PodFact{Rank: 0}}, {PodFact: job.PodFact{Rank: 3}}}}
	alone := &Work{Ref: Ref{Kind: "Job", Name: "j"}, Pods: []*Pod{{PodFact: job.PodFact{Rank: -1}}}}
	for _, tc := range []struct {
		w    *Work
		rank int
		want string
	}{
		{ranked, job.AllRanks, ""},
		{ranked, 3, ""},
		{ranked, 9, "has no pod of rank 9\n  its ranks go up to 3"},
		{alone, 0, "the pods of job/j have no ranks"},
		{&Work{}, 0, ""},
	} {
		err := tc.w.NoRank(tc.rank)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("rank %d: %v, want %q", tc.rank, err, tc.want)
		}
	}
}

// train makes a Job whose simulated pods print lines while they run, and then exit.
func (l *live) train(name, lasts, exit string, retries int32, lines ...string) {
	l.t.Helper()
	_, err := l.Kube.BatchV1().Jobs(l.Namespace).Create(l.ctx(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To(retries), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
				"sandbox.kubectl-ml.dev/duration": lasts, "sandbox.kubectl-ml.dev/exit-code": exit, "sandbox.kubectl-ml.dev/logs": strings.Join(lines, "\n"),
			}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				NodeSelector:  map[string]string{"type": "kwok"},
				Tolerations:   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
				Containers:    []corev1.Container{{Name: "main", Image: "registry.example/nothing:1"}},
			},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) find(w *Watcher, name string) *Work {
	l.t.Helper()
	var found *Work
	l.eventually("for "+name, func() bool {
		found, _ = Find(w.Snapshot().Works, name)
		return found != nil
	})
	return found
}

// follow follows a work while the fleet is watched.
func (l *live) follow(w *Watcher, t *Trainee) error {
	l.t.Helper()
	ctx, stop := context.WithCancel(l.ctx())
	defer stop()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.Changed():
				t.Look(w.Snapshot())
			}
		}
	}()
	t.Look(w.Snapshot())
	return t.Follow(ctx)
}

// TestFollowATraining: attempt after attempt is read, until the Job has failed for good; what was learnt twice counts once.
func TestFollowATraining(t *testing.T) {
	l := realFleet(t)
	w := l.watch(l.Client, Options{Plain: true})
	l.train("twice", "3s", "1", 1, `::ml:: {"step": 1, "total": 3, "loss": 0.9}`, `::ml:: {"step": 2, "loss": 0.8}`, `::ml:: {"step": 3, "loss": 0.7}`)
	var changes atomic.Int64
	trainee := NewTrainee(l.Client, l.find(w, "twice"), "", TrainingOptions{Rank: job.AllRanks, Tail: -1}, func() { changes.Add(1) })
	if err := l.follow(w, trainee); err != nil {
		t.Fatal(err)
	}
	got := trainee.Training()
	if got.Work.State != job.Failed || len(got.Pods) != 2 || got.Lines != 6 || got.Understood != 6 || len(got.Errors) > 0 {
		t.Errorf("%s after %d lines of %s: %v", got.Work.State, got.Lines, got.Pods, got.Errors)
	}
	if len(got.Curves) != 1 || len(got.Curves[0].Points) != 3 || len(got.Restarts) != 1 || got.Progress.Percent != 100 || got.Axis != job.AxisStep {
		t.Errorf("%+v", got.Training)
	}
	if changes.Load() < 6 {
		t.Errorf("%d changes told", changes.Load())
	}
	again := NewTrainee(l.Client, got.Work, "", TrainingOptions{Rank: job.AllRanks, Tail: 1}, func() {})
	if err := again.Read(l.ctx()); err != nil {
		t.Fatal(err)
	}
	if got := again.Training(); got.Lines != 2 || len(got.Curves[0].Points) != 1 {
		t.Errorf("the last line of both logs gives %d lines: %+v", got.Lines, got.Curves)
	}
}

// TestFollowADeletedTraining: what is deleted has ended.
func TestFollowADeletedTraining(t *testing.T) {
	l := realFleet(t)
	w := l.watch(l.Client, Options{Plain: true})
	l.train("gone", "10m", "0", 0, `::ml:: {"step": 1, "total": 3, "loss": 0.9}`, "2", "3")
	trainee := NewTrainee(l.Client, l.find(w, "gone"), "", TrainingOptions{Rank: job.AllRanks, Tail: -1}, func() {})
	done := make(chan error, 1)
	go func() { done <- l.follow(w, trainee) }()
	l.eventually("for the first line", func() bool { return trainee.Training().Understood > 0 })
	l.remove("gone")
	select {
	case err := <-done:
		if got := trainee.Training(); err != nil || got.Work.State != job.Failed || got.Work.Reason != "Deleted" {
			t.Errorf("%v, %s: %s", err, got.Work.State, got.Work.Reason)
		}
	case <-time.After(time.Minute):
		t.Error("it is still followed")
	}
}

// TestTrainingOfAStatus: what the status says counts where the log says nothing.
func TestTrainingOfAStatus(t *testing.T) {
	at := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	status := func(percent, loss float64, after time.Duration) *job.Progress {
		return &job.Progress{
			Step: job.Unknown, Total: job.Unknown, Epoch: job.Unknown, Epochs: job.Unknown, Percent: percent, Source: job.SourceTrainJob, At: at.Add(after),
			Metrics: map[string]float64{"loss": loss}, Names: []string{"loss"},
		}
	}
	w := &Work{Ref: Ref{Kind: "TrainJob", Name: "t", UID: "u"}, State: job.Running, Progress: status(10, 0.9, 0)}
	trainee := NewTrainee(nil, w, "", TrainingOptions{Rank: job.AllRanks}, func() {})
	trainee.Training()
	next := *w
	next.Progress = status(20, 0.8, 10*time.Second)
	trainee.Look(&Snapshot{Works: []*Work{&next}})
	trainee.Training()
	got := trainee.Training()
	if got.Axis != job.AxisTime || len(got.Curves) != 1 || len(got.Curves[0].Points) != 2 || got.Progress.Percent != 20 || got.Left != 80*time.Second {
		t.Errorf("%+v", got.Training)
	}
}
