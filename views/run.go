package views

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// Runs lists runs in the order given, with ages as of now.
func Runs(runs []run.Summary, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME"}, {Name: "PIPELINE"}, {Name: "STATE"}, {Name: "STAGES"}, {Name: "STAGE"}, {Name: "METRICS", Max: 48},
		{Name: "DURATION"}, {Name: "BY", Wide: true}, {Name: "COMMIT", Wide: true}, {Name: "MESSAGE", Wide: true, Max: 100}, {Name: "AGE"},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE"}}, t.Columns...)
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

// mark is a sign for a state, which is always written out beside it.
func mark(s run.State) string {
	switch s {
	case run.Succeeded:
		return "✔ "
	case run.Failed, run.GateFailed, run.TimedOut:
		return "✖ "
	case run.Running:
		return "▶ "
	case run.AwaitingApproval:
		return "⏸ "
	case run.Pending:
		return "◌ "
	case run.Cancelled:
		return "■ "
	case run.Reused:
		return "↺ "
	}
	return "· "
}

// ProgressKey names one execution in a map of progress.
func ProgressKey(stage string, child int) string { return stage + "/" + strconv.Itoa(child) }

// RunTree is a run as a tree: the run, its stages, and the children of its sweeps. progress is keyed by ProgressKey.
func RunTree(r run.Run, progress map[string]job.Progress, now time.Time) ([]Column, []Node) {
	columns := []Column{
		{Name: "STAGE"}, {Name: "STATE"}, {Name: "GPUS", Right: true}, {Name: "PROGRESS"}, {Name: "TIME", Right: true}, {Name: "METRICS", Max: 48}, {Name: "MESSAGE"},
	}
	var finished *time.Time
	if r.End != nil {
		finished = &r.End.At
	}
	root := Node{Cells: []Cell{
		Toned(mark(r.State)+r.Name, Accent), StateCell(r.State), Text(" "), Text(" "), Text(since(&r.Created, finished, now)), Text(" "), Text(orSpace(r.Message)),
	}}
	for i := range r.Now {
		st := &r.Now[i]
		if st.State == run.Skipped && !r.Stage(st.Name).Selected {
			continue
		}
		root.Children = append(root.Children, stageNode(st, progress, now))
	}
	return columns, []Node{root}
}

// orSpace keeps a column of a tree from printing <none>.
func orSpace(s string) string {
	if s == "" {
		return " "
	}
	return s
}

func stageNode(st *run.Stage, progress map[string]job.Progress, now time.Time) Node {
	name := mark(st.State) + st.Name
	if st.Attempt > 1 {
		name += fmt.Sprintf(" (attempt %d)", st.Attempt)
	}
	n := Node{Cells: []Cell{
		Text(name), StateCell(st.State), Text(gpus(st.GPUs)), Text(orSpace(stageProgress(st, progress))), Text(orSpace(since(st.Started, st.Finished, now))),
		Text(orSpace(stageMetrics(st, progress))), Text(orSpace(stageMessage(st))),
	}}
	if len(st.Children) > 1 {
		for i := range st.Children {
			n.Children = append(n.Children, childNode(st, i, progress, now))
		}
	}
	return n
}

func childNode(st *run.Stage, i int, progress map[string]job.Progress, now time.Time) Node {
	c := &st.Children[i]
	name := mark(c.State) + Swept(c.Swept)
	if st.Result != nil && st.Best == i {
		name += " (best)"
	}
	p := progress[ProgressKey(st.Name, i)]
	metrics := ""
	if c.Result != nil {
		metrics = Metrics(c.Result.Metrics)
	} else if c.State == run.Running {
		metrics = Metrics(p.Metrics)
	}
	return Node{Cells: []Cell{
		Text(name), StateCell(c.State), Text(gpus(st.GPUs)), Text(orSpace(childProgress(c, p))), Text(orSpace(since(c.Started, c.Finished, now))), Text(orSpace(metrics)), Text(orSpace(why(c.Reason, c.Message))),
	}}
}

func gpus(n int64) string {
	if n == 0 {
		return " "
	}
	return strconv.FormatInt(n, 10)
}

// Swept is the parameter set of a sweep's child, "lr=0.1 depth=4".
func Swept(params map[string]any) string {
	parts := make([]string, 0, len(params))
	for _, k := range slices.Sorted(maps.Keys(params)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, params[k]))
	}
	return strings.Join(parts, " ")
}

