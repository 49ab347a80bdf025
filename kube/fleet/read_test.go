package fleet

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// connect makes a client, whose requests are noted in asked when that is given.
func connect(t *testing.T, cfg *rest.Config, ns string, asked *wireLog) *client.Client {
	t.Helper()
	if asked != nil {
		cfg = rest.CopyConfig(cfg)
		cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) { asked.note(r); return rt.RoundTrip(r) })
		})
	}
	c, err := client.New(cfg, ns)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wireLog notes what is asked of the server.
type wireLog struct {
	mu  sync.Mutex
	all []string
}

func (r *wireLog) note(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, req.URL.Path)
}

// take gives the paths so far, in order of the alphabet, and forgets them.
func (r *wireLog) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	slices.Sort(all)
	return all
}

// until reads again until the fleet is as wanted.
func until(t *testing.T, c *client.Client, o Options, what string, ok func(*Snapshot) bool) *Snapshot {
	t.Helper()
	limit := time.Now().Add(90 * time.Second)
	for {
		s, err := Read(t.Context(), c, o)
		if err == nil && ok(s) {
			return s
		}
		if time.Now().After(limit) {
			var briefs []string
			if s != nil {
				for _, w := range s.Works {
					briefs = append(briefs, brief(w))
				}
			}
			t.Fatalf("waited in vain until %s; error %v, works:\n%s", what, err, strings.Join(briefs, "\n"))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// onGPUs is the spec of a pod that runs on simulated GPU nodes until it is deleted.
func onGPUs(n int64) corev1.PodSpec {
	c := container("nvidia.com/gpu", n)
	c.Image = "example.com/train"
	return corev1.PodSpec{
		Containers: []corev1.Container{c}, NodeSelector: map[string]string{"type": "kwok"},
		Tolerations: []corev1.Toleration{{Key: "kwok.x-k8s.io/node", Operator: corev1.TolerationOpExists}},
	}
}

func gpuTemplate(name string, n int64) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}, Annotations: map[string]string{"sandbox.kubectl-ml.dev/duration": "1h"}}, Spec: onGPUs(n),
	}
}

