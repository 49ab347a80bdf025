package job

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// parseMarked reads the JSON object of a ::ml:: line. Values that are not numbers are left out, at any depth.
func (p *Progress) parseMarked(s string) bool {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{") || !json.Valid([]byte(s)) {
		return false
	}
	p.Source = SourceMarked
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	depth, name, isName := 0, "", false
	for {
		token, err := dec.Token()
		if err != nil { // the end, as the text is valid
			return p.says()
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			isName = depth == 1
			continue
		case string:
			if depth == 1 && isName {
				name, isName = v, false
				continue
			}
		case json.Number:
			if f, err := v.Float64(); err == nil && depth == 1 {
				p.named(name, f)
			}
		}
		isName = depth == 1
	}
}

var (
	// openBar is a tqdm bar without a total: "45it [00:10,  4.40it/s".
	openBar = regexp.MustCompile(`(?:^|[\s:])(\d[\d.]*[kMGTP]?)[A-Za-z]{1,12} \[\d+:\d[\d:]*,`)
	// epochInLabel is the epoch in the text before a bar: "Epoch 3", "Epoch 3/10", "Epoch [3/10]".
	epochInLabel = regexp.MustCompile(`(?i)\bepoch[\s:#]*\[?(\d{1,9})(?:\s*(?:/|of)\s*(\d{1,9}))?`)
)

// parseBar reads a bar of tqdm, or of Lightning, which draws its own with tqdm.
func (p *Progress) parseBar(s string) bool {
	label, tail := "", ""
	if i := strings.Index(s, "%|"); i >= 0 {
		j := i
		for j > 0 && (s[j-1] >= '0' && s[j-1] <= '9' || s[j-1] == '.') {
			j--
		}
		p.Percent = number(s[j:i])
		end := strings.LastIndex(s, "| ")
		if p.Percent == Unknown || p.Percent > 100 || end < i+1 {
			p.Percent = Unknown
			return false
		}
		label, tail = s[:j], s[end+2:]
		counts, _, _ := strings.Cut(tail, " [")
		n, total, ok := strings.Cut(counts, "/")
		if !ok {
			p.Percent = Unknown
			return false
		}
		p.Step, p.Total = number(n), number(total)
	} else {
		if !strings.Contains(s, " [") {
			return false
		}
		m := openBar.FindStringSubmatchIndex(s)
		if m == nil {
			return false
		}
		label, tail = s[:m[2]], s[m[1]:]
		p.Step = number(s[m[2]:m[3]])
	}
	p.Source = SourceTqdm
	p.Label = strings.TrimSuffix(strings.TrimSpace(label), ":")
	if len(p.Label) > maxName {
		p.Label = strings.ToValidUTF8(p.Label[:maxName], "")
	}
	if strings.HasPrefix(p.Label, "Validation ") || strings.HasPrefix(p.Label, "Sanity Checking") {
		*p = silent()
		return false // Lightning's bars within its own
	}
	p.pairs(label)
	p.pairs(tail)
	if m := epochInLabel.FindStringSubmatch(label); m != nil {
		p.PerEpoch = true
		p.Epoch = number(m[1])
		if m[2] != "" {
			p.Epochs = number(m[2])
		}
		if m[2] == "" || strings.Contains(tail, "v_num=") {
			p.Source, p.fromZero = SourceLightning, true
			if p.Epochs != Unknown {
				p.Epochs++ // Lightning names the last epoch, counted from 0
			}
		}
	}
	return p.says()
}

// parseDict reads what the Hugging Face Trainer prints: a Python dictionary of numbers, which newer versions quote.
func (p *Progress) parseDict(s string) bool {
	i := strings.Index(s, "{'")
	if i < 0 || !strings.HasSuffix(s, "}") {
		return false
	}
	q := silent()
	q.Source, q.trainer = SourceHuggingFace, true
	about := false
	for item := range strings.SplitSeq(s[i+1:len(s)-1], ", ") {
		key, value, ok := strings.Cut(item, ": ")
		key = strings.Trim(key, "'")
		v, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(value), "'"), 64)
		if !ok || err != nil {
			return false
		}
		about = about || key == "epoch" || strings.Contains(key, "loss")
		q.named(key, v)
	}
	if !about || !q.says() {
		return false
	}
	*p = q
	return true
}

var (
	kerasEpoch = regexp.MustCompile(`^Epoch (\d{1,9})/(\d{1,9})$`)
	kerasBar   = regexp.MustCompile(`^(\d{1,12})/(\d{1,12}|Unknown|None)\s+(?:\[[=>.\s-]*\]|[━╸╺─\s]+\d|-\s+\d+m?s)`)
)

// parseKeras reads the head of an epoch, and the bar within it, of Keras 2 and 3.
func (p *Progress) parseKeras(s string) bool {
	if m := kerasEpoch.FindStringSubmatch(s); m != nil {
		p.Source, p.Epoch, p.Epochs, p.PerEpoch, p.begins = SourceKeras, number(m[1]), number(m[2]), true, true
		return true
	}
	if s[0] < '0' || s[0] > '9' {
		return false
	}
	m := kerasBar.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	p.Source, p.Step, p.Total, p.PerEpoch = SourceKeras, number(m[1]), number(m[2]), true
	p.pairs(s)
	return true
}
