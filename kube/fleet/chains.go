package fleet

import "slices"

// isMaker tells the kinds that start one piece of work after another: each of those is a unit, and not its maker.
func isMaker(r Ref) bool {
	return slices.Contains([]string{
		"CronJob", "CronWorkflow", "RayCronJob", "ScheduledWorkflow", "ScheduledSparkApplication", "Experiment", "JobFlow",
	}, r.Kind)
}

// step is one link of a chain of owners.
type step struct {
	ref   Ref
	root  *root // nil when it could not be read, and for pods
	owner Ref
}

// id names the tree that hangs below a top.
func (s step) id() string {
	return orElse(s.ref.UID, s.ref.Kind+" "+key(s.ref.Namespace, s.ref.Name))
}

// chains finds owners by UID.
type chains map[string]step

func newChains(roots []*root, pods []*Pod) chains {
	c := make(chains, len(roots)+len(pods))
	for _, p := range pods {
		c[p.UID] = step{p.ref(), nil, p.Owner}
	}
	for _, r := range roots {
		c[r.UID] = step{r.Ref, r, r.owner}
	}
	return c
}

// deepest bounds a chain of owners, which hostile references make a circle.
const deepest = 12

// climb follows the controllers of an object to the top, the last that can be named and is no maker.
func (c chains) climb(from step) (top step, maker *Ref) {
	top = from
	for range deepest {
		switch {
		case top.owner.Kind == "":
			return top, nil
		case isMaker(top.owner):
			owner := top.owner
			return top, &owner
		}
		next, ok := c[top.owner.UID]
		if !ok || top.owner.UID == "" {
			next = step{ref: top.owner}
		}
		top = next
	}
	return top, nil
}

// tree is all that hangs below one top.
type tree struct {
	ref  Ref
	root *root // nil when it could not be read
	// maker is what made the root, nil for none.
	maker *Ref
	// below are the roots between the top and its pods.
	below []*root
	pods  []*Pod
}

// trees sorts everything under its top; the chains are of the same roots and pods.
func (c chains) trees(roots []*root, pods []*Pod) map[string]*tree {
	out := make(map[string]*tree, len(roots))
	under := func(from step) *tree {
		top, maker := c.climb(from)
		id := top.id()
		t := out[id]
		if t == nil {
			t = &tree{ref: top.ref, root: top.root, maker: maker}
			out[id] = t
		}
		return t
	}
	for _, r := range roots {
		if t := under(c[r.UID]); t.root != r {
			t.below = append(t.below, r)
		}
	}
	for _, p := range pods {
		t := under(c[p.UID])
		t.pods = append(t.pods, p)
	}
	return out
}

// missing are the owners, one of each kind, that are named above pods with accelerators and are not known.
func (p *parts) missing() []Ref {
	c := newChains(p.roots, p.pods)
	seen := map[string]bool{}
	var out []Ref
	for _, pod := range p.pods {
		if !pod.holds() {
			continue
		}
		top, _ := c.climb(c[pod.UID])
		if id := top.ref.APIVersion + " " + top.ref.Kind; top.root == nil && top.ref.UID != pod.UID && top.ref.Kind != "Pod" && !seen[id] {
			seen[id] = true
			out = append(out, top.ref)
		}
	}
	return out
}

// made are the roots that the top made itself, in the order of their names.
func (t *tree) made() []*root {
	var out []*root
	for _, r := range t.below {
		if r.owner.UID == t.ref.UID {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *root) int { return byName(a.Ref, b.Ref) })
	return out
}

// speaker is the root that tells how the work stands: the top, or, where of that only the name is known, what it made,
// if that is one object. It is nil when only the pods can tell.
func (t *tree) speaker() *root {
	r := t.root
	for range deepest {
		if r != nil && !r.bare {
			return r
		}
		at := t.ref.UID
		if r != nil {
			at = r.UID
		}
		var next *root
		for _, b := range t.below {
			if b.owner.UID != at {
				continue
			}
			if next != nil {
				return nil
			}
			next = b
		}
		if next == nil {
			return nil
		}
		r = next
	}
	return nil
}

// demand is what the work asks for: what the templates of its root say, or those of the objects that it made.
func (t *tree) demand() demand {
	own := demand{pods: Unknown}
	if t.root != nil {
		own = t.root.demand
		if !t.root.below && own.pods != Unknown {
			return own
		}
	}
	var sum demand
	if !t.sum(t.ref.UID, &sum, deepest) {
		return own
	}
	sum.asks = sum.asks || own.asks
	sum.product, sum.priority = orElse(sum.product, own.product), orElse(sum.priority, own.priority)
	return sum
}

// sum adds up the demands of the topmost objects below one that know theirs: a Job of a JobSet is in the JobSet's templates.
func (t *tree) sum(owner string, to *demand, depth int) (found bool) {
	for _, r := range t.below {
		if r.owner.UID != owner || depth == 0 {
			continue
		}
		if !r.bare && r.demand.pods != Unknown {
			to.add(r.demand)
			found = true
		} else if t.sum(r.UID, to, depth-1) {
			found = true
		}
	}
	return found
}
