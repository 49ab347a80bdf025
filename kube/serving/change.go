package serving

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// patience is how often a decision is taken again while drivers take the rollout forward, some seconds in all.
func patience() wait.Backoff {
	return wait.Backoff{Steps: 10, Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5}
}

// decide applies f to the record as it stands and stores it. When the rollout went on meanwhile, f decides again.
func decide(ctx context.Context, c *client.Client, name string, dryRun []string, f func(l *live, r *record, now time.Time) (*record, error)) (Rollout, error) {
	var out Rollout
	err := retry.RetryOnConflict(patience(), func() error {
		l, err := observe(ctx, c, name)
		if err != nil {
			return err
		}
		if l.rec == nil {
			return refuse("%s was never rolled out by kubectl ml: deploy a version with: kubectl ml deploy MODEL:N --to %s -f MANIFEST", name, name)
		}
		now := time.Now().UTC()
		r, err := f(l, l.rec, now)
		if err != nil {
			return err
		}
		if len(dryRun) == 0 {
			if err := l.save(ctx, r); err != nil {
				return err
			}
		}
		l.rec = r
		out = l.rollout(now)
		return nil
	})
	if apierrors.IsConflict(err) {
		return out, fmt.Errorf("rollout %s changes too fast: other clients are working on it; try again", name)
	}
	var refused *RefusedError
	var missing *NotFoundError
	if errors.As(err, &refused) || errors.As(err, &missing) {
		return out, err
	}
	return out, c.Explain("change rollout "+name, err)
}

// Promote lets a rollout pass the pause of its step; with full it skips all that is left of the steps. Of a blue-green
// rollout that has switched it frees the old side. Drive it afterwards.
func Promote(ctx context.Context, c *client.Client, name string, full bool, mark registry.Mark, dryRun []string) (Rollout, error) {
	return decide(ctx, c, name, dryRun, func(l *live, r *record, now time.Time) (*record, error) {
		out := r.clone()
		w := l.world(now)
		switch {
		case r.State == switched && r.Old != "" && !r.Passed:
			out.Passed = true
		case r.State == promoting || r.State == switched:
			return nil, refuse("rollout %s is past its steps: %s takes over by itself", name, versionText(r.To))
		case r.State != stepping:
			return nil, refuse("nothing is rolled out on %s: %s", name, ended(r))
		case full:
			out.Full = true
		case w.pauses() == "":
			return nil, refuse("rollout %s is not paused: wait for the step, or skip all steps with --full", name)
		default:
			out.Passed = true
		}
		if mark.Comment != "" {
			out.Comment = mark.Comment
		}
		return out, nil
	})
}

// ended says how a rollout ended, in words.
func ended(r *record) string {
	switch r.State {
	case healthy:
		return versionText(r.To) + " serves"
	case aborted:
		return fmt.Sprintf("the rollout of %s was aborted", versionText(r.To))
	case failed:
		return fmt.Sprintf("the rollout of %s failed", versionText(r.To))
	case aborting:
		return fmt.Sprintf("%s is being taken back", versionText(r.To))
	}
	return string(r.State)
}

// Abort takes a rollout back: the version before serves alone, at full size, when it has ended. Drive it afterwards.
func Abort(ctx context.Context, c *client.Client, name string, mark registry.Mark, dryRun []string) (Rollout, error) {
	return decide(ctx, c, name, dryRun, func(_ *live, r *record, now time.Time) (*record, error) {
		switch {
		case r.State == aborting:
			return r, nil
		case r.State == switched || r.State == healthy && r.Before != nil:
			return nil, refuse("nothing is rolled out on %s, %s\n  go back with: kubectl ml rollout undo %s", name, ended(r), name)
		case r.State.ended():
			return nil, refuse("nothing is rolled out on %s: %s", name, ended(r))
		case r.State == promoting && r.Before == nil:
			return nil, refuse("%s is the first of %s, there is nothing to go back to: remove it with: kubectl delete deployment %s", versionText(r.To), name, name)
		}
		out := r.enter(aborting, now)
		out.Stop = &mark
		return out, nil
	})
}

// Undo goes back to the version before, or to one that served earlier (0 is the one before). A blue-green rollout switches
// back at once while the old side runs; others roll the pods back. Drive it afterwards.
func Undo(ctx context.Context, c *client.Client, name string, to int, mark registry.Mark, dryRun []string) (Rollout, error) {
	var out Rollout
	err := retry.RetryOnConflict(patience(), func() (err error) {
		out, err = undo(ctx, c, name, to, mark, dryRun)
		return err
	})
	return out, err
}

