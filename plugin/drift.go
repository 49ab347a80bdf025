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
	"github.com/kubectl-ml/kubectl-ml/kube/drift"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// againstBaseline is --against for the baseline of the version; else it is offset=DURATION.
const againstBaseline = "baseline"

type driftOptions struct {
	// Target is NAME, MODEL, MODEL:N or MODEL@ALIAS.
	Target     string
	Window     time.Duration
	Against    string
	MinSamples float64
	Limits     drift.Limits
	Features   []string
	Explain    string
	Watch      bool
	ExitCode   bool
	Prometheus string
	Output     output
}

func newDriftCmd(f *Factory, do func(context.Context, *Factory, driftOptions) error) *cobra.Command {
	o := driftOptions{Window: time.Hour, Against: againstBaseline, MinSamples: drift.DefaultMinSamples}
	usual := drift.DefaultLimits()
	c := &cobra.Command{
		Use:     "drift (NAME | MODEL[:N|@ALIAS])",
		Short:   "Show how far what a model meets is from what it was trained on",
		GroupID: groupSee,
		Long: `Compare what a model is given and answers now, as histograms in Prometheus count it, with the baseline that was
registered with its version, or with an earlier time. NAME is a Deployment, StatefulSet, Service or InferenceService.

PSI is the population stability index, JS the Jensen-Shannon distance, and KS a lower bound of the statistic of
Kolmogorov and Smirnov. The bar shows PSI; ` + "┊" + ` marks where it warns and ` + "┃" + ` where it alerts. A feature is unknown
where there are too few samples, none lately, no baseline, or buckets that cannot be compared; below the list stands
why. What exporters themselves say of drift, such as TrustyAI and alibi-detect, is listed apart. -o wide tells how large
a PSI chance makes.

With --exit-code it exits with 7 when anything alerts, and with 8 when nothing does but something could not be judged.`,
		Example: `  kubectl ml drift house-prices
  kubectl ml drift house-prices@production --window 6h --explain area
  kubectl ml drift deployment/house-prices --against offset=7d
  kubectl ml drift house-prices:7 --exit-code -o json`,
		Args: exactlyOne("NAME or MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Target = args[0]
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeDrift,
	}
	fl := c.Flags()
	fl.DurationVar(&o.Window, "window", o.Window, "`time` that is looked at")
	fl.StringVar(&o.Against, "against", o.Against, "`what` to compare with: baseline, or offset=7d for the same time so much earlier")
	fl.Float64Var(&o.MinSamples, "min-samples", o.MinSamples, "least `number` of samples on each side")
	fl.Float64Var(&o.Limits.Warn, "warn", 0, fmt.Sprintf("`PSI` from which on to warn, where the baseline says none (default %v)", usual.Warn))
	fl.Float64Var(&o.Limits.Alert, "alert", 0, fmt.Sprintf("`PSI` from which on to alert, where the baseline says none (default %v)", usual.Alert))
	fl.Float64Var(&o.Limits.JS, "js", 0, fmt.Sprintf("Jensen-Shannon `distance` from which on to warn, where the baseline says none (default %v)", usual.JS))
	fl.StringSliceVar(&o.Features, "feature", nil, "judge these `features` and predictions only")
	fl.StringVar(&o.Explain, "explain", "", "draw both distributions of this `feature`")
	fl.BoolVarP(&o.Watch, "watch", "w", false, "look again every few seconds")
	fl.BoolVar(&o.ExitCode, "exit-code", false, "exit with 7 when anything alerts, with 8 when something could not be judged")
	_ = c.RegisterFlagCompletionFunc("against", cobra.FixedCompletions([]string{againstBaseline, "offset=1d", "offset=7d"}, cobra.ShellCompDirectiveNoFileComp))
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

// completeDrift completes what serves, models and versions.
func (f *Factory) completeDrift(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.completeOne(func(ctx context.Context, c *client.Client) ([]string, error) {
		names, err := refNames(prefix)(ctx, c)
		serving, servingErr := f.servingNames(ctx, c)
		if err != nil && servingErr != nil {
			return nil, err
		}
		names = append(names, serving...)
		slices.Sort(names)
		return slices.Compact(names), nil
	})(c, args, prefix)
}

// offset is the time that --against goes back; 0 for the baseline.
func (o driftOptions) offset() (time.Duration, error) {
	if o.Against == againstBaseline {
		return 0, nil
	}
	text, ok := strings.CutPrefix(o.Against, "offset=")
	before, span := parseSpan(text)
	if !ok || !span {
		return 0, fmt.Errorf("--against %s: use baseline, or offset=TIME such as offset=7d or offset=12h", o.Against)
	}
	now := time.Unix(0, 0).UTC() // where days have 24 hours
	d := now.Sub(before(now))
	if d < time.Second {
		return 0, fmt.Errorf("--against %s: the time to go back is a second at least", o.Against)
	}
	return d, nil
}

func (o driftOptions) check() error {
	if err := o.Output.check(); err != nil {
		return err
	}
	for _, l := range []struct {
		flag string
		v    float64
	}{{"--warn", o.Limits.Warn}, {"--alert", o.Limits.Alert}, {"--js", o.Limits.JS}, {"--min-samples", o.MinSamples}} {
		if !(l.v >= 0) || l.v > 1e12 {
			return fmt.Errorf("%s %v: it is a number from 0 on", l.flag, l.v)
		}
	}
	if err := o.Limits.Check(); err != nil {
		return err
	}
	switch {
	case o.Window < time.Minute || o.Window > 365*24*time.Hour:
		return fmt.Errorf("--window %s: it is a minute at least, and a year at most", o.Window)
	case o.Watch && !o.Output.table():
		return fmt.Errorf("-w redraws a table: it does not go with -o %s", o.Output.Format)
	case o.Watch && o.ExitCode:
		return errors.New("--exit-code does not go with -w: a watch ends when it is left")
	case o.Explain != "" && !o.Output.table():
		return fmt.Errorf("--explain draws for people: the bins are in -o %s without it", o.Output.Format)
	}
	return nil
}

// request is what is asked of a target.
func (o driftOptions) request() (metrics.DriftRequest, error) {
	offset, err := o.offset()
	r := metrics.DriftRequest{Window: o.Window, Offset: offset, Features: o.Features, Options: drift.Options{Limits: o.Limits, MinSamples: o.MinSamples}}
	if o.Explain != "" {
		r.Features = []string{o.Explain}
	}
	return r, err
}

func runDrift(ctx context.Context, f *Factory, o driftOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	request, err := o.request()
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	look, err := f.driftLook(ctx, c, o, request)
	if err != nil {
		return err
	}
	if o.Watch {
		return f.watchDrift(ctx, o, look)
	}
	reports, err := look(ctx)
	if err != nil {
		return err
	}
	if err := f.drifts(o, reports); err != nil || !o.ExitCode {
		return err
	}
	switch drift.Worst(reports) {
	case drift.Alert:
		return &CodeError{Code: ExitGate}
	case drift.Unknown:
		return &CodeError{Code: ExitInconclusive}
	}
	return nil
}

// driftLook finds what is to be judged and the Prometheus that knows of it, both at once, and gives a function that looks.
func (f *Factory) driftLook(ctx context.Context, c *client.Client, o driftOptions, r metrics.DriftRequest) (func(context.Context) ([]drift.Report, error), error) {
	type found struct {
		source *metrics.Source
		err    error
	}
	sources := make(chan found, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		s, err := f.prometheus(ctx, c, o.Prometheus)
		sources <- found{s, err}
	}()
	target, err := metrics.FindDrift(ctx, c, o.Target)
	if err != nil {
		return nil, err
	}
	got := <-sources
	if got.err != nil {
		return nil, errors.New(tried(got.err))
	}
	return func(ctx context.Context) ([]drift.Report, error) { return target.Reports(ctx, got.source, r) }, nil
}

// drifts prints reports.
func (f *Factory) drifts(o driftOptions, reports []drift.Report) error {
	if o.Output.table() {
		lo := f.layout(o.Output)
		return f.lines(o.page(reports, lo, f.Now()))
	}
	items := make([]item, len(reports))
	for i, r := range reports {
		name := strings.Trim(r.Model+"-"+r.Version, "-")
		ref := o.Target
		if r.Model != "" && r.Version != "" {
			ref = modelRef + r.Model + ":" + r.Version
		}
		items[i] = item{kind: "DriftReport", name: name, ref: ref, fact: r}
	}
	return f.list(o.Output, items, nil)
}

// page is what people are shown of reports.
func (o driftOptions) page(reports []drift.Report, lo views.LineOptions, now time.Time) []views.Line {
	var lines []views.Line
	for i := range reports {
		r := &reports[i]
		if i > 0 && !lo.NoHeaders {
			lines = append(lines, views.Line{})
		}
		if !lo.NoHeaders {
			lines = append(lines, views.DriftHead(r, o.Window))
		}
		if o.Explain != "" {
			for _, row := range r.Rows {
				lines = append(lines, views.DriftExplain(row, lo.Width)...)
			}
			continue
		}
		if len(r.Rows) > 0 {
			lines = append(lines, views.Drifts(now).Table(r.Rows).Lines(lo)...)
		}
		if len(r.Gauges) > 0 {
			if len(r.Rows) > 0 && !lo.NoHeaders {
				lines = append(lines, views.Line{})
			}
			lines = append(lines, views.DriftGauges().Table(r.Gauges).Lines(lo)...)
		}
		if why := views.DriftWhy(r); len(why) > 0 && !lo.NoHeaders {
			lines = append(append(lines, views.Line{}), why...)
		}
	}
	for i := range lines {
		if lo.Width > 0 && len(o.Explain) > 0 {
			lines[i] = lines[i].Cut(lo.Width)
		}
	}
	return lines
}
