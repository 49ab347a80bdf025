package plugin

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

// engineer is whom the tests of missing rights act as.
const engineer = "ml-engineer"

// engineerRules are what a person needs beyond the rights of a driver: to apply, to delete and to read logs.
func engineerRules() []rbacv1.PolicyRule {
	return append(driverRules(),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"patch", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
		rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"cronjobs"}, Verbs: []string{"get", "list", "create", "patch", "delete"}},
	)
}

// driverRules are those of a driver of a run that needs all there are.
func driverRules() []rbacv1.PolicyRule {
	stages := []pipeline.PlannedStage{{Selected: true}, {Selected: true}}
	stages[0].Replicas, stages[0].Framework = 2, pipeline.FrameworkMPI
	stages[1].Replicas, stages[1].Engine = 2, pipeline.EngineJobSet
	return run.DriverRules(&run.Record{Plan: pipeline.Plan{Stages: stages}})
}

// lacking returns the rules but for one verb on one resource.
func lacking(rules []rbacv1.PolicyRule, resource, verb string) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, r := range rules {
		if slices.Contains(r.Resources, resource) {
			r.Verbs = slices.DeleteFunc(slices.Clone(r.Verbs), func(v string) bool { return v == verb })
		}
		if len(r.Verbs) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// grant gives the user rules in a namespace and waits until the API server knows.
func grant(t *testing.T, kube kubernetes.Interface, ns string, rules []rbacv1.PolicyRule) {
	t.Helper()
	ctx := t.Context()
	meta := metav1.ObjectMeta{Name: engineer, Namespace: ns}
	if _, err := kube.RbacV1().Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: engineer},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: engineer}},
	}
	if _, err := kube.RbacV1().RoleBindings(ns).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	last := rules[len(rules)-1]
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               engineer,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: ns, Verb: last.Verbs[0], Group: last.APIGroups[0], Resource: last.Resources[0]},
	}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		answer, err := kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the API server does not know the rights of %s: %v", engineer, err)
		}
		if answer.Status.Allowed {
			return
		}
	}
}

// ml runs one command line as the user.
type ml struct {
	t          *testing.T
	kubeconfig string
	namespace  string
}

func (m ml) as(who string, args ...string) (code int, out, errOut string) {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	args = append(args, "--kubeconfig", m.kubeconfig, "-n", m.namespace)
	if who != "" {
		args = append(args, "--as", who)
	}
	// Main sets the logger of the whole process besides, which tests that run side by side must not.
	f := NewFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}, func(string) string { return "" })
	cmd := NewRoot(f)
	cmd.SetArgs(args)
	code = f.report(cmd.ExecuteContext(ctx))
	return code, stdout.String(), stderr.String()
}

// refusals are the words with which verbs end without a right, and exit code 1. A verb that is not there works all
// the same.
type refusals map[string]string

// missingRights says what each verb makes of each right that a driver has, when just that one is missing.
var missingRights = map[string]refusals{
	"get configmaps": {
		"run": "start the run: forbidden: needs get configmaps in namespace", "status": "read run p-b: forbidden: needs get configmaps",
		"logs": "needs get configmaps", "cancel": "needs get configmaps", "apply": "read configmap mlpipeline-p: forbidden: needs get configmaps",
	},
	"list configmaps":   {"runs": "list the runs: forbidden: needs list configmaps in namespace"},
	"watch configmaps":  {},
	"create configmaps": {"run": "start the run: forbidden: needs create configmaps", "apply": "apply configmap mlpipeline-p: forbidden: needs create configmaps"},
	"update configmaps": {"run": "start the run: forbidden: needs update configmaps", "cancel": "change run p-b: forbidden: needs update configmaps"},
	"get jobs":          {},
	"list jobs": {
		"run": "start the run: forbidden: needs list jobs.batch", "status": "list the jobs of run p-b: forbidden: needs list jobs.batch",
		"cancel": "needs list jobs.batch",
	},
	"watch jobs":         {},
	"create jobs":        {"run": "start the run: forbidden: needs create jobs.batch"},
	"patch jobs":         {},
	"delete jobs":        {"cancel": "run p-b is marked as cancelled, and nothing new starts, but its Jobs could not be ended: end job p-b-train: forbidden: needs delete jobs.batch"},
	"get pods":           {},
	"list pods":          {"run": "start the run: forbidden: needs list pods in namespace", "logs": "read the logs of p-b: forbidden: needs list pods"},
	"watch pods":         {},
	"get deployments":    {"run": "start the run: forbidden: needs get deployments.apps"},
	"create deployments": {"run": "start the run: forbidden: needs create deployments.apps"},
	"patch deployments":  {"run": "start the run: forbidden: needs patch deployments.apps"},
	"create services":    {"run": "start the run: forbidden: needs create services in namespace"},
	"patch services":     {},
	"create secrets":     {"run": "start the run: forbidden: needs create secrets in namespace"},
	"get jobsets":        {},
	"list jobsets": {
		"run": "start the run: forbidden: needs list jobsets.jobset.x-k8s.io", "status": "list the jobsets of run p-b: forbidden: needs list jobsets.jobset.x-k8s.io",
		"cancel": "needs list jobsets.jobset.x-k8s.io",
	},
	"watch jobsets":                 {},
	"create jobsets":                {"run": "start the run: forbidden: needs create jobsets.jobset.x-k8s.io"},
	"patch jobsets":                 {},
	"delete jobsets":                {"cancel": "run p-b is marked as cancelled, and nothing new starts, but its Jobs could not be ended: end job p-b-train: forbidden: needs delete jobsets.jobset.x-k8s.io"},
	"get persistentvolumeclaims":    {},
	"create persistentvolumeclaims": {"run": "create the workspace claim data: forbidden: needs create persistentvolumeclaims", "apply": "create the workspace claim data: forbidden: needs create persistentvolumeclaims"},
}

