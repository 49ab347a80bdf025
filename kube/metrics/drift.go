package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fvbommel/sortorder"
	"github.com/prometheus/common/model"

	"github.com/kubectl-ml/kubectl-ml/kube/drift"
)

// DriftQuery says whose distributions to ask for. At least one of Model and Pods is set.
type DriftQuery struct {
	Namespace string
	// Model is the value of the label model; series without that label count when they are of Pods.
	Model string
	// Version is the only version to ask for, in decimal digits; empty: all that are exported.
	Version string
	// Pods are patterns of the names of the pods that serve it.
	Pods []string
	// Owns says which version a group of pods serves, by the name of its ReplicaSet or StatefulSet, and whether it is one
	// of those asked for; nil where none is.
	Owns func(group string) (version string, ok bool)
	// Names are other names under which exporters of drift may speak of it, such as that of the Deployment.
	Names []string
	// Default is the version of series that do not say theirs.
	Default string
	// Window is the time that values are of. Offset is how long before it the time lies that is compared with; 0 for none.
	Window time.Duration
	Offset time.Duration
}

// Drift is what was seen of one version of a model.
type Drift struct {
	Model, Version string
	Seen           []drift.Observation
	// Before has the distributions of the time before, by the name of the feature or prediction; nil without Offset.
	Before *drift.Baseline
	Gauges []drift.Gauge
}

// DriftAnswer is what Prometheus says of a query.
type DriftAnswer struct {
	// Now is by the clock of Prometheus.
	Now time.Time
	// Versions are sorted by model and version.
	Versions []Drift
	// Notes say what is missing.
	Notes []string
}

// Drift asks for the distributions of all features and predictions, when they were seen last, and what exporters say
// themselves: three queries, however many features there are.
func (s *Source) Drift(ctx context.Context, q DriftQuery) (*DriftAnswer, error) {
	if q.Model == "" && len(q.Pods) == 0 {
		return nil, errors.New("neither a model nor pods to ask for")
	}
	var answers [3]model.Vector
	var errs [3]error
	var wg sync.WaitGroup
	for i, expr := range []string{countsExpr(&q), seenExpr(&q), gaugesExpr(&q)} {
		wg.Go(func() { answers[i], errs[i] = s.vector(ctx, expr) })
	}
	wg.Wait()
	d := driftDecoder{q: &q, rows: map[driftKey]*driftRow{}, gauges: map[versionKey][]drift.Gauge{}, now: time.Now()}
	for i, err := range errs {
		var partial *PartialError
		switch {
		case err == nil:
		case errors.As(err, &partial):
			d.note(err.Error())
		case i == 0:
			return nil, err
		default:
			d.note([]string{"", "when values were seen last is not known: ", "what exporters say of drift is not known: "}[i] + bare(err).Error())
		}
	}
	for _, v := range answers[1] {
		d.seen(v)
	}
	for _, v := range answers[0] {
		d.count(v)
	}
	for _, v := range answers[2] {
		d.gauge(v)
	}
	return d.answer(), nil
}

// versionKey is a version of a model, driftKey one of its distributions.
type versionKey struct{ model, version string }

type driftKey struct {
	versionKey
	kind drift.Kind
	name string
}

// side is one of the two distributions of a row, as it comes.
type side struct {
	buckets, series map[float64]float64
	values          map[string]float64
	spans           []drift.Span
	native          int
	broken          error
}

type driftRow struct {
	live, before side
	last         time.Time
}

// driftDecoder reads answers. It keeps no series, only what they come to.
type driftDecoder struct {
	q      *DriftQuery
	now    time.Time
	rows   map[driftKey]*driftRow
	gauges map[versionKey][]drift.Gauge
	notes  []string
}

