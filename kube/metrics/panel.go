package metrics

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

const (
	// maxPoints is what Prometheus gives of one series (web/api/v1: "exceeded maximum resolution of 11,000 points").
	maxPoints = 11_000
	// maxCurves is how many series of one panel are kept.
	maxCurves = 200
	// unsettled is how many of the last points are asked for again, as what they count may come late.
	unsettled = 2
)

// Panel is one question whose answer is drawn over time.
type Panel struct {
	// Name tells it apart from others that are asked together; Expr is PromQL.
	Name, Expr string
}

// Curve is one series of an answer: X are seconds since 1970, ascending, Y the values. They are not changed any more.
type Curve struct {
	Labels map[string]string
	X, Y   []float64
}

// PanelResult is what is known of a panel.
type PanelResult struct {
	Curves []Curve
	// Err is why there is nothing, or nothing newer, or what is missing.
	Err error
	// Left counts series beyond the first 200, which are not kept.
	Left int
}

// Span says over which time, and how finely.
type Span struct {
	Window time.Duration
	// Columns is how many cells the curve is drawn in; each gets two points.
	Columns int
}

// Step is the time between two points: whole seconds, and such that a series has at most 11,000.
func (s Span) Step() time.Duration {
	step := s.Window / time.Duration(2*max(s.Columns, 1))
	step = max(step, s.Window/(maxPoints-1))
	return max(step.Round(time.Second), (s.Window/(maxPoints-1) + time.Second - 1).Truncate(time.Second), time.Second)
}

// bounds are the first and the last point as of now, on multiples of the step, so that later answers continue earlier ones.
func (s Span) bounds(now time.Time) (from, to time.Time) {
	step := s.Step()
	to = now.Truncate(step)
	return to.Add(-s.Window.Truncate(step)), to
}

// Panels asks for panels and keeps what was answered, so that the next time only what is new is asked for. It holds no
// more than the points of the panels of the last call. It may be used by many at once.
type Panels struct {
	ask func(ctx context.Context, expr string, r promv1.Range) (model.Matrix, error)
	mu  sync.Mutex
	by  map[panelKey]*kept
}

type panelKey struct {
	expr string
	step time.Duration
}

// kept is what was answered. It is replaced, never changed.
type kept struct {
	from, to time.Time
	curves   []Curve
	left     int
}

// NewPanels asks s.
func NewPanels(s *Source) *Panels { return &Panels{ask: s.matrix, by: map[panelKey]*kept{}} }

// Refresh asks for all panels, some at a time, and gives the result of each in their order. One that fails leaves the
// others alone, and has what was known of it before. What is kept of panels that are not in the list is let go.
func (p *Panels) Refresh(ctx context.Context, panels []Panel, span Span, now time.Time) []PanelResult {
	out := make([]PanelResult, len(panels))
	keep := map[panelKey]bool{}
	slots := make(chan struct{}, maxConcurrent)
	var wg sync.WaitGroup
	for i, panel := range panels {
		key := panelKey{panel.Expr, span.Step()}
		keep[key] = true
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				out[i] = p.refresh(ctx, key, span, now)
			case <-ctx.Done():
				out[i] = PanelResult{Err: ctx.Err()}
			}
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.by, func(k panelKey, _ *kept) bool { return !keep[k] })
	return out
}

func (p *Panels) refresh(ctx context.Context, key panelKey, span Span, now time.Time) PanelResult {
	p.mu.Lock()
	old := p.by[key]
	p.mu.Unlock()
	from, to := span.bounds(now)
	ask := from
	switch {
	case old == nil:
	case !old.from.After(from) && !old.to.Before(from) && !old.to.After(to):
		ask = old.to.Add(-(unsettled - 1) * key.step)
		if ask.Before(from) {
			ask = from
		}
	default:
		old = nil
	}
	if old != nil && old.to.Equal(to) && old.from.Equal(from) {
		return PanelResult{Curves: old.curves, Left: old.left}
	}
	answer, err := p.ask(ctx, key.expr, promv1.Range{Start: ask, End: to, Step: key.step})
	if err != nil && answer == nil {
		r := PanelResult{Err: err}
		if old != nil {
			r.Curves, r.Left = old.curves, old.left
		}
		return r
	}
	k := old.with(answer, from, ask, to)
	if err == nil { // what is partial is asked for again
		p.mu.Lock()
		p.by[key] = k
		p.mu.Unlock()
	}
	return PanelResult{Curves: k.curves, Err: err, Left: k.left}
}

