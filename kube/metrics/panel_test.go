package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		span Span
		want time.Duration
	}{
		{Span{time.Hour, 80}, 23 * time.Second}, {Span{time.Minute, 200}, time.Second}, {Span{24 * time.Hour, 100}, 432 * time.Second}, {Span{30 * 24 * time.Hour, 1_000_000}, 236 * time.Second},
		{Span{time.Hour, 0}, 1800 * time.Second},
	} {
		if got := c.span.Step(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.span, got, c.want)
		}
		from, to := c.span.bounds(time.Unix(1_700_000_123, 0))
		if n := int(to.Sub(from)/c.span.Step()) + 1; n > maxPoints {
			t.Errorf("%+v: %d points", c.span, n)
		}
	}
}

// asked is a Prometheus whose value at each time is that time, and what it was asked.
type asked struct {
	mu     sync.Mutex
	ranges []promv1.Range
	fail   error
	part   error
	curves int
	open   atomic.Int64
	most   atomic.Int64
}

func (a *asked) matrix(_ context.Context, expr string, r promv1.Range) (model.Matrix, error) {
	if n := a.open.Add(1); n > a.most.Load() {
		a.most.Store(n)
	}
	defer a.open.Add(-1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ranges = append(a.ranges, r)
	if a.fail != nil && expr != "good" {
		return nil, a.fail
	}
	out := model.Matrix{}
	for i := range a.curves {
		s := &model.SampleStream{Metric: model.Metric{"i": model.LabelValue(fmt.Sprint(i))}}
		for at := r.Start; !at.After(r.End); at = at.Add(r.Step) {
			s.Values = append(s.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()), Value: model.SampleValue(at.Unix())})
		}
		out = append(out, s)
	}
	return out, a.part
}

func newPanels(a *asked) *Panels { return &Panels{ask: a.matrix, by: map[panelKey]*kept{}} }

// TestPanelsAskOnlyWhatIsNew refreshes for a day: points are what they would be when asked anew, and no more of them.
func TestPanelsAskOnlyWhatIsNew(t *testing.T) {
	a := &asked{curves: 2}
	p := newPanels(a)
	span := Span{10 * time.Minute, 60} // every 5 s
	now := time.Unix(1_700_000_001, 0)
	for i := range 500 {
		res := p.Refresh(t.Context(), []Panel{{"one", "x"}}, span, now)[0]
		from, to := span.bounds(now)
		if res.Err != nil || len(res.Curves) != 2 {
			t.Fatalf("%+v", res)
		}
		for _, c := range res.Curves {
			if len(c.X) != 121 || c.X[0] != seconds64(from) || c.X[120] != seconds64(to) || !slices.Equal(c.X, c.Y) || !slices.IsSorted(c.X) {
				t.Fatalf("%d: %d points from %v to %v, want %v to %v", i, len(c.X), c.X[0], c.X[len(c.X)-1], seconds64(from), seconds64(to))
			}
		}
		if r := a.ranges[len(a.ranges)-1]; i > 0 && r.End.Sub(r.Start) > 30*time.Second {
			t.Fatalf("%d: asked for %s", i, r.End.Sub(r.Start))
		}
		now = now.Add(15 * time.Second)
	}
	asked := len(a.ranges)
	now = now.Add(-15 * time.Second)
	p.Refresh(t.Context(), []Panel{{"one", "x"}}, span, now.Add(time.Second))
	if len(a.ranges) != asked {
		t.Error("what is known was asked for")
	}
	p.Refresh(t.Context(), []Panel{{"one", "x"}}, span, now.Add(-time.Hour)) // a clock that was set back
	if r := a.ranges[len(a.ranges)-1]; r.End.Sub(r.Start) != 10*time.Minute {
		t.Errorf("asked for %s", r.End.Sub(r.Start))
	}
	p.Refresh(t.Context(), nil, span, now)
	if len(p.by) != 0 {
		t.Errorf("%d panels are kept that nobody looks at", len(p.by))
	}
}

