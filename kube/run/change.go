package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// change applies f to a run as it stands and stores the record. When somebody else changed it meanwhile, f decides
// again on the new state. With dryRun the server checks the change and stores nothing.
func change(ctx context.Context, c *client.Client, name string, dryRun []string, f func(r *Run) error) (Run, error) {
	var out Run
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o, err := observe(ctx, c, name)
		if err != nil {
			return err
		}
		if err := f(&o.run); err != nil {
			return err
		}
		out = o.run
		if err := o.run.encode(o.cm); err != nil {
			return err
		}
		_, err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Update(ctx, o.cm, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
		return err
	})
	if apierrors.IsConflict(err) {
		return out, fmt.Errorf("run %s changes too fast: other clients are working on it; try again", name)
	}
	return out, c.Explain("change run "+name, plain(err))
}

// plain keeps our own errors out of the translation of API errors.
func plain(err error) error {
	var s apierrors.APIStatus
	var own *Refused
	if err == nil || errors.As(err, &own) || !errors.As(err, &s) {
		return wrapRefused(err)
	}
	return err
}

// wrapRefused marks err as said already.
func wrapRefused(err error) error {
	if err == nil {
		return nil
	}
	return &client.Error{What: err.Error(), Err: err}
}

// Refused is a change that a run's state does not allow.
type Refused struct{ Reason string }

func (e *Refused) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &Refused{Reason: fmt.Sprintf(format, args...)} }

// Cancel ends a run: nothing new starts, and what runs is deleted by the next Advance.
func Cancel(ctx context.Context, c *client.Client, name string, mark Mark, dryRun []string) (Run, error) {
	return change(ctx, c, name, dryRun, func(r *Run) error {
		if r.End != nil {
			return refuse("run %s has ended already: %s", name, r.State)
		}
		r.Record.Cancel = &mark
		return nil
	})
}

// Retry gives the stages that did not succeed, or those from a named stage on, another attempt.
// Drive the run afterwards.
func Retry(ctx context.Context, c *client.Client, name, from string, dryRun []string) (Run, []string, error) {
	var again []string
	r, err := change(ctx, c, name, dryRun, func(r *Run) error {
		if r.End == nil && !r.State.Terminal() {
			return refuse("run %s is still %s: wait for it, or cancel it first with: kubectl ml cancel %s", name, r.State, name)
		}
		var err error
		if again, err = toRetry(r, from); err != nil {
			return err
		}
		for _, stage := range again {
			sr := r.Stages[stage]
			if sr.Outcome != nil {
				sr.Previous = append(sr.Previous, *sr.Outcome)
				sr.Attempt = r.attempt(stage) + 1
			}
			sr.Jobs, sr.Outcome, sr.Approval = nil, nil, nil
			r.Stages[stage] = sr
		}
		r.Record.Cancel, r.End = nil, nil
		if r.Timeout != nil {
			r.Deadline = ptr.To(time.Now().UTC().Add(r.Timeout.Duration))
		}
		return nil
	})
	return r, again, err
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

// Approve lets a run pass the gates of a stage, with who and why. Drive the run afterwards.
func Approve(ctx context.Context, c *client.Client, name, stage string, mark Mark, dryRun []string) (Run, error) {
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
		sr := r.Stages[stage]
		sr.Attempt, sr.Approval = r.attempt(stage), &mark
		r.Stages[stage] = sr
		r.End = nil
		return nil
	})
}

// Delete removes a run: its workload first, the record last. Its source goes when nothing else uses it.
func Delete(ctx context.Context, c *client.Client, name string, dryRun []string) (deleted []string, err error) {
	_, rec, err := getRecord(ctx, c, name)
	if err != nil {
		return nil, err
	}
	jobs, err := c.Kube.BatchV1().Jobs(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelRun: name}))
	if err != nil {
		return nil, c.Explain("list the jobs of run "+name, err)
	}
	opts := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground), DryRun: dryRun}
	for _, j := range jobs.Items {
		err := c.Kube.BatchV1().Jobs(c.Namespace).Delete(ctx, j.Name, opts)
		if err != nil && !apierrors.IsNotFound(err) {
			return deleted, c.Explain("delete job "+j.Name, err)
		}
		deleted = append(deleted, "job.batch/"+j.Name)
	}
	err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, kube.PrefixRun+name, opts)
	if err != nil && !apierrors.IsNotFound(err) {
		return deleted, c.Explain("delete the record of run "+name, err)
	}
	deleted = append(deleted, "configmap/"+kube.PrefixRun+name)
	if rec.Plan.Source == nil {
		return deleted, nil
	}
	src, err := dropSource(ctx, c, rec.Plan.Source.ConfigMap, kube.PrefixRun+name, opts)
	return append(deleted, src...), err
}

// dropSource deletes a source ConfigMap that no run and no applied pipeline but except names.
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
	err = c.Kube.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, source, opts)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.Explain("delete source "+source, err)
	}
	return []string{"configmap/" + source}, nil
}
