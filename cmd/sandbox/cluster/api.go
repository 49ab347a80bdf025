package cluster

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// api is the sandbox's own use of its API server: it applies the embedded manifests and waits.
type api struct {
	dynamic.Interface
}

func connect(d state.Dir) (*api, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the sandbox: %w", err)
	}
	return &api{client}, nil
}

// resource names the collection of a kind that a manifest uses.
func resource(kind string) (schema.GroupVersionResource, error) {
	known := map[string]schema.GroupVersionResource{
		"CustomResourceDefinition":       {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		"MutatingWebhookConfiguration":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
		"ValidatingWebhookConfiguration": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
		"ClusterRole":                    {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
		"ClusterRoleBinding":             {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
		"Namespace":                      {Version: "v1", Resource: "namespaces"},
		"Node":                           {Version: "v1", Resource: "nodes"},
		"PersistentVolume":               {Version: "v1", Resource: "persistentvolumes"},
		"Pod":                            {Version: "v1", Resource: "pods"},
		"Service":                        {Version: "v1", Resource: "services"},
		"ServiceAccount":                 {Version: "v1", Resource: "serviceaccounts"},
		"StorageClass":                   {Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"},
	}
	gvr, ok := known[kind]
	if !ok {
		return gvr, fmt.Errorf("manifest of unknown kind %q", kind)
	}
	return gvr, nil
}

func (a *api) of(kind, namespace string) (dynamic.ResourceInterface, error) {
	gvr, err := resource(kind)
	if err != nil {
		return nil, err
	}
	return a.Resource(gvr).Namespace(namespace), nil
}

// apply makes the objects of one embedded file so, whatever they are now.
func (a *api) apply(ctx context.Context, manifest string, d state.Dir, c state.Config) error {
	data, err := render(manifest, d, c)
	if err != nil {
		return err
	}
	objects, err := decode(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", manifest, err)
	}
	return a.applyAll(ctx, objects)
}

func (a *api) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, obj := range objects {
		if err := a.applyOne(ctx, obj); err != nil {
			return fmt.Errorf("apply %s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
	}
	return nil
}

func (a *api) applyOne(ctx context.Context, obj *unstructured.Unstructured) error {
	client, err := a.of(obj.GetKind(), obj.GetNamespace())
	if err != nil {
		return err
	}
	_, err = client.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "sandbox", Force: true})
	if err != nil || obj.GetKind() != "Node" {
		return err
	}
	// The server keeps the status of an object only through its subresource.
	status := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": obj.GetName()}, "status": obj.Object["status"],
	}}
	_, err = client.ApplyStatus(ctx, obj.GetName(), status, metav1.ApplyOptions{FieldManager: "sandbox", Force: true})
	return err
}

// simulatedNodes names the GPU nodes that kwok plays.
func (a *api) simulatedNodes(ctx context.Context) ([]string, error) {
	client, err := a.of("Node", "")
	if err != nil {
		return nil, err
	}
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: "type=kwok,node-role.kubernetes.io/gpu"})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	names := make([]string, 0, len(list.Items))
	for _, n := range list.Items {
		names = append(names, n.GetName())
	}
	return names, nil
}

// syncNodes applies the simulated nodes and removes the ones that are too many.
func (a *api) syncNodes(ctx context.Context, d state.Dir, c state.Config) error {
	if err := a.apply(ctx, "nodes.yaml", d, c); err != nil {
		return err
	}
	names, err := a.simulatedNodes(ctx)
	if err != nil {
		return err
	}
	client, err := a.of("Node", "")
	if err != nil {
		return err
	}
	for _, name := range names {
		var i int
		if _, err := fmt.Sscanf(name, "gpu-%d", &i); err != nil || i < c.GPUNodes {
			continue
		}
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove node %s: %w", name, err)
		}
	}
	return nil
}

// notReady is the annotation of a simulated node that shall not be ready; its value is the kubelet's message.
const notReady = "sandbox.kubectl-ml.dev/not-ready"

// waitReady waits until every node that shall be is Ready and pods can be made in the default namespace.
func (a *api) waitReady(ctx context.Context) error {
	return a.wait(ctx, "the nodes to be ready", func(ctx context.Context) (bool, error) {
		accounts, err := a.of("ServiceAccount", "default")
		if err != nil {
			return false, err
		}
		if _, err := accounts.Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return false, err
		}
		nodes, err := a.of("Node", "")
		if err != nil {
			return false, err
		}
		list, err := nodes.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for i := range list.Items {
			_, broken := list.Items[i].GetAnnotations()[notReady]
			if !broken && !condition(&list.Items[i], "Ready") {
				return false, fmt.Errorf("node %s is not ready", list.Items[i].GetName())
			}
		}
		return true, nil
	})
}

func (a *api) wait(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		if !proc.Sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("wait for %s: %w (last: %w)", what, ctx.Err(), err)
		}
	}
}

// condition reports whether a condition of an object is True.
func condition(obj *unstructured.Unstructured, kind string) bool {
	list, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}

// patch changes an object with a merge patch.
func (a *api) patch(ctx context.Context, kind, name, patch string, subresources ...string) error {
	client, err := a.of(kind, "")
	if err != nil {
		return err
	}
	if _, err := client.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "sandbox"}, subresources...); err != nil {
		return fmt.Errorf("change %s %s: %w", kind, name, err)
	}
	return nil
}
