package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type auditOptions struct {
	// Since, Until and At are times as the flags have them.
	Since, Until, At  string
	Model, Who, Alias string
	All               bool
	Output            output
}

func newAuditCmd(f *Factory, do func(context.Context, *Factory, auditOptions) error) *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Show who changed which model when, or what was in production at a moment",
		GroupID: groupModel,
		Long: `Show every change of all models, newest first: who registered, judged, promoted, rolled back, deployed or deleted what,
when, from where and in which words. With --at show instead how all models stood at a moment: where each alias pointed
and what served which version.

Times are yours: those without a zone are read, and all are shown, in the local time zone, which the headings name
(TZ=UTC changes it). A day given as --until counts to its end. The order of the lines of one model is certain; their
times are by the clocks of those who wrote them. Where lines are missing, or clocks disagree about the moment, a warning
says so, and SURE is no.

The history stands in ConfigMaps: who may write those can forge it. Proof is the audit log of the cluster.`,
		Example: `  kubectl ml audit --since 7d
  kubectl ml audit --at "2026-11-03 12:00" --alias production
  kubectl ml audit -A --who alice --since 2026-11-01 --until 2026-11-30 -o json
  kubectl ml audit --model house-prices -o wide`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	fl := c.Flags()
	fl.StringVar(&o.Since, "since", "", timeHelp("only changes from this `time` on"))
	fl.StringVar(&o.Until, "until", "", "only changes before this `time`, a day counting to its end")
	fl.StringVar(&o.At, "at", "", "show how all stood at this `time`")
	fl.StringVar(&o.Model, "model", "", "only this `model`")
	fl.StringVar(&o.Who, "who", "", "only changes of users whose name has this `text` in it")
	fl.StringVar(&o.Alias, "alias", "", "only this `alias`, such as production")
	fl.BoolVarP(&o.All, "all-namespaces", "A", false, "look into all namespaces")
	_ = c.RegisterFlagCompletionFunc("model", func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return f.ask(c, f.modelNames, prefix)
	})
	o.Output.add(c, true)
	return c
}

// filter is what the flags choose, and the moment of --at.
func (o auditOptions) filter(now time.Time) (registry.Filter, time.Time, error) {
	f := registry.Filter{Who: o.Who, Alias: o.Alias}
	var at time.Time
	var errs [3]error
	f.Since, errs[0] = timeFlag("since", o.Since, now)
	f.Until, errs[1] = endFlag("until", o.Until, now)
	at, errs[2] = timeFlag("at", o.At, now)
	if err := errors.Join(errs[:]...); err != nil {
		return f, at, err
	}
	switch {
	case o.At != "" && (o.Since != "" || o.Until != "" || o.Who != ""):
		return f, at, errors.New("--at asks how all stood at a moment: --since, --until and --who choose among changes, so leave them out")
	case at.After(now):
		return f, at, fmt.Errorf("--at %s is in the future", at.Format(time.RFC3339))
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return f, at, fmt.Errorf("nothing can be between --since %s and --until %s", o.Since, o.Until)
	}
	return f, at, nil
}

func runAudit(ctx context.Context, f *Factory, o auditOptions) error {
	filter, at, err := o.filter(f.Now())
	if err := errors.Join(o.Output.check(), err); err != nil {
		return err
	}
	if o.Model != "" {
		ref, err := registry.ParseRef(o.Model)
		if err != nil {
			return fmt.Errorf("--model: %w", err)
		}
		o.Model = ref.Model
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	logs, err := registry.Logs(ctx, c, registry.LogOptions{Model: o.Model, AllNamespaces: o.All, Live: o.At != ""})
	if err != nil {
		return err
	}
	switch {
	case len(logs) == 0 && o.Output.table():
		return f.nothing(ctx, c, "models", o.All)
	case o.At != "":
		return f.standing(o, logs, at)
	}
	return f.events(o.Output, logs, filter, true, o.All)
}

// standing prints how models stood at a moment.
func (f *Factory) standing(o auditOptions, logs []registry.Log, at time.Time) error {
	var list []registry.Standing
	for _, l := range logs {
		s := registry.At(l, at)
		if !s.Known() {
			continue
		}
		if o.Alias != "" {
			s.Aliases = slices.DeleteFunc(s.Aliases, func(a registry.AliasAt) bool { return a.Alias != o.Alias })
		}
		list = append(list, s)
	}
	now := f.Now()
	if !o.Output.table() || o.Output.Format == "name" {
		items := make([]item, len(list))
		for i, s := range list {
			items[i] = item{kind: "ModelStanding", name: s.Model, namespace: s.Namespace, fact: s, ref: modelRef + s.Model}
		}
		return f.list(o.Output, items, nil)
	}
	f.say("As of %s %s, %s ago:", at.In(now.Location()).Format(time.DateTime), views.Zone(at.In(now.Location())), views.Age(now.Sub(at)))
	aliases, serving := views.AliasesAt(list, o.All, now), views.ServingAt(list, o.All, now)
	lo := f.layout(o.Output)
	var lines []views.Line
	if len(aliases.Rows) > 0 {
		lines = aliases.Lines(lo)
	}
	if len(serving.Rows) > 0 && o.Alias == "" {
		if len(lines) > 0 {
			lines = append(lines, views.Line{})
		}
		lines = append(lines, serving.Lines(lo)...)
	}
	if len(lines) == 0 {
		f.say("No alias pointed anywhere, and nothing was served, as far as is written down.")
	}
	if err := f.lines(lines); err != nil {
		return err
	}
	for _, s := range list {
		f.doubt(s.Model, s.Doubts)
	}
	return nil
}
