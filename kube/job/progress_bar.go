package job

import (
	"strings"
	"time"
)

// parseBar reads a bar of tqdm, or of Lightning, which draws its own with tqdm; and the bars of heavy lines that Rich and
// Ultralytics draw.
func (p *Progress) parseBar(s string) bool {
	head, tail := "", ""
	if at := bracket(s); at >= 0 {
		head, tail = strings.TrimRight(s[:at], " "), s[at+1:]
	} else if end := strings.LastIndex(s, "| "); end >= 0 && strings.Contains(s[:end], "%|") { // a format without times
		head, _, _ = strings.Cut(s[end+2:], " ")
		head = s[:end+2] + head
	} else {
		return p.parseHeavy(s)
	}
	cut := strings.LastIndexByte(head, ' ') + 1
	bar, counts := strings.TrimRight(head[:cut], " "), head[cut:]
	label, drawn := p.beforeCounts(bar)
	if !p.counts(counts, drawn) {
		*p = silent()
		return false
	}
	p.times(tail)
	p.label(label)
	return p.bar(label, tail)
}

// bracket is where the "[00:10<00:12, " or "[00:10, " of a tqdm bar opens; -1 without.
func bracket(s string) int {
	for i := 0; i+6 < len(s); {
		k := strings.IndexByte(s[i:], '[')
		if k < 0 {
			return -1
		}
		i += k + 1
		j := digits(s, i)
		colons := 0
		for j > i && j+2 < len(s) && s[j] == ':' && digits(s, j+1) == j+3 {
			j += 3
			colons++
		}
		if colons > 0 && j < len(s) && (s[j] == '<' || s[j] == ',') && i > 1 {
			return i - 1
		}
	}
	return -1
}

// beforeCounts reads what stands before the counts: a label, then maybe a percentage, then maybe a bar, one of which
// makes it drawn.
func (p *Progress) beforeCounts(s string) (label string, drawn bool) {
	end := len(s)
	if strings.HasSuffix(s, "|") {
		drawn = true
		if i := strings.Index(s, "%|"); i >= 0 {
			end = i + 1
		} else if i := strings.IndexByte(s, '|'); i >= 0 {
			return strings.TrimRight(s[:i], " "), true
		}
	}
	if !strings.HasSuffix(s[:end], "%") {
		return s[:end], drawn
	}
	i := end - 1
	for i > 0 && (s[i-1] >= '0' && s[i-1] <= '9' || s[i-1] == '.') {
		i--
	}
	v := number(s[i : end-1])
	if v == Unknown || v > 100 {
		return s, false
	}
	p.Percent = v
	return s[:i], true
}

// counts reads "45/100", "1.2k/2.4M", "3/?" or "45it".
func (p *Progress) counts(s string, drawn bool) bool {
	if n, total, ok := strings.Cut(s, "/"); ok {
		p.Step, p.Total = number(n), number(total)
		return drawn && p.Step != Unknown && (p.Total != Unknown || total == "?")
	}
	unit := len(s)
	for unit > 0 && isLetter(s[unit-1]) {
		unit--
	}
	if n := len(s) - unit; n == 0 || n > 12 {
		return false
	}
	if strings.IndexByte("kMGTP", s[unit]) >= 0 && unit+1 < len(s) {
		unit++
	}
	p.Step = number(s[:unit])
	return p.Step != Unknown
}

// times reads "00:10<00:12,  4.40it/s": what is left and how fast it goes.
func (p *Progress) times(s string) {
	s, _, _ = strings.Cut(s, "]")
	elapsed, rest, _ := strings.Cut(s, ",")
	elapsed, left, ok := strings.Cut(elapsed, "<")
	p.elapsed, _ = clock(elapsed)
	if d, known := clock(left); ok && known {
		p.Remaining = d
	}
	rest = strings.TrimSpace(rest)
	rest, _, _ = strings.Cut(rest, ",")
	p.speed(rest)
}

// speed reads "4.40it/s" and "2.3s/it", "12ms/step", "150us/step".
func (p *Progress) speed(s string) {
	i := strings.IndexByte(s, '/')
	if i < 0 {
		return
	}
	j := digits(s, 0)
	if j < len(s) && s[j] == '.' {
		j = digits(s, j+1)
	}
	v := number(s[:j])
	if v <= 0 {
		return
	}
	if s[i+1:] == "s" {
		if j < i && strings.IndexByte("kMGTP", s[j]) >= 0 {
			v = number(s[:j+1])
		}
		p.Rate = v
	} else if d, err := time.ParseDuration(s[:i]); err == nil && d > 0 {
		p.Rate = 1 / d.Seconds()
	}
}

// label keeps the text before a bar.
func (p *Progress) label(s string) {
	p.Label = strings.TrimSuffix(strings.TrimSpace(s), ":")
	if len(p.Label) > maxName {
		p.Label = strings.ToValidUTF8(p.Label[:maxName], "")
	}
}