// TestEachMissingRight takes one right at a time from a user who has all others, and looks at each verb: it either
// works without that right, or says that it is missing and leaves nothing behind.
func TestEachMissingRight(t *testing.T) {
	for _, rule := range driverRules() {
		sandbox := kubetest.Open(t)
		if rule.Resources[0] == "jobsets" {
			sandbox = kubetest.OpenWith(t, "jobset", "kueue")
		}
		kube, err := kubernetes.NewForConfig(sandbox.Config(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range rule.Verbs {
			resource := rule.Resources[0]
			want, known := missingRights[verb+" "+resource]
			if !known {
				t.Errorf("a driver may %s %s, and nobody has said what goes without", verb, resource)
			}
			t.Run(verb+" "+resource, func(t *testing.T) {
				t.Parallel()
				m := ml{t: t, kubeconfig: sandbox.Kubeconfig, namespace: sandbox.Namespace(t)}
				grant(t, kube, m.namespace, lacking(engineerRules(), resource, verb))
				m.tryWithout(kube, resource, want)
			})
		}
	}
}

func (m ml) tryWithout(kube kubernetes.Interface, resource string, want refusals) {
	m.t.Helper()
	file, slow, start := "jobs.yaml", "slow.yaml", []string{"run", "--id", "a"}
	switch resource {
	case "services", "secrets":
		file = "gang.yaml"
	case "jobsets":
		file, slow = "set.yaml", "slow-set.yaml"
	case "deployments":
		file = "serve.yaml"
	case "persistentvolumeclaims": // nobody binds the claim, so it is not waited for
		file, start = "claim.yaml", append(start, "--detach", "--driver-service-account", "default")
	}
	file = filepath.Join("testdata", "forbidden", file)
	m.try(want, append(start, "-f", file)...)
	if want["run"] != "" {
		m.nothingLeft(kube)
	}
	// What the others look at was made by somebody who may.
	if code, _, errOut := m.as("", "run", "--id", "b", "-f", filepath.Join("testdata", "forbidden", slow), "--detach", "--driver-service-account", "default"); code != 0 {
		m.t.Fatalf("start a run with all rights: %s", errOut)
	}
	m.awaitPod(kube)
	m.try(want, "status", "p-b")
	m.try(want, "runs")
	m.try(want, "logs", "p-b")
	m.try(want, "cancel", "p-b", "--yes")
	m.try(want, "apply", "-f", file)
}

// try runs a verb and holds its end against what is wanted.
func (m ml) try(want refusals, args ...string) {
	m.t.Helper()
	code, out, errOut := m.as(engineer, args...)
	refused := want[args[0]]
	switch {
	case refused == "" && code != 0:
		m.t.Errorf("%s needs a right that it could do without: %d\n%s%s", args[0], code, out, errOut)
	case refused != "" && (code != 1 || !strings.Contains(errOut, refused) || !strings.Contains(errOut, "kubectl auth can-i ")):
		m.t.Errorf("%s: exit code %d, want 1 and %q in:\n%s", args[0], code, refused, errOut)
	}
}

// awaitPod waits until the run p-b has a pod whose log can be asked for.
func (m ml) awaitPod(kube kubernetes.Interface) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		pods, err := kube.CoreV1().Pods(m.namespace).List(m.t.Context(), metav1.ListOptions{LabelSelector: "kubectl-ml.dev/run=p-b"})
		if err != nil || time.Now().After(deadline) {
			m.t.Fatalf("no pod of run p-b: %v", err)
		}
		if len(pods.Items) > 0 {
			return
		}
	}
}

// nothingLeft looks that a run that was refused left nothing.
func (m ml) nothingLeft(kube kubernetes.Interface) {
	m.t.Helper()
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=kubectl-ml"}
	maps, err := kube.CoreV1().ConfigMaps(m.namespace).List(m.t.Context(), ours)
	if err != nil {
		m.t.Fatal(err)
	}
	jobs, err := kube.BatchV1().Jobs(m.namespace).List(m.t.Context(), ours)
	if err != nil {
		m.t.Fatal(err)
	}
	services, err := kube.CoreV1().Services(m.namespace).List(m.t.Context(), ours)
	if err != nil {
		m.t.Fatal(err)
	}
	secrets, err := kube.CoreV1().Secrets(m.namespace).List(m.t.Context(), ours)
	if err != nil {
		m.t.Fatal(err)
	}
	if len(maps.Items)+len(jobs.Items)+len(services.Items)+len(secrets.Items) > 0 {
		m.t.Errorf("the run was refused and left %d ConfigMaps, %d Jobs, %d Services and %d Secrets", len(maps.Items), len(jobs.Items), len(services.Items), len(secrets.Items))
	}
}
