package registry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// numbers is a set of version numbers, written as 3,7-9. The head keeps those that were taken and are no more.
type numbers []span

// span is first to last, both included. The spans of a set are in order and do not touch.
type span struct{ first, last int }

func parseNumbers(s string) (numbers, error) {
	var out numbers
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		from, to, ranged := strings.Cut(part, "-")
		first, ok := number(from)
		last := first
		if ranged && ok {
			last, ok = number(to)
		}
		if !ok || last < first {
			return nil, fmt.Errorf("%.100q is no list of numbers such as 3,7-9", s)
		}
		out = out.with(first, last)
	}
	return out, nil
}

func (n numbers) String() string {
	parts := make([]string, len(n))
	for i, s := range n {
		parts[i] = strconv.Itoa(s.first)
		if s.last > s.first {
			parts[i] += "-" + strconv.Itoa(s.last)
		}
	}
	return strings.Join(parts, ",")
}

func (n numbers) has(v int) bool {
	return slices.ContainsFunc(n, func(s span) bool { return s.first <= v && v <= s.last })
}

// under is the highest number up to v that is not in the set; 0 or less when there is none.
func (n numbers) under(v int) int {
	for _, s := range slices.Backward(n) {
		if s.first <= v && v <= s.last {
			v = s.first - 1
		}
	}
	return v
}

// over is the lowest number from v on that is not in the set.
func (n numbers) over(v int) int {
	for _, s := range n {
		if s.first <= v && v <= s.last {
			v = s.last + 1
		}
	}
	return v
}

func (n numbers) count() int {
	total := 0
	for _, s := range n {
		total += s.last - s.first + 1
	}
	return total
}

// with adds first to last.
func (n numbers) with(first, last int) numbers {
	var out numbers
	for _, s := range n {
		if s.last+1 < first || last+1 < s.first {
			out = append(out, s)
			continue
		}
		first, last = min(first, s.first), max(last, s.last)
	}
	out = append(out, span{first, last})
	slices.SortFunc(out, func(a, b span) int { return a.first - b.first })
	return out
}

// without takes one number out.
func (n numbers) without(v int) numbers {
	var out numbers
	for _, s := range n {
		if v < s.first || s.last < v {
			out = append(out, s)
			continue
		}
		if s.first < v {
			out = append(out, span{s.first, v - 1})
		}
		if v < s.last {
			out = append(out, span{v + 1, s.last})
		}
	}
	return out
}
