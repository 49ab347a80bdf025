package serving

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// target is what a rollout works on: Deployments here. do and save change only what is still
// as the look has found it that next decided on, and give a conflict otherwise. Another kind of server (an
// InferenceService, a Rollout of Argo) is another target.
type target interface {
	do(ctx context.Context, a action) error
	save(ctx context.Context, r *record) error
}

// live are the objects of a rollout as one look has found them.
type live struct {
	c    *client.Client
	name string
	rec  *record
	// onService says that the record stands on the Service.
	onService bool
	sides     map[string]*appsv1.Deployment
	service   *corev1.Service
	scaler    *autoscalingv2.HorizontalPodAutoscaler
	route     *unstructured.Unstructured
	pods      []corev1.Pod
	jobs      map[string]*batchv1.Job
	warnings  []string
}

// find reads the objects that may hold the record of a rollout. It fails only where neither is there.
func find(ctx context.Context, c *client.Client, name string) (*live, error) {
	l := &live{c: c, name: name, sides: map[string]*appsv1.Deployment{}}
	d, err := c.Kube.AppsV1().Deployments(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, c.Explain("read deployment "+name, err)
	}
	if err == nil {
		l.sides[sideStable] = d
	}
	s, err := c.Kube.CoreV1().Services(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, c.Explain("read service "+name, err)
	}
	if err == nil {
		l.service = s
	}
	return l, l.findRecord()
}

// findRecord takes the younger one of two records: a name may have changed its strategy.
func (l *live) findRecord() error {
	var byPods, byService *record
	var err error
	if d := l.sides[sideStable]; d != nil {
		if byPods, err = decodeRecord(d, "deployment/"+l.name); err != nil {
			return err
		}
	}
	if l.service != nil {
		if byService, err = decodeRecord(l.service, "service/"+l.name); err != nil {
			return err
		}
	}
	l.rec = byPods
	if byService != nil && (byPods == nil || byService.Started.After(byPods.Started)) {
		l.rec, l.onService = byService, true
	}
	return nil
}

// NotFoundError says that nothing of a name serves.
type NotFoundError struct{ Name, Namespace string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("nothing named %s serves a model in namespace %s\n  see what does with: kubectl ml rollout list; deploy a version with: kubectl ml deploy MODEL:N --to %s", e.Name, e.Namespace, e.Name)
}

// Unwrap makes it a 404 of the API.
func (e *NotFoundError) Unwrap() error {
	return apierrors.NewNotFound(appsv1.Resource("deployments"), e.Name)
}

// observe looks at a rollout.
func observe(ctx context.Context, c *client.Client, name string) (*live, error) {
	l, err := find(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if l.rec == nil && l.sides[sideStable] == nil {
		return nil, &NotFoundError{Name: name, Namespace: c.Namespace}
	}
	return l, l.readRest(ctx)
}

// readRest reads what the record tells of. Pods, autoscalers and Jobs add to it; without the right to see them the
// rollout goes on and says so.
func (l *live) readRest(ctx context.Context) error {
	c := l.c
	if r := l.rec; r != nil {
		for _, side := range []string{r.Old, r.New} {
			if side == "" || l.sides[side] != nil {
				continue
			}
			d, err := c.Kube.AppsV1().Deployments(c.Namespace).Get(ctx, deploymentName(l.name, side), metav1.GetOptions{})
			if err == nil {
				l.sides[side] = d
			} else if !apierrors.IsNotFound(err) {
				return c.Explain("read deployment "+deploymentName(l.name, side), err)
			}
		}
		if r.Route != "" {
			u, err := c.Dynamic.Resource(routes()).Namespace(c.Namespace).Get(ctx, r.Route, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return c.Explain("read httproute "+r.Route, err)
			}
			if err == nil {
				l.route = u
			}
		}
	}
	optional := func(what string, err error) {
		if err != nil {
			l.warnings = append(l.warnings, what+": "+err.Error())
		}
	}
	hpas, err := c.Kube.AutoscalingV2().HorizontalPodAutoscalers(c.Namespace).List(ctx, metav1.ListOptions{})
	if optional("autoscalers are not seen", c.Explain("", err)); err == nil {
		for i := range hpas.Items {
			if l.scales(&hpas.Items[i]) != "" {
				l.scaler = &hpas.Items[i]
			}
		}
	}
	if s := l.selector(); s != nil {
		pods, err := c.Kube.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(s).String()})
		if optional("pods are not seen", c.Explain("", err)); err == nil {
			l.pods = pods.Items
		}
	}
	optional("the gates' jobs are not seen", l.readJobs(ctx))
	return nil
}

