package fleet

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fvbommel/sortorder"
	"k8s.io/apimachinery/pkg/labels"
)

// grouping is what group does, kept so that a change costs what it touches and not the whole fleet.
type grouping struct {
	want   choice
	claims claims
	unseen bool
	// works and nodes are sorted. They are replaced and never changed, as snapshots share them.
	works []*Work
	nodes []*Node

	chains chains
	// trees are those of trees; treeOf says by the UIDs of pods and roots in which one they are.
	trees  map[string]*tree
	treeOf map[string]string
	// workOf are the works by tree.
	workOf map[string]*Work
	// bound are pods by node and UID, raw the nodes by name, products the models of their accelerators.
	bound    map[string]map[string]*Pod
	raw      map[string]*Node
	products map[string]string
}

// elsewhere is a pod of a namespace that is not looked at.
type elsewhere struct{ *Pod }

func newGrouping(p parts, want choice) *grouping {
	g := &grouping{
		want: want, claims: newClaims(p.dra), unseen: p.unseen, treeOf: make(map[string]string, len(p.pods)+len(p.roots)), workOf: map[string]*Work{},
		bound: map[string]map[string]*Pod{}, raw: make(map[string]*Node, len(p.nodes)), products: map[string]string{},
	}
	pods, others := g.claims.fill(p.pods), g.claims.fill(p.others)
	g.chains = newChains(p.roots, pods)
	g.trees = g.chains.trees(p.roots, pods)
	for id, t := range g.trees {
		if t.root != nil {
			g.treeOf[t.root.UID] = id
		}
		for _, r := range t.below {
			g.treeOf[r.UID] = id
		}
		for _, pod := range t.pods {
			g.treeOf[pod.UID] = id
		}
	}
	for _, pod := range slices.Concat(pods, others) {
		g.bind(pod)
	}
	for _, n := range p.nodes {
		g.raw[n.Name] = n
	}
	g.nodes = nodesOf(p.nodes, g.claims, g.unseen, pods, others)
	for _, n := range g.nodes {
		g.products[n.Name] = n.Product
	}
	for id, t := range g.trees {
		if w := g.work(t); w != nil {
			g.works = append(g.works, w)
			g.workOf[id] = w
		}
	}
	slices.SortFunc(g.works, compareWorks)
	return g
}

// work is the work of a tree, which stays as it is; nil when it is none that is wanted.
func (g *grouping) work(t *tree) *Work {
	own := *t
	own.pods = append([]*Pod(nil), t.pods...) // work sorts them
	w := own.work(g.claims, g.products, g.want.plain)
	if w == nil || g.want.selector != nil && !g.want.selector.Matches(labels.Set(w.Labels)) {
		return nil
	}
	return w
}

func (g *grouping) bind(p *Pod) {
	if p.Node == "" {
		return
	}
	if g.bound[p.Node] == nil {
		g.bound[p.Node] = map[string]*Pod{}
	}
	g.bound[p.Node][p.UID] = p
}

func compareWorks(a, b *Work) int { return byName(a.Ref, b.Ref) }

// compareNodes puts gpu-2 before gpu-10.
func compareNodes(a, b *Node) int { return sortorder.NaturalCompare(a.Name, b.Name) }

// touched are the trees and nodes that changes have to do with.
type touched struct{ trees, nodes map[string]bool }

// apply takes in changes; false when everything has to be grouped anew, as the rare ones ask for: objects between a
// root and its pods that come and go, claims, and nodes of another model.
func (g *grouping) apply(changes []change) bool {
	if len(changes) > 64 && len(changes) > len(g.treeOf)/4 {
		return false
	}
	at := touched{map[string]bool{}, map[string]bool{}}
	for _, c := range changes {
		if !g.take(c, at) {
			return false
		}
	}
	if !g.nodesAnew(at.nodes) {
		return false
	}
	g.worksAnew(at.trees)
	return true
}

