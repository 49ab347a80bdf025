package pipeline

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

func fileObject[T any](t *testing.T, name string) *T {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := yaml.UnmarshalStrict(data, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutOurs removes the labels that are added to a pod template.
func withoutOurs(labels map[string]string) map[string]string {
	var out map[string]string
	for k, v := range labels {
		if k != kube.LabelManagedBy && !strings.HasPrefix(k, ourDomain) {
			out = merged(out, map[string]string{k: v})
		}
	}
	return out
}

func TestManifestsStayAsTheyAre(t *testing.T) {
	plan := testPlan(t, Options{})
	plan.Stage("deploy").Patch = nil

	job, err := Job(plan, testRun(), "retrain", 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	job.Spec.Template.Labels = withoutOurs(job.Spec.Template.Labels)
	if d := cmp.Diff(fileObject[batchv1.Job](t, "train-house-prices-model.yaml").Spec, job.Spec); d != "" {
		t.Error("the Job's spec changed", d)
	}
	if job.Name != "house-prices-k3x9-retrain" || job.Annotations[kube.AnnotationManifestName] != "train-house-prices-model" {
		t.Errorf("metadata is %+v", job.ObjectMeta)
	}

	cron := fileObject[batchv1.CronJob](t, "daily-data-import.yaml")
	if job, err = Job(plan, testRun(), "import", 0, 1, nil); err != nil {
		t.Fatal(err)
	}
	job.Spec.Template.Labels = withoutOurs(job.Spec.Template.Labels)
	if d := cmp.Diff(cron.Spec.JobTemplate.Spec, job.Spec); d != "" {
		t.Error("the job template's spec changed", d)
	}

	crons, err := CronJobs(plan, "team")
	if err != nil {
		t.Fatal(err)
	}
	var found *batchv1.CronJob
	for _, c := range crons {
		if c.Name == "daily-data-import" {
			found = c
		}
	}
	if found == nil {
		t.Fatal("no CronJob daily-data-import")
	}
	found.Spec.JobTemplate.Labels = withoutOurs(found.Spec.JobTemplate.Labels)
	found.Spec.JobTemplate.Spec.Template.Labels = withoutOurs(found.Spec.JobTemplate.Spec.Template.Labels)
	if d := cmp.Diff(cron.Spec, found.Spec); d != "" {
		t.Error("the CronJob's spec changed", d)
	}

	deployment, err := Deployment(plan, testRun(), "deploy")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(fileObject[appsv1.Deployment](t, "house-prices-deployment.yaml").Spec, deployment.Spec); d != "" {
		t.Error("the Deployment's spec changed", d)
	}
	if deployment.Name != "house-prices-deployment" || deployment.Labels[kube.LabelStage] != "deploy" {
		t.Errorf("metadata is %+v", deployment.ObjectMeta)
	}
}

func TestReadManifestReports(t *testing.T) {
	const pod = "template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}"
	job := func(spec string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {" + spec + "}\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"good", job(pod), ""},
		{"as kubectl prints it", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, creationTimestamp: null, uid: u, resourceVersion: \"5\"}\nspec: {" + pod + "}\nstatus: {}\n", ""},
		{"empty", "", "m.yaml:1:1: the file is empty (write a manifest)"},
		{"two objects", job(pod) + "---\n" + job(pod), "m.yaml:6:1: the file holds a second document (one manifest a file: move it into a file of its own)"},
		{"a list", "apiVersion: v1\nkind: List\nitems: []\n", "kind: the file holds a list of objects (one object a file"},
		{"another kind", "apiVersion: v1\nkind: Pod\n", `m.yaml:2:7: kind: "Pod" cannot be a stage (a stage's manifest holds one Job, CronJob or Deployment)`},
		{"no kind", "a: 1\n", "kind: is missing"},
		{"old version", strings.Replace(job(pod), "batch/v1", "batch/v1beta1", 1), "m.yaml:1:13: apiVersion: must be batch/v1 for a Job (write apiVersion: batch/v1)"},
		{"typo", job("backofLimit: 1, " + pod), `m.yaml:4:8: spec.backofLimit: unknown field "backofLimit" (did you mean "backoffLimit"?)`},
		{"wrong type", job("backoffLimit: one, " + pod), "spec.backoffLimit: must be an int, not a string"},
		{"no name", strings.Replace(job(pod), "name: x", "labels: {}", 1), "metadata.name: is missing (name the Job)"},
		{"no containers", job("template: {spec: {restartPolicy: Never}}"), "spec.template.spec.containers: there are no containers"},
		{"no image", job("template: {spec: {restartPolicy: Never, containers: [{name: a}]}}"), "spec.template.spec.containers[0].image: is missing"},
		{"restart always", job("template: {spec: {containers: [{name: a, image: b}]}}"), "restartPolicy: must be Never or OnFailure in a Job (write restartPolicy: Never)"},
		{"exported selector", job("selector: {matchLabels: {a: b}}, " + pod), "spec.selector: was made by the cluster for another Job (remove it)"},
		{"cron without schedule", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {jobTemplate: {spec: {" + pod + "}}}\n", "spec.schedule: is missing"},
		{"not YAML", "a: b: c\n", "m.yaml:1:1: not valid YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := readManifest("m.yaml", []byte(c.text))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(raw), "status") || strings.Contains(string(raw), "uid") {
					t.Errorf("what the cluster wrote is kept: %s", raw)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
}

func TestManifestErrors(t *testing.T) {
	const text = head + "  stages:\n  - {name: a, manifest: job.yaml}\n"
	const pod = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, namespace: other}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}\n"
	resolve := func(pipeline, manifest string) (*Plan, error) {
		p, _, err := Load("p.yaml", []byte(pipeline))
		if err != nil {
			t.Fatal(err)
		}
		return Resolve(p, "r", Options{ReadFile: func(string) ([]byte, error) {
			if manifest == "" {
				return nil, os.ErrNotExist
			}
			return []byte(manifest), nil
		}})
	}
	if _, err := resolve(text, ""); err == nil || !strings.Contains(err.Error(), "stage a: manifest: file does not exist") {
		t.Error(err)
	}
	plan, err := resolve(text, pod)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Job(plan, testRun(), "a", 0, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "stage a: manifest job.yaml is for namespace other, the run is in team: remove metadata.namespace") {
		t.Error(err)
	}
	_, err = resolve(head+"  stages: [{name: a, deploy: {manifest: job.yaml}}]\n", pod)
	if err == nil || !strings.Contains(err.Error(), "deploy rolls out a Deployment, job.yaml is a Job") {
		t.Error(err)
	}
	_, err = resolve(head+"  stages: [{name: a, manifest: job.yaml, patch: {spec: {replicas: 2}}}]\n", pod)
	if err == nil || !strings.Contains(err.Error(), `patch of job.yaml: spec.replicas: unknown field "replicas"`) {
		t.Error(err)
	}
	plan, err = resolve(head+"  stages: [{name: a, manifest: job.yaml, patch: {spec: {backoffLimit: 4}}}]\n", strings.Replace(pod, ", namespace: other", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	job, err := Job(plan, testRun(), "a", 0, 1, nil)
	if err != nil || *job.Spec.BackoffLimit != 4 || job.Name != "house-prices-k3x9-a" || job.Annotations[kube.AnnotationManifestName] != "x" {
		t.Errorf("patched job is %+v, %v", job, err)
	}
}

// Names and labels of everything that is built are such as the API server takes, however long the parts.
func TestLongNamesAreValid(t *testing.T) {
	long := strings.Repeat("p", 40)
	stage := strings.Repeat("s", 40)
	p, _, err := Load("p.yaml", []byte(strings.Replace(head, "demo", long, 1)+"  stages: [{name: "+stage+", image: b:1, schedule: \"@daily\", model: "+strings.Repeat("m", 40)+"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Resolve(p, "r", Options{})
	if err != nil {
		t.Fatal(err)
	}
	job, err := Job(plan, RunRef{Name: long + "-k3x9zz", Namespace: "team"}, stage, 0, 12, nil)
	if err != nil {
		t.Fatal(err)
	}
	crons, err := CronJobs(plan, "team")
	if err != nil {
		t.Fatal(err)
	}
	if e := validation.IsDNS1123Label(job.Name); len(e) > 0 {
		t.Error(job.Name, e)
	}
	if name := crons[0].Name; len(name) > maxCronJobName || len(validation.IsDNS1123Label(name)) > 0 {
		t.Error(name)
	}
	for k, v := range merged(job.Labels, job.Spec.Template.Labels, crons[0].Labels) {
		if len(validation.IsQualifiedName(k))+len(validation.IsValidLabelValue(v)) > 0 {
			t.Error(k, v)
		}
	}
}
