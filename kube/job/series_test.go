package job

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var seriesStart = time.Date(2026, 3, 14, 9, 26, 0, 0, time.UTC)

// gather feeds lines of one pod a second apart; a line "@pod x" is one of that pod, "+10s" lets time pass.
func gather(s *Series, lines string) Training {
	at, pod := seriesStart, "p"
	for line := range strings.SplitSeq(lines, "\n") {
		if d, err := time.ParseDuration(strings.TrimPrefix(line, "+")); err == nil {
			at = at.Add(d)
			continue
		}
		if name, ok := strings.CutPrefix(line, "@"); ok {
			pod = name
			continue
		}
		s.Add(LogLine{Pod: pod, Time: at, Text: line})
		at = at.Add(time.Second)
	}
	return s.Training()
}

// curveText writes a curve as x=value, over the axis.
func curveText(t Training, name, axis string) string {
	var out []string
	for _, c := range t.Curves {
		if c.Name != name {
			continue
		}
		for _, p := range c.Points {
			x := map[string]float64{AxisStep: p.Step, AxisEpoch: p.Epoch, AxisTime: float64(p.At-seriesStart.UnixMilli()) / 1000}[axis]
			out = append(out, fmt.Sprintf("%.4g=%.4g", x, p.Value))
		}
	}
	return strings.Join(out, " ")
}