// scales is the side that an autoscaler scales, "" for none of this rollout's.
func (l *live) scales(h *autoscalingv2.HorizontalPodAutoscaler) string {
	for _, side := range []string{sideStable, sideBlue, sideGreen} {
		if t := h.Spec.ScaleTargetRef; t.Kind == "Deployment" && t.Name == deploymentName(l.name, side) {
			return side
		}
	}
	return ""
}

// selector selects the pods of all sides.
func (l *live) selector() map[string]string {
	for _, d := range l.sides {
		if d.Spec.Selector != nil && len(d.Spec.Selector.MatchLabels) > 0 {
			out := maps.Clone(d.Spec.Selector.MatchLabels)
			delete(out, kube.LabelSide)
			return out
		}
	}
	return nil
}

// podsOf are the pods of a side. Those of a Deployment that is not ours yet have no label of a side.
func (l *live) podsOf(side string) []corev1.Pod {
	var out []corev1.Pod
	for _, p := range l.pods {
		if at := p.Labels[kube.LabelSide]; at == side || at == "" && side == sideStable {
			out = append(out, p)
		}
	}
	return out
}

// world is the look as facts.
func (l *live) world(now time.Time) world {
	w := world{now: now, rec: l.rec, weight: -1}
	side := func(name string) *seen { return decodeSide(name, l.sides[name], l.podsOf(name)) }
	if l.rec == nil {
		w.stable = side(sideStable)
		return w
	}
	if l.rec.Old != "" {
		w.stable = side(l.rec.Old)
	}
	if l.rec.New != l.rec.Old {
		w.next = side(l.rec.New)
	}
	if l.scaler != nil {
		w.scaler = l.scales(l.scaler)
		w.scaled = w.scaler == l.rec.Old
	}
	if l.service != nil {
		w.selector = l.service.Spec.Selector[kube.LabelSide]
	}
	if l.route != nil {
		w.weight = canaryWeight(l.route, deploymentName(l.name, sideCanary))
		w.withdrawn = l.route.GetAnnotations()[kube.AnnotationRollout] == l.rec.ID
	}
	w.gates = l.gates(w)
	return w
}

// Get is how the rollout of a name stands. It changes nothing.
func Get(ctx context.Context, c *client.Client, name string) (Rollout, error) {
	l, err := observe(ctx, c, name)
	if err != nil {
		return Rollout{}, err
	}
	return l.rollout(time.Now()), nil
}

// rollout is the look as people see it.
func (l *live) rollout(now time.Time) Rollout {
	w := l.world(now)
	host := l.host()
	out := Rollout{
		Name: l.name, Namespace: l.c.Namespace, UID: string(host.GetUID()), Object: "deployment/" + l.name,
		Labels: host.GetLabels(), Created: host.GetCreationTimestamp().Time, Warnings: l.warnings,
	}
	if l.onService {
		out.Object = "service/" + l.name
	}
	add := func(s *seen, serves bool) {
		if s != nil {
			out.Sides = append(out.Sides, Side{
				Side: s.side, Deployment: deploymentName(l.name, s.side), Version: s.version, Replicas: s.replicas, Ready: s.ready,
				Updated: s.updated, Restarts: s.restarts, Image: s.image, Trouble: s.trouble, Serves: serves && s.ready > 0,
			})
		}
	}
	r := l.rec
	if r == nil {
		add(w.stable, true)
		out.Phase, out.Ended = Unmanaged, true
		out.Model, out.Version, out.Stable = host.GetLabels()[kube.LabelModel], w.stable.version, w.stable.version
		return out
	}
	blueGreen := r.Strategy == pipeline.BlueGreen
	add(w.stable, !blueGreen || w.selector == "" || w.selector == r.Old)
	add(w.next, !blueGreen && w.weight != 0 || blueGreen && (w.selector == "" || w.selector == r.New))
	out.ID, out.Model, out.Version, out.Stable, out.Strategy = r.ID, r.Model, r.To, r.From, r.Strategy
	out.Alias, out.By, out.Comment, out.Run = r.Alias, r.By, r.Comment, r.Run
	out.Started, out.Since, out.End, out.GateFailed = &r.Started, &r.Since, r.Ended, r.GateFailed
	out.Warnings = append(out.Warnings, r.Warnings...)
	out.Steps, out.Gates = len(r.Steps), w.gates
	w.judgePhase(&out)
	return out
}

