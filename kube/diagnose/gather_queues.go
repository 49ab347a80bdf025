package diagnose

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// readKueue gives works that name a queue, or wait at Kueue's gate, what Kueue says of them.
func (g *gatherer) readKueue(ctx context.Context, list []*Evidence) {
	version, installed := g.has(groupKueue, "v1beta2", "v1beta1")
	var needing []*Evidence
	for _, e := range list {
		queue := e.Work.Labels[kube.LabelQueue]
		for _, p := range e.Pods {
			queue = cmp.Or(queue, p.Labels[kube.LabelQueue])
		}
		if held := installed && e.queued() && !e.Work.Final(); queue == "" && !held {
			continue
		}
		e.Kueue = &Kueue{Queue: queue, Installed: installed, LocalUnknown: true, ClusterUnknown: true, Position: -1, PositionCluster: -1}
		needing = append(needing, e)
	}
	if len(needing) == 0 || !installed {
		return
	}
	gv := schema.GroupVersion{Group: groupKueue, Version: version}
	var workloads, locals, clusters []unstructured.Unstructured
	var workloadsErr, localsErr, clustersErr error
	read := func(resource, ns string, into *[]unstructured.Unstructured, failed *error) {
		*failed = pages(ctx, metav1.ListOptions{}, g.c.Dynamic.Resource(gv.WithResource(resource)).Namespace(ns).List, func(l *unstructured.UnstructuredList) { *into = append(*into, l.Items...) })
		g.failed("Kueue's "+resource, *failed)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { read("workloads", g.ns, &workloads, &workloadsErr) })
	tasks.Go(func() { read("localqueues", g.ns, &locals, &localsErr) })
	tasks.Go(func() { read("clusterqueues", "", &clusters, &clustersErr) })
	tasks.Wait()
	for _, e := range needing {
		k := e.Kueue
		k.WorkloadsRead, k.LocalUnknown, k.ClusterUnknown = workloadsErr == nil, localsErr != nil, clustersErr != nil
		own := e.workload(workloads)
		if own != nil {
			k.Workload = decodeWorkload(own)
			k.Queue = cmp.Or(k.Queue, k.Workload.Queue)
		}
		for i := range locals {
			if locals[i].GetNamespace() == e.Work.Namespace {
				q := decodeQueue(&locals[i])
				k.Queues = append(k.Queues, q.Name)
				if q.Name == k.Queue {
					k.Local = q
				}
			}
		}
		slices.Sort(k.Queues)
		for i := range clusters {
			if k.Local != nil && clusters[i].GetName() == k.Local.ClusterQueue {
				k.Cluster = decodeQueue(&clusters[i])
			}
		}
		if own != nil && len(list) == 1 {
			g.place(ctx, e.Work.Namespace, k)
		}
		if own != nil && k.Position < 0 {
			k.Position = position(workloads, k.Workload, e.Work.Namespace)
			k.About = k.Position >= 0
		}
	}
}

// workload is the one that stands for the work, or for one of its pods or Jobs.
func (e *Evidence) workload(list []unstructured.Unstructured) *unstructured.Unstructured {
	uids := []string{e.Work.UID}
	for _, p := range e.Pods {
		uids = append(uids, string(p.UID))
		if o := metav1.GetControllerOf(p); o != nil {
			uids = append(uids, string(o.UID))
		}
	}
	for i := range list {
		u := &list[i]
		if slices.Contains(uids, u.GetLabels()[labelJobUID]) || slices.ContainsFunc(u.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return slices.Contains(uids, string(o.UID)) }) {
			return u
		}
	}
	return nil
}

// place asks Kueue's visibility API, where it is served, for the position in the queue.
func (g *gatherer) place(ctx context.Context, ns string, k *Kueue) {
	version, served := g.has(groupVisibility, "v1beta2", "v1beta1")
	if !served || k.Queue == "" {
		return
	}
	path := fmt.Sprintf("/apis/%s/%s/namespaces/%s/localqueues/%s/pendingworkloads", groupVisibility, version, ns, k.Queue)
	text, err := g.c.Kube.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		if !apierrors.IsNotFound(err) && !apierrors.IsServiceUnavailable(err) {
			g.failed("the position in the queue", err)
		}
		return
	}
	k.readPlace(text)
}

// readPlace reads a PendingWorkloadsSummary.
func (k *Kueue) readPlace(text []byte) {
	var summary struct {
		Items []struct {
			Metadata               metav1.ObjectMeta
			PositionInLocalQueue   int
			PositionInClusterQueue int
		}
	}
	if json.Unmarshal(text, &summary) != nil {
		return
	}
	for _, item := range summary.Items {
		if item.Metadata.Name == k.Workload.Name {
			k.Position, k.PositionCluster = item.PositionInLocalQueue, item.PositionInClusterQueue
		}
	}
}

