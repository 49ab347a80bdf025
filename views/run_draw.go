package views

import "strings"

// drawTree lays out the rows of a run, without the columns in which no row says anything.
func drawTree(root treeRow, o LineOptions, messages bool) []Line {
	need := [treeWidth]int{}
	eachRow(root, 0, func(row treeRow, depth int) {
		for i, c := range row.all() {
			if w := Width(Sanitize(c.Text)); w > 0 && (i < colMessage || messages) {
				need[i] = max(need[i], w)
			}
		}
		need[colStage] = max(need[colStage], 3*depth+Width(row.cells[colStage].Text))
	})
	all := treeColumns()
	for i := range all {
		if need[i] > 0 {
			need[i] = max(need[i], len(all[i].Name))
		}
	}
	if o.Width > 0 {
		narrow(&all, &need, o.Width)
	}
	var columns []Column
	for i, c := range all {
		if need[i] > 0 {
			columns = append(columns, c)
		}
	}
	lines := Tree(columns, []Node{root.node(need)}, o)
	for i := range lines {
		lines[i] = trimLine(lines[i])
	}
	return lines
}

// narrow keeps what must not be cut, and leaves out columns until the others fit: half a number misleads.
func narrow(all *[treeWidth]Column, need *[treeWidth]int, width int) {
	for i, n := range need {
		all[i].Min = n
	}
	all[colStage].Min, all[colMetrics].Min = min(need[colStage], 24), min(need[colMetrics], 12)
	if width < narrowest {
		all[colStage].Min = min(need[colStage], 16)
	}
	for _, drop := range []int{colGPUs, colMetrics, colTime, colProgress} {
		sum := -gap
		for i, n := range need {
			if n > 0 {
				sum += all[i].Min + gap
			}
		}
		if sum <= width {
			return
		}
		need[drop] = 0
	}
}

// all are the cells of a row by column.
func (row treeRow) all() []Cell { return append(append([]Cell(nil), row.cells...), row.message) }

// eachRow visits the rows in the order of their lines.
func eachRow(row treeRow, depth int, visit func(row treeRow, depth int)) {
	visit(row, depth)
	for _, c := range row.children {
		eachRow(c, depth+1, visit)
	}
}

// node keeps the columns that are needed; what is empty stays blank, for a tree is no table.
func (row treeRow) node(need [treeWidth]int) Node {
	n := Node{}
	for i, c := range row.all() {
		if need[i] == 0 {
			continue
		}
		if c.Text == "" {
			c.Text = " "
		}
		n.Cells = append(n.Cells, c)
	}
	for _, child := range row.children {
		n.Children = append(n.Children, child.node(need))
	}
	return n
}

// withMessages puts below each line of the tree what its row has to say.
func (t runTree) withMessages(lines []Line, root treeRow) []Line {
	out := make([]Line, 0, len(lines))
	if !t.o.NoHeaders && len(lines) > 0 {
		out, lines = append(out, lines[0]), lines[1:]
	}
	var below func(row treeRow, guide string)
	below = func(row treeRow, guide string) {
		out, lines = append(out, lines[0]), lines[1:]
		inner := guide
		if len(row.children) > 0 {
			inner += "│ "
		} else {
			inner += "  "
		}
		if !row.minor {
			out = append(out, t.message(row.message, inner)...)
		}
		for i, c := range row.children {
			if i < len(row.children)-1 {
				below(c, guide+"│  ")
			} else {
				below(c, guide+"   ")
			}
		}
	}
	below(root, "")
	return out
}

// message is a text on at most two lines behind a guide.
func (t runTree) message(c Cell, guide string) []Line {
	text := Sanitize(c.Text)
	room := t.o.Width - Width(guide)
	if text == "" || room < 10 {
		return nil
	}
	rows := wrapWords(text, room)
	if len(rows) > 2 {
		rows = []string{rows[0], Truncate(strings.Join(rows[1:], " "), room)}
	}
	out := make([]Line, len(rows))
	for i, row := range rows {
		out[i] = Line{Toned(guide, Dim), Toned(row, c.Tone)}
	}
	return out
}

// wrapWords breaks text between words into lines of at most width cells; a longer word is cut.
func wrapWords(text string, width int) []string {
	var out []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		word = Truncate(word, width)
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= width:
			line += " " + word
		default:
			out = append(out, line)
			line = word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// trimLine takes the blanks from the end of a line.
func trimLine(l Line) Line {
	for len(l) > 0 {
		last := &l[len(l)-1]
		last.Text = strings.TrimRight(last.Text, " ")
		if last.Text != "" {
			break
		}
		l = l[:len(l)-1]
	}
	return l
}
