package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/drift"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// DriftTarget is what drift is looked for in: a model, one version of it, or what serves one. It keeps the baselines that
// it has read, which never change. It may be used by many at once.
type DriftTarget struct {
	arg   string
	c     *client.Client
	query DriftQuery
	// known says that it is in the cluster; else only series may know of it. Notes say what could not be read.
	known bool
	notes []string

	mu        sync.Mutex
	baselines map[versionKey]baseline
}

// baseline is a baseline, or why there is none.
type baseline struct {
	doc *drift.Baseline
	why string
}

// DriftRequest says how drift is judged.
type DriftRequest struct {
	// Window is the time that live values are of.
	Window time.Duration
	// Offset compares with the same time so much earlier; 0 with the baseline of the version.
	Offset  time.Duration
	Options drift.Options
	// Features are the only ones to judge, and predictions; empty for all.
	Features []string
}

// FindDrift finds what arg names: MODEL, MODEL:VERSION or MODEL@ALIAS of the registry, or [KIND/]NAME of what serves.
func FindDrift(ctx context.Context, c *client.Client, arg string) (*DriftTarget, error) {
	t := &DriftTarget{arg: arg, c: c, query: DriftQuery{Namespace: c.Namespace}, baselines: map[versionKey]baseline{}}
	if strings.ContainsAny(arg, ":@") {
		return t, t.findVersion(ctx)
	}
	fleet, err := Workloads(ctx, c, c.Namespace)
	var list []*Workload
	if err == nil {
		list, err = fleet.Find(ctx, c, arg)
	}
	if err == nil && len(list) > 0 {
		t.known = true
		t.query.Serve(list)
		return t, nil
	}
	ref, refErr := registry.ParseRef(arg)
	if refErr != nil {
		return nil, err
	}
	v, refErr := registry.Resolve(ctx, c, ref)
	var missing *registry.NotFoundError
	switch {
	case refErr == nil:
		t.known, t.query.Default = true, strconv.Itoa(v.Version)
	case !errors.As(refErr, &missing):
		t.notes = append(t.notes, "the registry cannot be read: "+bare(refErr).Error())
	}
	t.query.Model = ref.Model
	return t, ctx.Err()
}

// findVersion finds a version of the registry, and what serves its model.
func (t *DriftTarget) findVersion(ctx context.Context) error {
	ref, err := registry.ParseRef(t.arg)
	if err != nil {
		return err
	}
	v, err := registry.Resolve(ctx, t.c, ref)
	if err != nil {
		return err
	}
	if fleet, err := Workloads(ctx, t.c, t.c.Namespace); err != nil {
		t.notes = append(t.notes, "what serves the model is not known: "+bare(err).Error())
	} else {
		t.query.Serve(fleet.where(func(w *Workload) bool { return w.Model == ref.Model }))
	}
	t.known, t.query.Model = true, ref.Model
	t.query.Version, t.query.Default = strconv.Itoa(v.Version), ""
	t.keep(versionKey{v.Model, t.query.Version}, v, nil)
	return nil
}

// Reports judge each version that s knows of, sorted by model and version. Without anything in s there is one that says
// what is missing.
func (t *DriftTarget) Reports(ctx context.Context, s *Source, r DriftRequest) ([]drift.Report, error) {
	q := t.query
	q.Window, q.Offset = r.Window, r.Offset
	got, err := s.Drift(ctx, q)
	if err != nil {
		return nil, err
	}
	versions := got.Versions
	if v := t.expected(); v != "" && !slices.ContainsFunc(versions, func(d Drift) bool { return d.Version == v && len(d.Seen) > 0 }) {
		versions = append(versions, Drift{Model: q.Model, Version: v, Before: &drift.Baseline{}})
	}
	versions = fold(versions)
	if len(versions) == 0 {
		return nil, t.nothing(s)
	}
	opt := r.Options
	opt.Window, opt.Now = r.Window, got.Now
	out := make([]drift.Report, 0, len(versions))
	for i := range versions {
		v := &versions[i]
		b := baseline{doc: v.Before, why: "nothing was counted then"}
		against := promDuration(r.Offset) + " before"
		if r.Offset == 0 {
			b, against = t.baseline(ctx, versionKey{v.Model, v.Version}), "its baseline"
		}
		doc, seen, err := only(r.Features, b.doc, v.Seen)
		if err != nil {
			return nil, err
		}
		rep := drift.NewReport(doc, b.why, seen, v.Gauges, opt)
		rep.Model, rep.Version, rep.Against = v.Model, v.Version, against
		if b.doc == nil && b.why != "" {
			rep.Notes = append(rep.Notes, b.why)
		}
		rep.Notes = append(rep.Notes, slices.Concat(t.notes, got.Notes)...)
		out = append(out, rep)
	}
	if !slices.ContainsFunc(out, func(r drift.Report) bool { return len(r.Rows)+len(r.Gauges) > 0 }) {
		return nil, t.nothing(s)
	}
	return out, nil
}

