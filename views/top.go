package views

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// TopJobs lists what works do with their accelerators, as of now; namespaces says that there may be several.
func TopJobs(namespaces bool, now time.Time) List[*fleet.WorkUsage] {
	type row = *fleet.WorkUsage
	of := func(u row) *metrics.Usage { return &u.Usage }
	l := List[row]{
		textColumn(Column{Name: columnNamespace, Min: 12}, func(u row) string { return u.Work.Namespace }),
		textColumn(Column{Name: "NAME", Min: 30}, func(u row) string { return u.Work.Name }),
		textColumn(Column{Name: "KIND", Min: 12, Drop: 9}, func(u row) string { return u.Work.Kind }),
		textColumn(Column{Name: "TYPE", Min: 14, Drop: 8}, func(u row) string { return ShortProduct(u.Product) }),
		countColumn(Column{Name: "GPUS", Drop: 2}, func(u row) int64 { return u.GPUs }),
		countColumn(Column{Name: "HELD"}, func(u row) int64 { return u.Held }),
		busyColumn(of, func(u row) bool { return u.Held > 0 }),
		memoryColumn(of),
		powerColumn(of),
		ListColumn[row]{Column{Name: "HELD-FOR", Right: true}, func(u row) Cell { return Text(heldFor(u.HeldSince, now)) }, func(u row) SortKey {
			if u.HeldSince == nil {
				return SortKey{}
			}
			return SortKey{Number: now.Sub(*u.HeldSince).Seconds(), Known: true}
		}},
		idleColumn(Column{Name: "IDLE", Drop: 7}, func(u row) *int64 { return u.Idle }),
		ListColumn[row]{Column{Name: "NOTES", Min: 16, Max: 60, Drop: 1}, workNotes, func(u row) SortKey {
			text := workNotes(u).Text
			return SortKey{Text: text, Known: text != ""}
		}},
		meanColumn(of),
		temperatureColumn(Column{Name: "TEMP", Wide: true}, of),
		hoursColumn(func(u row) float64 { return u.GPUHours }),
		textColumn(Column{Name: "QUEUE", Wide: true}, func(u row) string { return u.Queue }),
		textColumn(Column{Name: "BY", Wide: true}, func(u row) string { return u.By }),
		textColumn(Column{Name: "NODES", Wide: true, Max: 60}, func(u row) string { return strings.Join(u.Work.Nodes, ",") }),
	}
	if !namespaces {
		l = l.without(columnNamespace)
	}
	return l
}

// workNotes are what deserves a look: idle accelerators, driver errors, why it waits.
func workNotes(u *fleet.WorkUsage) Cell {
	var parts []string
	tone := Plain
	add := func(t Tone, text string) {
		parts, tone = append(parts, text), max(tone, t)
	}
	switch {
	case u.AllIdle():
		add(Warn, "IDLE")
	case u.Idle != nil && *u.Idle > 0:
		add(Warn, fmt.Sprintf("%d idle", *u.Idle))
	}
	if x := xids(u.Devices); x != "" {
		add(Bad, x)
	}
	if x := throttled(u.Devices); x != "" {
		add(Warn, x)
	}
	switch {
	case u.Reason != "":
		add(workTone(u.State), u.Reason)
	case u.State != job.Running:
		add(workTone(u.State), u.State)
	}
	return Toned(strings.Join(parts, ", "), tone)
}

// xids are the driver errors that devices report, as "XID 79"; empty for none.
func xids(devices []metrics.Device) string {
	var parts []string
	seen := map[int]bool{}
	for i := range devices {
		if x := int(devices[i].XID); devices[i].XID > 0 && !seen[x] {
			seen[x] = true
			parts = append(parts, "XID "+strconv.Itoa(x))
		}
	}
	return strings.Join(parts, ", ")
}

