package job

import "fmt"

// Verdict is what the owner of pods says of itself, before its pods are asked. One rule (Judge) makes a state of it and
// the pods, for Jobs and for every other kind.
type Verdict struct {
	// Kind is for messages: Job, PyTorchJob.
	Kind string
	// State is Succeeded, Failed or Suspended where that is decided, Running where the owner claims it, else empty.
	State string
	// Reason and Message say why; while nothing is decided they stand until a pod has something better to say.
	Reason, Message string
	// Firm says that Reason is a cause of its own (a deadline, a quota) and not what became of failing pods.
	Firm bool
	// Ranked says that the rank of a pod is worth telling.
	Ranked bool
	// Active and Failed count pods where the owner counts them.
	Active, Failed int32
}

// Judge joins the verdict with the pods: the state, and why it waits or failed.
func (v Verdict) Judge(pods []*PodFact) (state, reason, message string) {
	switch v.State {
	case Succeeded:
		return Succeeded, "", ""
	case Suspended:
		return Suspended, v.Reason, v.Message
	case Failed:
		reason, message = v.failure(pods)
		return Failed, reason, message
	}
	state = Pending
	var waits, goes *PodFact
	for _, p := range pods {
		switch p.State {
		case Running:
			state = Running
			if p.Reason != "" && waits == nil { // a container of it crashes or waits
				waits = p
			}
		case Succeeded: // its owner has not counted it yet
			state = Running
		case Terminating:
			if p.Ready || p.Started != nil { // it runs to its end
				goes = p
			}
		case Pending, StateLost:
			if waits == nil || waits.State == Running {
				waits = p
			}
		}
	}
	if len(pods) == 0 && v.State == Running || goes != nil {
		state = Running
	}
	switch {
	case waits != nil:
		return state, waits.Reason, waitingText(state, waits.Message, pods)
	case v.Reason != "" && (v.Firm || state != Running):
		return state, v.Reason, v.Message
	case goes != nil && count(pods, Running) == 0:
		return state, goes.Reason, goes.Message
	case state == Running:
		return state, "", ""
	case v.Failed > 0:
		message = fmt.Sprintf("%d failed, the next pod starts after a back-off", v.Failed)
		if p := FirstFailure(pods); p != nil && p.Reason != "" {
			message += "; last: " + p.Why()
		}
		return state, "Retrying", message
	case len(pods) == 0 && v.Active == 0:
		return state, "NoPods", "no pod was made yet; if it stays so, see the events of the " + orElse(v.Kind, "owner") + " (quota, admission)"
	}
	return state, "", ""
}

// waitingText adds how many pods wait, where that is not plain.
func waitingText(state, message string, pods []*PodFact) string {
	n, running := count(pods, Pending), count(pods, Running)
	if n <= 1 && (state != Running || n == 0) {
		return message
	}
	text := fmt.Sprintf("%d of %d pods wait", n, n+running)
	if message == "" {
		return text
	}
	return message + " (" + text + ")"
}

// failure says why it failed. A limit of the owner's own is the cause; that it ran out of retries is not: then the pod
// that failed first tells.
func (v Verdict) failure(pods []*PodFact) (reason, message string) {
	p := FirstFailure(pods)
	if p == nil || p.Reason == "" {
		return orElse(v.Reason, Failed), v.Message
	}
	text := p.Message
	if v.Ranked && p.Rank >= 0 {
		text = fmt.Sprintf("rank %d: %s", p.Rank, text)
	}
	if v.Firm {
		return v.Reason, orElse(v.Message, why(p.Reason, text))
	}
	if n := max(v.Failed, int32(count(pods, Failed))); n > 1 { //nolint:gosec // a count of pods
		text = fmt.Sprintf("%s (%d pods failed)", text, n)
	}
	return p.Reason, text
}

func count(pods []*PodFact, state string) int {
	n := 0
	for _, p := range pods {
		if p.State == state {
			n++
		}
	}
	return n
}

// FirstFailure is the pod that failed first, nil when none did: in a distributed job, the rank that the others died of.
// The pods that were merely stopped (SIGTERM, or deleted) come after those that failed by themselves.
func FirstFailure(pods []*PodFact) *PodFact {
	var best *PodFact
	for _, p := range pods {
		if p.State == Failed && (best == nil || earlier(p, best)) {
			best = p
		}
	}
	return best
}

// earlier orders failures by how likely they are the cause.
func earlier(a, b *PodFact) bool {
	if as, bs := a.Signal == 15, b.Signal == 15; as != bs {
		return bs
	}
	if a.Finished == nil || b.Finished == nil {
		return a.Finished != nil
	}
	if !a.Finished.Equal(*b.Finished) {
		return a.Finished.Before(*b.Finished)
	}
	return a.Rank >= 0 && (b.Rank < 0 || a.Rank < b.Rank)
}

// Result is the termination message of the pod that speaks for the work: the last to succeed of the lowest rank;
// pods must be ordered by rank. It is empty when none succeeded with a message.
func Result(pods []*PodFact) string {
	var best *PodFact
	for _, p := range pods {
		if p.State != Succeeded || p.Result == "" {
			continue
		}
		if best == nil || p.Rank == best.Rank && p.Finished != nil && best.Finished != nil && p.Finished.After(*best.Finished) {
			best = p
		}
	}
	if best == nil {
		return ""
	}
	return best.Result
}

// pointers are to the elements of pods.
func pointers(pods []PodFact) []*PodFact {
	out := make([]*PodFact, len(pods))
	for i := range pods {
		out[i] = &pods[i]
	}
	return out
}