func undo(ctx context.Context, c *client.Client, name string, to int, mark registry.Mark, dryRun []string) (Rollout, error) {
	l, err := observe(ctx, c, name)
	if err != nil {
		return Rollout{}, err
	}
	r := l.rec
	switch {
	case r == nil:
		return Rollout{}, refuse("%s was never rolled out by kubectl ml: there is nothing to undo", name)
	case r.State == aborted || r.State == failed && r.Strategy != pipeline.Rolling:
		if to == 0 {
			return Rollout{}, refuse("there is nothing to undo on %s: %s, and %s serves", name, ended(r), versionText(r.From))
		}
	case !r.State.ended() && r.State != switched:
		return Rollout{}, refuse("a rollout goes on on %s: end it with: kubectl ml rollout abort %s", name, name)
	}
	now := time.Now().UTC()
	out := &record{
		ID: rand.String(6), Model: r.Model, Strategy: pipeline.Rolling, State: promoting, Old: sideStable, New: sideStable,
		Size: r.Size, Started: now, Since: now, Alias: "", By: mark.By, Comment: mark.Comment,
	}
	if out.Comment == "" {
		out.Comment = "undo of version " + versionNumber(r.To)
	}
	if r.Strategy == pipeline.BlueGreen {
		return l.undoColour(ctx, out, to, dryRun)
	}
	template, err := l.earlier(ctx, to)
	if err != nil {
		return Rollout{}, err
	}
	d := l.sides[sideStable]
	out.To, out.From, out.Digest = version(template.Annotations), version(d.Spec.Template.Annotations), template.Annotations[kube.AnnotationDigest]
	if n := ptr.Deref(d.Spec.Replicas, 1); n > 0 && l.scaledNow() {
		out.Size = n
	}
	out.Before = d.Spec.Template.DeepCopy()
	spec := d.Spec.DeepCopy()
	spec.Template = *template.DeepCopy()
	put(&spec.Template.Annotations, map[string]string{kube.AnnotationRollout: out.ID})
	out.Target = spec
	p := &Prepared{l: l, rec: out, active: d, want: &appsv1.Deployment{ObjectMeta: d.ObjectMeta, Spec: *spec}}
	return p.Start(ctx, dryRun)
}

func versionNumber(n int) string { return fmt.Sprint(n) }

// earlier is the pod template of the version before, or of a version that the Deployment's history still has.
func (l *live) earlier(ctx context.Context, to int) (*corev1.PodTemplateSpec, error) {
	r, d := l.rec, l.sides[sideStable]
	if d == nil {
		return nil, refuse("deployment %s is gone", l.name)
	}
	now := version(d.Spec.Template.Annotations)
	switch {
	case to == now && to != 0:
		return nil, refuse("version %d serves on %s already", to, l.name)
	case r.Before != nil && (to == 0 || version(r.Before.Annotations) == to):
		return r.Before, nil
	case to == 0:
		return nil, refuse("version %d is the first of %s: there is nothing to go back to", now, l.name)
	}
	sets, err := l.c.Kube.AppsV1().ReplicaSets(l.c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(d.Spec.Selector.MatchLabels).String()})
	if err != nil {
		return nil, l.c.Explain("look for version "+versionNumber(to)+" of "+l.name, err)
	}
	var best *appsv1.ReplicaSet
	for i, rs := range sets.Items {
		if metav1.IsControlledBy(&sets.Items[i], d) && version(rs.Spec.Template.Annotations) == to && (best == nil || rs.CreationTimestamp.After(best.CreationTimestamp.Time)) {
			best = &sets.Items[i]
		}
	}
	if best == nil {
		return nil, refuse("version %d never served on %s, or its ReplicaSet is gone: deploy it with: kubectl ml deploy %s:%d --to %s", to, l.name, r.Model, to, l.name)
	}
	delete(best.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return &best.Spec.Template, nil
}

// undoColour switches back to the colour before, or first brings it back to size.
func (l *live) undoColour(ctx context.Context, out *record, to int, dryRun []string) (Rollout, error) {
	r := l.rec
	serves, back := r.New, r.Old
	if r.State == aborted || r.State == failed {
		serves, back = r.Old, r.New
	}
	d := l.sides[back]
	if d == nil {
		return Rollout{}, refuse("there is no other colour of %s to go back to: deploy a version with: kubectl ml deploy %s:N --to %s", l.name, r.Model, l.name)
	}
	have := version(d.Spec.Template.Annotations)
	if to != 0 && to != have {
		return Rollout{}, refuse("the other colour of %s has version %d: deploy version %d with: kubectl ml deploy %s:%d --to %s", l.name, have, to, r.Model, to, l.name)
	}
	out.Strategy, out.Old, out.New, out.State = pipeline.BlueGreen, serves, back, stepping
	out.To, out.From, out.Digest = have, version(l.sides[serves].Spec.Template.Annotations), d.Spec.Template.Annotations[kube.AnnotationDigest]
	out.Before = l.sides[serves].Spec.Template.DeepCopy()
	out.ID = d.Spec.Template.Annotations[kube.AnnotationRollout]
	out.Target = d.Spec.DeepCopy()
	if l.scaler != nil {
		out.Size = ptr.Deref(l.sides[serves].Spec.Replicas, out.Size)
	}
	if seen := decodeSide(back, d, l.podsOf(back)); seen.settled() && seen.replicas > 0 {
		out.State, out.Image = switched, seen.image
	}
	if len(dryRun) > 0 {
		l.rec = out
		return l.rollout(out.Started), nil
	}
	// Touched, the Deployment is not what somebody has seen who is about to scale it down.
	touched := d.DeepCopy()
	put(&touched.Annotations, map[string]string{kube.AnnotationRollout + "-undone": out.Started.Format(time.RFC3339Nano)})
	if err := l.update(ctx, "change deployment "+d.Name, touched); err != nil {
		return Rollout{}, err
	}
	if err := l.save(ctx, out); err != nil {
		return Rollout{}, err
	}
	return l.rollout(out.Started), nil
}