const barWidth = 12

func stageProgress(st *run.Stage, progress map[string]job.Progress) string {
	if len(st.Children) == 1 {
		return childProgress(&st.Children[0], progress[ProgressKey(st.Name, 0)])
	}
	done := 0
	for _, c := range st.Children {
		if c.State.Terminal() {
			done++
		}
	}
	if len(st.Children) == 0 || st.State == run.Waiting {
		return ""
	}
	f := float64(done) / float64(len(st.Children))
	return fmt.Sprintf("%s %d/%d", Bar(f, barWidth), done, len(st.Children))
}

func childProgress(c *run.Child, p job.Progress) string {
	if c.State != run.Running || p.Source == "" || p.Percent < 0 {
		return ""
	}
	return Bar(p.Percent/100, barWidth) + " " + Percent(p.Percent/100)
}

func stageMetrics(st *run.Stage, progress map[string]job.Progress) string {
	switch {
	case st.Result != nil:
		return Metrics(st.Result.Metrics)
	case st.State == run.Running && len(st.Children) == 1:
		return Metrics(progress[ProgressKey(st.Name, 0)].Metrics)
	}
	return ""
}

func stageMessage(st *run.Stage) string {
	switch {
	case st.ReusedFrom != "":
		return "results of run " + st.ReusedFrom
	case st.Approved != nil:
		return "gates approved by " + st.Approved.By + orNothing(": ", st.Approved.Reason)
	case st.State == run.GateFailed || st.State == run.AwaitingApproval:
		return st.Message
	}
	return why(st.Reason, st.Message)
}

// why joins a one-word reason and a sentence, without saying the same twice.
func why(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "" || strings.Contains(message, reason):
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

// RunEvents says in one line each what changed between two looks at a run; before is nil at the first.
func RunEvents(before *run.Run, r run.Run) []Line {
	was := map[string]run.Stage{}
	if before != nil {
		for _, st := range before.Now {
			was[st.Name] = st
		}
	}
	var out []Line
	for i := range r.Now {
		st := &r.Now[i]
		if !r.Stage(st.Name).Selected || st.State == run.Waiting {
			continue
		}
		old, seen := was[st.Name]
		if seen && old.State == st.State && old.Attempt == st.Attempt && (eventMessage(&old) == eventMessage(st)) {
			continue
		}
		line := Line{Text("stage "), Toned(Sanitize(st.Name), Accent), Text(" "), StateCell(st.State)}
		if m := eventMessage(st); m != "" {
			line = append(line, Text(": "+Sanitize(m)))
		}
		if st.Result != nil && len(st.Result.Metrics) > 0 && st.State.Terminal() {
			line = append(line, Text("  "+Sanitize(Metrics(st.Result.Metrics))))
		}
		if st.State.Terminal() && st.Started != nil && st.Finished != nil {
			line = append(line, Toned("  "+Age(st.Finished.Sub(*st.Started)), Dim))
		}
		out = append(out, line)
	}
	return out
}

// eventMessage is a stage's message without what every pod passes through.
func eventMessage(st *run.Stage) string {
	switch st.Reason {
	case "ContainerCreating", "PodInitializing", "NotScheduled":
		return ""
	}
	return stageMessage(st)
}

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
			reason := v.Reason
			if st.Approved != nil && v.State != pipeline.Pass {
				reason = "approved by " + st.Approved.By + orNothing(": ", st.Approved.Reason)
			}
			t.Rows = append(t.Rows, []Cell{Text(st.Name), Text(gateText(v.Gate)), Text(value), Toned(string(v.State), tone), Text(reason)})
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

// Schedules lists schedules with ages as of now.
func Schedules(list []run.Schedule, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME"}, {Name: "PIPELINE"}, {Name: "STAGE"}, {Name: "SCHEDULE"}, {Name: "TIMEZONE", Wide: true}, {Name: "SUSPENDED"}, {Name: "ACTIVE"},
		{Name: "LAST"}, {Name: "LAST-SUCCESS"}, {Name: "AGE"},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE"}}, t.Columns...)
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
