package plugin

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
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
	var m more
	look := func(ctx context.Context, show func(jobsLook) error) error { return f.lookAtJobs(ctx, c, o, w, m, show) }
	if o.Output.table() && isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		return f.drawJobs(ctx, o, s.Problems, look)
	}
	if o.details() { // what is printed stands, so that it is worth waiting for
		chosen, _ := o.choose(s.Works)
		m = f.moreOf(ctx, c, o, chosen, f.askUsage(ctx, c, o))
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

// lookAtJobs shows what a Watcher sees, whenever that changes, until ctx ends. m is what is known beside that.
func (f *Factory) lookAtJobs(ctx context.Context, c *client.Client, o jobsOptions, w *fleet.Watcher, m more, show func(jobsLook) error) error {
	var works atomic.Pointer[[]*fleet.Work]
	news := make(chan func(*more))
	for begun := false; ; begun = true {
		s := w.Snapshot()
		chosen, _ := o.choose(s.Works)
		works.Store(&chosen)
		if !begun && o.details() {
			go f.keepLogs(ctx, c, &works, news)
			go f.keepUsage(ctx, c, o, &works, news)
		}
		l := jobsLook{rows: m.rows(chosen, f.Now()), all: s.Works, problems: s.Problems}
		if err := o.sort(l.rows); err != nil {
			return err
		}
		if since, lost, why := w.Lost(); lost {
			l.lost, l.since = cmp.Or(why, errAway), since
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
		case update := <-news:
			update(&m)
		case <-t.C:
		case <-w.Changed():
			pause(ctx, watchSettle)
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

var errAway = errors.New("the API server does not answer")

// running says that there is something to ask logs and Prometheus about.
func running(works []*fleet.Work) bool {
	return slices.ContainsFunc(works, func(w *fleet.Work) bool { return w.State == job.Running })
}

// keepLogs reads the ends of logs again and again, and gives what they tell.
func (f *Factory) keepLogs(ctx context.Context, c *client.Client, works *atomic.Pointer[[]*fleet.Work], news chan<- func(*more)) {
	for again := true; again; again = pause(ctx, watchLogs) {
		list := *works.Load()
		if !running(list) {
			continue
		}
		told := fleet.Progress(ctx, c, list, logsTime)
		select {
		case news <- func(m *more) { m.progress = merged(m.progress, told, list) }:
		case <-ctx.Done():
		}
	}
}

// keepUsage asks Prometheus again and again, and gives what it answers.
func (f *Factory) keepUsage(ctx context.Context, c *client.Client, o jobsOptions, works *atomic.Pointer[[]*fleet.Work], news chan<- func(*more)) {
	prometheus := f.meter(c, o.Prometheus, o.fleet(c).Namespace, 0)
	for again := true; again; again = pause(ctx, watchUsage) {
		if !running(*works.Load()) {
			continue
		}
		answer := prometheus.measure(ctx)
		select {
		case news <- func(m *more) { m.usage = metrics.ByPod(answer.Devices) }:
		case <-ctx.Done():
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
	return f.drawInPlace(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		return look(ctx, func(l jobsLook) error {
			show(l.frame(o, told))
			return nil
		})
	})
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
