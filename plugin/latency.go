package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// measureOptions say what is asked of Prometheus about serving.
type measureOptions struct {
	Window     time.Duration
	Metric     string
	Unit       string
	Profile    string
	Prometheus prometheusOptions
}

func (o *measureOptions) add(c *cobra.Command) {
	fl := c.Flags()
	fl.DurationVar(&o.Window, "window", 5*time.Minute, "`time` that rates and quantiles are over")
	fl.StringVar(&o.Profile, "profile", "", "the `profile` to read, such as vllm or istio (default: the first that is there)")
	fl.StringVar(&o.Metric, "metric", "", "a latency `metric` that no profile knows: a histogram, a summary, or a sum and a count")
	fl.StringVar(&o.Unit, "unit", "", "the `unit` of --metric: s, ms or us (default: what its name ends in, else s)")
	o.Prometheus.add(c)
	_ = c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(metrics.ProfileNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("unit", cobra.FixedCompletions([]string{"s", "ms", "us"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o measureOptions) check() error {
	switch {
	case o.Window < time.Second:
		return errors.New("--window must be a second at least: it should hold four scrapes or more")
	case o.Metric != "" && o.Profile != "":
		return errors.New("--metric and --profile exclude each other")
	case o.Unit != "" && o.Metric == "":
		return errors.New("--unit is that of --metric, which is missing")
	case o.Profile != "" && !slices.Contains(metrics.ProfileNames(), o.Profile):
		return fmt.Errorf("no profile %q; there are %s", o.Profile, strings.Join(metrics.ProfileNames(), ", "))
	}
	if o.Metric != "" {
		_, err := metrics.CustomProfile(o.Metric, o.Unit)
		return err
	}
	return nil
}

// ask is what is asked as of now, for series that are there since back.
func (o measureOptions) ask(now time.Time, back time.Duration) metrics.ServingOptions {
	so := metrics.ServingOptions{Window: o.Window, Back: back, Only: o.Profile, Now: now}
	if p, err := metrics.CustomProfile(o.Metric, o.Unit); err == nil {
		so.Own, so.Only = []metrics.Profile{p}, p.Name
	}
	return so
}

type latencyOptions struct {
	Name          string
	Measure       measureOptions
	Since         time.Duration
	SLO           time.Duration
	Plot, Watch   bool
	Width, Height int
	ASCII         bool
	Output        output
}

func newLatencyCmd(f *Factory, do func(context.Context, *Factory, latencyOptions) error) *cobra.Command {
	var o latencyOptions
	c := &cobra.Command{
		Use:     "latency NAME|MODEL",
		Short:   "Show how fast a model answers, version by version",
		GroupID: groupSee,
		Long: `Show how long requests to a model take (p50, p95, p99, mean), how many there are and how many fail; queue, tokens,
time to the first token (TTFT) and between two (ITL) where the runtime tells. Each version has a row, a canary beside
the stable side.

NAME is a Deployment or StatefulSet, a model of the registry (model/NAME where both exist), a Service, an
InferenceService, or a pod. All is read from Prometheus, which is found by itself or named with --prometheus. Known are
vLLM, SGLang, TGI, Triton, KServe, Seldon, MLServer, TorchServe, TensorFlow Serving, BentoML, Ray Serve, Knative, the
request_latency_seconds of Python's client, common web servers, and Istio, Linkerd and ingress-nginx in front of
anything else. --metric names another one.

What cannot be known is said: a sum and a count have no quantiles, those of a summary cannot be added up over pods, and
a quantile above the highest bound of a histogram is that bound or more (>=).`,
		Example: `  kubectl ml latency house-prices
  kubectl ml latency house-prices --plot --slo 250ms --since 6h
  kubectl ml latency deploy/llama -w -o wide
  kubectl ml latency svc/web --metric app_predict_duration_ms
  kubectl ml latency house-prices -o jsonpath='{.items[*].p95}'`,
		Args:              exactlyOne("NAME or MODEL"),
		RunE:              func(c *cobra.Command, args []string) error { o.Name = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.servingNames),
	}
	o.Measure.add(c)
	fl := c.Flags()
	fl.DurationVar(&o.Since, "since", time.Hour, "how far back `time` is drawn, such as 6h")
	fl.DurationVar(&o.SLO, "slo", 0, "what p95 may be at most, a `time` such as 250ms: drawn as a line, and marked with ! where it is more (0: none)")
	fl.BoolVar(&o.Plot, "plot", false, "draw p95, or the mean, over --since")
	fl.BoolVarP(&o.Watch, "watch", "w", false, "look again every few seconds")
	fl.IntVar(&o.Width, "width", 0, "`cells` to draw in (default: the terminal's)")
	fl.IntVar(&o.Height, "height", 0, "`lines` of the plot (default: what the terminal has, 16 without one)")
	fl.BoolVar(&o.ASCII, "ascii", false, "draw with ASCII characters only (default where the locale is not UTF-8)")
	o.Output.add(c, true)
	return c
}

func (o latencyOptions) check() error {
	if err := o.Output.check(); err != nil {
		return err
	}
	switch {
	case o.Since < time.Minute:
		return errors.New("--since must be a minute at least")
	case o.SLO < 0:
		return errors.New("--slo is negative")
	case o.Width < 0 || o.Height < 0:
		return errors.New("--width and --height must not be negative")
	case (o.Plot || o.Watch) && !o.Output.table():
		return fmt.Errorf("--plot and -w are for people: they do not go with -o %s, which has the series", o.Output.Format)
	}
	return o.Measure.check()
}

func runLatency(ctx context.Context, f *Factory, o latencyOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	l := &latencyLook{f: f, c: c, o: o}
	if o.Watch {
		return f.watchPages(ctx, l.page, o.Output)
	}
	stop := f.sayAsking(ctx)
	p, err := l.page(ctx)
	stop()
	if err != nil {
		return interrupted(ctx, err)
	}
	return f.printPage(p, o.Output)
}

// latencyLook is what is kept from one look to the next.
type latencyLook struct {
	f      *Factory
	c      *client.Client
	o      latencyOptions
	source *metrics.Source
	panels *metrics.Panels
}

// latencyFact is a serving as -o json prints it.
type latencyFact struct {
	metrics.Serving
	// WindowSeconds is what rates and quantiles are over.
	WindowSeconds float64 `json:"windowSeconds"`
	// SLO is in seconds; Met is missing where it cannot be judged.
	SLO    float64       `json:"slo,omitempty"`
	Met    *bool         `json:"sloMet,omitempty"`
	Series []seriesPoint `json:"series,omitempty"`
}

// seriesPoint is one field at one time.
type seriesPoint struct {
	Field string  `json:"field"`
	Time  string  `json:"time"`
	Value float64 `json:"value"`
}

// page looks once.
func (l *latencyLook) page(ctx context.Context) (topPage, error) {
	fleet, err := metrics.Workloads(ctx, l.c, l.c.Namespace)
	if err != nil {
		return topPage{}, err
	}
	list, err := fleet.Find(ctx, l.c, l.o.Name)
	if err != nil {
		if len(fleet.Workloads) == 0 && !l.c.NamespaceExists(ctx) {
			err = l.c.MissingNamespace()
		}
		return topPage{}, err
	}
	if l.source == nil {
		if l.source, err = l.f.prometheusAs(ctx, l.c, l.o.Measure.Prometheus); err != nil {
			return topPage{}, err
		}
		l.panels = metrics.NewPanels(l.source)
	}
	now := l.f.Now()
	b, err := l.source.Servings(ctx, list, false, l.o.Measure.ask(now, l.o.Since))
	if err != nil {
		l.source = nil // another one may answer the next time
		return topPage{}, err
	}
	rows, missing := b.Measure(ctx)
	if rows == nil {
		return topPage{}, missing
	}
	if slices.IndexFunc(rows, func(s metrics.Serving) bool { return !s.Unmeasured() }) < 0 && missing == nil {
		return topPage{}, l.nothing(ctx, list)
	}
	cells := l.width()
	span := metrics.Span{Window: l.o.Since, Columns: cells}
	trends, late := b.Trends(ctx, l.panels, []string{metrics.FieldP95, metrics.FieldMean, metrics.FieldRate}, span, now)
	p := l.draw(rows, trends, now)
	for _, e := range append(slices.Clone(fleet.Problems), missing, late) {
		if e != nil {
			p.notes = append(p.notes, "warning: "+e.Error())
		}
	}
	if len(b.Others) > 0 && l.o.Measure.Profile == "" && l.o.Measure.Metric == "" {
		p.notes = append(p.notes, "also there: "+strings.Join(b.Others, ", ")+"; read one of them with --profile")
	}
	return p, nil
}

// nothing says why there are no metrics.
func (l *latencyLook) nothing(ctx context.Context, list []*metrics.Workload) error {
	e := &client.Error{What: fmt.Sprintf("Prometheus %s has no latency of %s", l.source.Where(), list[0].Name)}
	why := l.source.Absence(ctx, list)
	switch {
	case !why.Scraped && l.o.Measure.Metric == "":
		e.Hint = "it does not scrape the pods: give them the annotations prometheus.io/scrape and port, or a PodMonitor; or name another one with --prometheus"
	case len(why.Metrics) > 0:
		e.Hint = "its pods have " + strings.Join(why.Metrics, ", ") + "; read one with --metric NAME"
	default:
		e.Hint = "it scrapes the pods, which export no histogram or summary of times; see: kubectl ml help latency"
	}
	return e
}

// width is that of what is drawn.
func (l *latencyLook) width() int {
	w, _ := size(l.f.Out)
	return cmp.Or(l.o.Width, w, 100)
}

// draw makes a page.
func (l *latencyLook) draw(rows []metrics.Serving, trends []metrics.Trend, now time.Time) topPage {
	ascii := l.o.ASCII || l.f.asciiOnly()
	main := map[string]metrics.Trend{} // p95 where there is one, else the mean
	for _, t := range trends {
		if _, ok := main[t.ID]; t.Field == metrics.FieldP95 || t.Field == metrics.FieldMean && !ok {
			main[t.ID] = t
		}
	}
	sparks := map[string][]float64{}
	list := make([]*metrics.Serving, len(rows))
	p := topPage{}
	for i := range rows {
		s := &rows[i]
		list[i] = s
		sparks[s.ID()] = main[s.ID()].Y
		p.items = append(p.items, item{kind: "Serving", ref: strings.ToLower(s.Kind) + "/" + s.Name, name: s.Name, namespace: s.Namespace, fact: l.fact(s, trends)})
		for _, n := range s.Notes {
			p.notes = append(p.notes, rowName(s)+": "+n)
		}
	}
	columns := views.Servings(list, views.ServingOptions{SLO: l.o.SLO.Seconds(), Trends: sparks, ASCII: ascii})
	p.table = func() views.Table { return columns.Table(list) }
	if l.o.Plot {
		p.foot = func(lo views.LineOptions) []views.Line {
			chart := l.chart(list, main, now, ascii)
			_, h := size(l.f.Out)
			height := l.o.Height
			if height == 0 {
				if height = 16; h > 0 {
					height = max(h-len(list)-6, 8)
				}
			}
			return append([]views.Line{{}}, chart.Lines(cmp.Or(l.o.Width, lo.Width, 100), height)...)
		}
	}
	return p
}

// rowName is a row in words: web, or web version 7.
func rowName(s *metrics.Serving) string {
	name := s.Name
	if s.Version != "" {
		name += " version " + s.Version
	}
	return name
}

// chart draws p95, or the mean where there is none, with the objective.
func (l *latencyLook) chart(list []*metrics.Serving, main map[string]metrics.Trend, now time.Time, ascii bool) views.Chart {
	c := views.Chart{
		ASCII: ascii, Empty: "nothing was measured", X: views.Axis{Unit: views.Clock, Fixed: true, Min: float64(now.Add(-l.o.Since).Unix()), Max: float64(now.Unix()), Name: "UTC"},
		Y: views.Axis{Unit: views.Seconds},
	}
	fields := map[string]bool{}
	for _, s := range list {
		if t, ok := main[s.ID()]; ok {
			fields[t.Field] = true
			c.Series = append(c.Series, views.Series{Name: rowName(s), X: t.X, Y: t.Y, Tone: views.HueOf(len(c.Series))})
		}
	}
	switch {
	case len(fields) == 2:
		c.Title = "p95, or the mean"
	case fields[metrics.FieldMean]:
		c.Title = "mean"
	default:
		c.Title = "p95"
	}
	if l.o.SLO > 0 {
		c.Guides = []views.Guide{{Name: "slo " + l.o.SLO.String(), Value: l.o.SLO.Seconds(), Tone: views.Bad}}
	}
	return c
}

// fact is a row with its series.
func (l *latencyLook) fact(s *metrics.Serving, trends []metrics.Trend) latencyFact {
	fact := latencyFact{Serving: *s, WindowSeconds: l.o.Measure.Window.Seconds(), SLO: l.o.SLO.Seconds()}
	judged := s.P95
	if judged == nil {
		judged = s.Mean
	}
	if l.o.SLO > 0 && judged != nil {
		fact.Met = new(*judged <= fact.SLO)
	}
	for _, t := range trends {
		if t.ID != s.ID() {
			continue
		}
		for i, v := range t.Y {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				fact.Series = append(fact.Series, seriesPoint{t.Field, time.Unix(int64(t.X[i]), 0).UTC().Format(time.RFC3339), v})
			}
		}
	}
	return fact
}

// servingNames completes what may serve: workloads and models.
func (f *Factory) servingNames(ctx context.Context, c *client.Client) ([]string, error) {
	fleet, err := metrics.Workloads(ctx, c, c.Namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, w := range fleet.Workloads {
		names = append(names, w.Name)
		if w.Model != "" {
			names = append(names, w.Model)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
