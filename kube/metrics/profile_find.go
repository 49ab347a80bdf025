package metrics

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// scope is what is asked about.
type scope struct {
	// namespace is one, or empty for all.
	namespace string
	// pods and services are expressions that names match; empty is any.
	pods, services string
	// own come before the profiles that are known.
	own []Profile
	// only is the name of the one profile to look for; empty is all.
	only string
}

func (s *scope) profiles() []Profile {
	all := slices.Concat(s.own, Profiles())
	if s.only != "" {
		all = slices.DeleteFunc(all, func(p Profile) bool { return p.Name != s.only })
	}
	return all
}

// matches are the selectors of one series request: of each latency metric what tells that it is there and in which form,
// which is a series or two of each.
func (s *scope) matches() []string {
	type key struct {
		pair
		service bool
	}
	var keys []key
	names := map[key][]string{}
	for _, p := range s.profiles() {
		for _, pr := range p.pairs() {
			k := key{pr, p.OfService}
			if names[k] == nil {
				keys = append(keys, k)
			}
			if !slices.Contains(names[k], p.Latency) {
				names[k] = append(names[k], p.Latency)
			}
		}
	}
	var out []string
	for _, k := range keys {
		r := Reading{pair: k.pair, namespace: s.namespace, names: s.pods}
		if k.service {
			if s.pods != "" && s.services == "" {
				continue
			}
			r.names = s.services
		}
		pattern := "(" + strings.Join(names[k], "|") + ")(_count|_bucket)?"
		out = append(out, r.selector(fmt.Sprintf(`__name__=~%q,le=~"|[+]Inf"`, pattern)))
	}
	return out
}

// holder is what a series is about.
type holder struct {
	namespace string
	// group is what pods count as: the name of their ReplicaSet or StatefulSet, or their own; or that of a Service.
	group   string
	service bool
}

// presence is what a profile's series say of one holder.
type presence struct {
	profile int
	pair    pair
	forms   Forms
	by      []string
}

// found is what a series request told.
type found struct {
	profiles []Profile
	// of are the presences of each holder, the profiles in their order.
	of map[holder][]presence
}

// probe finds which profiles the pods in scope have, by one request.
func (s *Source) probe(ctx context.Context, sc scope, window time.Duration, now time.Time) (*found, error) {
	f := &found{profiles: sc.profiles(), of: map[holder][]presence{}}
	if len(f.profiles) == 0 {
		return f, nil
	}
	strip := regexp.MustCompile("^" + (&Reading{}).ownerPattern() + "$")
	rows := map[string][]int{}
	for i := range f.profiles {
		rows[f.profiles[i].Latency] = append(rows[f.profiles[i].Latency], i)
	}
	err := s.series(ctx, sc.matches(), now.Add(-window), now, func(l labels) {
		base, form := formOf(l, rows)
		for _, i := range rows[base] {
			f.note(i, form, l, strip)
		}
	})
	for h, list := range f.of {
		list = slices.DeleteFunc(list, func(p presence) bool { return p.forms.none() })
		slices.SortStableFunc(list, func(a, b presence) int { return cmp.Compare(a.profile, b.profile) })
		f.of[h] = list
		if len(list) == 0 {
			delete(f.of, h)
		}
	}
	return f, err
}

// formOf tells of which metric a series is, and what it says of its form.
func formOf(l labels, rows map[string][]int) (string, Forms) {
	name := l["__name__"]
	if _, ok := rows[name]; ok {
		if _, ok := l["quantile"]; ok {
			return name, Forms{Quantiles: true}
		}
		return name, Forms{Native: true, Counter: true} // which of the two, the profile says
	}
	if base, ok := strings.CutSuffix(name, "_bucket"); ok {
		return base, Forms{Classic: true}
	}
	base, _ := strings.CutSuffix(name, "_count")
	return base, Forms{Sum: true}
}