// take takes in one change.
func (g *grouping) take(c change, at touched) bool {
	switch fact := cmp.Or(c.is, c.was).(type) {
	case *Pod:
		was, _ := c.was.(*Pod)
		is, _ := c.is.(*Pod)
		return g.takePod(was, is, at)
	case elsewhere:
		was, _ := c.was.(elsewhere)
		is, _ := c.is.(elsewhere)
		g.rebind(was.Pod, g.filled(is.Pod), at)
		return true
	case *root:
		was, _ := c.was.(*root)
		is, _ := c.is.(*root)
		return g.takeRoot(was, is, at)
	case *Node:
		if c.is == nil {
			delete(g.raw, fact.Name)
		} else {
			g.raw[fact.Name] = fact
		}
		at.nodes[fact.Name] = true
		return true
	}
	return false
}

// missing are the owners, one of each kind, that are named above pods with accelerators and are not known.
func (g *grouping) missing() []Ref {
	seen := map[string]bool{}
	var out []Ref
	for _, t := range g.trees {
		if t.root != nil || t.ref.Kind == "Pod" || !slices.ContainsFunc(t.pods, (*Pod).holds) {
			continue
		}
		if id := t.ref.APIVersion + " " + t.ref.Kind; !seen[id] {
			seen[id] = true
			out = append(out, t.ref)
		}
	}
	return out
}

// filled is a pod with what its claims hold.
func (g *grouping) filled(p *Pod) *Pod {
	if p == nil {
		return nil
	}
	return g.claims.fill([]*Pod{p})[0]
}

// rebind moves a pod from node to node.
func (g *grouping) rebind(was, is *Pod, at touched) {
	if was != nil && was.Node != "" {
		delete(g.bound[was.Node], was.UID)
		at.nodes[was.Node] = true
	}
	if is != nil && is.Node != "" {
		g.bind(is)
		at.nodes[is.Node] = true
	}
}

// takePod takes in a pod that is new, changed or gone.
func (g *grouping) takePod(was, is *Pod, at touched) bool {
	for _, p := range []*Pod{was, is} {
		if p != nil && (p.UID == "" || p.Owner.Kind == "Pod") {
			return false // a pod may own pods, and nobody could tell two without a UID apart
		}
	}
	is = g.filled(is)
	g.rebind(was, is, at)
	if was != nil && (is == nil || is.UID != was.UID || is.Owner != was.Owner) {
		if !g.removePod(was, at) {
			return false
		}
		was = nil
	}
	if is == nil {
		return true
	}
	g.chains[is.UID] = step{is.ref(), nil, is.Owner}
	if was == nil {
		g.addPod(is, at)
		return true
	}
	id := g.treeOf[is.UID]
	t := g.trees[id]
	if t == nil {
		return false
	}
	i := slices.IndexFunc(t.pods, func(p *Pod) bool { return p.UID == is.UID })
	if i < 0 {
		return false
	}
	t.pods[i] = is
	at.trees[id] = true
	return true
}

func (g *grouping) addPod(p *Pod, at touched) {
	top, maker := g.chains.climb(g.chains[p.UID])
	id := top.id()
	t := g.trees[id]
	if t == nil {
		t = &tree{ref: top.ref, root: top.root, maker: maker}
		g.trees[id] = t
	}
	t.pods = append(t.pods, p)
	g.treeOf[p.UID] = id
	at.trees[id] = true
}

func (g *grouping) removePod(p *Pod, at touched) bool {
	id := g.treeOf[p.UID]
	t := g.trees[id]
	if t == nil {
		return false
	}
	t.pods = slices.DeleteFunc(t.pods, func(q *Pod) bool { return q.UID == p.UID })
	delete(g.chains, p.UID)
	delete(g.treeOf, p.UID)
	at.trees[id] = true
	return true
}

