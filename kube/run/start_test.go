package run

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// limitJobs lets the namespace have n Jobs at most, and waits until that holds.
func (k *cluster) limitJobs(n int64) {
	k.t.Helper()
	quotas := k.Kube.CoreV1().ResourceQuotas(k.Namespace)
	hard := corev1.ResourceList{"count/jobs.batch": *resource.NewQuantity(n, resource.DecimalSI)}
	_, err := quotas.Create(k.ctx(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.eventually("the quota is counted", func() bool {
		q, err := quotas.Get(k.ctx(), "few", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0
	})
}

// A run of which nothing could be started leaves nothing behind.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	one := sim{name: "a"}
	cases := []struct {
		name string
		in   func(*cluster) error
		want []string
	}{
		{
			"no right to create jobs",
			func(k *cluster) error {
				c := k.as("trainee", rule("", "configmaps", "get", "list", "create", "update", "delete"), rule("", "pods", "list"), rule("batch", "jobs", "get", "list"))
				_, err := k.try(c, pipelineOf(k.t, "", one), StartOptions{})
				return err
			},
			[]string{"start the run: forbidden: needs create jobs.batch in namespace", "you are trainee", "kubectl auth can-i create jobs.batch -n"},
		},
		{
			"a right that is taken away meanwhile",
			func(k *cluster) error {
				text := `jobs.batch is forbidden: User \"ann\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"ns\"`
				c := k.through(answer(http.MethodPost, "jobs", 403, `"reason": "Forbidden", "code": 403, "message": "`+text+`"`))
				_, err := k.try(c, pipelineOf(k.t, "", one), StartOptions{})
				return err
			},
			[]string{"create job p-", "forbidden: needs create jobs.batch in namespace ns (you are ann)"},
		},
		{
			"no room in the quota",
			func(k *cluster) error {
				k.limitJobs(0)
				_, err := k.try(k.Client, pipelineOf(k.t, "", one), StartOptions{})
				return err
			},
			[]string{"create job p-", "exceeded quota: few, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0"},
		},
		{
			"a patch that makes no Job",
			func(k *cluster) error {
				_, err := k.try(k.Client, pipelineOf(k.t, "", sim{name: "a", more: "patch: {spec: {template: {spec: {restartPolicy: Always}}}}"}), StartOptions{})
				return err
			},
			[]string{"create job p-", `spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"`},
		},
		{
			"a Job of somebody else has the name",
			func(k *cluster) error {
				k.foreignJob("p-mine-a")
				_, err := k.try(k.Client, pipelineOf(k.t, "", one), StartOptions{ID: "mine"})
				return err
			},
			[]string{"job p-mine-a exists and is not of run p-mine: delete or rename it"},
		},
		{
			"a workspace claim that nobody made",
			func(k *cluster) error {
				_, err := k.try(k.Client, pipelineOf(k.t, "workspace: {claim: data}", one), StartOptions{})
				return err
			},
			[]string{"the workspace claim data does not exist in namespace", "give spec.workspace.size to have it made"},
		},
		{
			"a namespace that nobody made",
			func(k *cluster) error {
				c := k.connect(k.cfg, "nowhere-"+k.Namespace)
				_, err := k.try(c, pipelineOf(k.t, "", one), StartOptions{})
				return err
			},
			[]string{`namespace "nowhere-`, "does not exist", "kubectl create namespace nowhere-"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := realCluster(t)
			err := c.in(k)
			if err == nil {
				t.Fatal("was not refused")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			if n := k.records(); n != 0 {
				t.Errorf("%d records are left", n)
			}
		})
	}
}

func (k *cluster) foreignJob(name string) {
	k.t.Helper()
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}
	j.Spec.Suspend = new(true)
	j.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "x"}}}
	if _, err := k.Kube.BatchV1().Jobs(k.Namespace).Create(k.ctx(), j, metav1.CreateOptions{}); err != nil {
		k.t.Fatal(err)
	}
}

