package run

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// ranks is a distributed stage; notes are annotations of its simulated pods, without their prefix.
func ranks(n int, more string, notes ...string) string {
	for i := range notes {
		notes[i] = "sandbox.kubectl-ml.dev/" + notes[i]
	}
	return fmt.Sprintf("replicas: %d\n    %s\n    patch: {spec: {template: {metadata: {annotations: {%s}}}}}", n, more, strings.Join(notes, ", "))
}

// services are the names of the run's Services, each with the kind of its owner.
func (k *cluster) services(run string) []string {
	k.t.Helper()
	list, err := k.Kube.CoreV1().Services(k.Namespace).List(k.ctx(), kube.ListOptions(map[string]string{kube.LabelRun: run}))
	if err != nil {
		k.t.Fatal(err)
	}
	out := []string{}
	for _, s := range list.Items {
		owner := "nobody"
		if len(s.OwnerReferences) == 1 {
			owner = s.OwnerReferences[0].Kind
		}
		out = append(out, s.Name+" of "+owner)
	}
	slices.Sort(out)
	return out
}

func (k *cluster) wantServices(run string, want ...string) {
	k.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), k.services(run)); diff != "" {
		k.t.Errorf("services: %s", diff)
	}
}

// Four ranks run to their end, rank 0 gives the result, and what they met by goes with them.
func TestGang(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "",
		sim{name: "a", more: ranks(4, "framework: torchrun", "duration: 200ms", `result: '{"metrics": {"acc": 0.1}}'`, `result.0: '{"metrics": {"acc": 0.9}}'`)},
		sim{name: "b", needs: "a"},
	), StartOptions{})
	k.wantServices(name, name+"-a of Job")
	r := k.drive(k.Client, name)
	if got := states(r); got != "Succeeded a=Succeeded b=Succeeded" {
		t.Fatal(got, r.Message)
	}
	if st := r.Now[0]; st.Result == nil || st.Result.Metrics["acc"] != 0.9 || st.Replicas != 4 {
		t.Errorf("the result is %v, want rank 0's", st.Result)
	}
	pods, err := k.Kube.CoreV1().Pods(k.Namespace).List(k.ctx(), metav1.ListOptions{LabelSelector: StageSelector(name, "a")})
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{}
	for _, p := range pods.Items {
		hosts = append(hosts, p.Spec.Hostname+"."+p.Spec.Subdomain)
	}
	slices.Sort(hosts)
	host := func(i int) string { return fmt.Sprintf("%s-a-%d.%s-a", name, i, name) }
	if diff := cmp.Diff([]string{host(0), host(1), host(2), host(3)}, hosts); diff != "" {
		t.Error(diff)
	}
	if _, err := Delete(k.ctx(), k.Client, name, nil); err != nil {
		t.Fatal(err)
	}
	k.eventually("the Service goes with its Job", func() bool { return len(k.services(name)) == 0 })
}

// One rank that fails ends them all, and is named; a retry is a new gang that meets elsewhere.
func TestARankThatFails(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: ranks(4, "gpus: 1", "duration: 10m", "duration.2: 300ms", `exit-code.2: "3"`)}), StartOptions{})
	r := k.drive(k.Client, name)
	if got := states(r); got != "Failed a=Failed" {
		t.Fatal(got)
	}
	if st := r.Now[0]; !strings.HasPrefix(st.Message, "rank 2: exit code 3: ") || st.GPUs != 4 || st.Children[0].ExitCode == nil || *st.Children[0].ExitCode != 3 {
		t.Errorf("%q, %d GPUs, %+v", st.Message, st.GPUs, st.Children)
	}
	k.eventually("the other ranks are ended", func() bool {
		pods, err := k.Kube.CoreV1().Pods(k.Namespace).List(k.ctx(), metav1.ListOptions{LabelSelector: StageSelector(name, "a"), FieldSelector: "status.phase=Running"})
		return err == nil && len(pods.Items) == 0
	})
	if _, _, err := Retry(k.ctx(), k.Client, name, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Advance(k.ctx(), k.Client, name); err != nil {
		t.Fatal(err)
	}
	k.wantServices(name, name+"-a of Job", name+"-a-r2 of Job")
	if got := k.get(name).Now[0]; got.State.Terminal() || got.Attempt != 2 {
		t.Errorf("after the retry: %+v", got)
	}
	if _, err := Delete(k.ctx(), k.Client, name, nil); err != nil {
		t.Fatal(err)
	}
	k.eventually("nothing is left", func() bool { return len(k.services(name))+len(k.jobs(name)) == 0 })
}

