package views

import (
	"cmp"
	"slices"
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
func JobColumns() List[*JobRow] {
	return List[*JobRow]{
		textColumn(Column{Name: columnNamespace, Min: 12}, func(r *JobRow) string { return r.Work.Namespace }),
		textColumn(Column{Name: "NAME", Min: 48}, func(r *JobRow) string { return r.Work.Name }),
		textColumn(Column{Name: "KIND", Min: 12, Drop: 5}, func(r *JobRow) string { return r.Work.Kind }),
		{Column{Name: "STATE", Min: len("Pending:Unschedulable")}, jobState, func(r *JobRow) SortKey {
			return SortKey{Number: float64(slices.Index(jobStates(), r.Work.State)), Text: r.Work.Reason, Known: true}
		}},
		{Column{Name: "READY", Drop: 2}, jobReady, func(r *JobRow) SortKey { return jobNumber(r.Work.Ready) }},
		jobCount(Column{Name: "GPUS", Drop: 1}, func(r *JobRow) int64 { return r.Work.GPUs }),
		textColumn(Column{Name: "TYPE", Min: 14, Drop: 9}, jobType),
		{Column{Name: "UTIL", Drop: 6}, jobBusy, func(r *JobRow) SortKey { return jobFloat(r.Usage.Busy) }},
		{Column{Name: "PROGRESS", Min: 20, Drop: 4}, func(r *JobRow) Cell { return Text(orUnknown(shortProgress(r.Progress()))) }, jobPercent},
		{Column{Name: "METRIC", Max: 28, Min: 28, Drop: 8}, jobMetric, func(r *JobRow) SortKey {
			name, v := r.metric()
			return SortKey{Number: v, Text: name, Known: name != ""}
		}},
		textColumn(Column{Name: "QUEUE", Min: 12, Drop: 10}, func(r *JobRow) string { return r.Work.Queue }),
		{Column{Name: "RESTARTS", Drop: 11}, jobRestarts, func(r *JobRow) SortKey { return jobNumber(r.Work.Restarts) }},
		textColumn(Column{Name: "NODE", Min: 12, Drop: 7}, jobNode),
		jobCount(Column{Name: "HELD", Wide: true, Drop: 20}, func(r *JobRow) int64 { return r.Work.Held }),
		textColumn(Column{Name: "RESOURCE", Wide: true, Min: 20, Drop: 24}, jobResource),
		{Column{Name: "MEMORY", Wide: true, Min: 14, Drop: 16}, jobMemory, func(r *JobRow) SortKey { return jobFloat(r.Usage.MemoryUsed) }},
		textColumn(Column{Name: "PRIORITY", Wide: true, Drop: 19}, func(r *JobRow) string { return r.Work.Priority }),
		textColumn(Column{Name: "BY", Wide: true, Min: 16, Drop: 15}, func(r *JobRow) string { return r.Work.By }),
		textColumn(Column{Name: "PIPELINE", Wide: true, Min: 16, Drop: 23}, jobPipeline),
		textColumn(Column{Name: "RUN", Wide: true, Min: 24, Drop: 17}, jobRun),
		textColumn(Column{Name: "STAGE", Wide: true, Min: 12, Drop: 18}, jobStage),
		{Column{Name: "STARTED", Wide: true, Min: 20, Drop: 22}, func(r *JobRow) Cell { return Text(timeText(r.Work.Started)) }, func(r *JobRow) SortKey {
			return jobTime(r.Work.Started)
		}},
		{Column{Name: "DURATION", Wide: true, Drop: 13}, func(r *JobRow) Cell { return Text(since(r.Work.Started, r.Work.Finished, r.Now)) }, jobDuration},
		textColumn(Column{Name: "MESSAGE", Wide: true, Max: 100, Min: 30, Drop: 4}, func(r *JobRow) string { return r.Work.Message }),
		{Column{Name: "AGE", Drop: 3}, func(r *JobRow) Cell { return Text(r.age()) }, func(r *JobRow) SortKey {
			return SortKey{Number: r.Now.Sub(r.Work.Created).Seconds(), Known: !r.Work.Created.IsZero()}
		}},
	}
}

// Jobs lists works in the order given; namespaces says that there may be several.
func Jobs(rows []*JobRow, namespaces bool) Table {
	columns := JobColumns()
	if !namespaces {
		columns = columns.without(columnNamespace)
	}
	return columns.Table(rows)
}

// jobStates are the states in the order in which they sort.
func jobStates() []string {
	return []string{job.Running, job.Pending, job.Suspended, job.Failed, job.Succeeded}
}

// SortJobs sorts by a column, with a - before its name descending. Ties, and all without a column, are by what is of
// interest first: what goes on (running or pending), the newest first, then what is suspended, then what has ended, the
// last to end first.
func SortJobs(rows []*JobRow, by string) error {
	slices.SortStableFunc(rows, func(a, b *JobRow) int { return byInterest(a.Work, b.Work) })
	if by == "" {
		return nil
	}
	return JobColumns().Sort(rows, by)
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

// jobCount is a column of numbers of accelerators.
func jobCount(c Column, get func(*JobRow) int64) ListColumn[*JobRow] {
	return ListColumn[*JobRow]{c, func(r *JobRow) Cell { return Text(countOf(get(r))) }, func(r *JobRow) SortKey { return jobNumber(get(r)) }}
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
