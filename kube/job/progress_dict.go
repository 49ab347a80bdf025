package job

import (
	"encoding/json"
	"strings"
)

// parseMarked reads the JSON object of a ::ml:: line. Values that are not numbers are left out, at any depth.
func (p *Progress) parseMarked(s string) bool {
	q := silent()
	q.Source = SourceMarked
	if !scanObject(strings.TrimSpace(s), func(group, name, value string, quoted bool) {
		if v, end, ok := numeral(value, 0); group == "" && ok && end == len(value) && (!quoted || !finite(v)) {
			q.named(name, v)
		}
	}) || !q.says() {
		return false
	}
	*p = q
	return true
}

// parseDict reads what the Hugging Face Trainer and its kin print: a Python dictionary, of numbers that newer versions
// quote. A bar may stand before it on the same line.
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
		key, value = strings.Trim(key, "'"), strings.Trim(strings.TrimSpace(value), "'")
		if !ok {
			continue
		}
		switch key {
		case "global_step/max_steps": // ms-swift
			n, total, _ := strings.Cut(value, "/")
			q.Step, q.Total = number(n), number(total)
		case "remaining_time":
			q.Remaining, _ = clock(value)
		case "percentage", "elapsed_time", "train_speed(s/it)", "train_speed(iter/s)":
		default:
			if v, end, ok := numeral(value, 0); ok && end == len(value) {
				about = about || key == "epoch" || strings.Contains(key, "loss")
				q.named(key, v)
			}
		}
	}
	if !about || !q.says() {
		return false
	}
	bar := silent()
	if i > 0 && q.Step == Unknown && bar.parseBar(strings.TrimRight(s[:i], " ")) {
		q.Step, q.Total, q.Percent, q.Rate, q.Remaining, q.elapsed = bar.Step, bar.Total, bar.Percent, bar.Rate, bar.Remaining, bar.elapsed
	}
	*p = q
	return true
}

// counterOf are the names of counters in lines of JSON.
var counterOf = map[string]string{
	"step": "step", "steps": "step", "global_step": "step", "current_steps": "step", "iteration": "step", "iter": "step", "batch": "step",
	"num_updates": "step", "training_step": "step", "train_step": "step", "trainer/global_step": "step", "train/global_step": "step",
	"total": "total", "total_steps": "total", "max_steps": "total", "num_steps": "total", "total_iterations": "total",
	"epoch": "epoch", "train/epoch": "epoch", "epochs": "epochs", "total_epochs": "epochs", "max_epochs": "epochs", "num_epochs": "epochs",
}

// notMeasured are names in lines of JSON that are no measurement of the model.
var notMeasured = map[string]bool{
	"time": true, "timestamp": true, "ts": true, "time_ms": true, "created": true, "msecs": true, "pid": true, "process": true, "thread": true, "tid": true,
	"rank": true, "local_rank": true, "world_size": true, "line": true, "lineno": true, "levelno": true, "level": true, "severity": true, "percentage": true,
	"elapsed": true, "wall": true, "train_wall": true, "seed": true, "num_train_epochs": true, "relativeCreated": true, "status": true, "port": true,
}

// parseJSON reads a log line that is JSON, or ends in it: counters and metrics as members, as fairseq, LLaMA-Factory and
// structured loggers write them, or a message that holds progress in words. depth bounds messages in messages.
func (p *Progress) parseJSON(s string, depth int) bool {
	i := strings.Index(s, `{"`)
	if i < 0 || !strings.HasSuffix(s, "}") {
		return false
	}
	q := silent()
	q.Source = SourceJSON
	message := ""
	if !scanObject(s[i:], func(group, name, value string, quoted bool) {
		switch group {
		case "", "data", "metrics", "logs", "scalars":
		default:
			return
		}
		v, end, ok := numeral(value, 0)
		counter := counterOf[name]
		switch {
		case quoted && (name == "message" || name == "msg" || name == "log"):
			message = value
		case name == "remaining_time":
			q.Remaining, _ = clock(value)
		case !ok || end != len(value) || notMeasured[name]:
		case counter != "":
			if finite(v) {
				q.named(counter, v)
			}
		default:
			q.observed(name, v)
		}
	}) {
		return false
	}
	if (q.Step != Unknown || q.Epoch != Unknown) && q.measures() {
		*p = q
		return true
	}
	return message != "" && depth > 0 && p.parse(strings.TrimSpace(message), depth-1)
}

