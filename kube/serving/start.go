package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// Start begins the rollout of a version and returns how it stands then. Asking again with the same key, or for the
// version that is being rolled out, starts nothing anew. Another rollout that goes on is a *RefusedError.
func Start(ctx context.Context, c *client.Client, q Request, dryRun []string) (Rollout, error) {
	p, err := Prepare(ctx, c, q)
	if err != nil {
		return Rollout{}, err
	}
	return p.Start(ctx, dryRun)
}

// Start begins what was prepared. With dryRun the server checks all objects and stores nothing.
func (p *Prepared) Start(ctx context.Context, dryRun []string) (Rollout, error) {
	l := p.l
	switch {
	case p.going:
		return Get(ctx, l.c, l.name)
	case p.unchanged && p.rec.Alias == "":
		return l.rollout(time.Now().UTC()), nil
	}
	if err := p.checkAlias(ctx); err != nil {
		return Rollout{}, err
	}
	dry := len(dryRun) > 0
	// What stands beside the Deployment comes first: a pod is not to be ready before its Service is there.
	for _, o := range p.extras {
		if err := p.apply(ctx, o, dryRun); err != nil {
			return Rollout{}, err
		}
	}
	if dry {
		return p.planned(), p.check(ctx, dryRun)
	}
	if err := p.begin(ctx); err != nil {
		return p.again(ctx, err)
	}
	return Get(ctx, l.c, l.name)
}

// again decides anew where something changed since it was looked at: most often only a status, sometimes somebody else
// was faster and the new look says so.
func (p *Prepared) again(ctx context.Context, err error) (Rollout, error) {
	var explained *client.Error
	if p.request == nil || p.tries >= maxTries || errors.As(err, &explained) || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		return Rollout{}, err
	}
	next, err := Prepare(ctx, p.l.c, *p.request)
	if err != nil {
		return Rollout{}, err
	}
	next.tries = p.tries + 1
	return next.Start(ctx, nil)
}

// maxTries is how often a rollout is prepared anew because something changed meanwhile.
const maxTries = 8

// planned is the rollout before it begins.
func (p *Prepared) planned() Rollout {
	l := &live{c: p.l.c, name: p.l.name, rec: p.rec, sides: map[string]*appsv1.Deployment{}, service: p.l.service, onService: p.rec.Strategy == pipeline.BlueGreen}
	for k, v := range p.l.sides {
		l.sides[k] = v
	}
	if l.sides[sideStable] == nil {
		l.sides[sideStable] = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: l.name, Labels: p.want.Labels}, Spec: p.want.Spec}
	}
	if l.service == nil {
		l.service = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: l.name}}
	}
	return l.rollout(p.rec.Started)
}

