package job

import (
	"slices"
	"strings"
)

// Parser reads the progress of one process, line after line: all that ParseProgress reads, and what means something only
// beside the lines before it, which are the rows of a table, a block of metrics below a counter, and metrics alone on
// a line. The zero value is ready.
type Parser struct {
	columns []string
	// block says that the last line was a counter without metrics, began that there was any progress.
	block, began bool
	// speaker is the rank whose lines are read where a launcher marks lines with ranks, once known.
	speaker int
	known   bool
}

// Parse reads the next line. Of a launcher that marks the lines of its processes with their ranks only those of the given
// rank are read or, for AllRanks, of the first one that has metrics: all say the same, or only one says anything.
func (r *Parser) Parse(line string, rank int) (Progress, bool) {
	of, text := cutRank(lastState(line))
	if len(text) > maxProgress || of >= 0 && (rank >= 0 && of != rank || r.known && of != r.speaker) {
		return Progress{}, false
	}
	p, ok := r.parse(text)
	if ok && of >= 0 && !r.known && p.measures() {
		r.speaker, r.known = of, true
	}
	return p, ok
}

func (r *Parser) parse(text string) (Progress, bool) {
	if r.heading(text) {
		return Progress{}, false
	}
	if p, ok := r.row(text); ok {
		r.began, r.block = true, false
		return p, true
	}
	if p, ok := parseLine(text); ok {
		if r.columns != nil && p.Label != "" && r.labelled(&p) == labelHeading {
			return Progress{}, false
		}
		r.began, r.block = true, !p.measures()
		return p, true
	}
	if p, ok := r.alone(text); ok {
		return p, true
	}
	p := silent()
	if _, _, end := p.counters(text); end > 0 && end == len(text) && p.Step != Unknown && counterAt(text) { // verl: "step:3", and a block
		p.Source, r.began, r.block = SourceText, true, true
		return p, true
	}
	r.block = r.block && text == ""
	return Progress{}, false
}

// alone reads a line of metrics and nothing else, which belong to the progress before it.
func (r *Parser) alone(s string) (Progress, bool) {
	if !r.began {
		return Progress{}, false
	}
	p := silent()
	p.Source = SourceText
	eval := evaluates(wordAt(s, 0))
	if !eval && !onlyPairs(s) {
		return Progress{}, false
	}
	if p.pairs(s); !p.measures() || !r.block && !slices.ContainsFunc(append(p.Names, p.NotFinite...), IsMeasure) {
		return Progress{}, false
	}
	if eval {
		p.evaluation()
	}
	return p, true
}

// counterAt says whether s begins with a counter.
func counterAt(s string) bool {
	_, ok := counterWord(s, 0, len(wordAt(s, 0)))
	return ok
}

// wordAt is the word at s[i:].
func wordAt(s string, i int) string {
	end := i
	for end < len(s) && isWord(s[end]) {
		end++
	}
	return s[i:end]
}

// onlyPairs says whether s is nothing but "name: 0.5" and "name=0.5".
func onlyPairs(s string) bool {
	for i := 0; ; {
		for i < len(s) && strings.IndexByte(" ,;-|*", s[i]) >= 0 {
			i++
		}
		if i == len(s) {
			return true
		}
		from, words := i, 0
		for i < len(s) && isName(s[i]) {
			for i < len(s) && isName(s[i]) {
				i++
			}
			words++
			i = blanks(s, i)
		}
		if i == from || words > 3 || i == len(s) || s[i] != ':' && s[i] != '=' {
			return false
		}
		_, end, ok := numeral(s, blanks(s, i+1))
		if !ok || !closed(s, end) {
			return false
		}
		if i = end; i < len(s) && s[i] == '%' {
			i++
		}
	}
}

// measures are parts of the names of what tells how well a model does.
var measures = []string{
	"loss", "acc", "auc", "f1", "rmse", "mae", "mse", "error", "score", "ppl", "perplexity", "entropy", "bleu", "rouge", "map", "iou", "dice", "reward", "precision",
	"recall", "r2",
}

