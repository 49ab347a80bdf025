package views

import (
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// Gates lists the verdicts of a run's gates; it has no rows when there are none.
func Gates(r run.Run) Table {
	t := Table{Columns: []Column{{Name: "STAGE"}, {Name: "GATE"}, {Name: "VALUE"}, {Name: "VERDICT"}, {Name: "REASON"}}}
	for _, st := range r.Now {
		for _, v := range st.Gates {
			value := ""
			if v.Value != nil {
				value = Float(*v.Value)
			}
			tone := map[pipeline.GateState]Tone{pipeline.Pass: Good, pipeline.Fail: Bad, pipeline.Waiting: Warn}[v.State]
			verdict, reason := string(v.State), v.Reason
			if st.Approved != nil && v.State != pipeline.Pass {
				// A breach stays one, whoever lets it pass; nobody waits any more.
				if v.State == pipeline.Waiting {
					verdict, tone = "Approved", Good
				}
				reason = "approved by " + st.Approved.By + orNothing(": ", st.Approved.Reason)
			}
			t.Rows = append(t.Rows, []Cell{Text(st.Name), Text(gateText(v.Gate)), Text(value), Toned(verdict, tone), Text(reason)})
		}
	}
	return t
}

func gateText(g pipeline.Gate) string {
	if g.Approval != "" {
		return "approval"
	}
	s := g.Metric
	if g.Min != nil {
		s = Float(*g.Min) + " <= " + s
	}
	if g.Max != nil {
		s += " <= " + Float(*g.Max)
	}
	return s
}
