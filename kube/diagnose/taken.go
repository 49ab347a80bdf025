package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// taken: the nodes that it may use are large enough and too full.
func (e *Evidence) taken(a *arithmetic) Cause {
	fits := a.pool(append(slices.Clone(notAllowed), BlockSmall)...)
	short := everywhere(fits, BlockTaken)
	switch {
	case a.gpu != "" && slices.Contains(short, string(a.gpu)):
		return e.gpusTaken(a, fits)
	case len(short) > 0:
		return e.resourceTaken(a, corev1.ResourceName(short[0]), fits)
	}
	// Each node lacks something else: those with the accelerators free tell more.
	roomy := slices.DeleteFunc(slices.Clone(fits), func(f *NodeFit) bool { return a.gpu != "" && f.Free < a.want[a.gpu] })
	if short := everywhere(roomy, BlockTaken); len(roomy) > 0 && len(short) > 0 {
		return e.resourceTaken(a, corev1.ResourceName(short[0]), roomy)
	}
	return cause(Certain, "InsufficientResource", "each node that it may use has too little of something").cures(e.change("ask for less"))
}

// gpusTaken tells accelerators that are all in use from those that are free in too small pieces.
func (e *Evidence) gpusTaken(a *arithmetic, fits []*NodeFit) Cause {
	want := a.want[a.gpu]
	var free, total, most int64
	for _, f := range fits {
		free, total, most = free+f.Free, total+f.Total, max(most, f.Free)
	}
	one, many := unit(string(a.gpu))
	var c Cause
	if free >= want {
		c = cause(Certain, "Fragmented", fmt.Sprintf("%s free in all, at most %s on one node: it asks for %d on one", count(free, one+" is", many+" are"), fmt.Sprint(most), want))
		c = c.because(spread(fits, want))
	} else {
		c = cause(Certain, "AcceleratorsTaken", fmt.Sprintf("%s on the %s that it may use; it asks for %d", freeOf(free, total, one, many), count(int64(len(fits)), "node", "nodes"), want))
	}
	c = c.because(holderLines(e.Now, fits)...)
	c = c.cure("wait: it starts by itself when "+quantity(a.gpu, want)+" are free on one node; see who holds them", "kubectl ml top jobs -A")
	c = c.cures(e.freeing(a, fits)...)
	if most > 0 {
		c = c.cures(e.change(fmt.Sprintf("ask for at most %s a pod, which would start now", quantity(a.gpu, most))))
	}
	return c
}

// freeOf is "none of 32 GPUs is free", "only 1 of 32 GPUs is free".
func freeOf(free, total int64, one, many string) string {
	of := "of " + count(total, one, many)
	switch free {
	case 0:
		return "none " + of + " is free"
	case 1:
		return "only 1 " + of + " is free"
	}
	return fmt.Sprintf("only %d %s are free", free, of)
}

// spread says how the free accelerators lie: "3 nodes have 2 free, 1 node has 1 free; you ask for 4 on one".
func spread(fits []*NodeFit, want int64) string {
	by := map[int64]int64{}
	for _, f := range fits {
		if f.Free > 0 {
			by[f.Free]++
		}
	}
	var frees []int64
	for n := range by {
		frees = append(frees, n)
	}
	slices.SortFunc(frees, func(x, y int64) int { return cmp.Compare(y, x) })
	var parts []string
	for _, n := range frees {
		parts = append(parts, fmt.Sprintf("%s %d free", count(by[n], "node has", "nodes have"), n))
	}
	return fmt.Sprintf("%s; you ask for %d on one", strings.Join(parts, ", "), want)
}

const (
	mostCandidates = 3
	mostHolders    = 3
)

// holderLines say who holds the best candidates.
func holderLines(now time.Time, fits []*NodeFit) []string {
	best := slices.Clone(fits)
	slices.SortStableFunc(best, func(x, y *NodeFit) int { return cmp.Compare(y.Free, x.Free) })
	var out []string
	for _, f := range best[:min(len(best), mostCandidates)] {
		var who []string
		for _, h := range f.Holders[:min(len(f.Holders), mostHolders)] {
			text := fmt.Sprintf("%s in %s holds %d for %s", h.Name, h.Namespace, h.GPUs, age(now.Sub(h.Since)))
			if h.Busy != nil {
				text += fmt.Sprintf(" (%.0f%% busy)", *h.Busy)
			}
			who = append(who, text)
		}
		if rest := len(f.Holders) - mostHolders; rest > 0 {
			who = append(who, fmt.Sprintf("and %d more", rest))
		}
		if len(who) > 0 {
			out = append(out, fmt.Sprintf("%s (%d of %d free): %s", f.Node, f.Free, f.Total, strings.Join(who, ", ")))
		}
	}
	return out
}

