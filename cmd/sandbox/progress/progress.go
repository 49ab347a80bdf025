// Package progress is the room for what a waiting person sees: one line a step, with the time it
// took. On a terminal the line of the running step counts the seconds; elsewhere there are only
// whole lines.
package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Printer prints steps.
type Printer struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
}

// New makes a printer that writes to w.
func New(w io.Writer, terminal bool, now func() time.Time) *Printer {
	return &Printer{w: w, terminal: terminal, now: now}
}

// Note prints a line.
func (p *Printer) Note(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, "  "+format+"\n", args...)
}

// Do runs one step and shows it.
func (p *Printer) Do(ctx context.Context, name string, step func(context.Context) error) error {
	start := p.now()
	done := make(chan error, 1)
	go func() { done <- step(ctx) }()

	every := 30 * time.Second
	if p.terminal {
		every = time.Second
		_, _ = fmt.Fprintf(p.w, "  %-36s", name)
	}
	soon := time.NewTimer(3 * time.Second) // a quick step is one line, a slow one says at once what it is
	defer soon.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			p.finish(name, p.now().Sub(start), err)
			return err
		case <-soon.C:
			if !p.terminal {
				p.Note("%s ...", name)
			}
		case <-tick.C:
			took := p.now().Sub(start).Round(time.Second)
			if p.terminal {
				_, _ = fmt.Fprintf(p.w, "\r  %-36s %7s", name, took)
			} else {
				p.Note("%s ... %s", name, took)
			}
		}
	}
}

func (p *Printer) finish(name string, took time.Duration, err error) {
	start, word := "", ""
	if p.terminal {
		start = "\r"
	}
	switch {
	case errors.Is(err, context.Canceled):
		word = " interrupted"
	case err != nil:
		word = " failed"
	}
	_, _ = fmt.Fprintf(p.w, "%s  %-36s %7s%s\n", start, name, took.Round(100*time.Millisecond), word)
}
