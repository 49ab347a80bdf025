package pipeline

import (
	"encoding/json"
	"slices"
)

// MissingResults are the stages that this run leaves out and to whose results its own stages refer, in the order of the plan.
func (p *Plan) MissingResults() []string {
	wanted := map[string]bool{}
	for i := range p.Stages {
		s := &p.Stages[i]
		if !s.Selected {
			continue
		}
		// Whatever field a reference stands in, it is in the stage's JSON.
		text, err := json.Marshal(s)
		if err != nil {
			continue // a plan that cannot be written fails when it is recorded
		}
		eachReference(string(text), func(r reference, err error) {
			if err == nil && r.root == "stages" {
				wanted[r.stage] = true
			}
		})
	}
	var out []string
	for _, s := range p.Stages {
		if wanted[s.Name] && !s.Selected && !slices.Contains(out, s.Name) {
			out = append(out, s.Name)
		}
	}
	return out
}