func TestPanelsFailAlone(t *testing.T) {
	a := &asked{curves: maxCurves + 3}
	p := newPanels(a)
	span, now := Span{time.Minute, 30}, time.Unix(1_700_000_000, 0)
	list := []Panel{{"bad", "bad"}, {"good", "good"}}
	first := p.Refresh(t.Context(), list, span, now)
	if len(first[0].Curves) != maxCurves || first[0].Left != 3 {
		t.Errorf("%d curves, %d left", len(first[0].Curves), first[0].Left)
	}
	a.fail = errors.New("away")
	second := p.Refresh(t.Context(), list, span, now.Add(10*time.Second))
	if !errors.Is(second[0].Err, a.fail) || len(second[0].Curves) != maxCurves || second[1].Err != nil || second[1].Curves[0].X[60] != seconds64(now)+10 {
		t.Errorf("%v %v", second[0].Err, second[1].Err)
	}
	a.fail, a.part = nil, &PartialError{}
	third := p.Refresh(t.Context(), list, span, now.Add(20*time.Second))
	if third[1].Err == nil || third[1].Curves[0].X[60] != seconds64(now)+20 {
		t.Errorf("%+v", third[1].Err)
	}
	if k := p.by[panelKey{"good", span.Step()}]; k.to.Equal(now.Add(20 * time.Second)) {
		t.Error("a partial answer is kept as a whole one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := &Panels{by: map[panelKey]*kept{}, ask: func(ctx context.Context, _ string, _ promv1.Range) (model.Matrix, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for _, r := range slow.Refresh(ctx, []Panel{{"a", "a"}, {"b", "b"}, {"c", "c"}}, span, now) {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%v", r.Err)
		}
	}
}

func TestPanelsAreBounded(t *testing.T) {
	a := &asked{curves: 1}
	var list []Panel
	for i := range 40 {
		list = append(list, Panel{Expr: fmt.Sprint(i)})
	}
	res := newPanels(a).Refresh(t.Context(), list, Span{time.Minute, 30}, time.Now())
	if a.most.Load() > maxConcurrent || len(res) != 40 || len(a.ranges) != 40 {
		t.Errorf("%d at a time, %d results of %d questions", a.most.Load(), len(res), len(a.ranges))
	}
}

// TestTrends draws p95 of a real Prometheus over time.
func TestTrends(t *testing.T) {
	t.Parallel()
	s := engine(t, exporter{"fastapi", false, servingPod("web"), growing(t, "fastapi")})
	b, err := s.Servings(t.Context(), []*Workload{{Namespace: "team", Kind: kindDeployment, Name: "web", owners: map[string]string{"web-7d4b9c6f5d": ""}}}, false, ServingOptions{Window: time.Minute, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPanels(s)
	var got []Trend
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got, err = b.Trends(t.Context(), p, []string{FieldP95, FieldMean}, Span{time.Minute, 60}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if len(got) == 2 && len(got[0].Y) >= 3 {
			break
		}
	}
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, tr := range got {
		want := map[string]float64{FieldP95: 0.5 + 0.5*15/20, FieldMean: 0.4}[tr.Field]
		if last := tr.Y[len(tr.Y)-1]; tr.ID != "team/Deployment/web//" || math.Abs(last-want) > 1e-6 {
			t.Errorf("%s of %s is %v, want %v", tr.Field, tr.ID, last, want)
		}
	}
}

func BenchmarkDecode11000(b *testing.B) {
	var answer model.Matrix
	s := &model.SampleStream{}
	for i := range maxPoints {
		s.Values = append(s.Values, model.SamplePair{Timestamp: model.Time(i * 1000), Value: model.SampleValue(i)})
	}
	answer = append(answer, s)
	from := time.Unix(0, 0)
	for b.Loop() {
		(*kept)(nil).with(answer, from, from, from.Add((maxPoints-1)*time.Second))
	}
}
