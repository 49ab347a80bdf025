package job

import (
	"strconv"
	"strings"
)

// parseRound reads a round of boosting: "[12]  train-rmse:0.5  validation-rmse:0.6" of XGBoost, "[10]  valid_0's l2: 0.2" of
// LightGBM, "300:  learn: 0.97  test: 0.94  best: 0.94 (300)  total: 48s  remaining: 1m 51s" of CatBoost.
func (p *Progress) parseRound(s string) bool {
	n, i := "", 0
	switch {
	case s[0] == '[':
		if i = digits(s, 1); i == 1 || i >= len(s) || s[i] != ']' {
			return false
		}
		n = s[1:i]
	case s[0] >= '0' && s[0] <= '9':
		if i = digits(s, 0); !strings.HasPrefix(strings.TrimLeft(s[min(i+1, len(s)):], " "), "learn:") || s[i] != ':' {
			return false
		}
		n = s[:i]
	default:
		return false
	}
	rest := strings.TrimPrefix(s[i+1:], "#011") // a tab, as syslog writes it
	if !strings.HasPrefix(rest, " ") && len(rest) == len(s[i+1:]) {
		return false
	}
	q := silent()
	q.Source = SourceBoosting
	if v, err := strconv.Atoi(n); err == nil {
		q.Step = float64(v)
	}
	for rest != "" {
		name, after, ok := strings.Cut(rest, ":")
		if !ok {
			break
		}
		name = strings.TrimLeft(strings.TrimSpace(name), "#01 ")
		after = strings.TrimLeft(after, " ")
		v, end, ok := numeral(after, 0)
		switch {
		case name == "remaining":
			q.Remaining, _ = clock(after)
			end = len(after)
		case name == "total" || name == "best":
			end = max(strings.LastIndexByte(after[:strings.IndexByte(after+":", ':')], ' '), end)
		case !ok || name == "" || strings.Count(name, " ") > 2:
			return false
		default:
			q.observed(strings.ReplaceAll(strings.ReplaceAll(name, "'s ", "_"), " ", "_"), v)
			// Of a cross-validation the deviation follows: 0.5+0.01, "0.5 + 0.01".
			if tail := strings.TrimLeft(after[end:], " "); strings.HasPrefix(tail, "+") {
				tail = strings.TrimLeft(tail[1:], " ")
				_, more, _ := numeral(tail, 0)
				end = len(after) - len(tail) + more
			}
		}
		rest = strings.TrimSpace(after[end:])
	}
	if q.Step == Unknown || !q.measures() {
		return false
	}
	*p = q
	return true
}