// expected is the version that should be there; empty where none is named.
func (t *DriftTarget) expected() string {
	if t.query.Model == "" {
		return ""
	}
	if t.query.Version != "" {
		return t.query.Version
	}
	return t.query.Default
}

// fold gives what is said of no version to the only one that there is, and drops empty doubles.
func fold(versions []Drift) []Drift {
	i := slices.IndexFunc(versions, func(v Drift) bool { return v.Version == "" && len(v.Seen) == 0 })
	if i < 0 || len(versions) != 2 || versions[1-i].Model != versions[i].Model {
		return merged(versions)
	}
	other := versions[1-i]
	other.Gauges = slices.Concat(other.Gauges, versions[i].Gauges)
	return []Drift{other}
}

// merged makes one of those of one version: what was seen of it, and what exporters say.
func merged(versions []Drift) []Drift {
	var out []Drift
	for _, v := range versions {
		i := slices.IndexFunc(out, func(o Drift) bool { return o.Model == v.Model && o.Version == v.Version })
		if i < 0 {
			out = append(out, v)
			continue
		}
		out[i].Seen, out[i].Gauges = append(out[i].Seen, v.Seen...), append(out[i].Gauges, v.Gauges...)
	}
	return out
}

// only keeps the features of these names; one that is nowhere is an error.
func only(names []string, b *drift.Baseline, seen []drift.Observation) (*drift.Baseline, []drift.Observation, error) {
	if len(names) == 0 {
		return b, seen, nil
	}
	there := map[string]bool{}
	for _, o := range seen {
		there[o.Name] = true
	}
	drop := func(name string, _ drift.Reference) bool {
		there[name] = true
		return !slices.Contains(names, name)
	}
	if b != nil {
		b = &drift.Baseline{Version: b.Version, Features: maps.Clone(b.Features), Predictions: maps.Clone(b.Predictions)}
		maps.DeleteFunc(b.Features, drop)
		maps.DeleteFunc(b.Predictions, drop)
	}
	for _, name := range names {
		if !there[name] {
			return nil, nil, &client.Error{What: fmt.Sprintf("there is no feature or prediction %q", name), Hint: "there are: " + some(slices.Sorted(maps.Keys(there)))}
		}
	}
	return b, slices.DeleteFunc(slices.Clone(seen), func(o drift.Observation) bool { return !slices.Contains(names, o.Name) }), nil
}

func some(names []string) string {
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	if text == "" {
		return "none"
	}
	return short(text)
}

// offsetHint is another way where there is no baseline.
const offsetHint = "compare with an earlier time: --against offset=7d"

// baseline reads the baseline of a version, once.
func (t *DriftTarget) baseline(ctx context.Context, k versionKey) baseline {
	t.mu.Lock()
	b, ok := t.baselines[k]
	t.mu.Unlock()
	if ok {
		return b
	}
	n, err := strconv.Atoi(k.version)
	switch {
	case k.model == "":
		return baseline{why: "it is not known of which model this is: name it as MODEL:VERSION, or " + offsetHint}
	case err != nil || n <= 0:
		return baseline{why: fmt.Sprintf("its series have no version of the registry: %q; %s", short(k.version), offsetHint)}
	}
	v, err := registry.Resolve(ctx, t.c, registry.Ref{Model: k.model, Version: n})
	return t.keep(k, v, err)
}

// keep keeps what is known of a baseline, but no error that may pass.
func (t *DriftTarget) keep(k versionKey, v registry.Version, err error) baseline {
	ref := k.model + ":" + k.version
	var missing *registry.NotFoundError
	var b baseline
	switch {
	case errors.As(err, &missing):
		b.why = ref + " is not registered: it has no baseline; " + offsetHint
	case err != nil:
		return baseline{why: "the baseline of " + ref + " cannot be read: " + bare(err).Error()}
	case len(v.Baseline) == 0:
		b.why = ref + " has no baseline: register versions with one, or " + offsetHint
	default:
		var broken error
		if b.doc, broken = drift.DecodeBaseline(v.Baseline); broken != nil {
			b.why = ref + ": " + broken.Error()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.baselines[k] = b
	return b
}

// nothing says that no series were found, and which were looked for.
func (t *DriftTarget) nothing(s *Source) error {
	e := &client.Error{
		What: fmt.Sprintf("Prometheus %s has nothing of %s in namespace %s: no %s, no %s, no gauge of drift", s.where, short(t.arg), t.c.Namespace, featureValue, predictionValue),
		Hint: "what a model should export is in docs/guide-drift.md; name another Prometheus with --prometheus",
	}
	if !t.known {
		e.What = fmt.Sprintf("nothing is known of %s in namespace %s: no workload and no model has that name, and Prometheus %s has no series with model=%q", short(t.arg), t.c.Namespace, s.where, short(t.query.Model))
		e.Hint = "see what there is with: kubectl ml models"
	}
	return e
}
