package views

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// PhaseCell is a rollout's phase in its tone.
func PhaseCell(p serving.Phase) Cell {
	switch p {
	case serving.Healthy:
		return Toned(string(p), Good)
	case serving.Paused, serving.Aborted:
		return Toned(string(p), Warn)
	case serving.Degraded, serving.Failed:
		return Toned(string(p), Bad)
	case serving.Unmanaged:
		return Toned(string(p), Dim)
	}
	return Toned(string(p), Accent)
}

func versionNumber(n int) Cell {
	if n == 0 {
		return Cell{}
	}
	return Text(strconv.Itoa(n))
}

// stepText is the step that a rollout is at.
func stepText(r *serving.Rollout) string {
	if r.Step == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", r.Step, r.Steps)
}

// weightText is the share of the new version; while something goes on only, since afterwards it is all or nothing.
func weightText(r *serving.Rollout) string {
	if r.Phase == serving.Unmanaged {
		return ""
	}
	if r.Phase == serving.Healthy {
		return "100%"
	}
	return strconv.Itoa(r.Weight) + "%"
}

// readyText counts the ready pods of all sides.
func readyText(r *serving.Rollout) string {
	var ready, want int32
	for _, s := range r.Sides {
		ready += s.Ready
		want += s.Replicas
	}
	return fmt.Sprintf("%d/%d", ready, want)
}

// Rollouts lists rollouts in the order given, with ages as of now.
func Rollouts(list []serving.Rollout, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME", Min: 12}, {Name: "MODEL", Drop: 2}, {Name: "VERSION", Right: true}, {Name: "STABLE", Right: true},
		{Name: "STRATEGY", Drop: 4}, {Name: "PHASE", Min: 11}, {Name: "STEP", Drop: 3}, {Name: "WEIGHT", Right: true, Drop: 1}, {Name: "READY"},
		{Name: "AGE"}, {Name: "BY", Wide: true}, {Name: "MESSAGE", Wide: true},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE"}}, t.Columns...)
	}
	for i := range list {
		r := &list[i]
		began := r.Created
		if r.Started != nil {
			began = *r.Started
		}
		age := ""
		if !began.IsZero() {
			age = Age(now.Sub(began))
		}
		row := []Cell{
			Text(r.Name), Text(r.Model), versionNumber(r.Version), versionNumber(r.Stable), Text(string(r.Strategy)), PhaseCell(r.Phase),
			Text(stepText(r)), Text(weightText(r)), Text(readyText(r)), Text(age), Text(r.By), Text(r.Message),
		}
		if namespaces {
			row = append([]Cell{Text(r.Namespace)}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Rollout is a rollout with its sides and gates.
func Rollout(r serving.Rollout, now time.Time, o LineOptions) []Line {
	out := []Line{RolloutLine(&r)}
	if r.Message != "" {
		out = append(out, Line{Text("  " + Sanitize(r.Message))})
	}
	var facts []string
	if r.By != "" {
		facts = append(facts, "by "+r.By)
	}
	if r.Started != nil {
		facts = append(facts, "begun "+Age(now.Sub(*r.Started))+" ago")
	}
	if r.Run != "" {
		facts = append(facts, "run "+r.Run)
	}
	if r.Comment != "" {
		facts = append(facts, r.Comment)
	}
	if len(facts) > 0 {
		out = append(out, Line{Toned("  "+Sanitize(strings.Join(facts, ", ")), Dim)})
	}
	for _, w := range r.Warnings {
		out = append(out, Line{Toned("  warning: "+Sanitize(w), Warn)})
	}
	for _, g := range r.Gates {
		tone := Plain
		switch g.State {
		case serving.Passed:
			tone = Good
		case serving.Breach:
			tone = Bad
		}
		out = append(out, Line{Text("  gate " + g.Kind + ": "), Toned(string(g.State), tone), Toned("  "+Sanitize(g.Message), Dim)})
	}
	out = append(out, Line{})
	out = append(out, rolloutSides(r).Lines(o)...)
	for i := range out {
		if o.Width > 0 {
			out[i] = out[i].Cut(o.Width)
		}
	}
	return out
}

func rolloutSides(r serving.Rollout) Table {
	t := Table{Columns: []Column{
		{Name: "SIDE"}, {Name: "DEPLOYMENT", Min: 12}, {Name: "VERSION", Right: true}, {Name: "READY"}, {Name: "UPDATED", Right: true, Drop: 2},
		{Name: "RESTARTS", Right: true, Drop: 1}, {Name: "TRAFFIC"}, {Name: "IMAGE", Drop: 3}, {Name: "TROUBLE", Drop: 4},
	}}
	for _, s := range r.Sides {
		traffic := Toned("no", Dim)
		if s.Serves {
			traffic = Toned("yes", Good)
		}
		t.Rows = append(t.Rows, []Cell{
			Toned(s.Side, Accent), Text(s.Deployment), versionNumber(s.Version), Text(fmt.Sprintf("%d/%d", s.Ready, s.Replicas)),
			Text(strconv.Itoa(int(s.Updated))), Text(strconv.Itoa(int(s.Restarts))), traffic, Text(s.Image), Toned(s.Trouble, Bad),
		})
	}
	return t
}

// RolloutLine says in one line where a rollout stands.
func RolloutLine(r *serving.Rollout) Line {
	what := r.Model
	if r.Version > 0 {
		what += ":" + strconv.Itoa(r.Version)
	}
	l := Line{Text("rollout "), Toned(Sanitize(r.Name), Accent), Text(" "), PhaseCell(r.Phase), Text("  " + Sanitize(what))}
	if r.Stable > 0 && r.Stable != r.Version {
		l = append(l, Toned(fmt.Sprintf(" after version %d", r.Stable), Dim))
	}
	if r.Strategy != "" {
		l = append(l, Text("  "+string(r.Strategy)))
	}
	if r.Step > 0 {
		l = append(l, Text(fmt.Sprintf("  step %d of %d", r.Step, r.Steps)))
	}
	if !r.Ended && r.Strategy == pipeline.Canary {
		l = append(l, Text(fmt.Sprintf("  %d%% of the traffic", r.Weight)))
	}
	return l
}

// RolloutEvent says what changed between two looks at a rollout; nil when nothing that is worth a line did.
func RolloutEvent(before *serving.Rollout, r *serving.Rollout) Line {
	if before != nil && before.Phase == r.Phase && before.Step == r.Step && before.Weight == r.Weight &&
		(r.Message == before.Message || r.Phase == serving.Progressing || r.Phase == serving.Paused && !r.Approval) {
		return nil
	}
	l := RolloutLine(r)
	if r.Message != "" {
		l = append(l, Text(": "+Sanitize(r.Message)))
	}
	return l
}