func gpuJob(name string, n int64) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Template: gpuTemplate(name, n)}}
	j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return j
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestReadKinds(t *testing.T) {
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	c := connect(t, sandbox.Config(t), ns, nil)
	ctx, create, cs := t.Context(), metav1.CreateOptions{}, c.Kube

	selector := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	}
	must[*appsv1.Deployment](t)(cs.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "serve"}, Spec: appsv1.DeploymentSpec{Replicas: pointer(int32(2)), Selector: selector("serve"), Template: gpuTemplate("serve", 1)},
	}, create))
	must[*appsv1.StatefulSet](t)(cs.AppsV1().StatefulSets(ns).Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "notebook"}, Spec: appsv1.StatefulSetSpec{Selector: selector("notebook"), Template: gpuTemplate("notebook", 1)},
	}, create))
	must[*appsv1.Deployment](t)(cs.AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{Selector: selector("web"), Template: gpuTemplate("web", 0)},
	}, create))
	cron := must[*batchv1.CronJob](t)(cs.BatchV1().CronJobs(ns).Create(ctx, &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "nightly"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: gpuJob("", 1).Spec}},
	}, create))
	child := gpuJob("nightly-1", 1)
	child.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	child.Annotations = map[string]string{kube.AnnotationAppliedBy: "ada"}
	must[*batchv1.Job](t)(cs.BatchV1().Jobs(ns).Create(ctx, child, create))
	must[*batchv1.Job](t)(cs.BatchV1().Jobs(ns).Create(ctx, gpuJob("too-large", 100), create))
	must[*batchv1.Job](t)(cs.BatchV1().Jobs(ns).Create(ctx, gpuJob("plain", 0), create))
	must[*corev1.Pod](t)(cs.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare", Labels: map[string]string{"team": "a"}}, Spec: onGPUs(1)}, create))

	o := Options{Namespace: ns, Nodes: true}
	s := until(t, c, o, "all run", func(s *Snapshot) bool {
		running := 0
		for _, w := range s.Works {
			if w.State == job.Running && w.Ready == w.Want {
				running++
			}
		}
		return running == 4 && len(s.Works) == 5 && s.Works[4].Reason == "Unschedulable"
	})
	if len(s.Problems) != 0 {
		t.Errorf("problems %v", s.Problems)
	}
	want := map[string]string{
		"Pod/bare": "1/1 gpus 1 held 1", "Job/nightly-1": "1/1 gpus 1 held 1", "StatefulSet/notebook": "1/1 gpus 1 held 1",
		"Deployment/serve": "2/2 gpus 2 held 2", "Job/too-large": "0/1 gpus 100 held 0",
	}
	for _, w := range s.Works {
		if got := fmt.Sprintf("%d/%d gpus %d held %d", w.Ready, w.Want, w.GPUs, w.Held); got != want[w.Kind+"/"+w.Name] {
			t.Errorf("%s/%s: %s, want %s", w.Kind, w.Name, got, want[w.Kind+"/"+w.Name])
		}
		if w.State == job.Running && !strings.HasPrefix(w.Product, "NVIDIA-") {
			t.Errorf("%s: product %q", w.Name, w.Product)
		}
	}
	if w, err := Find(s.Works, "nightly-1"); err != nil || w.Owner == nil || w.Owner.Name != "nightly" || w.By != "ada" {
		t.Errorf("the Job of a CronJob: %+v, %v", w, err)
	}
	held, used := int64(0), int64(0)
	for _, w := range s.Works {
		held += w.Held
	}
	for _, n := range s.Nodes {
		used += n.Used
	}
	if len(s.Nodes) < 4 || used < held {
		t.Errorf("%d nodes, %d used of %d held here", len(s.Nodes), used, held)
	}
	s = until(t, c, Options{Namespace: ns, Selector: "team=a"}, "there is one with the label", func(s *Snapshot) bool { return len(s.Works) == 1 })
	if s.Works[0].Name != "bare" || s.Nodes != nil {
		t.Errorf("%+v", s)
	}
	s = until(t, c, Options{Namespace: ns, Plain: true}, "plain Jobs are read", func(s *Snapshot) bool { return len(s.Works) == 6 })
	if _, err := Find(s.Works, "plain"); err != nil {
		t.Error(err)
	}
	if _, err := Read(ctx, c, Options{Selector: "a in ("}); err == nil || !strings.Contains(err.Error(), "label selector") {
		t.Errorf("a selector that is none: %v", err)
	}
	s = until(t, c, Options{Namespace: ns, Models: true}, "models are read", func(s *Snapshot) bool { return len(s.Works) == 5 })
	if w, err := Find(s.Works, "notebook"); err != nil || !strings.HasPrefix(w.Product, "NVIDIA-") || s.Nodes != nil {
		t.Errorf("work %+v, nodes %v, %v", w, s.Nodes, err)
	}
	everywhere := until(t, c, Options{Nodes: true}, "all namespaces are read", func(s *Snapshot) bool { return len(s.Works) >= 5 })
	if _, err := Find(everywhere.Works, "too-large"); err != nil {
		t.Error(err)
	}
}

