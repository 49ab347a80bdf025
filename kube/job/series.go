package job

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultPoints is how many points a Series keeps of each metric.
const DefaultPoints = 10_000

// Series gathers what a training says of itself, line after line, in bounded memory. It may be used by many.
type Series struct {
	rank, max int

	mu       sync.Mutex
	parsers  map[string]*Parser
	progress Progress
	curves   map[string]*curve
	names    []string
	pace     tempo
	told     Training
	bars     bars
	clock    barClock
	// source is the container that the last line came from.
	source string
}

// Training is what a training has said so far. It may be kept: it does not change.
type Training struct {
	Progress Progress
	// Curves are the metrics in the order of first sight.
	Curves []Curve
	// Axis is what tells best where the values were measured: AxisStep, AxisEpoch or AxisTime.
	Axis string
	// Rate is how many steps, or epochs where there are no steps, passed in a second lately; 0 when that is not known.
	Rate float64
	// Epochs says that Rate counts these.
	Epochs bool
	// Left is how long what Progress.Percent measures will still take, as of Last; 0 when that is not known.
	Left time.Duration
	// First and Last are the times of the first and the last line that was understood; zero when lines bear none.
	First, Last time.Time
	// Restarts tell where the training went back to an earlier step, the newest last; the first few are forgotten.
	Restarts []Restart
	// Lines counts the lines read, Understood those that told something, Bytes what the lines take.
	Lines, Understood, Bytes int64
}

// Restart is a training that went on from an earlier point, as from a checkpoint. Points beyond it were dropped.
type Restart struct {
	At time.Time `json:"at,omitzero"`
	// From is the step, or epoch, that had been reached, To the one it went on from.
	From float64 `json:"from"`
	To   float64 `json:"to"`
	// Pod is who went on.
	Pod string `json:"pod,omitempty"`
}

// What points can be drawn over.
const (
	AxisStep  = "step"
	AxisEpoch = "epoch"
	AxisTime  = "time"
)

// mostRestarts bounds what is kept of restarts.
const mostRestarts = 50

// NewSeries gathers what lines of the given rank say (AllRanks: any), where launchers mark lines with ranks, and keeps that
// many points of each metric.
func NewSeries(rank, points int) *Series {
	if points <= 0 {
		points = DefaultPoints
	}
	return &Series{rank: rank, max: points, parsers: map[string]*Parser{}, curves: map[string]*curve{}}
}

// Add takes in one line; false says that it told nothing. Lines of a pod must come in order.
func (s *Series) Add(l LogLine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told.Lines++
	s.told.Bytes += int64(len(l.Text)) + 1
	source := l.Pod + "/" + l.Container
	parser := s.parsers[source]
	if parser == nil {
		if len(s.parsers) > 100 { // of pods that came before
			clear(s.parsers)
		}
		parser = &Parser{}
		s.parsers[source] = parser
	}
	p, ok := parser.Parse(l.Text, s.rank)
	if ok && s.source != source {
		s.source, s.progress, s.bars = source, Progress{}, bars{}
	}
	if !ok || s.bars.aside(&p) {
		return false
	}
	p.At = s.clock.at(l.Time, p.elapsed)
	s.told.Understood++
	if s.told.First.IsZero() {
		s.told.First = p.At
	}
	if p.At.After(s.told.Last) {
		s.told.Last = p.At
	}
	s.progress.Merge(p)
	s.measure(&p, l.Pod)
	s.pace.add(&s.progress)
	return true
}

// Tell takes in what is known otherwise, such as from a status, as long as no line was understood.
func (s *Series) Tell(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told.Understood > 0 || p.Source == "" || !p.At.IsZero() && p.At.Equal(s.progress.At) {
		return
	}
	if s.told.First.IsZero() {
		s.told.First = p.At
	}
	s.told.Last = p.At
	s.progress.Merge(p)
	s.measure(&p, "")
	s.pace.add(&s.progress)
}

// bars tells the bar of the training from others.
type bars struct {
	// main is the label of the training's own, once that is known; last is that of the bar seen last.
	main, last       string
	known, seenFirst bool
}

// aside tells a bar of something beside the training, such as of files that are loaded, once the training is known: by a
// bar that has metrics, or by metrics below a bar.
func (b *bars) aside(p *Progress) bool {
	if p.Source != SourceTqdm || p.Step == Unknown {
		if p.measures() && !b.known && b.seenFirst {
			b.main, b.known = b.last, true
		}
		return false
	}
	label := strings.TrimRight(p.Label, "0123456789/[]: ")
	if p.measures() {
		b.main, b.known = label, true
	}
	b.last, b.seenFirst = label, true
	return b.known && label != b.main
}

