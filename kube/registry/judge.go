package registry

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Record appends an event to a model's history, as what deploys a version does. At and By are filled in when empty. The
// same event, its time included, is written once: several clients may drive the same rollout, and each records its end.
func Record(ctx context.Context, c *client.Client, model string, e Event) error {
	if e.Action == "" {
		return refuse("a line of history needs an action")
	}
	if err := checkComment(e.Comment); err != nil {
		return err
	}
	if e.By == "" {
		e.By = c.WhoAmI(ctx)
	}
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	return change(ctx, c, model, nil, func(_ context.Context, h *Head) error {
		if slices.ContainsFunc(h.headEvents(), func(have Event) bool { return sameEvent(have, e) }) {
			return errUnchanged
		}
		return h.say(e)
	})
}

// sameEvent says whether two events are one.
func sameEvent(a, b Event) bool {
	if !a.At.Equal(b.At) {
		return false
	}
	a.At, b.At = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

// Judge approves or rejects a version: state is approved or rejected. The last judgement counts. What names or serves
// the version already goes on to do so.
func Judge(ctx context.Context, c *client.Client, model string, version int, state string, mark Mark, dryRun []string) (Event, error) {
	action := Action(state)
	if action != Approved && action != Rejected {
		return Event{}, refuse("a version is approved or rejected, not %q", state)
	}
	return decide(ctx, c, model, version, action, mark, dryRun, func(h *Head, m Mark) error {
		h.Approvals[version] = Approval{State: state, Mark: m}
		return nil
	})
}

// Archive puts a version aside: it is no longer the latest, and no alias may name it. With restore it takes it back.
// Versions that an alias names or a workload serves are refused.
func Archive(ctx context.Context, c *client.Client, model string, version int, restore bool, mark Mark, dryRun []string) (Event, error) {
	if restore {
		return decide(ctx, c, model, version, Restored, mark, dryRun, func(h *Head, _ Mark) error {
			if _, put := h.Archived[version]; !put {
				return errUnchanged
			}
			delete(h.Archived, version)
			return nil
		})
	}
	if err := refuseLive(ctx, c, model, version, "archive"); err != nil {
		return Event{}, err
	}
	return decide(ctx, c, model, version, Archived, mark, dryRun, func(h *Head, m Mark) error {
		if _, put := h.Archived[version]; put {
			return errUnchanged
		}
		if err := h.refuseAliased(version, "archive"); err != nil {
			return err
		}
		h.Archived[version] = m
		return nil
	})
}

// decide changes what the head says of a version that exists, with a line of history. When there is nothing to change,
// the event that is returned has no time.
func decide(ctx context.Context, c *client.Client, model string, version int, action Action, mark Mark, dryRun []string, f func(*Head, Mark) error) (Event, error) {
	if err := checkComment(mark.Comment); err != nil {
		return Event{}, err
	}
	mark = marked(ctx, c, mark)
	var out Event
	err := change(ctx, c, model, dryRun, func(ctx context.Context, h *Head) error {
		out = Event{By: mark.By, Action: action, Version: version, Comment: mark.Comment}
		cm, err := readVersion(ctx, c, model, version)
		if err != nil {
			return err
		}
		if cm == nil || h.absent.has(version) {
			return h.noVersion(ctx, c, Ref{Model: model, Version: version}, version, cm != nil)
		}
		if err := f(h, mark); err != nil {
			return err
		}
		facts, _ := decodeFacts(cm.Data)
		out.At, out.Digest = mark.At, facts.Artifact.Digest
		return h.say(out)
	})
	return out, err
}

// What Annotate takes besides notes, for a model as a whole.
const (
	// SetRequireApproval is true or false: whether production takes approved versions only.
	SetRequireApproval = "require-approval"
	// SetBetter and the name of a metric is higher or lower.
	SetBetter = "better."
	maxNotes  = 64
)

// Annotate keeps notes on a version, or on a model when ref is one: people's own words by name. For a model it also takes
// SetRequireApproval, and SetBetter with the name of a metric. unset removes notes and settings.
func Annotate(ctx context.Context, c *client.Client, ref Ref, set map[string]string, unset []string, mark Mark, dryRun []string) error {
	if len(set) == 0 && len(unset) == 0 {
		return refuse("nothing to note: write KEY=VALUE, or KEY- to remove a note")
	}
	if err := checkComment(mark.Comment); err != nil {
		return err
	}
	for _, k := range slices.Concat(slices.Sorted(maps.Keys(set)), unset) {
		if err := checkNote(k, set[k]); err != nil {
			return err
		}
	}
	mark = marked(ctx, c, mark)
	return change(ctx, c, ref.Model, dryRun, func(ctx context.Context, h *Head) error {
		n := 0
		if ref.Version > 0 || ref.Alias != "" {
			var err error
			if n, err = h.find(ctx, c, ref); err != nil {
				return err
			}
			if !h.Exists(n) {
				return h.noVersion(ctx, c, ref, n, false)
			}
		}
		said, err := h.note(n, set, unset)
		if err != nil {
			return err
		}
		comment := strings.Join(said, ", ")
		if len(comment) > maxText {
			comment = strings.ToValidUTF8(comment[:maxText-3], "") + "..."
		}
		if mark.Comment != "" {
			comment = mark.Comment + " (" + comment + ")"
		}
		return h.say(Event{At: mark.At, By: mark.By, Action: Annotated, Version: n, Comment: comment})
	})
}

func checkNote(key, value string) error {
	switch {
	case key == "" || len(key) > MaxMetricName || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '=' }):
		return refuse("%.140q cannot be the name of a note: 1 to %d characters without blanks and =", key, MaxMetricName)
	case len(value) > maxText:
		return refuse("the note %s has %d bytes, %d at most", key, len(value), maxText)
	}
	return nil
}

