package job

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodRank(t *testing.T) {
	env := func(name, value string) []corev1.EnvVar { return []corev1.EnvVar{{Name: name, Value: value}} }
	for name, tc := range map[string]struct {
		labels, notes map[string]string
		env           []corev1.EnvVar
		bare          bool
		want          int
	}{
		"indexed":          {labels: map[string]string{"batch.kubernetes.io/job-completion-index": "3"}, env: env("RANK", "9"), want: 3},
		"training worker":  {labels: map[string]string{"training.kubeflow.org/replica-index": "0"}, env: env("RANK", "1"), want: 1},
		"rank by the node": {labels: map[string]string{"training.kubeflow.org/replica-index": "2"}, env: []corev1.EnvVar{{Name: "RANK", ValueFrom: &corev1.EnvVarSource{}}}, want: 2},
		"jax":              {env: env("PROCESS_ID", "2"), want: 2},
		"volcano":          {labels: map[string]string{"volcano.sh/task-index": "4"}, want: 4},
		"leader worker set": {labels: map[string]string{
			"leaderworkerset.sigs.k8s.io/worker-index": "1", "leaderworkerset.sigs.k8s.io/group-index": "2", "apps.kubernetes.io/pod-index": "1",
		}, notes: map[string]string{"leaderworkerset.sigs.k8s.io/size": "4"}, want: 9},
		"stateful set": {labels: map[string]string{"apps.kubernetes.io/pod-index": "5"}, want: 5},
		"a pod's own":  {env: env("RANK", "7"), bare: true, want: -1},
		"no number":    {labels: map[string]string{"volcano.sh/task-index": "x"}, env: env("RANK", "-1"), want: -1},
		"absurd":       {env: env("RANK", "99999999999999"), want: -1},
		"nothing":      {want: -1},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: tc.labels, Annotations: tc.notes}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Env: tc.env}}}}
		if !tc.bare {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "X"}}
		}
		if got := PodRank(p); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
