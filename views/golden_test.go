package views

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, lines []Line) {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Text() + "\n")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // a path below testdata
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs, see -update; got\n%swant\n%s", path, b.String(), want)
	}
}

func jobsTable() Table {
	return Table{
		Columns: []Column{
			{Name: "NAME"},
			{Name: "STATE"},
			{Name: "PROGRESS", Min: 13},
			{Name: "LOSS", Right: true},
			{Name: "GPUS", Right: true},
			{Name: "WHY", Max: 60},
			{Name: "NODE", Wide: true},
			{Name: "IMAGE", Wide: true},
			{Name: "AGE"},
		},
		Rows: [][]Cell{
			{Text("house-prices-train-0"), Toned("Running", Good), Text(Bar(0.45, 8) + " 45%"), Text("0.5123"), Text("8"), {}, Text("gpu-a-1"), Text("ghcr.io/org/train@sha256:0123456789abcdef"), Text("3m")},
			{Text("学習-ジョブ"), Toned("Pending", Warn), Text(Unknown), Text(Unknown), Text("1"), Text("Unschedulable: 0/5 nodes are available: 5 Insufficient nvidia.com/gpu."), {}, Text("train:1"), Text("2d4h")},
			{Text("evil\x1b]0;pwn\a\njob"), Toned("Failed", Bad), Text(Bar(1, 8) + " 100%"), Text("NaN"), Text("0"), Text("OOMKilled"), Text("gpu-b-2"), Text("train:2")},
			{Text("👩‍🔬-emoji")},
		},
	}
}

func TestTableGoldens(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		for _, wide := range []bool{false, true} {
			name := fmt.Sprintf("jobs-%d", width)
			if wide {
				name += "-wide"
			}
			lines := jobsTable().Lines(LineOptions{Width: width, Wide: wide})
			for _, l := range lines {
				if l.Width() > width {
					t.Errorf("%s: a line takes %d cells: %s", name, l.Width(), l.Text())
				}
			}
			golden(t, name, lines)
		}
	}
}

func TestTreeGoldens(t *testing.T) {
	node := func(name, state string, children ...Node) Node {
		return Node{Cells: []Cell{Text(name), Text(state), Text("5m")}, Children: children}
	}
	roots := []Node{
		node("run house-prices-7", "Running",
			node("ingest", "Succeeded"),
			node("train", "Running", node("lr=0.1", "Running", node("pod a", "Running")), node("lr=0.01", "Failed", node("pod b", "OOMKilled"))),
			node("deploy", "")),
		node("run house-prices-6", "Succeeded"),
	}
	columns := []Column{{Name: "NAME"}, {Name: "STATE"}, {Name: "AGE", Right: true}}
	golden(t, "tree", Tree(columns, roots, LineOptions{}))
	golden(t, "tree-20", Tree(columns, roots, LineOptions{Width: 20}))
}