// note changes notes and settings, and says how. Where nothing changes it is errUnchanged.
func (h *Head) note(n int, set map[string]string, unset []string) (said []string, err error) {
	notes := maps.Clone(h.Notes)
	if n > 0 {
		notes = maps.Clone(h.VersionNotes[n])
	}
	if notes == nil {
		notes = map[string]string{}
	}
	for _, k := range unset {
		if _, both := set[k]; both {
			return nil, refuse("%s is both set and removed", k)
		}
		if n == 0 && (k == SetRequireApproval || strings.HasPrefix(k, SetBetter)) {
			metric := strings.TrimPrefix(k, SetBetter)
			if _, ok := h.Better[metric]; ok || k == SetRequireApproval && h.RequireApproval {
				said = append(said, k+"-")
			}
			if k == SetRequireApproval {
				h.RequireApproval = false
			} else {
				delete(h.Better, metric)
				h.shown.Of = -1 // what the version itself declares counts again: it is read anew
			}
			continue
		}
		if _, ok := notes[k]; ok {
			delete(notes, k)
			said = append(said, k+"-")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		changed, err := h.setting(n, k, set[k], notes)
		if err != nil {
			return nil, err
		}
		if changed {
			said = append(said, k+"="+set[k])
		}
	}
	switch {
	case len(notes) > maxNotes || len(h.Better) > MaxMetrics:
		return nil, refuse("%d notes are too many: %d at most", max(len(notes), len(h.Better)), maxNotes)
	case len(said) == 0:
		return nil, errUnchanged
	case n > 0:
		h.VersionNotes[n] = notes
	default:
		h.Notes = notes
	}
	return said, nil
}

// setting sets one note or setting, and says whether it was another before.
func (h *Head) setting(n int, k, v string, notes map[string]string) (changed bool, err error) {
	metric, better := strings.CutPrefix(k, SetBetter)
	switch {
	case n == 0 && k == SetRequireApproval:
		on, err := strconv.ParseBool(v)
		if err != nil {
			return false, refuse("%s is true or false, not %q", k, v)
		}
		changed, h.RequireApproval = h.RequireApproval != on, on
	case n == 0 && better:
		d := Direction(v)
		if d != Higher && d != Lower || metric == "" {
			return false, refuse("%s says which values of a metric are better: higher or lower, not %q", k, v)
		}
		if h.Better == nil {
			h.Better = map[string]Direction{}
		}
		changed, h.Better[metric] = h.Better[metric] != d, d
	default:
		before, had := notes[k]
		changed, notes[k] = !had || before != v, v
	}
	return changed, nil
}

// refuseAliased refuses what an alias names.
func (h *Head) refuseAliased(n int, verb string) error {
	if names := h.AliasesOf(n); len(names) > 0 {
		name := Ref{Model: h.Model, Version: n}.String()
		return refuse("cannot %s %s: %s names it\n  move or remove the alias first: kubectl ml model alias %s %s --remove",
			verb, name, strings.Join(names, ", "), h.Model, names[0])
	}
	return nil
}

// refuseLive refuses what a workload serves; version 0 is any.
func refuseLive(ctx context.Context, c *client.Client, model string, version int, verb string) error {
	live, err := Live(ctx, c, model)
	if err != nil {
		return err
	}
	var by []string
	for _, s := range live {
		if version == 0 || s.Version == version {
			by = append(by, s.String())
		}
	}
	if len(by) == 0 {
		return nil
	}
	return refuse("cannot %s %s: %s %s it\n  roll out another version first, or delete the workload: kubectl delete %s",
		verb, Ref{Model: model, Version: version}, strings.Join(by, ", "), plural(len(by), "serves", "serve"), by[0])
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// String is KIND/NAME in lower case, as kubectl takes it.
func (s Serving) String() string { return fmt.Sprintf("%s/%s", strings.ToLower(s.Kind), s.Name) }