// takeRoot takes in a root that is new, changed or gone. Only one that nothing else owns can come or go: another could
// join trees, or part them.
func (g *grouping) takeRoot(was, is *root, at touched) bool {
	either := cmp.Or(is, was)
	id := g.treeOf[either.UID]
	t := g.trees[id]
	switch {
	case either.UID == "" || was != nil && is != nil && (was.Ref != is.Ref || was.owner != is.owner):
		return false
	case was != nil && is != nil:
		if t == nil || !t.swap(was, is) {
			return false
		}
		g.chains[is.UID] = step{is.Ref, is, is.owner}
	case either.owner.Kind != "" && !isMaker(either.owner):
		return false
	case is != nil:
		g.addRoot(is)
		id = g.treeOf[is.UID]
	case t == nil || t.root != was || len(t.below) > 0:
		return false
	default:
		delete(g.chains, was.UID)
		delete(g.treeOf, was.UID)
		t.root, t.maker = nil, nil
		if len(t.pods) > 0 { // they still name it
			top, maker := g.chains.climb(g.chains[t.pods[0].UID])
			t.ref, t.maker = top.ref, maker
		}
	}
	at.trees[id] = true
	return true
}

// swap puts a root into the place of what it was before.
func (t *tree) swap(was, is *root) bool {
	if t.root == was {
		t.root = is
		return true
	}
	i := slices.Index(t.below, was)
	if i >= 0 {
		t.below[i] = is
	}
	return i >= 0
}

// addRoot takes in a root that is the top of its tree. Its pods may have come before it.
func (g *grouping) addRoot(r *root) {
	g.chains[r.UID] = step{r.Ref, r, r.owner}
	top, maker := g.chains.climb(g.chains[r.UID])
	id := top.id()
	t := g.trees[id]
	if t == nil {
		t = &tree{}
		g.trees[id] = t
	}
	t.ref, t.root, t.maker = r.Ref, r, maker
	g.treeOf[r.UID] = id
}

// worksAnew makes the works of some trees anew.
func (g *grouping) worksAnew(ids map[string]bool) {
	if len(ids) == 0 {
		return
	}
	works := slices.Clone(g.works)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		var is *Work
		t := g.trees[id]
		if t != nil && t.root == nil && len(t.pods)+len(t.below) == 0 {
			delete(g.trees, id)
		} else if t != nil {
			is = g.work(t)
		}
		works = replace(works, g.workOf[id], is, compareWorks)
		if g.workOf[id] = is; is == nil {
			delete(g.workOf, id)
		}
	}
	g.works = works
}

// nodesAnew counts anew what is used of some nodes; false when works have to be told of another model.
func (g *grouping) nodesAnew(names map[string]bool) bool {
	if len(names) == 0 || len(g.raw)+len(g.nodes) == 0 {
		return true
	}
	nodes := slices.Clone(g.nodes)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var was, is *Node
		if i, ok := slices.BinarySearchFunc(nodes, &Node{Name: name}, compareNodes); ok {
			was = nodes[i]
		}
		if raw := g.raw[name]; raw != nil {
			for _, n := range nodesOf([]*Node{raw}, g.claims, g.unseen, slices.Collect(maps.Values(g.bound[name]))) {
				is = n
			}
		}
		product, had := g.products[name]
		if (is != nil) != had || is != nil && is.Product != product {
			return false
		}
		nodes = replace(nodes, was, is, compareNodes)
	}
	g.nodes = nodes
	return true
}

// replace puts an item into the place of another in a sorted list of the caller's own; either may be nil.
func replace[T any](list []*T, was, is *T, compare func(a, b *T) int) []*T {
	if was != nil {
		i, ok := slices.BinarySearchFunc(list, was, compare)
		switch {
		case ok && is != nil && compare(was, is) == 0:
			list[i] = is
			return list
		case ok:
			list = slices.Delete(list, i, i+1)
		}
	}
	if is != nil {
		i, _ := slices.BinarySearchFunc(list, is, compare)
		list = slices.Insert(list, i, is)
	}
	return list
}
