package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// Prepared is a rollout that has not begun.
type Prepared struct {
	l   *live
	rec *record
	// active is the Deployment that serves now, nil for none; want is that Deployment, or the first one, as it shall be.
	active, want *appsv1.Deployment
	// extras stand beside it: Service, autoscaler, and so on.
	extras []runtime.Object
	// request is what was asked for, to prepare it anew; nil for an undo. tries counts that.
	request *Request
	tries   int
	// going is the rollout that goes on already for the same request; Unchanged says that the version serves as it is asked for.
	going     bool
	unchanged bool
}

// RefusedError is something that the state of a rollout does not allow.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// Prepare works out what serving a version takes. It changes nothing.
func Prepare(ctx context.Context, c *client.Client, q Request) (*Prepared, error) {
	asked := q
	if err := q.locate(ctx, c); err != nil {
		return nil, err
	}
	manifest, err := q.complete(c.Namespace)
	if err != nil {
		return nil, err
	}
	l, err := find(ctx, c, q.Name)
	if err != nil {
		return nil, err
	}
	p := &Prepared{l: l, request: &asked}
	if going, err := l.busy(&q); err != nil || going {
		p.going = going
		return p, err
	}
	if err := l.readRest(ctx); err != nil {
		return nil, err
	}
	if err := l.chooseStrategy(&q); err != nil {
		return nil, err
	}
	side := l.activeSide()
	p.active = l.sides[side]
	if err := p.decideWant(ctx, &q, manifest); err != nil {
		return nil, err
	}
	if err := p.decideExtras(ctx, &q); err != nil {
		return nil, err
	}
	return p, p.decideRecord(&q, side)
}

// locate names what serves the model already, where the request names nothing.
func (q *Request) locate(ctx context.Context, c *client.Client) error {
	if q.Name != "" || q.Deploy.Name != "" || len(q.Object) > 0 {
		return nil
	}
	list, err := List(ctx, c, false, kube.LabelModel+"="+q.Version.Model)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	switch {
	case len(names) == 1:
		q.Name = names[0]
	case len(names) > 1 && !slices.Contains(names, q.Version.Model):
		return refuse("%s is served by %s: say which with --to NAME", q.Version.Model, strings.Join(names, ", "))
	}
	return nil
}

// complete fills in the name and checks the request for what can be said without a cluster.
func (q *Request) complete(namespace string) (*appsv1.Deployment, error) {
	var manifest *appsv1.Deployment
	if len(q.Object) > 0 {
		var err error
		if manifest, err = decodeManifest(q.Object, namespace); err != nil {
			return nil, err
		}
	}
	if q.Name == "" {
		q.Name = q.Deploy.Name
	}
	if q.Name == "" && manifest != nil {
		q.Name = manifest.Name
	}
	if q.Name == "" {
		q.Name = q.Version.Model
	}
	v := q.Version
	switch {
	case v.Archived != nil:
		return nil, refuse("%s:%d is archived: restore it first with: kubectl ml model archive %s:%d --restore", v.Model, v.Version, v.Model, v.Version)
	case v.Approval != nil && v.Approval.State == "rejected":
		return nil, refuse("%s:%d was rejected by %s: approve it first with: kubectl ml model approve %s:%d", v.Model, v.Version, v.Approval.By, v.Model, v.Version)
	}
	if q.Run != "" && q.Keep == nil {
		// Nobody stays behind after a run to free the old side.
		q.Keep = new(time.Duration)
	}
	var last int32
	for _, s := range q.Deploy.Steps {
		if s.Weight < 1 || s.Weight > 100 || s.Weight <= last {
			return nil, refuse("the weights of the steps must grow, from 1 to 100 percent: %d does not", s.Weight)
		}
		last = s.Weight
	}
	if s := q.Deploy.Serve; s != nil && s.Autoscale != nil && max(1, s.Autoscale.Min) > s.Autoscale.Max {
		return nil, refuse("autoscale %d:%d has its least above its most", s.Autoscale.Min, s.Autoscale.Max)
	}
	return manifest, checkName(q.Name)
}

