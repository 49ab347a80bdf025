package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Set says what Suspend did.
type Set struct {
	// Object is what was written: the work itself, or the Kueue Workload that stands for it.
	Object Ref
	// Unchanged says that it was so already.
	Unchanged bool
}

// suspendPath is the field that stops a kind without deleting it; nil when it has none.
func suspendPath(r Ref) []string {
	if group := r.group(); group == "batch" && (r.Kind == "Job" || r.Kind == "CronJob") {
		return []string{"spec", "suspend"}
	}
	for _, k := range kinds() {
		if k.group == r.group() && k.kind == r.Kind && k.suspend != "" {
			return strings.Split(k.suspend, ".")
		}
	}
	return nil
}

// Suspend suspends a piece of work, or lets it go on. A suspended Job keeps its record and loses its pods. Where Kueue
// admits the work, its Workload is deactivated instead: Kueue would undo what is written into the Job itself.
func Suspend(ctx context.Context, c *client.Client, w *Work, suspend bool, dryRun []string) (Set, error) {
	doing := "resume " + w.KindName()
	if suspend {
		doing = "suspend " + w.KindName()
	}
	if w.Final() {
		return Set{}, fmt.Errorf("%s: it has ended already (%s)", doing, w.State)
	}
	path := suspendPath(w.Ref)
	if path == nil {
		return Set{}, fmt.Errorf("%s: a %s cannot be suspended\n  give its accelerators back with: kubectl ml scale %s --replicas 0   or: kubectl ml cancel %s", doing, w.Kind, w.KindName(), w.KindName())
	}
	if w.Labels[kube.LabelQueue] != "" {
		load, err := workload(ctx, c, w)
		if err != nil {
			return Set{}, c.Explain(doing, err)
		}
		if load != nil {
			set, err := activate(ctx, c, load, !suspend, dryRun)
			return set, c.Explain(doing, err)
		}
	}
	objects, err := ResourceOf(c, w.Ref)
	if err != nil {
		return Set{}, c.Explain(doing, err)
	}
	now, err := objects.Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return Set{}, c.Explain(doing, err)
	}
	if is, _, _ := unstructured.NestedBool(now.Object, path...); is == suspend {
		return Set{Object: w.Ref, Unchanged: true}, nil
	}
	return Set{Object: w.Ref}, c.Explain(doing, patch(ctx, objects, w.Ref, path, suspend, dryRun))
}

// Cancel deletes a piece of work and, in the background, all that belongs to it.
func Cancel(ctx context.Context, c *client.Client, w *Work, dryRun []string) error {
	doing := "delete " + w.KindName()
	objects, err := ResourceOf(c, w.Ref)
	if err != nil {
		return c.Explain(doing, err)
	}
	background, uid := metav1.DeletePropagationBackground, types.UID(w.UID)
	err = objects.Delete(ctx, w.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}, DryRun: dryRun,
	})
	return c.Explain(doing, err)
}

// Scale sets how many pods a piece of work has: a Job's parallelism (and the completions of an Indexed Job, which is elastic when
// the two are equal), for others what their scale subresource sets. It returns the number before.
func Scale(ctx context.Context, c *client.Client, w *Work, replicas int32, dryRun []string) (before int64, err error) {
	doing := "scale " + w.KindName()
	if w.Final() {
		return 0, fmt.Errorf("%s: it has ended already (%s)", doing, w.State)
	}
	objects, err := ResourceOf(c, w.Ref)
	if err != nil {
		return 0, c.Explain(doing, err)
	}
	if w.Kind == "Job" && strings.HasPrefix(w.APIVersion, "batch/") {
		before, err = scaleJob(ctx, objects, w, replicas, dryRun)
		return before, c.Explain(doing, err)
	}
	now, err := objects.Get(ctx, w.Name, metav1.GetOptions{}, "scale")
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return 0, fmt.Errorf("%s: a %s has no number of replicas to set from outside; change its manifest", doing, w.Kind)
	}
	if err != nil {
		return 0, c.Explain(doing, err)
	}
	before, _, _ = unstructured.NestedInt64(now.Object, "spec", "replicas")
	return before, c.Explain(doing, patch(ctx, objects, w.Ref, []string{"spec", "replicas"}, replicas, dryRun, "scale"))
}

func scaleJob(ctx context.Context, jobs dynamic.ResourceInterface, w *Work, replicas int32, dryRun []string) (int64, error) {
	now, err := jobs.Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	before, found, _ := unstructured.NestedInt64(now.Object, "spec", "parallelism")
	if !found {
		before = 1
	}
	spec := map[string]any{"parallelism": replicas}
	mode, _, _ := unstructured.NestedString(now.Object, "spec", "completionMode")
	if completions, ok, _ := unstructured.NestedInt64(now.Object, "spec", "completions"); mode == "Indexed" && ok && completions == before {
		if replicas == 0 {
			return before, errors.New("an elastic Job cannot have 0 replicas\n  pause it with: kubectl ml suspend " + w.KindName())
		}
		spec["completions"] = replicas
	}
	return before, patch(ctx, jobs, w.Ref, []string{"spec"}, spec, dryRun)
}

// workload is the Kueue Workload of a piece of work; nil when there is none (yet).
func workload(ctx context.Context, c *client.Client, w *Work) (*unstructured.Unstructured, error) {
	for _, version := range []string{"v1beta2", "v1beta1"} {
		gvr := schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: version, Resource: "workloads"}
		list, err := c.Dynamic.Resource(gvr).Namespace(w.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "kueue.x-k8s.io/job-uid=" + w.UID})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil || len(list.Items) == 0 {
			return nil, err
		}
		return &list.Items[0], nil
	}
	return nil, nil
}

// activate sets spec.active of a Workload, which is true unless it says otherwise.
func activate(ctx context.Context, c *client.Client, load *unstructured.Unstructured, active bool, dryRun []string) (Set, error) {
	ref := Ref{APIVersion: load.GetAPIVersion(), Kind: load.GetKind(), Namespace: load.GetNamespace(), Name: load.GetName(), UID: string(load.GetUID())}
	is, found, _ := unstructured.NestedBool(load.Object, "spec", "active")
	if (is || !found) == active {
		return Set{Object: ref, Unchanged: true}, nil
	}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return Set{}, err
	}
	objects := c.Dynamic.Resource(gv.WithResource("workloads")).Namespace(ref.Namespace)
	return Set{Object: ref}, patch(ctx, objects, ref, []string{"spec", "active"}, active, dryRun)
}

// patch sets one field of the very object that ref names: another of the same name, made meanwhile, is refused.
func patch(ctx context.Context, objects dynamic.ResourceInterface, ref Ref, path []string, value any, dryRun []string, subresource ...string) error {
	body := map[string]any{}
	if len(subresource) == 0 {
		body["metadata"] = map[string]any{"uid": ref.UID}
	}
	at := body
	for _, field := range path[:len(path)-1] {
		next := map[string]any{}
		at[field], at = next, next
	}
	at[path[len(path)-1]] = value
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, ref.Name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: kube.FieldManager, DryRun: dryRun}, subresource...)
	return err
}

// ResourceOf asks the server which resource serves a kind.
func ResourceOf(c *client.Client, ref Ref) (dynamic.ResourceInterface, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	list, err := c.Kube.Discovery().ServerResourcesForGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	for _, r := range list.APIResources {
		if r.Kind == ref.Kind && !strings.Contains(r.Name, "/") {
			return c.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(ref.Namespace), nil
		}
	}
	return nil, fmt.Errorf("the server has no kind %s in %s", ref.Kind, ref.APIVersion)
}
