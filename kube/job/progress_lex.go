package job

import (
	"strconv"
	"strings"
	"time"
)

// numeral reads the number at s[i:], as Python, C and JavaScript write numbers, with commas between thousands, and NaN
// and the infinities. It gives the value and where it ends; ok is false when there is no number.
func numeral(s string, i int) (v float64, end int, ok bool) {
	j := i
	if j < len(s) && (s[j] == '-' || s[j] == '+') {
		j++
	}
	if j < len(s) && isLetter(s[j]) {
		return notANumber(s, i, j)
	}
	whole := j
	j = digits(s, j)
	commas := false
	for n := j - whole; n > 0 && n <= 3 && j+4 <= len(s) && s[j] == ',' && digits(s, j+1) == j+4; {
		j, commas = j+4, true
	}
	n := j - whole
	if j < len(s) && s[j] == '.' {
		fraction := digits(s, j+1)
		n += fraction - j - 1
		j = fraction
	}
	if n == 0 {
		return 0, i, false
	}
	if j < len(s) && (s[j] == 'e' || s[j] == 'E') {
		k := j + 1
		if k < len(s) && (s[k] == '-' || s[k] == '+') {
			k++
		}
		if end := digits(s, k); end > k {
			j = end
		}
	}
	text := s[i:j]
	if commas {
		text = strings.ReplaceAll(text, ",", "")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && v == 0 { // out of range is an infinity
		return 0, i, false
	}
	return v, j, true
}

// notANumber reads NaN, inf and Infinity behind an optional sign.
func notANumber(s string, i, j int) (v float64, end int, ok bool) {
	for _, word := range [...]string{"infinity", "inf", "nan"} {
		if end := j + len(word); end <= len(s) && strings.EqualFold(s[j:end], word) && (end == len(s) || !isWord(s[end])) {
			v, err := strconv.ParseFloat(s[i:end], 64)
			if err != nil { // a NaN with a sign
				v, err = strconv.ParseFloat(s[j:end], 64)
			}
			return v, end, err == nil
		}
	}
	return 0, i, false
}

// closed says whether what ends at s[end] stands for itself: it is no time of day, no version, no size with a unit.
func closed(s string, end int) bool {
	if end >= len(s) {
		return true
	}
	if strings.IndexByte(" ,;:()]}|%\"'.", s[end]) < 0 {
		return false
	}
	return strings.IndexByte(",.:", s[end]) < 0 || end+1 == len(s) || s[end+1] < '0' || s[end+1] > '9'
}

// digits is where the decimal digits from i on end.
func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// blanks is where the blanks from i on end.
func blanks(s string, i int) int {
	for i < len(s) && s[i] == ' ' {
		i++
	}
	return i
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isWord(c byte) bool { return isLetter(c) || c == '_' || c >= '0' && c <= '9' }

// isName tells the bytes that names of metrics are made of.
func isName(c byte) bool { return isWord(c) || strings.IndexByte("./@-", c) >= 0 }

// readCount reads a whole count at s[i:], with its total if one follows as "/100" or "of 100".
func readCount(s string, i int) (n, total float64, end int, ok bool) {
	end = digits(s, i)
	if end == i || end-i > 15 {
		return Unknown, Unknown, i, false
	}
	if end+1 < len(s) && s[end] == '.' {
		end = max(end, digits(s, end+1))
	}
	n, total = number(s[i:end]), Unknown
	j := blanks(s, end)
	switch {
	case j < len(s) && s[j] == '/':
		j++
	case j > end && strings.HasPrefix(s[j:], "of "):
		j += 2
	default:
		return n, total, end, n != Unknown
	}
	from := blanks(s, j)
	if to := digits(s, from); to > from && to-from <= 15 {
		total, end = number(s[from:to]), to
	}
	return n, total, end, n != Unknown
}

// clock reads a time as bars and trainers print it: 00:12, 1:02:03, "2 days, 7:32:05", 44.8s, "1m 5s".
func clock(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	var sum time.Duration
	if days, rest, ok := strings.Cut(s, " day"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 10000 {
			return 0, false
		}
		sum, s = time.Duration(n)*24*time.Hour, strings.TrimLeft(rest, "s, ")
	}
	if !strings.Contains(s, ":") {
		d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
		return sum + d, err == nil && d >= 0
	}
	seconds, parts := 0.0, 0
	for part := range strings.SplitSeq(s, ":") {
		v, err := strconv.ParseFloat(part, 64)
		if parts++; parts > 3 || err != nil || !(v >= 0 && v < 1e6) {
			return 0, false
		}
		seconds = 60*seconds + v
	}
	return sum + time.Duration(seconds*float64(time.Second)), true
}

// evaluates tells the words with which trainers head what they print of an evaluation.
func evaluates(word string) bool {
	switch strings.ToLower(word) {
	case "val", "valid", "validation", "validating", "eval", "evaluation", "evaluating", "evaluate", "test", "testing", "sanity", "predicting", "inference":
		return true
	}
	return false
}

// cutRank takes off what launchers put before each line of a process, and gives the rank that it names; AllRanks without.
func cutRank(s string) (int, string) {
	rank := func(text string) int {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			return n
		}
		return AllRanks
	}
	switch {
	case s == "":
	case s[0] == '[':
		i := strings.IndexByte(s, ']')
		if i < 0 || i > 24 {
			break
		}
		head, rest := s[1:i], s[i+1:]
		if _, r, ok := strings.Cut(head, ","); ok && strings.HasPrefix(rest, "<std") { // mpirun --tag-output: [1,0]<stdout>:
			if _, after, ok := strings.Cut(rest, ">:"); ok {
				return rank(r), strings.TrimLeft(after, " ")
			}
		}
		for _, word := range [...]string{"default", "rank", "trainer"} { // torchrun: [default0]:
			if r, ok := strings.CutPrefix(head, word); ok && strings.HasPrefix(rest, ":") && rank(r) >= 0 {
				return rank(r), strings.TrimLeft(rest[1:], " ")
			}
		}
	case s[0] == '(': // Ray: (RayTrainWorker pid=15930, ip=10.4.1.33)
		if i := strings.IndexByte(s, ')'); i > 0 && i < 80 && strings.Contains(s[:i], " pid=") {
			return AllRanks, strings.TrimLeft(s[i+1:], " ")
		}
	case s[0] >= '0' && s[0] <= '9': // srun --label: "0: "
		if i := digits(s, 0); i <= 5 && i+2 < len(s) && s[i] == ':' && s[i+1] == ' ' && s[i+2] != ' ' && !strings.HasPrefix(s[i+2:], "learn:") {
			return rank(s[:i]), s[i+2:]
		}
	}
	return AllRanks, s
}
