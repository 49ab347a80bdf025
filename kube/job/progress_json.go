package job

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// progressJSON is a Progress as people and scripts read it.
type progressJSON struct {
	Source    string             `json:"source,omitempty"`
	Step      *float64           `json:"step,omitempty"`
	Total     *float64           `json:"total,omitempty"`
	Percent   *float64           `json:"percent,omitempty"`
	PerEpoch  bool               `json:"perEpoch,omitempty"`
	Epoch     *float64           `json:"epoch,omitempty"`
	Epochs    *float64           `json:"epochs,omitempty"`
	Rate      float64            `json:"rate,omitempty"`
	Remaining float64            `json:"remainingSeconds,omitempty"`
	Label     string             `json:"label,omitempty"`
	Metrics   map[string]float64 `json:"metrics,omitempty"`
	NotFinite []string           `json:"notFinite,omitempty"`
	At        time.Time          `json:"at,omitzero"`
}

// MarshalJSON leaves out what is Unknown, and what JSON has no numbers for.
func (p Progress) MarshalJSON() ([]byte, error) {
	metrics := maps.Clone(p.Metrics)
	maps.DeleteFunc(metrics, func(_ string, v float64) bool { return !finite(v) })
	rate := p.Rate
	if !finite(rate) {
		rate = 0
	}
	return json.Marshal(progressJSON{
		Source: p.Source, Step: known(p.Step), Total: known(p.Total), Percent: known(p.Percent), PerEpoch: p.PerEpoch,
		Epoch: known(p.Epoch), Epochs: known(p.Epochs), Rate: rate, Remaining: math.Round(p.Remaining.Seconds()), Label: p.Label,
		Metrics: metrics, NotFinite: p.NotFinite, At: p.At,
	})
}

// UnmarshalJSON makes Unknown of what is left out.
func (p *Progress) UnmarshalJSON(text []byte) error {
	var in progressJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*p = Progress{
		Source: in.Source, Step: orUnknown(in.Step), Total: orUnknown(in.Total), Percent: orUnknown(in.Percent), PerEpoch: in.PerEpoch,
		Epoch: orUnknown(in.Epoch), Epochs: orUnknown(in.Epochs), Rate: in.Rate, Remaining: time.Duration(in.Remaining * float64(time.Second)), Label: in.Label,
		Metrics: in.Metrics, Names: slices.Sorted(maps.Keys(in.Metrics)), NotFinite: in.NotFinite, At: in.At,
	}
	return nil
}

func known(v float64) *float64 {
	if v == Unknown || !finite(v) {
		return nil
	}
	return &v
}

func orUnknown(v *float64) float64 {
	if v == nil {
		return Unknown
	}
	return *v
}