func (d *driftDecoder) note(text string) {
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// key says whose a series is; false for one of somebody else.
func (d *driftDecoder) key(m model.Metric) (versionKey, bool) {
	k := versionKey{string(m["model"]), strings.TrimPrefix(string(m["version"]), "v")}
	of, owned := "", false
	if group := string(m[groupLabel]); group != "" && d.q.Owns != nil {
		of, owned = d.q.Owns(group)
	}
	if !owned && (d.q.Model == "" || k.model != d.q.Model) {
		return k, false
	}
	k.model = cmp.Or(k.model, d.q.Model)
	k.version = cmp.Or(k.version, of, d.q.Default)
	return k, d.q.Version == "" || k.version == d.q.Version
}

// row is the row of a series, with the part that it is of.
func (d *driftDecoder) row(m model.Metric) (row *driftRow, part string) {
	k, ok := d.key(m)
	if !ok {
		return nil, ""
	}
	kind, part, _ := strings.Cut(string(m[partLabel]), "/")
	key := driftKey{versionKey: k, kind: drift.Kind(kind), name: string(m["feature"])}
	if key.kind == drift.KindPrediction {
		key.name = cmp.Or(string(m["output"]), drift.Prediction)
	}
	if key.name == "" {
		d.note("some " + featureValue + " have no label feature")
		return nil, ""
	}
	if d.rows[key] == nil {
		d.rows[key] = &driftRow{}
	}
	return d.rows[key], part
}

// seen takes in when something was seen, and the time of Prometheus.
func (d *driftDecoder) seen(v *model.Sample) {
	at := seconds(float64(v.Value))
	if string(v.Metric[partLabel]) == "/"+partNow {
		if !at.IsZero() {
			d.now = at
		}
		return
	}
	if row, _ := d.row(v.Metric); row != nil && at.After(row.last) {
		row.last = at
	}
}

// count takes in a bucket, a native histogram or a category.
func (d *driftDecoder) count(v *model.Sample) {
	row, part := d.row(v.Metric)
	if row == nil {
		return
	}
	s := &row.live
	if rest, before := strings.CutPrefix(part, beforePrefix); before {
		s, part = &row.before, rest
	}
	n := float64(v.Value)
	switch part {
	case partBucket, partSeries:
		le, err := strconv.ParseFloat(string(v.Metric["le"]), 64)
		if err != nil {
			s.broken = fmt.Errorf("a bucket ends at %q, which is no number", short(string(v.Metric["le"])))
			return
		}
		if part == partBucket {
			add(&s.buckets, le, n)
		} else {
			add(&s.series, le, n)
		}
	case partCategory:
		add(&s.values, string(v.Metric["value"]), n)
	case partNative:
		s.addNative(v.Histogram)
	}
}

func add[K comparable](m *map[K]float64, k K, n float64) {
	if *m == nil {
		*m = map[K]float64{}
	}
	(*m)[k] += n
}

// addNative takes in a native histogram; a gauge or counter of that name is none.
func (s *side) addNative(h *model.SampleHistogram) {
	if h == nil {
		return
	}
	s.native++
	for _, b := range h.Buckets {
		s.spans = append(s.spans, drift.Span{Lower: float64(b.Lower), Upper: float64(b.Upper), Count: float64(b.Count)})
	}
}

// distribution is what the side comes to, and what is to know of it. Nothing is an empty one.
func (s *side) distribution() (out drift.Distribution, note string, err error) {
	switch {
	case s.broken != nil:
		return out, "", s.broken
	case len(s.buckets) > 0:
		// A bucket that not all series have is not one of their sum.
		most := 0.0
		for _, n := range s.series {
			most = max(most, n)
		}
		var list []drift.Bucket
		for le, n := range s.buckets {
			if s.series[le] >= most {
				list = append(list, drift.Bucket{LE: le, Count: n})
			}
		}
		if left := len(s.buckets) - len(list); left > 0 {
			note = fmt.Sprintf("its pods have different buckets: %d are left out", left)
		}
		if len(list) == 1 && note != "" {
			return out, "", errors.New("its pods have different buckets, and none in common")
		}
		out, err = drift.FromBuckets(list)
		return out, note, err
	case len(s.spans) > 0:
		if s.native > 1 {
			slices.SortFunc(s.spans, func(a, b drift.Span) int { return cmp.Compare(a.Upper, b.Upper) })
			for i := 1; i < len(s.spans); i++ {
				if a, b := s.spans[i-1], s.spans[i]; b.Lower < a.Upper && (a.Lower != b.Lower || a.Upper != b.Upper) {
					return out, "", errors.New("its native histograms have different resolutions: ask for one version")
				}
			}
		}
		out, err = drift.FromSpans(s.spans)
		return out, "", err
	case len(s.values) > 0:
		for _, v := range slices.Sorted(maps.Keys(s.values)) {
			n := s.values[v]
			if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
				return drift.Distribution{}, "", fmt.Errorf("the category %q counts %v", short(v), n)
			}
			out.Values, out.Counts = append(out.Values, v), append(out.Counts, n)
		}
	}
	return out, "", nil
}