// TestReadLittle reads as users who may see little.
func TestReadLittle(t *testing.T) {
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	admin := connect(t, sandbox.Config(t), ns, nil)
	ctx, create := t.Context(), metav1.CreateOptions{}
	must[*batchv1.Job](t)(admin.Kube.BatchV1().Jobs(ns).Create(ctx, gpuJob("train", 1), create))
	until(t, admin, Options{Namespace: ns}, "the Job runs", func(s *Snapshot) bool { return len(s.Works) == 1 && s.Works[0].State == job.Running })

	as := func(user string, rules ...rbacv1.PolicyRule) *client.Client {
		must[*rbacv1.Role](t)(admin.Kube.RbacV1().Roles(ns).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules}, create))
		must[*rbacv1.RoleBinding](t)(admin.Kube.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		}, create))
		cfg := sandbox.Config(t)
		cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		return connect(t, cfg, ns, nil)
	}
	list := func(group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"list"}}
	}
	for user, tc := range map[string]struct {
		rules    []rbacv1.PolicyRule
		kind     string
		state    string
		readable []string // no Problem names these
	}{
		"sees-pods": {[]rbacv1.PolicyRule{list("", "pods")}, "Job", job.Running, []string{"pods"}},
		"sees-jobs": {[]rbacv1.PolicyRule{list("batch", "jobs")}, "Job", job.Running, []string{"jobs.batch"}},
	} {
		c := as(user, tc.rules...)
		s := until(t, c, Options{Namespace: ns, Nodes: true}, "the rights hold", func(s *Snapshot) bool { return len(s.Works) == 1 && s.Works[0].State == tc.state })
		if w := s.Works[0]; w.Kind != tc.kind || w.Name != "train" || w.State != tc.state || w.GPUs != 1 || w.Ready != 1 {
			t.Errorf("%s: %s", user, brief(w))
		}
		named := map[string]bool{}
		for _, p := range s.Problems {
			named[p.Resource] = true
			if !strings.Contains(p.Err.Error(), "forbidden: needs list ") {
				t.Errorf("%s: %s: %v", user, p.Resource, p.Err)
			}
		}
		for _, r := range []string{"pods", "jobs.batch", "deployments.apps", "statefulsets.apps", "nodes"} {
			if named[r] == slices.Contains(tc.readable, r) {
				t.Errorf("%s: problems %v", user, s.Problems)
			}
		}
	}
	nobody := as("sees-nothing")
	if s, err := Read(ctx, nobody, Options{Namespace: ns}); err == nil || !apierrors.IsForbidden(err) {
		t.Errorf("nothing can be read, and the answer is %v, %v", s, err)
	}
	// Nodes may be read, and pods of one namespace only.
	some := as("sees-nodes", list("", "pods"))
	must[*rbacv1.ClusterRole](t)(admin.Kube.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: ns}, Rules: []rbacv1.PolicyRule{list("", "nodes")}}, create))
	must[*rbacv1.ClusterRoleBinding](t)(admin.Kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ns}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ns},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "sees-nodes"}},
	}, create))
	t.Cleanup(func() {
		_ = admin.Kube.RbacV1().ClusterRoles().Delete(context.Background(), ns, metav1.DeleteOptions{})
		_ = admin.Kube.RbacV1().ClusterRoleBindings().Delete(context.Background(), ns, metav1.DeleteOptions{})
	})
	s := until(t, some, Options{Namespace: ns, Nodes: true}, "nodes are seen", func(s *Snapshot) bool { return len(s.Nodes) > 0 })
	if s.Nodes[0].Used != Unknown || s.Nodes[0].Total == 0 {
		t.Errorf("node %+v", s.Nodes[0])
	}
	if !slices.ContainsFunc(s.Problems, func(p Problem) bool { return p.Resource == "pods of other namespaces" }) {
		t.Errorf("problems %v", s.Problems)
	}
}