func TestSeries(t *testing.T) {
	for name, tc := range map[string]struct {
		lines      string
		metric     string
		axis, want string
		rate       string
		left       time.Duration
		restarts   int
	}{
		"marked": {
			lines:  "noise\n::ml:: {\"step\":10,\"total\":100,\"loss\":0.5}\n+9s\n::ml:: {\"step\":20,\"loss\":0.4}\n+9s\n::ml:: {\"step\":30,\"loss\":0.3}",
			metric: "loss", axis: AxisStep, want: "10=0.5 20=0.4 30=0.3", rate: "1/s", left: 70 * time.Second,
		},
		"NaN is a gap": {
			lines:  "step 1: loss 0.5\nstep 2: loss nan\nstep 3: loss 0.4",
			metric: "loss", axis: AxisStep, want: "1=0.5 2=NaN 3=0.4", rate: "1/s",
		},
		"steps within epochs": {
			lines:  "Epoch [1/2], Step [5/10], Loss: 0.9\nEpoch [1/2], Step [10/10], Loss: 0.8\nEpoch [2/2], Step [5/10], Loss: 0.7",
			metric: "Loss", axis: AxisStep, want: "5=0.9 10=0.8 15=0.7", rate: "5/s", left: time.Second,
		},
		"epochs counted from 0": {
			lines:  "Epoch: [0][ 5/10] Loss 0.9\nEpoch: [0][10/10] Loss 0.8\nEpoch: [1][ 5/10] Loss 0.7",
			metric: "Loss", axis: AxisStep, want: "5=0.9 10=0.8 15=0.7", rate: "5/s",
		},
		"Keras": {
			lines:  "Epoch 1/2\n10/10 ━━━━ 1s 5ms/step - loss: 0.9 - val_loss: 1.1\nEpoch 2/2\n10/10 ━━━━ 1s 5ms/step - loss: 0.5 - val_loss: 0.8",
			metric: "val_loss", axis: AxisStep, want: "10=1.1 20=0.8", rate: "5/s",
		},
		"Lightning": {
			lines:  "Epoch 0: 50%|██| 5/10 [00:01<00:01, 5it/s, v_num=0, loss=0.9]\nEpoch 1: 50%|██| 5/10 [00:01<00:01, 5it/s, v_num=0, loss=0.7]",
			metric: "loss", axis: AxisStep, want: "5=0.9 15=0.7", rate: "10/s", left: time.Second,
		},
		"Hugging Face, bar and dictionaries on different streams": {
			lines:  "  0%| | 0/40 [00:00<?, ?it/s]\n{'loss': 0.9, 'epoch': 0.5}\n{'loss': 0.8, 'epoch': 1.0}\n{'eval_loss': 0.85, 'epoch': 1.0}\n 25%|██ | 10/40 [00:05<00:15, 2it/s]\n{'loss': 0.7, 'epoch': 1.5}",
			metric: "loss", axis: AxisEpoch, want: "0.5=0.9 1=0.8 1.5=0.7", rate: "2/s", left: 15 * time.Second,
		},
		"no counters": {
			lines: "::ml:: {\"loss\":0.5}\n::ml:: {\"loss\":0.4}", metric: "loss", axis: AxisTime, want: "0=0.5 1=0.4", rate: "",
		},
		"epochs alone": {
			lines: "epoch 1/4 loss=0.5\n+59s\nepoch 2/4 loss=0.4", metric: "loss", axis: AxisEpoch, want: "1=0.5 2=0.4", rate: "0.01667/s of epochs", left: 2 * time.Minute,
		},
		"many lines of an epoch": {
			lines: "epoch 1/4 loss=0.5\nepoch 1/4 loss=0.4\nepoch 1/4 loss=0.3\nepoch 2/4 loss=0.2\nepoch 2/4 loss=0.1", metric: "loss", axis: AxisTime, want: "0=0.5 1=0.4 2=0.3 3=0.2 4=0.1",
			rate: "0.25/s of epochs", left: 8 * time.Second,
		},
		"another pod goes on from a checkpoint": {
			lines:  "@a\nstep 1/9: loss 0.9\nstep 2/9: loss 0.8\nstep 3/9: loss 0.7\n@b\nstep 2/9: loss 0.75\nstep 3/9: loss 0.65",
			metric: "loss", axis: AxisStep, want: "1=0.9 2=0.75 3=0.65", rate: "1/s", left: 6 * time.Second, restarts: 1,
		},
		"a container that began again": {
			lines:  "step 1: loss 0.9\nstep 2: loss 0.8\nstep 3: loss 0.7\nstep 4: loss 0.6\nstep 2: loss 0.81\nstep 3: loss 0.71\nstep 4: loss 0.61",
			metric: "loss", axis: AxisStep, want: "1=0.9 2=0.81 3=0.71 4=0.61", rate: "1/s", restarts: 1,
		},
		"a container that began one line back": {
			lines:  "step 1: loss 0.9\nstep 2: loss 0.8\nstep 3: loss 0.7\nstep 2: loss 0.81\nstep 3: loss 0.71",
			metric: "loss", axis: AxisStep, want: "1=0.9 2=0.81 3=0.71", rate: "1/s", restarts: 1,
		},
		"a line that only looks like an earlier step": {
			lines:  "step 100: loss 0.9\nstep 200: loss 0.8\nstep 3: loss 7\nstep 300: loss 0.7",
			metric: "loss", axis: AxisStep, want: "100=0.9 200=0.8 300=0.7", rate: "297/s",
		},
		"a bar drawn again": {
			lines: " 10%|█| 1/10 [00:01<00:09, 1it/s, loss=0.5]\n 10%|█| 1/10 [00:01<00:09, 1it/s, loss=0.5]\n 20%|█| 2/10 [00:02<00:08, 1it/s, loss=0.4]",
			// The bar's own clock does not run while the same line is shown again.
			metric: "loss", axis: AxisStep, want: "1=0.5 2=0.4", rate: "0.5/s", left: 16 * time.Second,
		},
		"a bar of an evaluation": {
			lines:  "step 10/20 loss=0.5\nEvaluating: 50%|█| 5/10 [00:01<00:09, 1it/s, loss=0.7]\nEvaluating: 100%|█| 10/10 [00:01<00:00, 1it/s, loss=0.6]\nstep 11/20 loss=0.4",
			metric: "val_loss", axis: AxisStep, want: "10=0.7 10=0.6", rate: "0.3333/s", left: 27 * time.Second,
		},
		"files are loaded beside": {
			lines:  " 10%|█| 1/10 [00:01<00:09, 1it/s, loss=0.5]\nLoading shards: 100%|█| 4/4 [00:01<00:00, 1it/s]\n 20%|█| 2/10 [00:02<00:08, 1it/s, loss=0.4]",
			metric: "loss", axis: AxisStep, want: "1=0.5 2=0.4", rate: "0.5/s", left: 16 * time.Second,
		},
	} {
		tr := gather(NewSeries(AllRanks, 0), tc.lines)
		rate := ""
		if tr.Rate > 0 {
			rate = fmt.Sprintf("%.4g/s", tr.Rate)
		}
		if tr.Epochs {
			rate += " of epochs"
		}
		if got := curveText(tr, tc.metric, tc.axis); got != tc.want || tr.Axis != tc.axis || rate != tc.rate || tr.Left.Round(time.Millisecond) != tc.left || len(tr.Restarts) != tc.restarts {
			t.Errorf("%s: %s over %s, %s, %s left, %d restarts\nwant %s over %s, %s, %s left, %d restarts", name, got, tr.Axis, rate, tr.Left, len(tr.Restarts), tc.want, tc.axis, tc.rate, tc.left, tc.restarts)
		}
	}
}

// TestSeriesTimesOfABar: the states of a bar all bear the time at which its line began; what the bar says of the time
// that passed tells more.
func TestSeriesTimesOfABar(t *testing.T) {
	s := NewSeries(AllRanks, 0)
	for i := range 5 {
		s.Add(LogLine{Time: seriesStart, Partial: true, Text: fmt.Sprintf(" %d%%|█| %d/100 [00:%02d<01:00, 1it/s, loss=0.%d]", 10*i, 10*i, 7*i, 9-i)})
	}
	s.Add(LogLine{Time: seriesStart, Partial: true, Text: " 60%|█| 60/100 [00:03<00:30, 1it/s, loss=0.1]"}) // the next bar
	tr := s.Training()
	if got := curveText(tr, "loss", AxisTime); got != "0=0.9 7=0.8 14=0.7 21=0.6 28=0.5 28=0.1" {
		t.Errorf("times %s", got)
	}
	if !tr.Last.Equal(seriesStart.Add(28 * time.Second)) {
		t.Errorf("the last was at %s", tr.Last)
	}
}

