package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Serving is how a version of a model is served: what one group of pods tells of its requests. Numbers are nil where
// they are not known; Notes say why.
type Serving struct {
	Workload
	// Served is the model by the metric's own label, where it has one.
	Served string `json:"servedModel,omitempty"`
	// Profile names the profile that was read, Metric its latency metric; empty when none was found.
	Profile string `json:"profile,omitempty"`
	Metric  string `json:"metric,omitempty"`
	Form    Kind   `json:"metricKind,omitempty"`
	// P50, P95, P99 and Mean are seconds.
	P50  *float64 `json:"p50,omitempty"`
	P95  *float64 `json:"p95,omitempty"`
	P99  *float64 `json:"p99,omitempty"`
	Mean *float64 `json:"mean,omitempty"`
	// AtLeast names the quantiles above the highest bound of the histogram: they are that, or more.
	AtLeast []string `json:"atLeast,omitempty"`
	// Rate is requests in a second, Errors the share of them that failed, 0..1.
	Rate   *float64 `json:"rate,omitempty"`
	Errors *float64 `json:"errors,omitempty"`
	// Queue and Running count requests, Tokens is tokens in a second, Full the share of the cache that is in use.
	Queue   *float64 `json:"queue,omitempty"`
	Running *float64 `json:"running,omitempty"`
	Tokens  *float64 `json:"tokens,omitempty"`
	Full    *float64 `json:"cacheUsage,omitempty"`
	// FirstToken and NextToken are the 95th percentiles of the times until the first token and between two, in seconds.
	FirstToken *float64 `json:"firstToken,omitempty"`
	NextToken  *float64 `json:"nextToken,omitempty"`
	// Idle says that there was no request in the window.
	Idle  bool     `json:"idle,omitempty"`
	Notes []string `json:"notes,omitempty"`

	// answered says that something was told of it, general that its profile is one of any web server.
	answered, general bool
}

// ID tells servings apart.
func (s *Serving) ID() string {
	return strings.Join([]string{s.Namespace, s.Kind, s.Name, s.Version, s.Served}, "/")
}

// Unmeasured says that nothing is known of its requests.
func (s *Serving) Unmeasured() bool { return !s.answered }

// Serves says that it serves models: by its labels, or by a profile that only runtimes of models have.
func (s *Serving) Serves() bool {
	labelled := s.Model != "" || slices.ContainsFunc(nameLabels()[:3], func(l string) bool { return s.labels[l] != "" || s.template[l] != "" })
	return labelled || s.Profile != "" && !s.general
}

// ServingOptions say what to ask.
type ServingOptions struct {
	// Namespace is one, or empty for all; it counts only without Workloads to ask about.
	Namespace string
	// Window is what rates and quantiles are over.
	Window time.Duration
	// Back is how far back series are looked for, at least Window.
	Back time.Duration
	// Own are profiles that come before the known ones, Only is the name of the one to look for.
	Own  []Profile
	Only string
	Now  time.Time
}

// Board are the servings of workloads and how they are asked for.
type Board struct {
	source   *Source
	readings []Reading
	window   time.Duration
	rows     []*Serving
	// of finds rows: by namespace and group of each reading.
	of []map[groupKey]*Serving
	// Problem is what Prometheus warned of when the series were found.
	Problem error
	// Others are profiles that were found and not read, as they say the same again.
	Others []string
}

type groupKey struct{ namespace, group string }

// Servings finds by one series request how workloads tell of their requests. With all, groups of pods that belong to
// none of the workloads count too, where they have a profile.
func (s *Source) Servings(ctx context.Context, list []*Workload, all bool, o ServingOptions) (*Board, error) {
	sc := scope{namespace: o.Namespace, own: o.Own, only: o.Only}
	if !all {
		var pods, services []string
		for _, w := range list {
			sc.namespace = w.Namespace
			pods = append(pods, w.patterns()...)
			for _, n := range w.services {
				services = append(services, regexp.QuoteMeta(n))
			}
		}
		sc.pods, sc.services = strings.Join(pods, "|"), strings.Join(services, "|")
	}
	f, err := s.probe(ctx, sc, max(o.Back, o.Window), o.Now)
	var partial *PartialError
	if err != nil && !errors.As(err, &partial) {
		return nil, err
	}
	b := &Board{source: s, window: o.Window, Problem: err}
	b.assign(f, list, all, sc.namespace)
	return b, nil
}

// rowOf is where a holder belongs: a workload and the version it serves.
func rowOf(h holder, list []*Workload) (*Workload, string) {
	for _, w := range list {
		if w.Namespace != h.namespace {
			continue
		}
		if h.service {
			if slices.Contains(w.services, h.group) {
				return w, w.Version
			}
		} else if v, ok := w.owns(h.group); ok {
			return w, v
		}
	}
	return nil, ""
}

