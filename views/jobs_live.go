package views

import (
	"time"
)

// JobsScreen lists jobs on a screen of height lines (0 without limit), with foot below: what does not fit is counted. Next is how long
// it stays true when nothing changes but the clock; 0 says that it always does.
func JobsScreen(rows []*JobRow, namespaces bool, foot []Line, o LineOptions, height int) (lines []Line, next time.Duration) {
	shown := rows
	if height > 0 {
		shown = rows[:min(len(rows), height)]
	}
	t := Jobs(shown, namespaces)
	t.Rows = append(t.Rows, make([][]Cell, len(rows)-len(shown))...) // these are only counted
	lines = Screen(t, foot, o, height)
	for _, r := range shown {
		for _, since := range []time.Time{r.Work.Created, started(r)} {
			if wait := ageChanges(r.Now.Sub(since)); !since.IsZero() && (next == 0 || wait < next) {
				next = wait
			}
		}
	}
	return lines, next
}

// started is when a work that still goes on began, the zero time for others: their duration stands.
func started(r *JobRow) time.Time {
	if r.Work.Started == nil || r.Work.Finished != nil {
		return time.Time{}
	}
	return *r.Work.Started
}

// ageChanges is how long an age reads the same: Age tells seconds up to ten minutes, minutes up to eight hours, then hours.
func ageChanges(d time.Duration) time.Duration {
	step := time.Hour
	switch {
	case d < 10*time.Minute:
		step = time.Second
	case d < 8*time.Hour:
		step = time.Minute
	}
	return step - max(d, 0)%step
}

// Lost says that what is shown is old because the server is away.
func Lost(age time.Duration) Line {
	return Line{Toned("stale, "+Age(age)+" old; reconnecting", Warn)}
}

// SameJob says that two rows read the same, -o wide or not, but for what flows: ages, utilisation and progress.
func SameJob(a, b *JobRow, wide bool) bool {
	for _, c := range JobColumns() {
		switch c.Name {
		case "AGE", "DURATION", "UTIL", "MEMORY", "PROGRESS", "METRIC":
		default:
			if (wide || !c.Wide) && c.Cell(a) != c.Cell(b) {
				return false
			}
		}
	}
	return true
}
