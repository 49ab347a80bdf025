package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fvbommel/sortorder"
)

// at are the values at a dotted path below v; a * stands for every value of a map (by key) or item of a list. An empty
// path is v itself. What is not there, or is of another shape than the path, gives nothing.
func at(v any, path string) []any {
	if path == "" {
		return []any{v}
	}
	head, rest, _ := strings.Cut(path, ".")
	var below []any
	switch v := v.(type) {
	case map[string]any:
		if head != "*" {
			if next, ok := v[head]; ok {
				below = []any{next}
			}
			break
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below = append(below, v[key])
		}
	case []any:
		if head == "*" {
			below = v
		}
	}
	if rest == "" || len(below) == 0 {
		return below
	}
	var out []any
	for _, next := range below {
		out = append(out, at(next, rest)...)
	}
	return out
}

// below is a path that goes on from another.
func below(path, rest string) string {
	if path == "" {
		return rest
	}
	return path + "." + rest
}

// text is the first text that is not empty at one of the paths.
func text(v any, paths ...string) string {
	for _, path := range paths {
		for _, found := range at(v, path) {
			if s, ok := found.(string); ok && s != "" {
				return s
			}
		}
	}
	return ""
}

// number is the first number at the path.
func number(v any, path string) (float64, bool) {
	for _, found := range at(v, path) {
		switch n := found.(type) {
		case int64:
			return float64(n), true
		case float64:
			return n, true
		case string: // metrics are written as text where the API has no floats
			if f, err := strconv.ParseFloat(n, 64); err == nil {
				return f, true
			}
		}
	}
	return 0, false
}

// most bounds a count that an object may name, so that sums of absurd ones stay numbers.
const most = 1 << 30

// whole is the first number at the path, as a count.
func whole(v any, path string, otherwise int64) int64 {
	n, ok := number(v, path)
	if !ok || n != n {
		return otherwise
	}
	return int64(min(max(n, 0), most))
}

// times is the product of two counts.
func times(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	if a > most/b {
		return most
	}
	return a * b
}

// truth is the first truth value at the path; without a path it is false.
func truth(v any, path string) bool {
	if path == "" {
		return false
	}
	for _, found := range at(v, path) {
		if b, ok := found.(bool); ok {
			return b
		}
	}
	return false
}

// moment is the first time at one of the paths; nil for none.
func moment(v any, paths ...string) *time.Time {
	for _, path := range paths {
		t, err := time.Parse(time.RFC3339, text(v, path))
		if err == nil && !t.IsZero() {
			return &t
		}
	}
	return nil
}

// status is one of status.conditions.
type status struct {
	is, reason, message string
	at                  *time.Time
}

// conditionsOf are the conditions of an object by type.
func conditionsOf(v any) map[string]status {
	var out map[string]status
	for _, c := range at(v, "status.conditions.*") {
		kind := text(c, "type")
		if kind == "" {
			continue
		}
		if out == nil {
			out = map[string]status{}
		}
		out[kind] = status{text(c, "status"), text(c, "reason"), text(c, "message"), moment(c, "lastTransitionTime", "lastUpdateTime")}
	}
	return out
}

// key names an object inside its namespace.
func key(namespace, name string) string { return namespace + "/" + name }

// byName orders refs by namespace, name and kind.
func byName(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), sortorder.NaturalCompare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UID, b.UID))
}

// KindName is the ref as KIND/NAME.
func (r Ref) KindName() string { return strings.ToLower(r.Kind) + "/" + r.Name }

// group is the API group of the ref, empty for the core.
func (r Ref) group() string {
	g, _, ok := strings.Cut(r.APIVersion, "/")
	if !ok {
		return ""
	}
	return g
}
