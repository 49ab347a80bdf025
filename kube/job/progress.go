package job

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

// Unknown stands in the numbers of a Progress for what the process did not say.
const Unknown = -1

// Sources of a Progress: who wrote the line.
const (
	SourceMarked      = "ml" // ::ml:: {...}
	SourceTqdm        = "tqdm"
	SourceHuggingFace = "huggingface"
	SourceLightning   = "lightning"
	SourceKeras       = "keras"
	SourceJSON        = "json"
	SourceMLPerf      = "mlperf"
	SourceBoosting    = "boosting" // XGBoost, LightGBM, CatBoost
	SourceTable       = "table"    // a row under a heading, as fastai, YOLO and spaCy print
	SourceText        = "text"
	SourceTrainJob    = "trainjob" // status of a TrainJob
)

// Bounds on what one line, and one Progress, may hold.
const (
	maxScanned  = 64 << 10 // bytes of a line that are looked at, its last
	maxProgress = 16 << 10 // bytes of its last visible state
	maxMetrics  = 64
	maxName     = 80 // bytes of a metric's name or a label
)

// Progress is the latest of what a training process said of itself. Numbers that it did not say are Unknown (-1).
// The zero value says nothing yet: check Source, and Merge into it.
type Progress struct {
	// Step and Total count whatever the process counts: batches, samples, bytes.
	Step, Total float64
	// Percent is 0..100: of the whole work when that can be told, else of what Step counts.
	Percent float64
	// PerEpoch says that Step and Total count within one epoch.
	PerEpoch bool
	// Epoch is the epoch reached, as printed (counted from 0 or 1, or a fraction); Epochs is how many there will be.
	Epoch, Epochs float64
	// Label is the text before a progress bar; often empty.
	Label string
	// Metrics are finite numbers by name; Names has their names in the order of first sight. A Merge replaces
	// the map and the slice and never writes to those handed out before.
	Metrics map[string]float64
	Names   []string
	// NotFinite are the metrics that were NaN or infinite when last printed; Metrics has what they were before, if anything.
	NotFinite []string
	// Rate is what Step counts in a second, and Remaining the time until what Percent measures is done, both as the process
	// itself says; 0 when it does not.
	Rate      float64
	Remaining time.Duration
	// At is when the process said it, if the caller knows; ParseProgress leaves it zero.
	At time.Time
	// Source is one of the Source constants, empty for nothing said yet.
	Source string

	// fromZero says that epochs are counted from 0, begins that Epoch has just begun rather than ended.
	fromZero, begins bool
	// elapsed is the time since a bar began.
	elapsed time.Duration
	// trainer is the total of the bar of a trainer that draws further bars while it evaluates.
	trainer bool
}

// ParseProgress reads the progress in one log line: a marked line (::ml:: and a JSON object), a bar of tqdm, Lightning,
// Rich or Keras, a dictionary of the Hugging Face Trainer, a line of JSON, a round of boosting, or plain words such as
// "epoch 3/10 loss=0.12". It is false when the line is not one of these. Of text overwritten with carriage returns the
// last state counts. Any input is safe. Lines that mean something only together are for a Parser.
func ParseProgress(line string) (Progress, bool) {
	_, line = cutRank(lastState(line))
	return parseLine(line)
}

// lastState is what a terminal would show of a line.
func lastState(line string) string {
	if len(line) > maxScanned {
		line = line[len(line)-maxScanned:]
	}
	return strings.TrimSpace(safetext.Line(line))
}

func parseLine(line string) (Progress, bool) {
	if len(line) > maxProgress || len(line) < len("step 1/2") {
		return Progress{}, false
	}
	p := silent()
	if !p.parse(line, 1) {
		return Progress{}, false
	}
	p.fromZero = p.fromZero || p.Epoch == 0 && p.PerEpoch
	if percent := p.percent(); percent != Unknown {
		p.Percent = percent
	}
	return p, true
}

// silent is a Progress that says nothing.
func silent() Progress {
	return Progress{Step: Unknown, Total: Unknown, Percent: Unknown, Epoch: Unknown, Epochs: Unknown}
}

// parse reads a line, and the message in it as deep as depth.
func (p *Progress) parse(line string, depth int) bool {
	if line == "" {
		return false
	}
	if _, object, ok := strings.Cut(line, "::ml::"); ok {
		return p.parseMarked(object)
	}
	if _, object, ok := strings.Cut(line, ":::MLLOG "); ok {
		return p.parseMLLog(object)
	}
	return p.parseDict(line) || p.parseJSON(line, depth) || p.parseBar(line) || p.parseKeras(line) || p.parseRound(line) || p.parseText(line)
}