// IsMeasure says whether a name is that of a measure of the model, such as val_loss or accuracy, rather than of its
// training, such as lr or samples_per_second.
func IsMeasure(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(measures, func(part string) bool { return strings.Contains(name, part) })
}

// IsLoss says whether a name is that of a loss: less is better, and several of them often share a scale.
func IsLoss(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "loss") && !strings.Contains(name, "scale") || strings.HasSuffix(name, "cross_entropy") || strings.HasSuffix(name, "crossentropy")
}

// heading takes in the heading of a table: columns two blanks apart, the first of which counts.
func (r *Parser) heading(s string) bool {
	if len(s) > 500 {
		return false
	}
	word := wordAt(s, 0)
	switch strings.ToLower(word) {
	case "epoch", "iter", "iteration", "step", "e", "class":
	default:
		return false
	}
	var columns []string
	for column := range strings.SplitSeq(s, "  ") {
		if column = strings.TrimSpace(column); column == "" {
			continue
		}
		if strings.ContainsAny(column, ":=") || column[0] >= '0' && column[0] <= '9' {
			return false
		}
		columns = append(columns, strings.Join(strings.Fields(column), "_"))
	}
	if len(columns) < 3 {
		return false
	}
	r.columns = columns
	return true
}

// row reads a row of the table whose heading came last.
func (r *Parser) row(s string) (Progress, bool) {
	if r.columns == nil || s == "" {
		return Progress{}, false
	}
	fields := strings.Fields(s)
	p := silent()
	p.Source = SourceTable
	if len(fields) != len(r.columns) || !r.fill(&p, fields) || !p.measures() {
		return Progress{}, false
	}
	if percent := p.percent(); percent != Unknown {
		p.Percent = percent
	}
	return p, true
}

// fill reads the fields of a row; false when it is none.
func (r *Parser) fill(p *Progress, fields []string) bool {
	class := strings.EqualFold(r.columns[0], "class") // Ultralytics' table of an evaluation
	for i, field := range fields {
		name := strings.ToLower(r.columns[i])
		n, total, end, counts := readCount(field, 0)
		counts = counts && end == len(field)
		v, to, ok := numeral(field, 0)
		switch {
		case class && i == 0:
			if field != "all" {
				return false
			}
		case i == 0 && !counts:
			return false
		case i == 0 && (name == "epoch" || name == "e"):
			p.Epoch, p.Epochs, p.fromZero = n, total, n == 0
		case i == 0 || name == "#":
			p.Step, p.Total = n, max(total, p.Total)
		case name == "time" || name == "instances" || name == "size" || name == "images" || strings.HasPrefix(name, "remaining"):
		case ok && to == len(field):
			p.observed(columnName(r.columns[i]), v)
		case !ok:
			return false
		}
	}
	return true
}

// columnName is a heading as a name: Ultralytics writes Box(P and mAP50-95).
func columnName(s string) string {
	if _, inner, ok := strings.Cut(s, "("); ok {
		s = inner
	}
	return strings.TrimRight(s, ")")
}

// What the label of a bar turned out to be.
const (
	labelPlain = iota
	labelRow
	labelHeading
)

// labelled reads the label of a bar as what stands in a table: Ultralytics draws bars behind its rows, and behind a
// heading while it evaluates.
func (r *Parser) labelled(p *Progress) int {
	label := strings.TrimRight(p.Label, ": ")
	if r.heading(label) {
		return labelHeading
	}
	q := silent()
	fields := strings.Fields(label)
	if len(fields) != len(r.columns) || !r.fill(&q, fields) || !q.measures() {
		return labelPlain
	}
	p.Label, p.PerEpoch = "", q.Epoch != Unknown
	p.Epoch, p.Epochs, p.fromZero = q.Epoch, q.Epochs, q.fromZero
	for _, name := range q.Names {
		p.metric(name, q.Metrics[name])
	}
	for _, name := range q.NotFinite {
		p.notFinite(name)
	}
	if percent := p.percent(); percent != Unknown {
		p.Percent = percent
	}
	return labelRow
}
