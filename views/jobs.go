package views

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// JobRow is one piece of work and what is known of it beside its objects.
type JobRow struct {
	Work *fleet.Work
	// Usage is of the accelerators that its pods hold, as far as exporters tell.
	Usage metrics.Usage
	// Log is the progress that its log tells; nil when nobody looked or it tells none.
	Log *job.Progress
	// Now is the time as of which ages are told.
	Now time.Time
}

// JobColumn is one column of a list of jobs: how it is laid out, what stands in it, and how it sorts.
type JobColumn struct {
	Column
	Cell func(*JobRow) Cell
	Key  func(*JobRow) SortKey
}

// SortKey is what a column sorts by: Number, then Text. What is not Known comes last in either direction.
type SortKey struct {
	Number float64
	Text   string
	Known  bool
}

// columnNamespace heads the namespaces, which show when there may be several.
const columnNamespace = "NAMESPACE"

// JobColumns define what a row of jobs is, for lists, -o wide, sorting and screens alike. Where they do not fit, columns
// are left out rather than cut: half a number misleads, and half a name cannot be typed.
func JobColumns() []JobColumn {
	return []JobColumn{
		jobText(Column{Name: columnNamespace, Min: 12}, func(r *JobRow) string { return r.Work.Namespace }),
		jobText(Column{Name: "NAME", Min: 48}, func(r *JobRow) string { return r.Work.Name }),
		jobText(Column{Name: "KIND", Min: 12, Drop: 5}, func(r *JobRow) string { return r.Work.Kind }),
		{Column{Name: "STATE", Min: len("Pending:Unschedulable")}, jobState, func(r *JobRow) SortKey {
			return SortKey{Number: float64(slices.Index(jobStates(), r.Work.State)), Text: r.Work.Reason, Known: true}
		}},
		{Column{Name: "READY", Drop: 2}, jobReady, func(r *JobRow) SortKey { return jobNumber(r.Work.Ready) }},
		jobCount(Column{Name: "GPUS", Drop: 1}, func(r *JobRow) int64 { return r.Work.GPUs }),
		jobText(Column{Name: "TYPE", Min: 14, Drop: 9}, jobType),
		{Column{Name: "UTIL", Drop: 6}, jobBusy, func(r *JobRow) SortKey { return jobFloat(r.Usage.Busy) }},
		{Column{Name: "PROGRESS", Min: 20, Drop: 4}, func(r *JobRow) Cell { return Text(orUnknown(shortProgress(r.Progress()))) }, jobPercent},
		{Column{Name: "METRIC", Max: 28, Min: 28, Drop: 8}, jobMetric, func(r *JobRow) SortKey {
			name, v := r.metric()
			return SortKey{Number: v, Text: name, Known: name != ""}
		}},
		jobText(Column{Name: "QUEUE", Min: 12, Drop: 10}, func(r *JobRow) string { return r.Work.Queue }),
		{Column{Name: "RESTARTS", Drop: 11}, jobRestarts, func(r *JobRow) SortKey { return jobNumber(r.Work.Restarts) }},
		jobText(Column{Name: "NODE", Min: 12, Drop: 7}, jobNode),
		jobCount(Column{Name: "HELD", Wide: true}, func(r *JobRow) int64 { return r.Work.Held }),
		jobText(Column{Name: "RESOURCE", Wide: true}, jobResource),
		{Column{Name: "MEMORY", Wide: true}, jobMemory, func(r *JobRow) SortKey { return jobFloat(r.Usage.MemoryUsed) }},
		jobText(Column{Name: "PRIORITY", Wide: true}, func(r *JobRow) string { return r.Work.Priority }),
		jobText(Column{Name: "BY", Wide: true}, func(r *JobRow) string { return r.Work.By }),
		jobText(Column{Name: "PIPELINE", Wide: true}, jobPipeline),
		jobText(Column{Name: "RUN", Wide: true}, jobRun),
		jobText(Column{Name: "STAGE", Wide: true}, jobStage),
		{Column{Name: "STARTED", Wide: true}, func(r *JobRow) Cell { return Text(timeText(r.Work.Started)) }, func(r *JobRow) SortKey {
			return jobTime(r.Work.Started)
		}},
		{Column{Name: "DURATION", Wide: true}, func(r *JobRow) Cell { return Text(since(r.Work.Started, r.Work.Finished, r.Now)) }, jobDuration},
		jobText(Column{Name: "MESSAGE", Wide: true, Max: 100}, func(r *JobRow) string { return r.Work.Message }),
		{Column{Name: "AGE", Drop: 3}, func(r *JobRow) Cell { return Text(r.age()) }, func(r *JobRow) SortKey {
			return SortKey{Number: r.Now.Sub(r.Work.Created).Seconds(), Known: !r.Work.Created.IsZero()}
		}},
	}
}

