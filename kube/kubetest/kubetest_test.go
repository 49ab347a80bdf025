package kubetest_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

func TestTheSandboxIsSharedAndItsNamespacesAreNot(t *testing.T) {
	s := kubetest.Open(t)
	began := time.Now()
	again := kubetest.Open(t)
	if again != s {
		t.Errorf("a second Open gave %+v, the first %+v", again, s)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a second Open took %s", took)
	}
	if a, b := s.Namespace(t), s.Namespace(t); a == b {
		t.Errorf("two tests share the namespace %s", a)
	}
	client, err := kubernetes.NewForConfig(s.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{LabelSelector: "nvidia.com/gpu.present=true"})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) == 0 {
		t.Error("no GPU nodes")
	}
}

func TestASandboxWithControllersIsAnother(t *testing.T) {
	s := kubetest.OpenWith(t, "jobset")
	client, err := kubernetes.NewForConfig(s.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Discovery().ServerResourcesForGroupVersion("jobset.x-k8s.io/v1alpha2"); err != nil {
		t.Errorf("a sandbox with JobSet: %v", err)
	}
}
