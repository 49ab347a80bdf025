package job

import (
	"slices"
	"strings"
)

// notMetrics are names in lines of progress that are no measurement of the model: counters, which are read apart, what
// is set and never changes, and the version number that Lightning prints.
var notMetrics = []string{
	"v_num", "epoch", "epochs", "step", "steps", "iter", "iteration", "batch", "round", "eta", "s", "pid", "rank", "time", "data_time", "value", "train",
	"global_step", "num_updates", "global_batch_size", "consumed_samples", "consumed_tokens",
}

// parseText reads plain words. An epoch or a step must come with its total, or with a metric.
func (p *Progress) parseText(s string) bool {
	if !mentions(s) {
		return false
	}
	q := *p
	q.Source = SourceText
	counted, eval, end := q.counters(s)
	if q.Epoch == Unknown && q.Step == Unknown {
		return false
	}
	q.PerEpoch = q.PerEpoch || q.Epoch != Unknown && q.Total != Unknown
	if strings.Contains(s, "| ") || strings.Contains(s, " |") {
		q.fields(s)
	} else {
		q.pairs(s)
		q.words(s)
	}
	if !counted && !q.measures() {
		return false
	}
	if eval || headsEvaluation(s, end) {
		q.evaluation()
	}
	*p = q
	return true
}

// measures says whether the line holds any metric.
func (p *Progress) measures() bool { return len(p.Names) > 0 || len(p.NotFinite) > 0 }

// evaluation makes what was read that of an evaluation: its counters are not those of the training.
func (p *Progress) evaluation() {
	if p.Total != Unknown || p.PerEpoch {
		p.Step, p.Total, p.Percent, p.PerEpoch, p.Rate, p.Remaining = Unknown, Unknown, Unknown, false, 0, 0
	}
	names, metrics, odd := p.Names, p.Metrics, p.NotFinite
	p.Names, p.Metrics, p.NotFinite = nil, nil, nil
	named := func(name string) string {
		for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '_' || r == '/' || r == '-' || r == ' ' }) {
			if evaluates(word) {
				return name
			}
		}
		return "val_" + name
	}
	for _, name := range names {
		p.metric(named(name), metrics[name])
	}
	for _, name := range odd {
		p.notFinite(named(name))
	}
}

// counters finds "epoch 3", "Epoch [3/10]", "step: 100 of 600", "iter=7", "Epoch: [0][ 10/5005]", "Epoch(train) [1][50/100]".
// It says whether one came with its total, whether they are those of an evaluation, and where they end.
func (p *Progress) counters(s string) (counted, eval bool, end int) {
	for i := 0; i < len(s); {
		if !isWord(s[i]) {
			i++
			continue
		}
		from := i
		for i < len(s) && isWord(s[i]) {
			i++
		}
		epoch, ok := counterWord(s, from, i)
		if !ok || from > 0 && (s[from-1] >= 0x80 || s[from-1] == '/' && !strings.HasPrefix(wordBefore(s, from), "train")) {
			continue
		}
		j := i
		phase := ""
		if j < len(s) && s[j] == '(' { // mmengine: Epoch(train)
			if k := strings.IndexByte(s[j:], ')'); k > 0 && k < 12 {
				phase, j = s[j+1:j+k], j+k+1
			}
		}
		for j < len(s) && strings.IndexByte(" :=#", s[j]) >= 0 {
			j++
		}
		if j < len(s) && s[j] == '[' {
			j = blanks(s, j+1)
		}
		n, total, to, ok := readCount(s, j)
		if !ok {
			continue
		}
		i, end = to, to
		if evaluates(phase) || evaluates(wordBefore(s, from)) {
			eval = true
		}
		switch {
		case epoch && p.Epoch == Unknown:
			p.Epoch, p.Epochs = n, total
			if n, total, to, ok := within(s, to); ok && p.Step == Unknown {
				p.Step, p.Total, p.PerEpoch, counted = n, total, true, true
				i, end = to, to
			}
		case !epoch && p.Step == Unknown:
			p.Step, p.Total = n, total
		default:
			continue
		}
		counted = counted || total != Unknown
	}
	return counted, eval, end
}

// counterWord says whether s[from:to] names a counter, and whether it is that of epochs.
func counterWord(s string, from, to int) (epoch, ok bool) {
	word := s[from:to]
	if i := strings.IndexAny(word, "0123456789"); i > 0 { // epoch3
		word = word[:i]
	}
	switch {
	case len(word) < 4 || len(word) > 11:
		return false, false
	case strings.EqualFold(word, "epoch"):
		return true, true
	case strings.EqualFold(word, "train") && from == 0: // timm: "Train: 0 [  50/1251 (  4%)]"
		n := digits(s, blanks(s, min(to+1, len(s))))
		return true, strings.HasPrefix(s[to:], ": ") && strings.HasPrefix(s[min(n, len(s)):], " [")
	case strings.EqualFold(word, "steps"): // elsewhere in a line it is a setting
		return false, from == 0
	}
	for _, w := range [...]string{"step", "iter", "iteration", "batch", "round", "global_step"} {
		if strings.EqualFold(word, w) {
			return false, true
		}
	}
	return false, false
}

// within reads the "[640/60000" or ": 85 / 282" that follows an epoch: where it stands within it.
func within(s string, i int) (n, total float64, end int, ok bool) {
	j := i
	if j < len(s) && s[j] == ']' {
		j++
	}
	j = blanks(s, j)
	if j < len(s) && (s[j] == ',' || s[j] == ':') {
		j = blanks(s, j+1)
	}
	if j < len(s) && s[j] == '[' {
		j = blanks(s, j+1)
	}
	n, total, end, ok = readCount(s, j)
	return n, total, end, ok && total != Unknown && j > i
}

