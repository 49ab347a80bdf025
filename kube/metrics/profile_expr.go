package metrics

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fieldLabel tells the parts of one answer apart, groupLabel the pods that count as one.
const (
	fieldLabel = "kubectl_ml_field"
	groupLabel = "kubectl_ml_group"
)

// Fields of an answer.
const (
	FieldP50        = "p50"
	FieldP95        = "p95"
	FieldP99        = "p99"
	fieldHighest    = "highest" // the upper bound of the highest bucket that counted something
	FieldMean       = "mean"
	FieldRate       = "rate"
	FieldErrors     = "errors"
	FieldQueue      = "queue"
	FieldRunning    = "running"
	FieldTokens     = "tokens"
	FieldFull       = "full"
	FieldFirstToken = "firstToken"
	FieldNextToken  = "nextToken"
)

// quantiles are the fields that are quantiles.
func quantiles() []struct {
	field string
	q     float64
} {
	return []struct {
		field string
		q     float64
	}{{FieldP50, 0.5}, {FieldP95, 0.95}, {FieldP99, 0.99}}
}

// Forms say what Prometheus stores of a latency metric.
type Forms struct{ Classic, Native, Quantiles, Sum, Counter bool }

// none says that nothing usable is stored.
func (f Forms) none() bool { return f == Forms{} }

// Reading is a profile whose series are there, and how they are selected and grouped.
type Reading struct {
	Profile Profile
	Forms   Forms
	// pair holds what the series are about.
	pair pair
	// namespace restricts to one; empty is all. names is an expression that the pod or Service matches; empty is any.
	namespace, names string
	// by are the labels of Profile.Model and Profile.Version that are there.
	by []string
	// merges are groups that would be several without them.
	merges []merge
}

// merge puts what matches an expression into one group.
type merge struct{ group, pattern string }

// podSuffix is what controllers put behind the name of a ReplicaSet or StatefulSet to name a pod. Random ones have
// neither vowels nor what could be taken for one (k8s.io/apimachinery/pkg/util/rand).
const podSuffix = "(?:-[bcdfghjklmnpqrstvwxz2456789]{5}|-[0-9]{1,5})"

func (r *Reading) ownerPattern() string {
	if r.Profile.OfService {
		return "(.*)"
	}
	return "(.*?)" + podSuffix + "?"
}

// selector is {...} of a metric.
func (r *Reading) selector(where string) string {
	var terms []string
	if where != "" {
		terms = append(terms, where)
	}
	return "{" + strings.Join(append(terms, r.scope()...), ",") + "}"
}

func (r *Reading) scope() []string {
	var terms []string
	if r.namespace != "" {
		terms = append(terms, fmt.Sprintf("%s=%q", r.pair.namespace, r.namespace))
	}
	if r.names != "" {
		terms = append(terms, fmt.Sprintf("%s=~%q", r.pair.name, r.names))
	} else {
		terms = append(terms, r.pair.name+`!=""`)
	}
	if r.pair.without != "" {
		terms = append(terms, r.pair.without+`=""`)
	}
	return terms
}

// grouped names the group of each series.
func (r *Reading) grouped(expr string) string {
	out := fmt.Sprintf(`label_replace(%s, %q, "$1", %q, %q)`, expr, groupLabel, r.pair.name, r.ownerPattern())
	for _, m := range r.merges {
		out = fmt.Sprintf(`label_replace(%s, %q, %q, %q, %q)`, out, groupLabel, m.group, r.pair.name, m.pattern)
	}
	return out
}

// add aggregates over the series of each group; more are labels that stay too.
func (r *Reading) add(op, expr string, more ...string) string {
	by := slices.Concat([]string{r.pair.namespace, groupLabel}, r.by, more)
	return fmt.Sprintf("%s by (%s) (%s)", op, strings.Join(by, ", "), r.grouped(expr))
}

func (r *Reading) rate(metric, where string, window time.Duration) string {
	return fmt.Sprintf("rate(%s%s[%s])", metric, r.selector(where), promDuration(window))
}

// histogram is one expression of a histogram, whichever way it is stored. Mixed inside of one function the two give
// nothing, so that `or` stands outside.
func (r *Reading) histogram(metric, where string, f Forms, window time.Duration, native func(string) string, classic func() string) string {
	var terms []string
	if f.Native {
		terms = append(terms, native(r.add("sum", r.rate(metric, where, window))))
	}
	if f.Classic || !f.Native {
		terms = append(terms, classic())
	}
	return strings.Join(terms, " or ")
}

func (r *Reading) quantile(metric, where string, f Forms, q float64, window time.Duration) string {
	number := strconv.FormatFloat(q, 'g', -1, 64)
	return r.histogram(metric, where, f, window,
		func(sum string) string { return fmt.Sprintf("histogram_quantile(%s, %s)", number, sum) },
		func() string {
			return fmt.Sprintf("histogram_quantile(%s, %s)", number, r.add("sum", r.rate(metric+"_bucket", where, window), "le"))
		})
}

// mean is NaN where nothing was observed.
func (r *Reading) mean(window time.Duration) string {
	p := &r.Profile
	over := func(a, b string) string {
		return r.add("sum", r.rate(a, p.Where, window)) + " / " + r.add("sum", r.rate(b, p.Where, window))
	}
	if p.Kind == CounterRatio {
		return over(p.Latency, p.Per)
	}
	f := r.Forms
	f.Classic = f.Classic || f.Sum || f.Quantiles
	return r.histogram(p.Latency, p.Where, f, window,
		func(sum string) string { return "histogram_avg(" + sum + ")" }, func() string { return over(p.Latency+"_sum", p.Latency+"_count") })
}

