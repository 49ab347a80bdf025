package drift

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Verdict says how a distribution stands.
type Verdict string

// The verdicts. Unknown says that it cannot be judged, and Row.Reason why.
const (
	OK      Verdict = "ok"
	Warn    Verdict = "warn"
	Alert   Verdict = "alert"
	Unknown Verdict = "unknown"
)

// Kind tells what a distribution is of.
type Kind string

// The kinds.
const (
	KindFeature    Kind = "feature"
	KindPrediction Kind = "prediction"
)

// Options say how to judge. Those that are zero have the values of their comments.
type Options struct {
	// Limits hold where the baseline has none for a feature: DefaultLimits.
	Limits Limits
	// MinSamples is how many values each side needs: DefaultMinSamples.
	MinSamples float64
	// Window is the time that live values are of; what is older is stale. Without it nothing is.
	Window time.Duration
	Now    time.Time
}

// DefaultMinSamples is the least number of values: with 10 bins, chance alone makes a PSI of 0.07 of two samples of it.
const DefaultMinSamples = 500

// Observation is what was seen of one feature or prediction.
type Observation struct {
	Kind Kind
	Name string
	Live Distribution
	// Last is when a value was seen last; zero where that is not known.
	Last time.Time
	// Note says what is to know of the numbers.
	Note string
	// Err says why Live cannot be used.
	Err error
}

// Row is how one feature or prediction stands. What is not known is nil.
type Row struct {
	Kind    Kind    `json:"kind"`
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Reason says why, in words; it is empty for most that are ok.
	Reason string `json:"reason,omitempty"`
	// Categorical says that it has categories; KS is not known then.
	Categorical bool `json:"categorical,omitempty"`
	// PSI, JS and KS are as the functions of these names say; KS is a lower bound.
	PSI *float64 `json:"psi,omitempty"`
	JS  *float64 `json:"js,omitempty"`
	KS  *float64 `json:"ks,omitempty"`
	// Chance is the PSI that samples of this size exceed once in twenty times without any drift.
	Chance *float64 `json:"chance,omitempty"`
	Limits Limits   `json:"limits"`
	// Samples and BaselineSamples are how many values were counted on each side; those of Prometheus are estimates.
	Samples         float64 `json:"samples"`
	BaselineSamples float64 `json:"baselineSamples"`
	// Last is when a value was seen last.
	Last time.Time `json:"last,omitzero"`
	// Bins are what was compared.
	Bins []Bin `json:"bins,omitempty"`
}

// telling is the share from which on one bin that both have holds everything.
const telling = 0.999

// Judge compares what was seen with a reference; ref is nil where there is none.
func Judge(ref *Reference, o *Observation, opt Options) Row {
	opt = opt.complete()
	row := Row{Kind: o.Kind, Name: o.Name, Last: o.Last, Limits: opt.Limits, Categorical: o.Live.Categorical()}
	unknown := func(format string, args ...any) Row {
		row.Verdict, row.Reason = Unknown, fmt.Sprintf(format, args...)
		return row
	}
	if ref != nil {
		row.BaselineSamples = ref.Total()
		row.Categorical = ref.Categorical()
		if ref.Limits != nil {
			row.Limits = ref.Limits.over(opt.Limits)
		}
	}
	if o.Err != nil {
		return unknown("%v", o.Err)
	}
	row.Samples = o.Live.Total()
	stale := opt.Window > 0 && !o.Last.IsZero() && opt.Now.Sub(o.Last) > opt.Window
	switch {
	case !(row.Samples > 0) || stale:
		row.Samples = 0
		return unknown("no samples %s%s", within(opt.Window), last(o.Last, opt.Now))
	case ref == nil:
		return unknown("not in the baseline")
	case row.Samples < opt.MinSamples:
		return unknown("%s of at least %s samples", count(row.Samples), count(opt.MinSamples))
	case row.BaselineSamples < opt.MinSamples:
		return unknown("the baseline has %s of at least %s samples", count(row.BaselineSamples), count(opt.MinSamples))
	}
	a, err := align(ref.Distribution, o.Live)
	if err != nil {
		return unknown("%v", err)
	}
	row.Bins = a.bins
	if why := a.blind(); why != "" {
		return unknown("%s", why)
	}
	row.measure(a)
	row.verdict(opt.Now, opt.Window, a.note, o.Note)
	return row
}

