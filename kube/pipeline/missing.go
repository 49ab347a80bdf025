package pipeline

import (
	"encoding/json"
	"slices"
)

// MissingResults are the stages that this run leaves out and to whose results its own stages refer, in the order of the plan.
func (p *Plan) MissingResults() []string {
	wanted := map[string]bool{}
	for i := range p.Stages {
		if p.Stages[i].Selected {
			p.Stages[i].eachReference(func(r reference) {
				wanted[r.stage] = wanted[r.stage] || r.root == "stages"
			})
		}
	}
	var out []string
	for _, s := range p.Stages {
		if wanted[s.Name] && !s.Selected && !slices.Contains(out, s.Name) {
			out = append(out, s.Name)
		}
	}
	return out
}

// eachReference calls f for all references in the stage: whatever field one stands in, it is in the stage's JSON.
func (s *PlannedStage) eachReference(f func(reference)) {
	text, err := json.Marshal(s)
	if err != nil {
		return // a plan that cannot be written fails when it is recorded
	}
	eachReference(string(text), func(r reference, err error) {
		if err == nil {
			f(r)
		}
	})
}

// NeedsVersions are the stages whose models must be registered before this one starts: those that it deploys, and those
// to whose version it refers.
func (p *Plan) NeedsVersions(s *PlannedStage) []string {
	var out []string
	if s.Deploy != nil {
		name, _, sep := splitModel(s.Deploy.Model)
		for i := range p.Stages {
			if maker := &p.Stages[i]; sep == 0 && maker.Selected && maker.Registers() && maker.Model == name {
				out = append(out, maker.Name)
			}
		}
	}
	s.eachReference(func(r reference) {
		if r.registered() && !slices.Contains(out, r.stage) {
			out = append(out, r.stage)
		}
	})
	return out
}

// Registers says whether the model of the stage is registered when it has succeeded.
func (s *PlannedStage) Registers() bool { return s.Model != "" && s.Kind() != KindDeployment }
