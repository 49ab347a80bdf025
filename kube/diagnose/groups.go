package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// group is nodes that do not take a pod for the same reason.
type group struct {
	text  string
	kind  string
	free  int64
	nodes []string
}

// blockerOrder is by what is decided first: a node that the pod's own selection leaves out is not counted as full.
var blockerOrder = []string{BlockLacks, BlockSelector, BlockTaint, BlockNotReady, BlockCordoned, BlockVolume, BlockSmall, BlockTaken}

// main is the blocker that stands for a node.
func (f *NodeFit) main() (Blocker, bool) {
	if len(f.Blockers) == 0 {
		return Blocker{}, false
	}
	return slices.MinFunc(f.Blockers, func(a, b Blocker) int {
		return cmp.Compare(slices.Index(blockerOrder, a.Kind), slices.Index(blockerOrder, b.Kind))
	}), true
}

// has says whether one of the blockers is of one of the kinds.
func (f *NodeFit) has(kinds ...string) bool {
	return slices.ContainsFunc(f.Blockers, func(b Blocker) bool { return slices.Contains(kinds, b.Kind) })
}

// groups are the nodes by their main blocker, those first that come nearest to taking the pod.
func (a *arithmetic) groups() []group {
	var out []group
	at := map[string]int{}
	for i := range a.fits {
		b, blocked := a.fits[i].main()
		key := b.Kind + "\x00" + b.Text
		if !blocked {
			b.Text = "would take it"
		}
		k, ok := at[key]
		if !ok {
			k = len(out)
			at[key] = k
			out = append(out, group{text: b.Text, kind: b.Kind, free: a.fits[i].Free})
		}
		out[k].nodes = append(out[k].nodes, a.fits[i].Node)
	}
	slices.SortStableFunc(out, func(x, y group) int {
		return cmp.Or(
			cmp.Compare(slices.Index(blockerOrder, y.kind), slices.Index(blockerOrder, x.kind)),
			cmp.Compare(btoi(y.kind == BlockTaken)*int(y.free), btoi(x.kind == BlockTaken)*int(x.free)),
			cmp.Compare(len(y.nodes), len(x.nodes)), cmp.Compare(x.text, y.text),
		)
	})
	return out
}

const (
	mostGroups = 8
	mostNames  = 3
)

// lines are the groups as evidence, one a line.
func (a *arithmetic) lines() []string {
	var out []string
	groups := a.groups()
	for i, g := range groups {
		if i == mostGroups && len(groups) > mostGroups+1 {
			rest := 0
			for _, r := range groups[i:] {
				rest += len(r.nodes)
			}
			return append(out, count(int64(rest), "node", "nodes")+" for other reasons; all of them with --nodes")
		}
		out = append(out, fmt.Sprintf("%s (%s): %s", count(int64(len(g.nodes)), "node", "nodes"), some(g.nodes, mostNames), plural(g.text, len(g.nodes))))
	}
	return out
}

// plural makes a text on one node speak of several.
func plural(text string, n int) string {
	if n == 1 {
		return text
	}
	for _, p := range [][2]string{{"has ", "have "}, {"is ", "are "}, {"does ", "do "}} {
		if rest, ok := strings.CutPrefix(text, p[0]); ok {
			if p[0] == "has " && strings.Contains(rest, " free of ") {
				return "have " + rest + " each"
			}
			return p[1] + rest
		}
	}
	return text
}

// pool are the nodes without any of the kinds of blocker.
func (a *arithmetic) pool(without ...string) []*NodeFit {
	var out []*NodeFit
	for i := range a.fits {
		if !a.fits[i].has(without...) {
			out = append(out, &a.fits[i])
		}
	}
	return out
}

func names(fits []*NodeFit) []string {
	out := make([]string, len(fits))
	for i, f := range fits {
		out[i] = f.Node
	}
	return out
}
