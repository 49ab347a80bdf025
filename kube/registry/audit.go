package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Log is the history of one model, with what stands now beside it.
type Log struct {
	Model     string
	Namespace string
	// Events are in the order in which they were written, oldest first.
	Events []Event
	// Problems are what is known to be missing or damaged.
	Problems []Problem
	// Aliases are those of the head as it stands now; nil where it cannot be read.
	Aliases map[string]int
	// Live is what serves the model now; it counts only with LiveKnown.
	Live      []Serving
	LiveKnown bool
}

// Entry is one event of a model's history.
type Entry struct {
	Model string `json:"model"`
	// Room is the model's namespace; the event's own is that of its target.
	Room string `json:"modelNamespace"`
	Event
}

// Filter chooses events; zero values choose all.
type Filter struct {
	// Since and Until bound the time by the writers' clocks; Until is not included.
	Since, Until time.Time
	// Who is part of a user's name, Alias an alias that moved.
	Who, Alias string
}

func (f Filter) takes(e Event) bool {
	return (f.Since.IsZero() || !e.At.Before(f.Since)) &&
		(f.Until.IsZero() || e.At.Before(f.Until)) &&
		(f.Alias == "" || e.Alias == f.Alias) &&
		strings.Contains(strings.ToLower(e.By), strings.ToLower(f.Who))
}

// Select returns the events of all logs that the filter takes, newest first. Events of one model stay in the order in
// which they were written, whatever the clocks of their writers said.
func Select(logs []Log, f Filter) []Entry {
	type placed struct {
		Entry
		at    time.Time
		index int
	}
	var all []placed
	for _, l := range logs {
		var latest time.Time
		for i, e := range l.Events {
			if e.At.After(latest) {
				latest = e.At
			}
			if f.takes(e) {
				all = append(all, placed{Entry{l.Model, l.Namespace, e}, latest, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.Room, b.Room), cmp.Compare(a.Model, b.Model), cmp.Compare(b.index, a.index))
	})
	out := make([]Entry, len(all))
	for i := range all {
		out[i] = all[i].Entry
	}
	return out
}

// Standing is how a model stood at a moment.
type Standing struct {
	Model     string    `json:"model"`
	Namespace string    `json:"modelNamespace"`
	At        time.Time `json:"at"`
	// Lines is how many lines of its history were written by then.
	Lines int `json:"lines"`
	// Aliases are those that pointed somewhere, in alphabetical order; Serving is by target.
	Aliases []AliasAt   `json:"aliases,omitempty"`
	Serving []ServingAt `json:"serving,omitempty"`
	// Doubts are why this may not be all, or not be so.
	Doubts []string `json:"doubts,omitempty"`
}

// Known says whether anything is known of the model at that moment: before its first line nothing was.
func (s Standing) Known() bool {
	return s.Lines > 0 || len(s.Aliases) > 0 || len(s.Serving) > 0 || len(s.Doubts) > 0
}

// AliasAt is where an alias pointed.
type AliasAt struct {
	Alias   string `json:"alias"`
	Version int    `json:"version"`
	// Since is when it was moved there, By whom and with which words; unknown when only what came later tells of it.
	Since   time.Time `json:"since,omitzero"`
	By      string    `json:"by,omitempty"`
	Comment string    `json:"comment,omitempty"`
	// Deleted is when the version was deleted later.
	Deleted *time.Time `json:"deleted,omitempty"`
	// Sure is false where the history contradicts itself about this moment.
	Sure bool `json:"sure"`
}

// ServingAt is what a workload served.
type ServingAt struct {
	Target    string `json:"target"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Version had all the traffic; 0 when none had been rolled out yet. Rolling was being rolled out beside it.
	Version  int       `json:"version,omitempty"`
	Rolling  int       `json:"rolling,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	By       string    `json:"by,omitempty"`
	Strategy string    `json:"strategy,omitempty"`
	Image    string    `json:"image,omitempty"`
	Digest   string    `json:"digest,omitempty"`
	Run      string    `json:"run,omitempty"`
}

// At says how the model stood at a moment: what was written up to the last line that its writer dated before it. The
// order of the lines is certain, the clocks of their writers are not; where they differ about this moment, a doubt says so.
func At(l Log, at time.Time) Standing {
	s := Standing{Model: l.Model, Namespace: l.Namespace, At: at}
	l.Events = ownEvents(l.Events)
	for _, p := range l.Problems {
		s.Doubts = append(s.Doubts, p.What)
	}
	n, doubt := l.until(at)
	s.Lines = n
	if doubt != "" {
		s.Doubts = append(s.Doubts, doubt)
	}
	for _, alias := range l.aliases() {
		if a, doubt := l.aliasAt(alias, n); a != nil || doubt != "" {
			if a != nil {
				s.Aliases = append(s.Aliases, *a)
			}
			if doubt != "" {
				s.Doubts = append(s.Doubts, doubt)
			}
		}
	}
	var doubts []string
	s.Serving, doubts = l.servingAt(n)
	s.Doubts = append(s.Doubts, doubts...)
	return s
}

// ownEvents leaves out the lines that were imported: they moved nothing here.
func ownEvents(events []Event) []Event {
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Origin != "" })
}

