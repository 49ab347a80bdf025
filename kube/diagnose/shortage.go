package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// shortage is why no node takes the pod: the first demand that leaves no node over, from what can never be met to
// what only waiting meets. It is false when a node would take it, or when that cannot be known.
func (e *Evidence) shortage(a *arithmetic) (Cause, string, bool) {
	if len(a.nodes) == 0 {
		return cause(Certain, "NoNodes", "the cluster has no nodes").cure("add a node, or wait for the autoscaler", "kubectl get nodes"), "", true
	}
	var blocked []string
	for _, step := range []struct {
		kinds []string
		cause func(*arithmetic) Cause
	}{
		{[]string{BlockLacks}, e.noResource},
		{[]string{BlockSelector}, e.noMatch},
		{[]string{BlockSmall}, e.tooLarge},
		{[]string{BlockTaint}, e.tainted},
		{[]string{BlockNotReady, BlockCordoned}, e.closed},
		{[]string{BlockVolume}, e.elsewhere},
		{[]string{BlockTaken}, e.taken},
	} {
		if blocked = append(blocked, step.kinds...); len(a.pool(blocked...)) == 0 {
			return step.cause(a).because(a.lines()...), step.kinds[0], true
		}
	}
	return Cause{}, "", false
}

// notAllowed keep a node out of what the pod may use, however much room there is.
var notAllowed = []string{BlockLacks, BlockSelector, BlockTaint, BlockNotReady, BlockCordoned, BlockVolume}

// asks is what the pod asks for on one node, "8 GPUs".
func (a *arithmetic) asks() string {
	if a.gpu != "" {
		return quantity(a.gpu, a.want[a.gpu])
	}
	return quantity(corev1.ResourceCPU, a.want[corev1.ResourceCPU]) + " and " + quantity(corev1.ResourceMemory, a.want[corev1.ResourceMemory])
}

// everywhere are the resources that every node of a pool is blocked by in this way.
func everywhere(fits []*NodeFit, kind string) []string {
	var out []string
	for i, f := range fits {
		var here []string
		for _, b := range f.Blockers {
			if b.Kind == kind {
				here = append(here, b.resource)
			}
		}
		if i == 0 {
			out = here
			continue
		}
		out = slices.DeleteFunc(out, func(r string) bool { return !slices.Contains(here, r) })
	}
	return out
}

func (e *Evidence) noResource(a *arithmetic) Cause {
	lacking := everywhere(a.pool(), BlockLacks)
	if len(lacking) == 0 {
		return cause(Certain, "NoNodeHasAll", "no node has all kinds of resources that it asks for")
	}
	name := lacking[0]
	c := cause(Certain, "NoSuchResource", "no node of this cluster offers "+name)
	if name == string(a.gpu) {
		c = cause(Certain, "NoAccelerator", "no node of this cluster offers "+name).because(offered(a.nodes)...)
		for _, n := range a.nodes {
			if product(n) != "" || n.Labels["nvidia.com/gpu.present"] == "true" {
				c = c.because("node " + n.Name + " is labelled as one with accelerators and offers none: its device plugin may not run")
				c = c.cure("look whether the device plugin runs there", "kubectl get pods -A -o wide --field-selector spec.nodeName="+n.Name)
				break
			}
		}
	}
	return c.cures(e.change("ask for a resource that the cluster has instead of " + name))
}

