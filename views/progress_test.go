package views

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

var trained = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// learns is a training of n steps of a thousand, ten steps a second, with an evaluation every hundred.
func learns(n int) fleet.Training {
	s := job.NewSeries(job.AllRanks, 0)
	for i := 1; i <= n; i++ {
		x := float64(i) / 1000
		text := fmt.Sprintf(`::ml:: {"step":%d,"total":1000,"epoch":%.2f,"epochs":3,"loss":%.4f,"lr":%.6f,"samples_per_second":%d}`, i, 3*x, 0.4+2*math.Exp(-4*x)+0.05*math.Sin(float64(i*i)), 0.001*(1-x), 120+i%7)
		s.Add(job.LogLine{Time: trained.Add(time.Duration(i) * 100 * time.Millisecond), Text: text})
		if i%100 == 0 {
			s.Add(job.LogLine{Time: trained.Add(time.Duration(i) * 100 * time.Millisecond), Text: fmt.Sprintf(`::ml:: {"eval_loss":%.4f,"eval_acc":%.3f}`, 0.6+1.8*math.Exp(-4*x)+0.3*x*x, 0.9*x)})
		}
	}
	started := trained.Add(-time.Minute)
	return fleet.Training{
		Work:     &fleet.Work{Ref: fleet.Ref{Kind: "PyTorchJob", Name: "llama"}, State: job.Running, Started: &started, GPUs: 16},
		Training: s.Training(),
	}
}

func TestLearningGoldens(t *testing.T) {
	diverged := learns(300)
	diverged.Progress.NotFinite = []string{"loss"}
	diverged.Restarts = []job.Restart{{At: trained, From: 300, To: 200}, {At: trained.Add(20 * time.Second), From: 400, To: 250, Pod: "p"}}
	ended := learns(1000)
	at := trained.Add(110 * time.Second)
	ended.Work.State, ended.Work.Finished, ended.Work.Metrics = job.Succeeded, &at, map[string]float64{"eval_loss": 0.61}
	waiting := fleet.Training{
		Work: &fleet.Work{Ref: fleet.Ref{Kind: "Job", Name: "evil\x1b[31m"}, State: job.Pending, Reason: "Unschedulable", Message: "0/5 nodes are available"}, Note: "waiting for pod x",
	}
	child := func(name string, n int) fleet.Training {
		c := learns(n)
		c.Name = name
		return c
	}
	for name, tc := range map[string]struct {
		list  []fleet.Training
		after time.Duration
		o     LearningOptions
	}{
		"running":  {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{}},
		"wide":     {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{Width: 160, Height: 45}},
		"narrow":   {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{Width: 40, Height: 12}},
		"ascii":    {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{ASCII: true}},
		"chosen":   {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{Metrics: []string{"eval_*"}, Axis: job.AxisEpoch}},
		"smooth":   {[]fleet.Training{learns(450)}, 46 * time.Second, LearningOptions{Metrics: []string{"loss"}, Axis: job.AxisTime, Smooth: 0.9, Log: true}},
		"stalled":  {[]fleet.Training{learns(450)}, time.Hour, LearningOptions{}},
		"diverged": {[]fleet.Training{diverged}, 31 * time.Second, LearningOptions{}},
		"ended":    {[]fleet.Training{ended}, time.Hour, LearningOptions{}},
		"waiting":  {[]fleet.Training{waiting}, 0, LearningOptions{Live: true}},
		"sweep":    {[]fleet.Training{child("lr=0.1", 450), child("lr=0.01", 200), waitingChild(waiting)}, 46 * time.Second, LearningOptions{}},
	} {
		lines := Learning(tc.list, trained.Add(tc.after), tc.o)
		width, height := max(tc.o.Width, 0), max(tc.o.Height, 0)
		if width == 0 {
			width, height = 80, 24
		}
		if len(lines) > height {
			t.Errorf("%s: %d lines for %d", name, len(lines), height)
		}
		for _, l := range lines {
			if l.Width() > width || strings.Contains(l.Text(), "\x1b") {
				t.Errorf("%s: a line of %d cells: %q", name, l.Width(), l.Text())
			}
		}
		golden(t, "learning-"+name, lines)
	}
}

func waitingChild(t fleet.Training) fleet.Training {
	t.Name = "lr=0.001"
	return t
}

// TestLearningOfAnySize: whatever there is to draw, it fits.
func TestLearningOfAnySize(t *testing.T) {
	many := learns(120)
	for i := range 60 {
		many.Curves = append(slices.Clone(many.Curves), job.Curve{Name: fmt.Sprintf("metric\n%d", i), Points: []job.Point{{Value: math.NaN()}}})
	}
	for w := 1; w < 120; w += 7 {
		for h := 1; h < 60; h += 5 {
			for _, list := range [][]fleet.Training{{many}, {{Work: &fleet.Work{}}}, {many, many}} {
				for _, l := range Learning(list, trained, LearningOptions{Width: w, Height: h, Live: true}) {
					if l.Width() > w {
						t.Fatalf("%dx%d: %q", w, h, l.Text())
					}
				}
				if n := len(Learning(list[:1], trained, LearningOptions{Width: w, Height: h})); h >= 16 && n > h {
					t.Errorf("%dx%d: %d lines", w, h, n)
				}
			}
		}
	}
}

func TestLearningEvent(t *testing.T) {
	now := trained.Add(46 * time.Second)
	running := learns(450)
	ended := learns(1000)
	ended.Work.State = job.Failed
	named := learns(10)
	named.Name = "lr=0.1"
	for want, tr := range map[string]fleet.Training{
		"09:27:39 45%  step 450/1000  epoch 1.35/3  eval_acc=0.36 eval_loss=1.011 loss=0.6955 lr=0.00055 +1  10 steps/s  54s left": running,
		"09:27:39 Failed  100%  step 1000/1000  epoch 3/3  eval_acc=0.9 eval_loss=0.933 loss=0.4191 lr=0 +1":                       ended,
		"09:27:39 lr=0.1 1%  step 10/1000  epoch 0.03/3  loss=2.296 lr=0.00099 samples_per_second=123  10 steps/s  54s left":       named,
		"09:27:39 Pending: Unschedulable: no node": {Work: &fleet.Work{State: job.Pending, Reason: "Unschedulable", Message: "no node"}},
	} {
		if got := LearningEvent(tr, now).Text(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestHowFast(t *testing.T) {
	for _, tc := range []struct {
		rate   float64
		epochs bool
		want   string
	}{{0, false, ""}, {12.345, false, "12.3 steps/s"}, {12345, false, "12.35k steps/s"}, {0.4, false, "2.5s/step"}, {0.001, false, "16m40s/step"}, {0.01, true, "1m40s/epoch"}} {
		if got := speed(&job.Training{Rate: tc.rate, Epochs: tc.epochs}); got != tc.want {
			t.Errorf("%g: %q, want %q", tc.rate, got, tc.want)
		}
	}
}

func BenchmarkLearning(b *testing.B) {
	list := []fleet.Training{learns(1000)}
	b.ReportAllocs()
	for b.Loop() {
		Learning(list, trained, LearningOptions{Width: 120, Height: 40})
	}
}
