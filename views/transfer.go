package views

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/artifact"
)

// Transfer is how far an artifact is, as one line of at most width cells; 0 is a line without a bar, for a log.
func Transfer(p artifact.Progress, width int) Line {
	if p.Total == 0 && p.Done == 0 {
		return Line{Toned(SanitizeLine(p.Doing), Dim)}.Cut(lineWidth(width))
	}
	doing := SanitizeLine(p.Doing)
	amount := Bytes(p.Done)
	if p.Total < 0 {
		return append(Line{Toned(doing, Head), Text("  " + amount)}, pace(p)...).Cut(lineWidth(width))
	}
	fraction := 1.0
	if p.Total > 0 {
		fraction = float64(p.Done) / float64(p.Total)
	}
	l := Line{Toned(doing, Head), Text("  ")}
	if width > 0 {
		l = append(l, Toned(Bar(fraction, min(max(width/3, 8), 30)), Accent), Text("  "))
	}
	l = append(l, Text(fmt.Sprintf("%4s  %s of %s", Percent(fraction), amount, Bytes(p.Total))))
	return append(l, pace(p)...).Cut(lineWidth(width))
}

// pace is how fast it goes and how long it still takes, where that is known.
func pace(p artifact.Progress) Line {
	if p.Rate < 1 {
		return nil
	}
	text := "  " + Bytes(int64(p.Rate)) + "/s"
	if left := p.Total - p.Done; p.Total > 0 && left > 0 {
		text += "  " + Age(time.Duration(float64(left)/p.Rate*float64(time.Second))) + " left"
	}
	return Line{Toned(text, Dim)}
}

// lineWidth is a width to cut at; lines of a log are not cut.
func lineWidth(width int) int {
	if width <= 0 {
		return 1 << 10
	}
	return width
}

// Verdicts lists what became of artifacts that were verified.
func Verdicts(list []artifact.Verdict) Table {
	t := Table{Columns: []Column{
		{Name: "VERSION", Min: longestName}, {Name: "STATE"}, {Name: "SIZE", Right: true}, {Name: "DIGEST", Min: 19}, {Name: "URI", Min: 12}, {Name: "MESSAGE", Wide: true},
	}}
	tones := map[artifact.State]Tone{artifact.Intact: Good, artifact.Unverified: Warn}
	for _, v := range list {
		tone, ok := tones[v.State]
		if !ok {
			tone = Bad
		}
		size := ""
		if v.Size > 0 {
			size = Bytes(v.Size)
		}
		t.Rows = append(t.Rows, []Cell{
			Text(artifact.Show(v.Version)), Toned(string(v.State), tone), Text(size), Text(cmp.Or(v.Found, v.Digest)), Text(artifact.Show(v.URI)), Text(v.Message),
		})
	}
	return t
}
