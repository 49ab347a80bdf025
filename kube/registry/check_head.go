package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// contradictions are where labels and summary of the head do not say what its data says.
func (h *Head) contradictions(cm *corev1.ConfigMap, versions map[int]VersionSummary) (out []Problem) {
	want := map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindModel, kube.LabelModel: h.Model}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if have := cm.Labels[k]; have != want[k] {
			out = append(out, Problem{
				Model: h.Model, Object: cm.Name, What: fmt.Sprintf("its label %s is %q and should be %q: lists pass over it", k, have, want[k]),
				Hint: fmt.Sprintf("kubectl label configmap %s --overwrite %s=%s", cm.Name, k, want[k]),
			})
		}
	}
	latest := h.Latest()
	if v, ok := versions[latest]; ok {
		v.Version = latest
		h.take(v)
	}
	text, _ := json.Marshal(h.summary())
	var have, must any
	_ = json.Unmarshal(text, &must)
	if err := json.Unmarshal([]byte(cm.Annotations[kube.AnnotationSummary]), &have); err != nil || !reflect.DeepEqual(have, must) {
		out = append(out, Problem{
			Model: h.Model, Object: cm.Name, What: "its summary, which lists show, contradicts its data", Hint: mendSummary(cm.Name, text),
		})
	}
	return out
}

// maxMissing bounds how many missing versions are told one by one: a number that was edited by hand may promise millions.
const maxMissing = 100

// missing are versions that should be there and are not, and how many more.
func (h *Head) missing(versions map[int]VersionSummary) (list []int, more int) {
	there := 0
	for n := range versions {
		if h.Exists(n) {
			there++
		}
	}
	for n := h.absent.over(1); n <= h.Highest && len(list) < maxMissing; n = h.absent.over(n + 1) {
		if _, ok := versions[n]; !ok {
			list = append(list, n)
		}
	}
	return list, h.Count() - there - len(list)
}

// checkVersions compares the numbers that the head knows with the records that are there.
func (h *Head) checkVersions(versions map[int]VersionSummary) (out []Problem) {
	add := func(n int, hint, what string) {
		out = append(out, Problem{Model: h.Model, Version: n, Object: versionName(h.Model, n), What: what, Hint: hint})
	}
	missing, more := h.missing(versions)
	for _, n := range missing {
		add(n, fmt.Sprintf("put back a backup, or accept it with: kubectl ml model delete %s:%d", h.Model, n), "its record was deleted by hand")
	}
	if more > 0 {
		out = append(out, Problem{
			Model: h.Model, Object: kube.PrefixModel + h.Model, What: fmt.Sprintf("%d versions more up to %d are not there", more, h.Highest),
			Hint: "is the key highest right? Compare it with a backup: kubectl edit configmap " + kube.PrefixModel + h.Model,
		})
	}
	for _, n := range slices.Sorted(maps.Keys(versions)) {
		switch {
		case h.absent.has(n):
			add(n, fmt.Sprintf("finish with: kubectl ml model delete %s:%d", h.Model, n), "it was deleted, and its record is still there")
		case n > h.Highest && (h.Pending == nil || h.Pending.Version != n):
			add(n, fmt.Sprintf("the history takes it up when registrations reach its number; or remove it with: kubectl ml model delete %s:%d", h.Model, n),
				"its record was made by hand: the model does not know it")
		}
	}
	for _, n := range slices.Sorted(maps.Keys(h.Archived)) {
		if !h.Exists(n) {
			add(n, "remove the key with: kubectl edit configmap "+kube.PrefixModel+h.Model, "it is said to be archived, and does not exist")
		}
	}
	for _, n := range slices.Sorted(maps.Keys(h.Approvals)) {
		if !h.Exists(n) {
			add(n, "remove the key with: kubectl edit configmap "+kube.PrefixModel+h.Model, "it is said to be "+h.Approvals[n].State+", and does not exist")
		}
	}
	return out
}

