package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type rolloutLooker func(ctx context.Context, c *client.Client, name string, show func(serving.Update)) (serving.Rollout, error)

// followRollout shows a rollout until it ends or needs a person, prints it, and gives its verdict as an error with an
// exit code.
func (f *Factory) followRollout(ctx context.Context, c *client.Client, name string, look rolloutLooker, o output) error {
	var before *serving.Rollout
	lost := false
	p := f.palette(f.ErrOut)
	r, err := look(ctx, c, name, func(u serving.Update) {
		switch {
		case u.Lost != nil && !lost:
			f.say("%s", clean("the API server is away, trying again: "+firstLine(u.Lost)))
		case u.Lost == nil && lost:
			f.say("the API server is back")
		}
		if lost = u.Lost != nil; lost {
			return
		}
		if l := views.RolloutEvent(before, &u.Rollout); l != nil {
			_ = writeLines(f.ErrOut, []views.Line{l}, p)
		}
		before = &u.Rollout
	})
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		at := name + f.where()
		f.say("Left rollout %s: it stays as it is.\nContinue with:  kubectl ml rollout resume %s\nTake it back with:  kubectl ml rollout abort %s", name, at, at)
		return &CodeError{Code: ExitInterrupted}
	}
	if err != nil {
		return err
	}
	return f.rolloutVerdict(r, o)
}

// rolloutVerdict prints how a rollout ended, with what to do next, and gives the exit code.
func (f *Factory) rolloutVerdict(r serving.Rollout, o output) error {
	if !o.table() {
		if err := f.one(o, rolloutItem(r)); err != nil {
			return err
		}
		return exitForRollout(&r)
	}
	line := fmt.Sprintf("deployment/%s %s", r.Name, phaseText(&r))
	if r.Message != "" {
		line += ": " + views.SanitizeLine(r.Message)
	}
	f.print("%s\n", line)
	for _, w := range r.Warnings {
		f.say("warning: %s", clean(w))
	}
	at := r.Name + f.where()
	switch {
	case r.Approval:
		f.say("Let it pass with:  kubectl ml rollout promote %s\nTake it back with:  kubectl ml rollout abort %s", at, at)
	case r.Phase == serving.Failed && r.Strategy == "rolling", r.Phase == serving.Degraded:
		f.say("See why with:  kubectl ml rollout status %s\nGo back with:  kubectl ml rollout undo %s", at, at)
	}
	return exitForRollout(&r)
}

func phaseText(r *serving.Rollout) string {
	switch r.Phase {
	case serving.Healthy:
		return fmt.Sprintf("serves %s", versionRef(r))
	case serving.Paused:
		return fmt.Sprintf("rollout of %s paused at %d%%", versionRef(r), r.Weight)
	case serving.Aborted:
		return fmt.Sprintf("rollout of %s aborted", versionRef(r))
	case serving.Failed:
		return fmt.Sprintf("rollout of %s failed", versionRef(r))
	}
	return fmt.Sprintf("rollout of %s is %s", versionRef(r), r.Phase)
}

// exitForRollout is the verdict of a rollout as an exit code; nil for success.
func exitForRollout(r *serving.Rollout) error {
	switch {
	case r.Approval:
		return &CodeError{Code: ExitApproval}
	case r.GateFailed:
		return &CodeError{Code: ExitGate}
	case r.Phase == serving.Aborted:
		return &CodeError{Code: ExitCancelled}
	case r.Phase == serving.Failed || r.Phase == serving.Degraded:
		return &CodeError{Code: ExitFailed}
	}
	return nil
}