// measure adds the values of one line to their curves.
func (s *Series) measure(p *Progress, pod string) {
	if !p.measures() {
		return
	}
	at := Point{Step: s.progress.steps(), Epoch: s.progress.epochs()}
	if !p.At.IsZero() {
		at.At = p.At.UnixMilli()
	}
	add := func(name string, v float64) {
		c := s.curves[name]
		if c == nil {
			if len(s.curves) >= maxMetrics {
				return
			}
			c = &curve{name: name, max: s.max, stride: 1}
			s.curves[name] = c
			s.names = append(s.names, name)
		}
		at.Value = v
		if p.Step != Unknown {
			c.ownStep++
		}
		if p.Epoch != Unknown {
			c.ownEpoch++
		}
		if last, back := c.add(at, pod); back {
			s.restarted(last, at, p.At, pod)
		}
	}
	for _, name := range p.Names {
		add(name, p.Metrics[name])
	}
	for _, name := range p.NotFinite {
		add(name, math.NaN())
	}
}

// restarted notes that a training went back, once for all metrics.
func (s *Series) restarted(from, to Point, at time.Time, pod string) {
	r := Restart{At: at, From: from.Step, To: to.Step, Pod: pod}
	if math.IsNaN(r.From) || math.IsNaN(r.To) {
		r.From, r.To = from.Epoch, to.Epoch
	}
	if n := len(s.told.Restarts); n > 0 && s.told.Restarts[n-1].Pod == pod && s.told.Restarts[n-1].To <= r.To && s.told.Restarts[n-1].From >= r.From {
		return
	}
	s.told.Restarts = append(slices.Clone(s.told.Restarts), r)
	if n := len(s.told.Restarts); n > mostRestarts {
		s.told.Restarts = s.told.Restarts[n-mostRestarts:]
	}
}

// Training is what was said so far.
func (s *Series) Training() Training {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.told
	t.Progress = s.progress
	var steps, epochs, seen, stood int64
	for _, name := range s.names {
		c := s.curves[name]
		t.Curves = append(t.Curves, c.snapshot())
		steps, epochs, seen, stood = steps+c.ownStep, epochs+c.ownEpoch, seen+c.seen, stood+c.stood
	}
	switch {
	case 2*stood > seen && !t.Last.IsZero(): // many lines of the same epoch: only the time tells them apart
		t.Axis = AxisTime
	case 2*steps >= seen && steps > 0:
		t.Axis = AxisStep
	case 2*epochs >= seen && epochs > 0:
		t.Axis = AxisEpoch
	default:
		t.Axis = AxisTime
	}
	t.Rate, t.Epochs, t.Left = s.pace.estimate(&s.progress)
	return t
}

// epochsDone is how many epochs were finished before the one that Step counts in, or that began.
func (p *Progress) epochsDone() float64 {
	if p.fromZero || !p.begins && !p.PerEpoch {
		return p.Epoch
	}
	return max(p.Epoch-1, 0)
}

// steps is the step over all epochs; NaN when that is not known.
func (p *Progress) steps() float64 {
	switch {
	case p.Step == Unknown:
		return math.NaN()
	case !p.PerEpoch:
		return p.Step
	case p.Epoch != Unknown && p.Total > 0:
		return p.epochsDone()*p.Total + p.Step
	}
	return math.NaN()
}

// epochs is the epoch, as a fraction where the step within it is known; NaN when it is not known.
func (p *Progress) epochs() float64 {
	switch {
	case p.Epoch == Unknown:
		return math.NaN()
	case p.PerEpoch && p.Total > 0 && p.Step != Unknown:
		return p.epochsDone() + p.Step/p.Total
	}
	return p.Epoch
}

// barClock tells when a state of a bar was shown: all states of one line bear the time at which the line began.
type barClock struct {
	line time.Time
	last time.Time
	base time.Duration
	from time.Time
	// shown is what the bar said last.
	shown time.Duration
}

func (b *barClock) at(line time.Time, elapsed time.Duration) time.Time {
	switch {
	case line.IsZero():
		return line
	case elapsed == 0 || !line.Equal(b.line):
		b.line, b.from, b.base = line, line, elapsed
		b.last = line
	case elapsed < b.shown: // the next bar on the same line
		b.from, b.base = b.last, elapsed
	default:
		b.last = b.from.Add(elapsed - b.base)
	}
	b.shown = elapsed
	return b.last
}
