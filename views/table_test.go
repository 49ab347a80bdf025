package views

import "testing"

func TestTableLayout(t *testing.T) {
	table := Table{
		Columns: []Column{{Name: "NAME"}, {Name: "LOSS", Right: true}, {Name: "NODE", Wide: true}, {Name: "NOTE", Max: 6}},
		Rows:    [][]Cell{{Text("学習"), Text("0.5"), Text("n1"), Text("long text")}, {Text("b\x1b[31m")}},
	}
	want := []string{"NAME     LOSS   NOTE", "学習      0.5   long …", "b      <none>   <none>"}
	for i, l := range table.Lines(LineOptions{}) {
		if l.Text() != want[i] {
			t.Errorf("line %d is %q, want %q", i, l.Text(), want[i])
		}
	}
}
