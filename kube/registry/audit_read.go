package registry

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// LogOptions choose whose histories are read.
type LogOptions struct {
	// Model is the only one; empty for all of the namespace, or with AllNamespaces of the cluster.
	Model         string
	AllNamespaces bool
	// Live reads beside each history what serves the model now.
	Live bool
}

// Logs reads the histories of models, in the order of their namespaces and names. The number of requests does not grow
// with that of models.
func Logs(ctx context.Context, c *client.Client, o LogOptions) ([]Log, error) {
	ns, pairs := c.Namespace, map[string]string{}
	if o.AllNamespaces {
		ns = metav1.NamespaceAll
	}
	if o.Model != "" {
		if err := CheckModel(o.Model); err != nil {
			return nil, err
		}
		pairs[kube.LabelModel] = o.Model
	}
	pairs[kube.LabelKind] = kube.KindModel
	var heads, pages []corev1.ConfigMap
	g, both := errgroup.WithContext(ctx)
	g.Go(func() (err error) { heads, err = listWhole(both, c, ns, kube.Selector(pairs)); return err })
	history := map[string]string{kube.LabelKind: kube.KindHistory}
	if o.Model != "" {
		history[kube.LabelModel] = o.Model
	}
	g.Go(func() (err error) { pages, err = listWhole(both, c, ns, kube.Selector(history)); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(heads) == 0 && o.Model != "" && !o.AllNamespaces {
		// A head without its labels is a damaged one, but there.
		cm, _, err := readHead(ctx, c, o.Model)
		switch {
		case err != nil:
			return nil, err
		case cm == nil:
			return nil, noModel(ctx, c, o.Model)
		}
		heads = append(heads, *cm)
	}
	logs := logsOf(heads, pages)
	if !o.Live {
		return logs, nil
	}
	return logs, readLive(ctx, c, ns, o.Model, logs)
}

// logsOf puts heads and pages of history together.
func logsOf(heads, pages []corev1.ConfigMap) []Log {
	byModel := map[string][]corev1.ConfigMap{}
	for _, p := range pages {
		key := p.Namespace + "/" + p.Labels[kube.LabelModel]
		byModel[key] = append(byModel[key], p)
	}
	logs := make([]Log, 0, len(heads))
	for i := range heads {
		h := decodeHead(&heads[i])
		events, problems := h.readHistory(byModel[h.Namespace+"/"+h.Model])
		logs = append(logs, Log{Model: h.Model, Namespace: h.Namespace, Events: events, Problems: append(h.Problems, problems...), Aliases: h.Aliases})
	}
	slices.SortFunc(logs, func(a, b Log) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Model, b.Model))
	})
	return logs
}

// readLive puts to each history what serves its model. Without the right to look, the histories still tell what they
// tell.
func readLive(ctx context.Context, c *client.Client, ns, model string, logs []Log) error {
	there := *c
	there.Namespace = ns
	all, err := Live(ctx, &there, model)
	if ctx.Err() != nil || err != nil {
		return ctx.Err()
	}
	for i := range logs {
		l := &logs[i]
		l.LiveKnown = true
		for _, s := range all {
			if s.Model == l.Model && s.Namespace == l.Namespace {
				l.Live = append(l.Live, s)
			}
		}
	}
	return nil
}

// listWhole lists ConfigMaps with their data, page by page; a list that took too long begins again.
func listWhole(ctx context.Context, c *client.Client, namespace, selector string) ([]corev1.ConfigMap, error) {
	var out []corev1.ConfigMap
	o := metav1.ListOptions{LabelSelector: selector, Limit: 100}
	again := false
	for {
		list, err := c.Kube.CoreV1().ConfigMaps(namespace).List(ctx, o)
		switch {
		case apierrors.IsResourceExpired(err) && !again:
			out, o.Continue, again = nil, "", true
			continue
		case err != nil:
			return nil, c.Explain("read the histories of models", err)
		}
		out = append(out, list.Items...)
		if o.Continue = list.Continue; o.Continue == "" {
			return out, nil
		}
	}
}
