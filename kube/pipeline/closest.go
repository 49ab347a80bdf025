package pipeline

import "strings"

// Closest is the candidate nearest to a misspelt name, or empty when none is near.
func Closest(name string, candidates []string) string { return closest(name, candidates) }

// closest is the candidate nearest to a misspelt name, or empty when none is near.
func closest(name string, candidates []string) string {
	best, least := "", len(name)/3+2
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// didYouMean is closest as the end of a sentence.
func didYouMean(name string, candidates []string) string {
	if c := closest(name, candidates); c != "" {
		return `; did you mean "` + c + `"?`
	}
	return ""
}

// orOneOf is didYouMean, or all that there is where nothing is near.
func orOneOf(what, name string, candidates []string) string {
	if near := didYouMean(name, candidates); near != "" {
		return near
	}
	return "; " + what + " are " + strings.Join(candidates, ", ")
}

// distance is the number of single-character edits between a and b, counted up to limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = min(diagonal, row[j], row[j-1]) + 1
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return min(row[len(b)], limit)
}
