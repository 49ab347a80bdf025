package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// servingDecoder makes servings of the answers to a Board's queries.
type servingDecoder struct {
	board *Board
	rows  map[servingKey]map[string]float64
	keys  []servingKey
}

// servingKey is a row of the board, and what the metric's own labels tell apart in it.
type servingKey struct {
	reading        int
	row            *Serving
	model, version string
}

func newServingDecoder(b *Board) *servingDecoder {
	return &servingDecoder{board: b, rows: map[servingKey]map[string]float64{}}
}

// keyOf finds whose a sample is; false when it is nobody's that was asked for.
func (b *Board) keyOf(reading int, l labels) (servingKey, bool) {
	r := &b.readings[reading]
	row, ok := b.of[reading][groupKey{l[r.pair.namespace], l[groupLabel]}]
	if !ok {
		return servingKey{}, false
	}
	return servingKey{reading, row, first(l, r.Profile.Model), first(l, r.Profile.Version)}, true
}

func (d *servingDecoder) take(reading int, s sample) {
	key, ok := d.board.keyOf(reading, s.labels)
	if !ok {
		return
	}
	v := d.rows[key]
	if v == nil {
		v = map[string]float64{}
		d.rows[key] = v
		d.keys = append(d.keys, key)
	}
	v[s.labels[fieldLabel]] = s.value
}

// spread gives what a runtime tells of itself without naming a model to the one model that it serves.
func (d *servingDecoder) spread() {
	named := map[servingKey][]servingKey{}
	for _, k := range d.keys {
		if k.model != "" || k.version != "" {
			whole := servingKey{reading: k.reading, row: k.row}
			named[whole] = append(named[whole], k)
		}
	}
	d.keys = slices.DeleteFunc(d.keys, func(k servingKey) bool {
		if len(named[k]) != 1 {
			return false
		}
		for field, v := range d.rows[k] {
			to := d.rows[named[k][0]]
			if _, ok := to[field]; !ok {
				to[field] = v
			}
		}
		return true
	})
}

func (d *servingDecoder) servings() []Serving {
	d.spread()
	slices.SortFunc(d.keys, func(a, b servingKey) int {
		return cmp.Or(cmp.Compare(a.model, b.model), cmp.Compare(number(a.version), number(b.version)), cmp.Compare(a.version, b.version))
	})
	of := map[*Serving][]servingKey{}
	for _, k := range d.keys {
		of[k.row] = append(of[k.row], k)
	}
	var out []Serving
	for _, row := range d.board.rows {
		if len(of[row]) == 0 {
			if d.gone(row, of) {
				continue
			}
			s := *row
			s.Notes = d.board.unmeasured(&s)
			out = append(out, s)
		}
		for _, k := range of[row] {
			s := *row
			d.fill(&s, k)
			out = append(out, s)
		}
	}
	return out
}

// gone says that a row had series only before the window: pods of a workload or a version that is no more.
func (d *servingDecoder) gone(row *Serving, of map[*Serving][]servingKey) bool {
	if row.Kind == "" {
		return true
	}
	for _, o := range d.board.rows {
		if o != row && o.Namespace == row.Namespace && o.Name == row.Name && o.Kind == row.Kind && len(of[o]) > 0 {
			return true
		}
	}
	return false
}

// fill writes what was answered, and says of what was not why.
func (d *servingDecoder) fill(s *Serving, k servingKey) {
	r, v := &d.board.readings[k.reading], d.rows[k]
	get := func(field string) *float64 {
		if x, ok := v[field]; ok {
			return known(x)
		}
		return nil
	}
	s.answered = true
	s.Profile, s.Metric, s.Form = r.Profile.Name, r.Profile.Latency, r.kind()
	s.Served, s.Version = k.model, cmp.Or(k.version, s.Version)
	s.P50, s.P95, s.P99, s.Mean = get(FieldP50), get(FieldP95), get(FieldP99), get(FieldMean)
	s.Rate, s.Errors = get(FieldRate), get(FieldErrors)
	s.Queue, s.Running, s.Tokens, s.Full = get(FieldQueue), get(FieldRunning), get(FieldTokens), get(FieldFull)
	s.FirstToken, s.NextToken = get(FieldFirstToken), get(FieldNextToken)
	if highest, ok := v[fieldHighest]; ok && !r.Forms.Native {
		for _, q := range quantiles() {
			if x := get(q.field); x != nil && *x >= highest {
				s.AtLeast = append(s.AtLeast, q.field)
			}
		}
	}
	mean, answered := v[FieldMean]
	s.Idle = s.Rate != nil && *s.Rate == 0 || s.Rate == nil && answered && math.IsNaN(mean)
	s.Notes = r.notes(s, d.board)
}

// kind is in which form the latency is stored.
func (r *Reading) kind() Kind {
	switch {
	case r.Profile.Kind == CounterRatio:
		return CounterRatio
	case r.Forms.Classic || r.Forms.Native:
		return Histogram
	case r.Forms.Quantiles:
		return Summary
	}
	return SumCount
}

// notes say what cannot be known, and why.
func (r *Reading) notes(s *Serving, b *Board) []string {
	var out []string
	switch r.kind() {
	case Histogram:
	case SumCount:
		out = append(out, "mean only: "+r.Profile.Latency+" has a sum and a count, and no quantiles (it is a Summary of Python's client, or a histogram without buckets)")
	case CounterRatio:
		out = append(out, "mean only: "+r.Profile.Name+" counts times and requests, and no quantiles")
	case Summary:
		if s.P95 == nil && s.P99 == nil && s.P50 == nil && !s.Idle {
			out = append(out, r.Profile.Latency+" is a summary without the quantiles 0.5, 0.95 and 0.99")
		} else if s.P50 != nil || s.P95 != nil || s.P99 != nil {
			out = append(out, "quantiles are the worst of a pod: those of a summary cannot be added up")
		}
	}
	if s.Idle {
		out = append(out, "no traffic in "+promDuration(b.window))
	}
	if len(s.AtLeast) > 0 {
		out = append(out, strings.Join(s.AtLeast, ", ")+": above the highest bound of "+r.Profile.Latency)
	}
	if s.Errors == nil && !s.Idle {
		if len(r.Profile.Errors.Names) == 0 {
			out = append(out, "errors are not known: no counter of them is known for "+r.Profile.Name)
		} else {
			out = append(out, "errors are not known: "+r.Profile.Errors.Names[0]+" is not exported")
		}
	}
	return out
}

// unmeasured says why nothing is known of a row.
func (b *Board) unmeasured(s *Serving) []string {
	if s.Profile != "" {
		return []string{fmt.Sprintf("%s is there, but had no samples in %s", s.Metric, promDuration(b.window))}
	}
	return []string{"no latency metric of a runtime that is known"}
}