// measure computes the numbers of a row.
func (r *Row) measure(a aligned) {
	p, q := make([]float64, len(a.bins)), make([]float64, len(a.bins))
	used := 0
	for i, b := range a.bins {
		p[i], q[i] = b.Baseline, b.Live
		if b.Baseline > 0 || b.Live > 0 {
			used++
		}
	}
	r.PSI, r.JS, r.Chance = new(PSI(p, q)), new(JS(p, q)), new(Chance(r.Samples, r.BaselineSamples, used))
	if a.ordered {
		r.KS = new(KS(p, q))
	}
}

// verdict judges the numbers, and says what is to know of them.
func (r *Row) verdict(now time.Time, window time.Duration, notes ...string) {
	// The divergence of Jensen and Shannon is an eighth of PSI where both are small.
	chance := *r.Chance
	byJS := *r.JS >= r.Limits.JS && *r.JS > math.Sqrt(chance/(8*math.Ln2))
	var why []string
	switch psi := *r.PSI; {
	case psi >= r.Limits.Alert && psi > chance:
		r.Verdict = Alert
	case psi >= r.Limits.Warn && psi > chance:
		r.Verdict = Warn
	case byJS:
		r.Verdict = Warn
		why = append(why, fmt.Sprintf("JS is %s or more", number(r.Limits.JS)))
	case psi >= r.Limits.Warn:
		r.Verdict = Unknown
		why = append(why, fmt.Sprintf("chance alone makes %.2f of so few samples", chance))
	default:
		r.Verdict = OK
	}
	// Where a window is long, its values may be old.
	if age := now.Sub(r.Last); !r.Last.IsZero() && window > 0 && age > window/2 {
		why = append(why, strings.TrimPrefix(last(r.Last, now), ": "))
	}
	for _, n := range notes {
		if n != "" {
			why = append(why, n)
		}
	}
	r.Reason = strings.Join(why, "; ")
}

// blind says why the bins tell nothing apart; empty when they do.
func (a *aligned) blind() string {
	if !a.ordered {
		return ""
	}
	for i, b := range a.bins {
		switch {
		case b.Baseline < telling || b.Live < telling:
		case a.merged:
			return "bucket layouts differ: all values lie in one of the bins that both have"
		case i == len(a.bins)-1:
			return "all values lie above its last bound, " + number(*b.Above) + ": its buckets do not fit"
		}
	}
	return ""
}

func (o Options) complete() Options {
	o.Limits = o.Limits.over(DefaultLimits())
	if o.MinSamples <= 0 {
		o.MinSamples = DefaultMinSamples
	}
	return o
}

func within(window time.Duration) string {
	if window <= 0 {
		return "are there"
	}
	return "in the last " + age(window)
}

func last(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ": last sample " + age(now.Sub(at)) + " ago"
}

// age is a duration as people say it: 40 s, 5 min, 2 h, 3 d.
func age(d time.Duration) string {
	d = max(d, 0)
	for _, u := range []struct {
		least, one time.Duration
		name       string
	}{{48 * time.Hour, 24 * time.Hour, "d"}, {2 * time.Hour, time.Hour, "h"}, {2 * time.Minute, time.Minute, "min"}} {
		if d >= u.least {
			return fmt.Sprintf("%d %s", d/u.one, u.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// count is a number of samples, which Prometheus estimates: a whole number.
func count(n float64) string { return fmt.Sprintf("%.0f", n) }