// busy refuses a second rollout beside one that goes on; the same one is no second.
func (l *live) busy(q *Request) (going bool, err error) {
	r := l.rec
	switch {
	case r == nil:
		return false, nil
	case q.Key != "" && r.Key == q.Key:
		return true, nil
	case r.State.ended() || r.State == switched:
		return false, nil
	case r.Model == q.Version.Model && r.To == q.Version.Version && r.State != aborting:
		return true, nil
	}
	doing := "is being rolled out"
	if r.State == aborting {
		doing = "is being taken back"
	}
	return false, refuse("%s:%d %s on %s, begun by %s at %s\n  see it with: kubectl ml rollout status %s; end it with: kubectl ml rollout abort %s",
		r.Model, r.To, doing, l.name, r.By, r.Started.Format(time.RFC3339), l.name, l.name)
}

// activeSide is the side that serves when nothing is rolled out.
func (l *live) activeSide() string {
	r := l.rec
	switch {
	case r == nil || r.Strategy != pipeline.BlueGreen:
		return sideStable
	case r.State == healthy || r.State == switched:
		return r.New
	}
	return r.Old
}

// chooseStrategy settles on what the name has: colours stay colours, and where nothing serves there is nothing to compare with.
func (l *live) chooseStrategy(q *Request) error {
	coloured := l.rec != nil && l.onService
	switch s := q.Deploy.Strategy; {
	case s == "" && coloured:
		q.Deploy.Strategy = pipeline.BlueGreen
	case s == "":
		q.Deploy.Strategy = pipeline.Rolling
		if len(q.Deploy.Steps) > 0 {
			q.Deploy.Strategy = pipeline.Canary
		}
	case coloured && s != pipeline.BlueGreen:
		return refuse("%s is served by two colours: deploy with --strategy bluegreen, or choose another name with --to", l.name)
	}
	if q.Deploy.Strategy == pipeline.Rolling && len(q.Deploy.Steps) > 0 {
		return refuse("a rolling rollout has no steps: use --strategy canary")
	}
	if q.Deploy.Strategy == pipeline.Canary && len(q.Deploy.Steps) == 0 {
		// A tenth that a person looks at is the least that can be called a canary.
		q.Deploy.Steps = []pipeline.DeployStep{{Weight: 10, Pause: &pipeline.Pause{Approval: true}}}
	}
	return nil
}

// decideWant builds the Deployment as it shall be.
func (p *Prepared) decideWant(ctx context.Context, q *Request, manifest *appsv1.Deployment) error {
	volumes := strings.HasPrefix(q.Version.Artifact.URI, "oci://") && hasImageVolumes(p.l.c)
	base, live := p.active, p.active
	switch {
	case manifest != nil:
		if err := p.checkManifest(ctx, q, manifest); err != nil {
			return err
		}
		base = manifest.DeepCopy()
		base.Name = q.Name
	case live == nil:
		base = skeleton(q.Name)
		generated(q)
	case live.Labels[kube.LabelModel] == "":
		return refuse("deployment %s exists and serves no version of a model yet: give its manifest with -f, or choose another name with --to", live.Name)
	case live.Labels[kube.LabelModel] != q.Version.Model:
		return refuse("deployment %s serves model %s, not %s: choose another name with --to", live.Name, live.Labels[kube.LabelModel], q.Version.Model)
	}
	want, err := overlay(base, q, volumes)
	if err != nil {
		return err
	}
	want.Namespace = p.l.c.Namespace
	p.rec = &record{}
	if manifest != nil {
		body, err := json.Marshal(want)
		if err != nil {
			return fmt.Errorf("keep the manifest: %w", err)
		}
		p.rec.Apply = body
		if live != nil && q.Deploy.Strategy != pipeline.BlueGreen {
			// The server says what comes of it: what others have set stays.
			if p.l.scaledNow() {
				want.Spec.Replicas = nil
			}
			want, err = applyDeployment(ctx, p.l.c.Kube.AppsV1().Deployments(p.l.c.Namespace), want, []string{metav1.DryRunAll})
			if err != nil {
				return p.l.c.Explain("check deployment "+q.Name, err)
			}
		}
	}
	if manifest == nil && live != nil {
		// The server fills in defaults and says what it does not take; without them nothing could be compared.
		asked := want.DeepCopy()
		asked.ResourceVersion = ""
		if side := live.Spec.Template.Labels[kube.LabelSide]; side != "" {
			asked.Spec.Template.Labels[kube.LabelSide] = side
		}
		if want, err = p.l.c.Kube.AppsV1().Deployments(p.l.c.Namespace).Update(ctx, asked, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: []string{metav1.DryRunAll}}); err != nil {
			return p.l.explain("check deployment "+live.Name, err)
		}
		want.Spec.Template.Labels[kube.LabelSide] = sideStable
	}
	p.want = want
	return nil
}