// position counts the workloads of the same LocalQueue that are before it: by priority, then by age, as Kueue orders
// them. It is -1 for one that does not wait.
func position(list []unstructured.Unstructured, own *Workload, ns string) int {
	if isTrue(own.Conditions, "QuotaReserved") || !own.Active {
		return -1
	}
	n := 0
	for i := range list {
		if list[i].GetNamespace() != ns || list[i].GetName() == own.Name {
			continue
		}
		w := decodeWorkload(&list[i])
		if w.Queue != own.Queue || !w.Active || isTrue(w.Conditions, "QuotaReserved") || isTrue(w.Conditions, "Finished") {
			continue
		}
		if w.Priority > own.Priority || w.Priority == own.Priority && w.Created.Before(own.Created) {
			n++
		}
	}
	return n
}

// decodeWorkload reads a Workload of v1beta1 or v1beta2, which have these fields alike.
func decodeWorkload(u *unstructured.Unstructured) *Workload {
	w := &Workload{Name: u.GetName(), Active: true, Created: u.GetCreationTimestamp().Time}
	w.Queue, _, _ = unstructured.NestedString(u.Object, "spec", "queueName")
	w.Priority, _, _ = unstructured.NestedInt64(u.Object, "spec", "priority")
	if active, ok, _ := unstructured.NestedBool(u.Object, "spec", "active"); ok {
		w.Active = active
	}
	w.ClusterQueue, _, _ = unstructured.NestedString(u.Object, "status", "admission", "clusterQueue")
	w.Conditions = rootConditions(u)
	checks, _, _ := unstructured.NestedSlice(u.Object, "status", "admissionChecks")
	for _, c := range objectsOf(checks) {
		w.Checks = append(w.Checks, Check{Name: str(c, "name"), State: str(c, "state"), Message: str(c, "message")})
	}
	w.RequeueCount, _, _ = unstructured.NestedInt64(u.Object, "status", "requeueState", "count")
	at, _, _ := unstructured.NestedString(u.Object, "status", "requeueState", "requeueAt")
	w.RequeueAt, _ = time.Parse(time.RFC3339, at)
	return w
}

// decodeQueue reads a LocalQueue or a ClusterQueue.
func decodeQueue(u *unstructured.Unstructured) *Queue {
	q := &Queue{Name: u.GetName(), Conditions: rootConditions(u)}
	q.ClusterQueue, _, _ = unstructured.NestedString(u.Object, "spec", "clusterQueue")
	q.Stop, _, _ = unstructured.NestedString(u.Object, "spec", "stopPolicy")
	q.Cohort, _, _ = unstructured.NestedString(u.Object, "spec", "cohortName")
	if q.Cohort == "" {
		q.Cohort, _, _ = unstructured.NestedString(u.Object, "spec", "cohort") // v1beta1
	}
	q.Pending, _, _ = unstructured.NestedInt64(u.Object, "status", "pendingWorkloads")
	q.Admitted, _, _ = unstructured.NestedInt64(u.Object, "status", "admittedWorkloads")
	used := map[string]map[string]any{}
	usage, _, _ := unstructured.NestedSlice(u.Object, "status", "flavorsReservation")
	for _, f := range objectsOf(usage) {
		for _, r := range objectsOf(f["resources"]) {
			used[str(f, "name")+"/"+str(r, "name")] = r
		}
	}
	groups, _, _ := unstructured.NestedSlice(u.Object, "spec", "resourceGroups")
	for _, group := range objectsOf(groups) {
		for _, f := range objectsOf(group["flavors"]) {
			for _, r := range objectsOf(f["resources"]) {
				flavor := Flavor{Name: str(f, "name"), Resource: str(r, "name"), Nominal: str(r, "nominalQuota"), BorrowingLimit: str(r, "borrowingLimit")}
				u := used[flavor.Name+"/"+flavor.Resource]
				flavor.Used, flavor.Borrowed = str(u, "total"), str(u, "borrowed")
				q.Flavors = append(q.Flavors, flavor)
			}
		}
	}
	return q
}

// objectsOf are the objects in a list that may hold anything.
func objectsOf(list any) []map[string]any {
	items, _ := list.([]any)
	var out []map[string]any
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// str is a text, or a number as text: quantities may be written as either.
func str(m map[string]any, key string) string {
	switch v := m[key].(type) {
	case string:
		return v
	case int64, float64:
		return fmt.Sprint(v)
	}
	return ""
}