// Somebody who holds accelerators and hardly uses them for so long could be asked for them.
const (
	idleBelow = 5.0 // percent
	idleAfter = 30 * time.Minute
)

// freeing are the ways to get accelerators back: idle holders of anybody, and one's own work that could wait.
func (e *Evidence) freeing(a *arithmetic, fits []*NodeFit) []Remedy {
	var out []Remedy
	seen := map[string]bool{}
	for _, f := range fits {
		for _, h := range f.Holders {
			key := h.Namespace + "/" + h.Name
			idle := h.Busy != nil && *h.Busy < idleBelow && e.Now.Sub(h.Since) > idleAfter
			mine := h.Namespace == e.Work.Namespace
			if seen[key] || f.Free+h.GPUs < a.want[a.gpu] || !idle && !mine || len(out) == 2 || h.Name == e.Work.KindName() {
				continue
			}
			seen[key] = true
			text := fmt.Sprintf("%s holds %d on %s", h.Name, h.GPUs, f.Node)
			if idle {
				text += fmt.Sprintf(" and is %.0f%% busy", *h.Busy)
			}
			r := Remedy{Text: text + ": ask who runs it in namespace " + h.Namespace}
			if mine {
				r = Remedy{text + ": if it can wait, stop it for now", stopCommand(h.Name)}
			}
			out = append(out, r)
		}
	}
	return out
}

// shortCodes name what else may run out.
var shortCodes = map[corev1.ResourceName]string{
	corev1.ResourceCPU: "InsufficientCPU", corev1.ResourceMemory: "InsufficientMemory", corev1.ResourcePods: "TooManyPods",
	corev1.ResourceEphemeralStorage: "InsufficientStorage",
}

// resourceTaken: not the accelerators are short but something beside them.
func (e *Evidence) resourceTaken(a *arithmetic, name corev1.ResourceName, fits []*NodeFit) Cause {
	code, ok := shortCodes[name]
	if !ok {
		code = "InsufficientResource"
	}
	if name == corev1.ResourcePods {
		return cause(Certain, code, fmt.Sprintf("the %s that it may use have as many pods as they may", count(int64(len(fits)), "node", "nodes"))).
			cure("wait for pods to end, or add nodes", "kubectl get pods -A -o wide --field-selector spec.nodeName="+fits[0].Node)
	}
	var most int64
	for _, f := range fits {
		most = max(most, e.free(f.Node, name))
	}
	title := fmt.Sprintf("it asks for %s, and none of the %s that it may use has more than %s free", quantity(name, a.want[name]), count(int64(len(fits)), "node", "nodes"), quantity(name, most))
	if a.gpu != "" && !slices.ContainsFunc(fits, func(f *NodeFit) bool { return f.Free < a.want[a.gpu] }) {
		title = fmt.Sprintf("the %s with %s free %s only %s free, and it asks for %s", count(int64(len(fits)), "node", "nodes"), quantity(a.gpu, a.want[a.gpu]), map[bool]string{true: "has", false: "have"}[len(fits) == 1], quantity(name, most), quantity(name, a.want[name]))
	}
	c := cause(Certain, code, title).because(e.injected(name))
	if most > 0 {
		c = c.cures(e.change("ask for at most " + quantity(name, most)))
	}
	return c.cure("or wait until others have ended there", "kubectl describe node "+fits[0].Node)
}

// free is what is left of a resource on a node.
func (e *Evidence) free(node string, name corev1.ResourceName) int64 {
	for _, n := range e.Cluster.Nodes {
		if n.Name != node {
			continue
		}
		return max(amount(name, n.Status.Allocatable[name])-e.Cluster.on(node).requests[name], 0)
	}
	return 0
}

// stopCommand takes the pods of a controller away and keeps it, where its kind can do that.
func stopCommand(name string) string {
	kind, _, _ := strings.Cut(name, "/")
	switch kind {
	case "deployment", "statefulset", "replicaset":
		return "kubectl ml scale " + name + " --replicas 0"
	case "pod":
		return "kubectl ml cancel " + name
	}
	return "kubectl ml suspend " + name
}
