package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// do changes one thing, only as it was seen: who has an old view gets a conflict.
func (l *live) do(ctx context.Context, a action) error {
	r := l.rec
	switch a.do {
	case scaleStable, scaleOld:
		return l.scale(ctx, r.Old, a.n)
	case scaleNext:
		return l.scale(ctx, r.New, a.n)
	case specStable:
		return l.respec(ctx, a.n, a.before)
	case putNext:
		return l.putNext(ctx, a.n)
	case dropNext:
		return l.dropNext(ctx)
	case weigh:
		return l.setWeight(ctx, int64(a.n), a.last)
	case choose:
		return l.choose(ctx, a.side)
	case retarget:
		h := l.scaler.DeepCopy()
		h.Spec.ScaleTargetRef = scaleTarget(deploymentName(l.name, a.side))
		_, err := l.c.Kube.AutoscalingV2().HorizontalPodAutoscalers(l.c.Namespace).Update(ctx, h, updated())
		return l.explain("point horizontalpodautoscaler "+h.Name+" to "+h.Spec.ScaleTargetRef.Name, err)
	case judge:
		return l.startGates(ctx)
	}
	return fmt.Errorf("rollout %s: no such action: %s", l.name, a.do)
}

func updated() metav1.UpdateOptions { return metav1.UpdateOptions{FieldManager: kube.FieldManager} }

// explain leaves a conflict as it is: it is no fault but a reason to look again.
func (l *live) explain(doing string, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return err
	}
	return l.c.Explain(doing, err)
}

func (l *live) update(ctx context.Context, doing string, d *appsv1.Deployment) error {
	got, err := l.c.Kube.AppsV1().Deployments(l.c.Namespace).Update(ctx, d, updated())
	if err != nil {
		return l.explain(doing, err)
	}
	for side, have := range l.sides {
		if have.Name == got.Name {
			l.sides[side] = got
		}
	}
	return nil
}

func (l *live) scale(ctx context.Context, side string, n int32) error {
	if l.sides[side] == nil {
		return nil
	}
	d := l.sides[side].DeepCopy()
	d.Spec.Replicas = &n
	return l.update(ctx, fmt.Sprintf("scale deployment %s to %d", d.Name, n), d)
}

// respec gives the stable Deployment the spec of the target, or the pods that it had before.
func (l *live) respec(ctx context.Context, n int32, before bool) error {
	d, err := l.respecced(n, before)
	if err != nil {
		return err
	}
	if !before && len(l.rec.Apply) > 0 {
		return l.applyManifest(ctx, d)
	}
	return l.update(ctx, "change deployment "+d.Name, d)
}

// respecced is the stable Deployment with its next spec.
func (l *live) respecced(n int32, before bool) (*appsv1.Deployment, error) {
	d, r := l.sides[sideStable].DeepCopy(), l.rec
	if !l.scaledNow() {
		d.Spec.Replicas = &n
	}
	if before {
		if r.Before != nil && d.Spec.Template.Annotations[kube.AnnotationRollout] == r.ID {
			d.Spec.Template = *r.Before.DeepCopy()
			identify(d, d.Spec.Template.Annotations)
		}
		return d, nil
	}
	if r.Target == nil {
		return nil, fmt.Errorf("the record of rollout %s has lost its target: abort it with: kubectl ml rollout abort %s", l.name, l.name)
	}
	replicas, selector := d.Spec.Replicas, d.Spec.Selector
	d.Spec = *r.Target.DeepCopy()
	d.Spec.Replicas, d.Spec.Selector = replicas, selector
	identify(d, d.Spec.Template.Annotations)
	return d, nil
}

// identify copies to a Deployment what its template says of the version.
func identify(d *appsv1.Deployment, template map[string]string) {
	for _, key := range []string{kube.LabelModel, kube.LabelVersion} {
		if v := template[key]; v != "" {
			put(&d.Labels, map[string]string{key: v})
			put(&d.Annotations, map[string]string{key: v})
		} else {
			delete(d.Labels, key)
			delete(d.Annotations, key)
		}
	}
	if v := template[kube.AnnotationDigest]; v != "" {
		put(&d.Annotations, map[string]string{kube.AnnotationDigest: v})
	} else {
		delete(d.Annotations, kube.AnnotationDigest)
	}
}

func (l *live) scaledNow() bool { return l.scaler != nil && l.scales(l.scaler) == sideStable }

// applyManifest applies the user's manifest by server-side apply, under the resourceVersion that was seen. Fields that
// it does not name stay with whoever set them.
func (l *live) applyManifest(ctx context.Context, like *appsv1.Deployment) error {
	d := &appsv1.Deployment{}
	if err := json.Unmarshal(l.rec.Apply, d); err != nil {
		return fmt.Errorf("read the manifest in the record of rollout %s: %w", l.name, err)
	}
	d.ResourceVersion = like.ResourceVersion
	d.Spec.Replicas = nil
	if !l.scaledNow() {
		d.Spec.Replicas = like.Spec.Replicas
	}
	put(&d.Annotations, map[string]string{kube.AnnotationRollout: like.Annotations[kube.AnnotationRollout]})
	put(&d.Spec.Template.Annotations, map[string]string{kube.AnnotationRollout: l.rec.ID})
	_, err := applyDeployment(ctx, l.c.Kube.AppsV1().Deployments(l.c.Namespace), d, nil)
	return l.explain("apply deployment "+d.Name, err)
}

type applier interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*appsv1.Deployment, error)
}

// applyDeployment takes over the fields that the Deployment names and leaves the others to whoever set them.
func applyDeployment(ctx context.Context, api applier, d *appsv1.Deployment, dryRun []string) (*appsv1.Deployment, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return api.Patch(ctx, d.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: kube.FieldManager, Force: ptr.To(true), DryRun: dryRun})
}