// judgePhase says where the rollout stands, how much of the traffic is new, and why.
func (w world) judgePhase(out *Rollout) {
	r := w.rec
	out.Weight = w.newShare()
	if st := r.step(); st != nil {
		out.Step, out.Asked = r.Step+1, int(st.Weight)
	}
	growing := w.next
	if r.State == promoting {
		growing = w.stable
	}
	if r.State == stepping || r.State == promoting || r.State == switched {
		out.Phase = Progressing
		if growing != nil && growing.id == r.ID && growing.trouble != "" {
			out.Phase, out.Message = Degraded, growing.trouble
			out.Ended = growing.broken && r.NoAbort
			return
		}
	}
	switch r.State {
	case stepping:
		out.Message = w.progress()
		switch p := w.pauses(); p {
		case "":
			if r.Reached != nil && len(w.gates) > 0 && !r.Full {
				out.Message = "the gates are judged"
			}
		case "approval":
			out.Phase, out.Approval = Paused, true
			out.Message = "waits for a person: kubectl ml rollout promote " + out.Name
		default:
			out.Phase, out.Message = Paused, p+" left of the step's pause"
		}
	case promoting:
		out.Message = replicasText(w.stable)
		if w.stable != nil && w.stable.id != r.ID {
			out.Message = "the stable side takes " + versionText(r.To)
		}
		if w.stable.settled() && w.stable.id == r.ID {
			out.Message = ""
			if w.next != nil {
				out.Message = "the canary is removed"
			}
		}
	case switched:
		if w.selector != r.New {
			out.Message = "the service switches to " + r.New
			break
		}
		out.Phase, out.Kept = Healthy, r.Old != ""
		// It may go on by itself only once the time is over for which the old side is kept.
		out.Ended = r.Keep == nil && !r.Passed && r.Old != "" && w.selector == r.New
		if out.Kept {
			out.Message = fmt.Sprintf("%s still runs %s; free it with: kubectl ml rollout promote %s", r.Old, versionText(r.From), out.Name)
		}
	case aborting:
		out.Phase, out.Message = Progressing, "taking it back: "+r.why()
	case healthy:
		out.Phase, out.Ended, out.Stable = Healthy, true, r.To
	case aborted:
		out.Phase, out.Ended, out.Message = Aborted, true, r.why()
	case failed:
		out.Phase, out.Ended, out.Message = Failed, true, r.why()
	}
	if len(r.untold(w.selector)) > 0 {
		out.Ended = false
	}
}

// why is the reason of the end in words.
func (r *record) why() string {
	switch {
	case r.Fault != "":
		return r.Fault
	case r.Stop == nil:
		return ""
	case r.Stop.Comment != "":
		return fmt.Sprintf("aborted by %s: %s", r.Stop.By, r.Stop.Comment)
	}
	return "aborted by " + r.Stop.By
}

func versionText(n int) string {
	if n == 0 {
		return "what was there before"
	}
	return "version " + strconv.Itoa(n)
}

func replicasText(s *seen) string {
	if s == nil {
		return "the deployment is gone"
	}
	return fmt.Sprintf("%d of %d pods are updated, %d ready", s.updated, s.replicas, s.ready)
}

// progress is what a step waits for.
func (w world) progress() string {
	r := w.rec
	st := r.step()
	if w.next == nil {
		return "the new side is made"
	}
	text := fmt.Sprintf("%d of %d pods of the new side are ready", w.next.ready, w.next.replicas)
	if st != nil && r.Strategy == pipeline.Canary && w.weight < 0 {
		canary, stable := w.plan()
		if d := describe(st.Weight, canary, stable); d != "" {
			text += "; " + d
		}
	}
	return text
}

// newShare is the part of the traffic that goes to the new version, in percent.
func (w world) newShare() int {
	r := w.rec
	ready := func(s *seen) int32 {
		if s == nil {
			return 0
		}
		return s.ready
	}
	switch {
	case r.Strategy == pipeline.BlueGreen:
		if w.selector == r.New && ready(w.next) > 0 {
			return 100
		}
		return 0
	case w.stable != nil && w.stable.id == r.ID:
		if n := ready(w.stable) + ready(w.next); n > 0 {
			fresh := min(ready(w.stable), w.stable.updated) + ready(w.next)
			return share(fresh, n-fresh)
		}
		return 0
	case w.weight >= 0:
		return w.weight
	}
	return share(ready(w.next), ready(w.stable))
}

// host is the object that holds the record.
func (l *live) host() metav1.Object {
	if l.onService {
		return l.service
	}
	return l.sides[sideStable]
}
