// Package fleet is the room for a mixed fleet of GPU work on simulated nodes: what runs, waits and has failed in a
// large cluster, each piece for a reason of its own that its name tells.
package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// Fleet is a fleet in one namespace of a sandbox.
type Fleet struct {
	Client    dynamic.Interface
	Namespace string
}

// Shown is a row of the fleet as it was made.
type Shown struct {
	Name, Kind, Shows string
	// Objects is how many there are of it; 0 when the sandbox cannot show it, and Missing says what it lacks.
	Objects int
	Missing string
}

// need is what a sandbox must have for a row; empty for nothing.
type need string

const (
	needsAMD   need = "a node with AMD GPUs (--gpu-nodes 15 or more)"
	needsTaint need = "a reserved node (--gpu-nodes 13 or more)"

	needsCordoned need = "a cordoned node (--gpu-nodes 10 or more)"
)

// met says whether nodes have what is needed.
func (n need) met(nodes []unstructured.Unstructured) bool {
	for i := range nodes {
		_, offersAMD, _ := unstructured.NestedString(nodes[i].Object, "status", "allocatable", "amd.com/gpu")
		if n == needsAMD && offersAMD || n == needsTaint && nodes[i].GetName() == tainted || n == needsCordoned && nodes[i].GetName() == cordoned {
			return true
		}
	}
	return n == ""
}

// of is the collection of a kind that the fleet uses.
func (f Fleet) of(kind string) dynamic.ResourceInterface {
	known := map[string]schema.GroupVersionResource{
		"Deployment":            {Group: "apps", Version: "v1", Resource: "deployments"},
		"Job":                   {Group: "batch", Version: "v1", Resource: "jobs"},
		"Namespace":             {Version: "v1", Resource: "namespaces"},
		"Node":                  {Version: "v1", Resource: "nodes"},
		"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"},
		"Pod":                   {Version: "v1", Resource: "pods"},
		"PriorityClass":         {Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"},
		"ResourceQuota":         {Version: "v1", Resource: "resourcequotas"},
		"StatefulSet":           {Group: "apps", Version: "v1", Resource: "statefulsets"},
	}
	gvr := known[kind]
	switch kind {
	case "Namespace", "Node", "PriorityClass":
		return f.Client.Resource(gvr)
	}
	return f.Client.Resource(gvr).Namespace(f.Namespace)
}

// Create makes the fleet, or what is missing of it. It returns when the scheduler has seen all of it; what shall fail
// takes up to half a minute more.
func (f Fleet) Create(ctx context.Context) ([]Shown, error) {
	nodes, err := f.of("Node").List(ctx, metav1.ListOptions{LabelSelector: "type=kwok,node-role.kubernetes.io/gpu"})
	if err != nil {
		return nil, fmt.Errorf("list the simulated nodes: %w", err)
	}
	namespace := object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": f.Namespace, "labels": object{label: "namespace"}}}
	for _, o := range append([]object{namespace}, surroundings(f.Namespace)...) {
		if err := f.make(ctx, o); err != nil {
			return nil, err
		}
	}
	made := map[string]int{}
	for _, last := range []bool{false, true} {
		if last {
			if err := f.settle(ctx); err != nil {
				return nil, err
			}
		}
		for _, p := range pieces(f.Namespace, len(nodes.Items)) {
			if p.last != last || !p.needs.met(nodes.Items) {
				continue
			}
			if err := f.make(ctx, p.manifest()); err != nil {
				return nil, err
			}
			if p.leaves {
				if err := f.of("Pod").Delete(ctx, p.name, metav1.DeleteOptions{}); err != nil {
					return nil, fmt.Errorf("let pod %s leave: %w", p.name, err)
				}
			}
			made[p.row.name]++
		}
	}
	if err := f.settle(ctx); err != nil {
		return nil, err
	}
	var out []Shown
	for _, r := range rows() {
		s := Shown{Name: r.name, Kind: string(r.kind), Shows: r.shows, Objects: made[r.name]}
		if s.Objects == 0 {
			s.Missing = string(r.needs)
		}
		out = append(out, s)
	}
	return out, nil
}

// make creates an object; one that is there already is good. A fresh namespace has no service account for a moment, and
// takes no pod until it has.
func (f Fleet) make(ctx context.Context, o object) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("make the fleet: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		return fmt.Errorf("make the fleet: %w", err)
	}
	for {
		_, err := f.of(u.GetKind()).Create(ctx, u, metav1.CreateOptions{FieldManager: "sandbox"})
		switch {
		case err == nil || apierrors.IsAlreadyExists(err):
			return nil
		case apierrors.IsForbidden(err) && u.GetKind() == "Pod" && proc.Sleep(ctx, 200*time.Millisecond):
			continue
		}
		if apierrors.HasStatusCause(err, "NamespaceTerminating") {
			return fmt.Errorf("namespace %s is still being removed: wait for it with `sandbox fleet --remove`", f.Namespace)
		}
		return fmt.Errorf("make %s %s of the fleet: %w", u.GetKind(), u.GetName(), err)
	}
}

// patience is how long a busy machine may take for hundreds of pods.
const patience = 10 * time.Minute

// settle waits until the scheduler has judged every pod and no more appear.
func (f Fleet) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for before := -1; ; {
		list, err := f.of("Pod").List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("look at the fleet: %w", err)
		}
		open := 0
		for i := range list.Items {
			if !judged(&list.Items[i]) {
				open++
			}
		}
		if open == 0 && len(list.Items) == before {
			return nil
		}
		before = len(list.Items)
		if !proc.Sleep(ctx, time.Second) {
			return fmt.Errorf("wait until %d pods are scheduled: %w", open, ctx.Err())
		}
	}
}

// judged says whether the scheduler has looked at a pod, or need not.
func judged(pod *unstructured.Unstructured) bool {
	if node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName"); node != "" {
		return true
	}
	conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(object); ok && c["type"] == "PodScheduled" {
			return true
		}
	}
	return false
}

// release lets go of the pods that something keeps from leaving.
func (f Fleet) release(ctx context.Context) error {
	for _, p := range pieces(f.Namespace, 0) {
		if !p.leaves {
			continue
		}
		_, err := f.of("Pod").Patch(ctx, p.name, types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{FieldManager: "sandbox"})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("let pod %s go: %w", p.name, err)
		}
	}
	return nil
}

// Remove takes the fleet away and waits until it is gone. A fleet that is not there is fine.
func (f Fleet) Remove(ctx context.Context) error {
	namespaces := f.of("Namespace")
	ns, err := namespaces.Get(ctx, f.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("look for the fleet: %w", err)
	case ns.GetLabels()[label] == "":
		return fmt.Errorf("namespace %s is no fleet of this program: remove it with kubectl, if it is to go", f.Namespace)
	default:
		if err := f.release(ctx); err != nil {
			return err
		}
		if err := namespaces.Delete(ctx, f.Namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove the fleet: %w", err)
		}
	}
	err = f.of("PriorityClass").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return fmt.Errorf("remove the fleet's priority classes: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := namespaces.Get(ctx, f.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !proc.Sleep(ctx, 300*time.Millisecond) {
			return fmt.Errorf("wait until the fleet is gone: %w", ctx.Err())
		}
	}
}