// checkManifest refuses what could not be applied, before anything is.
func (p *Prepared) checkManifest(ctx context.Context, q *Request, m *appsv1.Deployment) error {
	if d := p.active; d != nil && q.Deploy.Strategy != pipeline.BlueGreen && !reflect.DeepEqual(d.Spec.Selector, m.Spec.Selector) {
		return refuse("the manifest's selector %s differs from that of deployment %s, %s, which cannot change: use its selector, or another name with --to",
			metav1.FormatLabelSelector(m.Spec.Selector), d.Name, metav1.FormatLabelSelector(d.Spec.Selector))
	}
	if m.Name == q.Name || m.Name == "" {
		return nil
	}
	other, err := p.l.c.Kube.AppsV1().Deployments(p.l.c.Namespace).Get(ctx, m.Name, metav1.GetOptions{})
	if err == nil && reflect.DeepEqual(other.Spec.Selector, m.Spec.Selector) {
		return refuse("the manifest is of deployment %s, which exists and selects the same pods: deploy to it by leaving out --to, or give the manifest another selector", m.Name)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return p.l.c.Explain("look for deployment "+m.Name, err)
	}
	return nil
}

// generated fills in what a Deployment without a manifest needs.
func generated(q *Request) {
	s := pipeline.Serve{}
	if q.Deploy.Serve != nil {
		s = *q.Deploy.Serve
	}
	if s.Port == 0 {
		s.Port = pipeline.DefaultServePort
	}
	if s.Replicas == nil {
		s.Replicas = ptr.To[int32](1)
		if s.Autoscale != nil {
			s.Replicas = ptr.To(max(1, s.Autoscale.Min))
		}
	}
	q.Deploy.Serve = &s
}

// hasImageVolumes says whether the server mounts images: it does for everybody since 1.36.
func hasImageVolumes(c *client.Client) bool {
	v, err := c.Kube.Discovery().ServerVersion()
	if err != nil {
		return false
	}
	minor, err := strconv.Atoi(strings.TrimRight(v.Minor, "+"))
	return err == nil && (v.Major != "1" || minor >= 36)
}

// newSide is the colour that takes over.
func (p *Prepared) newSide() string {
	if p.l.activeSide() == sideBlue && p.active != nil {
		return sideGreen
	}
	return sideBlue
}

