package plugin

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// jobsLog prints the rows of a list that is watched, and each again whenever it changes.
type jobsLog struct {
	f *Factory
	o jobsOptions
	// print prints JSON and its like; nil for tables and names.
	print func(runtime.Object, io.Writer) error
	// shown are the rows as they were printed last, by UID.
	shown map[string]*views.JobRow
	// begun says that the names of columns were printed, lost that the server is known to be away.
	begun, lost bool
}

// show prints what differs from what was printed.
func (p *jobsLog) show(l jobsLook) error {
	p.tellLost(l.lost)
	rows := slices.Clone(l.rows)
	shown := make(map[string]*views.JobRow, len(rows))
	var changed []int
	for i, r := range rows {
		was := p.shown[r.Work.UID]
		if was == nil || was.Work != r.Work && !views.SameJob(was, r, p.o.Output.Format != "") {
			changed = append(changed, i)
			was = r
		}
		shown[r.Work.UID] = was
	}
	for _, uid := range slices.Sorted(maps.Keys(p.shown)) {
		if shown[uid] == nil {
			changed = append(changed, len(rows))
			rows = append(rows, p.left(l, p.shown[uid]))
		}
	}
	p.shown = shown
	return p.rows(rows, changed)
}

// left is the row of a work that is listed no more: it is in another state than asked for, or deleted.
func (p *jobsLog) left(l jobsLook, was *views.JobRow) *views.JobRow {
	r := &views.JobRow{Now: p.f.Now()}
	if i := slices.IndexFunc(l.all, func(w *fleet.Work) bool { return w.UID == was.Work.UID }); i >= 0 {
		r.Work = l.all[i]
		return r
	}
	gone := *was.Work
	gone.State, gone.Reason, gone.Message, gone.Ready, gone.Held, gone.Nodes, gone.Pods = "Deleted", "", "", 0, 0, nil, nil
	r.Work = &gone
	return r
}

// usualRow keeps columns as wide as rows usually become, so that those of later lines stand below those of earlier ones.
func usualRow() *views.JobRow {
	return &views.JobRow{
		Work: &fleet.Work{State: job.Pending, Reason: "ContainerCreating", Ref: fleet.Ref{Kind: "PyTorchJob"}, Product: "NVIDIA-H100-80GB-HBM3"},
		Log:  &job.Progress{Source: job.SourceText, Percent: 100, Epoch: 10, Epochs: 10, Names: []string{"loss"}, Metrics: map[string]float64{"loss": 0.1234}},
	}
}

// rows prints some of the rows; all of them say how wide columns are.
func (p *jobsLog) rows(rows []*views.JobRow, changed []int) error {
	if len(changed) == 0 {
		return nil
	}
	if p.o.Output.table() {
		all := views.Jobs(append(rows, usualRow()), p.o.All).Lines(views.LineOptions{Wide: p.o.Output.Format == "wide"})
		var lines []views.Line
		if !p.begun && !p.o.Output.NoHeaders {
			lines = append(lines, all[0])
		}
		p.begun = true
		for _, i := range changed {
			lines = append(lines, all[i+1])
		}
		return p.f.lines(lines)
	}
	for _, i := range changed {
		if err := p.item(jobItem(rows[i])); err != nil {
			return err
		}
	}
	return nil
}

func (p *jobsLog) item(i item) error {
	if p.print == nil {
		_, err := fmt.Fprintln(p.f.Out, i.short())
		return err
	}
	u, err := i.object()
	if err != nil {
		return err
	}
	return p.print(u, p.f.Out)
}

func (p *jobsLog) tellLost(lost error) {
	switch {
	case lost != nil && !p.lost:
		p.f.say("%s", clean("the API server is away, trying again: "+firstLine(lost)))
	case lost == nil && p.lost:
		p.f.say("the API server is back")
	}
	p.lost = lost != nil
}
