package views

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

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

// TreeOptions say how the tree of a run is laid out.
type TreeOptions struct {
	LineOptions
	// Rows is how many lines there are at most, 0 without limit: then the children of sweeps give way first.
	Rows int
}

// RunTree is a run as a tree: the run, its stages, and the children of its sweeps. progress is keyed by ProgressKey.
// Columns that say nothing are left out. What a stage has to say stands in the last column if all of it fits the
// width; else what matters stands below its stage.
func RunTree(r run.Run, progress map[string]job.Progress, now time.Time, o TreeOptions) []Line {
	t := runTree{progress: progress, now: now, o: o, bar: 12}
	switch {
	case o.Width > 0 && o.Width < narrowest:
		t.bar = 0
	case o.Width > 0 && o.Width < 100:
		t.bar = 6
	}
	lines := t.lines(r)
	if o.Rows > 0 && len(lines) > o.Rows {
		t.folded = true
		lines = t.lines(r)
	}
	return lines
}

// runTree is the tree of a run being laid out.
type runTree struct {
	progress map[string]job.Progress
	now      time.Time
	o        TreeOptions
	// bar is the width of progress bars, folded leaves out the children of sweeps.
	bar    int
	folded bool
}

// treeRow is one line of the tree and what it says beyond its columns.
type treeRow struct {
	cells   []Cell // the columns of treeColumns but the last
	message Cell
	// minor is a message that another line implies.
	minor    bool
	children []treeRow
}

// narrowest is the width below which a tree says as little as it can.
const narrowest = 60

// The columns of the tree, by their index.
const (
	colStage = iota
	colState
	colGPUs
	colProgress
	colTime
	colMetrics
	colMessage
	treeWidth
)

func treeColumns() [treeWidth]Column {
	return [treeWidth]Column{
		{Name: "STAGE"}, {Name: "STATE"}, {Name: "GPUS", Right: true}, {Name: "PROGRESS"}, {Name: "TIME", Right: true}, {Name: "METRICS", Max: 48}, {Name: "MESSAGE"},
	}
}

func (t runTree) lines(r run.Run) []Line {
	root := t.root(r)
	if t.o.Width <= 0 || t.o.Wide {
		lo := t.o.LineOptions
		lo.Width = 0
		return drawTree(root, lo, true)
	}
	free := t.o.LineOptions
	free.Width = 0
	lines := drawTree(root, free, true)
	if !slices.ContainsFunc(lines, func(l Line) bool { return l.Width() > t.o.Width }) {
		return lines
	}
	return t.withMessages(drawTree(root, t.o.LineOptions, false), root)
}

// root is the row of the run itself. What a stage's row says is not said again.
func (t runTree) root(r run.Run) treeRow {
	var finished *time.Time
	if r.End != nil {
		finished = &r.End.At
	}
	root := treeRow{cells: []Cell{
		Toned(mark(r.State)+r.Name, Accent), StateCell(r.State), {}, {}, Text(since(&r.Created, finished, t.now)), {},
	}}
	said := false
	for i := range r.Now {
		st := &r.Now[i]
		if st.State == run.Skipped && !r.Stage(st.Name).Selected {
			continue
		}
		row := t.stage(st)
		if row.message.Text == r.Message {
			row.message.Text = ""
		}
		said = said || row.message.Text != "" && strings.Contains(r.Message, "stage "+st.Name)
		root.children = append(root.children, row)
	}
	if !said {
		root.message = Toned(r.Message, stateTone(r.State))
	}
	return root
}

