package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// schedulable are the pods that a scheduler looks for a node for, one of each kind.
func (e *Evidence) schedulable() []*corev1.Pod {
	var out []*corev1.Pod
	seen := map[string]bool{}
	for _, p := range e.unscheduled() {
		if len(p.Spec.SchedulingGates) > 0 || len(out) == mostKinds {
			continue
		}
		if key := demands(&p.Spec); !seen[key] {
			seen[key] = true
			out = append(out, p)
		}
	}
	return out
}

// mostKinds bounds how many different pods of one work are held against the nodes.
const mostKinds = 4

// demands tell pods apart that want different things.
func demands(s *corev1.PodSpec) string {
	want := requests(s)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&b, "%s=%d ", name, want[name])
	}
	return b.String() + pairs(s.NodeSelector) + affinityText(requiredAffinity(s))
}

// canCompute says whether the arithmetic tells the truth for a pod: the nodes are known, and its devices are counted
// among their resources, which those given by resource claims are not.
func (e *Evidence) canCompute(s *corev1.PodSpec) bool {
	return e.Cluster != nil && e.Cluster.HeldKnown && len(s.ResourceClaims) == 0
}

// volumes are the bound volumes of a pod.
func (e *Evidence) volumes(s *corev1.PodSpec) []*corev1.PersistentVolume {
	var out []*corev1.PersistentVolume
	for _, name := range claimNames(s) {
		if c, ok := e.Claims[name]; ok && c.Volume != nil {
			out = append(out, c.Volume)
		}
	}
	return out
}

// nodesRule holds each kind of waiting pod against every node, and the outcome against what the scheduler says.
func nodesRule(e *Evidence) []Cause {
	if e.Cluster == nil {
		return nil
	}
	var out []Cause
	for _, p := range e.schedulable() {
		if len(p.Spec.ResourceClaims) > 0 {
			continue
		}
		a := compute(e.Cluster, &p.Spec, e.volumes(&p.Spec))
		v := e.verdictOn(p)
		c, kind, ok := e.shortage(&a)
		if !ok {
			out = append(out, e.roomNow(&a, p, v)...)
			continue
		}
		c = e.crossCheck(c, kind, v)
		if n := e.alike(p); n > 1 {
			c = c.because(fmt.Sprintf("%d of its pods wait for this", n))
		}
		out = append(out, c)
		if kind == BlockTaken {
			out = append(out, e.otherwise(&a)...)
		}
	}
	return out
}

// alike counts the waiting pods that want the same.
func (e *Evidence) alike(p *corev1.Pod) int {
	n, key := 0, demands(&p.Spec)
	for _, q := range e.unscheduled() {
		if demands(&q.Spec) == key {
			n++
		}
	}
	return n
}

// confirming are the scheduler's words for each kind of shortage.
var confirming = map[string][]string{
	BlockLacks: {"Insufficient "}, BlockSmall: {"Insufficient "}, BlockTaken: {"Insufficient ", "Too many pods"},
	BlockSelector: {"didn't match Pod's node affinity/selector"},
	BlockTaint:    {"untolerated taint", "had taints that the pod didn't tolerate"},
	BlockNotReady: {"were unschedulable", "untolerated taint", "unknown conditions", "had taints that the pod didn't tolerate"},
	BlockVolume:   {"node affinity"},
}

// crossCheck never contradicts the scheduler silently: what it does not confirm is at most likely, and both are shown.
func (e *Evidence) crossCheck(c Cause, kind string, v verdict) Cause {
	c = c.because(v.line())
	switch {
	case v.text == "":
		c.Likelihood = Likely
		return c.because("the scheduler has not said anything of it yet")
	case kind != "" && !slices.ContainsFunc(confirming[kind], v.says):
		c.Likelihood = Likely
		return c.because("the scheduler names other reasons; it may have looked before the nodes became as they are now")
	case strings.Contains(v.preemption, "No preemption victims"):
		c = c.because("no pod of a lower priority would make enough room")
	}
	return c
}

// roomNow: a node would take the pod by the arithmetic, so either the scheduler knows of more, which schedulerRule
// tells, or it has not looked since.
func (e *Evidence) roomNow(a *arithmetic, p *corev1.Pod, v verdict) []Cause {
	if !a.known {
		return nil
	}
	fits := a.pool(blockerOrder...)
	if v.text == "" {
		if e.Now.Sub(p.CreationTimestamp.Time) < schedulerTakes {
			return []Cause{cause(Likely, "NotScheduledYet", "it is new, and the scheduler has not looked at it yet").because("nodes that would take it: "+some(names(fits), mostNames)).
				cure("ask again in a few seconds", "kubectl ml why "+e.Work.KindName())}
		}
		return nil // the rule of schedulers that are not there says more
	}
	if slices.ContainsFunc(v.reasons, func(r reason) bool { i := tableRow(r.text); return i < 0 || !schedulerReasons[i].computed }) {
		return nil
	}
	c := cause(Likely, "RoomNow", "there is room for it by now: the scheduler tries again by itself, at the latest after five minutes")
	return []Cause{c.because("nodes that would take it: "+some(names(fits), mostNames), v.line()).cure("wait, and ask again", "kubectl ml why "+e.Work.KindName())}
}

// otherwise are nodes with room that something else keeps the pod from.
func (e *Evidence) otherwise(a *arithmetic) []Cause {
	taints, closed, products := map[string]int64{}, []string{}, map[string]int64{}
	for i := range a.fits {
		f := &a.fits[i]
		if f.has(BlockTaken, BlockSmall, BlockLacks, BlockVolume) {
			continue
		}
		b, _ := f.main()
		switch b.Kind {
		case BlockTaint:
			taints[b.taint]++
		case BlockCordoned:
			closed = append(closed, f.Node)
		case BlockSelector:
			if f.Product != "" {
				products[f.Product]++
			}
		}
	}
	var out []Cause
	for _, t := range sortedByCount(taints) {
		out = append(out, cause(Possible, "TaintNotTolerated", fmt.Sprintf("%s room, but the taint %s, which it does not tolerate", count(taints[t], "more node has", "more nodes have"), t)).
			cures(e.change("if they may be used, add a toleration: "+tolerationFor(t))))
	}
	if len(closed) > 0 {
		out = append(out, cause(Possible, "NodesCordoned", fmt.Sprintf("%s cordoned: %s", count(int64(len(closed)), "more node has room, but is", "more nodes have room, but are"), some(closed, mostNames))).
			cure("if the maintenance is over, open the node again", "kubectl uncordon "+closed[0]))
	}
	if list := sortedByCount(products); len(list) > 0 {
		var have []string
		for _, p := range list {
			have = append(have, fmt.Sprintf("%s (%s)", p, count(products[p], "node", "nodes")))
		}
		out = append(out, cause(Possible, "OtherProductsFree", "its selection leaves out nodes with room: "+some(have, mostNames)).
			cures(e.change("allow these products too in nodeSelector or node affinity")))
	}
	return out
}
