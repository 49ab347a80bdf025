package views

import (
	"regexp"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// Lineage is a version's lineage as a tree: what it was made of, what was made of it, what serves it or did.
func Lineage(l registry.Lineage, now time.Time, o LineOptions) []Line {
	root := Node{Cells: []Cell{Toned(versionName(l.Version.Model, l.Version.Version), Accent), Text(""), Text(strings.Join(l.Version.Aliases, ", "))}}
	for _, part := range []struct {
		title, none string
		links       []registry.Link
	}{
		{"made of", "nothing is known of what it was made of", l.MadeOf},
		{"made into", "no version here names it as a parent", l.MadeInto},
		{"served by", "nothing served it, as far as is written down", l.Served},
	} {
		node := Node{Cells: []Cell{Toned(part.title, Head), Toned(" ", Plain), Toned(" ", Plain)}, Children: linkNodes(part.links, now, o.Wide)}
		if len(part.links) == 0 {
			node.Cells[2] = Toned(part.none, Dim)
		}
		root.Children = append(root.Children, node)
	}
	root.Cells[1] = Toned(" ", Plain)
	if len(l.Version.Aliases) == 0 {
		root.Cells[2] = Toned(" ", Plain)
	}
	note := "NOTE"
	if len(l.Served) > 0 {
		note = timeHeading(note, now)
	}
	return Tree([]Column{{Name: "WHAT", Min: 30}, {Name: "STATE"}, {Name: note, Min: 12}}, []Node{root}, o)
}

func linkNodes(links []registry.Link, now time.Time, wide bool) []Node {
	out := make([]Node, len(links))
	for i, l := range links {
		// A blank is no text that is missing: not everything has a state.
		state, note := Toned(" ", Plain), Toned(" ", Plain)
		if l.Presence != "" {
			state = Toned(string(l.Presence), presenceTone(l.Presence))
		}
		if text := linkNote(l, now); text != "" {
			note = Text(text)
		}
		out[i] = Node{Cells: []Cell{Text(linkName(l, wide)), state, note}, Children: linkNodes(l.Links, now, wide)}
	}
	return out
}

var longDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// linkName is KIND/NAME for an object, as kubectl takes it; digests are whole with -o wide only.
func linkName(l registry.Link, wide bool) string {
	sep, name := " ", l.Name
	switch {
	case l.Kind == "source":
		return "configmap/" + name
	case l.Kind == "version" || l.Kind == "uri":
		return name
	case l.Presence != "" || !l.From.IsZero():
		sep = "/"
	}
	if !wide {
		name = longDigest.ReplaceAllStringFunc(name, shortDigest)
	}
	return l.Kind + sep + name
}

func linkNote(l registry.Link, now time.Time) string {
	var parts []string
	if !l.From.IsZero() {
		text := "since " + minuteOf(l.From, now)
		if l.To != nil {
			text = minuteOf(l.From, now) + " to " + minuteOf(*l.To, now)
		}
		parts = append(parts, text)
	}
	return strings.Join(append(parts, nonEmpty(l.Note)...), ", ")
}

func presenceTone(p registry.Presence) Tone {
	switch p {
	case registry.Present:
		return Good
	case registry.Gone:
		return Dim
	case registry.Replaced:
		return Warn
	case registry.Unknowable:
		return Warn
	}
	return Plain
}