// TestSeriesIsBounded: a million values take no more room than a few thousand, and no extreme is lost.
func TestSeriesIsBounded(t *testing.T) {
	s := NewSeries(AllRanks, 1000)
	const n = 200_000
	for i := range n {
		v := math.Sin(float64(i) / 5000)
		switch i {
		case 123_457:
			v = 99
		case 7:
			v = -99
		}
		s.Add(LogLine{Time: seriesStart.Add(time.Duration(i) * time.Millisecond), Text: fmt.Sprintf(`::ml:: {"step":%d,"total":%d,"loss":%g}`, i+1, n, v)})
	}
	tr := s.Training()
	c := tr.Curves[0]
	if len(c.Points) > 1000 || len(c.Points) < 400 || c.Seen != n {
		t.Errorf("%d points of %d", len(c.Points), c.Seen)
	}
	if !slices.IsSortedFunc(c.Points, func(a, b Point) int { return compare(a.Step, b.Step) }) {
		t.Error("the points are out of order")
	}
	lo, hi := slices.MinFunc(c.Points, func(a, b Point) int { return compare(a.Value, b.Value) }), slices.MaxFunc(c.Points, func(a, b Point) int { return compare(a.Value, b.Value) })
	if lo.Value != -99 || lo.Step != 8 || hi.Value != 99 || hi.Step != 123_458 {
		t.Errorf("the extremes are %+v and %+v", lo, hi)
	}
	// Everywhere about as dense: the middle half of the steps has about half of the points.
	middle := 0
	for _, p := range c.Points {
		if p.Step > n/4 && p.Step <= 3*n/4 {
			middle++
		}
	}
	if share := float64(middle) / float64(len(c.Points)); share < 0.4 || share > 0.6 {
		t.Errorf("%.2f of the points are in the middle half", share)
	}
	if last := c.Points[len(c.Points)-1]; last.Step != n {
		t.Errorf("the last point is of step %g", last.Step)
	}
	if len(s.pace.moments) > mostMoments || math.Abs(tr.Rate-1000) > 1 {
		t.Errorf("%d moments, rate %g", len(s.pace.moments), tr.Rate)
	}
}

func TestSeriesOfManyMetrics(t *testing.T) {
	s := NewSeries(AllRanks, 0)
	for i := range 200 {
		s.Add(LogLine{Text: fmt.Sprintf("step %d: m%d=1", i+1, i)})
	}
	if n := len(s.Training().Curves); n != maxMetrics {
		t.Errorf("%d curves", n)
	}
}

// TestTrainingStays: what was handed out does not change while the training goes on, or back.
func TestTrainingStays(t *testing.T) {
	s := NewSeries(AllRanks, 16)
	var kept []Training
	var texts []string
	for i := range 200 {
		step := i
		if i > 150 {
			step = i - 100
		}
		s.Add(LogLine{Text: fmt.Sprintf("step %d: loss %d", step+1, i%13)})
		kept = append(kept, s.Training())
		texts = append(texts, fmt.Sprint(kept[i].Curves, kept[i].Restarts))
	}
	for i := range kept {
		if got := fmt.Sprint(kept[i].Curves, kept[i].Restarts); got != texts[i] {
			t.Fatalf("training %d became %s from %s", i, got, texts[i])
		}
	}
}

// TestSeriesEvaluationsDoNotCount: a pause for an evaluation makes the time left longer by what it took, not by more.
func TestSeriesEvaluationsDoNotCount(t *testing.T) {
	s := NewSeries(AllRanks, 0)
	at := seriesStart
	for i := range 500 {
		at = at.Add(time.Second)
		if i == 450 {
			at = at.Add(time.Minute)
		}
		s.Add(LogLine{Time: at, Text: fmt.Sprintf(`::ml:: {"step":%d,"total":1000,"loss":1}`, i+1)})
	}
	if left := s.Training().Left; left < 500*time.Second || left > 850*time.Second {
		t.Errorf("%s left of 500 steps of a second", left)
	}
}

func BenchmarkSeries(b *testing.B) {
	for name, format := range map[string]string{
		"ml":    `::ml:: {"step":%d,"total":100000,"loss":0.4,"acc":0.9}`,
		"text":  "Epoch [1/3], Step [%d/100000], Loss: 0.12",
		"noise": "2026-10-01 12:00:00 INFO loaded the shard %d of the training set from the object store",
	} {
		b.Run(name, func(b *testing.B) {
			lines := make([]string, 1000)
			for i := range lines {
				lines[i] = fmt.Sprintf(format, i)
			}
			s, i := NewSeries(AllRanks, 0), 0
			b.SetBytes(int64(len(lines[0])))
			for b.Loop() {
				s.Add(LogLine{Pod: "p", Time: seriesStart.Add(time.Duration(i) * time.Millisecond), Text: lines[i%1000]})
				i++
			}
			runtime.KeepAlive(s)
		})
	}
}