// decideRecord settles who gives way to whom.
func (p *Prepared) decideRecord(q *Request, side string) error {
	now := time.Now().UTC()
	v := q.Version
	r := &record{
		ID: rand.String(6), Key: q.Key, State: stepping, Model: v.Model, To: v.Version, Digest: v.Artifact.Digest, Strategy: q.Deploy.Strategy,
		Old: sideStable, New: sideCanary, Size: ptr.Deref(p.want.Spec.Replicas, 1), Steps: q.Deploy.Steps, Started: now, Since: now,
		Apply: p.rec.Apply, Route: q.Route, NoAbort: q.NoAbort, Alias: q.Deploy.Alias, By: q.By, Comment: q.Comment, Run: q.Run, Stage: q.Stage,
	}
	if q.Keep != nil {
		r.Keep = &metav1.Duration{Duration: *q.Keep}
	}
	if d := p.active; d != nil {
		r.From, r.Before = version(d.Spec.Template.Annotations), d.Spec.Template.DeepCopy()
		if p.same(d) {
			return p.decideUnchanged(r)
		}
		if ptr.Deref(d.Spec.Replicas, 1) == 0 && r.Strategy != pipeline.Rolling {
			return refuse("deployment %s is scaled to 0: scale it up first with: kubectl ml scale deployment/%s --replicas N, or deploy with --strategy rolling", d.Name, d.Name)
		}
		if p.l.scaledNow() || p.l.scaler != nil {
			r.Size = ptr.Deref(d.Spec.Replicas, 1)
		}
	}
	put(&p.want.Spec.Template.Annotations, map[string]string{kube.AnnotationRollout: r.ID})
	switch {
	case r.Strategy == pipeline.BlueGreen:
		r.Old, r.New = side, p.newSide()
		if p.active == nil {
			r.Old = ""
		}
		if r.Old == sideStable && p.active.Spec.Template.Labels[kube.LabelSide] != sideStable {
			return refuse("the pods of %s are not labelled %s=%s yet, so a Service cannot tell them from the new ones: deploy once with --strategy rolling", q.Name, kube.LabelSide, sideStable)
		}
		r.Apply = nil
		p.want.Spec.Selector = plain(p.want).Spec.Selector
	case r.Strategy == pipeline.Rolling || p.active == nil:
		// Where nothing serves yet there is nothing to compare with: all of it begins at once.
		r.Strategy, r.State, r.New, r.Steps = pipeline.Rolling, promoting, sideStable, nil
	}
	r.Target = p.want.Spec.DeepCopy()
	p.rec = r
	_, err := r.encode()
	return err
}

// decideUnchanged is for a version that serves as it is asked for: only the alias is left to move.
func (p *Prepared) decideUnchanged(asked *record) error {
	p.unchanged, p.rec = true, p.l.rec.clone()
	if asked.Alias == "" {
		p.rec.Alias = ""
		return nil
	}
	if p.rec.To != asked.To || p.rec.State != healthy && p.rec.State != switched {
		return refuse("version %d serves on %s already: move the alias with: kubectl ml model promote %s:%d --to %s", asked.To, p.l.name, asked.Model, asked.To, asked.Alias)
	}
	p.rec.Alias, p.rec.By, p.rec.Run, p.rec.Told, p.rec.Warnings = asked.Alias, asked.By, asked.Run, []string{tellBegin, tellEnd}, nil
	return nil
}

// same says whether a Deployment is already as it is wanted.
func (p *Prepared) same(d *appsv1.Deployment) bool {
	bare := func(spec appsv1.DeploymentSpec) appsv1.DeploymentSpec {
		out := *spec.DeepCopy()
		out.Template.Annotations = maps.Clone(out.Template.Annotations)
		delete(out.Template.Annotations, kube.AnnotationRollout)
		out.Template.Labels = maps.Clone(out.Template.Labels)
		delete(out.Template.Labels, kube.LabelSide)
		out.Selector = nil
		return out
	}
	if p.l.rec == nil || d.Spec.Template.Annotations[kube.AnnotationRollout] == "" || len(p.extras) > 0 {
		return false
	}
	return reflect.DeepEqual(bare(d.Spec), bare(p.want.Spec))
}

// Unchanged says whether the version serves already, as it is asked for; Going whether its rollout goes on already.
func (p *Prepared) Unchanged() bool { return p.unchanged }

// Going says whether the rollout that was asked for goes on already.
func (p *Prepared) Going() bool { return p.going }

// checkAlias asks the registry whether the alias could move, before any pod is made.
func (p *Prepared) checkAlias(ctx context.Context) error {
	if p.rec.Alias == "" {
		return nil
	}
	_, err := registry.SetAlias(ctx, p.l.c, registry.Move{
		Model: p.rec.Model, Alias: p.rec.Alias, To: p.rec.To, Action: registry.Promoted, By: p.rec.By, DryRun: []string{metav1.DryRunAll},
	})
	return err
}
