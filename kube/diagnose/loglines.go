package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hit is a line of a log that a pattern knows.
type hit struct {
	cause Cause
	// rank orders hits: by pattern, then by log.
	pattern, log int
}

// mostHits bounds how many lines of the logs become causes.
const mostHits = 3

// logRule reads the ends of the logs of what failed.
func logRule(e *Evidence) []Cause {
	crashes := e.crashes()
	var hits []hit
	for i, l := range e.Logs {
		hits = append(hits, e.scan(i, l)...)
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		if a.pattern != b.pattern {
			return a.pattern - b.pattern
		}
		return a.log - b.log
	})
	var out []Cause
	for _, h := range hits {
		if len(out) == mostHits || slices.ContainsFunc(out, func(c Cause) bool { return c.Code == h.cause.Code }) {
			continue
		}
		c := h.cause
		if len(out) > 0 { // what is told better by another line is at most a consequence
			c.Likelihood = Possible
		}
		if i := slices.IndexFunc(crashes, func(x crash) bool { return x.pod.Name == e.Logs[h.log].Pod }); i >= 0 {
			c = c.because(e.line(crashes[i]))
		}
		out = append(out, c.because(e.firstLine(crashes)))
	}
	return out
}

// scan finds what the patterns know in one log: XIDs first, a traceback's last line if nothing else.
func (e *Evidence) scan(index int, l Log) []hit {
	var out []hit
	where := "pod " + l.Pod
	if l.Rank >= 0 {
		where = fmt.Sprintf("rank %d (pod %s)", l.Rank, l.Pod)
	}
	if l.Previous {
		where += ", before its restart"
	}
	add := func(p int, c Cause, line string) {
		out = append(out, hit{c.because(where + ": " + cut(line)), p, index})
	}
	node := e.nodeOf(l.Pod)
	for _, line := range l.Lines {
		if m := xidText.FindStringSubmatch(line); m != nil {
			if c, ok := e.xidCause(m, node); ok {
				add(-1, c, line)
				break
			}
		}
	}
	for i := range patterns {
		p := &patterns[i]
		at := slices.IndexFunc(l.Lines, p.text.MatchString)
		if at < 0 {
			continue
		}
		add(i, e.patternCause(p, l.Lines[at], node), l.Lines[at])
	}
	if len(out) == 0 {
		if line, ok := traceback(l.Lines); ok {
			c := cause(Certain, "PythonError", "the program failed: "+cut(line)).cures(e.again("mend the program, then start it again"))
			add(len(patterns), c, line)
		}
	}
	return out
}

func (e *Evidence) patternCause(p *pattern, line, node string) Cause {
	m := p.text.FindStringSubmatchIndex(line)
	fill := func(s string) string {
		return strings.TrimRight(strings.TrimSpace(string(p.text.ExpandString(nil, s, line, m))), ": ")
	}
	c := cause(p.likelihood, p.code, fill(p.title))
	if p.change != "" {
		c = c.cures(e.change(fill(p.change)))
	}
	if p.cure != "" {
		command := p.command
		if node != "" {
			command = strings.ReplaceAll(command, "NODE", node)
		}
		c = c.cure(p.cure, command)
	}
	return c
}

func (e *Evidence) nodeOf(pod string) string {
	i := slices.IndexFunc(e.Pods, func(p *corev1.Pod) bool { return p.Name == pod })
	if i < 0 {
		return ""
	}
	return e.Pods[i].Spec.NodeName
}

// pythonError is the last line of a Python traceback: torch.cuda.SomeError: text. Launchers put the rank before it.
var pythonError = regexp.MustCompile(`^(?:\[[^\]]*\]:?\s*)?([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Failure|Timeout)(?::\s?.*)?)$`)

// traceback is the last line of the last Python traceback.
func traceback(lines []string) (string, bool) {
	begin := -1
	for i, l := range slices.Backward(lines) {
		if strings.Contains(l, "Traceback (most recent call last)") {
			begin = i
			break
		}
	}
	if begin < 0 {
		return "", false
	}
	for _, l := range lines[begin:] {
		if m := pythonError.FindStringSubmatch(strings.TrimRight(l, " ")); m != nil {
			return m[1], true
		}
	}
	return "", false
}
