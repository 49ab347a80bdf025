package run

import (
	"context"
	"fmt"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// right is a verb on a resource.
type right struct{ verb, group, resource string }

func (r right) String() string {
	if r.group == "" {
		return r.verb + " " + r.resource
	}
	return r.verb + " " + r.resource + "." + r.group
}

// needs are the rights without which the run would stop half way: to keep its record, to make what it runs and to read
// what that gave. Where a driver goes on, what it makes and reads later is its own affair.
func (p *Prepared) needs() []right {
	out := []right{{"create", "", "configmaps"}, {"get", "", "configmaps"}, {"update", "", "configmaps"}, {"list", "batch", "jobs"}}
	jobs, deployments := false, false
	for i := range p.Record.Plan.Stages {
		st := &p.Record.Plan.Stages[i]
		jobs = jobs || st.Selected && st.Kind() != pipeline.KindDeployment
		deployments = deployments || st.Selected && st.Kind() == pipeline.KindDeployment
	}
	if jobs {
		out = append(out, right{"create", "batch", "jobs"})
	}
	if p.driver == nil {
		out = append(out, right{"list", "", "pods"})
	}
	if deployments && p.driver == nil {
		out = append(out, right{"get", "apps", "deployments"}, right{"create", "apps", "deployments"}, right{"patch", "apps", "deployments"})
	}
	return out
}

// checkRights says which of the rights the caller lacks, before anything is made. An API server that does not tell
// stops nothing: what it forbids it forbids later.
func checkRights(ctx context.Context, c *client.Client, needs []right) error {
	denied := make([]bool, len(needs))
	var asked sync.WaitGroup
	for i, r := range needs {
		asked.Go(func() {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: c.Namespace, Verb: r.verb, Group: r.group, Resource: r.resource},
			}}
			answer, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			denied[i] = err == nil && !answer.Status.Allowed && answer.Status.EvaluationError == ""
		})
	}
	asked.Wait()
	var missing []string
	for i, r := range needs {
		if denied[i] {
			missing = append(missing, r.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &client.Error{
		Doing: "start the run", What: fmt.Sprintf("forbidden: needs %s in namespace %s (you are %s)", strings.Join(missing, ", "), c.Namespace, c.WhoAmI(ctx)),
		Hint: fmt.Sprintf("ask for that right, then check with: kubectl auth can-i %s -n %s", missing[0], c.Namespace),
	}
}
