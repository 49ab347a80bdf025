package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/tui"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// followOptions say how a run is followed to its end.
type followOptions struct {
	// Drive takes the run forward; without it the run is only watched.
	Drive bool
	// Limit bounds the watching of a run that is not driven, 0 is without.
	Limit  time.Duration
	Output output
}

// follow shows a run until it ends or needs a person, prints it, and gives its verdict as an error with an exit code.
func (f *Factory) follow(ctx context.Context, c *client.Client, name string, o followOptions) error {
	look := func(ctx context.Context, show func(run.Update)) (run.Run, error) {
		if o.Drive {
			return run.Drive(ctx, c, name, show)
		}
		return run.Wait(ctx, c, name, o.Limit, show)
	}
	show := f.followPlain
	if f.Interactive() {
		show = f.followLive
	}
	r, err := show(ctx, c, name, o.Drive, look)
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		f.sayLeft(name, o.Drive && !r.Detached)
		return &CodeError{Code: ExitInterrupted}
	}
	if err != nil {
		if r.Record != nil && !o.Output.table() {
			_ = f.one(o.Output, runItem(r))
		}
		return waited(err)
	}
	return f.verdict(r, o.Output)
}

// verdict prints how a run ended, with what to do next, and gives the exit code.
func (f *Factory) verdict(r run.Run, o output) error {
	if !o.table() {
		if err := f.one(o, runItem(r)); err != nil {
			return err
		}
		return exitFor(r.State)
	}
	line := fmt.Sprintf("run/%s %s", r.Name, strings.ToLower(stateText(r.State)))
	if r.Message != "" {
		line += ": " + views.SanitizeLine(r.Message)
	}
	f.print("%s\n", line)
	for _, hint := range hints(r, f.where()) {
		f.say("%s", hint)
	}
	return exitFor(r.State)
}

// stateText is a state in words.
func stateText(s run.State) string {
	switch s {
	case run.GateFailed:
		return "gate failed"
	case run.AwaitingApproval:
		return "awaits approval"
	case run.TimedOut:
		return "timed out"
	}
	return string(s)
}

// hints are the next commands that make sense for a run that rests; where are the flags that lead to it.
func hints(r run.Run, where string) []string {
	var bad *run.Stage
	for i := range r.Now {
		switch r.Now[i].State {
		case run.Failed, run.GateFailed, run.AwaitingApproval:
			if bad == nil {
				bad = &r.Now[i]
			}
		}
	}
	switch {
	// A gate of such a run can be passed only after a retry.
	case r.State == run.Cancelled || r.State == run.TimedOut && (bad == nil || bad.State != run.Failed):
		return []string{"Start what is missing again with:  kubectl ml retry " + r.Name + where}
	case bad == nil:
		return modelHints(r, where)
	case bad.State == run.Failed && bad.Reason == "NotStarted":
		// There are no logs of what never was.
		return []string{"Try again with:  kubectl ml retry " + r.Name + where}
	case bad.State == run.Failed:
		return []string{
			fmt.Sprintf("See why with:  kubectl ml logs %s/%s%s", r.Name, bad.Name, where),
			"Try again with:  kubectl ml retry " + r.Name + where,
		}
	}
	return []string{fmt.Sprintf("Let it pass with:  kubectl ml resume %s --approve %s --reason TEXT%s", r.Name, bad.Name, where)}
}

// modelHints are what can be done with the models that a run has registered, or should have.
func modelHints(r run.Run, where string) []string {
	var out []string
	for _, st := range r.Now {
		switch g := st.Registered; {
		case g == nil || st.State != run.Succeeded:
		case g.Version == 0:
			out = append(out, fmt.Sprintf("The model of stage %s was not registered: %s\nDo it by hand with:  kubectl ml register %s --from %s/%s%s", st.Name, views.SanitizeLine(g.Failed), g.Model, r.Name, st.Name, where))
		default:
			out = append(out, fmt.Sprintf("Registered %s. See it with:  kubectl ml model show %s%s", g.Ref(), g.Ref(), where))
		}
	}
	return out
}

func (f *Factory) sayLeft(name string, stalls bool) {
	at := name + f.where()
	if stalls {
		f.say("Left run %s: what runs goes on, but nothing starts the next stage.\nContinue with:  kubectl ml resume %s\nEnd it with:  kubectl ml cancel %s", name, at, at)
		return
	}
	f.say("Left run %s, which goes on. See it with:  kubectl ml status %s -w", name, at)
}

type looker func(ctx context.Context, show func(run.Update)) (run.Run, error)

// followPlain prints a line for each event.
func (f *Factory) followPlain(ctx context.Context, _ *client.Client, _ string, _ bool, look looker) (run.Run, error) {
	var before *run.Run
	lost := false
	p := f.palette(f.ErrOut)
	return look(ctx, func(u run.Update) {
		if u.Lost != nil {
			if !lost {
				f.say("%s", clean("the API server is away, trying again: "+firstLine(u.Lost)))
			}
			lost = true
			return
		}
		if lost {
			f.say("the API server is back")
			lost = false
		}
		_ = writeLines(f.ErrOut, views.RunEvents(before, u.Run), p)
		before = &u.Run
	})
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// followLive draws the tree in place.
func (f *Factory) followLive(ctx context.Context, c *client.Client, name string, drive bool, look looker) (run.Run, error) {
	p := f.palette(f.ErrOut)
	live := tui.Live{
		In: f.In, Out: f.ErrOut, Env: os.Environ(), Now: f.Now, CanCancel: drive,
		Paint: func(l views.Line) string {
			var b strings.Builder
			p.write(&b, l)
			return b.String()
		},
	}
	r, choice, err := live.Show(ctx, func(ctx context.Context, show func(run.Update), progress func(string, job.Progress)) (run.Run, error) {
		ctx, stop := context.WithCancel(ctx)
		var tails sync.WaitGroup
		tails.Go(func() {
			run.Progress(ctx, c, name, func(stage string, child int, p job.Progress) { progress(views.ProgressKey(stage, child), p) })
		})
		defer tails.Wait()
		defer stop()
		return look(ctx, show)
	})
	switch choice {
	case tui.Leave:
		return r, context.Canceled
	case tui.CancelRun:
		return f.cancelNow(ctx, c, name)
	}
	return r, err
}

// cancelNow ends a run and waits until that is recorded.
func (f *Factory) cancelNow(ctx context.Context, c *client.Client, name string) (run.Run, error) {
	if _, err := run.Cancel(ctx, c, name, run.Mark{By: c.WhoAmI(ctx), At: f.Now().UTC()}, nil); err != nil {
		return run.Run{}, err
	}
	return run.Drive(ctx, c, name, func(run.Update) {})
}
