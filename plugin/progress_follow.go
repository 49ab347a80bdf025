package plugin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// progressSettle is how long lines are gathered before they are drawn, progressEvery how often a log without a terminal
// is told of a training that goes on, and progressTick how often times are drawn anew when nothing else is.
const (
	progressSettle = 200 * time.Millisecond
	progressEvery  = time.Minute
	progressTick   = time.Second
)

// progressLook is what is shown of trainings at one time.
type progressLook struct {
	list []fleet.Training
	// lost says that the server is away, since when nothing was heard of it.
	lost  bool
	since time.Time
}

// followProgress shows trainings until they have ended.
func (f *Factory) followProgress(ctx context.Context, c *client.Client, o progressOptions) error {
	w, err := readyFleet(ctx, c, fleet.Options{Namespace: c.Namespace, Plain: true})
	if err != nil {
		return interrupted(ctx, err)
	}
	k, err := f.class(ctx, c, o, w.Snapshot())
	if err != nil {
		return err
	}
	look := func(ctx context.Context, show func(progressLook)) error { return k.follow(ctx, w, show) }
	if o.Output.table() && isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		err = f.drawProgress(ctx, o, look)
	} else {
		err = look(ctx, f.progressLog(o))
		if err == nil {
			err = f.printProgress(o, k.trainings())
		}
	}
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return &CodeError{Code: ExitInterrupted}
	}
	if err != nil {
		return err
	}
	return k.verdict()
}

// verdict is how the works ended, as an error with an exit code.
func (k *class) verdict() error {
	if slices.ContainsFunc(k.trainings(), func(t fleet.Training) bool { return t.Work.State == job.Failed }) {
		return &CodeError{Code: ExitFailed}
	}
	return nil
}

// follow reads all logs until the works have ended, and shows what changes.
func (k *class) follow(ctx context.Context, w *fleet.Watcher, show func(progressLook)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dirty := make(chan struct{}, 1)
	signal := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	k.change = signal
	ended, running := make(chan error), 0
	start := func(trainees []*fleet.Trainee) {
		for _, t := range trainees {
			running++
			go func() {
				err := t.Follow(ctx)
				select {
				case ended <- err:
				case <-ctx.Done():
				}
			}()
		}
	}
	first := k.works[0]
	k.trainees, k.works = nil, nil // made before there was anybody to tell of changes
	start(k.add(w.Snapshot().Works, first))
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	for {
		var l progressLook
		l.list = k.trainings()
		l.since, l.lost, _ = w.Lost()
		show(l)
		if running == 0 && k.over(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			running--
			if err != nil {
				return err
			}
		case <-w.Changed():
			s := w.Snapshot()
			for _, t := range k.trainees {
				t.Look(s)
			}
			start(k.add(s.Works, first))
		case <-dirty:
			if !pause(ctx, progressSettle) {
				return ctx.Err()
			}
		case <-tick.C:
		}
	}
}

// over says whether no further child of a sweep will start.
func (k *class) over(ctx context.Context) bool {
	if k.stage == "" {
		return true
	}
	st, ok := stageOf(ctx, k.c, k.run, k.stage)
	return !ok || st.State.Terminal()
}

// drawProgress draws trainings in place.
func (f *Factory) drawProgress(ctx context.Context, o progressOptions, work func(context.Context, func(progressLook)) error) error {
	p := f.palette(f.Out)
	d := f.drawing(o)
	d.Live = true
	screen := tui.Table{
		In: f.In, Out: f.Out, Env: os.Environ(), Now: f.Now,
		Paint: func(l views.Line) string {
			var b strings.Builder
			p.write(&b, l)
			return b.String()
		},
	}
	var last progressLook
	left, err := screen.Show(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		return work(ctx, func(l progressLook) {
			last = l
			show(func(width, height int, now time.Time) ([]views.Line, time.Duration) {
				d := d
				d.Width, d.Height = min(nonZero(o.Width, width), width), min(nonZero(o.Height, height-1), height-1) // a line for the prompt after it
				if l.lost {
					d.Height--
				}
				lines := views.Learning(l.list, now, d)
				if l.lost {
					lines = append(lines, views.Lost(now.Sub(l.since)))
				}
				return lines[:min(len(lines), max(height, 1))], progressTick
			})
		})
	})
	if left {
		return context.Canceled
	}
	if err != nil {
		return err
	}
	return f.progressHints(o, last.list)
}

func nonZero(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

// progressLog appends a line for each training whose state or percentage changed, or that goes on without.
func (f *Factory) progressLog(o progressOptions) func(progressLook) {
	type said struct {
		key  string
		at   time.Time
		line int64
	}
	shown, warned := map[string]said{}, map[string]int{}
	lost := false
	return func(l progressLook) {
		if l.lost != lost {
			if lost = l.lost; lost {
				f.say("the API server is away, trying again")
			} else {
				f.say("the API server is back")
			}
		}
		f.progressWarnings(l.list, warned)
		if !o.Output.table() {
			return
		}
		now := f.Now()
		for _, t := range l.list {
			key := t.Work.State + t.Work.Reason
			if t.Progress.Source != "" {
				key = fmt.Sprintf("%s %g", key, math.Floor(t.Progress.Percent))
			}
			was := shown[t.Work.UID]
			fresh := t.Understood != was.line && now.Sub(was.at) >= progressEvery
			soon := now.Sub(was.at) < progressTick && !t.Work.Final() // a percent now and then takes less than a second
			if key == was.key && !fresh || soon && was.key != "" {
				continue
			}
			shown[t.Work.UID] = said{key, now, t.Understood}
			_ = f.lines([]views.Line{views.LearningEvent(t, now)})
		}
	}
}
