package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// change applies f to a run as it stands and stores the record. When somebody else changed it meanwhile, f decides
// again on the new state. With dryRun the server checks the change and stores nothing.
func change(ctx context.Context, c *client.Client, name string, dryRun []string, f func(r *Run) error) (Run, error) {
	var out Run
	err := retry.RetryOnConflict(patience(), func() error {
		o, err := observe(ctx, c, name, nil)
		if err != nil {
			return err
		}
		if err := f(&o.run); err != nil {
			return err
		}
		out = Derive(o.run.Record, o.live, time.Now())
		if err := o.run.encode(o.cm); err != nil {
			return err
		}
		_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Update(ctx, o.cm, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
		return err
	})
	if apierrors.IsConflict(err) {
		return out, fmt.Errorf("run %s changes too fast: other clients are working on it; try again", name)
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		return out, err
	}
	return out, c.Explain("change run "+name, err)
}

// patience is how often a change is decided again while drivers take the run forward, some seconds in all.
func patience() wait.Backoff {
	return wait.Backoff{Steps: 10, Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5}
}

// RefusedError is a change that a run's state does not allow.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// Cancel ends a run: nothing new starts, and what runs is deleted by the next Advance. Of a run that was cancelled
// before it changes nothing, so that a cancellation can be repeated.
func Cancel(ctx context.Context, c *client.Client, name string, mark Mark, dryRun []string) (Run, error) {
	return change(ctx, c, name, dryRun, func(r *Run) error {
		if r.End != nil && r.State != Cancelled {
			return refuse("run %s has ended already: %s", name, r.State)
		}
		if r.Record.Cancel == nil {
			r.Record.Cancel = &mark
		}
		return nil
	})
}

// Retry gives the stages that did not succeed, or those from a named stage on, another attempt.
// Drive the run afterwards.
func Retry(ctx context.Context, c *client.Client, name, from string, dryRun []string) (Run, []string, error) {
	if len(dryRun) == 0 {
		// An end that nobody has recorded yet would be overlooked, and its Jobs taken for those of the new attempt.
		if _, err := Settle(ctx, c, name); err != nil {
			return Run{}, nil, err
		}
	}
	var again []string
	r, err := change(ctx, c, name, dryRun, func(r *Run) error {
		if r.End == nil && (len(dryRun) == 0 || !r.State.Terminal()) {
			return refuse("run %s is still %s: wait for it, or cancel it first with: kubectl ml cancel %s", name, r.State, name)
		}
		var err error
		if again, err = toRetry(r, from); err != nil {
			return err
		}
		r.startAgain(again, time.Now())
		return nil
	})
	return r, again, err
}

// startAgain gives stages of a run that has ended another attempt.
func (r *Record) startAgain(stages []string, now time.Time) {
	for _, stage := range stages {
		sr := r.Stages[stage]
		if sr.Outcome != nil {
			sr.Previous = append(sr.Previous, *sr.Outcome)
			sr.Attempt = r.attempt(stage) + 1
		}
		sr.Jobs, sr.Refused, sr.Outcome, sr.Approval, sr.Model, sr.Deploys, sr.Abort = nil, "", nil, nil, nil, "", ""
		r.Stages[stage] = sr
	}
	for stage, sr := range r.Stages {
		if sr.Model != nil && sr.Model.Version == 0 {
			sr.Model = nil // what kept it from being registered may be gone
			r.Stages[stage] = sr
		}
	}
	r.Cancel, r.End = nil, nil
	if r.Timeout != nil {
		r.Deadline = ptr.To(now.UTC().Add(r.Timeout.Duration))
	}
}

// toRetry are the stages that a retry starts again, in the order of the plan.
func toRetry(r *Run, from string) ([]string, error) {
	again := map[string]bool{}
	if from != "" {
		st := r.Stage(from)
		if st == nil || !st.Selected {
			return nil, refuse("run %s has no stage %q; it has: %s", r.Name, from, strings.Join(r.Selected(), ", "))
		}
		again[from] = true
	}
	var out []string
	for i, st := range r.Now {
		p := &r.Plan.Stages[i]
		if !p.Selected {
			continue
		}
		if from == "" && !st.State.passed() {
			again[st.Name] = true
		}
		// Plans are in topological order, so one pass finds everything downstream.
		if slices.ContainsFunc(p.Needs, func(n string) bool { return again[n] }) {
			again[st.Name] = true
		}
		if again[st.Name] {
			out = append(out, st.Name)
		}
	}
	if len(out) == 0 {
		return nil, refuse("run %s succeeded: name the stage to start again from with --from", r.Name)
	}
	return out, nil
}

// Selected are the names of the stages that the run runs.
func (r *Record) Selected() []string {
	var out []string
	for _, s := range r.Plan.Stages {
		if s.Selected {
			out = append(out, s.Name)
		}
	}
	return out
}

// Approve lets a run pass the gates of a stage, or its rollout the step at which it waits for a person, with who and
// why. Drive the run afterwards.
func Approve(ctx context.Context, c *client.Client, name, stage string, mark Mark, dryRun []string) (Run, error) {
	r, err := Get(ctx, c, name)
	if err != nil {
		return r, err
	}
	if i := slices.IndexFunc(r.Now, func(s Stage) bool { return s.Name == stage }); i >= 0 && r.Now[i].open && r.Now[i].State == AwaitingApproval && r.Record.Cancel == nil {
		return r, goOn(ctx, c, r.Now[i].Children[0].Job, mark, dryRun)
	}
	return change(ctx, c, name, dryRun, func(r *Run) error {
		i := slices.IndexFunc(r.Now, func(s Stage) bool { return s.Name == stage })
		if i < 0 {
			return refuse("run %s has no stage %q; it has: %s", name, stage, strings.Join(r.Selected(), ", "))
		}
		if st := r.Now[i]; st.State != GateFailed && st.State != AwaitingApproval {
			return refuse("stage %s of run %s is %s: only a breached gate or one that awaits approval can be approved", stage, name, st.State)
		}
		if r.Record.Cancel != nil {
			return refuse("run %s was cancelled: retry it first with: kubectl ml retry %s", name, name)
		}
		if r.State == TimedOut {
			return refuse("run %s has run out of time: retry it first with: kubectl ml retry %s", name, name)
		}
		sr := r.Stages[stage]
		sr.Attempt, sr.Approval = r.attempt(stage), &mark
		r.Stages[stage] = sr
		r.End = nil
		return nil
	})
}

// Delete removes a run: its workload first, the record last. Its source goes when nothing else uses it. A record
// that is damaged can be deleted too.
func Delete(ctx context.Context, c *client.Client, name string, dryRun []string) (deleted []string, err error) {
	cm, rec, err := getRecord(ctx, c, name)
	if cm == nil {
		return nil, err
	}
	if err == nil && rec.End == nil && len(dryRun) == 0 {
		// Whoever drives the run must not start its next stage meanwhile.
		var refused *RefusedError
		_, err := Cancel(ctx, c, name, Mark{At: time.Now().UTC(), Reason: "deleted"}, nil)
		if err != nil && !errors.As(err, &refused) && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			return nil, err
		}
		if err == nil && rec.any(deploys) {
			if err := takeBackRollouts(ctx, c, name); err != nil {
				return nil, err
			}
		}
	}
	opts := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground), DryRun: dryRun}
	if deleted, err = deleteJobs(ctx, c, name, usesJobSets(rec), opts); err != nil {
		return deleted, err
	}
	err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, cm.Name, opts)
	if err != nil && !apierrors.IsNotFound(err) {
		return deleted, c.Explain("delete the record of run "+name, err)
	}
	deleted = append(deleted, "configmap/"+cm.Name)
	if source := cm.Labels[kube.LabelSource]; source != "" {
		src, err := dropSource(ctx, c, source, cm.Name, opts)
		return append(deleted, src...), err
	}
	return deleted, nil
}

