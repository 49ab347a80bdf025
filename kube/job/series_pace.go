package job

import (
	"math"
	"time"
)

// mostMoments bounds what is kept to work out how fast a training goes.
const mostMoments = 256

// moment is where a training stood at one time.
type moment struct {
	at                     time.Time
	steps, epochs, percent float64
}

// tempo works out how fast a training goes, and how long it will take.
type tempo struct {
	moments []moment
	// apart is the least time between moments that are kept.
	apart time.Duration
	// total and label are what was counted; when they change, something else is.
	total, epochs float64
	label         string
}

// add notes where the training stands. A training that went back, or that counts something else, begins anew.
func (t *tempo) add(p *Progress) {
	m := moment{at: p.At, steps: p.steps(), epochs: p.epochs(), percent: p.Percent}
	if p.At.IsZero() || m.percent == Unknown && math.IsNaN(m.steps) && math.IsNaN(m.epochs) {
		return
	}
	n := len(t.moments)
	label := p.Label
	if p.PerEpoch {
		label = ""
	}
	if n > 0 {
		last := &t.moments[n-1]
		if m.percent < last.percent && whole(p) || m.steps < last.steps || p.Total != t.total || p.Epochs != t.epochs || label != t.label {
			t.moments, t.apart, n = t.moments[:0], 0, 0
		}
	}
	t.total, t.epochs, t.label = p.Total, p.Epochs, label
	switch {
	case n > 0 && m.at.Before(t.moments[n-1].at):
		return
	case n > 0 && m.at.Equal(t.moments[n-1].at), n > 1 && m.at.Sub(t.moments[n-2].at) < t.apart:
		t.moments[n-1] = m
		return
	}
	if t.moments = append(t.moments, m); len(t.moments) > mostMoments {
		kept := t.moments[:0]
		for i := 0; i < len(t.moments)-1; i += 2 {
			kept = append(kept, t.moments[i])
		}
		kept = append(kept, m)
		t.moments = kept
		t.apart = m.at.Sub(kept[0].at) / (mostMoments / 2)
	}
}

// whole says whether the percentage is that of all the work, rather than of one epoch of who knows how many.
func whole(p *Progress) bool { return !p.PerEpoch || p.Epochs != Unknown }

// Whole says whether Percent is that of all the work, rather than of one epoch of nobody knows how many.
func (p Progress) Whole() bool { return whole(&p) }

// estimate is how many steps, or epochs, pass in a second, and how long what Percent measures will still take. It looks
// at the last half of the time, at least at a minute, so that a slow begin is forgotten, and an evaluation now and then does
// not count for more than it takes. Where the times of the lines do not tell, what the process says of itself counts.
func (t *tempo) estimate(p *Progress) (rate float64, epochs bool, left time.Duration) {
	rate, left = p.Rate, p.Remaining
	if p.Percent == 100 {
		left = 0
	}
	n := len(t.moments)
	if n < 2 {
		return rate, false, left
	}
	last := t.moments[n-1]
	window := max(last.at.Sub(t.moments[0].at)/2, time.Minute)
	i := n - 2
	for i > 0 && last.at.Sub(t.moments[i-1].at) <= window {
		i--
	}
	first := t.moments[i]
	passed := last.at.Sub(first.at).Seconds()
	if passed <= 0 {
		return rate, false, left
	}
	if steps := (last.steps - first.steps) / passed; steps > 0 {
		rate = steps
	} else if e := (last.epochs - first.epochs) / passed; e > 0 && rate == 0 {
		rate, epochs = e, true
	}
	if done := last.percent - first.percent; done > 0 && whole(p) && p.Percent < 100 {
		if seconds := (100 - last.percent) * passed / done; seconds < 1e9 {
			left = time.Duration(seconds * float64(time.Second))
		}
	}
	return rate, epochs, left
}