// offered says which accelerators there are.
func offered(nodes []*corev1.Node) []string {
	sum := amounts{}
	for _, n := range nodes {
		for name, v := range amountsOf(n.Status.Allocatable) {
			if v > 0 && (amounts{name: v}).accelerator() != "" {
				sum[name] += v
			}
		}
	}
	if len(sum) == 0 {
		return []string{"the cluster has no accelerators at all"}
	}
	var out []string
	for name, n := range sum {
		out = append(out, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(out)
	return []string{"the cluster offers " + strings.Join(out, ", ")}
}

// noMatch names the demand on labels that no node meets, or says that only together they match none.
func (e *Evidence) noMatch(a *arithmetic) Cause {
	fits := a.pool(BlockLacks)
	for _, key := range productLabels {
		if want, ok := demanded(a.spec, key); ok && !slices.ContainsFunc(fits, func(f *NodeFit) bool { return slices.Contains(want, a.label(f.Node, key)) }) {
			c := cause(Certain, "ProductNotFound", fmt.Sprintf("no node has %s=%s", key, strings.Join(want, " or "))).because(a.products(key)...)
			return c.cures(e.change("set " + key + " to a product that the cluster has, or drop it"))
		}
	}
	c := cause(Certain, "SelectorMatchesNone", "no node with what it asks for matches its nodeSelector and node affinity")
	for k, v := range a.spec.NodeSelector {
		var have int64
		for _, n := range a.nodes {
			have += int64(btoi(n.Labels[k] == v))
		}
		c = c.because(fmt.Sprintf("nodeSelector %s=%s: %s", k, v, count(have, "node has it", "nodes have it")))
	}
	if s := requiredAffinity(a.spec); s != nil {
		var have int64
		for _, n := range a.nodes {
			ok, err := nodeaffinity.NewLazyErrorNodeSelector(s).Match(n)
			have += int64(btoi(ok && err == nil))
		}
		c = c.because(fmt.Sprintf("node affinity %s: %s", affinityText(s), count(have, "node matches", "nodes match")))
	}
	slices.Sort(c.Evidence)
	return c.cures(e.change("change nodeSelector or node affinity to labels that nodes have")).cure("see the labels", "kubectl get nodes --show-labels")
}

// demanded are the values that the pod wants a label to have.
func demanded(spec *corev1.PodSpec, key string) ([]string, bool) {
	if v, ok := spec.NodeSelector[key]; ok {
		return []string{v}, true
	}
	s := requiredAffinity(spec)
	if s == nil {
		return nil, false
	}
	var out []string
	for _, t := range s.NodeSelectorTerms {
		in := slices.IndexFunc(t.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == key && r.Operator == corev1.NodeSelectorOpIn
		})
		if in < 0 {
			return nil, false // this term does without
		}
		out = append(out, t.MatchExpressions[in].Values...)
	}
	return out, len(out) > 0
}

func (a *arithmetic) label(node, key string) string {
	for _, n := range a.nodes {
		if n.Name == node {
			return n.Labels[key]
		}
	}
	return ""
}

// products are the values that a label has on nodes, with their number.
func (a *arithmetic) products(key string) []string {
	have := map[string]int64{}
	for _, n := range a.nodes {
		if v := n.Labels[key]; v != "" {
			have[v]++
		}
	}
	if len(have) == 0 {
		return []string{"no node has the label " + key}
	}
	var out []string
	for v, n := range have {
		out = append(out, fmt.Sprintf("%s (%s)", v, count(n, "node", "nodes")))
	}
	slices.Sort(out)
	return []string{"the cluster has " + some(out, 12)}
}

func (e *Evidence) tooLarge(a *arithmetic) Cause {
	fits := a.pool(BlockLacks, BlockSelector)
	small := everywhere(fits, BlockSmall)
	if len(small) == 0 {
		return cause(Certain, "TooLargeForNodes", "no node is large enough for all that it asks for at once ("+a.asks()+")").cures(e.change("ask for less on one node"))
	}
	name := corev1.ResourceName(small[0])
	var largest int64
	for _, n := range a.nodes {
		if slices.ContainsFunc(fits, func(f *NodeFit) bool { return f.Node == n.Name }) {
			largest = max(largest, amount(name, n.Status.Allocatable[name]))
		}
	}
	where := "no node in this cluster"
	if len(fits) < len(a.pool(BlockLacks)) {
		where = "no node that its selector matches"
	}
	c := cause(Certain, "TooLargeForNodes", fmt.Sprintf("it asks for %s on one node, and %s has more than %s", quantity(name, a.want[name]), where, quantity(name, largest)))
	if name == a.gpu {
		return c.cures(e.change(fmt.Sprintf("ask for at most %s a pod, and spread the training over more pods (replicas)", quantity(name, largest))))
	}
	return c.cures(e.change("ask for at most " + quantity(name, largest)))
}

func (e *Evidence) tainted(a *arithmetic) Cause {
	taints, on := map[string]int64{}, map[string]string{}
	for _, f := range a.pool(BlockLacks, BlockSelector, BlockSmall) {
		for _, b := range f.Blockers {
			if b.Kind == BlockTaint {
				taints[b.taint]++
				on[b.taint] = f.Node
			}
		}
	}
	list := sortedByCount(taints)
	c := cause(Certain, "TaintNotTolerated", fmt.Sprintf("every node that could take it has a taint that it does not tolerate: %s", some(list, 3)))
	c = c.cures(e.change("add a toleration: " + tolerationFor(list[0])))
	return c.cure("or take the taint away, if the nodes are meant for all", "kubectl taint nodes "+on[list[0]]+" "+list[0]+"-")
}

func sortedByCount(m map[string]int64) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(x, y string) int { return cmp.Or(cmp.Compare(m[y], m[x]), cmp.Compare(x, y)) })
	return out
}

// tolerationFor writes the toleration of a taint as it stands in a manifest.
func tolerationFor(taint string) string {
	rest, effect, _ := strings.Cut(taint, ":")
	key, value, has := strings.Cut(rest, "=")
	if !has {
		return fmt.Sprintf("{key: %s, operator: Exists, effect: %s}", key, effect)
	}
	return fmt.Sprintf("{key: %s, value: %q, effect: %s}", key, value, effect)
}

// closed: every node that could take it is cordoned or not ready.
func (e *Evidence) closed(a *arithmetic) Cause {
	fits := a.pool(BlockLacks, BlockSelector, BlockSmall, BlockTaint)
	var cordoned, down []*NodeFit
	for _, f := range fits {
		if f.has(BlockNotReady) {
			down = append(down, f)
		} else {
			cordoned = append(cordoned, f)
		}
	}
	if len(cordoned) == 0 {
		c := cause(Certain, "NodesNotReady", fmt.Sprintf("every node that could take it is not ready or under pressure: %s", some(names(down), mostNames)))
		return c.cure("see what is wrong with the node", "kubectl describe node "+down[0].Node)
	}
	c := cause(Certain, "NodesCordoned", fmt.Sprintf("every node that could take it is cordoned: %s", some(names(cordoned), mostNames)))
	if len(down) > 0 {
		c.Title = fmt.Sprintf("every node that could take it is cordoned (%s) or not ready (%s)", some(names(cordoned), mostNames), some(names(down), mostNames))
	}
	return c.cure("if the maintenance is over, open the node again", "kubectl uncordon "+cordoned[0].Node)
}

func (e *Evidence) elsewhere(*arithmetic) Cause {
	c := cause(Certain, "VolumeElsewhere", "its volume can be used only from nodes that do not take the pod")
	return c.cure("free room on the volume's nodes, or copy the data to a volume elsewhere", "kubectl get pv")
}
