package plugin

import (
	"math"
	"strconv"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// learningFact is a training as data.
type learningFact struct {
	Work     learningWork `json:"work"`
	Child    string       `json:"child,omitempty"`
	Progress job.Progress `json:"progress"`
	// Rate is in RateOf a second: steps or epochs.
	Rate     float64       `json:"rate,omitempty"`
	RateOf   string        `json:"rateOf,omitempty"`
	Left     float64       `json:"leftSeconds,omitempty"`
	First    time.Time     `json:"first,omitzero"`
	Last     time.Time     `json:"last,omitzero"`
	Restarts []job.Restart `json:"restarts,omitempty"`
	// Axis says what x is in Series: steps, epochs, or seconds since First.
	Axis   string                `json:"axis"`
	Series map[string]seriesFact `json:"series"`
	Result map[string]float64    `json:"result,omitempty"`
	Log    learningLog           `json:"log"`
}

// learningWork is how the work stands.
type learningWork struct {
	Kind     string     `json:"kind"`
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Reason   string     `json:"reason,omitempty"`
	Message  string     `json:"message,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Finished *time.Time `json:"finished,omitempty"`
}

// learningLog is what was read.
type learningLog struct {
	Pods       []string `json:"pods,omitempty"`
	Lines      int64    `json:"lines"`
	Understood int64    `json:"understood"`
	Bytes      int64    `json:"bytes"`
	Errors     []string `json:"errors,omitempty"`
}

// seriesFact is one metric. Seen is how many values were printed; where x has fewer, neighbours were merged into the
// least and the greatest of them.
type seriesFact struct {
	X    numbers `json:"x"`
	Y    numbers `json:"y"`
	Seen int64   `json:"seen"`
}

// numbers are written with null for what is not finite, for which JSON has no number.
type numbers []float64

func (n numbers) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 8*len(n)+2), '[')
	for i, v := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, ']'), nil
}

// learning is a training as data, of the metrics and over the axis asked for.
func (o progressOptions) learning(t *fleet.Training) learningFact {
	w := t.Work
	f := learningFact{
		Work: learningWork{
			Kind: w.Kind, Name: w.Name, State: w.State, Reason: w.Reason, Message: w.Message, Started: w.Started, Finished: w.Finished,
		},
		Child: t.Name, Progress: t.Progress, Rate: t.Rate, First: t.First, Last: t.Last, Restarts: t.Restarts, Axis: t.Axis,
		Series: map[string]seriesFact{}, Result: w.Metrics,
		Log: learningLog{Pods: t.Pods, Lines: t.Lines, Understood: t.Understood, Bytes: t.Bytes},
	}
	if t.Progress.Source == "" {
		f.Progress = job.Progress{Step: job.Unknown, Total: job.Unknown, Percent: job.Unknown, Epoch: job.Unknown, Epochs: job.Unknown}
	}
	switch {
	case t.Rate > 0 && t.Epochs:
		f.RateOf = job.AxisEpoch
	case t.Rate > 0:
		f.RateOf = job.AxisStep
	}
	if !w.Final() {
		f.Left = math.Round(t.Left.Seconds())
	}
	if o.Axis != "" {
		f.Axis = o.Axis
	}
	for _, c := range t.Match(o.Metrics) {
		x, y := c.Over(f.Axis, t.First.UnixMilli())
		f.Series[c.Name] = seriesFact{X: x, Y: y, Seen: c.Seen}
	}
	for _, err := range t.Errors {
		f.Log.Errors = append(f.Log.Errors, err.Error())
	}
	return f
}

// progressItems prints trainings as data: one as it is, the children of a sweep as a list.
func (f *Factory) progressItems(o progressOptions, list []fleet.Training) error {
	items := make([]item, len(list))
	for i := range list {
		w := list[i].Work
		items[i] = item{
			kind: "Progress", ref: w.KindName(), name: w.Name, namespace: w.Namespace, created: w.Created, labels: w.Labels, fact: o.learning(&list[i]),
		}
	}
	if len(items) == 1 {
		return f.one(o.Output, items[0])
	}
	return f.list(o.Output, items, nil)
}
