package views

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// longestName is what a column of names keeps: a name that is cut cannot be typed.
const longestName = 63

// Runs lists runs in the order given, with ages as of now.
func Runs(runs []run.Summary, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME", Min: longestName}, {Name: "PIPELINE", Wide: true}, {Name: "STATE", Min: len(run.AwaitingApproval)}, {Name: "STAGES"}, {Name: "STAGE"}, {Name: "METRICS", Max: 48},
		{Name: "DURATION"}, {Name: "BY", Wide: true}, {Name: "COMMIT", Wide: true}, {Name: "MESSAGE", Wide: true, Max: 100}, {Name: "AGE"},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE", Min: longestName}}, t.Columns...)
	}
	for _, r := range runs {
		row := []Cell{
			Text(r.Name), Text(r.Pipeline), StateCell(r.State), Text(fmt.Sprintf("%d/%d", r.Done, r.Total)), Text(r.Stage),
			Text(Metrics(r.Metrics)), Text(since(&r.Created, r.Finished, now)), Text(r.By), Text(shortCommit(r.Commit)), Text(r.Message),
			Text(Age(now.Sub(r.Created))),
		}
		if namespaces {
			row = append([]Cell{Text(r.Namespace)}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func shortCommit(c string) string {
	hash, dirty, _ := strings.Cut(c, "-")
	if len(hash) > 8 {
		hash = hash[:8]
	}
	if dirty != "" {
		return hash + "-" + dirty
	}
	return hash
}

// Metrics are up to four metrics by name, "r2=0.89 rmse=31460".
func Metrics(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if len(parts) == 4 {
			parts = append(parts, fmt.Sprintf("+%d", len(m)-4))
			break
		}
		parts = append(parts, name+"="+Float(m[name]))
	}
	return strings.Join(parts, " ")
}

// since is how long something took, or has taken up to now; empty before it began.
func since(from, to *time.Time, now time.Time) string {
	switch {
	case from == nil || from.IsZero():
		return ""
	case to != nil:
		return Age(to.Sub(*from))
	}
	return Age(now.Sub(*from))
}

// StateCell is a state with its tone.
func StateCell(s run.State) Cell { return Toned(string(s), stateTone(s)) }

func stateTone(s run.State) Tone {
	switch s {
	case run.Succeeded:
		return Good
	case run.Failed, run.GateFailed, run.TimedOut:
		return Bad
	case run.AwaitingApproval, run.Cancelled:
		return Warn
	case run.Running:
		return Accent
	case run.Waiting, run.Skipped, run.Reused:
		return Dim
	}
	return Plain
}

// Swept is the parameter set of a sweep's child, "lr=0.1 depth=4".
func Swept(params map[string]any) string {
	parts := make([]string, 0, len(params))
	for _, k := range slices.Sorted(maps.Keys(params)) {
		parts = append(parts, k+"="+param(params[k]))
	}
	return strings.Join(parts, " ")
}

// param is a parameter's value: whole numbers in full, others with six digits.
func param(v any) string {
	f, ok := v.(float64)
	switch {
	case !ok:
		return fmt.Sprint(v)
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 6, 64)
}

// why joins a one-word reason and a sentence, without saying the same twice.
func why(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "" || reason == "Error" || strings.Contains(message, reason):
		return message
	}
	return reason + ": " + message
}

func orNothing(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
