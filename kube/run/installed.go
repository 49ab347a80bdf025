package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// CheckCluster says what the run asks for and the cluster does not have: JobSet, Kueue, a queue. A Job that waits for a
// queue which nobody serves would wait for ever.
func (p *Prepared) CheckCluster(ctx context.Context, c *client.Client) error {
	var selected []pipeline.PlannedStage
	for _, s := range p.Record.Plan.Stages {
		if s.Selected && len(s.Object) == 0 {
			selected = append(selected, s)
		}
	}
	return checkInstalled(ctx, c, selected)
}

func checkInstalled(ctx context.Context, c *client.Client, stages []pipeline.PlannedStage) error {
	set := slices.IndexFunc(stages, func(s pipeline.PlannedStage) bool { return s.UsesJobSet() })
	queued := slices.IndexFunc(stages, func(s pipeline.PlannedStage) bool { return s.Queue != "" })
	if set < 0 && queued < 0 {
		return nil
	}
	groups, err := c.Kube.Discovery().ServerGroups()
	if err != nil {
		return c.Explain("look which APIs the cluster has", err)
	}
	if want := pipeline.JobSets().GroupVersion(); set >= 0 && !serves(groups, want) {
		return &client.Error{
			What: fmt.Sprintf("stage %s has engine jobset, and this cluster has no JobSet (%s)", stages[set].Name, want),
			Hint: "write engine: job, or have it installed: https://jobset.sigs.k8s.io/docs/installation",
		}
	}
	if queued < 0 {
		return nil
	}
	kueue := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == "kueue.x-k8s.io" })
	if kueue < 0 {
		return &client.Error{
			What: fmt.Sprintf("stage %s has queue %s, and this cluster has no Kueue (kueue.x-k8s.io)", stages[queued].Name, stages[queued].Queue),
			Hint: "remove queue, or have it installed: https://kueue.sigs.k8s.io/docs/installation",
		}
	}
	queues := schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: groups.Groups[kueue].PreferredVersion.Version, Resource: "localqueues"}
	return checkQueues(ctx, c, queues, stages)
}

func serves(groups *metav1.APIGroupList, want schema.GroupVersion) bool {
	return slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool {
		return slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.GroupVersion == want.String() })
	})
}

// checkQueues looks for each LocalQueue. Who may not read them is told nothing: the Jobs' state says that they wait.
func checkQueues(ctx context.Context, c *client.Client, queues schema.GroupVersionResource, stages []pipeline.PlannedStage) error {
	api := c.Dynamic.Resource(queues).Namespace(c.Namespace)
	seen := map[string]bool{"": true}
	for _, s := range stages {
		if seen[s.Queue] {
			continue
		}
		seen[s.Queue] = true
		_, err := api.Get(ctx, s.Queue, metav1.GetOptions{})
		switch {
		case apierrors.IsForbidden(err):
			return nil
		case apierrors.IsNotFound(err):
			e := &client.Error{
				What: fmt.Sprintf("stage %s has queue %s, and namespace %s has no such LocalQueue", s.Name, s.Queue, c.Namespace),
				Hint: "ask an administrator for a LocalQueue in this namespace, or remove queue",
			}
			if list, err := api.List(ctx, metav1.ListOptions{}); err == nil && len(list.Items) > 0 {
				names := make([]string, len(list.Items))
				for i := range list.Items {
					names[i] = list.Items[i].GetName()
				}
				e.Hint = "the queues here are " + strings.Join(names, ", ")
			}
			return e
		case err != nil:
			return c.Explain("read the queue "+s.Queue, err)
		}
	}
	return nil
}
