package job

import "time"

// Unknown stands in the numbers of a Progress for what the process did not say.
const Unknown = -1

// Progress is the latest of what a training process said of itself. Numbers that it did not say are Unknown (-1).
// The zero value says nothing yet and is fit to Merge into.
type Progress struct {
	// Step and Total count whatever the process counts: batches, samples, bytes.
	Step, Total float64
	// Percent is 0..100: of the whole work when that can be told, else of what Step counts.
	Percent float64
	// PerEpoch says that Step and Total count within one epoch.
	PerEpoch bool
	// Epoch is the epoch reached, as printed (counted from 0 or 1, or a fraction); Epochs how many there will be.
	Epoch, Epochs float64
	// Label is the text before a progress bar; often empty.
	Label string
	// Metrics are finite numbers by name; Names has their names in the order of first sight.
	Metrics map[string]float64
	Names   []string
	// At is when the process said it, if the caller knows; ParseProgress leaves it zero.
	At time.Time
	// Source is who speaks: ml, tqdm, huggingface, lightning, keras or text.
	Source string
}

// ParseProgress reads the progress in one log line; false when the line is not a progress line.
func ParseProgress(line string) (Progress, bool) { return Progress{}, false }

// Merge takes over what next says and keeps what it is silent about.
func (p *Progress) Merge(next Progress) {}
