package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// volumes makes PersistentVolumes free again whose claim has gone.
type volumes struct {
	client dynamic.Interface
	dir    state.Dir
}

// recycle empties the folders of released volumes and offers the volumes again.
func (v *volumes) recycle(ctx context.Context) error {
	pvs := v.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"})
	list, err := pvs.List(ctx, metav1.ListOptions{LabelSelector: "sandbox.kubectl-ml.dev/volume=true"})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for _, pv := range list.Items {
		phase, _, _ := unstructured.NestedString(pv.Object, "status", "phase")
		path, _, _ := unstructured.NestedString(pv.Object, "spec", "hostPath", "path")
		if phase != "Released" || filepath.Dir(path) != v.dir.Join("volumes") {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("empty volume %s: %w", pv.GetName(), err)
		}
		if err := cluster.MakeVolume(path); err != nil {
			return err
		}
		patch := []byte(`{"spec":{"claimRef":null}}`)
		if _, err := pvs.Patch(ctx, pv.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "sandbox"}); err != nil {
			return fmt.Errorf("free volume %s: %w", pv.GetName(), err)
		}
	}
	return nil
}
