package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type modelHistoryOptions struct {
	Model, Since string
	Output       output
}

func newModelHistoryCmd(f *Factory, do func(context.Context, *Factory, modelHistoryOptions) error) *cobra.Command {
	var o modelHistoryOptions
	c := &cobra.Command{
		Use:   "history MODEL",
		Short: "Show every change of a model, newest first",
		Long: `Show every change of a model, newest first: versions that were registered, approved and archived, aliases that moved,
deployments that began, ended and went. FROM and TO are versions. The order is that in which the lines were written;
the times are by the clocks of those who wrote them.

"kubectl ml audit" shows all models, and how they stood at a moment.`,
		Example: `  kubectl ml model history house-prices
  kubectl ml model history house-prices --since 7d -o wide`,
		Args:              exactlyOne("MODEL"),
		RunE:              func(c *cobra.Command, args []string) error { o.Model = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeModels,
	}
	c.Flags().StringVar(&o.Since, "since", "", timeHelp("only what happened from this `time` on"))
	o.Output.add(c, true)
	return c
}

func runModelHistory(ctx context.Context, f *Factory, o modelHistoryOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	ref, err := registry.ParseRef(o.Model)
	if err != nil {
		return err
	}
	if ref.Version > 0 || ref.Alias != "" {
		return fmt.Errorf("a history is that of a whole model: name it as %s", ref.Model)
	}
	var filter registry.Filter
	if filter.Since, err = timeFlag("since", o.Since, f.Now()); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	logs, err := registry.Logs(ctx, c, registry.LogOptions{Model: ref.Model})
	if err != nil {
		return err
	}
	return f.events(o.Output, logs, filter, false, false)
}

// eventFact is an entry for machines. What it says of its target has names of its own: in an object of Kubernetes
// namespace and uid are the object's.
type eventFact struct {
	registry.Entry
	TargetNamespace string `json:"targetNamespace,omitempty"`
	TargetUID       string `json:"targetUID,omitempty"`
}

// events prints what the filter takes of some histories.
func (f *Factory) events(o output, logs []registry.Log, filter registry.Filter, models, namespaces bool) error {
	entries := registry.Select(logs, filter)
	if len(entries) == 0 && o.table() {
		f.say("Nothing was written down that matches.")
	} else {
		items := make([]item, len(entries))
		for i, e := range entries {
			items[i] = item{
				kind: "ModelEvent", name: e.Model, namespace: e.Room, created: e.At, fact: eventFact{e, e.Namespace, e.UID},
				ref: modelRef + registry.Ref{Model: e.Model, Version: e.Version}.String(),
			}
		}
		if err := f.list(o, items, func() views.Table { return views.History(entries, models, namespaces, f.Now()) }); err != nil {
			return err
		}
	}
	for _, l := range logs {
		for _, p := range l.Problems {
			f.doubt(l.Model, []string{p.What})
		}
	}
	return nil
}
