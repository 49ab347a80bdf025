package metrics

import (
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

func deploymentOf(name, model, version string) appsv1.Deployment {
	l := map[string]string{"app": name}
	if model != "" {
		l["kubectl-ml.dev/model"], l["kubectl-ml.dev/version"] = model, version
	}
	return appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(name), Labels: l},
		Spec:       appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: l}}},
	}
}

func replicaOf(deployment, hash, version string) metav1.PartialObjectMetadata {
	m := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: deployment + "-" + hash, OwnerReferences: []metav1.OwnerReference{{UID: types.UID(deployment), Controller: new(true)}},
	}}
	if version != "" {
		m.Labels = map[string]string{"kubectl-ml.dev/version": version}
	}
	return m
}

// TestFindWorkloads: what each name means, and the pods of it.
func TestFindWorkloads(t *testing.T) {
	part := deploymentOf("iris-predictor-00001-deployment", "", "")
	part.Labels["serving.knative.dev/service"] = "iris-predictor"
	f := &Fleet{Workloads: workloads(
		[]appsv1.Deployment{deploymentOf("web", "house", "7"), deploymentOf("web-canary", "house", "8"), deploymentOf("web-else", "", ""), deploymentOf("other", "house", "3"), part, deploymentOf("none", "", "")},
		[]appsv1.StatefulSet{{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "llm"}}},
		[]metav1.PartialObjectMetadata{replicaOf("web", "6f7d8c9b5", "7"), replicaOf("web", "55555bbbb", "6"), replicaOf("web-canary", "8c9b5d7f6", "8"), replicaOf("nobody", "1", "")},
		[]corev1.Service{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "front"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"kubectl-ml.dev/model": "house"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "far"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"kubectl-ml.dev/model": "house"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "headless"}},
		},
	)}
	c := &client.Client{Namespace: "team", Kube: fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "my-model"}})}
	for arg, want := range map[string]string{
		"web": "web web-canary", "web-canary": "web web-canary", "deploy/web": "web web-canary", "deployments.apps/web": "web web-canary", "model/house": "other web web-canary", "house": "other web web-canary",
		"svc/front": "other web web-canary", "front": "other web web-canary", "llm": "llm", "sts/llm": "llm", "iris-predictor": "iris-predictor-00001-deployment",
		"isvc/iris-predictor": "iris-predictor-00001-deployment", "web-else": "web-else", "pod/my-model": "my-model", "my-model": "my-model",
	} {
		list, err := f.Find(t.Context(), c, arg)
		var names []string
		for _, w := range list {
			names = append(names, w.Name)
		}
		if got := strings.Join(names, " "); got != want || err != nil {
			t.Errorf("%s means %q (%v), want %q", arg, got, err, want)
		}
	}
	for arg, want := range map[string]string{
		"nothing": `nothing that serves is named "nothing" in namespace team`, "job/web": "job/web is no kind that serves", "svc/far": "nothing that serves", "sts/web": "nothing that serves", "": "nothing that serves", "pod/x": "nothing that serves",
	} {
		if list, err := f.Find(t.Context(), c, arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v (%v)", arg, list, err)
		}
	}
	for _, c := range []struct {
		name, pod string
		want      bool
	}{
		{"web", "web-6f7d8c9b5-x7k2p", true}, {"web", "web-55555bbbb-x7k2p", true}, {"web", "web-canary-8c9b5d7f6-z2wq4", false}, {"web", "web-else-6f7d8c9b5-x7k2p", false}, {"web", "web", false},
		{"llm", "llm-0", true}, {"llm", "llm-12", true}, {"llm", "llm-x7k2p-x7k2p", false}, {"llm", "llm2-0", false},
		{"none", "none-6f7d8c9b5-x7k2p", true}, {"none", "none-canary-8c9b5d7f6-z2wq4", false},
	} {
		w := f.where(func(w *Workload) bool { return w.Name == c.name })[0]
		if got := regexp.MustCompile("^(?:" + strings.Join(w.patterns(), "|") + ")$").MatchString(c.pod); got != c.want {
			t.Errorf("%s has pod %s: %t", c.name, c.pod, got)
		}
	}
	web := f.where(func(w *Workload) bool { return w.Name == "web" })[0]
	for group, want := range map[string]string{"web-6f7d8c9b5": "7", "web-55555bbbb": "6"} {
		if v, ok := web.owns(group); v != want || !ok {
			t.Errorf("%s serves version %s", group, v)
		}
	}
}
