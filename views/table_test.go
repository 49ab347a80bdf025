package views

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func texts(lines []Line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Text())
	}
	return out
}

func TestTableLayout(t *testing.T) {
	table := Table{
		Columns: []Column{{Name: "NAME"}, {Name: "LOSS", Right: true}, {Name: "NODE", Wide: true}, {Name: "NOTE", Max: 6}},
		Rows:    [][]Cell{{Text("学習"), Text("0.5"), Text("n1"), Text("long text")}, {Text("b\x1b[31m")}},
	}
	want := []string{"NAME     LOSS   NOTE", "学習      0.5   long …", "b      <none>   <none>"}
	if got := texts(table.Lines(LineOptions{})); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := texts(table.Lines(LineOptions{NoHeaders: true})); len(got) != 2 {
		t.Errorf("no headers: %q", got)
	}
	if got := (Table{}).Lines(LineOptions{}); got != nil {
		t.Errorf("a table without columns has lines: %v", got)
	}
	if got := texts((Table{Columns: table.Columns}).Lines(LineOptions{})); fmt.Sprint(got) != "[NAME   LOSS   NOTE]" {
		t.Errorf("a table without rows: %q", got)
	}
}

func TestTableTones(t *testing.T) {
	table := Table{Columns: []Column{{Name: "A"}, {Name: "B"}}, Rows: [][]Cell{{Toned("x", Bad), {}}}}
	lines := table.Lines(LineOptions{})
	if want := fmt.Sprint(Line{{"A", Head}, {"   ", Plain}, {"B", Head}}); fmt.Sprint(lines[0]) != want {
		t.Errorf("heading %v, want %s", lines[0], want)
	}
	if want := fmt.Sprint(Line{{"x", Bad}, {"   ", Plain}, {None, Dim}}); fmt.Sprint(lines[1]) != want {
		t.Errorf("row %v, want %s", lines[1], want)
	}
}

func TestCut(t *testing.T) {
	line := Line{{"abc", Good}, {"   ", Plain}, {"学習", Bad}}
	for width, want := range map[int]string{0: "", 1: "…", 2: "a…", 3: "ab…", 4: "abc…", 6: "abc  …", 7: "abc   …", 8: "abc   …", 9: "abc   学…", 10: "abc   学習", 99: "abc   学習"} {
		got := line.Cut(width)
		if got.Text() != want || got.Width() > max(width, 0) {
			t.Errorf("Cut(%d) = %q, want %q", width, got.Text(), want)
		}
	}
	if line.Text() != "abc   学習" {
		t.Errorf("cutting changed the line to %q", line.Text())
	}
}

func FuzzTable(f *testing.F) {
	f.Add("a\x1b[31mb", "学習", 20, true)
	f.Add("👩‍🔬", "\t\n", 1, false)
	f.Fuzz(func(t *testing.T, a, b string, width int, right bool) {
		table := Table{Columns: []Column{{Name: "A", Max: 20, Right: right}, {Name: "B"}}, Rows: [][]Cell{{Text(a), Text(b)}, {Text(b)}}}
		for _, l := range table.Lines(LineOptions{Width: width}) {
			text := l.Text()
			if width > 0 && l.Width() > width {
				t.Fatalf("%q takes %d cells, not %d", text, l.Width(), width)
			}
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\n\r\a\u202e\u009b") {
				t.Fatalf("%q is not harmless", text)
			}
		}
	})
}

func benchTable(rows int) Table {
	t := Table{Columns: jobsTable().Columns}
	for i := range rows {
		t.Rows = append(t.Rows, []Cell{
			Text(fmt.Sprintf("house-prices-train-%d", i)), Toned("Running", Good), Text(Bar(0.45, 8) + " 45%"), Text("0.5123"), Text("8"),
			Text("Unschedulable: 0/5 nodes are available"), Text("gpu-a-1"), Text("train:1"), Text("3m"),
		})
	}
	return t
}

func BenchmarkTable10k(b *testing.B) {
	table := benchTable(10_000)
	b.ReportAllocs()
	for b.Loop() {
		table.Lines(LineOptions{Wide: true})
	}
}

func BenchmarkTable10kFit(b *testing.B) {
	table := benchTable(10_000)
	b.ReportAllocs()
	for b.Loop() {
		table.Lines(LineOptions{Wide: true, Width: 100})
	}
}

func BenchmarkTable50(b *testing.B) {
	table := benchTable(50)
	b.ReportAllocs()
	for b.Loop() {
		table.Lines(LineOptions{Wide: true, Width: 120})
	}
}

// What does not fit is left out whole: first what says nothing, then what matters least; never what has no Drop.
func TestTableDropsColumns(t *testing.T) {
	table := Table{
		Columns: []Column{{Name: "NAME"}, {Name: "UTIL", Drop: 1}, {Name: "NODE", Drop: 3}, {Name: "AGE", Drop: 2}},
		Rows:    [][]Cell{{Text("train-a"), Text(Unknown), Text("gpu-1"), Text("5m")}, {Text("train-b"), {}, Text("gpu-2")}},
	}
	for width, want := range map[int]string{
		0: "NAME UTIL NODE AGE", 40: "NAME UTIL NODE AGE", 30: "NAME NODE AGE", 21: "NAME AGE", 16: "NAME AGE", 15: "NAME", 4: "NAME",
	} {
		lines := table.Lines(LineOptions{Width: width})
		if got := strings.Join(strings.Fields(lines[0].Text()), " "); got != want {
			t.Errorf("width %d shows %q, want %q", width, got, want)
		}
		for _, l := range lines {
			if width > 0 && l.Width() > width {
				t.Errorf("width %d: a line takes %d: %q", width, l.Width(), l.Text())
			}
		}
	}
}
