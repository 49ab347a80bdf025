package views

import (
	"fmt"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// RunHead is what a run is, before its tree: who started it, when, with which parameters and which code.
func RunHead(r run.Run, now time.Time) []Line {
	var out []Line
	add := func(key, value string, tone Tone) {
		if value != "" {
			out = append(out, Line{Toned(fmt.Sprintf("%-11s", key+":"), Head), Toned(Sanitize(value), tone)})
		}
	}
	add("Run", r.Name, Accent)
	add("Pipeline", r.Plan.Pipeline+orNothing(" revision ", r.Plan.Revision), Plain)
	add("State", string(r.State)+orNothing(": ", r.Message), stateTone(r.State))
	started := r.Created.UTC().Format(time.RFC3339) + " (" + Age(now.Sub(r.Created)) + " ago)" + orNothing(" by ", r.By)
	add("Started", started+orNothing(", reason: ", r.Reason), Plain)
	if r.Finished != nil {
		add("Finished", r.Finished.UTC().Format(time.RFC3339)+" after "+Age(r.Finished.Sub(r.Created)), Plain)
	}
	if r.Deadline != nil && r.Finished == nil {
		add("Deadline", r.Deadline.UTC().Format(time.RFC3339), Plain)
	}
	add("Params", Swept(r.Plan.Params), Plain)
	if src := r.Plan.Source; src != nil {
		add("Source", src.ConfigMap+orNothing(" git ", src.CommitText()), Plain)
	}
	return append(out, Line{})
}
