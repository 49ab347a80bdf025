package registry

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

func TestWhatServesIsNotDeleted(t *testing.T) {
	c := connect(t)
	fill(t, c, 2)
	const m = "house-prices"
	labels := map[string]string{"app": m}
	serve := func(name, version string) {
		t.Helper()
		_, err := c.Kube.AppsV1().Deployments(c.Namespace).Create(t.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{kube.LabelModel: m, kube.LabelVersion: version}},
			Spec: appsv1.DeploymentSpec{
				Replicas: ptr.To(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x"}}}},
			},
		}, metav1.CreateOptions{})
		must(t)(err)
	}
	serve("blue", "2")
	serve("odd", "one")
	live, err := Live(t.Context(), c, m)
	if err != nil || len(live) != 2 || live[0].Version != 2 || live[0].String() != "deployment/blue" || live[1].Version != 0 {
		t.Errorf("%+v %v", live, err)
	}
	if none, err := Live(t.Context(), c, "another"); err != nil || len(none) != 0 {
		t.Errorf("%+v %v", none, err)
	}
	for what, err := range map[string]error{
		"cannot delete house-prices:2: deployment/blue serves it":              Delete(t.Context(), c, Ref{Model: m, Version: 2}, Mark{By: "ann"}, nil),
		"cannot delete house-prices: deployment/blue, deployment/odd serve it": Delete(t.Context(), c, Ref{Model: m}, Mark{By: "ann"}, nil),
		"name the version to delete by its number":                             Delete(t.Context(), c, Ref{Model: m, Alias: Latest}, Mark{By: "ann"}, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	if _, err := Archive(t.Context(), c, m, 2, false, Mark{By: "ann"}, nil); err == nil || !strings.Contains(err.Error(), "cannot archive house-prices:2: deployment/blue serves it") {
		t.Error(err)
	}
	must(t)(Delete(t.Context(), c, Ref{Model: m, Version: 1}, Mark{By: "ann"}, nil))
	settled(t, c, m, []int{2}, 3)
}