// Once something runs, a refusal is the end of its stage, not of the record.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	t.Run("another stage", func(t *testing.T) {
		t.Parallel()
		k := realCluster(t)
		k.limitJobs(1)
		r := k.drive(k.Client, k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b"}), StartOptions{}))
		if states(r) != "Failed a=Succeeded b=Failed" || r.Now[1].Reason != "NotStarted" || !strings.Contains(r.Message, "exceeded quota") {
			t.Errorf("%s: %s", states(r), r.Message)
		}
	})
	t.Run("some children of a sweep", func(t *testing.T) {
		t.Parallel()
		k := realCluster(t)
		k.limitJobs(2)
		b := pipelineOf(t, "", sim{name: "a", more: "sweep: {x: [1, 2, 3]}\n    best: {max: acc}", says: `{"metrics": {"acc": 1}}`})
		r := k.drive(k.Client, k.start(b, StartOptions{}))
		st := r.Now[0]
		if states(r) != "Failed a=Failed" || st.Reason != "NotStarted" || st.Children[0].State != Succeeded || st.Children[1].Result == nil || st.Children[2].State != Failed {
			t.Errorf("%s: %+v", states(r), st)
		}
	})
	t.Run("by a Job of somebody else", func(t *testing.T) {
		t.Parallel()
		k := realCluster(t)
		k.foreignJob("p-mine-b")
		r := k.drive(k.Client, k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a"}), StartOptions{ID: "mine"}))
		if states(r) != "Failed a=Succeeded b=Failed" || r.Message != "stage b failed: job p-mine-b exists and is not of run p-mine: delete or rename it" {
			t.Errorf("%s: %s", states(r), r.Message)
		}
	})
}

// answer makes the server's answer to one kind of request.
func answer(method, resource string, code int, status string) requests {
	return func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if !is(r, method, resource) {
			return send(r)
		}
		return &http.Response{
			StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewBufferString(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", ` + status + `}`)),
		}, nil
	}
}

// What the record cannot take is no reason to forget a Job that runs.
func TestAJobThatCouldNotBeRecordedIsFoundAgain(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	c := k.through(answer(http.MethodPut, "configmaps", 403, `"reason": "Forbidden", "code": 403, "message": "the auditors are away"`))
	_, err := k.try(c, pipelineOf(t, "", sim{name: "a"}), StartOptions{ID: "mine"})
	if err == nil || !strings.Contains(err.Error(), "the auditors are away") || !strings.Contains(err.Error(), "kubectl ml resume p-mine") {
		t.Errorf("got %v", err)
	}
	if r := k.drive(k.Client, "p-mine"); states(r) != "Succeeded a=Succeeded" || len(k.jobs("p-mine")) != 1 {
		t.Errorf("%s", states(r))
	}
}

