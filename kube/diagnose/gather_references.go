package diagnose

import (
	"context"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// mostReferences bounds how many Secrets and ConfigMaps are looked for.
const mostReferences = 20

// readReferences looks whether the Secrets, ConfigMaps and service accounts are there that waiting pods need. Only their
// names are asked for, never what is in them.
func (g *gatherer) readReferences(ctx context.Context, list []*Evidence) {
	type need struct {
		e   *Evidence
		ref string
	}
	var needs []need
	for _, e := range list {
		s := e.spec()
		if s == nil || e.Work.Final() {
			continue
		}
		refs := references(s)
		for _, p := range s.ImagePullSecrets {
			refs = append(refs, "secret/"+p.Name)
		}
		if len(e.Pods) == 0 && s.ServiceAccountName != "" {
			refs = append(refs, "serviceaccount/"+s.ServiceAccountName)
		}
		for _, ref := range refs {
			needs = append(needs, need{e, ref})
		}
	}
	var mu sync.Mutex
	var tasks sync.WaitGroup
	for _, n := range needs[:min(len(needs), mostReferences)] {
		tasks.Go(func() {
			kind, name, _ := strings.Cut(n.ref, "/")
			gvr := schema.GroupVersionResource{Version: "v1", Resource: kind + "s"}
			_, err := g.c.Meta.Resource(gvr).Namespace(n.e.Work.Namespace).Get(ctx, name, metav1.GetOptions{})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				n.e.Exists[n.ref] = true
			case apierrors.IsNotFound(err):
				n.e.Exists[n.ref] = false
			default:
				g.minor(n.e, "whether "+n.ref+" exists: "+g.said(err))
			}
		})
	}
	tasks.Wait()
}