func (h *Head) checkAliases(versions map[int]VersionSummary) (out []Problem) {
	for _, alias := range slices.Sorted(maps.Keys(h.Aliases)) {
		n := h.Aliases[alias]
		what := ""
		if _, ok := versions[n]; !ok || h.absent.has(n) {
			what = "which does not exist"
		} else if reason := h.unfit(alias, n); reason != "" && reason != "deleted" {
			what = "which is " + reason
		}
		if what != "" {
			out = append(out, Problem{
				Model: h.Model, Object: kube.PrefixModel + h.Model, What: fmt.Sprintf("%s@%s names version %d, %s", h.Model, alias, n, what),
				Hint: fmt.Sprintf("move it with: kubectl ml model promote %s:N --to %s   or: kubectl ml model rollback %s --alias %s", h.Model, alias, h.Model, alias),
			})
		}
		if err := checkAliasName(alias); err != nil {
			out = append(out, Problem{
				Model: h.Model, Object: kube.PrefixModel + h.Model, What: firstLine(err), Hint: fmt.Sprintf("remove the key %s%s with: kubectl edit configmap %s%s", keyAlias, alias, kube.PrefixModel, h.Model),
			})
		}
	}
	return out
}

// unfinished tells of what somebody began and has not ended.
func (h *Head) unfinished(versions map[int]VersionSummary, now time.Time) (out []Problem) {
	add := func(n int, hint, what string, args ...any) {
		out = append(out, Problem{Model: h.Model, Version: n, Object: kube.PrefixModel + h.Model, What: fmt.Sprintf(what, args...), Hint: hint})
	}
	if m := h.Deleting; m != nil {
		add(0, "finish with: kubectl ml model delete "+h.Model, "its deletion was begun by %s on %s and did not end", orSomebody(m.By), stamp(m.At))
	}
	p := h.Pending
	if p == nil || now.Sub(p.At).Abs() < time.Minute {
		return out
	}
	if _, ok := versions[p.Version]; ok {
		add(p.Version, "nothing to do: the next change of the model writes it", "its registration by %s on %s has no line of history yet", orSomebody(p.By), stamp(p.At))
	} else {
		add(p.Version, "nothing to do: the next registration takes the number", "its registration was begun by %s on %s and did not end", orSomebody(p.By), stamp(p.At))
	}
	return out
}

// checkEvents compares a complete history with what the head says.
func (h *Head) checkEvents(events []Event, versions map[int]VersionSummary) (out []Problem) {
	object := kube.PrefixModel + h.Model
	at, registered := map[string]int{}, map[int]bool{}
	for _, e := range events {
		switch {
		case movesAlias(e):
			at[e.Alias] = e.Version
		case e.Origin == "" && (e.Action == Registered || e.Action == Imported):
			registered[e.Version] = true
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(h.Aliases)) {
		if n := h.Aliases[alias]; at[alias] != n {
			out = append(out, Problem{
				Model: h.Model, Object: object, What: fmt.Sprintf("%s@%s names version %d, and by the history it names %s: it was moved by hand", h.Model, alias, n, versionOrNone(at[alias])),
				Hint: fmt.Sprintf("say which is right with: kubectl ml model promote %s:N --to %s", h.Model, alias),
			})
		}
		delete(at, alias)
	}
	for _, alias := range slices.Sorted(maps.Keys(at)) {
		if at[alias] != 0 {
			out = append(out, Problem{
				Model: h.Model, Object: object, What: fmt.Sprintf("the alias %s is missing, and by the history it names version %d: it was removed by hand", alias, at[alias]),
				Hint: fmt.Sprintf("set it with: kubectl ml model alias %s:%d %s", h.Model, at[alias], alias),
			})
		}
	}
	var silent numbers
	for _, n := range slices.Sorted(maps.Keys(versions)) {
		if h.Exists(n) && !registered[n] {
			silent = silent.with(n, n)
		}
	}
	if len(silent) > 0 {
		out = append(out, Problem{
			Model: h.Model, Object: object, What: fmt.Sprintf("the history does not tell of the registration of versions %s", silent),
			Hint: "the record of the model was made anew: compare it with a backup",
		})
	}
	return out
}

// strayPages are pages that the head does not count.
func (h *Head) strayPages(pages []corev1.ConfigMap) (out []Problem) {
	for i := range pages {
		p, err := decodePage(&pages[i], h.Model)
		if err == nil && (p.Number <= h.cursor.Pages || p.Number == h.cursor.Pages+1 && startsWith(h.lines, p.lines)) {
			continue
		}
		if err != nil && p.Number >= 1 && p.Number <= h.cursor.Pages && pages[i].Name == pageName(h.Model, p.Number) {
			continue // told with the history
		}
		out = append(out, Problem{
			Model: h.Model, Object: pages[i].Name, What: "the history of the model does not have this page",
			Hint: "it stands where a later page belongs: rename it or delete it with: kubectl delete configmap " + pages[i].Name,
		})
	}
	return out
}