// Merge takes over what next says and keeps what it is silent about.
func (p *Progress) Merge(next Progress) {
	if next.Source == "" {
		return
	}
	if p.Source == "" {
		*p = next
		p.Metrics, p.Names = maps.Clone(next.Metrics), slices.Clone(next.Names)
		return
	}
	if p.trainer && next.Source == SourceTqdm && next.Label == "" && next.Total < p.Total && p.Step < p.Total {
		return // the Trainer's bar of an evaluation, drawn in the middle of the training
	}
	p.trainer = p.trainer || next.Source == SourceHuggingFace
	if next.Epoch != Unknown {
		if next.Step == Unknown && p.PerEpoch && next.Epoch != p.Epoch {
			p.Step = Unknown
		}
		p.Epoch, p.fromZero, p.begins = next.Epoch, p.fromZero || next.fromZero, next.begins
	}
	if next.Epochs != Unknown {
		p.Epochs = next.Epochs
	}
	if next.Step != Unknown {
		p.Rate, p.Remaining = next.Rate, next.Remaining
		p.Step, p.Total, p.PerEpoch, p.Label = next.Step, orKnown(next.Total, p.Total, p.PerEpoch == next.PerEpoch), next.PerEpoch, next.Label
	}
	if next.Remaining > 0 {
		p.Remaining = next.Remaining
	}
	if next.Step != Unknown || next.Epochs != Unknown || next.Percent != Unknown || p.PerEpoch {
		p.Percent = p.percent()
		if p.Percent == Unknown {
			p.Percent = next.Percent
		}
	}
	p.addAll(next)
	p.Source = next.Source
	if !next.At.IsZero() {
		p.At = next.At
	}
}

// orKnown is v, or what was known before as long as it speaks of the same.
func orKnown(v, before float64, same bool) float64 {
	if v == Unknown && same {
		return before
	}
	return v
}

// addAll takes the metrics of next into fresh containers.
func (p *Progress) addAll(next Progress) {
	if !next.measures() {
		return
	}
	p.Metrics, p.Names, p.NotFinite = maps.Clone(p.Metrics), slices.Clone(p.Names), slices.Clone(p.NotFinite)
	p.NotFinite = slices.DeleteFunc(p.NotFinite, func(name string) bool { return slices.Contains(next.Names, name) })
	for _, name := range next.Names {
		p.metric(name, next.Metrics[name])
	}
	for _, name := range next.NotFinite {
		p.notFinite(name)
	}
}

// metric adds one finite metric; beyond the bound new names are dropped.
func (p *Progress) metric(name string, v float64) {
	if name == "" || len(name) > maxName || !finite(v) {
		return
	}
	if _, known := p.Metrics[name]; !known {
		if len(p.Names) >= maxMetrics {
			return
		}
		p.Names = append(p.Names, name)
	}
	if p.Metrics == nil {
		p.Metrics = map[string]float64{}
	}
	p.Metrics[name] = v
}

// observed adds one metric, finite or not.
func (p *Progress) observed(name string, v float64) {
	if finite(v) {
		p.metric(name, v)
	} else {
		p.notFinite(name)
	}
}

// notFinite notes a metric that has become NaN or infinite.
func (p *Progress) notFinite(name string) {
	if name != "" && len(name) <= maxName && len(p.NotFinite) < maxMetrics && !slices.Contains(p.NotFinite, name) {
		p.NotFinite = append(p.NotFinite, name)
	}
}

// named sets what a name stands for: one of the counters, or a metric.
func (p *Progress) named(name string, v float64) {
	var counter *float64
	switch name {
	case "step":
		counter = &p.Step
	case "total":
		counter = &p.Total
	case "epoch":
		counter = &p.Epoch
	case "epochs":
		counter = &p.Epochs
	default:
		p.observed(name, v)
		return
	}
	if finite(v) && v >= 0 {
		*counter = v
	}
}

// says tells whether anything was said at all.
func (p *Progress) says() bool {
	return p.Step != Unknown || p.Epoch != Unknown || p.Percent != Unknown || p.measures()
}

// percent is how far the work is, from the counters; Unknown when they do not tell.
func (p *Progress) percent() float64 {
	part := float64(Unknown)
	if p.Total > 0 && p.Step >= 0 {
		part = clamp(p.Step / p.Total)
	}
	if p.Epochs > 0 && p.Epoch >= 0 && (p.PerEpoch || part == Unknown) {
		done := p.Epoch
		if !p.fromZero && (p.begins || part != Unknown) {
			done-- // epoch 3 of 10 with its own step: two are done
		}
		return 100 * clamp((done+max(part, 0))/p.Epochs)
	}
	if part == Unknown {
		return Unknown
	}
	return 100 * part
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number reads a finite, not negative count with an optional SI suffix; a question mark and anything else is Unknown.
func number(s string) float64 {
	s = strings.TrimSpace(s)
	scale := 1.0
	if s != "" {
		if i := strings.IndexByte("kMGTP", s[len(s)-1]); i >= 0 {
			scale = math.Pow10(3 * (i + 1))
			s = s[:len(s)-1]
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !finite(v) || v < 0 {
		return Unknown
	}
	return v * scale
}
