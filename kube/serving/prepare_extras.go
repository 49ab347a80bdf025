package serving

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// decideExtras builds what stands beside the Deployment and is not there yet, or is asked for.
func (p *Prepared) decideExtras(ctx context.Context, q *Request) error {
	s := q.Deploy.Serve
	if s == nil {
		s = &pipeline.Serve{}
	}
	name := q.Name
	svc := p.l.service
	side := ""
	if q.Deploy.Strategy == pipeline.BlueGreen {
		side = p.newSide()
	}
	if svc == nil {
		found, err := p.findService(ctx)
		if err != nil {
			return err
		}
		switch {
		case found == nil || side != "":
			svc = service(name, plain(p.want), side)
			p.extras = append(p.extras, svc)
		default:
			svc = found
		}
	}
	if sel := svc.Spec.Selector; p.l.service != nil && !selects(sel, p.want.Spec.Template.Labels) {
		return refuse("service %s selects %s, which the pods of %s are not: change the Service, or choose another name with --to", svc.Name, labels.FormatLabels(sel), name)
	}
	replicas := ptr.Deref(p.want.Spec.Replicas, 1)
	if s.Autoscale != nil {
		at := p.want
		if side != "" {
			at = p.want.DeepCopy()
			at.Name = deploymentName(name, side)
			if p.active != nil {
				at.Name = p.active.Name
			}
		}
		h := autoscaler(name, at, s.Autoscale)
		if p.l.scaler != nil && p.l.scaler.Name != h.Name {
			return refuse("horizontalpodautoscaler %s scales %s already: change that one, or leave out --autoscale", p.l.scaler.Name, name)
		}
		p.extras = append(p.extras, h)
		replicas = max(replicas, s.Autoscale.Min)
	}
	if s.DisruptionBudget != nil || replicas > 1 && p.active == nil {
		p.extras = append(p.extras, budget(name, plain(p.want), s.DisruptionBudget))
	}
	if s.Gateway != "" {
		if err := p.needRoutes(q); err != nil {
			return err
		}
		if q.Route == "" {
			q.Route = name
			u := route(svc, p.want, s.Gateway, s.Host)
			_, err := p.l.c.Dynamic.Resource(routes()).Namespace(p.l.c.Namespace).Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				p.extras = append(p.extras, u)
			} else if err != nil {
				return p.l.c.Explain("read httproute "+name, err)
			}
		}
	} else if s.Host != "" {
		p.extras = append(p.extras, ingress(svc, p.want, s.Host))
	}
	return p.checkRoute(ctx, q)
}

// plain is a Deployment as seen by what selects the pods of all its sides.
func plain(d *appsv1.Deployment) *appsv1.Deployment {
	d = d.DeepCopy()
	delete(d.Spec.Selector.MatchLabels, kube.LabelSide)
	return d
}

func selects(selector, of map[string]string) bool {
	if len(selector) == 0 {
		return false
	}
	for k, v := range selector {
		if k != kube.LabelSide && of[k] != v {
			return false
		}
	}
	return true
}

// findService is the Service that selects the pods, nil for none. Several are no matter: all of them get the new pods.
func (p *Prepared) findService(ctx context.Context) (*corev1.Service, error) {
	list, err := p.l.c.Kube.CoreV1().Services(p.l.c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, p.l.c.Explain("look for the service of "+p.l.name, err)
	}
	for i := range list.Items {
		if s := &list.Items[i]; selects(s.Spec.Selector, p.want.Spec.Template.Labels) && s.Spec.Selector[kube.LabelSide] == "" && len(s.Spec.Ports) > 0 {
			return s, nil
		}
	}
	return nil, nil
}

// needRoutes refuses a Gateway where the cluster has none.
func (p *Prepared) needRoutes(q *Request) error {
	_, err := p.l.c.Kube.Discovery().ServerResourcesForGroupVersion(routes().GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return refuse("the cluster has no Gateway API (%s): leave out the gateway of %s, or install it", routes().GroupVersion(), q.Name)
	}
	return p.l.c.Explain("look for the Gateway API", err)
}

// checkRoute wants the route of a canary to lead to its Service.
func (p *Prepared) checkRoute(ctx context.Context, q *Request) error {
	if q.Route == "" || q.Deploy.Strategy != pipeline.Canary || p.active == nil {
		return nil
	}
	if err := p.needRoutes(q); err != nil {
		return err
	}
	u, err := p.l.c.Dynamic.Resource(routes()).Namespace(p.l.c.Namespace).Get(ctx, q.Route, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && q.Route == q.Name && slices.ContainsFunc(p.extras, func(o runtime.Object) bool { return o.GetObjectKind().GroupVersionKind().Kind == "HTTPRoute" }):
		return nil
	case err != nil:
		return p.l.c.Explain("read httproute "+q.Route, err)
	case !routed(u, q.Name):
		return refuse("httproute %s has no rule that leads to service %s", q.Route, q.Name)
	case p.active.Spec.Template.Labels[kube.LabelSide] != sideStable:
		return refuse("the pods of %s are not labelled %s=%s yet, so a route cannot tell them from the canary's: deploy once with --strategy rolling", q.Name, kube.LabelSide, sideStable)
	}
	return nil
}