func TestAnIDIsStartedOnce(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "", sim{name: "a", lasts: "1h"})
	first, err := k.try(k.Client, b, StartOptions{ID: "nightly", Reason: "first"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.try(k.Client, b, StartOptions{ID: "nightly", Reason: "second", Set: nil})
	if err != nil {
		t.Fatal(err)
	}
	if second.Record.Reason != "first" || second.Record.UID != first.Record.UID || k.records() != 1 || len(k.jobs("p-nightly")) != 1 {
		t.Errorf("the second is %+v; %d records, %d Jobs", second.Record.Header, k.records(), len(k.jobs("p-nightly")))
	}
	if a, b := runID("a-rather-long-identifier"), runID("another-long-identifier"); len(a) != 8 || a == b || a != runID("a-rather-long-identifier") {
		t.Errorf("long IDs become %q and %q", a, b)
	}
}

func TestTheWorkspaceClaim(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "workspace: {claim: data, size: 1Gi}", sim{name: "a", lasts: "1h"})
	claims := k.Kube.CoreV1().PersistentVolumeClaims(k.Namespace)
	k.start(b, StartOptions{})
	made, err := claims.Get(k.ctx(), "data", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k.start(b, StartOptions{})
	// Who may not make claims uses the one that is there.
	c := k.as("trainee", rule("", "configmaps", "*"), rule("", "pods", "list"), rule("", "persistentvolumeclaims", "get"), rule("batch", "jobs", "get", "list", "create"))
	if _, err := k.try(c, b, StartOptions{}); err != nil {
		t.Error(err)
	}
	if again, err := claims.Get(k.ctx(), "data", metav1.GetOptions{}); err != nil || again.UID != made.UID {
		t.Errorf("%v, %v", again, err)
	}
}

func TestResultsOfEarlierRuns(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	spec := []sim{
		{name: "train", says: `{"metrics": {"acc": 0.4}, "outputs": {"epoch": 3}}`, more: "gates: [{metric: acc, min: 0.5}]"},
		{name: "serve", needs: "train", more: "args: [$(stages.train.outputs.epoch)]", lasts: "1h"},
	}
	only := StartOptions{}
	only.Only = []string{"serve"}
	if _, err := k.try(k.Client, pipelineOf(t, "", spec...), only); err == nil || !strings.Contains(err.Error(), "has results of train") {
		t.Errorf("without an earlier run: %v", err)
	}
	name := k.start(pipelineOf(t, "", spec...), StartOptions{})
	if r := k.drive(k.Client, name); r.State != GateFailed {
		t.Fatal(states(r))
	}
	if _, err := k.try(k.Client, pipelineOf(t, "", spec...), only); err == nil || !strings.Contains(err.Error(), "has results of train") {
		t.Errorf("results that have breached a gate are used: %v", err)
	}
	if _, err := Approve(k.ctx(), k.Client, name, "train", Mark{By: "ann", At: time.Now()}, nil); err != nil {
		t.Fatal(err)
	}
	later := k.start(pipelineOf(t, "", spec...), only)
	r := k.get(later)
	if r.Now[0].State != Reused || r.Now[0].ReusedFrom != name {
		t.Errorf("%s, of %s", states(r), r.Now[0].ReusedFrom)
	}
	if args := k.jobs(later)[later+"-serve"].Spec.Template.Spec.Containers[0].Args; len(args) != 1 || args[0] != "3" {
		t.Errorf("serve gets %q", args)
	}
}

func TestADriverNeedsItsName(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	d := &Driver{Image: "registry.example/kubectl-ml:1"}
	b := pipelineOf(t, "", sim{name: "driver"}, sim{name: "b", needs: "driver"})
	if _, err := k.try(k.Client, b, StartOptions{Driver: d}); err == nil || !strings.Contains(err.Error(), "a stage named driver cannot be detached") {
		t.Errorf("got %v", err)
	}
	name := k.start(pipelineOf(t, "", sim{name: "a"}, sim{name: "b", needs: "a"}), StartOptions{Driver: d})
	j, ok := k.jobs(name)[name+"-driver"]
	if !ok || len(j.OwnerReferences) != 1 || j.OwnerReferences[0].Name != kube.PrefixRun+name {
		t.Errorf("the driver: %t %+v", ok, j.OwnerReferences)
	}
	if r := k.drive(k.Client, name); states(r) != "Succeeded a=Succeeded b=Succeeded" || !r.Detached {
		t.Error(states(r))
	}
}

func TestADryRunChecksEveryObjectAndStoresNone(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	b := pipelineOf(t, "source: ./src\n  workspace: {claim: data, size: 1Gi}", sim{name: "a", more: "sweep: {x: [1, 2]}\n    best: {max: acc}"})
	b.Pipeline.Spec.Stages = append(b.Pipeline.Spec.Stages, deployStage("a"))
	b.Files["server.yaml"] = []byte(serverManifest)
	p, err := Prepare(k.ctx(), k.Client, b, StartOptions{ID: "dry", Now: time.Now(), Driver: &Driver{Image: "registry.example/kubectl-ml:1"}})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := p.Objects()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.GetObjectKind().GroupVersionKind().Kind+" "+ObjectName(o))
	}
	want := []string{
		"ConfigMap " + b.Source.ConfigMap, "PersistentVolumeClaim data", "ConfigMap mlrun-p-dry", "Job p-dry-a-0", "Job p-dry-a-1", "Deployment server",
		"ServiceAccount kubectl-ml-driver", "Role kubectl-ml-driver", "RoleBinding kubectl-ml-driver", "Job p-dry-driver",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if err := CheckObjects(k.ctx(), k.Client, objects); err != nil {
		t.Error(err)
	}
	if k.records() != 0 || k.configMapExists(b.Source.ConfigMap) {
		t.Error("the dry run has stored something")
	}
}