// deleteJobs deletes all Jobs of a run, its driver among them, and its JobSets. Services go with what owns them.
func deleteJobs(ctx context.Context, c *client.Client, name string, sets bool, opts metav1.DeleteOptions) (deleted []string, err error) {
	if sets {
		if deleted, err = deleteJobSets(ctx, c, name, opts); err != nil {
			return deleted, err
		}
	}
	api := c.Kube.BatchV1().Jobs(c.Namespace)
	jobs, err := api.List(ctx, kube.ListOptions(map[string]string{kube.LabelRun: name}))
	if err != nil {
		return deleted, c.Explain("list the jobs of run "+name, err)
	}
	for _, j := range jobs.Items {
		if ofJobSet(&j) {
			continue
		}
		if err := api.Delete(ctx, j.Name, opts); err != nil && !apierrors.IsNotFound(err) {
			return deleted, c.Explain("delete job "+j.Name, err)
		}
		deleted = append(deleted, "job.batch/"+j.Name)
	}
	return deleted, nil
}

// dropSource deletes a source ConfigMap that no run, applied pipeline or version but except names, and no server mounts.
func dropSource(ctx context.Context, c *client.Client, source, except string, opts metav1.DeleteOptions) ([]string, error) {
	list, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelSource: source}))
	if err != nil {
		return nil, c.Explain("look who uses source "+source, err)
	}
	for _, user := range list.Items {
		if user.Name != except {
			return nil, nil
		}
	}
	servers, err := c.Kube.AppsV1().Deployments(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: kube.LabelModel})
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil // a source too many does no harm, one too few stops a server's next pod
	case err != nil:
		return nil, c.Explain("look what serves from source "+source, err)
	}
	for i := range servers.Items {
		if mounts(&servers.Items[i].Spec.Template.Spec, source) {
			return nil, nil
		}
	}
	err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, source, opts)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.Explain("delete source "+source, err)
	}
	return []string{"configmap/" + source}, nil
}

// mounts says whether a pod has a ConfigMap as a volume.
func mounts(pod *corev1.PodSpec, configMap string) bool {
	return slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil && v.ConfigMap.Name == configMap })
}