// with is what was kept, from a time on, and an answer that begins at ask.
func (k *kept) with(answer model.Matrix, from, ask, to time.Time) *kept {
	next := &kept{from: from, to: to}
	byID := map[string]int{}
	points := int(to.Sub(from)/time.Second) + 1 // an upper bound
	if k != nil {
		lo, hi := seconds64(from), seconds64(ask)
		for _, c := range k.curves {
			a, _ := slices.BinarySearch(c.X, lo)
			b, _ := slices.BinarySearch(c.X, hi)
			if a < b {
				byID[idOf(c.Labels)] = len(next.curves)
				next.curves = append(next.curves, Curve{c.Labels, slices.Clone(c.X[a:b]), slices.Clone(c.Y[a:b])})
			}
		}
	}
	for _, s := range answer {
		if len(s.Values) == 0 {
			continue
		}
		l := make(map[string]string, len(s.Metric))
		for name, value := range s.Metric {
			l[string(name)] = string(value)
		}
		at, ok := byID[idOf(l)]
		if !ok {
			if len(next.curves) >= maxCurves {
				next.left++
				continue
			}
			at = len(next.curves)
			n := min(len(s.Values), points)
			next.curves = append(next.curves, Curve{l, make([]float64, 0, n), make([]float64, 0, n)})
		}
		c := &next.curves[at]
		for _, v := range s.Values {
			c.X, c.Y = append(c.X, float64(v.Timestamp)/1000), append(c.Y, float64(v.Value))
		}
	}
	return next
}

func seconds64(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func idOf(l map[string]string) string {
	m := make(model.LabelSet, len(l))
	for k, v := range l {
		m[model.LabelName(k)] = model.LabelValue(v)
	}
	return m.String()
}

// matrix asks for an expression over time. Warnings come as a *PartialError beside what was answered.
func (s *Source) matrix(ctx context.Context, expr string, r promv1.Range) (model.Matrix, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	value, warnings, _, err := s.api.QueryRange(ctx, expr, r)
	if err != nil {
		return nil, explain("ask Prometheus "+s.where, err)
	}
	m, ok := value.(model.Matrix)
	switch {
	case !ok:
		return nil, &client.Error{Doing: "ask Prometheus " + s.where, What: "it does not answer as Prometheus does: no matrix", Hint: nameAnother}
	case m == nil:
		m = model.Matrix{}
	}
	if len(warnings) > 0 {
		return m, &PartialError{Where: s.where, Warnings: warnings}
	}
	return m, nil
}

// Trend is one field of a Serving over time.
type Trend struct {
	// ID is that of the Serving, Field one of the fields.
	ID, Field string
	X, Y      []float64
}

// Trends are how fields of the servings went, one question for each profile. An error beside trends says what is missing.
func (b *Board) Trends(ctx context.Context, p *Panels, fields []string, span Span, now time.Time) ([]Trend, error) {
	window := max(b.window, span.Step())
	var panels []Panel
	var of []int
	for i := range b.readings {
		r := &b.readings[i]
		parts := slices.Concat(r.latency(window), r.traffic(window))
		parts = slices.DeleteFunc(parts, func(p part) bool { return !slices.Contains(fields, p.field) })
		if len(parts) > 0 {
			panels, of = append(panels, Panel{r.Profile.Name, query(parts)}), append(of, i)
		}
	}
	var out []Trend
	var errs []error
	for i, res := range p.Refresh(ctx, panels, span, now) {
		errs = append(errs, res.Err)
		for _, c := range res.Curves {
			if key, ok := b.keyOf(of[i], c.Labels); ok {
				s := *key.row
				s.Served, s.Version = key.model, cmp.Or(key.version, s.Version)
				out = append(out, Trend{s.ID(), c.Labels[fieldLabel], c.X, c.Y})
			}
		}
	}
	errs = compactErrors(errs)
	if len(errs) > 0 {
		return out, errs[0]
	}
	return out, nil
}