// assign makes rows and readings of what was found: of each holder its first profile.
func (b *Board) assign(f *found, list []*Workload, all bool, namespace string) {
	type rowKey struct {
		w       *Workload
		version string
		own     holder
	}
	rows := map[rowKey]*Serving{}
	best := map[*Serving]int{} // of each row the first profile
	type place struct {
		row *Serving
		h   holder
		p   presence
	}
	var places []place
	others := map[string]bool{}
	for _, h := range f.holders() {
		w, version := rowOf(h, list)
		key := rowKey{w: w, version: version}
		if w == nil {
			if !all {
				continue
			}
			w, key.own = &Workload{Namespace: h.namespace, Name: h.group}, h
		}
		at, ok := rows[key]
		if !ok {
			at = &Serving{Workload: *w}
			at.Version = cmp.Or(version, w.Version)
			rows[key], best[at] = at, math.MaxInt
			b.rows = append(b.rows, at)
		}
		best[at] = min(best[at], f.of[h][0].profile)
		for _, p := range f.of[h] {
			places = append(places, place{at, h, p})
		}
	}
	reading := map[string]int{}
	type ofRow struct {
		reading int
		row     *Serving
	}
	groups := map[ofRow][]groupKey{}
	for _, pl := range places {
		p := f.profiles[pl.p.profile]
		if pl.p.profile != best[pl.row] {
			others[p.Name] = true
			continue
		}
		id := fmt.Sprint(pl.p.profile, pl.p.pair)
		r, ok := reading[id]
		if !ok {
			r = len(b.readings)
			reading[id] = r
			b.readings = append(b.readings, Reading{Profile: p, pair: pl.p.pair, namespace: namespace})
			b.of = append(b.of, map[groupKey]*Serving{})
		}
		b.readings[r].join(pl.p)
		key := groupKey{pl.h.namespace, pl.h.group}
		b.of[r][key] = pl.row
		at := ofRow{r, pl.row}
		groups[at] = append(groups[at], key)
		pl.row.Profile, pl.row.Metric, pl.row.general = p.Name, p.Latency, p.General
	}
	for at, keys := range groups {
		b.merge(at.reading, at.row, keys)
	}
	if !all {
		for r := range b.readings {
			b.restrict(r)
		}
	}
	b.missing(list)
	b.Others = slices.Sorted(maps.Keys(others))
}

// join takes in what is known of one more holder.
func (r *Reading) join(p presence) {
	f := &r.Forms
	f.Classic, f.Native, f.Quantiles, f.Sum, f.Counter = f.Classic || p.forms.Classic, f.Native || p.forms.Native, f.Quantiles || p.forms.Quantiles, f.Sum || p.forms.Sum, f.Counter || p.forms.Counter
	for _, n := range p.by {
		if !slices.Contains(r.by, n) {
			r.by = append(r.by, n)
		}
	}
	slices.Sort(r.by)
}

// merge makes one group of those of a row, such as two ReplicaSets of one version.
func (b *Board) merge(r int, row *Serving, keys []groupKey) {
	if len(keys) < 2 {
		return
	}
	suffix := podSuffix
	if b.readings[r].Profile.OfService {
		suffix = ""
	}
	slices.SortFunc(keys, func(a, b groupKey) int { return cmp.Compare(a.group, b.group) })
	patterns := make([]string, len(keys))
	for i, k := range keys {
		patterns[i] = regexp.QuoteMeta(k.group) + suffix
	}
	group := "#" + keys[0].group
	b.readings[r].merges = append(b.readings[r].merges, merge{group, strings.Join(patterns, "|")})
	slices.SortFunc(b.readings[r].merges, func(a, b merge) int { return cmp.Compare(a.group, b.group) })
	for key, of := range maps.Clone(b.of[r]) { // the same names in another namespace get the group too
		if slices.ContainsFunc(keys, func(k groupKey) bool { return k.group == key.group }) {
			b.of[r][groupKey{key.namespace, group}] = of
		}
	}
	b.of[r][groupKey{keys[0].namespace, group}] = row
}

// restrict asks only for the groups that were found.
func (b *Board) restrict(r int) {
	suffix := podSuffix + "?"
	if b.readings[r].Profile.OfService {
		suffix = ""
	}
	var names []string
	for _, k := range slices.SortedFunc(maps.Keys(b.of[r]), func(a, b groupKey) int { return cmp.Compare(a.group, b.group) }) {
		if !strings.HasPrefix(k.group, "#") {
			names = append(names, regexp.QuoteMeta(k.group)+suffix)
		}
	}
	b.readings[r].names = strings.Join(names, "|")
}

// missing adds rows for workloads of which nothing was found.
func (b *Board) missing(list []*Workload) {
	for _, w := range list {
		if !slices.ContainsFunc(b.rows, func(s *Serving) bool { return s.Namespace == w.Namespace && s.Name == w.Name && s.Kind == w.Kind }) {
			b.rows = append(b.rows, &Serving{Workload: *w})
		}
	}
	slices.SortStableFunc(b.rows, func(a, b *Serving) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
}

// Measure asks how the servings are now: three queries for each profile that is there, whatever the number of workloads.
// What one of them cannot be told is an error beside the rows.
func (b *Board) Measure(ctx context.Context) ([]Serving, error) {
	type answer struct {
		reading int
		sample
	}
	type ask struct {
		reading int
		parts   []part
	}
	var asks []ask
	for i := range b.readings {
		r := &b.readings[i]
		for _, parts := range [][]part{r.latency(b.window), r.traffic(b.window), r.extras(b.window)} {
			if len(parts) > 0 {
				asks = append(asks, ask{i, parts})
			}
		}
	}
	answers, errs := make([][]answer, len(asks)), make([]error, len(asks))
	slots := make(chan struct{}, maxConcurrent)
	var wg sync.WaitGroup
	for i, a := range asks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = b.source.each(ctx, query(a.parts), func(v sample) {
				v.labels = maps.Clone(v.labels)
				answers[i] = append(answers[i], answer{a.reading, v})
			})
		})
	}
	wg.Wait()
	d := newServingDecoder(b)
	for _, list := range answers {
		for _, a := range list {
			d.take(a.reading, a.sample)
		}
	}
	return d.servings(), errors.Join(compactErrors(append(errs, b.Problem))...)
}

// maxConcurrent is how many questions are asked at a time.
const maxConcurrent = 6

// compactErrors leaves out what was said already.
func compactErrors(errs []error) []error {
	var out []error
	said := map[string]bool{}
	for _, err := range errs {
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			out = append(out, err)
		}
	}
	return out
}
