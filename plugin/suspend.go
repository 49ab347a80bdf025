package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type suspendOptions struct {
	Name   string
	Yes    bool
	DryRun dryRun
	Output output
}

func newSuspendCmd(f *Factory, do func(context.Context, *Factory, suspendOptions) error) *cobra.Command {
	var o suspendOptions
	c := &cobra.Command{
		Use:     "suspend NAME",
		Short:   "Take a training job's pods away and keep the job",
		GroupID: groupChange,
		Long: `Suspend a training job: its pods are deleted and their GPUs are free for others; the job stays and goes on with
"kubectl ml resume NAME". What its pods did not write to a volume is lost: a training starts again from its last
checkpoint.

Works for what has a field for it: Job, JobSet, TrainJob, PyTorchJob and other Kubeflow jobs, MPIJob, RayJob,
RayCluster, Argo Workflow, AppWrapper. Where Kueue admits the job, its Workload is deactivated, so that Kueue does not
start it again. Schedules are suspended by "kubectl ml schedule suspend".`,
		Example: `  kubectl ml suspend train-llama
  kubectl ml suspend pytorchjob/bert --yes
  kubectl ml suspend house-prices-x7k2p/train --dry-run=server`,
		Args:              exactlyOne("NAME"),
		RunE:              func(c *cobra.Command, args []string) error { o.Name = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.workNames),
	}
	addYes(c, &o.Yes)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runSuspendWork(ctx context.Context, f *Factory, o suspendOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	w, err := f.work(ctx, c, o.Name)
	if err != nil {
		return err
	}
	if len(w.Nodes) > 0 {
		if err := f.confirm(fmt.Sprintf("Suspend %s and delete its %s?", w.KindName(), podsAndGPUs(w)), o.Yes || o.DryRun.dry()); err != nil {
			return err
		}
	}
	if err := f.setSuspended(ctx, c, w, true, o.DryRun, o.Output); err != nil {
		return err
	}
	if o.Output.table() && !o.DryRun.dry() {
		f.say("Let it go on with:  kubectl ml resume %s%s", w.KindName(), f.where())
	}
	return nil
}

// setSuspended suspends or resumes one piece of work and says what was done.
func (f *Factory) setSuspended(ctx context.Context, c *client.Client, w *fleet.Work, suspend bool, d dryRun, o output) error {
	set, err := fleet.Suspend(ctx, c, w, suspend, d.asked())
	if err != nil {
		return err
	}
	done := "resumed"
	if suspend {
		done = "suspended"
	}
	if set.Unchanged {
		done = "unchanged"
	}
	if set.Object.UID != w.UID {
		done += " through " + set.Object.KindName()
	}
	return f.acted(o, w, done, d)
}

// acted prints one line on what was done to a piece of work.
func (f *Factory) acted(o output, w *fleet.Work, done string, d dryRun) error {
	if !o.table() {
		return f.one(o, workItem(w, w))
	}
	f.print("%s %s%s\n", w.KindName(), done, d.suffix())
	return nil
}

func podsAndGPUs(w *fleet.Work) string {
	alive := int64(0)
	for _, p := range w.Pods {
		if !p.Final() {
			alive++
		}
	}
	text := views.Plural(alive, "pod", "pods")
	if w.Held > 0 {
		text += fmt.Sprintf(", which hold %s", views.Plural(w.Held, "GPU", "GPUs"))
	}
	return text
}

type scaleOptions struct {
	Name     string
	Replicas int32
	DryRun   dryRun
	Output   output
}

func newScaleCmd(f *Factory, do func(context.Context, *Factory, scaleOptions) error) *cobra.Command {
	var o scaleOptions
	c := &cobra.Command{
		Use:     "scale NAME --replicas N",
		Short:   "Set how many pods a training job has",
		GroupID: groupChange,
		Long: `Set how many pods a job runs at once: the parallelism of a Job, and with it the completions of an Indexed Job that is
elastic (as many completions as pods); of Deployments, StatefulSets, LeaderWorkerSets and other kinds that can be
scaled, their replicas.`,
		Example: `  kubectl ml scale train-llama --replicas 4
  kubectl ml scale statefulset/notebook --replicas 0`,
		Args:              exactlyOne("NAME"),
		RunE:              func(c *cobra.Command, args []string) error { o.Name = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.workNames),
	}
	c.Flags().Int32Var(&o.Replicas, "replicas", -1, "the `number` of pods")
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

func runScale(ctx context.Context, f *Factory, o scaleOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	if o.Replicas < 0 {
		return errors.New("scale needs the number of pods: --replicas N, with N from 0")
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	w, err := f.work(ctx, c, o.Name)
	if err != nil {
		return err
	}
	before, err := fleet.Scale(ctx, c, w, o.Replicas, o.DryRun.asked())
	if err != nil {
		return err
	}
	return f.acted(o.Output, w, fmt.Sprintf("scaled from %d to %d", before, o.Replicas), o.DryRun)
}

// runOrWork tells what a name means to a verb that takes both: a run, or where there is none of that name a piece of
// work. What is neither is left to be refused as a run.
func (f *Factory) runOrWork(ctx context.Context, c *client.Client, arg string) (string, *fleet.Work, error) {
	kind, _, inKind := strings.Cut(arg, "/")
	if kind == "run" || strings.HasSuffix(arg, "@latest") {
		name, err := run.Find(ctx, c, arg)
		return name, nil, err
	}
	if !inKind {
		if found, err := run.Exists(ctx, c, arg); err != nil || found {
			return arg, nil, err
		}
	}
	s, err := fleet.Read(ctx, c, fleet.Options{Namespace: c.Namespace, Plain: true})
	if err != nil {
		return "", nil, err
	}
	w, err := fleet.Find(s.Works, arg)
	if err != nil && !inKind {
		return arg, nil, nil //nolint:nilerr // the verb says what is wrong with it as a run
	}
	return "", w, err
}

// runAndWorkNames are what verbs about a run or a piece of work take.
func (f *Factory) runAndWorkNames(ctx context.Context, c *client.Client) ([]string, error) {
	names, err := f.runNames(ctx, c)
	works, worksErr := f.workNames(ctx, c)
	return append(names, works...), errors.Join(err, worksErr)
}

// cancelWork deletes a piece of work that is no run.
func (f *Factory) cancelWork(ctx context.Context, c *client.Client, w *fleet.Work, o cancelOptions) error {
	if name := w.Labels[kube.LabelRun]; name != "" {
		if found, err := run.Exists(ctx, c, name); err != nil || found {
			return errors.Join(err, fmt.Errorf("%s is stage %s of run %s: end the run with: kubectl ml cancel %s%s", w.KindName(), w.Labels[kube.LabelStage], name, name, f.where()))
		}
	}
	if o.Reason != "" {
		return errors.New("--reason is kept in the record of a run; " + w.KindName() + " has none")
	}
	if err := f.confirm(fmt.Sprintf("Delete %s with its %s, and their logs?", w.KindName(), podsAndGPUs(w)), o.Yes || o.DryRun.dry()); err != nil {
		return err
	}
	if err := fleet.Cancel(ctx, c, w, o.DryRun.asked()); err != nil {
		return err
	}
	return f.acted(o.Output, w, "deleted", o.DryRun)
}
