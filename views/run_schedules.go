package views

import (
	"strconv"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// Schedules lists schedules with ages as of now.
func Schedules(list []run.Schedule, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME", Min: longestName}, {Name: "PIPELINE", Wide: true}, {Name: "STAGE"}, {Name: "SCHEDULE", Min: 16}, {Name: "TIMEZONE", Wide: true}, {Name: "SUSPENDED"}, {Name: "ACTIVE", Wide: true},
		{Name: "LAST"}, {Name: "SUCCEEDED"}, {Name: "AGE"},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE", Min: longestName}}, t.Columns...)
	}
	ago := func(at *time.Time) Cell {
		if at == nil {
			return Text("")
		}
		return Text(Age(now.Sub(*at)))
	}
	for _, s := range list {
		stage := s.Stage
		if stage == "" {
			stage = "(all)"
		}
		row := []Cell{
			Text(s.Name), Text(s.Pipeline), Text(stage), Text(s.Schedule), Text(s.TimeZone), Text(strconv.FormatBool(s.Suspended)), Text(strconv.Itoa(s.Active)),
			ago(s.Last), ago(s.LastSuccess), Text(Age(now.Sub(s.Created))),
		}
		if namespaces {
			row = append([]Cell{Text(s.Namespace)}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