// putNext makes the Deployment of the new side, or gives the one that is there the target's spec.
func (l *live) putNext(ctx context.Context, n int32) error {
	r := l.rec
	if r.Target == nil {
		return fmt.Errorf("the record of rollout %s has lost its target: abort it with: kubectl ml rollout abort %s", l.name, l.name)
	}
	labels := map[string]string{kube.LabelModel: r.Model, kube.LabelVersion: strconv.Itoa(r.To)}
	d := sideDeployment(l.name, r.New, labels, *r.Target, n)
	identify(d, d.Spec.Template.Annotations)
	d.Namespace = l.c.Namespace
	if have := l.sides[r.New]; have != nil {
		d = have.DeepCopy()
		fresh := sideDeployment(l.name, r.New, labels, *r.Target, n).Spec
		fresh.Selector = d.Spec.Selector
		d.Spec = fresh
		identify(d, d.Spec.Template.Annotations)
		return l.update(ctx, "change deployment "+d.Name, d)
	}
	if r.New == sideCanary {
		s := l.sides[sideStable]
		d.OwnerReferences = []metav1.OwnerReference{{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: s.Name, UID: s.UID}}
		if err := l.sideServices(ctx); err != nil {
			return err
		}
	}
	_, err := l.c.Kube.AppsV1().Deployments(l.c.Namespace).Create(ctx, d, metav1.CreateOptions{FieldManager: kube.FieldManager})
	return l.explain("create deployment "+d.Name, err)
}

// sideServices makes the Services by which a route and gates reach each side of a canary. They go with the canary.
func (l *live) sideServices(ctx context.Context) error {
	if !l.rec.needsSides() {
		return nil
	}
	for _, side := range []string{sideStable, sideCanary} {
		s := l.sideService(side)
		_, err := l.c.Kube.CoreV1().Services(l.c.Namespace).Create(ctx, s, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return l.explain("create service "+s.Name, err)
		}
	}
	return nil
}

// sideService selects the pods of one side. Pods that were not made by a rollout have no label of a side.
func (l *live) sideService(side string) *corev1.Service {
	d := l.sides[sideStable]
	by := side
	if d.Spec.Template.Labels[kube.LabelSide] != side && side == sideStable {
		by = ""
	}
	s := service(l.name+"-"+side, d, by)
	if side == sideCanary {
		put(&s.Spec.Selector, map[string]string{kube.LabelSide: sideCanary})
	}
	if l.service != nil && len(l.service.Spec.Ports) > 0 {
		p := l.service.Spec.Ports[0]
		s.Spec.Ports = []corev1.ServicePort{{Name: p.Name, Port: p.Port, Protocol: p.Protocol, TargetPort: p.TargetPort}}
	}
	s.OwnerReferences = []metav1.OwnerReference{{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: d.Name, UID: d.UID}}
	return s
}

// needsSides says whether each side needs an address of its own.
func (r *record) needsSides() bool {
	if r.Strategy != "canary" {
		return false
	}
	if r.Route != "" {
		return true
	}
	for _, s := range r.Steps {
		for _, g := range s.Gates {
			if g.Job != nil {
				return true
			}
		}
	}
	return false
}

// dropNext removes the canary as it was seen, and what led to it.
func (l *live) dropNext(ctx context.Context) error {
	d := l.sides[l.rec.New]
	if d == nil {
		return nil
	}
	err := l.c.Kube.AppsV1().Deployments(l.c.Namespace).Delete(ctx, d.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		Preconditions:     &metav1.Preconditions{UID: &d.UID, ResourceVersion: &d.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return l.explain("delete deployment "+d.Name, err)
	}
	if l.rec.New != sideCanary {
		return nil
	}
	services := l.c.Kube.CoreV1().Services(l.c.Namespace)
	for _, side := range []string{sideStable, sideCanary} {
		s, err := services.Get(ctx, l.name+"-"+side, metav1.GetOptions{})
		if err != nil || s.Labels[kube.LabelManagedBy] != kube.ManagedBy {
			continue // what is left goes with the stable Deployment
		}
		_ = services.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}})
	}
	return nil
}

// choose lets the Service select the pods of a side.
func (l *live) choose(ctx context.Context, side string) error {
	if l.service == nil {
		return fmt.Errorf("service %s is gone: make it again by deploying anew", l.name)
	}
	s := l.service.DeepCopy()
	put(&s.Spec.Selector, map[string]string{kube.LabelSide: side})
	got, err := l.c.Kube.CoreV1().Services(l.c.Namespace).Update(ctx, s, updated())
	if err == nil {
		l.service = got
	}
	return l.explain("switch service "+l.name+" to "+side, err)
}

// save stores the record under the resourceVersion of its object.
func (l *live) save(ctx context.Context, r *record) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	doing := "record the rollout of " + l.name
	if l.onService {
		s := l.service.DeepCopy()
		s.Annotations = maps.Clone(s.Annotations)
		put(&s.Annotations, map[string]string{kube.AnnotationRollout: text})
		got, err := l.c.Kube.CoreV1().Services(l.c.Namespace).Update(ctx, s, updated())
		if err == nil {
			l.service, l.rec = got, r
		}
		return l.explain(doing, err)
	}
	d := l.sides[sideStable].DeepCopy()
	d.Annotations = maps.Clone(d.Annotations)
	put(&d.Annotations, map[string]string{kube.AnnotationRollout: text})
	if err := l.update(ctx, doing, d); err != nil {
		return err
	}
	l.rec = r
	return nil
}
