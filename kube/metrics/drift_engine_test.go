package metrics

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
)

// past writes samples that were taken before now.
type past struct {
	b   strings.Builder
	now time.Time
}

// counter writes a counter every half minute from an age on down to another; at gives its value by the number of the sample.
func (p *past) counter(name, labels string, from, to time.Duration, at func(i int) float64) {
	i := 0
	for age := from; age >= to; age -= 30 * time.Second {
		fmt.Fprintf(&p.b, "%s{%s} %g %d\n", name, labels, at(i), p.now.Add(-age).UnixMilli())
		i++
	}
}

// histogram writes a classic histogram that counts as many values in each bin at every sample; the counter begins anew
// after reset samples, 0 for never.
func (p *past) histogram(name, labels string, from, to time.Duration, bounds []string, perSample []float64, reset int) {
	sum := 0.0
	for i, le := range append(bounds, "+Inf") {
		sum += perSample[i]
		n := sum
		p.counter(name+"_bucket", labels+`,le="`+le+`"`, from, to, func(i int) float64 {
			if reset > 0 {
				i %= reset
			}
			return n * float64(i+1)
		})
	}
	n := sum
	p.counter(name+"_count", labels, from, to, func(i int) float64 {
		if reset > 0 {
			i %= reset
		}
		return n * float64(i+1)
	})
}

func (p *past) text(int) string { return p.b.String() }

// only finds a version of a model.
func (a *DriftAnswer) only(t *testing.T, name, version string) *Drift {
	t.Helper()
	for i := range a.Versions {
		if v := &a.Versions[i]; v.Model == name && v.Version == version {
			return v
		}
	}
	t.Fatalf("no %s:%s in %+v", name, version, a.Versions)
	return nil
}

func observation(t *testing.T, v *Drift, name string) drift.Observation {
	t.Helper()
	for _, o := range v.Seen {
		if o.Name == name {
			return o
		}
	}
	t.Fatalf("no %s in %+v", name, v.Seen)
	return drift.Observation{}
}

// wantShares compares shares: how many values there were, Prometheus estimates.
func wantShares(t *testing.T, what string, d drift.Distribution, total float64, shares ...float64) {
	t.Helper()
	if len(d.Counts) != len(shares) {
		t.Errorf("%s: %v, want shares %v", what, d, shares)
		return
	}
	for i, n := range d.Counts {
		if math.Abs(n/d.Total()-shares[i]) > 1e-6 {
			t.Errorf("%s: bin %d has %.6f, want %v", what, i, n/d.Total(), shares[i])
		}
	}
	if math.Abs(d.Total()-total) > 0.05*total {
		t.Errorf("%s: %.0f values, want about %.0f", what, d.Total(), total)
	}
}

