package diagnose_test

import (
	"context"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
)

// kueue is a resource of Kueue.
func kueue(kind string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: kind + "s"}
}

// apply creates an object of Kueue; one of the cluster is removed with the test.
func (w world) apply(text string) {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.NewReplacer("OWN", w.ns, "\t", "  ").Replace(text)), &u.Object); err != nil {
		w.t.Fatal(err)
	}
	gvr := kueue(strings.ToLower(u.GetKind()))
	w.must(w.c.Dynamic.Resource(gvr).Namespace(u.GetNamespace()).Create(w.t.Context(), u, metav1.CreateOptions{}))
	if u.GetNamespace() == "" {
		w.t.Cleanup(func() {
			_ = w.c.Dynamic.Resource(gvr).Delete(context.Background(), u.GetName(), metav1.DeleteOptions{})
		})
	}
}

func queuedIn(queue string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Labels = map[string]string{"kueue.x-k8s.io/queue-name": queue}
		j.Spec.Suspend = ptr.To(true)
	}
}

// TestRealKueue asks why of Jobs that a real Kueue holds.
func TestRealKueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kubetest.OpenWith(t, "jobset", "kueue"))
	w.job("before", queuedIn("training"), asks("nvidia.com/gpu", "1"))
	w.expect("before", "QueueNotFound", diagnose.Certain, "the namespace has no queue at all")

	w.apply("{apiVersion: kueue.x-k8s.io/v1beta1, kind: ResourceFlavor, metadata: {name: OWN}}")
	w.apply(`
apiVersion: kueue.x-k8s.io/v1beta1
kind: ClusterQueue
metadata: {name: OWN}
spec: {namespaceSelector: {}, resourceGroups: [{coveredResources: [nvidia.com/gpu], flavors: [{name: OWN, resources: [{name: nvidia.com/gpu, nominalQuota: 2}]}]}]}`)
	w.apply("{apiVersion: kueue.x-k8s.io/v1beta1, kind: LocalQueue, metadata: {name: training, namespace: OWN}, spec: {clusterQueue: OWN}}")
	w.apply("{apiVersion: kueue.x-k8s.io/v1beta1, kind: LocalQueue, metadata: {name: lost, namespace: OWN}, spec: {clusterQueue: nothing-OWN}}")
	w.awaitRunning("before")
	w.job("typo", queuedIn("trainnig"), asks("nvidia.com/gpu", "1"))
	w.expect("typo", "QueueNotFound", diagnose.Certain, "the namespace has the queues lost, training", "kueue.x-k8s.io/queue-name=lost --overwrite")
	w.job("nowhere", queuedIn("lost"), asks("nvidia.com/gpu", "1"))
	w.expect("nowhere", "QueueInactive", diagnose.Certain, "nothing-"+w.ns+", which does not exist")

	w.job("second", queuedIn("training"), asks("nvidia.com/gpu", "2"))
	w.expect("second", "QueuedForQuota", diagnose.Certain, "it waits in queue training for quota, ", "number 1 in it", "insufficient unused quota for nvidia.com/gpu", "1 of 2 nvidia.com/gpu used")
	w.job("larger", queuedIn("training"), asks("nvidia.com/gpu", "4"))
	w.expect("larger", "LargerThanQueue", diagnose.Certain, "flavor "+w.ns+" has 2 at most")
	w.job("other", queuedIn("training"), asks("amd.com/gpu", "1"))
	w.expect("other", "ResourceNotInQueue", diagnose.Certain, "no quota for amd.com/gpu")

	stop := func(kind, ns, name, policy string) {
		patch := []byte(`{"spec":{"stopPolicy":"` + policy + `"}}`)
		w.must(w.c.Dynamic.Resource(kueue(kind)).Namespace(ns).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}))
	}
	stop("localqueue", w.ns, "training", "Hold")
	w.expect("second", "QueueStopped", diagnose.Certain, "queue training is stopped (stopPolicy: Hold)")
	stop("localqueue", w.ns, "training", "None")
	stop("clusterqueue", "", w.ns, "Hold")
	w.expect("second", "QueueStopped", diagnose.Certain, "cluster queue "+w.ns+" is stopped")
	stop("clusterqueue", "", w.ns, "None")

	list, err := w.c.Dynamic.Resource(kueue("workload")).Namespace(w.ns).List(t.Context(), metav1.ListOptions{})
	w.must(list, err)
	for _, load := range list.Items {
		if strings.HasPrefix(load.GetName(), "job-second-") {
			w.must(w.c.Dynamic.Resource(kueue("workload")).Namespace(w.ns).Patch(t.Context(), load.GetName(), types.MergePatchType, []byte(`{"spec":{"active":false}}`), metav1.PatchOptions{}))
		}
	}
	w.expect("second", "WorkloadDeactivated", diagnose.Certain, "kubectl ml resume job/second")
}