// observed is how often Latency was observed, per second.
func (r *Reading) observed(window time.Duration) string {
	p := &r.Profile
	if p.Kind == CounterRatio {
		return r.add("sum", r.rate(p.Per, p.Where, window))
	}
	return r.histogram(p.Latency, p.Where, r.Forms, window,
		func(sum string) string { return "histogram_count(" + sum + ")" },
		func() string { return r.add("sum", r.rate(p.Latency+"_count", p.Where, window)) })
}

// counted is the rate of a counter by any of its names.
func (r *Reading) counted(c Counter, where string, window time.Duration) string {
	terms := make([]string, len(c.Names))
	for i, n := range c.Names {
		terms[i] = r.add("sum", r.rate(n, where, window))
	}
	return "(" + strings.Join(terms, " or ") + ")"
}

// requests is the rate of all requests by their counters, nothing where these are missing.
func (r *Reading) requests(window time.Duration) string {
	all := r.Profile.Requests
	if len(all) == 0 {
		return "(" + r.observed(window) + ")"
	}
	terms := make([]string, len(all))
	for i, c := range all {
		terms[i] = r.counted(c, c.Where, window)
	}
	if len(all) == 1 {
		return terms[0]
	}
	// One of several counters may not have counted yet.
	var sums []string
	for i := range terms {
		for j := range terms {
			if i != j {
				terms[i] += " or 0 * " + terms[j]
			}
		}
	}
	for _, c := range terms {
		sums = append(sums, "("+c+")")
	}
	return "(" + strings.Join(sums, " + ") + ")"
}

// failed is the share of requests that failed; empty when the runtime tells nothing of errors.
func (r *Reading) failed(window time.Duration) string {
	p := &r.Profile
	if len(p.Errors.Names) == 0 {
		return ""
	}
	bad, all := r.counted(p.Errors, p.Errors.Where, window), r.requests(window)
	if p.LazyErrors {
		none := all
		if label := p.Errors.Where; label != "" {
			label = label[:strings.IndexAny(label, "=!")]
			none = r.counted(p.Errors, label+`!=""`, window)
		}
		bad = "(" + bad + " or 0 * " + none + ")"
	}
	return bad + " / " + all
}

// Parts are what a query asks for, by field.
type part struct {
	field, expr string
	factor      float64
}

// latency are the parts on how long requests take, in seconds.
func (r *Reading) latency(window time.Duration) []part {
	p := &r.Profile
	out := []part{{FieldMean, r.mean(window), p.Unit}}
	switch {
	case r.Forms.Quantiles:
		// What pods worked out for themselves cannot be added up: the worst of them counts.
		for _, q := range quantiles() {
			where := fmt.Sprintf("quantile=%q", strconv.FormatFloat(q.q, 'g', -1, 64))
			if p.Where != "" {
				where += "," + p.Where
			}
			out = append(out, part{q.field, r.add("max", p.Latency+r.selector(where)), p.Unit})
		}
		if !r.Forms.Sum {
			return out[1:]
		}
	case r.Forms.Classic || r.Forms.Native:
		for _, q := range quantiles() {
			out = append(out, part{q.field, r.quantile(p.Latency, p.Where, r.Forms, q.q, window), p.Unit})
		}
		if r.Forms.Classic {
			out = append(out, part{fieldHighest, r.quantile(p.Latency, p.Where, Forms{Classic: true}, 1, window), p.Unit})
		}
	}
	return out
}

// traffic are the parts on how many requests there are, and how many fail.
func (r *Reading) traffic(window time.Duration) []part {
	out := []part{{FieldRate, r.requests(window), 1}}
	if len(r.Profile.Requests) > 0 && (r.Profile.Kind == CounterRatio || !r.Forms.none()) {
		out[0].expr += " or " + r.observed(window)
	}
	if e := r.failed(window); e != "" {
		out = append(out, part{FieldErrors, e, 1})
	}
	return out
}

// extras are the parts that only some runtimes have.
func (r *Reading) extras(window time.Duration) []part {
	p := &r.Profile
	var out []part
	gauge := func(field, op string, names []string) {
		var terms []string
		for _, n := range names {
			terms = append(terms, r.add(op, n+r.selector("")))
		}
		if len(terms) > 0 {
			out = append(out, part{field, strings.Join(terms, " or "), 1})
		}
	}
	gauge(FieldQueue, "sum", p.Queue)
	gauge(FieldRunning, "sum", p.Running)
	gauge(FieldFull, "max", p.Full)
	if len(p.Tokens) > 0 {
		out = append(out, part{FieldTokens, r.counted(Counter{Names: p.Tokens}, "", window), 1})
	}
	for field, names := range map[string][]string{FieldFirstToken: p.FirstToken, FieldNextToken: p.NextToken} {
		var terms []string
		for _, n := range names {
			terms = append(terms, r.quantile(n, "", Forms{Classic: true, Native: r.Forms.Native}, 0.95, window))
		}
		if len(terms) > 0 {
			out = append(out, part{field, strings.Join(terms, " or "), 1})
		}
	}
	slices.SortFunc(out, func(a, b part) int { return strings.Compare(a.field, b.field) })
	return out
}

// query is one expression for all parts.
func query(parts []part) string {
	terms := make([]string, len(parts))
	for i, p := range parts {
		expr := p.expr
		if math.Abs(p.factor-1) > 1e-12 {
			expr = fmt.Sprintf("(%s) * %s", expr, strconv.FormatFloat(p.factor, 'g', -1, 64))
		}
		terms[i] = fmt.Sprintf(`label_replace(%s, %q, %q, "", "")`, expr, fieldLabel, p.field)
	}
	return strings.Join(terms, " or ")
}
