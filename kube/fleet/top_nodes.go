package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// States of a node. One that is neither ready nor open to new pods is both of two, joined by a comma.
const (
	NodeReady    = "Ready"
	NodeNotReady = "NotReady"
	NodeCordoned = "Cordoned"
	// NodeDraining is cordoned with pods that are on their way out.
	NodeDraining = "Draining"
)

// NodeUsage is a node, who uses its accelerators, and what they do.
type NodeUsage struct {
	*Node
	// State is made of the states of a node.
	State string `json:"state"`
	// Held is Node.Used and Free what is left, both nil when that is not known; Broken is how many the node has and does
	// not offer.
	Held   *int64 `json:"used,omitempty"`
	Free   *int64 `json:"free,omitempty"`
	Broken int64  `json:"broken,omitempty"`
	// Works are those with accelerators there, the largest first.
	Works []Share       `json:"works,omitempty"`
	Usage metrics.Usage `json:"usage"`
	// Devices are in the order of their numbers, where an exporter tells.
	Devices []metrics.Device `json:"devices,omitempty"`
	// Pods are those that hold or await accelerators there.
	Pods []NodePod `json:"-"`
}

// Share is what one piece of work has of a node.
type Share struct {
	Ref
	GPUs int64 `json:"gpus"`
	Pods int   `json:"pods"`
}

// NodePod is a pod with accelerators on a node, and the work it belongs to.
type NodePod struct {
	*Pod
	Work *Work
}

// NodeNames are the names of the nodes with accelerators.
func NodeNames(ctx context.Context, c *client.Client) ([]string, error) {
	r := &reader{c: c}
	var names []string
	list(ctx, r, "nodes", c.Kube.CoreV1().Nodes().List, func(l *corev1.NodeList) []*Node { return each(l.Items, decodeNode) }, func(_ *parts, nodes []*Node) {
		for _, n := range nodes {
			if n.Total > 0 || n.Capacity > 0 {
				names = append(names, n.Name)
			}
		}
	})
	if len(r.problems) > 0 {
		return nil, r.problems[0].Err
	}
	return names, nil
}

// SelectNodes is a function that tells the nodes that a label selector chooses.
func SelectNodes(selector string) (func(*Node) bool, error) {
	chosen, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("label selector %q: %w", selector, err)
	}
	return func(n *Node) bool { return chosen.Matches(labels.Set(n.Labels)) }, nil
}

// NodeUsages are the nodes of a snapshot with what uses them.
func NodeUsages(s *Snapshot, devices []metrics.Device) []*NodeUsage {
	byName := make(map[string]*NodeUsage, len(s.Nodes))
	out := make([]*NodeUsage, len(s.Nodes))
	for i, n := range s.Nodes {
		u := &NodeUsage{Node: n, Broken: max(n.Capacity-n.Total, 0)}
		if free := n.Free(); free != Unknown {
			u.Held, u.Free = &n.Used, &free
		}
		out[i], byName[n.Name] = u, u
	}
	where := map[string]string{}
	for _, w := range s.Works {
		for _, p := range w.Pods {
			u := byName[p.Node]
			if u == nil || !p.holding() {
				continue
			}
			where[key(p.Namespace, p.Name)] = p.Node
			u.Pods = append(u.Pods, NodePod{p, w})
		}
	}
	for name, list := range devicesByNode(byName, where, devices) {
		byName[name].Devices = list
	}
	for _, u := range out {
		u.Works = shares(u.Pods)
		u.Usage = metrics.UsageOf(u.Devices)
		u.State = u.state()
	}
	return out
}

func (u *NodeUsage) state() string {
	leaving := func(p NodePod) bool { return p.State == job.Terminating || p.Reason == "EvictionByEvictionAPI" }
	var states []string
	if !u.Ready {
		states = append(states, NodeNotReady)
	}
	switch {
	case u.Cordoned && slices.ContainsFunc(u.Pods, leaving):
		states = append(states, NodeDraining)
	case u.Cordoned:
		states = append(states, NodeCordoned)
	}
	if len(states) == 0 {
		return NodeReady
	}
	return strings.Join(states, ",")
}

// shares adds the pods of a node up by work.
func shares(pods []NodePod) []Share {
	var out []Share
	at := map[*Work]int{}
	for _, p := range pods {
		i, ok := at[p.Work]
		if !ok {
			i = len(out)
			at[p.Work] = i
			out = append(out, Share{Ref: p.Work.Ref})
		}
		out[i].GPUs += p.GPUs
		out[i].Pods++
	}
	slices.SortStableFunc(out, func(a, b Share) int { return cmp.Or(cmp.Compare(b.GPUs, a.GPUs), byName(a.Ref, b.Ref)) })
	return out
}

