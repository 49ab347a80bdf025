package views

import "math"

// legend are the lines above a plot, at least one and at most rows: the title, then each curve with its letter and its
// last value. What does not fit is counted.
func (c Chart) legend(width, rows int) []Line {
	var out []Line
	var line Line
	used := 0
	add := func(item Line) bool {
		w, sep := item.Width(), 0
		if used > 0 {
			sep = 2
		}
		if used > 0 && used+sep+w > width {
			if len(out)+1 >= rows {
				return false
			}
			out = append(out, line)
			line, used, sep = nil, 0, 0
		}
		if sep > 0 {
			line = append(line, Text(spaces(sep)))
		}
		line = append(line, item.Cut(width)...)
		used += sep + min(w, width)
		return true
	}
	if t := Sanitize(c.Title); t != "" {
		add(Line{Toned(t, Head)})
	}
	letters, n := c.named() > 1, 0
	for i := range c.Series {
		if c.Series[i].Quiet {
			continue
		}
		item := c.entry(&c.Series[i], letters, n)
		if n++; !add(item) {
			line = more(line, c.named()-n+1, width)
			break
		}
	}
	return append(out, line)
}

// more ends a legend that is full.
func more(line Line, n, width int) Line {
	mark := Toned("  +"+Count(int64(n)), Dim)
	if room := width - Width(mark.Text); line.Width() > room {
		line = line.Cut(max(room, 0))
	}
	return append(line, mark)
}

// entry is one curve of a legend; i counts those before it.
func (c Chart) entry(s *Series, letters bool, i int) Line {
	name, tone := Sanitize(s.Name), Plain
	var out Line
	if letters {
		out = append(out, Toned(string(rune(letterOf(i))), s.Tone), Text(" "))
	} else if name != "" {
		tone = s.Tone
	}
	if name != "" {
		out = append(out, Toned(name+" ", tone))
	}
	return append(out, Text(c.Y.Value(s.Last())))
}

// Value writes one value of an axis with the digits that people compare.
func (a Axis) Value(v float64) string {
	if !finite(v) {
		return Float(v)
	}
	switch a.Unit {
	case Fraction:
		return shortNumber(v*100, 0) + "%"
	case Seconds:
		return shortSeconds(v)
	case ByteSize, Clock:
		s := scale{unit: a.Unit}
		return s.label(v)
	}
	return Float(v)
}

const sparks, asciiSparks = "▁▂▃▄▅▆▇█", "_.,-=+*#"

// Sparkline draws values in width cells, each the mean of those that fall into it, from the least to the greatest.
// Fewer values than cells take a cell each; what is not finite is a blank.
func Sparkline(values []float64, width int) string { return spark(values, width, []rune(sparks)) }

// ASCIISparkline is Sparkline for a terminal without Unicode.
func ASCIISparkline(values []float64, width int) string {
	return spark(values, width, []rune(asciiSparks))
}

func spark(values []float64, width int, levels []rune) string {
	n := min(width, len(values))
	if n <= 0 {
		return ""
	}
	means, lo, hi := make([]float64, n), math.Inf(1), math.Inf(-1)
	for k := range means {
		sum, count := 0.0, 0
		for _, v := range values[k*len(values)/n : (k+1)*len(values)/n] {
			if finite(v) {
				sum += v
				count++
			}
		}
		means[k] = sum / float64(count)
		if finite(means[k]) {
			lo, hi = min(lo, means[k]), max(hi, means[k])
		}
	}
	out := make([]rune, n)
	for k, v := range means {
		switch f := (v - lo) / (hi - lo); {
		case !finite(v):
			out[k] = ' '
		case !(hi > lo) || !finite(f):
			out[k] = levels[len(levels)/2]
		default:
			out[k] = levels[dot(f, len(levels))]
		}
	}
	return string(out)
}

// sparklines are a chart where there is no room for one.
func (c Chart) sparklines(width, height int) []Line {
	if width < 1 || height < 1 {
		return nil
	}
	var out []Line
	for i := range c.Series {
		s := &c.Series[i]
		if s.Quiet || len(out) == height {
			continue
		}
		item := c.entry(s, c.named() > 1, len(out))
		if room := width - item.Width() - 1; room > 0 && s.size() > 0 {
			values := s.Y[:s.size()]
			draw := Sparkline
			if c.ASCII {
				draw = ASCIISparkline
			}
			item = append(item, Text(" "), Toned(draw(values, room), s.Tone))
		}
		out = append(out, item.Cut(width))
	}
	if len(out) == 0 {
		out = append(out, Line{Toned(Truncate(orElse(Sanitize(c.Empty), "no data"), width), Dim)})
	}
	return out
}
