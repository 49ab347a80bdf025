package fleet

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// served is what a server has: the versions of each group in its order of preference, and the resource of each kind.
type served struct {
	versions  map[string][]string
	resources map[schema.GroupVersionKind]apiResource
}

type apiResource struct {
	name       string
	namespaced bool
}

// discover asks for all groups at once.
func discover(ctx context.Context, c *client.Client) (served, error) {
	out := served{versions: map[string][]string{}, resources: map[schema.GroupVersionKind]apiResource{}}
	groups, lists, err := discovery.ToDiscoveryInterfaceWithContext(c.Kube.Discovery()).ServerGroupsAndResourcesWithContext(ctx)
	if len(groups) == 0 && err != nil { // a group whose own server is away leaves the others
		return out, fmt.Errorf("find out which kinds the cluster has: %w", err)
	}
	for _, g := range groups {
		// The preferred version comes first.
		out.versions[g.Name] = append(out.versions[g.Name], g.PreferredVersion.Version)
		for _, v := range g.Versions {
			if v.Version != g.PreferredVersion.Version {
				out.versions[g.Name] = append(out.versions[g.Name], v.Version)
			}
		}
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			id := gv.WithKind(r.Kind)
			if _, ok := out.resources[id]; !ok { // subresources follow
				out.resources[id] = apiResource{r.Name, r.Namespaced}
			}
		}
	}
	return out, nil
}

// find is where objects of a kind of the table are listed; false when the server has none.
func (s served) find(k *kind) (schema.GroupVersionResource, bool) {
	for _, v := range s.versions[k.group] {
		gvk := schema.GroupVersionKind{Group: k.group, Version: v, Kind: k.kind}
		if r, ok := s.resources[gvk]; ok && k.knows(v) {
			return gvk.GroupVersion().WithResource(r.name), true
		}
	}
	return schema.GroupVersionResource{}, false
}

// owner is where objects of an owner's kind are listed.
func (s served) owner(r Ref) (schema.GroupVersionResource, apiResource, bool) {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return schema.GroupVersionResource{}, apiResource{}, false
	}
	// The version that an owner reference was written with may be gone.
	for _, v := range append([]string{gv.Version}, s.versions[gv.Group]...) {
		gvk := schema.GroupVersionKind{Group: gv.Group, Version: v, Kind: r.Kind}
		if found, ok := s.resources[gvk]; ok {
			return gvk.GroupVersion().WithResource(found.name), found, true
		}
	}
	return schema.GroupVersionResource{}, apiResource{}, false
}