func (f *found) note(i int, form Forms, l labels, strip *regexp.Regexp) {
	p := &f.profiles[i]
	if p.Kind == CounterRatio {
		form = Forms{Counter: form.Counter}
	} else {
		form.Counter = false
	}
	for _, pr := range p.pairs() {
		if l[pr.name] == "" || l[pr.namespace] == "" || pr.without != "" && l[pr.without] != "" {
			continue
		}
		h := holder{namespace: l[pr.namespace], group: l[pr.name], service: p.OfService}
		if m := strip.FindStringSubmatch(h.group); !p.OfService && m != nil {
			h.group = m[1]
		}
		list := f.of[h]
		at := slices.IndexFunc(list, func(q presence) bool { return q.profile == i && q.pair == pr })
		if at < 0 {
			list, at = append(list, presence{profile: i, pair: pr}), len(list)
		}
		q := &list[at]
		q.forms = Forms{
			Classic: q.forms.Classic || form.Classic, Native: q.forms.Native || form.Native, Quantiles: q.forms.Quantiles || form.Quantiles,
			Sum: q.forms.Sum || form.Sum, Counter: q.forms.Counter || form.Counter,
		}
		for _, names := range [][]string{p.Model, p.Version} {
			if n := firstName(l, names); n != "" && !slices.Contains(q.by, n) {
				q.by = append(q.by, n)
			}
		}
		f.of[h] = list
		return
	}
}

// firstName is the first of the labels that says something.
func firstName(l labels, names []string) string {
	for _, n := range names {
		if l[n] != "" {
			return n
		}
	}
	return ""
}

// holders are all that have a profile, sorted.
func (f *found) holders() []holder {
	return slices.SortedFunc(maps.Keys(f.of), func(a, b holder) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.group, b.group))
	})
}

// series asks for the labels of the series that match any of the selectors, by one request, and calls f with each. The
// labels that f gets are overwritten by the next ones.
func (s *Source) series(ctx context.Context, matches []string, from, to time.Time, f func(labels)) error {
	if len(matches) == 0 {
		return nil
	}
	u := s.conn.URL("/api/v1/series", nil)
	q := u.Query()
	q["match[]"] = matches
	q.Set("start", strconv.FormatInt(from.Unix(), 10))
	q.Set("end", strconv.FormatInt(to.Unix(), 10))
	u.RawQuery = q.Encode()
	return s.read(ctx, u.String(), func(r io.Reader) ([]string, error) { return readSeries(r, f) })
}

// read asks, and hands the answer on as it comes. Warnings come as a *PartialError.
func (s *Source) read(ctx context.Context, address string, decode func(io.Reader) ([]string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	body, err := s.conn.open(req)
	if err != nil {
		return explain("ask Prometheus "+s.where, err)
	}
	defer func() { _ = body.Close() }()
	bounded := &io.LimitedReader{R: body, N: s.conn.limit}
	warnings, err := decode(bounded)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil && bounded.N <= 0:
		err = s.conn.tooLarge()
	}
	switch {
	case err != nil:
		return explain("ask Prometheus "+s.where, err)
	case len(warnings) > 0:
		return &PartialError{Where: s.where, Warnings: warnings}
	}
	return nil
}

// readSeries reads the answer to a series request as it comes.
func readSeries(r io.Reader, f func(labels)) (warnings []string, err error) {
	dec := json.NewDecoder(r)
	reader := labelReader{labels{}, map[string]string{}}
	var failure string
	var partial, told bool
	err = object(dec, func(key string) error {
		switch key {
		case "error":
			return dec.Decode(&failure)
		case "warnings":
			return dec.Decode(&warnings)
		case "isPartial": // VictoriaMetrics
			return dec.Decode(&partial)
		case "data":
			told = true
			return array(dec, func() error {
				clear(reader.labels)
				if err := dec.Decode(&reader); err != nil {
					return err
				}
				f(reader.labels)
				return nil
			})
		}
		return skip(dec)
	})
	switch {
	case failure != "":
		return nil, &client.Error{What: short(failure)}
	case err != nil:
		return nil, fmt.Errorf("it does not answer as Prometheus does: %w", err)
	case !told:
		return nil, &client.Error{What: "it does not answer as Prometheus does: no series", Hint: nameAnother}
	case partial:
		warnings = append(warnings, "some storage nodes did not answer")
	}
	return warnings, nil
}
