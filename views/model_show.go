package views

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// ModelPage is what is shown of one version.
type ModelPage struct {
	Version registry.Version
	// Better are the directions that the model's head declares.
	Better map[string]registry.Direction
	// Live is what serves the model now; NotLive is why that is not known.
	Live    []registry.Serving
	NotLive string
}

// ModelShow is everything known of a version, on one page.
func ModelShow(m ModelPage, now time.Time, o LineOptions) []Line {
	v := m.Version
	p := page{width: o.Width, o: o}
	p.pairs(
		pair{"Version", versionName(v.Model, v.Version), Accent},
		pair{"Aliases", strings.Join(v.Aliases, ", "), Good},
		pair{"Namespace", v.Namespace, Plain},
		pair{"Registered", dated(createdOf(v), now) + orNothing(" by ", v.CreatedBy), Plain},
		approvalPair(v.Approval, now),
		archivedPair(v.Archived, now),
		pair{"Image", v.Image, Plain},
		pair{"Parents", strings.Join(v.Parents, ", "), Plain},
	)
	size := ""
	if v.Artifact.Size > 0 {
		size = fmt.Sprintf("%s (%d bytes)", Bytes(v.Artifact.Size), v.Artifact.Size)
	}
	p.section("Artifact", pair{"URI", v.Artifact.URI, Plain}, pair{"Digest", v.Artifact.Digest, Plain}, pair{"Size", size, Plain}, pair{"Format", v.Artifact.Format, Plain})
	p.metrics(v, m.Better)
	p.section("Parameters", valuePairs(v.Params)...)
	p.section("Data", valuePairs(v.Data)...)
	p.section("Code", pair{"Repository", v.Code.Repo, Plain}, pair{"Commit", v.Code.Commit, Plain}, pair{"Source", orNothing("configmap/", v.Code.Source), Plain})
	if o := v.Run; o != nil {
		p.section("Made by", originPairs(*o)...)
	}
	p.section("Documents", documentPair("Signature", v.Signature, o.Wide), documentPair("Baseline", v.Baseline, o.Wide))
	p.live(m)
	p.problems(v.Problems)
	return p.out
}

// pair is a name and a value on one page.
type pair struct {
	name, value string
	tone        Tone
}

// page is a page of pairs and tables being laid out.
type page struct {
	width int
	o     LineOptions
	out   []Line
}

// pairs adds a line each, or more where the value does not fit; what has no value is left out.
func (p *page) pairs(list ...pair) {
	widest := 0
	for _, x := range list {
		if x.value != "" {
			widest = max(widest, Width(Sanitize(x.name)))
		}
	}
	if p.width > 0 {
		widest = min(widest, p.width/3)
	}
	for _, x := range list {
		if x.value == "" {
			continue
		}
		name := Truncate(Sanitize(x.name), widest)
		head := name + ":" + spaces(widest-Width(name)+2)
		for _, text := range wrapped(Sanitize(x.value), p.room(x.value, Width(head))) {
			p.out = append(p.out, Line{Toned(head, Head), Toned(text, x.tone)})
			head = spaces(Width(head))
		}
	}
}

// room is the width for a value behind a head. One without blanks is there to be copied, so that nothing bounds it.
func (p *page) room(value string, head int) int {
	if !strings.Contains(value, " ") {
		return 0
	}
	return p.width - head
}

func (p *page) title(s string) { p.out = append(p.out, Line{}, Line{Toned(s, Head)}) }

// section adds pairs under a title, unless none of them says anything.
func (p *page) section(title string, list ...pair) {
	if slices.ContainsFunc(list, func(x pair) bool { return x.value != "" }) {
		for i := range list {
			list[i].name = "  " + list[i].name
		}
		p.title(title)
		p.pairs(list...)
	}
}

