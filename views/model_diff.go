package views

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// ModelDiff is how two versions differ, on one page: what is the same is left out, or shown too with -o wide.
func ModelDiff(d registry.Diff, now time.Time, o LineOptions) []Line {
	p := diffPage{diff: d, o: o}
	p.side("--- ", Bad, d.From, now)
	p.side("+++ ", Good, d.To, now)
	if !d.Differs {
		p.out = append(p.out, Line{}, Line{Text("The versions do not differ in anything that is known of them.")})
	}
	p.metrics()
	p.section("Parameters", d.Params)
	p.section("Data", d.Data)
	p.section("Code", d.Code)
	p.section("Artifact", d.Artifact)
	p.section("Environment", d.Environment)
	p.section("Inputs", d.Inputs)
	p.files()
	return p.out
}

// diffPage is a page being laid out.
type diffPage struct {
	diff registry.Diff
	o    LineOptions
	out  []Line
}

func (p *diffPage) side(mark string, tone Tone, v registry.Version, now time.Time) {
	text := mark + versionName(v.Model, v.Version)
	if len(v.Aliases) > 0 {
		text += " (" + strings.Join(v.Aliases, ", ") + ")"
	}
	more := ""
	if t := createdOf(v); !t.IsZero() {
		more = "  " + Age(now.Sub(t)) + " ago"
	}
	p.out = append(p.out, p.cut(Line{Toned(Sanitize(text), tone), Toned(Sanitize(more+orNothing(" by ", v.CreatedBy)), Dim)}))
}

// createdOf is when a version was registered: by the server's clock where it says.
func createdOf(v registry.Version) time.Time {
	if v.Created.IsZero() {
		return v.CreatedAt
	}
	return v.Created
}

func versionName(model string, version int) string { return model + ":" + strconv.Itoa(version) }

func (p *diffPage) cut(l Line) Line {
	if p.o.Width > 0 {
		return l.Cut(p.o.Width)
	}
	return l
}

// headings are the names of the two columns of values.
func (p *diffPage) headings() (from, to string) {
	from, to = versionName(p.diff.From.Model, p.diff.From.Version), versionName(p.diff.To.Model, p.diff.To.Version)
	if p.diff.From.Model == p.diff.To.Model {
		return strings.TrimPrefix(from, p.diff.From.Model), strings.TrimPrefix(to, p.diff.To.Model)
	}
	return from, to
}

func (p *diffPage) table(title string, t Table, same int) {
	if len(t.Rows) == 0 {
		return
	}
	p.out = append(p.out, Line{}, Line{Toned(title, Head)})
	p.out = append(p.out, t.Lines(p.o)...)
	if same > 0 {
		p.out = append(p.out, Line{Toned(fmt.Sprintf("and %s the same", Count(int64(same))), Dim)})
	}
}

func (p *diffPage) metrics() {
	from, to := p.headings()
	t := Table{Columns: []Column{
		{Name: "METRIC", Min: 16}, {Name: from, Right: true, Min: 8}, {Name: to, Right: true, Min: 8}, {Name: "CHANGE", Right: true, Min: 8}, {Name: "VERDICT", Min: 7}, {Name: "BETTER", Wide: true},
	}}
	for _, m := range p.diff.Metrics {
		verdict := Toned(Unknown, Dim)
		switch m.Verdict {
		case registry.Improved:
			verdict = Toned(string(m.Verdict), Good)
		case registry.Worsened:
			verdict = Toned(string(m.Verdict), Bad)
		case registry.Same:
			verdict = Toned(string(m.Verdict), Dim)
		}
		t.Rows = append(t.Rows, []Cell{Text(m.Name), metricCell(m.From), metricCell(m.To), Text(relative(m)), verdict, orDash(string(m.Better))})
	}
	p.table("Metrics", t, 0)
}

func metricCell(v *float64) Cell {
	if v == nil {
		return Toned(Unknown, Dim)
	}
	return Text(Float(*v))
}

// relative is the change of a metric in percent, or as a number where there is nothing to relate it to.
func relative(m registry.MetricChange) string {
	switch {
	case m.Relative != nil:
		return signed(*m.Relative*100) + "%"
	case m.Delta != nil:
		return signed(*m.Delta)
	}
	return Unknown
}

func signed(v float64) string {
	if v > 0 {
		return "+" + Float(v)
	}
	return Float(v)
}

