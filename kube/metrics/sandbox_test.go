package metrics

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// TestAPodAndItsDevices follows a pod of the sandbox to the devices that its exporter says it has.
func TestAPodAndItsDevices(t *testing.T) {
	t.Parallel()
	sandbox := kubetest.Open(t)
	kube := kubernetes.NewForConfigOrDie(sandbox.Config(t))
	ns := sandbox.Namespace(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "idler", Annotations: map[string]string{"sandbox.kubectl-ml.dev/gpu-util": "2", "sandbox.kubectl-ml.dev/xid": "79"}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"type": "kwok", "nvidia.com/gpu.present": "true"}, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "main", Image: "x", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}}}},
		},
	}
	if _, err := kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c, _ := connect(t, ns, "")
	s, err := Find(t.Context(), c, Options{URL: sandbox.Prometheus})
	if err != nil {
		t.Fatal(err)
	}
	var got []Device
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		if got, err = s.Devices(t.Context(), Query{Namespace: ns, Window: time.Hour}); err != nil {
			t.Fatal(err)
		}
		u := UsageOf(got)
		if u.Devices == 2 && u.MemoryUsed != nil && *u.MemoryUsed > 0 && u.Busy != nil && *u.Busy > 1 {
			break
		}
		if time.Now().After(deadline) {
			bound, _ := kube.CoreV1().Pods(ns).Get(t.Context(), "idler", metav1.GetOptions{})
			t.Fatalf("the pod on node %q has %+v", bound.Spec.NodeName, got)
		}
	}
	bound, err := kube.CoreV1().Pods(ns).Get(t.Context(), "idler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ByPod(got)[ns+"/idler"] {
		if d.Node != bound.Spec.NodeName || d.Container != "main" || d.Busy > 2 || d.Mean != d.Busy || d.XID != 79 || !strings.HasPrefix(d.UUID, "GPU-") || d.MemoryTotal < gib {
			t.Errorf("%+v", d)
		}
	}
}
