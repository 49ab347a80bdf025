package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Move sets or removes an alias.
type Move struct {
	Model, Alias string
	// To is the version that the alias names from now on; 0 removes the alias.
	To int
	// IfCurrent, when not nil, is the version that the alias must name now; 0 means that there must be no such alias.
	IfCurrent *int
	// Action is Moved when empty, or Promoted.
	Action Action
	// By is who moves it; empty asks the server. Comment is the person's own words, Run the run that does it.
	By, Comment, Run string
	DryRun           []string
}

// ConflictError says that an alias does not name what the caller thought.
type ConflictError struct {
	Model, Alias string
	// Want is the version that the alias should have named, Is the one that it names; 0 is none.
	Want, Is int
	// Last is the event that moved it last, if the history tells.
	Last *Event
}

func (e *ConflictError) Error() string {
	s := fmt.Sprintf("%s@%s names %s, not %s", e.Model, e.Alias, versionOrNone(e.Is), versionOrNone(e.Want))
	if e.Last != nil {
		s += fmt.Sprintf(": %s moved it from %s to %s on %s", orSomebody(e.Last.By), versionOrNone(e.Last.From), versionOrNone(e.Last.Version), stamp(e.Last.At))
	}
	return s + "\n  see what happened with: kubectl ml model history " + e.Model
}

func versionOrNone(n int) string {
	if n == 0 {
		return "no version"
	}
	return fmt.Sprintf("version %d", n)
}

// SetAlias moves an alias. It refuses a version that does not exist or is archived; for production also one that is
// rejected, and one that nobody approved where the model requires that. A *ConflictError says that IfCurrent does not
// hold. An alias that names the version already is left as it is, without a line of history: the event then has From
// equal to Version.
func SetAlias(ctx context.Context, c *client.Client, m Move) (Event, error) {
	if err := checkAliasName(m.Alias); err != nil {
		return Event{}, &RefusedError{Reason: err.Error()}
	}
	if err := checkComment(m.Comment); err != nil {
		return Event{}, err
	}
	if m.By == "" {
		m.By = c.WhoAmI(ctx)
	}
	if m.Action == "" {
		m.Action = Moved
	}
	var out Event
	err := change(ctx, c, m.Model, m.DryRun, func(ctx context.Context, h *Head) error {
		var err error
		out, err = h.move(ctx, c, m, nil)
		return err
	})
	return out, err
}

// checkComment bounds a person's words.
func checkComment(s string) error {
	if len(s) > maxText {
		return refuse("the comment has %d bytes, %d at most", len(s), maxText)
	}
	return nil
}

// move decides on a move of an alias, as the head stands.
func (h *Head) move(ctx context.Context, c *client.Client, m Move, skipped []int) (Event, error) {
	is := h.Aliases[m.Alias]
	if h.Deleting != nil {
		return Event{}, h.refuseDeleting()
	}
	e := Event{
		At: time.Now().UTC(), By: m.By, Action: m.Action, Version: m.To, Alias: m.Alias, From: is, Comment: m.Comment, Run: m.Run, Skipped: skipped,
	}
	if m.IfCurrent != nil && *m.IfCurrent != is {
		return e, &ConflictError{Model: m.Model, Alias: m.Alias, Want: *m.IfCurrent, Is: is, Last: h.lastMove(m.Alias)}
	}
	_, damaged := h.damaged[keyAlias+m.Alias]
	if m.To == 0 {
		if is == 0 && !damaged {
			_, err := h.find(ctx, c, Ref{Model: m.Model, Alias: m.Alias})
			return e, err
		}
		delete(h.Aliases, m.Alias)
		delete(h.damaged, keyAlias+m.Alias)
		return e, h.say(e)
	}
	cm, err := readVersion(ctx, c, m.Model, m.To)
	if err != nil {
		return e, err
	}
	if cm == nil || h.absent.has(m.To) {
		return e, h.noVersion(ctx, c, Ref{Model: m.Model, Version: m.To}, m.To, cm != nil)
	}
	if err := h.mayName(m.Alias, m.To); err != nil {
		return e, err
	}
	if is == m.To {
		return e, errUnchanged
	}
	h.Aliases[m.Alias] = m.To
	f, _ := decodeFacts(cm.Data)
	e.Digest = f.Artifact.Digest
	return e, h.say(e)
}

// mayName refuses versions that an alias must not name.
func (h *Head) mayName(alias string, n int) error {
	name := Ref{Model: h.Model, Version: n}.String()
	if m, ok := h.Archived[n]; ok {
		return refuse("%s was archived by %s on %s\n  take it back with: kubectl ml model archive %s --restore", name, orSomebody(m.By), stamp(m.At), name)
	}
	if !Protected(alias) {
		return nil
	}
	switch a := h.Approvals[n]; {
	case a.State == string(Rejected):
		return refuse("%s was rejected by %s on %s%s\n  judge it again with: kubectl ml model approve %s", name, orSomebody(a.By), stamp(a.At), quoted(a.Comment), name)
	case h.RequireApproval && a.State != string(Approved):
		return refuse("model %s requires approval for %s, and nobody has approved %s\n  approve it with: kubectl ml model approve %s", h.Model, alias, name, name)
	}
	return nil
}

