package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// changeOptions are what all verbs that change a model take.
type changeOptions struct {
	Comment string
	DryRun  dryRun
	Output  output
}

func (o *changeOptions) add(c *cobra.Command) {
	c.Flags().StringVar(&o.Comment, "comment", "", "a `text` for the history")
	o.DryRun.add(c)
	o.Output.add(c, false)
}

func (o *changeOptions) check() error { return errors.Join(o.Output.check(), o.DryRun.check()) }

// begin checks the options, reads the reference and connects.
func (o *changeOptions) begin(f *Factory, ref string) (*client.Client, registry.Ref, error) {
	if err := o.check(); err != nil {
		return nil, registry.Ref{}, err
	}
	r, err := registry.ParseRef(ref)
	if err != nil {
		return nil, r, err
	}
	c, err := f.Client()
	return c, r, err
}

// mark signs a change with the name that the API server knows the caller by.
func (o *changeOptions) mark(ctx context.Context, f *Factory, c *client.Client) registry.Mark {
	return registry.Mark{By: c.WhoAmI(ctx), At: f.Now(), Comment: o.Comment}
}

// changed prints what an event did: as a line, or the event itself.
func (o *changeOptions) changed(f *Factory, c *client.Client, model string, e registry.Event) error {
	r := registry.Ref{Model: model, Version: e.Version}
	if !o.Output.table() {
		return f.one(o.Output, item{kind: "ModelEvent", name: r.String(), ref: modelRef + r.String(), namespace: c.Namespace, created: e.At, fact: e})
	}
	f.print("%s%s%s\n", modelRef, eventText(model, e), o.DryRun.suffix())
	return nil
}

// eventText says what an event did.
func eventText(model string, e registry.Event) string {
	version := registry.Ref{Model: model, Version: e.Version}.String()
	alias := registry.Ref{Model: model, Alias: e.Alias}.String()
	switch {
	case e.Alias == "" && e.At.IsZero():
		return fmt.Sprintf("%s unchanged: it is %s already", version, e.Action)
	case e.Alias == "":
		return version + " " + string(e.Action)
	case e.Version == 0:
		return fmt.Sprintf("%s removed (it was %d)", alias, e.From)
	case e.From == e.Version:
		return fmt.Sprintf("%s unchanged: it is %d already", alias, e.Version)
	case e.Action == registry.RolledBack:
		return fmt.Sprintf("%s rolled back from %d to %d", alias, e.From, e.Version)
	case e.Action == registry.Promoted && e.From == 0:
		return fmt.Sprintf("%s promoted to %s", version, e.Alias)
	case e.Action == registry.Promoted:
		return fmt.Sprintf("%s promoted to %s, in place of %d", version, e.Alias, e.From)
	case e.From == 0:
		return fmt.Sprintf("%s set to %d", alias, e.Version)
	}
	return fmt.Sprintf("%s moved from %d to %d", alias, e.From, e.Version)
}

// next proposes a command, on the error stream, where people read the output and something was changed.
func (o *changeOptions) next(f *Factory, what, format string, args ...any) {
	if o.Output.table() && !o.DryRun.dry() {
		f.say("%s:  kubectl ml %s%s", what, fmt.Sprintf(format, args...), f.where())
	}
}

// compareAliased shows on the error stream how a version differs from the one that an alias names.
func (f *Factory) compareAliased(to registry.Version, from *registry.Version, better map[string]registry.Direction, alias string) error {
	head := fmt.Sprintf("%s of %s: none yet", alias, to.Model)
	if from != nil {
		head = fmt.Sprintf("%s of %s: %d -> %d", alias, to.Model, from.Version, to.Version)
	}
	f.say("%s", clean(head))
	if to.Approval != nil {
		f.say("  %s", clean(strings.TrimSpace(to.Approval.State+" by "+to.Approval.By+" "+to.Approval.Comment)))
	}
	for _, p := range to.Problems {
		f.say("  warning: %s", clean(p))
	}
	if from == nil {
		return nil
	}
	d := registry.Compare(*from, to, better)
	if len(d.Metrics) == 0 {
		f.say("  No metrics are known of either.")
		return nil
	}
	// Of a whole diff only the metrics are looked at before a promotion.
	short := registry.Diff{From: d.From, To: d.To, Differs: true, Metrics: d.Metrics}
	return writeLines(f.ErrOut, views.ModelDiff(short, f.Now(), views.LineOptions{Width: width(f.ErrOut)}), f.palette(f.ErrOut))
}