// begin writes the record, and with it the Deployment where that is rolled out at once.
func (p *Prepared) begin(ctx context.Context) error {
	l, r := p.l, p.rec
	text, err := r.encode()
	if err != nil {
		return err
	}
	api := l.c.Kube.AppsV1().Deployments(l.c.Namespace)
	switch {
	case r.Strategy == pipeline.BlueGreen:
		l.onService = true
		if l.service == nil {
			// It was applied just now.
			if l.service, err = l.c.Kube.CoreV1().Services(l.c.Namespace).Get(ctx, l.name, metav1.GetOptions{}); err != nil {
				return l.c.Explain("read service "+l.name, err)
			}
		}
		if l.service.Labels == nil || l.service.Labels[kube.LabelModel] == "" {
			l.service = l.service.DeepCopy()
			put(&l.service.Labels, map[string]string{kube.LabelModel: r.Model})
		}
		return l.save(ctx, r)
	case p.active == nil:
		// Created, not applied: of two who deploy at the same time one is to hear of it.
		d := p.want.DeepCopy()
		put(&d.Annotations, map[string]string{kube.AnnotationRollout: text})
		made, err := api.Create(ctx, d, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if err != nil {
			return l.explain("create deployment "+d.Name, err)
		}
		l.sides[sideStable], l.rec = made, r
		if len(r.Apply) == 0 {
			return nil
		}
		return l.ownManifest(ctx)
	case p.unchanged || r.Strategy == pipeline.Canary:
		return l.save(ctx, r)
	}
	// A rolling rollout is one change: the record and the pods together.
	l.rec = r
	d, err := l.respecced(r.Size, false)
	if err != nil {
		return err
	}
	put(&d.Annotations, map[string]string{kube.AnnotationRollout: text})
	if len(r.Apply) > 0 {
		return l.applyManifest(ctx, d)
	}
	return l.update(ctx, "change deployment "+d.Name, d)
}

// ownManifest makes the fields of a Deployment that was created known as those of an applied manifest, so that they go
// when a later manifest leaves them out.
func (l *live) ownManifest(ctx context.Context) error {
	api := l.c.Kube.AppsV1().Deployments(l.c.Namespace)
	err := retry.RetryOnConflict(patience(), func() error {
		d, err := api.Get(ctx, l.name, metav1.GetOptions{})
		if err != nil {
			return l.explain("read deployment "+l.name, err)
		}
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(d, sets.New(kube.FieldManager), kube.FieldManager)
		if err != nil || len(patch) == 0 {
			return err
		}
		_, err = api.Patch(ctx, l.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
		return l.explain("change deployment "+l.name, err)
	})
	if apierrors.IsConflict(err) {
		return nil // it is as it shall be, only less is known of whose it is
	}
	return err
}

// check lets the server check the Deployment that would be made or changed.
func (p *Prepared) check(ctx context.Context, dryRun []string) error {
	api := p.l.c.Kube.AppsV1().Deployments(p.l.c.Namespace)
	d := p.deployment()
	if p.active != nil && d.Name == p.active.Name {
		if len(p.rec.Apply) > 0 {
			return nil // the server made it of the manifest
		}
		_, err := api.Update(ctx, d, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
		return p.l.c.Explain("check deployment "+d.Name, err)
	}
	_, err := api.Create(ctx, d, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return p.l.c.Explain("check deployment "+d.Name, err)
}

// deployment is the Deployment that the rollout makes or changes first.
func (p *Prepared) deployment() *appsv1.Deployment {
	if p.rec.State == promoting {
		d := p.want.DeepCopy()
		d.Name = p.l.name
		return d
	}
	d := sideDeployment(p.l.name, p.rec.New, p.want.Labels, p.want.Spec, p.rec.Size)
	if p.rec.New == sideCanary {
		n, _ := sizes(p.rec.Size, p.rec.Steps[0].Weight, p.l.scaledNow())
		d.Spec.Replicas = &n
	}
	d.Namespace = p.l.c.Namespace
	identify(d, d.Spec.Template.Annotations)
	return d
}

// Objects are all objects that the rollout makes or changes first, as they would be sent.
func (p *Prepared) Objects() []runtime.Object {
	d := p.deployment()
	clean(d)
	return append([]runtime.Object{d}, p.extras...)
}

// clean removes what only the server writes.
func clean(d *appsv1.Deployment) {
	d.TypeMeta = metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"}
	d.ManagedFields, d.ResourceVersion, d.UID, d.Generation = nil, "", "", 0
	d.CreationTimestamp = metav1.Time{}
	d.Status = appsv1.DeploymentStatus{}
	delete(d.Annotations, kube.AnnotationRollout)
	delete(d.Annotations, "deployment.kubernetes.io/revision")
	delete(d.Spec.Template.Annotations, kube.AnnotationRollout)
}

// Before is the Deployment that serves now, and After what it, or the one that takes its place, would be. Before is nil
// where nothing serves.
func (p *Prepared) Before() (before, after *appsv1.Deployment) {
	if p.active != nil {
		before = p.active.DeepCopy()
		clean(before)
	}
	after = p.want.DeepCopy()
	clean(after)
	if before != nil {
		// The sides differ in what only tells them apart.
		after.Name, after.Spec.Selector = before.Name, before.Spec.Selector
		if after.Spec.Replicas == nil {
			after.Spec.Replicas = before.Spec.Replicas
		}
		put(&after.Spec.Template.Labels, map[string]string{kube.LabelSide: before.Spec.Template.Labels[kube.LabelSide]})
		if after.Spec.Template.Labels[kube.LabelSide] == "" {
			delete(after.Spec.Template.Labels, kube.LabelSide)
		}
		identify(after, after.Spec.Template.Annotations)
	}
	return before, after
}

// apply applies an object that stands beside the Deployment.
func (p *Prepared) apply(ctx context.Context, o runtime.Object, dryRun []string) error {
	gvr, ok := resourceOf(o)
	m, isObject := o.(metav1.Object)
	if !ok || !isObject {
		return fmt.Errorf("apply %T: not a kind of this room", o)
	}
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", gvr.Resource, m.GetName(), err)
	}
	_, err = p.l.c.Dynamic.Resource(gvr).Namespace(p.l.c.Namespace).Patch(ctx, m.GetName(), types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: kube.FieldManager, Force: ptr.To(true), DryRun: dryRun})
	return p.l.c.Explain("apply "+gvr.Resource+" "+m.GetName(), err)
}

func resourceOf(o runtime.Object) (schema.GroupVersionResource, bool) {
	switch o.GetObjectKind().GroupVersionKind().Kind {
	case "Service":
		return corev1.SchemeGroupVersion.WithResource("services"), true
	case "HorizontalPodAutoscaler":
		return autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers"), true
	case "PodDisruptionBudget":
		return policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"), true
	case "Ingress":
		return networkingv1.SchemeGroupVersion.WithResource("ingresses"), true
	case "HTTPRoute":
		return routes(), true
	}
	return schema.GroupVersionResource{}, false
}
