package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// withdraw takes back the note of a registration that the server refused for good, so that nobody waits for it.
func (r *registration) withdraw(ctx context.Context, why error) {
	if len(r.DryRun) > 0 || client.Transient(why) || ctx.Err() != nil {
		return
	}
	cm, h, err := readHead(ctx, r.c, r.facts.Model)
	if err != nil || h == nil || h.Pending == nil || h.Pending.Key != r.pending.Key {
		return
	}
	// What cannot be taken back is settled by whoever registers next.
	if h.Highest == 0 && len(h.lines) == 0 && h.cursor.Lines == 0 {
		unchanged := metav1.Preconditions{UID: &cm.UID, ResourceVersion: &cm.ResourceVersion}
		_ = r.c.Kube.CoreV1().ConfigMaps(r.c.Namespace).Delete(ctx, cm.Name, metav1.DeleteOptions{Preconditions: &unchanged})
		return
	}
	h.Pending = nil
	_ = h.store(ctx, r.c, cm, nil)
}

// finish writes the line of history, unless somebody has done so already. A version of a model that was deleted
// meanwhile is taken back: nothing would lead to it.
func (r *registration) finish(ctx context.Context, object *corev1.ConfigMap) (*Head, error) {
	model, n := r.facts.Model, r.pending.Version
	wait := newPause(patience)
	for {
		cm, h, err := readHead(ctx, r.c, model)
		switch {
		case err != nil:
			return nil, err
		case h == nil || h.Deleting != nil:
			_ = r.c.Kube.CoreV1().ConfigMaps(r.c.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &object.UID}})
			return nil, refuse("model %s was deleted while version %d was registered", model, n)
		case (h.Pending == nil || h.Pending.Version != n) && n <= h.Highest:
			return h, nil
		}
		h.adopt(object, n)
		if err = h.store(ctx, r.c, cm, nil); err == nil {
			return h, nil
		}
		if !lostRace(err) {
			return nil, err
		}
		if !wait.next(ctx) {
			return nil, tooFast(ctx, model)
		}
	}
}

// settle finishes a registration that was begun, if its record is there.
func (h *Head) settle(ctx context.Context, c *client.Client) (settled bool, err error) {
	if h.Pending == nil {
		return false, nil
	}
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, versionName(h.Model, h.Pending.Version), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, c.Explain("read version "+Ref{Model: h.Model, Version: h.Pending.Version}.String(), err)
	}
	h.adopt(cm, h.Pending.Version)
	return true, nil
}

// adopt records the object that has the name of version n: with a line of history when it is a version, else as a number
// that cannot be used.
func (h *Head) adopt(cm *corev1.ConfigMap, n int) {
	e := Event{Action: Registered, Version: n}
	if p := h.Pending; p != nil && p.Version == n {
		if p.Key == cm.Labels[kube.LabelKey] {
			e.At, e.By, e.Action = p.At, p.By, p.Action
		}
		h.Pending = nil
	}
	if n > h.Highest+1 {
		h.absent = h.absent.with(h.Highest+1, n-1)
	}
	h.Highest = max(h.Highest, n)
	if !isRecord(cm.Labels, cm.Data, kube.KindVersion, h.Model) {
		h.absent = h.absent.with(n, n)
		return
	}
	h.absent = h.absent.without(n)
	f, _ := decodeFacts(cm.Data)
	if e.At.IsZero() {
		e.At, e.By = f.CreatedAt, f.CreatedBy
	}
	e.Digest = f.Artifact.Digest
	if f.Run != nil && f.Run.Kind == "run" {
		e.Run = f.Run.Name
	}
	// The facts of a version are bounded far below what a line of history may have.
	_ = h.say(e)
	if n == h.Latest() {
		s := f.summary()
		s.Version = n
		h.take(s)
	}
}
