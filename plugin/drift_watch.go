package plugin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// driftState is what one look gave. When a look fails, the reports are those of the last that did not.
type driftState struct {
	reports []drift.Report
	at      time.Time
	err     error
}

// watchDrift looks again and again until it is interrupted: on a terminal in place, else it prints what changed.
func (f *Factory) watchDrift(ctx context.Context, o driftOptions, look func(context.Context) ([]drift.Report, error)) error {
	first, err := look(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	work := func(ctx context.Context, show func(driftState)) error {
		s := driftState{reports: first, at: f.Now()}
		for {
			show(s)
			if !pause(ctx, topEvery) {
				return ctx.Err()
			}
			reports, err := look(ctx)
			if s.err = err; err == nil {
				s.reports, s.at = reports, f.Now()
			}
		}
	}
	if isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		return f.drawDrift(ctx, o, work)
	}
	return interrupted(ctx, work(ctx, f.driftLog(o)))
}

// drawDrift draws pages in place.
func (f *Factory) drawDrift(ctx context.Context, o driftOptions, work func(context.Context, func(driftState)) error) error {
	return f.drawInPlace(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		return work(ctx, func(s driftState) { show(o.frame(s)) })
	})
}

// frame draws a state on a screen.
func (o driftOptions) frame(s driftState) tui.Frame {
	return func(width, height int, now time.Time) ([]views.Line, time.Duration) {
		lines := o.page(s.reports, views.LineOptions{Wide: o.Output.Format == "wide", NoHeaders: o.Output.NoHeaders, Width: width}, now)
		var foot []views.Line
		if s.err != nil {
			first, _, _ := strings.Cut(clean(s.err.Error()), "\n")
			foot = []views.Line{{views.Toned("as of "+views.Age(now.Sub(s.at))+" ago: "+first, views.Warn)}}
		}
		if room := height - len(foot); height > 0 && len(lines) > room {
			lines = append(lines[:max(room-1, 0)], views.Line{views.Toned("… more, in a taller window or with --feature", views.Dim)})
		}
		lines = append(lines, foot...)
		for i := range lines {
			lines[i] = lines[i].Cut(width)
		}
		return lines, topEvery
	}
}

// driftLog prints each page that says something else than the last one, ages apart.
func (f *Factory) driftLog(o driftOptions) func(driftState) {
	var last []string
	said := ""
	return func(s driftState) {
		if s.err != nil {
			if text := clean(s.err.Error()); text != said {
				said = text
				f.say("%s", text)
			}
			return
		}
		said = ""
		lines := o.page(s.reports, f.layout(o.Output), s.at)
		texts := make([]string, len(lines))
		for i, l := range o.page(s.reports, f.layout(o.Output), time.Time{}) {
			texts[i] = l.Text()
		}
		if slices.Equal(texts, last) {
			return
		}
		if last != nil {
			lines = append([]views.Line{{}}, lines...)
		}
		last = texts
		_ = f.lines(lines)
	}
}
