package plugin

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// Times of a list that is watched: how long changes are gathered, and how often logs and Prometheus are read again.
const (
	watchSettle = 250 * time.Millisecond
	watchLogs   = 15 * time.Second
	watchUsage  = 30 * time.Second
)

// jobsLook is what a list that is watched shows at one time.
type jobsLook struct {
	rows []*views.JobRow
	// all are the works in other states than asked for, too.
	all      []*fleet.Work
	problems []fleet.Problem
	// lost is why the server cannot be reached, since when nothing was heard of it; nil when all is well.
	lost  error
	since time.Time
}

// watchJobs keeps showing changes until it is interrupted.
func (f *Factory) watchJobs(ctx context.Context, c *client.Client, o jobsOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := fleet.Watch(ctx, c, o.fleet(c))
	if err := w.Ready(ctx); err != nil {
		return interrupted(ctx, err)
	}
	s := w.Snapshot()
	f.problems(s.Problems)
	if _, missing := o.choose(s.Works); missing != nil {
		return missing
	}
	if len(s.Works) == 0 {
		if err := f.noJobs(ctx, c, o, 0); err != nil {
			return err
		}
	}
	look := func(ctx context.Context, show func(jobsLook) error) error { return f.lookAtJobs(ctx, c, o, w, show) }
	if o.Output.table() && isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		return f.drawJobs(ctx, o, s.Problems, look)
	}
	log := &jobsLog{f: f, o: o, shown: map[string]*views.JobRow{}}
	if !o.Output.table() && o.Output.Format != "name" {
		var err error
		if log.print, err = o.Output.printer(); err != nil {
			return err
		}
	}
	return interrupted(ctx, look(ctx, log.show))
}

// interrupted is the exit of who is interrupted, else err.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return &CodeError{Code: ExitInterrupted}
	}
	return err
}

// lookAtJobs shows what a Watcher sees, whenever that changes, until ctx ends.
func (f *Factory) lookAtJobs(ctx context.Context, c *client.Client, o jobsOptions, w *fleet.Watcher, show func(jobsLook) error) error {
	var works atomic.Pointer[[]*fleet.Work]
	fresh := make(chan more, 1)
	if o.details() {
		go f.keepMore(ctx, c, o, &works, fresh)
	}
	var m more
	for {
		s := w.Snapshot()
		chosen, _ := o.choose(s.Works)
		works.Store(&chosen)
		l := jobsLook{rows: m.rows(chosen, f.Now()), all: s.Works, problems: s.Problems}
		if err := o.sort(l.rows); err != nil {
			return err
		}
		if since, why, lost := w.Lost(); lost {
			l.lost, l.since = cmpOr(why, errAway), since
		}
		if err := show(l); err != nil {
			return err
		}
		limit := time.Minute
		if !w.Current() { // whether that is an outage shows a little later
			limit = time.Second
		}
		t := time.NewTimer(limit)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case m = <-fresh:
		case <-t.C:
		case <-w.Changed():
			t.Reset(watchSettle)
			select {
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			case <-t.C:
			}
		}
		t.Stop()
	}
}

var errAway = errors.New("the API server does not answer")

func cmpOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// keepMore reads logs and Prometheus again and again, and gives what it knows when that is new.
func (f *Factory) keepMore(ctx context.Context, c *client.Client, o jobsOptions, works *atomic.Pointer[[]*fleet.Work], fresh chan more) {
	var m more
	var source *metrics.Source
	asked := time.Time{}
	tick := time.NewTicker(watchLogs)
	defer tick.Stop()
	for {
		list := works.Load()
		if list == nil {
			list = &[]*fleet.Work{}
		}
		busy := slices.ContainsFunc(*list, func(w *fleet.Work) bool { return w.State == job.Running })
		if busy {
			m.progress = merged(m.progress, fleet.Progress(ctx, c, *list, logsTime), *list)
		}
		if busy && time.Since(asked) >= watchUsage {
			asked = time.Now()
			if source == nil {
				source, _ = f.prometheus(ctx, c, o.Prometheus)
			}
			if source != nil {
				if devices, err := source.Devices(ctx, metrics.Query{Namespace: o.fleet(c).Namespace}); err == nil {
					m.usage = metrics.ByPod(devices)
				}
			}
		}
		if busy {
			select {
			case fresh <- m:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// merged takes over what logs tell now, and keeps what they told before of works that are still listed.
func merged(before, now map[string]*job.Progress, works []*fleet.Work) map[string]*job.Progress {
	out := make(map[string]*job.Progress, len(before))
	for _, w := range works {
		if p := before[w.UID]; p != nil {
			out[w.UID] = p
		}
	}
	maps.Copy(out, now)
	return out
}

// drawJobs draws the list in place.
func (f *Factory) drawJobs(ctx context.Context, o jobsOptions, told []fleet.Problem, look func(context.Context, func(jobsLook) error) error) error {
	p := f.palette(f.Out)
	table := tui.Table{
		In: f.In, Out: f.Out, Env: os.Environ(), Now: f.Now,
		Paint: func(l views.Line) string {
			var b strings.Builder
			p.write(&b, l)
			return b.String()
		},
	}
	left, err := table.Show(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		return look(ctx, func(l jobsLook) error {
			show(l.frame(o, told))
			return nil
		})
	})
	if left {
		return &CodeError{Code: ExitInterrupted}
	}
	return interrupted(ctx, err)
}

// frame draws a look; the problems that were told before stand above it.
func (l jobsLook) frame(o jobsOptions, told []fleet.Problem) tui.Frame {
	return func(width, height int, now time.Time) ([]views.Line, time.Duration) {
		var foot []views.Line
		for _, p := range l.problems {
			if !slices.ContainsFunc(told, func(t fleet.Problem) bool { return t.Resource == p.Resource }) {
				foot = append(foot, views.Line{views.Toned(views.Sanitize("warning: "+p.Resource+": "+firstLine(p.Err)), views.Warn)})
			}
		}
		if l.lost != nil {
			foot = append(foot, views.Lost(now.Sub(l.since)))
		}
		rows := make([]*views.JobRow, min(len(l.rows), max(height, 1)))
		for i := range rows {
			r := *l.rows[i]
			r.Now = now
			rows[i] = &r
		}
		lo := views.LineOptions{Wide: o.Output.Format == "wide", NoHeaders: o.Output.NoHeaders, Width: width}
		lines, next := views.JobsScreen(append(rows, l.rows[len(rows):]...), o.All, foot, lo, height)
		if l.lost != nil {
			next = time.Second
		}
		return lines, next
	}
}