func (p *diffPage) section(title string, list []registry.Change) {
	from, to := p.headings()
	t := Table{Columns: []Column{{Name: "NAME", Min: 12}, {Name: from, Min: 16}, {Name: to, Min: 16}}}
	same := 0
	for _, c := range list {
		if !c.Changed && !p.o.Wide {
			same++
			continue
		}
		a, b := p.values(c)
		if c.Changed {
			a.Tone, b.Tone = Bad, Good
		}
		t.Rows = append(t.Rows, []Cell{Text(c.Name), a, b})
	}
	long := p.tooLong(&t)
	p.table(title, t, same)
	if len(t.Rows) == 0 && len(long) > 0 {
		p.out = append(p.out, Line{}, Line{Toned(title, Head)})
	}
	for _, row := range long {
		p.out = append(p.out, Line{Text(Sanitize(row[0].Text))})
		for i, sign := range []string{"  - ", "  + "} {
			p.out = append(p.out, Line{Text(sign), Toned(Sanitize(row[i+1].Text), row[i+1].Tone)})
		}
	}
}

// tooLong takes the rows out of a table that do not fit beside each other: cut, both sides of a change look the same.
func (p *diffPage) tooLong(t *Table) (long [][]Cell) {
	if p.o.Width <= 0 {
		return nil
	}
	var fit [][]Cell
	width := 0
	for _, row := range t.Rows {
		width = max(width, Width(Sanitize(row[0].Text)))
	}
	for _, row := range t.Rows {
		if half := (p.o.Width - min(width, p.o.Width/4) - 2*gap) / 2; max(Width(Sanitize(row[1].Text)), Width(Sanitize(row[2].Text))) > half {
			long = append(long, row)
		} else {
			fit = append(fit, row)
		}
	}
	t.Rows = fit
	return long
}

// values are both sides of a change; digests are shortened as long as that leaves them apart.
func (p *diffPage) values(c registry.Change) (from, to Cell) {
	a, b := valueText(c.From), valueText(c.To)
	if x, y := shortValue(c.Name, a), shortValue(c.Name, b); !p.o.Wide && (x != y || a == b) {
		a, b = x, y
	}
	return orDash(a), orDash(b)
}

func shortValue(name, text string) string {
	switch {
	case name == "commit":
		return shortCommit(text)
	case strings.HasPrefix(text, "sha256:"):
		return shortDigest(text)
	}
	return text
}

// valueText is a value of JSON: texts plain, documents as JSON, nil as nothing.
func valueText(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		if t == "" {
			return `""`
		}
		return t
	case []any, map[string]any:
		text, err := json.Marshal(t)
		if err != nil {
			return fmt.Sprint(t)
		}
		return string(text)
	}
	return param(v)
}

func (p *diffPage) files() {
	if p.diff.NoFiles != "" {
		p.out = append(p.out, Line{}, Line{Toned("Stage code", Head)}, p.cut(Line{Toned(Sanitize(p.diff.NoFiles), Dim)}))
	}
	if len(p.diff.Files) == 0 {
		return
	}
	t := Table{Columns: []Column{{Name: "FILE", Min: 24}, {Name: "STATE"}, {Name: "LINES"}}}
	for _, f := range p.diff.Files {
		lines := Text(fmt.Sprintf("+%d -%d", f.Added, f.Removed))
		if f.Binary {
			lines = Toned("binary", Dim)
		}
		t.Rows = append(t.Rows, []Cell{Text(f.Path), Text(f.State), lines})
	}
	p.table("Stage code", t, 0)
	for _, f := range p.diff.Files {
		if f.Text == "" {
			continue
		}
		p.out = append(p.out, Line{})
		p.out = append(p.out, Unified(f.Text)...)
	}
}

// Unified is a unified diff with tones. Its lines are never cut: they are there to be read to the end.
func Unified(text string) []Line {
	var out []Line
	for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		tone := Plain
		switch {
		case len(out) < 2 && (strings.HasPrefix(l, "--- ") || strings.HasPrefix(l, "+++ ")):
			tone = Head
		case strings.HasPrefix(l, "@@"):
			tone = Accent
		case strings.HasPrefix(l, "+"):
			tone = Good
		case strings.HasPrefix(l, "-"):
			tone = Bad
		case strings.HasPrefix(l, `\`):
			tone = Dim
		}
		out = append(out, Line{Toned(unifiedLine(l), tone)})
	}
	return slices.Clip(out)
}

// unifiedLine sanitizes a line of code behind its sign, which stays in its column.
func unifiedLine(l string) string {
	if l == "" {
		return l
	}
	return l[:1] + SanitizeLine(l[1:])
}