// TestDrift writes the past of some models into a real Prometheus, and asks for what became of them.
func TestDrift(t *testing.T) {
	t.Parallel()
	p := &past{now: time.Now()}
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	served := func(pod, feature string) string {
		return fmt.Sprintf(`namespace="team",pod=%q,model="prices",version="7",feature=%q`, pod, feature)
	}
	bounds := []string{"10", "20", "30"}
	// Two pods, of which the second one's counters begin anew all the time: 120 steps an hour each.
	p.histogram("ml_feature_value", served("prices-abc12-x7k2p", "area"), minutes(90), 0, bounds, []float64{1, 2, 3, 4}, 0)
	p.histogram("ml_feature_value", served("prices-abc12-b4b5c", "area"), minutes(90), 0, bounds, []float64{3, 2, 1, 4}, 50)
	// A pod of before, with another layout, which ended within the hour.
	p.histogram("ml_feature_value", served("prices-abc12-x7k2p", "layout"), minutes(90), 0, bounds, []float64{1, 1, 1, 1}, 0)
	p.histogram("ml_feature_value", served("prices-abc12-b4b5c", "layout"), minutes(90), minutes(20), []string{"10", "25", "30"}, []float64{1, 1, 1, 1}, 0)
	// Nothing came for hours, though it is scraped still.
	p.histogram("ml_feature_value", served("prices-abc12-x7k2p", "stale"), minutes(600), minutes(300), bounds, []float64{1, 1, 1, 1}, 0)
	// A week ago the shares were others.
	week := 7 * 24 * time.Hour
	p.histogram("ml_feature_value", served("prices-abc12-old22", "area"), week+minutes(90), week-minutes(5), bounds, []float64{4, 3, 2, 1}, 0)
	for value, n := range map[string]float64{"north": 3, "south": 1} {
		p.counter("ml_feature_category_total", served("prices-abc12-x7k2p", "zone")+`,value="`+value+`"`, minutes(90), 0, func(i int) float64 { return n * float64(i) })
	}
	p.histogram("ml_prediction_value", `namespace="team",pod="prices-abc12-x7k2p",model="prices",version="7"`, minutes(90), 0, []string{"1e+06"}, []float64{1, 3}, 0)
	// Another version, another namespace, another model, a model whose series name neither, and one without any pod.
	p.histogram("ml_feature_value", `namespace="team",pod="prices-canary-def34-x7k2p",model="prices",version="v8",feature="area"`, minutes(90), 0, bounds, []float64{1, 1, 1, 7}, 0)
	p.histogram("ml_feature_value", `namespace="other",pod="prices-abc12-x7k2p",model="prices",version="7",feature="area"`, minutes(90), 0, bounds, []float64{100, 0, 0, 0}, 0)
	p.histogram("ml_feature_value", `namespace="team",pod="cats-abc12-x7k2p",model="cats",version="7",feature="area"`, minutes(90), 0, bounds, []float64{100, 0, 0, 0}, 0)
	p.histogram("ml_feature_value", `namespace="team",pod="silent-5f6d7-x7k2p",feature="area"`, minutes(90), 0, bounds, []float64{5, 5, 0, 0}, 0)
	p.histogram("ml_feature_value", `model="static",feature="area"`, minutes(90), 0, bounds, []float64{0, 0, 5, 5}, 0)
	gauge := func(name, labels string, v float64) {
		fmt.Fprintf(&p.b, "%s{%s} %g\n", name, labels, v)
	}
	gauge("trustyai_meanshift", `namespace="team",model="prices",subcategory="area"`, 0.01)
	gauge("ml_drift_psi", `namespace="team",model="cats",feature="area"`, 0.9)
	gauge("seldon_model_drift", `namespace="team",pod="prices-abc12-x7k2p"`, 1)
	gauge("trustyai_kstest", `namespace="other",model="prices",subcategory="area"`, 0.01)

	s := engine(t, exporter{"models", true, nil, p.text})
	query := DriftQuery{Namespace: "team", Model: "prices", Window: time.Hour, Offset: week}
	got, err := s.Drift(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Versions) != 3 || len(got.Notes) != 0 || time.Until(got.Now).Abs() > time.Minute {
		t.Errorf("%d versions at %s, %q", len(got.Versions), got.Now, got.Notes)
	}
	seven := got.only(t, "prices", "7")
	area := observation(t, seven, "area")
	wantShares(t, "area", area.Live, 120*20, 0.2, 0.2, 0.2, 0.4)
	wantShares(t, "area a week ago", seven.Before.Features["area"].Distribution, 120*10, 0.4, 0.3, 0.2, 0.1)
	if age := got.Now.Sub(area.Last); age < 0 || age > 3*time.Minute {
		t.Errorf("area was seen %s ago", age)
	}
	layout := observation(t, seven, "layout")
	wantShares(t, "layout", layout.Live, 120*4+80*4, 0.25, 0.5, 0.25)
	if !strings.Contains(layout.Note, "2 are left out") {
		t.Errorf("layout: %q", layout.Note)
	}
	stale := observation(t, seven, "stale")
	if age := got.Now.Sub(stale.Last); stale.Live.Total() != 0 || age < minutes(290) || age > minutes(311) {
		t.Errorf("stale was seen %s ago, %v times", age, stale.Live.Total())
	}
	zone := observation(t, seven, "zone").Live
	wantShares(t, "zone", zone, 480, 0.75, 0.25)
	if zone.Values[0] != "north" || zone.Values[1] != "south" {
		t.Errorf("zones %q", zone.Values)
	}
	prediction := observation(t, seven, drift.Prediction)
	wantShares(t, "prediction", prediction.Live, 480, 0.25, 0.75)
	wantShares(t, "the canary", observation(t, got.only(t, "prices", "8"), "area").Live, 1200, 0.1, 0.1, 0.1, 0.7)
	// No version is named by the exporter of drift.
	if v := got.only(t, "prices", ""); len(v.Gauges) != 1 || v.Gauges[0].Verdict != drift.Alert || v.Gauges[0].Feature != "area" {
		t.Errorf("gauges %+v", v.Gauges)
	}

	of := func(w ...*Workload) DriftQuery {
		q := DriftQuery{Namespace: "team", Window: time.Hour}
		q.Serve(w)
		return q
	}
	t.Run("a version", func(t *testing.T) {
		q := query
		q.Version, q.Default = "8", "8"
		got, err := s.Drift(t.Context(), q)
		if err != nil || len(got.Versions) != 1 || got.Versions[0].Version != "8" {
			t.Errorf("%v: %+v", err, got)
		}
	})
	t.Run("a workload", func(t *testing.T) {
		q := of(&Workload{Namespace: "team", Kind: kindDeployment, Name: "prices", Model: "prices", Version: "7", owners: map[string]string{"prices-abc12": "7"}})
		got, err := s.Drift(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		seven := got.only(t, "prices", "7")
		wantShares(t, "area", observation(t, seven, "area").Live, 120*20, 0.2, 0.2, 0.2, 0.4)
		if len(seven.Gauges) != 2 {
			t.Errorf("gauges %+v", seven.Gauges)
		}
	})
	t.Run("of which series name no model", func(t *testing.T) {
		q := of(&Workload{Namespace: "team", Kind: kindDeployment, Name: "silent", owners: map[string]string{"silent-5f6d7": "3"}})
		got, err := s.Drift(t.Context(), q)
		if err != nil || len(got.Versions) != 1 {
			t.Fatalf("%v: %+v", err, got)
		}
		wantShares(t, "area", observation(t, got.only(t, "", "3"), "area").Live, 1200, 0.5, 0.5, 0, 0)
	})
	t.Run("a model without pods", func(t *testing.T) {
		got, err := s.Drift(t.Context(), DriftQuery{Namespace: "team", Model: "static", Default: "2", Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		wantShares(t, "area", observation(t, got.only(t, "static", "2"), "area").Live, 1200, 0, 0, 0.5, 0.5)
	})
	t.Run("nobody", func(t *testing.T) {
		got, err := s.Drift(t.Context(), DriftQuery{Namespace: "team", Model: `no"such\model`, Window: time.Hour})
		if err != nil || len(got.Versions) != 0 {
			t.Errorf("%v: %+v", err, got)
		}
	})
}

// TestDriftOfNativeHistograms has Prometheus store histograms as native ones with buckets of their own.
func TestDriftOfNativeHistograms(t *testing.T) {
	t.Parallel()
	// Such ones take no samples with times of their own: they are scraped as they grow.
	text := func(n int) string {
		var b strings.Builder
		b.WriteString("# TYPE ml_feature_value histogram\n")
		for i, le := range []string{"1", "2", "4", "+Inf"} {
			fmt.Fprintf(&b, "ml_feature_value_bucket{model=\"m\",version=\"1\",feature=\"f\",le=%q} %d\n", le, n*100*[]int{1, 1, 3, 4}[i])
		}
		fmt.Fprintf(&b, "ml_feature_value_sum{model=\"m\",version=\"1\",feature=\"f\"} %d\nml_feature_value_count{model=\"m\",version=\"1\",feature=\"f\"} %d\n", n*1000, n*400)
		return b.String()
	}
	s := engineWith(t, "  scrape_native_histograms: true\n  convert_classic_histograms_to_nhcb: true\n", exporter{"native", true, map[string]string{"pod": "m-0", "namespace": "team"}, text})
	got, err := s.Drift(t.Context(), DriftQuery{Namespace: "team", Model: "m", Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	o := observation(t, got.only(t, "m", "1"), "f")
	if o.Err != nil || o.Last.IsZero() {
		t.Fatalf("%+v", o)
	}
	base := drift.Reference{Distribution: drift.Distribution{Bounds: []float64{1, 2, 4}, Counts: []float64{2500, 0, 5000, 2500}}}
	row := drift.Judge(&base, &o, drift.Options{Now: got.Now, Window: time.Minute})
	if row.Verdict != drift.OK || *row.PSI > 1e-9 || !strings.Contains(fmt.Sprint(row.Bins), "0.25") {
		t.Errorf("%+v of %+v", row, o.Live)
	}
}

// TestDriftAsksThreeQueries counts requests for fifty features, and for what comes when some of them fail.
func TestDriftAsksThreeQueries(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	failing := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query().Get("query")
		if failing != "" && strings.Contains(query, failing) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"error","errorType":"unavailable","error":"not now"}`))
			return
		}
		var list []string
		if strings.Contains(query, "_bucket") {
			for i := range 50 {
				for part, values := range map[string][]int{"bucket": {500, 1000}, "series": {3, 3}} {
					for k, le := range []string{"1", "+Inf"} {
						list = append(list, fmt.Sprintf(`{"metric":{"model":"m","version":"1","feature":"f%d","le":%q,"kubectl_ml_part":"feature/%s"},"value":[1,"%d"]}`, i, le, part, values[k]))
					}
				}
			}
			list = append(list,
				`{"metric":{"model":"m","version":"1","feature":"nan","le":"1","kubectl_ml_part":"feature/bucket"},"value":[1,"NaN"]}`,
				`{"metric":{"model":"m","version":"1","feature":"nan","le":"+Inf","kubectl_ml_part":"feature/bucket"},"value":[1,"5"]}`,
				`{"metric":{"model":"m","version":"1","feature":"le","le":"x\u001b[31m","kubectl_ml_part":"feature/bucket"},"value":[1,"5"]}`,
				`{"metric":{"model":"m","version":"1","le":"1","kubectl_ml_part":"feature/bucket"},"value":[1,"5"]}`,
			)
		}
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(list, ","))
	}))
	t.Cleanup(server.Close)
	s := direct(t, server.URL)
	q := DriftQuery{Namespace: "team", Model: "m", Window: time.Hour, Offset: time.Hour}
	got, err := s.Drift(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("%d queries", n)
	}
	v := got.only(t, "m", "1")
	if len(v.Seen) != 52 || observation(t, v, "f49").Live.Total() != 1000 {
		t.Errorf("%d features", len(v.Seen))
	}
	for name, want := range map[string]string{"nan": "counts NaN", "le": "is no number"} {
		if o := observation(t, v, name); o.Err == nil || !strings.Contains(o.Err.Error(), want) || strings.Contains(o.Err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, o.Err)
		}
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "have no label feature") {
		t.Errorf("notes %q", got.Notes)
	}
	failing = "trustyai"
	if got, err := s.Drift(t.Context(), q); err != nil || !strings.Contains(strings.Join(got.Notes, "\n"), "what exporters say of drift is not known: not now") {
		t.Errorf("%v: %+v", err, got)
	}
	failing = "_bucket"
	if _, err := s.Drift(t.Context(), q); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Drift(ctx, q); err == nil {
		t.Error("it answers though nobody waits")
	}
	if _, err := s.Drift(t.Context(), DriftQuery{Namespace: "team"}); err == nil {
		t.Error("it asks for everything")
	}
}

// TestNativeHistogramsOfSeveralResolutions are not added up.
func TestNativeHistogramsOfSeveralResolutions(t *testing.T) {
	t.Parallel()
	of := func(bounds ...float64) *model.SampleHistogram {
		h := &model.SampleHistogram{}
		for i := 1; i < len(bounds); i++ {
			h.Buckets = append(h.Buckets, &model.HistogramBucket{Lower: model.FloatString(bounds[i-1]), Upper: model.FloatString(bounds[i]), Count: 10})
		}
		return h
	}
	var fits, not side
	fits.addNative(of(1, 2, 4))
	fits.addNative(of(2, 4, 8))
	if d, _, err := fits.distribution(); err != nil || d.Total() != 40 || fmt.Sprint(d.Counts) != "[0 10 20 10 0]" {
		t.Errorf("%v %v", d, err)
	}
	not.addNative(of(1, 2, 4))
	not.addNative(of(1, 4))
	if d, _, err := not.distribution(); err == nil {
		t.Errorf("added up to %v", d)
	}
	var none side
	none.addNative(nil)
	if d, _, err := none.distribution(); err != nil || d.Total() != 0 {
		t.Errorf("%v %v", d, err)
	}
}
