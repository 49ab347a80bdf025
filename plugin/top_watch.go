package plugin

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// topEvery is how often Prometheus is asked again, and ages are told anew; topLeast is the least time between two pages
// that are printed one after the other.
const (
	topEvery = 15 * time.Second
	topLeast = 2 * time.Second
)

// topState is all that a page is made of.
type topState struct {
	fleet    *fleet.Snapshot
	measured measurement
	// lost says that the server is away, since when nothing was heard of it.
	lost  bool
	since time.Time
}

// watchTop shows pages until it is interrupted: on a terminal in place, else one after the other.
func (f *Factory) watchTop(ctx context.Context, c *client.Client, o topOptions, read fleet.Options, m *meter) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w, err := readyFleet(ctx, c, read)
	if err != nil {
		return interrupted(ctx, err)
	}
	if _, err := o.page(w.Snapshot(), measurement{}, f.Now()); err != nil {
		return err
	}
	if isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		return f.drawTop(ctx, o, func(ctx context.Context, show func(topState)) error { return follow(ctx, w, m, show) })
	}
	return interrupted(ctx, follow(ctx, w, m, f.topLog(o)))
}

// readyFleet is a fleet that is watched, once it was read; see readFleet.
func readyFleet(ctx context.Context, c *client.Client, o fleet.Options) (*fleet.Watcher, error) {
	first, stop := context.WithCancel(ctx)
	w := fleet.Watch(first, c, o)
	if err := w.Ready(ctx); err != nil {
		stop()
		return nil, err
	}
	problems := w.Snapshot().Problems
	if o.Nodes && o.Namespace == "" && fleet.Unread(problems, "pods") != nil {
		stop()
		o.Namespace = c.Namespace
		return readyFleet(ctx, c, o)
	}
	context.AfterFunc(ctx, stop)
	if o.Nodes {
		if err := fleet.Unread(problems, "nodes"); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// follow shows the state of a fleet after each answer of Prometheus, the first of which it awaits, and whenever it
// changed, until ctx ends.
func follow(ctx context.Context, w *fleet.Watcher, m *meter, show func(topState)) error {
	answers := make(chan measurement)
	go func() {
		for {
			got := m.ask(ctx)()
			select {
			case answers <- got:
			case <-ctx.Done():
				return
			}
			if !pause(ctx, topEvery) {
				return
			}
		}
	}()
	var s topState
	select {
	case s.measured = <-answers:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		s.fleet = w.Snapshot()
		s.since, s.lost, _ = w.Lost()
		show(s)
		select {
		case s.measured = <-answers:
		case <-w.Changed():
			if !pause(ctx, watchSettle) {
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		s.fleet = w.Snapshot()
		s.since, s.lost, _ = w.Lost()
		show(s)
	}
}

// pause waits; it is false when ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// drawInPlace shows frames on the terminal until the work ends or the person leaves.
func (f *Factory) drawInPlace(ctx context.Context, work func(context.Context, func(tui.Frame)) error) error {
	p := f.palette(f.Out)
	table := tui.Table{
		In: f.In, Out: f.Out, Env: os.Environ(), Now: f.Now,
		Paint: func(l views.Line) string {
			var b strings.Builder
			p.write(&b, l)
			return b.String()
		},
	}
	left, err := table.Show(ctx, work)
	if left {
		return &CodeError{Code: ExitInterrupted}
	}
	return interrupted(ctx, err)
}

// drawTop draws pages in place.
func (f *Factory) drawTop(ctx context.Context, o topOptions, work func(context.Context, func(topState)) error) error {
	return f.drawInPlace(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		return work(ctx, func(s topState) { show(o.frame(s)) })
	})
}

// frame draws a state on a screen: what is below the list stays, the list is cut.
func (o topOptions) frame(s topState) tui.Frame {
	return func(width, height int, now time.Time) ([]views.Line, time.Duration) {
		p, err := o.page(s.fleet, s.measured, now)
		if err != nil {
			return []views.Line{{views.Toned(clean(err.Error()), views.Bad)}}, 0
		}
		var foot []views.Line
		if p.foot != nil {
			foot = p.foot(views.LineOptions{Width: width})
		}
		for _, n := range p.notes {
			first, _, _ := strings.Cut(n, "\n")
			foot = append(foot, views.Line{views.Toned(views.Sanitize(first), views.Warn)})
		}
		if s.lost {
			foot = append(foot, views.Lost(now.Sub(s.since)))
		}
		lo := views.LineOptions{Wide: o.Output.Format == "wide", NoHeaders: o.Output.NoHeaders, Width: width}
		return views.Screen(p.table(), foot, lo, height), topEvery
	}
}

// topLog prints each page that differs from the last one, and says each note once.
func (f *Factory) topLog(o topOptions) func(topState) {
	var last []string
	var at time.Time
	said := map[string]bool{}
	say := func(notes ...string) {
		for _, n := range notes {
			if !said[n] {
				said[n] = true
				f.say("%s", clean(n))
			}
		}
	}
	return func(s topState) {
		if s.lost {
			say("the API server is away, trying again")
			return
		}
		if said["the API server is away, trying again"] {
			clear(said)
			say("the API server is back")
		}
		if last != nil && f.Now().Before(at.Add(topLeast)) {
			return // it shows with the next answer of Prometheus
		}
		p, err := o.page(s.fleet, s.measured, f.Now())
		if err != nil {
			say(err.Error())
			return
		}
		say(p.notes...)
		lines := p.table().Lines(f.layout(o.Output))
		if p.foot != nil && !o.Output.NoHeaders {
			lines = append(lines, p.foot(f.layout(output{}))...)
		}
		texts := make([]string, len(lines))
		for i, l := range lines {
			texts[i] = l.Text()
		}
		if slices.Equal(texts, last) {
			return
		}
		if last != nil {
			lines = append([]views.Line{{}}, lines...)
		}
		last, at = texts, f.Now()
		_ = f.lines(lines)
	}
}