// bar reads the metrics of a bar, and the epoch in its label.
func (p *Progress) bar(label, tail string) bool {
	p.Source = SourceTqdm
	p.pairs(label)
	p.pairs(tail)
	if i := strings.LastIndexByte(tail, ','); i >= 0 {
		p.words(tail[i:])
	}
	if word, _, _ := strings.Cut(p.Label, " "); evaluates(strings.TrimRight(word, ":")) {
		// Lightning's bars within its own, and those of evaluations in other loops: only what they measure counts.
		p.PerEpoch = true
		p.evaluation()
		p.Label = ""
		return p.measures() || p.none()
	}
	if epoch, epochs, ok := epochIn(label); ok {
		p.PerEpoch, p.Epoch, p.Epochs = true, epoch, epochs
		if epochs == Unknown || strings.Contains(tail, "v_num") {
			p.Source, p.fromZero = SourceLightning, true
			if p.Epochs != Unknown {
				p.Epochs++ // Lightning names the last epoch, counted from 0
			}
		}
	} else if epoch, rest, ok := strings.Cut(p.Label, "|"); ok && digits(epoch, 0) == len(epoch) && epoch != "" {
		if step, _, ok := strings.Cut(rest, "|"); ok && digits(step, 0) == len(step) { // torchtune: "1|45|Loss: 2.3"
			p.PerEpoch, p.Epoch = true, number(epoch)
		}
	}
	return true
}

// none makes p say nothing.
func (p *Progress) none() bool {
	*p = silent()
	return false
}

// epochIn is the epoch in the text before a bar: "Epoch 3", "Epoch 3/10", "Epoch [3/10]".
func epochIn(s string) (epoch, epochs float64, ok bool) {
	for i := 0; i+5 < len(s); i++ {
		if s[i]|0x20 != 'e' || !strings.EqualFold(s[i:i+5], "epoch") || i > 0 && isWord(s[i-1]) {
			continue
		}
		j := i + 5
		for j < len(s) && strings.IndexByte(" :#[", s[j]) >= 0 {
			j++
		}
		if n, total, _, ok := readCount(s, j); ok {
			return n, total, true
		}
	}
	return Unknown, Unknown, false
}

// parseHeavy reads "39% ━━━━╸───── 60/154 2.1it/s 29.3s<44.8s" and "Epoch 3/9 ━━━━━ 27/27 0:00:01 • 0:00:00 23.5it/s v_num: 0.000".
func (p *Progress) parseHeavy(s string) bool {
	from := strings.IndexAny(s, "━╸╺")
	if from <= 0 {
		return false
	}
	end := from + len(s[from:]) - len(strings.TrimLeft(s[from:], "━╸╺─"))
	head, tail := strings.TrimRight(s[:from], " "), strings.TrimLeft(s[end:], " ")
	counts, tail, _ := strings.Cut(tail, " ")
	label, drawn := p.beforeCounts(head)
	if !strings.Contains(counts, "/") || !p.counts(counts, true) || !drawn && label == "" {
		return p.none()
	}
	for field := range strings.FieldsSeq(tail) {
		if strings.HasSuffix(field, "/s") || strings.Contains(field, "s/") {
			p.speed(field)
		} else if elapsed, left, ok := strings.Cut(field, "<"); ok {
			p.elapsed, _ = clock(elapsed)
			if d, ok := clock(left); ok {
				p.Remaining = d
			}
		}
	}
	p.label(label)
	return p.bar(label, tail)
}

// parseKeras reads the head of an epoch, "Epoch 3/10" alone, and the bar within it, of Keras 2 and 3.
func (p *Progress) parseKeras(s string) bool {
	if rest, ok := strings.CutPrefix(s, "Epoch "); ok {
		n, total, end, ok := readCount(rest, 0)
		if !ok || end != len(rest) || total == Unknown {
			return false
		}
		p.Source, p.Epoch, p.Epochs, p.PerEpoch, p.begins = SourceKeras, n, total, true, true
		return true
	}
	i := digits(s, 0)
	if i == 0 || i > 12 || i+2 >= len(s) || s[i] != '/' {
		return false
	}
	j := digits(s, i+1)
	if j == i+1 {
		for _, open := range [...]string{"Unknown", "None"} {
			if strings.HasPrefix(s[j:], open) {
				j += len(open)
			}
		}
	}
	rest := strings.TrimLeft(s[j:], " ")
	if j == i+1 || len(rest) == len(s[j:]) || !kerasBar(rest) {
		return false
	}
	p.Source, p.Step, p.Total, p.PerEpoch = SourceKeras, number(s[:i]), number(s[i+1:j]), true
	for field := range strings.FieldsSeq(rest) {
		if strings.HasSuffix(field, "/step") {
			p.speed(field)
		}
	}
	p.pairs(s)
	return true
}

// kerasBar tells what follows the counts of Keras: "[===>....]", "━━━━━ 10s", "- 3s".
func kerasBar(s string) bool {
	switch {
	case strings.HasPrefix(s, "["):
		return strings.TrimLeft(s[1:], "=>. -") != s[1:] && strings.Contains(s, "]")
	case strings.HasPrefix(s, "- "):
		i := digits(s, 2)
		return i > 2 && (strings.HasPrefix(s[i:], "s") || strings.HasPrefix(s[i:], "ms"))
	}
	rest := strings.TrimLeft(s, "━╸╺─ ")
	return rest != s && rest != "" && (rest[0] >= '0' && rest[0] <= '9')
}