// The ranks of a Ray or MPI stage serve rank 0, and end when it has ended.
func TestRankZeroLeads(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: ranks(3, "framework: mpi", "duration: 10m", "duration.0: 300ms", `result.0: '{"metrics": {"acc": 0.5}}'`)}), StartOptions{})
	secret, err := k.Kube.CoreV1().Secrets(k.Namespace).Get(k.ctx(), name+"-ssh", metav1.GetOptions{})
	if err != nil || len(secret.Data["key"]) == 0 || secret.OwnerReferences[0].Kind != "ConfigMap" {
		t.Fatalf("no key: %v", err)
	}
	r := k.drive(k.Client, name)
	if got := states(r); got != "Succeeded a=Succeeded" || r.Now[0].Result == nil {
		t.Fatal(got, r.Message)
	}
	if _, err := Delete(k.ctx(), k.Client, name, nil); err != nil {
		t.Fatal(err)
	}
	k.eventually("the key goes with the run", func() bool {
		list, err := k.Kube.CoreV1().Secrets(k.Namespace).List(k.ctx(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
}

// Wherever a client dies, the next one leaves no Job without its Service: also where the Service is there and the Job is
// not, and where somebody deleted the Service.
func TestGangGoesOn(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	dying := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if is(r, http.MethodPost, "jobs") {
			return nil, io.ErrUnexpectedEOF
		}
		return send(r)
	})
	p, err := k.try(dying, pipelineOf(t, "", sim{name: "a", more: ranks(2, "", "duration: 10m")}), StartOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(k.jobs(p.Record.Name)) > 0 {
		t.Fatal(err)
	}
	name := p.Record.Name
	k.wantServices(name, name+"-a of ConfigMap")
	if _, _, err := Advance(k.ctx(), k.Client, name); err != nil {
		t.Fatal(err)
	}
	k.wantServices(name, name+"-a of Job")
	if err := k.Kube.CoreV1().Services(k.Namespace).Delete(k.ctx(), name+"-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	go func() {
		k.eventually("the Service is restored", func() bool { return len(k.services(name)) == 1 })
		_, _ = Cancel(k.ctx(), k.Client, name, Mark{By: "ann"}, nil)
	}()
	if r := k.drive(k.Client, name); r.State != Cancelled {
		t.Error(states(r))
	}
	k.eventually("the Service goes with the cancelled Job", func() bool { return len(k.services(name)) == 0 })
}

// What a gang needs besides its Job is asked for beforehand, and a refusal leaves nothing.
func TestGangRefused(t *testing.T) {
	t.Parallel()
	base := []rbacv1.PolicyRule{
		rule("", "configmaps", "get", "list", "create", "update", "delete"), rule("", "pods", "list"), rule("batch", "jobs", "get", "list", "create"),
	}
	for framework, want := range map[string]string{"none": "create services", "mpi": "create services, create secrets"} {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			k := realCluster(t)
			_, err := k.try(k.as("trainee", base...), pipelineOf(t, "", sim{name: "a", more: ranks(2, "framework: "+framework)}), StartOptions{})
			if err == nil || !strings.Contains(err.Error(), "start the run: forbidden: needs "+want+" in namespace") {
				t.Fatal(err)
			}
			if n := k.records(); n > 0 {
				t.Errorf("%d records are left", n)
			}
		})
	}
	t.Run("a right that is taken away meanwhile", func(t *testing.T) {
		t.Parallel()
		k := realCluster(t)
		text := `services is forbidden: User \"ann\" cannot create resource \"services\" in API group \"\" in the namespace \"ns\"`
		c := k.through(answer(http.MethodPost, "services", 403, `"reason": "Forbidden", "code": 403, "message": "`+text+`"`))
		_, err := k.try(c, pipelineOf(t, "", sim{name: "a", more: ranks(2, "")}), StartOptions{})
		if err == nil || !strings.Contains(err.Error(), "create service p-") || !strings.Contains(err.Error(), "forbidden: needs create services in namespace ns") {
			t.Fatal(err)
		}
		if n := k.records(); n > 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

// Each child of a sweep is a gang of its own, whose replicas stand on nodes of their own where that is asked for.
func TestASweepOfGangs(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", more: ranks(3, "sweep: {lr: [1, 2]}\n    best: {max: acc}\n    topology: {spread: host, required: true}", "duration: 500ms", `result: '{"metrics": {"acc": 0.5}}'`)}), StartOptions{})
	k.wantServices(name, name+"-a-0 of Job", name+"-a-1 of Job")
	if r := k.drive(k.Client, name); states(r) != "Succeeded a=Succeeded" {
		t.Fatal(states(r), r.Message)
	}
	pods, err := k.Kube.CoreV1().Pods(k.Namespace).List(k.ctx(), metav1.ListOptions{LabelSelector: StageSelector(name, "a")})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range pods.Items {
		place := p.Labels[kube.LabelChild] + " on " + p.Spec.NodeName
		if seen[place] {
			t.Errorf("two replicas of child %s", place)
		}
		seen[place] = true
	}
	if len(seen) != 6 {
		t.Errorf("%v", seen)
	}
}

// The role of a driver that is there gets the rights that a later run needs.
func TestDriverRoleGrows(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	d := &Driver{Image: "registry.example/nothing:1"}
	for _, more := range []string{"", ranks(2, ""), ranks(2, "framework: mpi"), ""} {
		if _, err := k.try(k.Client, pipelineOf(t, "", sim{name: "a", more: more, lasts: "10m"}, sim{name: "b", needs: "a"}), StartOptions{Driver: d}); err != nil {
			t.Fatal(err)
		}
	}
	role, err := k.Kube.RbacV1().Roles(k.Namespace).Get(k.ctx(), DefaultServiceAccount, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := append(DriverRules(&Record{}), rule("", "services", "create", "patch"), rule("", "secrets", "create"))
	if diff := cmp.Diff(want, role.Rules); diff != "" {
		t.Error(diff)
	}
}
