package registry

import (
	"cmp"
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Serving is a workload that serves a version of a model.
type Serving struct {
	// Kind is Deployment.
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	UID       string `json:"uid,omitempty"`
	Model     string `json:"model"`
	// Version is 0 when the workload does not say which.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created"`
}

// Live finds the workloads that serve a model, by their labels alone; an empty model finds those of all. A workload that
// is being deleted still serves.
func Live(ctx context.Context, c *client.Client, model string) ([]Serving, error) {
	selector := kube.LabelModel
	if model != "" {
		selector = labels.SelectorFromSet(labels.Set{kube.LabelModel: model}).String()
	}
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	list, err := c.Meta.Resource(deployments).Namespace(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, c.Explain("look for what serves "+cmp.Or(model, "the models"), err)
	}
	out := make([]Serving, 0, len(list.Items))
	for i := range list.Items {
		m := &list.Items[i]
		n, _ := number(m.Labels[kube.LabelVersion])
		out = append(out, Serving{
			Kind: "Deployment", Name: m.Name, Namespace: m.Namespace, UID: string(m.UID),
			Model: m.Labels[kube.LabelModel], Version: n, Created: m.CreationTimestamp.Time,
		})
	}
	slices.SortFunc(out, func(a, b Serving) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
