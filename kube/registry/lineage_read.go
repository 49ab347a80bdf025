package registry

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

const (
	// mostAncestors bounds how many versions are read for one lineage.
	mostAncestors = 64
	// atOnce is how many requests are under way together.
	atOnce = 8
)

// Trace reads the lineage of a version: its ancestors and what made them, the versions that name it as a parent, and what
// serves it or did. What may not be read is said in its place.
func Trace(ctx context.Context, c *client.Client, v Version) (Lineage, error) {
	f := family{root: v, log: Log{Model: v.Model, Namespace: v.Namespace}}
	var err error
	if f.log.Events, f.log.Problems, err = History(ctx, c, v.Model); err != nil {
		return Lineage{}, err
	}
	f.log.Live, err = Live(ctx, c, v.Model)
	f.log.LiveKnown = err == nil
	doubts := doubtOf("what serves it now is not known", err)
	if err := f.ancestors(ctx, c); err != nil {
		return Lineage{}, err
	}
	f.children, err = childrenOf(ctx, c)
	doubts = append(doubts, doubtOf("what was made of it is not known", err)...)
	if err := f.look(ctx, c); err != nil {
		return Lineage{}, err
	}
	l := f.lineage()
	l.Doubts = append(l.Doubts, doubts...)
	return l, nil
}

func doubtOf(what string, err error) []string {
	if err == nil {
		return nil
	}
	return []string{what + ": " + firstLine(err)}
}

// ancestors reads the parents of the root, and theirs.
func (f *family) ancestors(ctx context.Context, c *client.Client) error {
	f.versions, f.missing = map[string]Version{f.root.ref(): f.root}, map[string]string{}
	for next := []Version{f.root}; len(next) > 0; {
		var more []Version
		for _, v := range next {
			for _, name := range v.Parents {
				ref, isRef := parentRef(name)
				if _, read := f.versions[name]; read || !isRef || len(f.versions) > mostAncestors {
					continue
				}
				p, err := Resolve(ctx, c, ref)
				switch {
				case ctx.Err() != nil:
					return ctx.Err()
				case isNotFound(err):
				case err != nil:
					f.missing[name] = firstLine(err)
				default:
					f.versions[name] = p
					more = append(more, p)
				}
			}
		}
		next = more
	}
	return nil
}

// look finds out which objects of the family are still there.
func (f *family) look(ctx context.Context, c *client.Client) error {
	var all []thing
	for _, v := range f.versions {
		if v.Code.Source != "" {
			all = append(all, f.sourceOf(v))
		}
		if o := v.Run; o != nil {
			all = append(all, thing{o.Kind, v.home(), o.Name}, thing{"job", v.home(), o.Job})
		}
	}
	f.seen = map[thing]sight{}
	sights := make([]sight, len(all))
	looked := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, t := range all {
		gvr, name := t.resource()
		if name == "" {
			continue
		}
		looked[i] = true
		g.Go(func() error {
			o, err := c.Meta.Resource(gvr).Namespace(t.namespace).Get(ctx, name, metav1.GetOptions{})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case apierrors.IsNotFound(err):
			case err != nil:
				sights[i].why = firstLine(c.Explain("look for "+t.kind+" "+t.name, err))
			default:
				sights[i].uid = string(o.UID)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, t := range all {
		if looked[i] {
			f.seen[t] = sights[i]
		}
	}
	return nil
}

// resource is where a thing is looked for; an empty name for what is looked for nowhere.
func (t thing) resource() (gvr schema.GroupVersionResource, name string) {
	switch {
	case t.name == "":
		return gvr, ""
	case t.kind == "run":
		return configMaps, kube.PrefixRun + t.name
	case t.kind == "source":
		return configMaps, t.name
	case t.kind == "job":
		return schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, t.name
	}
	return gvr, ""
}

// childrenOf are the versions of the namespace by the versions that they name as parents, from metadata.
func childrenOf(ctx context.Context, c *client.Client) (map[string][]VersionSummary, error) {
	list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion}))
	if err != nil {
		return nil, err
	}
	models, err := Models(ctx, c, ListOptions{})
	if err != nil {
		return nil, err
	}
	aliases := map[string][]string{}
	for _, m := range models {
		for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
			ref := Ref{Model: m.Name, Version: m.Aliases[alias]}.String()
			aliases[ref] = append(aliases[ref], alias)
		}
	}
	out := map[string][]VersionSummary{}
	for i := range list {
		v, ok := summaryOf(&list[i])
		if !ok || list[i].Name != versionName(v.Model, v.Version) {
			continue
		}
		v.Aliases = aliases[Ref{Model: v.Model, Version: v.Version}.String()]
		for _, name := range v.Parents {
			out[name] = append(out[name], v)
		}
	}
	return out, nil
}