func quoted(comment string) string {
	if comment == "" {
		return ""
	}
	return fmt.Sprintf(": %q", comment)
}

// lastMove is the newest event in the head that moved an alias.
func (h *Head) lastMove(alias string) *Event {
	for _, e := range slices.Backward(h.headEvents()) {
		if e.Alias == alias && movesAlias(e) {
			return &e
		}
	}
	return nil
}

// movesAlias says whether an event moved an alias here.
func movesAlias(e Event) bool {
	return e.Alias != "" && e.Origin == "" && slices.Contains([]Action{Moved, Promoted, RolledBack}, e.Action)
}

// Rollback moves an alias to the version that it named before, by the history; steps counts how often. A rollback undoes
// a move, so another rollback goes further back. Versions that were deleted, archived or rejected since are passed over,
// and the event says so.
func Rollback(ctx context.Context, c *client.Client, model, alias string, steps int, ifCurrent *int, mark Mark, dryRun []string) (Event, error) {
	if steps < 1 {
		return Event{}, refuse("a rollback goes one step back or more, not %d", steps)
	}
	if err := checkComment(mark.Comment); err != nil {
		return Event{}, err
	}
	mark = marked(ctx, c, mark)
	var out Event
	err := change(ctx, c, model, dryRun, func(ctx context.Context, h *Head) error {
		is, ok := h.Aliases[alias]
		if !ok {
			_, err := h.find(ctx, c, Ref{Model: model, Alias: alias})
			return err
		}
		move := Move{Model: model, Alias: alias, To: is, IfCurrent: ifCurrent, Action: RolledBack, By: mark.By, Comment: mark.Comment}
		if ifCurrent == nil || *ifCurrent == is {
			events, _, err := h.history(ctx, c)
			if err != nil {
				return err
			}
			to, skipped, err := h.before(events, alias, steps)
			if err != nil {
				return err
			}
			move.To = to
			out, err = h.move(ctx, c, move, skipped)
			return err
		}
		var err error
		out, err = h.move(ctx, c, move, nil)
		return err
	})
	return out, err
}

// before is the version that an alias named so many steps ago, and those that were passed over on the way.
func (h *Head) before(events []Event, alias string, steps int) (to int, skipped []int, err error) {
	var stack []int
	for _, e := range events {
		if e.Alias != alias || !movesAlias(e) {
			continue
		}
		if i := lastIndex(stack, e.Version); e.Action == RolledBack && i >= 0 {
			stack = stack[:i+1]
			continue
		}
		if e.Version != 0 && (len(stack) == 0 || stack[len(stack)-1] != e.Version) {
			stack = append(stack, e.Version)
		}
	}
	is := h.Aliases[alias]
	if i := lastIndex(stack, is); i >= 0 {
		stack = stack[:i]
	}
	var why []string
	for _, n := range slices.Backward(stack) {
		if n == is || slices.Contains(skipped, n) {
			continue
		}
		if reason := h.unfit(alias, n); reason != "" {
			skipped, why = append(skipped, n), append(why, fmt.Sprintf("%d (%s)", n, reason))
			continue
		}
		if steps--; steps == 0 {
			return n, skipped, nil
		}
	}
	text := fmt.Sprintf("%s@%s has named nothing else before version %d", h.Model, alias, is)
	if len(why) > 0 {
		text += " that could serve again: passed over " + strings.Join(why, ", ")
	}
	return 0, skipped, refuse("%s\n  choose a version yourself with: kubectl ml model promote %s:N --to %s", text, h.Model, alias)
}

func lastIndex(s []int, v int) int {
	for i, n := range slices.Backward(s) {
		if n == v {
			return i
		}
	}
	return -1
}

// unfit says why an alias cannot go back to a version; empty when it can.
func (h *Head) unfit(alias string, n int) string {
	switch _, put := h.Archived[n]; {
	case !h.Exists(n):
		return "deleted"
	case put:
		return "archived"
	case h.mayName(alias, n) == nil:
		return ""
	case h.Approvals[n].State == string(Rejected):
		return "rejected"
	}
	return "not approved"
}

// marked fills in who and when.
func marked(ctx context.Context, c *client.Client, m Mark) Mark {
	if m.By == "" {
		m.By = c.WhoAmI(ctx)
	}
	if m.At.IsZero() {
		m.At = time.Now()
	}
	m.At = m.At.UTC()
	return m
}
