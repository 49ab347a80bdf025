package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type monitorOptions struct {
	Namespaces bool
	Any        bool
	Measure    measureOptions
	Since      time.Duration
	SLO        time.Duration
	SortBy     string
	Watch      bool
	ASCII      bool
	Output     output
}

func newMonitorCmd(f *Factory, do func(context.Context, *Factory, monitorOptions) error, sources func(context.Context, *Factory, sourcesOptions) error) *cobra.Command {
	var o monitorOptions
	c := &cobra.Command{
		Use:     "monitor",
		Short:   "Show how fast all models answer, in one table",
		GroupID: groupSee,
		Long: `Show each workload that serves models: its version, how long requests take, how many there are and how many fail, as
Prometheus has it. A workload serves models when it has the label kubectl-ml.dev/model or those of KServe and Knative,
or when its pods export the metrics of a serving runtime; --any lists every web server that exports its latency too.

The number of questions does not depend on the number of workloads. See one with: kubectl ml latency NAME`,
		Example: `  kubectl ml monitor
  kubectl ml monitor -A --sort-by -p95
  kubectl ml monitor -w --slo 250ms
  kubectl ml monitor -A -o jsonpath='{range .items[?(@.errors>0.01)]}{.metadata.name}{"\n"}{end}'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	o.Measure.add(c)
	fl := c.Flags()
	fl.BoolVarP(&o.Namespaces, "all-namespaces", "A", false, "look at all namespaces")
	fl.BoolVar(&o.Any, "any", false, "list every web server that exports its latency")
	fl.DurationVar(&o.Since, "since", time.Hour, "how far back `time` the trend is drawn, such as 6h")
	fl.DurationVar(&o.SLO, "slo", 0, "what p95 may be at most, a `time` such as 250ms; more is marked with ! (0: none)")
	fl.StringVar(&o.SortBy, "sort-by", "", "sort by this `column`, also one of -o wide; with a - before it descending (default: name)")
	_ = c.RegisterFlagCompletionFunc("sort-by", completeSort(servingColumns()))
	fl.BoolVarP(&o.Watch, "watch", "w", false, "look again every few seconds")
	fl.BoolVar(&o.ASCII, "ascii", false, "draw with ASCII characters only (default where the locale is not UTF-8)")
	o.Output.add(c, true)
	c.AddCommand(newSourcesCmd(f, sources))
	return c
}

// servingColumns are all that servings may have.
func servingColumns() []string {
	all := &metrics.Serving{}
	for _, p := range []**float64{&all.Queue, &all.Running, &all.Tokens, &all.FirstToken, &all.NextToken, &all.Full} {
		*p = new(float64)
	}
	names := views.Servings([]*metrics.Serving{all}, views.ServingOptions{Namespaces: true}).Names()
	return names
}

func (o monitorOptions) check() error {
	if err := o.Output.check(); err != nil {
		return err
	}
	switch {
	case o.Since < time.Minute:
		return errors.New("--since must be a minute at least")
	case o.SLO < 0:
		return errors.New("--slo is negative")
	case o.Watch && !o.Output.table():
		return fmt.Errorf("-w redraws a table: it does not go with -o %s", o.Output.Format)
	case o.SortBy != "" && !slices.Contains(servingColumns(), strings.ToLower(strings.TrimPrefix(o.SortBy, "-"))):
		return fmt.Errorf("--sort-by: no column %q; there are %s", strings.TrimPrefix(o.SortBy, "-"), strings.Join(servingColumns(), ", "))
	}
	return o.Measure.check()
}

func runMonitor(ctx context.Context, f *Factory, o monitorOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	m := &monitorLook{f: f, c: c, o: o}
	if o.Watch {
		return f.watchPages(ctx, m.page, o.Output)
	}
	stop := f.sayAsking(ctx)
	p, err := m.page(ctx)
	stop()
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := f.printPage(p, o.Output); err != nil || len(p.items) > 0 || !o.Output.table() {
		return err
	}
	return f.nothing(ctx, c, "models that are served", o.Namespaces)
}

// monitorLook is what is kept from one look to the next.
type monitorLook struct {
	f      *Factory
	c      *client.Client
	o      monitorOptions
	source *metrics.Source
	panels *metrics.Panels
}

// page looks once. Without Prometheus there is nothing to show: its error says where it was looked for.
func (m *monitorLook) page(ctx context.Context) (topPage, error) {
	namespace := m.c.Namespace
	if m.o.Namespaces {
		namespace = ""
	}
	fleet, err := metrics.Workloads(ctx, m.c, namespace)
	if err != nil {
		return topPage{}, err
	}
	if m.source == nil {
		if m.source, err = m.f.prometheusAs(ctx, m.c, m.o.Measure.Prometheus); err != nil {
			return topPage{}, err
		}
		m.panels = metrics.NewPanels(m.source)
	}
	now := m.f.Now()
	ask := m.o.Measure.ask(now, m.o.Since)
	ask.Namespace = namespace
	b, err := m.source.Servings(ctx, fleet.Workloads, true, ask)
	if err != nil {
		m.source = nil
		return topPage{}, err
	}
	rows, missing := b.Measure(ctx)
	trends, late := b.Trends(ctx, m.panels, []string{metrics.FieldP95, metrics.FieldMean}, metrics.Span{Window: m.o.Since, Columns: 16}, now)
	p, err := m.draw(rows, trends)
	for _, e := range append(slices.Clone(fleet.Problems), missing, late) {
		if e != nil {
			p.notes = append(p.notes, "warning: "+e.Error())
		}
	}
	return p, err
}

func (m *monitorLook) draw(rows []metrics.Serving, trends []metrics.Trend) (topPage, error) {
	sparks, quantile := map[string][]float64{}, map[string]bool{}
	for _, t := range trends {
		if !quantile[t.ID] {
			sparks[t.ID], quantile[t.ID] = t.Y, t.Field == metrics.FieldP95
		}
	}
	var list []*metrics.Serving
	for i := range rows {
		if s := &rows[i]; s.Serves() || m.o.Any && !s.Unmeasured() || m.o.Measure.Metric != "" && !s.Unmeasured() {
			list = append(list, s)
		}
	}
	columns := views.Servings(list, views.ServingOptions{Namespaces: m.o.Namespaces, SLO: m.o.SLO.Seconds(), Trends: sparks, ASCII: m.o.ASCII || m.f.asciiOnly()})
	if m.o.SortBy != "" {
		// A column of which nobody knows anything is not there, and does not sort.
		if slices.Contains(columns.Names(), strings.ToLower(strings.TrimPrefix(m.o.SortBy, "-"))) {
			if err := columns.Sort(list, m.o.SortBy); err != nil {
				return topPage{}, err
			}
		}
	}
	p := topPage{table: func() views.Table { return columns.Table(list) }}
	for _, s := range list {
		ref := strings.ToLower(s.Kind) + "/" + s.Name
		if s.Kind == "" {
			ref = s.Name
		}
		p.items = append(p.items, item{kind: "Serving", ref: ref, name: s.Name, namespace: s.Namespace, fact: s})
	}
	return p, nil
}