// parseMLLog reads a line of the MLPerf logger: an evaluation, a statistic that is tracked, or the begin of an epoch.
func (p *Progress) parseMLLog(s string) bool {
	q := silent()
	q.Source = SourceMLPerf
	key, samples := "", float64(Unknown)
	var value float64
	known := false
	type member struct {
		name string
		v    float64
	}
	var tracked []member
	if !scanObject(strings.TrimSpace(s), func(group, name, text string, _ bool) {
		v, end, ok := numeral(text, 0)
		ok = ok && end == len(text)
		switch {
		case group == "" && name == "key":
			key = text
		case !ok:
		case group == "" && name == "value":
			value, known = v, true
		case group == "value":
			tracked = append(tracked, member{name, v})
		case group == "metadata" && name == "epoch_num":
			q.named("epoch", v)
		case group == "metadata" && name == "step_num":
			q.named("step", v)
		case group == "metadata" && strings.HasPrefix(name, "samples_"):
			samples = v
		}
	}) {
		return false
	}
	if q.Step == Unknown && samples >= 0 && finite(samples) {
		q.Step = samples
	}
	switch {
	case key == "tracked_stats":
		for _, m := range tracked {
			q.observed(m.name, m.v)
		}
	case known && (strings.HasPrefix(key, "eval_") || strings.HasPrefix(key, "train_")) && key != "eval_samples" && key != "train_samples":
		q.observed(key, value)
	case key == "epoch_start" || key == "epoch_stop":
	default:
		return false
	}
	if !q.says() {
		return false
	}
	*p = q
	return true
}

// scanObject visits the members of the JSON object that s is, and of the objects in it by the name of theirs; what lies
// deeper is passed over. It takes the NaN and Infinity that Python writes. It is false when s is no JSON object.
func scanObject(s string, visit func(group, name, value string, quoted bool)) bool {
	end, ok := scanMembers(s, 0, "", visit)
	return ok && end == len(s)
}

func scanMembers(s string, i int, group string, visit func(group, name, value string, quoted bool)) (int, bool) {
	if i >= len(s) || s[i] != '{' {
		return i, false
	}
	i = space(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1, true
	}
	for {
		name, j, ok := scanString(s, i)
		if i = space(s, j); !ok || i >= len(s) || s[i] != ':' {
			return i, false
		}
		if i = space(s, i+1); i >= len(s) {
			return i, false
		}
		switch s[i] {
		case '"':
			value, end, ok := scanString(s, i)
			if !ok {
				return i, false
			}
			visit(group, name, value, true)
			i = end
		case '{', '[':
			if s[i] == '{' && group == "" && name != "" {
				i, ok = scanMembers(s, i, name, visit)
			} else {
				i, ok = skipNested(s, i)
			}
			if !ok {
				return i, false
			}
		default:
			from := i
			for i < len(s) && strings.IndexByte(",}] \t", s[i]) < 0 {
				i++
			}
			if !literal(s[from:i]) {
				return i, false
			}
			visit(group, name, s[from:i], false)
		}
		i = space(s, i)
		switch {
		case i < len(s) && s[i] == ',':
			i = space(s, i+1)
		case i < len(s) && s[i] == '}':
			return i + 1, true
		default:
			return i, false
		}
	}
}

// literal tells numbers, as Python writes them too, and the three words of JSON.
func literal(s string) bool {
	switch s {
	case "true", "false", "null":
		return true
	}
	_, end, ok := numeral(s, 0)
	return ok && end == len(s)
}

// scanString reads the string at s[i:], unescaped.
func scanString(s string, i int) (string, int, bool) {
	if i >= len(s) || s[i] != '"' {
		return "", i, false
	}
	for j, escaped := i+1, false; j < len(s); j++ {
		switch s[j] {
		case '\\':
			escaped = true
			j++
		case '"':
			if !escaped {
				return s[i+1 : j], j + 1, true
			}
			var out string
			err := json.Unmarshal([]byte(s[i:j+1]), &out)
			return out, j + 1, err == nil
		}
	}
	return "", i, false
}

// skipNested is where the list or object at s[i:] ends. It counts brackets, and looks at no more.
func skipNested(s string, i int) (int, bool) {
	depth := 0
	for i < len(s) {
		switch s[i] {
		case '"':
			_, end, ok := scanString(s, i)
			if !ok {
				return i, false
			}
			i = end
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
		i++
	}
	return i, false
}

// space is where the white space from i on ends.
func space(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}