func (t runTree) stage(st *run.Stage) treeRow {
	name := mark(st.State) + st.Name
	if st.Attempt > 1 {
		name += fmt.Sprintf(" (attempt %d)", st.Attempt)
	}
	row := treeRow{cells: []Cell{
		Text(name), StateCell(st.State), Text(gpus(st.GPUs)), Text(t.stageProgress(st)), Text(since(st.Started, st.Finished, t.now)), Text(t.stageMetrics(st)),
	}}
	row.message = Text(stageMessage(st))
	if st.State == run.Failed || st.State == run.GateFailed || st.State == run.AwaitingApproval {
		row.message.Tone = stateTone(st.State)
	}
	if st.Registered != nil && st.Registered.Version == 0 {
		row.message.Tone = Warn
	}
	row.minor = eventMessage(st) == "" || st.State == run.Waiting || st.State == run.Skipped || st.State == run.Cancelled || st.State == run.TimedOut
	begun := func(c run.Child) bool { return c.Started != nil || c.State == run.Running || c.State == run.Pending }
	if len(st.Children) > 1 && slices.ContainsFunc(st.Children, begun) && !t.folded {
		for i := range st.Children {
			child := t.child(st, i)
			if child.message.Text == row.message.Text {
				child.message.Text = ""
			}
			row.children = append(row.children, child)
		}
	}
	return row
}

func (t runTree) child(st *run.Stage, i int) treeRow {
	c := &st.Children[i]
	name := mark(c.State) + Swept(c.Swept)
	if st.Result != nil && st.Best == i {
		name += " (best)"
	}
	p := t.progress[ProgressKey(st.Name, i)]
	metrics := ""
	if c.Result != nil {
		metrics = Metrics(c.Result.Metrics)
	} else if c.State == run.Running {
		metrics = Metrics(p.Metrics)
	}
	return treeRow{
		cells: []Cell{
			Text(name), StateCell(c.State), Text(gpus(st.GPUs)), Text(t.childProgress(c, p)), Text(since(c.Started, c.Finished, t.now)), Text(metrics),
		},
		message: Text(why(c.Reason, c.Message)),
		minor:   c.State != run.Failed,
	}
}

func gpus(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func (t runTree) stageProgress(st *run.Stage) string {
	if len(st.Children) == 1 {
		return t.childProgress(&st.Children[0], t.progress[ProgressKey(st.Name, 0)])
	}
	if len(st.Children) == 0 || st.State == run.Waiting {
		return ""
	}
	done := 0
	for _, c := range st.Children {
		if c.State == run.Succeeded || c.State == run.Failed {
			done++
		}
	}
	count := fmt.Sprintf("%d/%d", done, len(st.Children))
	if st.State.Terminal() {
		return count
	}
	return strings.TrimSpace(Bar(float64(done)/float64(len(st.Children)), t.bar) + " " + count)
}

func (t runTree) childProgress(c *run.Child, p job.Progress) string {
	switch {
	case c.State != run.Running || p.Source == "":
	case p.Percent >= 0:
		return strings.TrimSpace(Bar(p.Percent/100, t.bar) + " " + Percent(p.Percent/100))
	case p.Epoch >= 0:
		return "epoch " + Float(p.Epoch)
	case p.Step >= 0:
		return "step " + Float(p.Step)
	}
	return ""
}

func (t runTree) stageMetrics(st *run.Stage) string {
	switch {
	case st.Result != nil:
		return Metrics(st.Result.Metrics)
	case st.State == run.Running && len(st.Children) == 1:
		return Metrics(t.progress[ProgressKey(st.Name, 0)].Metrics)
	}
	return ""
}

func stageMessage(st *run.Stage) string {
	switch {
	case st.ReusedFrom != "":
		return "results of run " + st.ReusedFrom + orNothing(", model ", st.Registered.Ref())
	case st.Approved != nil:
		return "gates approved by " + st.Approved.By + orNothing(": ", st.Approved.Reason) + orNothing("; model ", st.Registered.Ref())
	case st.State == run.GateFailed || st.State == run.AwaitingApproval:
		return st.Message
	case st.Registered != nil && st.State == run.Succeeded:
		return registered(st.Registered) + orNothing("; ", why(st.Reason, st.Message))
	case st.Deploys != "" && !st.State.Terminal():
		return st.Deploys + orNothing(": ", why(st.Reason, st.Message))
	case st.Deploys != "" && st.Message == "":
		return st.Deploys
	}
	return why(st.Reason, st.Message)
}

// registered says what became of a stage's model.
func registered(g *run.Registration) string {
	switch {
	case g.Version > 0:
		return "model " + g.Ref()
	case g.Retry != nil:
		return "model not registered yet, it is tried again: " + g.Failed
	}
	return "model not registered: " + g.Failed
}
