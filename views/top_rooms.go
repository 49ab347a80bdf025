package views

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Rooms say where new work has room: all together in a sentence, then by product where there are several, then what is
// out of reach.
func Rooms(rooms []fleet.Room, o LineOptions) []Line {
	if len(rooms) == 0 {
		return nil
	}
	all := rooms[0]
	out := paragraph(roomText(all), o.Width)
	if len(rooms) > 1 {
		out = append(out, roomTable(rooms[1:]).Lines(o)...)
	}
	if len(all.Shut) > 0 {
		out = append(out, paragraph(shutText(all.Shut), o.Width)...)
	}
	return out
}

// paragraph is a text in lines of a width.
func paragraph(text string, width int) []Line {
	var out []Line
	for _, l := range wrapped(Sanitize(text), width) {
		out = append(out, Line{Text(l)})
	}
	return out
}

func roomText(r fleet.Room) string {
	text := fmt.Sprintf("%s of %s free", Count(r.Free), Plural(r.Total, "GPU", "GPUs"))
	if r.Free == 0 {
		return text + "."
	}
	text += " on " + Plural(int64(r.Nodes), "node", "nodes")
	if r.Nodes > 1 {
		text += fmt.Sprintf(", at most %d on one", r.Largest)
	}
	text += "."
	var fits []string
	for _, f := range r.Fits {
		nodes, short := Plural(int64(f.Nodes), "node", "nodes"), Count(int64(f.Nodes))
		if f.Nodes == 0 {
			nodes, short = "no node", "none"
		}
		switch {
		case len(fits) == 0:
			fits = append(fits, fmt.Sprintf(" A job of %d on one node fits %s", f.GPUs, nodes))
		case f.GPUs > 1: // the nodes with some free are said already
			fits = append(fits, fmt.Sprintf("of %d: %s", f.GPUs, short))
		}
	}
	return text + strings.Join(fits, "; ") + "."
}

// roomTable has a column for every size: on how many nodes a job of that size fits.
func roomTable(rooms []fleet.Room) Table {
	t := Table{Columns: []Column{{Name: "PRODUCT", Min: 14}, {Name: "TOTAL", Right: true}, {Name: "FREE", Right: true}, {Name: "LARGEST", Right: true}}}
	sizes := map[int64]bool{}
	for _, r := range rooms {
		for _, f := range r.Fits {
			sizes[f.GPUs] = true
		}
	}
	order := slices.Sorted(maps.Keys(sizes))
	slices.Reverse(order)
	for i, size := range order {
		t.Columns = append(t.Columns, Column{Name: fmt.Sprintf("FIT-%d", size), Right: true, Drop: 1 + i})
	}
	for _, r := range rooms {
		row := []Cell{Text(orUnknown(ShortProduct(r.Product))), Text(Count(r.Total)), Text(Count(r.Free)), Text(strconv.FormatInt(r.Largest, 10))}
		for _, size := range order {
			cell := Toned(Unknown, Dim)
			for _, f := range r.Fits {
				if f.GPUs == size {
					cell = Text(Count(int64(f.Nodes)))
				}
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func shutText(list []fleet.Shut) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = fmt.Sprintf("%s on %s (%s)", Count(s.Free), Plural(int64(s.Nodes), "node", "nodes"), s.Why)
	}
	return "Out of reach: " + strings.Join(parts, ", ") + "."
}
