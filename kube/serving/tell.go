package serving

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// What a rollout tells the registry, each once: that it begins, how it ended, and the alias that moves with it.
const (
	tellBegin = "begin"
	tellEnd   = "end"
	tellAlias = "alias"
)

// untold are the things that are to be told as the rollout stands, in order. selector is the side that the Service has.
func (r *record) untold(selector string) (out []string) {
	serves := r.State == healthy || r.State == switched && selector == r.New
	add := func(what string, due bool) {
		if due && !slices.Contains(r.Told, what) {
			out = append(out, what)
		}
	}
	add(tellBegin, true)
	add(tellEnd, r.State.ended() || serves)
	add(tellAlias, r.Alias != "" && serves)
	return out
}

// event is a line of the model's history. It is the same whoever writes it and whenever: by that the registry knows
// a line that it has.
func (l *live) event(what string) registry.Event {
	r := l.rec
	e := registry.Event{
		At: r.Started, By: r.By, Action: registry.Deploying, Version: r.To, From: r.From, Comment: r.Comment,
		Target: "deployment/" + l.name, Namespace: l.c.Namespace, Strategy: string(r.Strategy), Digest: r.Digest, Run: r.Run,
	}
	serving := sideStable
	if r.Strategy == pipeline.BlueGreen {
		serving = r.New
		e.Target = "deployment/" + deploymentName(l.name, r.New)
	}
	if d := l.sides[serving]; d != nil {
		e.UID = string(d.UID)
	}
	if what == tellBegin {
		// The new colour may not be there yet, and an event must not differ between those who write it.
		if r.Strategy == pipeline.BlueGreen {
			e.UID = ""
		}
		return e
	}
	e.At, e.Image = r.Since, r.Image
	switch r.State {
	case aborted:
		e.Action = registry.Aborted
		if r.Stop != nil {
			e.By, e.Comment = r.Stop.By, r.Stop.Comment
		}
	case failed:
		e.Action, e.Comment = registry.Failed, r.Fault
	default:
		e.Action = registry.Deployed
	}
	return e
}

// ledger is the registry as rollouts use it.
type ledger interface {
	// record appends an event unless the history has it already.
	record(ctx context.Context, model string, e registry.Event) error
	move(ctx context.Context, m registry.Move) error
}

// book is the registry of the cluster.
type book struct{ c *client.Client }

func (b book) record(ctx context.Context, model string, e registry.Event) error {
	return registry.Record(ctx, b.c, model, e)
}

// move sets an alias unless it is there already: who comes second must not write a second line.
func (b book) move(ctx context.Context, m registry.Move) error {
	h, err := registry.GetHead(ctx, b.c, m.Model)
	if err == nil && h.Aliases[m.Alias] == m.To {
		return nil
	}
	_, err = registry.SetAlias(ctx, b.c, m)
	return err
}

// tell writes the first thing that is not told yet and notes it. What the registry refuses for good becomes a warning:
// a rollout does not stop halfway because its history cannot be written.
func (l *live) tell(ctx context.Context, to ledger, what string) error {
	r := l.rec
	var err error
	if what == tellAlias {
		err = to.move(ctx, registry.Move{
			Model: r.Model, Alias: r.Alias, To: r.To, Action: registry.Promoted, By: r.By, Run: r.Run,
			Comment: "deployed as " + l.event(tellEnd).Target,
		})
	} else {
		err = to.record(ctx, r.Model, l.event(what))
	}
	out := r.clone()
	if err != nil {
		if client.Transient(err) || apierrors.IsConflict(err) || errors.Is(err, context.Canceled) {
			return err
		}
		text := "the model's history lacks this rollout: "
		if what == tellAlias {
			text = "alias " + r.Alias + " has not moved: "
		}
		out.Warnings = append(out.Warnings, text+err.Error())
	}
	out.Told = append(out.Told, what)
	return l.save(ctx, out)
}

// Times of the loop: how long until the next look, and how the wait grows while the server is away.
const (
	lookAgain  = time.Second
	retryFirst = 500 * time.Millisecond
	retryMost  = 8 * time.Second
)
