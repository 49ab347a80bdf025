package job

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const numeral = `[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?`

var (
	// counters finds "epoch 3", "Epoch [3/10]", "step: 100 of 600", "iter=7", "batch 3/9".
	counters = regexp.MustCompile(`(?i)\b(epoch|step|iter|iteration|batch)[\s:=#]*\[?\s*(\d{1,15}(?:\.\d{1,9})?)(?:\s*(?:/|of)\s*(\d{1,15}))?`)
	// samples finds the "[640/60000" that follows an epoch.
	samples = regexp.MustCompile(`^\s*,?\s*\[(\d{1,15})/(\d{1,15})\b`)
	// pair finds "loss=0.3", "val_loss: 1e-3", "Train Loss: 0.12".
	pair = regexp.MustCompile(`((?:(?i:train|training|val|valid|validation|test|eval)\s+)?[A-Za-z_][\w./@-]{0,79})\s*[=:]\s*(` + numeral + `)`)
	// words finds "loss 2.3" and "val loss 2.3", for a few names that are surely metrics.
	words = regexp.MustCompile(`(?i)\b((?:(?:train|training|val|valid|validation|test|eval)\s+)?(?:\w{0,40}loss|acc|accuracy|lr|ppl|perplexity))\s+(` + numeral + `)`)
)

// notMetrics are names in lines of progress that are no measurement of the model: counters, which are read apart, and the
// version number that Lightning prints.
var notMetrics = []string{"v_num", "epoch", "step", "iter", "iteration", "batch", "eta"}

// parseText reads plain words. An epoch or a step must come with its total, or with a metric.
func (p *Progress) parseText(s string) bool {
	if !mentions(s) {
		return false
	}
	q := *p
	q.Source = SourceText
	counted := false
	for _, m := range counters.FindAllStringSubmatchIndex(s, 8) {
		value, total := number(s[m[4]:m[5]]), float64(Unknown)
		if m[6] >= 0 {
			total = number(s[m[6]:m[7]])
		}
		if strings.EqualFold(s[m[2]:m[3]], "epoch") {
			if q.Epoch != Unknown {
				continue
			}
			q.Epoch, q.Epochs = value, total
			if in := samples.FindStringSubmatch(s[m[1]:]); in != nil && q.Step == Unknown {
				q.Step, q.Total, q.PerEpoch, counted = number(in[1]), number(in[2]), true, true
			}
		} else if q.Step == Unknown {
			q.Step, q.Total = value, total
		}
		counted = counted || total != Unknown
	}
	if q.Epoch == Unknown && q.Step == Unknown {
		return false
	}
	q.PerEpoch = q.PerEpoch || q.Epoch != Unknown && q.Total != Unknown
	q.pairs(s)
	for _, m := range words.FindAllStringSubmatchIndex(s, maxMetrics) {
		q.found(s, m)
	}
	if !counted && len(q.Names) == 0 {
		return false
	}
	*p = q
	return true
}

// mentions is a cheap look for the words that counters needs.
func mentions(s string) bool {
	for _, word := range []string{"poch", "tep", "iter", "Iter", "atch", "POCH", "STEP", "ITER"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// pairs adds the metrics written as name=number or name: number.
func (p *Progress) pairs(s string) {
	for _, m := range pair.FindAllStringSubmatchIndex(s, maxMetrics) {
		p.found(s, m)
	}
}

// found adds one match of pair or words, unless what stands around it makes it something else: a time of day, a path, a unit.
func (p *Progress) found(s string, m []int) {
	fields := strings.Fields(s[m[2]:m[3]])
	last := strings.ToLower(fields[len(fields)-1])
	if m[2] > 0 && isName(s[m[2]-1]) || slices.Contains(notMetrics, last) || strings.HasSuffix(last, ".py") {
		return
	}
	if rest := s[m[5]:]; rest != "" {
		if strings.IndexByte(" ,;:)]}|%\"'.", rest[0]) < 0 {
			return
		}
		if strings.IndexByte(",.:", rest[0]) >= 0 && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9' {
			return
		}
	}
	v, err := strconv.ParseFloat(s[m[4]:m[5]], 64)
	if err != nil {
		return
	}
	p.metric(strings.Join(fields, "_"), v)
}

// isName tells the bytes that would make the name before which they stand a part of something longer.
func isName(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("_.:/-@", c) >= 0
}