// throttled says which devices' clocks are held down other than by their power cap, which is usual under load; empty for
// none.
func throttled(devices []metrics.Device) string {
	n := 0
	for i := range devices {
		if slices.ContainsFunc(devices[i].Throttled(), func(r string) bool { return r != "power cap" }) {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d throttled", n)
}

// TopNodes lists what the accelerators of nodes do.
func TopNodes() List[*fleet.NodeUsage] {
	type row = *fleet.NodeUsage
	of := func(u row) *metrics.Usage { return &u.Usage }
	return List[row]{
		textColumn(Column{Name: "NAME", Min: 32}, func(u row) string { return u.Name }),
		textColumn(Column{Name: "PRODUCT", Min: 14, Drop: 2}, func(u row) string { return ShortProduct(u.Product) }),
		countColumn(Column{Name: "TOTAL"}, func(u row) int64 { return u.Total }),
		numberColumn(Column{Name: "HELD"}, func(u row) *float64 { return countOrNil(u.Held) }, plainCount),
		freeColumn("FREE"),
		busyColumn(of, func(u row) bool { return u.Used > 0 }),
		memoryColumn(of),
		powerColumn(of),
		temperatureColumn(Column{Name: "TEMP", Drop: 3}, of),
		countColumn(Column{Name: "PODS", Drop: 8}, func(u row) int64 { return int64(len(u.Pods)) }),
		ListColumn[row]{Column{Name: "NOTES", Min: 16, Max: 60, Drop: 1}, nodeNotes, func(u row) SortKey {
			text := nodeNotes(u).Text
			return SortKey{Text: text, Known: text != ""}
		}},
		textColumn(Column{Name: "ZONE", Wide: true}, nodeZone),
		textColumn(Column{Name: "WORK", Wide: true, Max: 80}, nodeWork),
	}
}

// nodeNotes are what deserves a look: that it takes no pods, broken devices, driver errors, conditions.
func nodeNotes(u *fleet.NodeUsage) Cell {
	var parts []string
	tone := Plain
	if u.State != fleet.NodeReady {
		parts, tone = append(parts, u.State), nodeTone(u.State)
	}
	if u.Broken > 0 {
		parts, tone = append(parts, fmt.Sprintf("%d broken", u.Broken)), Bad
	}
	if x := xids(u.Devices); x != "" {
		parts, tone = append(parts, x), Bad
	}
	if x := throttled(u.Devices); x != "" {
		parts, tone = append(parts, x), max(tone, Warn)
	}
	for _, c := range u.Wrong {
		parts, tone = append(parts, c.Type), max(tone, Warn)
	}
	return Toned(strings.Join(parts, ", "), tone)
}

// TopUsers lists what owners of a sort do with their accelerators.
func TopUsers(by fleet.Owner) List[*fleet.OwnerUsage] {
	type row = *fleet.OwnerUsage
	of := func(u row) *metrics.Usage { return &u.Usage }
	return List[row]{
		textColumn(Column{Name: strings.ToUpper(string(by)), Min: 24}, func(u row) string { return u.Name }),
		countColumn(Column{Name: "GPUS"}, func(u row) int64 { return u.GPUs }),
		countColumn(Column{Name: "HELD"}, func(u row) int64 { return u.Held }),
		busyColumn(of, func(u row) bool { return u.Held > 0 }),
		idleColumn(Column{Name: "IDLE"}, func(u row) *int64 { return u.Idle }),
		memoryColumn(of),
		powerColumn(of),
		hoursColumn(func(u row) float64 { return u.GPUHours }),
		countColumn(Column{Name: "JOBS"}, func(u row) int64 { return int64(u.Works) }),
		countColumn(Column{Name: "WAITING", Drop: 2}, func(u row) int64 { return int64(u.Waiting) }),
		meanColumn(of),
	}
}

// The columns of usages, whoever uses.

// busyColumn warns of little use of what is held.
func busyColumn[R any](of func(R) *metrics.Usage, holds func(R) bool) ListColumn[R] {
	c := numberColumn(Column{Name: "BUSY"}, func(r R) *float64 { return of(r).Busy }, func(v float64) string { return Percent(v / 100) })
	plain := c.Cell
	c.Cell = func(r R) Cell {
		cell := plain(r)
		if v := of(r).Busy; v != nil && *v < idleBelow && holds(r) {
			cell.Tone = Warn
		}
		return cell
	}
	return c
}

func meanColumn[R any](of func(R) *metrics.Usage) ListColumn[R] {
	return numberColumn(Column{Name: "MEAN", Wide: true}, func(r R) *float64 { return of(r).Mean }, func(v float64) string { return Percent(v / 100) })
}

func memoryColumn[R any](of func(R) *metrics.Usage) ListColumn[R] {
	c := numberColumn(Column{Name: "MEMORY", Min: 14, Drop: 4}, func(r R) *float64 { return of(r).MemoryUsed }, func(float64) string { return "" })
	unknown := c.Cell
	c.Cell = func(r R) Cell {
		if u := of(r); u.MemoryUsed != nil {
			return Text(UsedOf(*u.MemoryUsed, u.MemoryTotal))
		}
		return unknown(r)
	}
	return c
}

func powerColumn[R any](of func(R) *metrics.Usage) ListColumn[R] {
	return numberColumn(Column{Name: "POWER", Drop: 5}, func(r R) *float64 { return of(r).Power }, Watts)
}

func temperatureColumn[R any](c Column, of func(R) *metrics.Usage) ListColumn[R] {
	return numberColumn(c, func(r R) *float64 { return of(r).Temperature }, func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + "C" })
}

func hoursColumn[R any](hours func(R) float64) ListColumn[R] {
	return numberColumn(Column{Name: "GPU-HOURS", Wide: true}, func(r R) *float64 { return new(hours(r)) }, oneDecimal)
}

func idleColumn[R any](c Column, idle func(R) *int64) ListColumn[R] {
	l := numberColumn(c, func(r R) *float64 { return countOrNil(idle(r)) }, plainCount)
	plain := l.Cell
	l.Cell = func(r R) Cell {
		cell := plain(r)
		if n := idle(r); n != nil && *n > 0 {
			cell.Tone = Warn
		}
		return cell
	}
	return l
}

func freeColumn(name string) ListColumn[*fleet.NodeUsage] {
	return numberColumn(Column{Name: name}, func(u *fleet.NodeUsage) *float64 { return countOrNil(u.Free) }, plainCount)
}

// countOrNil is a count as a number that may not be known.
func countOrNil(n *int64) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func plainCount(v float64) string { return Count(int64(v)) }

func heldFor(since *time.Time, now time.Time) string {
	if since == nil {
		return ""
	}
	return Age(now.Sub(*since))
}

// UsedOf is how much of a memory is in use, in bytes, in the unit of the whole: 71.2/80GiB. total is nil where it is not
// known.
func UsedOf(used float64, total *float64) string {
	if total == nil || *total <= 0 {
		return Bytes(int64(used))
	}
	whole := Bytes(int64(*total))
	unit := strings.TrimLeft(whole, "0123456789.")
	size := math.Pow(1024, float64(strings.Index("BKMGTPE", unit[:1])))
	return oneDecimal(used/size) + "/" + whole
}

// Watts writes a power: 70W, 2.4kW.
func Watts(v float64) string {
	switch {
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64) + "W"
	case v < 999_950:
		return oneDecimal(v/1000) + "kW"
	}
	return oneDecimal(v/1e6) + "MW"
}