// until is how many lines were written by then.
func (l Log) until(at time.Time) (n int, doubt string) {
	first := -1 // the first line that is dated later
	for i, e := range l.Events {
		switch {
		case !e.At.After(at):
			n = i + 1
		case first < 0:
			first = i
		}
	}
	if first >= 0 && first < n {
		return n, fmt.Sprintf("the clocks of the writers disagree about this moment: the last %d lines taken as written by then may have come after it", n-first)
	}
	return n, ""
}

// aliases are the names of all aliases that the model ever had.
func (l Log) aliases() []string {
	seen := map[string]bool{}
	for _, e := range l.Events {
		if e.Alias != "" {
			seen[e.Alias] = true
		}
	}
	return keysOf(seen, presence(l.Aliases))
}

func presence[V any](m map[string]V) map[string]bool {
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// aliasAt is where an alias pointed after the first n lines; nil for nowhere. Each move says where it came from, so a
// line that is missing shows as a contradiction with the next.
func (l Log) aliasAt(alias string, n int) (*AliasAt, string) {
	a := AliasAt{Alias: alias, Sure: true}
	before, after := -1, -1
	for i, e := range l.Events {
		if e.Alias != alias || !e.Action.moves() {
			continue
		}
		if i < n {
			before = i
		} else {
			after = i
			break
		}
	}
	if before >= 0 {
		e := l.Events[before]
		a.Version, a.Since, a.By, a.Comment = e.Version, e.At, e.By, e.Comment
	}
	next, known := 0, true
	switch {
	case after >= 0:
		next = l.Events[after].From
	case l.Aliases != nil:
		next = l.Aliases[alias]
	default:
		known = false
	}
	doubt := ""
	switch {
	case !known || next == a.Version:
	case before < 0:
		// The lines that set it are missing; what moved it away tells.
		a.Version = next
		doubt = fmt.Sprintf("%s was %d by what came later; since when is not known", alias, next)
		a.Sure = false
	default:
		doubt = fmt.Sprintf("%s was %s by the last line before, and %s by what came after: a line between is missing", alias, numberOrNone(a.Version), numberOrNone(next))
		a.Sure = false
	}
	if a.Version == 0 {
		return nil, doubt
	}
	a.Deleted = l.deleted(a.Version, n)
	return &a, doubt
}

func numberOrNone(version int) string {
	if version == 0 {
		return "nothing"
	}
	return fmt.Sprint(version)
}

// deleted is when a version was deleted after the first n lines.
func (l Log) deleted(version, n int) *time.Time {
	for _, e := range l.Events[n:] {
		if e.Action == Deleted && e.Version == version {
			return &e.At
		}
	}
	return nil
}

// moves says whether an action sets or removes an alias.
func (a Action) moves() bool { return a == Moved || a == Promoted || a == RolledBack }

// servingAt is what each workload served after the first n lines.
func (l Log) servingAt(n int) (out []ServingAt, doubts []string) {
	now := map[string]*ServingAt{}
	for _, e := range l.Events[:n] {
		serve(now, e)
	}
	for _, key := range keysOf(now, nil) {
		s := *now[key]
		out = append(out, s)
		if l.LiveKnown && s.Namespace == l.Namespace && !l.endsLater(key, n) && !l.alive(s) {
			doubts = append(doubts, fmt.Sprintf("%s is gone, and nobody wrote down when: it was not deleted by kubectl ml", s.Target))
		}
	}
	return out, doubts
}

// targetKey is what serves, whatever it is called at the moment: the two sides of a blue-green rollout are one.
func targetKey(e Event) string {
	name := e.Target
	if e.Strategy == string(pipeline.BlueGreen) {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "-blue"), "-green")
	}
	return e.Namespace + "/" + name
}

// serve takes one line of the history into what is served.
func serve(now map[string]*ServingAt, e Event) {
	if e.Target == "" {
		return
	}
	key := targetKey(e)
	s := now[key]
	if s == nil {
		s = &ServingAt{Target: e.Target, Namespace: e.Namespace}
	}
	switch e.Action {
	case Deploying:
		s.Rolling = e.Version
		if s.Version == 0 {
			s.Since, s.By, s.Strategy, s.Run = e.At, e.By, e.Strategy, e.Run
		}
	case Deployed:
		// What an event does not say again, the beginning of the same rollout said.
		*s = ServingAt{Target: e.Target, Namespace: e.Namespace, UID: cmp.Or(e.UID, s.UID), Version: e.Version, Since: e.At, By: e.By, Strategy: e.Strategy, Image: e.Image, Digest: e.Digest, Run: e.Run}
	case Aborted, Failed:
		s.Rolling = 0
		if s.Version == 0 {
			delete(now, key)
			return
		}
	case Removed:
		delete(now, key)
		return
	default:
		return
	}
	s.UID = cmp.Or(e.UID, s.UID)
	now[key] = s
}

// endsLater says whether the history tells of a workload again after the first n lines.
func (l Log) endsLater(key string, n int) bool {
	return slices.ContainsFunc(l.Events[n:], func(e Event) bool { return e.Target != "" && targetKey(e) == key })
}

func (l Log) alive(s ServingAt) bool {
	return slices.ContainsFunc(l.Live, func(v Serving) bool {
		return strings.HasSuffix(s.Target, "/"+v.Name) && (s.Namespace == "" || v.Namespace == s.Namespace)
	})
}
