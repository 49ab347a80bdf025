package views

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Why is a diagnosis on one page: how the work stands, each cause with its evidence and its cure, and what could not be
// looked at. Commands are never cut or broken: they are there to be copied.
func Why(d diagnose.Diagnosis, o LineOptions) []Line {
	w := whyPage{width: o.Width}
	tone := workTone(d.State)
	w.add("", Accent, d.Subject.KindName(), tone, " "+d.Brief)
	for i, c := range d.Causes {
		w.out = append(w.out, Line{})
		w.cause(i+1, c)
	}
	if len(d.Unknown) > 0 {
		w.out = append(w.out, Line{}, Line{Toned("Not looked at:", Head)})
		for _, u := range d.Unknown {
			w.add("  - ", Plain, "", Dim, u)
		}
	}
	return w.out
}

// whyPage is a page being laid out.
type whyPage struct {
	width int
	out   []Line
}

// likelihoodTone is the tone of a cause's title.
func likelihoodTone(l diagnose.Likelihood) Tone {
	switch l {
	case diagnose.Certain:
		return Bad
	case diagnose.Likely:
		return Warn
	}
	return Plain
}

func (w *whyPage) cause(n int, c diagnose.Cause) {
	w.add(fmt.Sprintf("%d. ", n), Plain, "", likelihoodTone(c.Likelihood), fmt.Sprintf("%s (%s, %s)", capital(c.Title), c.Likelihood, c.Code))
	for _, e := range c.Evidence {
		w.add("   - ", Plain, "", Dim, e)
	}
	for _, r := range c.Remedies {
		text := r.Text
		if r.Command != "" {
			text += ":"
		}
		w.add("   > ", Plain, "", Good, capital(text))
		if r.Command != "" {
			w.out = append(w.out, Line{Text("       "), Toned(Sanitize(r.Command), Accent)})
		}
	}
}

// add wraps a text behind an indent; its further lines stand below its first. name comes before it in its own tone.
func (w *whyPage) add(indent string, nameTone Tone, name string, tone Tone, text string) {
	name, text = Sanitize(name), Sanitize(text)
	lines := []string{text}
	if room := w.width - Width(indent); w.width > 0 && room >= least {
		lines = wrapWords(strings.Repeat("x", Width(name))+text, room)
		if len(lines) > 0 {
			lines[0] = strings.TrimPrefix(lines[0], strings.Repeat("x", Width(name)))
		}
	}
	for i, l := range lines {
		line := Line{Text(indent)}
		if i == 0 && name != "" {
			line = append(line, Toned(name, nameTone))
		}
		w.out = append(w.out, append(line, Toned(l, tone)))
		indent = spaces(Width(indent))
	}
}

// capital makes the first letter of a sentence large.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Whys lists diagnoses, a line each with the first cause, with ages as of now.
func Whys(list []diagnose.Diagnosis, namespaces bool, now time.Time) Table {
	t := Table{Columns: []Column{
		{Name: "NAME", Min: 48}, {Name: "STATE", Min: len(job.Suspended), Drop: 2}, {Name: "CAUSE", Min: 16, Drop: 3}, {Name: "LIKELIHOOD", Wide: true}, {Name: "WHY", Min: 40}, {Name: "CURE", Wide: true}, {Name: "AGE", Min: 4, Drop: 1},
	}}
	if namespaces {
		t.Columns = append([]Column{{Name: "NAMESPACE", Min: longestName}}, t.Columns...)
	}
	for _, d := range list {
		c, _ := d.First()
		cure := ""
		if len(c.Remedies) > 0 {
			cure = c.Remedies[0].Text
			if command := c.Remedies[0].Command; command != "" {
				cure += ": " + command
			}
		}
		row := []Cell{
			Text(d.Subject.KindName()), Toned(d.State, workTone(d.State)), Toned(c.Code, likelihoodTone(c.Likelihood)), Text(string(c.Likelihood)), Text(c.Title), Text(cure),
			Text(Age(now.Sub(d.Created))),
		}
		if namespaces {
			row = append([]Cell{Text(d.Subject.Namespace)}, row...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// WhyNodes lists all nodes as a waiting pod sees them.
func WhyNodes(fits []diagnose.NodeFit) Table {
	t := Table{Columns: []Column{
		{Name: "NODE", Min: 24}, {Name: "PRODUCT", Max: 32}, {Name: "FREE", Right: true}, {Name: "TOTAL", Right: true}, {Name: "WHY-NOT"}, {Name: "HELD-BY", Wide: true},
	}}
	for _, f := range fits {
		free, tone := Unknown, Plain
		if f.Free != fleet.Unknown {
			free = Count(f.Free)
		}
		var why, held []string
		for _, b := range f.Blockers {
			why = append(why, b.Text)
		}
		for _, h := range f.Holders {
			held = append(held, fmt.Sprintf("%s/%s=%d", h.Namespace, h.Name, h.GPUs))
		}
		if len(why) == 0 {
			why, tone = []string{"would take it"}, Good
		}
		t.Rows = append(t.Rows, []Cell{Text(f.Node), Text(f.Product), Text(free), Text(Count(f.Total)), Toned(strings.Join(why, "; "), tone), Text(strings.Join(held, " "))})
	}
	return t
}