// gauge takes in what an exporter says.
func (d *driftDecoder) gauge(v *model.Sample) {
	if v.Histogram != nil {
		return
	}
	names := append([]string{d.q.Model}, d.q.Names...)
	about, named := "", false
	for _, l := range []string{"model", "model_name", "modelName", "model_id", "modelId"} {
		if about = string(v.Metric[model.LabelName(l)]); about != "" {
			named = true
			break
		}
	}
	k := versionKey{d.q.Model, strings.TrimPrefix(string(v.Metric["version"]), "v")}
	of, owned := "", false
	if group := string(v.Metric[groupLabel]); group != "" && d.q.Owns != nil {
		of, owned = d.q.Owns(group)
	}
	if named && !slices.Contains(names, about) || !named && !owned {
		return
	}
	if owned {
		k.version = cmp.Or(k.version, of)
	}
	k.version = cmp.Or(k.version, d.q.Default)
	if d.q.Version != "" && k.version != "" && k.version != d.q.Version {
		return
	}
	labels := map[string]string{}
	for name, value := range v.Metric {
		if name != model.MetricNameLabel && name != groupLabel {
			labels[string(name)] = string(value)
		}
	}
	d.gauges[k] = append(d.gauges[k], drift.NewGauge(string(v.Metric[model.MetricNameLabel]), float64(v.Value), labels))
}

// answer sorts what came.
func (d *driftDecoder) answer() *DriftAnswer {
	out := &DriftAnswer{Now: d.now, Notes: d.notes}
	versions := map[versionKey]*Drift{}
	of := func(k versionKey) *Drift {
		if versions[k] == nil {
			versions[k] = &Drift{Model: k.model, Version: k.version}
			if d.q.Offset > 0 {
				versions[k].Before = &drift.Baseline{Version: drift.BaselineVersion, Features: map[string]drift.Reference{}, Predictions: map[string]drift.Reference{}}
			}
		}
		return versions[k]
	}
	for k, row := range d.rows {
		v := of(k.versionKey)
		o := drift.Observation{Kind: k.kind, Name: k.name, Last: row.last}
		o.Live, o.Note, o.Err = row.live.distribution()
		if v.Before != nil {
			if before, _, err := row.before.distribution(); err == nil && before.Total() > 0 {
				set := v.Before.Features
				if k.kind == drift.KindPrediction {
					set = v.Before.Predictions
				}
				set[k.name] = drift.Reference{Distribution: before}
			}
		}
		v.Seen = append(v.Seen, o)
	}
	for k, list := range d.gauges {
		of(k).Gauges = drift.Gauges(list, max(2*d.q.Window, time.Hour), d.now)
	}
	for _, v := range versions {
		slices.SortFunc(v.Seen, func(a, b drift.Observation) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), sortorder.NaturalCompare(a.Name, b.Name))
		})
		out.Versions = append(out.Versions, *v)
	}
	slices.SortFunc(out.Versions, func(a, b Drift) int {
		return cmp.Or(sortorder.NaturalCompare(a.Model, b.Model), sortorder.NaturalCompare(a.Version, b.Version))
	})
	return out
}
