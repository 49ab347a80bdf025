package views

// Node is a row of a tree with the rows below it.
type Node struct {
	Cells    []Cell
	Children []Node
}

// guides draw the branches of a tree: to a child, to the last child, past a child with more to come, past the last.
type guides struct{ child, last, pass, none string }

// Tree lays out rows like Table.Lines, the first column as a tree: each child under its parent with ├─ or └─ before
// its text. Roots have no guide. Depth is bounded only by the nodes given.
func Tree(columns []Column, roots []Node, o LineOptions) []Line {
	g := newGrid(columns, count(roots), o)
	marks := guides{child: "├─ ", last: "└─ ", pass: "│  ", none: "   "}
	for _, root := range roots {
		g.add(root.Cells, "")
		g.branch(root.Children, "", marks)
	}
	return g.lines()
}

func (g *grid) branch(nodes []Node, prefix string, marks guides) {
	for i, n := range nodes {
		own, below := marks.child, marks.pass
		if i == len(nodes)-1 {
			own, below = marks.last, marks.none
		}
		g.add(n.Cells, prefix+own)
		g.branch(n.Children, prefix+below, marks)
	}
}

func count(nodes []Node) int {
	n := len(nodes)
	for _, c := range nodes {
		n += count(c.Children)
	}
	return n
}