// mentions is a cheap look for the words that counters needs.
func mentions(s string) bool {
	if strings.HasPrefix(s, "Train: ") {
		return true
	}
	for i := 0; i+3 < len(s); i++ {
		rest := ""
		switch s[i] | 0x20 { // in lower case
		case 'e':
			rest = "poc"
		case 's':
			rest = "tep"
		case 'i':
			rest = "ter"
		case 'b':
			rest = "atc"
		case 'r':
			rest = "oun"
		default:
			continue
		}
		if s[i+1]|0x20 == rest[0] && s[i+2]|0x20 == rest[1] && s[i+3]|0x20 == rest[2] {
			return true
		}
	}
	return false
}

// pairs adds the metrics written as name=number or name: number.
func (p *Progress) pairs(s string) {
	for i := 1; i < len(s); i++ {
		if s[i] != '=' && s[i] != ':' {
			continue
		}
		to := i
		for to > 0 && s[to-1] == ' ' {
			to--
		}
		from := to
		for from > 0 && isName(s[from-1]) {
			from--
		}
		if from == to || !isLetter(s[from]) && s[from] != '_' || strings.HasSuffix(s[from:to], ".py") {
			continue
		}
		j := blanks(s, i+1)
		if name := strings.ToLower(s[from:to]); name == "eta" {
			p.eta(s[j:])
			continue
		} else if slices.Contains(notMetrics, name) {
			continue
		}
		v, end, ok := numeral(s, j)
		if !ok || !closed(s, end) {
			continue
		}
		p.observed(phased(s, from, to), v)
		i = end - 1
	}
}

// phased is the name s[from:to] with the word before it that says of which phase: "val loss" is val_loss.
func phased(s string, from, to int) string {
	head := strings.TrimRight(s[:from], " ")
	if word := wordBefore(head, len(head)); len(head) < from && strings.HasSuffix(head, word) {
		switch strings.ToLower(word) {
		case "train", "training", "val", "valid", "validation", "test", "eval":
			return word + "_" + s[from:to]
		}
	}
	return s[from:to]
}

// wordBefore is the word that ends before s[i], behind blanks and punctuation.
func wordBefore(s string, i int) string {
	for i > 0 && !isWord(s[i-1]) && s[i-1] < 0x80 {
		i--
	}
	end := i
	for i > 0 && isWord(s[i-1]) {
		i--
	}
	return s[i:end]
}

// headsEvaluation says whether the first word from s[i] on heads what follows as an evaluation: "validation: loss=0.3".
func headsEvaluation(s string, i int) bool {
	for i < len(s) && !isWord(s[i]) && s[i] < 0x80 {
		i++
	}
	from := i
	for i < len(s) && isWord(s[i]) {
		i++
	}
	j := blanks(s, i)
	if !evaluates(s[from:i]) || j == len(s) || strings.IndexByte(":|-", s[j]) < 0 {
		return false
	}
	j = blanks(s, j+1)
	return j < len(s) && isLetter(s[j])
}

// words adds "loss 2.3" and "val loss 2.3", for names that are surely metrics.
func (p *Progress) words(s string) {
	for i := 0; i < len(s); {
		for i < len(s) && !isWord(s[i]) {
			i++
		}
		from := i
		for i < len(s) && (isWord(s[i]) || s[i] == '@') {
			i++
		}
		j := blanks(s, i)
		if j == i || j == len(s) || !wordMetric(s[from:i]) {
			continue
		}
		v, end, ok := numeral(s, j)
		if ok && closed(s, end) {
			p.observed(phased(s, from, i), v)
			i = end
		}
	}
}

func wordMetric(w string) bool {
	if len(w) > 45 {
		return false
	}
	if n := len(w) - len("loss"); n >= 0 && strings.EqualFold(w[n:], "loss") {
		return true
	}
	switch strings.ToLower(w) {
	case "acc", "accuracy", "lr", "ppl", "perplexity", "acc@1", "acc@5":
		return true
	}
	return false
}

// fields adds the metrics of a line cut by bars: "lm loss: 1.0E+01 | grad norm: 0.5 | ppl 12.1". Names may be several words.
func (p *Progress) fields(s string) {
	for field := range strings.SplitSeq(s, "|") {
		field = strings.TrimSpace(field)
		i := strings.LastIndexAny(field, ":=")
		name, rest := field, ""
		if i > 0 {
			name, rest = strings.TrimSpace(field[:i]), strings.TrimSpace(field[i+1:])
		} else if i = strings.LastIndexByte(field, ' '); i > 0 {
			name, rest = field[:i], field[i+1:]
		}
		v, end, ok := numeral(rest, 0)
		if !ok || end != len(rest) || strings.ContainsAny(name, ":=[]") {
			p.pairs(field)
			p.words(field)
			continue
		}
		if paren := strings.IndexByte(name, '('); paren > 0 {
			name = strings.TrimSpace(name[:paren]) // a unit
		}
		words := strings.Fields(name)
		if len(words) == 0 || len(words) > 6 || !isLetter(words[0][0]) || i > 0 && field[i] == ' ' && len(words) > 2 {
			continue
		}
		if joined := strings.Join(words, "_"); !slices.Contains(notMetrics, strings.ToLower(joined)) {
			p.observed(joined, v)
		}
	}
}

// eta takes the time that is left, up to what ends it: "0:26:28  time: 1.07", "10s - loss: 0.3", "2 days, 7:32:05".
func (p *Progress) eta(s string) {
	s, _, _ = strings.Cut(s, "  ")
	s, _, _ = strings.Cut(s, " - ")
	if d, ok := clock(s); ok {
		p.Remaining = d
	}
}