// TestRequests counts what is asked of the server: it must not grow with the number of Jobs.
func TestRequests(t *testing.T) {
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	admin := connect(t, sandbox.Config(t), ns, nil)
	asked := &wireLog{}
	c := connect(t, sandbox.Config(t), ns, asked)
	one := func(i int) error {
		j := gpuJob(fmt.Sprintf("j-%d", i), 1)
		j.Spec.Template.Spec.NodeSelector = map[string]string{"nobody": "has-this"}
		if i%10 == 0 { // each of these has an owner of its own that must be asked for
			r, err := admin.Kube.AppsV1().ReplicaSets(ns).Create(t.Context(), &appsv1.ReplicaSet{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("r-%d", i)},
				Spec: appsv1.ReplicaSetSpec{
					Replicas: pointer(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "r"}}, Template: gpuTemplate("r", 0),
				},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			j.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(r, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
		}
		_, err := admin.Kube.BatchV1().Jobs(ns).Create(t.Context(), j, metav1.CreateOptions{})
		return err
	}
	made := 0
	more := func(n int) {
		var tasks sync.WaitGroup
		for lane := range 8 {
			tasks.Go(func() {
				for i := made + lane; i < n; i += 8 {
					if err := one(i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		tasks.Wait()
		made = n
		until(t, admin, Options{Namespace: ns}, "all wait", func(s *Snapshot) bool {
			pods := 0
			for _, w := range s.Works {
				pods += len(w.Pods)
			}
			return pods == n
		})
	}
	count := func(n int) []string {
		more(n)
		if _, err := Read(t.Context(), c, Options{Namespace: ns, Nodes: true}); err != nil {
			t.Fatal(err)
		}
		return asked.take()
	}
	few, many := count(20), count(200)
	if !slices.Equal(few, many) {
		t.Errorf("with 20 Jobs %d requests: %v\nwith 200 Jobs %d: %v", len(few), few, len(many), many)
	}
	t.Logf("%d requests: %v", len(many), many)
	again := map[string]bool{}
	for _, path := range many {
		if again[path] {
			t.Errorf("%s is asked for twice", path)
		}
		again[path] = true
	}
}

// TestReadCustom reads a kind of a CRD, and one above it that is known by name only.
func TestReadCustom(t *testing.T) {
	sandbox := kubetest.Open(t)
	ns := sandbox.Namespace(t)
	c := connect(t, sandbox.Config(t), ns, nil)
	define(t, c, "kubeflow.org", "v1", "PyTorchJob", "pytorchjobs")
	define(t, c, "fleet.test", "v1", "Sweep", "sweeps")

	sweep := makeObject(t, c, schema.GroupVersionResource{Group: "fleet.test", Version: "v1", Resource: "sweeps"}, ns, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "fleet.test/v1", "kind": "Sweep", "metadata": map[string]any{"name": "sweep", "labels": map[string]any{"team": "b"}},
	}})
	source := fixtures(t, "kinds/pytorchjob.yaml")[0]
	for name, owner := range map[string]*unstructured.Unstructured{"llama": nil, "sweep-1": sweep} {
		u := source.DeepCopy()
		u.SetUID("")
		u.SetName(name)
		u.SetNamespace("")
		u.SetCreationTimestamp(metav1.Time{})
		if owner != nil {
			u.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(owner, owner.GroupVersionKind())})
		}
		u = makeObject(t, c, schema.GroupVersionResource{Group: "kubeflow.org", Version: "v1", Resource: "pytorchjobs"}, ns, u)
		for i, role := range []string{"master", "worker"} {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: fmt.Sprintf("%s-%s-0", name, role), Labels: map[string]string{"training.kubeflow.org/replica-type": role, "training.kubeflow.org/replica-index": "0"},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(u, u.GroupVersionKind())},
			}, Spec: onGPUs(1)}
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "RANK", Value: fmt.Sprint(i)}}
			must[*corev1.Pod](t)(c.Kube.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{}))
		}
	}
	s := until(t, c, Options{Namespace: ns}, "both run", func(s *Snapshot) bool {
		return len(s.Works) == 2 && s.Works[0].Ready == 2 && s.Works[1].Ready == 2
	})
	got := brief(s.Works[0]) + "\n" + brief(s.Works[1])
	want := "PyTorchJob/llama; Running ; 2/4; gpus 32 held 2; pods llama-master-0 llama-worker-0\nSweep/sweep; Running ; 2/4; gpus 32 held 2; pods sweep-1-master-0 sweep-1-worker-0"
	if got != want {
		t.Errorf("works\n%s\nwant\n%s", got, want)
	}
	if w := s.Works[0]; w.Queue != "research" || w.By != "ada@example.com" || w.Pods[1].Role != "worker" || w.Pods[1].Rank != 1 {
		t.Errorf("work %+v, pod %+v", w, w.Pods[1])
	}
	if s.Works[1].Labels["team"] != "b" || len(s.Problems) > 0 {
		t.Errorf("labels %v, problems %v", s.Works[1].Labels, s.Problems)
	}
}

func makeObject(t *testing.T, c *client.Client, gvr schema.GroupVersionResource, ns string, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for {
		made, err := c.Dynamic.Resource(gvr).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{})
		if err == nil {
			return made
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the definition is not served yet
	}
}

// define makes a custom kind without a schema, unless the cluster has it, and removes it after the test.
func define(t *testing.T, c *client.Client, group, version, kindName, plural string) {
	t.Helper()
	crds := c.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	name := plural + "." + group
	_, err := crds.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"kind": kindName, "plural": plural},
			"versions": []any{map[string]any{"name": version, "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := crds.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	})
}