// Jobs lists works in the order given; namespaces says that there may be several.
func Jobs(rows []*JobRow, namespaces bool) Table {
	columns := JobColumns()
	if !namespaces {
		columns = slices.DeleteFunc(columns, func(c JobColumn) bool { return c.Name == columnNamespace })
	}
	t := Table{Rows: make([][]Cell, 0, len(rows))}
	for _, c := range columns {
		t.Columns = append(t.Columns, c.Column)
	}
	cells := make([]Cell, 0, len(rows)*len(columns))
	for _, r := range rows {
		for _, c := range columns {
			cells = append(cells, c.Cell(r))
		}
		t.Rows = append(t.Rows, cells[len(cells)-len(columns):len(cells):len(cells)])
	}
	return t
}

// jobStates are the states in the order in which they sort.
func jobStates() []string {
	return []string{job.Running, job.Pending, job.Suspended, job.Failed, job.Succeeded}
}

// SortJobs sorts by a column, ties and without a column by what is of interest first: what goes on (running or pending), the newest
// first, then what is suspended, then what has ended, the last to end first.
func SortJobs(rows []*JobRow, column string, descending bool) error {
	var key func(*JobRow) SortKey
	if column != "" {
		columns := JobColumns()
		i := slices.IndexFunc(columns, func(c JobColumn) bool { return strings.EqualFold(c.Name, column) })
		if i < 0 {
			return fmt.Errorf("no column %q to sort by; there are %s", column, strings.Join(JobColumnNames(), ", "))
		}
		key = columns[i].Key
	}
	sign := 1
	if descending {
		sign = -1
	}
	slices.SortStableFunc(rows, func(a, b *JobRow) int {
		if key == nil {
			return sign * byInterest(a.Work, b.Work)
		}
		x, y := key(a), key(b)
		if x.Known != y.Known {
			if x.Known {
				return -1
			}
			return 1
		}
		return cmp.Or(sign*cmp.Or(cmp.Compare(x.Number, y.Number), cmp.Compare(x.Text, y.Text)), byInterest(a.Work, b.Work))
	})
	return nil
}

// JobColumnNames are the names of all columns in lower case, as they are given to sort by.
func JobColumnNames() []string {
	var names []string
	for _, c := range JobColumns() {
		names = append(names, strings.ToLower(c.Name))
	}
	return names
}

func byInterest(a, b *fleet.Work) int {
	class := func(w *fleet.Work) int {
		switch {
		case w.Final():
			return 2
		case w.State == job.Suspended:
			return 1
		}
		return 0
	}
	at := func(w *fleet.Work) time.Time {
		if w.Final() && w.Finished != nil {
			return *w.Finished
		}
		return w.Created
	}
	return cmp.Or(cmp.Compare(class(a), class(b)), at(b).Compare(at(a)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

// jobText is a column of texts, which sort as texts.
func jobText(c Column, get func(*JobRow) string) JobColumn {
	return JobColumn{c, func(r *JobRow) Cell { return Text(get(r)) }, func(r *JobRow) SortKey {
		s := get(r)
		return SortKey{Text: s, Known: s != ""}
	}}
}

// jobCount is a column of numbers of accelerators.
func jobCount(c Column, get func(*JobRow) int64) JobColumn {
	return JobColumn{c, func(r *JobRow) Cell { return Text(countOf(get(r))) }, func(r *JobRow) SortKey { return jobNumber(get(r)) }}
}

// countOf is a number of accelerators: none is said as None, so that zeros do not drown the rest.
func countOf(n int64) string {
	switch n {
	case fleet.Unknown:
		return Unknown
	case 0:
		return ""
	}
	return Count(n)
}

func jobNumber[N int | int32 | int64](n N) SortKey {
	return SortKey{Number: float64(n), Known: n != fleet.Unknown}
}

func jobFloat(v *float64) SortKey {
	if v == nil {
		return SortKey{}
	}
	return SortKey{Number: *v, Known: true}
}

func jobTime(t *time.Time) SortKey {
	if t == nil {
		return SortKey{}
	}
	return SortKey{Number: float64(t.Unix()), Known: true}
}

func jobDuration(r *JobRow) SortKey {
	if r.Work.Started == nil {
		return SortKey{}
	}
	end := r.Now
	if r.Work.Finished != nil {
		end = *r.Work.Finished
	}
	return SortKey{Number: end.Sub(*r.Work.Started).Seconds(), Known: true}
}
