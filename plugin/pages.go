package plugin

import (
	"context"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// askingAfter is how long a person waits before being told what for.
const askingAfter = time.Second

// sayAsking says that Prometheus is being asked when it takes long. The function it returns ends that.
func (f *Factory) sayAsking(ctx context.Context) func() {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if pause(ctx, askingAfter) && f.Interactive() {
			f.say("Asking Prometheus ...")
		}
	}()
	return func() {
		stop()
		<-done
	}
}

// printPage prints one look.
func (f *Factory) printPage(p topPage, o output) error {
	if len(p.items) > 0 || !o.table() {
		if err := f.list(o, p.items, p.table); err != nil {
			return err
		}
		if o.table() && p.foot != nil {
			if err := f.lines(p.foot(f.layout(output{}))); err != nil {
				return err
			}
		}
	}
	for _, n := range p.notes {
		f.say("%s", clean(n))
	}
	return nil
}

// watchPages looks again and again until it is interrupted: on a terminal in place, else one page after the other where
// something changed. A look that fails leaves the last page and says so; the first one must succeed.
func (f *Factory) watchPages(ctx context.Context, look func(context.Context) (topPage, error), o output) error {
	p, err := look(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	if isTerminal(f.Out) && isTerminal(f.In) && f.Getenv("TERM") != "dumb" {
		return f.drawPages(ctx, p, look, o)
	}
	last, said := "", map[string]bool{}
	for {
		if err != nil {
			f.say("%s", clean("warning: "+err.Error()))
		} else {
			for i, n := range p.notes {
				if said[n] {
					p.notes[i] = ""
				}
				said[n] = true
			}
			last = f.printChanged(p, o, last)
		}
		if !pause(ctx, topEvery) {
			return interrupted(ctx, ctx.Err())
		}
		p, err = look(ctx)
	}
}

// printChanged prints a page that differs from the last one, and returns it.
func (f *Factory) printChanged(p topPage, o output, last string) string {
	lines := p.table().Lines(f.layout(o))
	if p.foot != nil {
		lines = append(lines, p.foot(f.layout(output{}))...)
	}
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.Text())
	}
	text := strings.Join(texts, "\n")
	if text == last {
		return last
	}
	if last != "" {
		lines = append([]views.Line{{}}, lines...)
	}
	_ = f.lines(lines)
	for _, n := range p.notes {
		if n != "" {
			f.say("%s", clean(n))
		}
	}
	return text
}

// drawPages draws pages in place.
func (f *Factory) drawPages(ctx context.Context, p topPage, look func(context.Context) (topPage, error), o output) error {
	return f.drawInPlace(ctx, func(ctx context.Context, show func(tui.Frame)) error {
		since := f.Now()
		var failed error
		for {
			show(pageFrame(p, o, failed, since))
			if !pause(ctx, topEvery) {
				return ctx.Err()
			}
			next, err := look(ctx)
			if failed = err; err == nil {
				p, since = next, f.Now()
			}
		}
	})
}

// pageFrame draws a page on a screen, and below it why it is old.
func pageFrame(p topPage, o output, failed error, since time.Time) tui.Frame {
	return func(width, height int, now time.Time) ([]views.Line, time.Duration) {
		var foot []views.Line
		if p.foot != nil {
			foot = p.foot(views.LineOptions{Width: width})
		}
		for _, n := range p.notes {
			first, _, _ := strings.Cut(n, "\n")
			foot = append(foot, views.Line{views.Toned(views.Sanitize(first), views.Dim)})
		}
		if failed != nil {
			first, _, _ := strings.Cut(failed.Error(), "\n")
			foot = append(foot, views.Line{views.Toned(views.Age(now.Sub(since))+" old: "+views.Sanitize(first), views.Bad)})
		}
		lo := views.LineOptions{Wide: o.Format == "wide", NoHeaders: o.NoHeaders, Width: width}
		return views.Screen(p.table(), foot, lo, height), topEvery
	}
}