// devicesByNode sorts devices by the nodes of the cluster. Prometheus may call a node otherwise than the cluster does,
// but the pod that holds a device says where it is, and with it all that the same exporter tells of.
func devicesByNode(nodes map[string]*NodeUsage, pods map[string]string, devices []metrics.Device) map[string][]metrics.Device {
	exporters := map[string]string{}
	for i := range devices {
		if d := &devices[i]; d.Instance != "" && d.Held() {
			if node := pods[key(d.Namespace, d.Pod)]; node != "" {
				exporters[d.Instance] = node
			}
		}
	}
	short := map[string]string{} // by the first label of its name: empty for several
	for name := range nodes {
		host, _, _ := strings.Cut(name, ".")
		if _, several := short[host]; several {
			name = ""
		}
		short[host] = name
	}
	out := map[string][]metrics.Device{}
	for i := range devices {
		d := &devices[i]
		node := pods[key(d.Namespace, d.Pod)]
		if node == "" {
			node = exporters[d.Instance]
		}
		if nodes[node] == nil {
			node = d.Node
		}
		if nodes[node] == nil {
			host, _, _ := strings.Cut(d.Node, ".")
			node = short[host]
		}
		if nodes[node] != nil {
			out[node] = append(out[node], *d)
		}
	}
	return out
}

// Room is where new work has room.
type Room struct {
	// Product is the model of accelerator; empty for all together.
	Product string
	// Total and Free count accelerators of nodes that take new pods, Nodes those of them with some free. Largest is how
	// many are free on one.
	Total, Free, Largest int64
	Nodes                int
	// Fits says on how many nodes a pod of each size has room, the largest size first.
	Fits []Fit
	// Shut is what is free on nodes that take no new pods, or only such as tolerate a taint.
	Shut []Shut
}

// Fit is on how many nodes a pod with so many accelerators has room.
type Fit struct {
	GPUs  int64
	Nodes int
}

// Shut is why free accelerators are out of reach: a state of nodes, or a taint as KEY=VALUE:EFFECT.
type Shut struct {
	Why   string
	Free  int64
	Nodes int
}

// Rooms tell where new work has room: all together, and by product where there are several. Nodes of which it is not
// known what is free do not count; without others there is no room to tell of.
func Rooms(nodes []*NodeUsage) []Room {
	products := map[string][]*NodeUsage{}
	var known []*NodeUsage
	for _, n := range nodes {
		if n.Free != nil {
			known = append(known, n)
			products[n.Product] = append(products[n.Product], n)
		}
	}
	if len(known) == 0 {
		return nil
	}
	out := []Room{roomOf("", known)}
	if len(products) > 1 {
		for product, list := range products {
			out = append(out, roomOf(product, list))
		}
		slices.SortFunc(out[1:], func(a, b Room) int { return cmp.Or(cmp.Compare(b.Free, a.Free), cmp.Compare(a.Product, b.Product)) })
	}
	return out
}

func roomOf(product string, nodes []*NodeUsage) Room {
	r := Room{Product: product}
	most := int64(0)
	for _, n := range nodes {
		most = max(most, n.Total)
	}
	for size := most; size > 0; size = smaller(size) {
		r.Fits = append(r.Fits, Fit{GPUs: size})
	}
	for _, n := range nodes {
		free := *n.Free
		if why := n.shut(); why != "" {
			r.shut(why, free)
			continue
		}
		r.Total += n.Total
		if free == 0 {
			continue
		}
		r.Nodes++
		r.Free += free
		r.Largest = max(r.Largest, free)
		for i := range r.Fits {
			if free >= r.Fits[i].GPUs {
				r.Fits[i].Nodes++
			}
		}
	}
	slices.SortFunc(r.Shut, func(a, b Shut) int { return cmp.Or(cmp.Compare(b.Free, a.Free), cmp.Compare(a.Why, b.Why)) })
	return r
}

// smaller is the largest power of two below n.
func smaller(n int64) int64 {
	p := int64(1)
	for p*2 < n {
		p *= 2
	}
	if p >= n {
		return 0
	}
	return p
}

// shut is why new pods do not get onto the node, or only such as tolerate its taint; empty when they do.
func (u *NodeUsage) shut() string {
	if u.State != NodeReady {
		return u.State
	}
	for _, t := range u.Taints {
		if t.KeepsAway() {
			return t.String()
		}
	}
	return ""
}

// KeepsAway says that pods with accelerators stay away because of the taint, unless they tolerate it. A taint with the
// name of a resource does not: it keeps only pods without accelerators away.
func (t Taint) KeepsAway() bool {
	return t.Effect != "PreferNoSchedule" && !job.IsAccelerator(t.Key)
}

// String is KEY=VALUE:EFFECT.
func (t Taint) String() string {
	s := t.Key
	if t.Value != "" {
		s += "=" + t.Value
	}
	return s + ":" + t.Effect
}

func (r *Room) shut(why string, free int64) {
	if free == 0 {
		return
	}
	i := slices.IndexFunc(r.Shut, func(s Shut) bool { return s.Why == why })
	if i < 0 {
		i = len(r.Shut)
		r.Shut = append(r.Shut, Shut{Why: why})
	}
	r.Shut[i].Free += free
	r.Shut[i].Nodes++
}
