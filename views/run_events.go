package views

import "github.com/kubectl-ml/kubectl-ml/kube/run"

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
		if seen && old.Attempt == st.Attempt && !newsOf(&old, st) {
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

// newsOf says whether a stage has something new to say. That a message is gone is none. Between the end of a pod and the verdict on its Job a stage
// is Pending for a moment, which is no news.
func newsOf(old, st *run.Stage) bool {
	if old.State == run.Running && st.State == run.Pending && eventMessage(st) == "" {
		return false
	}
	message := eventMessage(st)
	return old.State != st.State || message != "" && message != eventMessage(old)
}

// eventMessage is a stage's message without what every pod passes through.
func eventMessage(st *run.Stage) string {
	switch st.Reason {
	case "ContainerCreating", "PodInitializing", "Scheduling":
		return ""
	}
	return stageMessage(st)
}
