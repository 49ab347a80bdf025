// Package gpus is the room for the accelerators of simulated nodes: which pod has which, how busy they
// are, and the metrics that the vendors' exporters would tell of them.
package gpus

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Annotations of a pod that say what its devices do.
const (
	UtilAnnotation = "sandbox.kubectl-ml.dev/gpu-util" // percent; else they are busy as those of a training are
	XIDAnnotation  = "sandbox.kubectl-ml.dev/xid"      // the driver error that they report
)

// kind is what the devices of a vendor are called.
type kind string

const (
	nvidia kind = "nvidia.com/gpu"
	amd    kind = "amd.com/gpu"
)

// node is a simulated node.
type node struct {
	name  string
	kind  kind
	count int
	model string // the label of feature discovery
	ready bool
	// holders has a pod, or nil, for each device.
	holders []*pod
}

// pod is one that asks for devices.
type pod struct {
	uid, namespace, name, node string
	wants                      []want
	created, started           time.Time // not started: zero
	util, xid                  string
}

// want is what a container asks for.
type want struct {
	container string
	kind      kind
	count     int
}

func nodeOf(obj *unstructured.Unstructured) *node {
	for _, k := range []kind{nvidia, amd} {
		text, _, _ := unstructured.NestedString(obj.Object, "status", "capacity", string(k))
		count, err := strconv.Atoi(text)
		if err != nil || count <= 0 {
			continue
		}
		n := &node{name: obj.GetName(), kind: k, count: count, holders: make([]*pod, count)}
		n.model = cmp.Or(obj.GetLabels()["nvidia.com/gpu.product"], obj.GetLabels()["amd.com/gpu.product-name"], "unknown")
		conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
		for _, item := range conditions {
			if c, ok := item.(map[string]any); ok && c["type"] == "Ready" {
				n.ready = c["status"] == "True"
			}
		}
		return n
	}
	return nil
}

// podOf is nil for a pod that holds no devices: it asks for none, is not bound, or has ended.
func podOf(obj *unstructured.Unstructured) *pod {
	p := &pod{uid: string(obj.GetUID()), namespace: obj.GetNamespace(), name: obj.GetName(), created: obj.GetCreationTimestamp().Time}
	p.node, _, _ = unstructured.NestedString(obj.Object, "spec", "nodeName")
	phase, _, _ := unstructured.NestedString(obj.Object, "status", "phase")
	containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "containers")
	for _, item := range containers {
		c, ok := item.(map[string]any)
		if !ok {
			continue
		}
		for _, k := range []kind{nvidia, amd} {
			text, _, _ := unstructured.NestedString(c, "resources", "limits", string(k))
			if count, err := strconv.Atoi(text); err == nil && count > 0 {
				name, _ := c["name"].(string)
				p.wants = append(p.wants, want{name, k, count})
			}
		}
	}
	if p.node == "" || phase == "Succeeded" || phase == "Failed" || len(p.wants) == 0 {
		return nil
	}
	statuses, _, _ := unstructured.NestedSlice(obj.Object, "status", "containerStatuses")
	for _, item := range statuses {
		if c, ok := item.(map[string]any); ok {
			text, _, _ := unstructured.NestedString(c, "state", "running", "startedAt")
			if at, err := time.Parse(time.RFC3339, text); err == nil && (p.started.IsZero() || at.Before(p.started)) {
				p.started = at
			}
		}
	}
	annotations := obj.GetAnnotations()
	for name, value := range map[string]*string{UtilAnnotation: &p.util, XIDAnnotation: &p.xid} {
		*value = annotations[name]
		if own, ok := annotations[name+"."+annotations["batch.kubernetes.io/job-completion-index"]]; ok {
			*value = own
		}
	}
	return p
}

func (p *pod) asks(k kind) (n int) {
	for _, w := range p.wants {
		if w.kind == k {
			n += w.count
		}
	}
	return n
}

// container is the one that has the pod's i-th device.
func (p *pod) container(k kind, i int) string {
	for _, w := range p.wants {
		if w.kind != k {
			continue
		}
		if i < w.count {
			return w.container
		}
		i -= w.count
	}
	return ""
}

// assign gives the devices of a node to its pods as a device plugin does: who has some keeps them, who
// came later takes the lowest that are free.
func (n *node) assign(pods []*pod) {
	byUID := make(map[string]*pod, len(pods))
	has := make(map[string]int, len(pods))
	for _, p := range pods {
		byUID[p.uid] = p
	}
	for i, p := range n.holders {
		if p != nil {
			n.holders[i] = byUID[p.uid]
			has[p.uid]++
		}
	}
	pods = slices.Clone(pods)
	slices.SortFunc(pods, func(a, b *pod) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.uid, b.uid)) })
	for _, p := range pods {
		for i := range n.holders {
			if has[p.uid] >= p.asks(n.kind) {
				break
			}
			if n.holders[i] == nil {
				n.holders[i] = p
				has[p.uid]++
			}
		}
	}
}
