package run

import (
	"fmt"
	"strings"
	"time"
)

// runState sums up the stages.
func runState(r *Run, now time.Time) (state State, message string) {
	n := map[State]int{}
	var first, gate, approval *Stage
	active, late := 0, 0
	for i := range r.Now {
		s := &r.Now[i]
		n[s.State]++
		switch s.State {
		case Failed:
			if first == nil {
				first = s
			}
		case GateFailed:
			if gate == nil {
				gate = s
			}
		case AwaitingApproval:
			if approval == nil {
				approval = s
			}
		case Pending, Running:
			active++
		case TimedOut:
			if !s.recorded {
				late++
			}
		case Waiting:
			if s.Reason == "" {
				active++
			}
		}
	}
	switch {
	case r.Cancel != nil:
		return Cancelled, cancelText(r.Cancel)
	case late > 0, r.overdue(now) && n[Waiting]+n[Pending]+n[Running]+n[AwaitingApproval] > 0:
		return TimedOut, timeoutText(r)
	case active > 0 && n[Running] > 0:
		return Running, ""
	case active > 0 && n[Succeeded]+n[Failed]+n[GateFailed] > 0:
		return Running, pendingText(r)
	case active > 0:
		return Pending, pendingText(r)
	case approval != nil:
		return AwaitingApproval, fmt.Sprintf("stage %s: %s", approval.Name, approval.Message)
	case first != nil:
		return Failed, fmt.Sprintf("stage %s failed: %s", first.Name, firstOf(first.Message, first.Reason, "no reason given"))
	case gate != nil:
		return GateFailed, fmt.Sprintf("stage %s: %s", gate.Name, gate.Message)
	// Stages that a retry of others has left as they were.
	case n[TimedOut] > 0:
		return TimedOut, "stages that ran out of time were not retried"
	case n[Cancelled] > 0:
		return Cancelled, "stages that were cancelled were not retried"
	}
	return Succeeded, ""
}

func pendingText(r *Run) string {
	for _, s := range r.Now {
		if s.State == Pending && s.Message != "" {
			why := s.Message
			if !strings.Contains(why, s.Reason) {
				why = s.Reason + ": " + why
			}
			return fmt.Sprintf("stage %s: %s", s.Name, why)
		}
	}
	return ""
}

func timeoutText(r *Run) string {
	text := "the run did not end in time"
	if r.Timeout != nil {
		text = fmt.Sprintf("the run did not end within %s", r.Timeout.Duration)
	}
	if waits := pendingText(r); waits != "" {
		text += "; " + waits
	}
	return text
}

func cancelText(m *Mark) string {
	s := "cancelled"
	if m.By != "" {
		s += " by " + m.By
	}
	if m.Reason != "" {
		s += ": " + m.Reason
	}
	return s
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