func (p *page) metrics(v registry.Version, declared map[string]registry.Direction) {
	if len(v.Metrics) == 0 {
		return
	}
	better := maps.Clone(v.Better)
	if better == nil {
		better = map[string]registry.Direction{}
	}
	maps.Copy(better, declared)
	t := Table{Columns: []Column{{Name: "  METRIC", Min: 16}, {Name: "VALUE", Right: true, Min: 8}, {Name: "BETTER"}}}
	for _, name := range tellingFirst(slices.Collect(maps.Keys(v.Metrics)), better) {
		value := v.Metrics[name]
		direction, _ := registry.DirectionOf(name, better)
		t.Rows = append(t.Rows, []Cell{Text("  " + name), metricCell(&value), orDash(string(direction))})
	}
	p.title("Metrics")
	p.out = append(p.out, t.Lines(p.o)...)
}

func (p *page) live(m ModelPage) {
	if len(m.Live) == 0 && m.NotLive == "" {
		return
	}
	t := Table{Columns: []Column{{Name: "  SERVED-BY", Min: 20}, {Name: "NAMESPACE", Min: 12}, {Name: "VERSION", Right: true}}}
	for _, s := range m.Live {
		if s.Version == m.Version.Version {
			t.Rows = append(t.Rows, []Cell{Text("  " + strings.ToLower(s.Kind) + "/" + s.Name), Text(s.Namespace), versionCell(s.Version)})
		}
	}
	switch {
	case m.NotLive != "":
		p.title("Served by")
		p.out = append(p.out, Line{Toned("  "+Sanitize(m.NotLive), Warn)})
	case len(t.Rows) > 0:
		p.title("Served by")
		p.out = append(p.out, t.Lines(p.o)...)
	}
}

func (p *page) problems(list []string) {
	if len(list) == 0 {
		return
	}
	p.title("Problems")
	for _, text := range list {
		head := "  ! "
		for _, l := range wrapped(Sanitize(text), p.width-len(head)) {
			p.out = append(p.out, Line{Text(head), Toned(l, Bad)})
			head = spaces(len(head))
		}
	}
}

// dated is a time with its age.
func dated(t, now time.Time) string {
	if t.IsZero() {
		return Unknown
	}
	return timeOf(t, now) + " " + Zone(now) + ", " + Age(now.Sub(t)) + " ago"
}

func marked(m registry.Mark, now time.Time) string {
	return dated(m.At, now) + orNothing(" by ", m.By) + orNothing(": ", m.Comment)
}

func approvalPair(a *registry.Approval, now time.Time) pair {
	if a == nil {
		return pair{}
	}
	return pair{"Approval", a.State + " " + marked(a.Mark, now), approvalTone(a.State)}
}

func archivedPair(m *registry.Mark, now time.Time) pair {
	if m == nil {
		return pair{}
	}
	return pair{"Archived", marked(*m, now), Warn}
}

func valuePairs(m map[string]any) []pair {
	var out []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		text := valueText(m[k])
		if m[k] == nil {
			text = "null"
		}
		out = append(out, pair{k, text, Plain})
	}
	return out
}

func originPairs(o registry.Origin) []pair {
	stage := o.Stage
	if o.Attempt > 1 {
		stage += fmt.Sprintf(", attempt %d", o.Attempt)
	}
	if o.Child > 0 {
		stage += fmt.Sprintf(", child %d", o.Child)
	}
	return []pair{
		{capital(o.Kind), o.Name, Plain},
		{"Namespace", o.Namespace, Plain},
		{"UID", o.UID, Dim},
		{"Pipeline", o.Pipeline, Plain},
		{"Stage", stage, Plain},
		{"Job", o.Job, Plain},
		{"Job UID", o.JobUID, Dim},
	}
}

// documentPair is a JSON document in short: what it is made of and how large it is; with all, the document itself.
func documentPair(name string, text json.RawMessage, all bool) pair {
	if len(text) == 0 {
		return pair{}
	}
	if all {
		return pair{name, string(text), Plain}
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(text, &doc) != nil {
		return pair{name, Truncate(Sanitize(string(text)), 60), Plain}
	}
	keys := slices.Sorted(maps.Keys(doc))
	shown := strings.Join(keys[:min(len(keys), 6)], ", ")
	if len(keys) > 6 {
		shown += fmt.Sprintf(" and %d more", len(keys)-6)
	}
	return pair{name, fmt.Sprintf("%s (%s; -o wide shows it)", shown, Bytes(int64(len(text)))), Plain}
}
