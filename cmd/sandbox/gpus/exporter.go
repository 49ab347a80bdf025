package gpus

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// Exporter stands for the metric exporters of all simulated nodes. It watches nodes and bound pods, and
// keeps those with devices only.
type Exporter struct {
	now   func() time.Time
	mu    sync.Mutex
	nodes map[string]*node
	// pods by node and UID.
	pods map[string]map[string]*pod
}

// New makes an Exporter that knows of nothing until it runs.
func New(now func() time.Time) *Exporter {
	return &Exporter{now: now, nodes: map[string]*node{}, pods: map[string]map[string]*pod{}}
}

// Run watches until ctx ends.
func (e *Exporter) Run(ctx context.Context, client dynamic.Interface) error {
	var wg sync.WaitGroup
	for _, w := range []struct {
		resource, labels, fields, kind string
		store                          store
	}{
		{"nodes", "type=kwok", "", "Node", store{e, e.setNode, e.replaceNodes}},
		{"pods", "", "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed", "Pod", store{e, e.setPod, e.replacePods}},
	} {
		list := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: w.resource})
		selected := func(o metav1.ListOptions) metav1.ListOptions {
			o.LabelSelector, o.FieldSelector = w.labels, w.fields
			return o
		}
		source := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return list.List(ctx, selected(o))
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return list.Watch(ctx, selected(o))
			},
		}
		kind := &unstructured.Unstructured{}
		kind.SetAPIVersion("v1")
		kind.SetKind(w.kind)
		r := cache.NewReflectorWithOptions(source, kind, w.store, cache.ReflectorOptions{Name: "gpus: " + w.resource})
		wg.Go(func() { r.RunWithContext(ctx) })
	}
	wg.Wait()
	return nil
}

// ServeHTTP serves the metrics of the node that the path names.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, code := e.scrape(r.PathValue("node"))
	if code != http.StatusOK {
		http.Error(w, text, code)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, text)
}

func (e *Exporter) scrape(name string) (text string, code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[name]
	switch {
	case n == nil:
		return "no simulated node of that name has devices", http.StatusNotFound
	case !n.ready:
		return "the node is not ready", http.StatusServiceUnavailable
	}
	n.assign(slices.Collect(maps.Values(e.pods[name])))
	return n.text(e.now()), http.StatusOK
}

func (e *Exporter) setNode(obj *unstructured.Unstructured, there bool) {
	n, name := nodeOf(obj), obj.GetName()
	if n == nil || !there {
		delete(e.nodes, name)
		return
	}
	if old := e.nodes[name]; old != nil {
		copy(n.holders, old.holders)
	}
	e.nodes[name] = n
}

func (e *Exporter) setPod(obj *unstructured.Unstructured, there bool) {
	on, _, _ := unstructured.NestedString(obj.Object, "spec", "nodeName")
	p := podOf(obj)
	switch {
	case p == nil || !there:
		delete(e.pods[on], string(obj.GetUID()))
	case e.pods[on] == nil:
		e.pods[on] = map[string]*pod{p.uid: p}
	default:
		e.pods[on][p.uid] = p
	}
}

func (e *Exporter) replaceNodes(list []*unstructured.Unstructured) {
	old := e.nodes
	e.nodes = map[string]*node{}
	for _, obj := range list {
		if n := old[obj.GetName()]; n != nil {
			e.nodes[n.name] = n
		}
		e.setNode(obj, true)
	}
}

func (e *Exporter) replacePods(list []*unstructured.Unstructured) {
	clear(e.pods)
	for _, obj := range list {
		e.setPod(obj, true)
	}
}

// store takes in what a watch tells and keeps the little that matters.
type store struct {
	e       *Exporter
	set     func(obj *unstructured.Unstructured, there bool)
	replace func([]*unstructured.Unstructured)
}

func (s store) take(obj any, there bool) error {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch of %T", obj)
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.set(u, there)
	return nil
}

// Add is part of cache.ReflectorStore, as are the others.
func (s store) Add(obj any) error { return s.take(obj, true) }

// Update takes in a change.
func (s store) Update(obj any) error { return s.take(obj, true) }

// Delete takes in that an object is gone, or is not selected any more.
func (s store) Delete(obj any) error { return s.take(obj, false) }

// Replace takes in all there are.
func (s store) Replace(objs []any, _ string) error {
	list := make([]*unstructured.Unstructured, 0, len(objs))
	for _, obj := range objs {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			list = append(list, u)
		}
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.replace(list)
	return nil
}

// Resync has nothing to do.
func (s store) Resync() error { return nil }
