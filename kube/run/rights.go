package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	if p.Record.any(needsService) {
		out = append(out, right{"create", "", "services"})
	}
	if p.Record.any(pipeline.Stage.UsesSSH) {
		out = append(out, right{"create", "", "secrets"})
	}
	if p.Record.any(pipeline.Stage.UsesJobSet) {
		sets := pipeline.JobSets()
		out = append(out, right{"create", sets.Group, sets.Resource}, right{"list", sets.Group, sets.Resource})
	}
	if p.driver == nil {
		out = append(out, right{"list", "", "pods"})
	}
	if p.driver == nil && (p.Record.registers() || p.Record.any(deploys)) {
		out = append(out, right{"list", "", "configmaps"})
	}
	if deployments && p.driver == nil {
		out = append(out, right{"get", "apps", "deployments"}, right{"create", "apps", "deployments"}, right{"patch", "apps", "deployments"})
	}
	if p.driver == nil {
		for _, r := range deployRules(p.Record) {
			for _, verb := range r.Verbs {
				if need := (right{verb, r.APIGroups[0], r.Resources[0]}); verb != "watch" && !slices.Contains(out, need) {
					out = append(out, need)
				}
			}
		}
	}
	return out
}

// checkRights says which of the rights the caller lacks, before anything is made. An API server that does not tell,
// or not all, stops nothing: what it forbids it forbids later.
func checkRights(ctx context.Context, c *client.Client, needs []right) error {
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: c.Namespace}}
	answer, err := c.Kube.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil || answer.Status.Incomplete || answer.Status.EvaluationError != "" {
		return nil
	}
	var missing []string
	for _, r := range needs {
		if !slices.ContainsFunc(answer.Status.ResourceRules, r.in) {
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

// in says whether a rule may give the right. One for named objects may: which names will be needed is not known yet.
func (r right) in(rule authorizationv1.ResourceRule) bool {
	has := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	return has(rule.Verbs, r.verb) && has(rule.APIGroups, r.group) && has(rule.Resources, r.resource)
}
