package plugin

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type scheduleOptions struct {
	// Name is the schedule; empty for the list.
	Name     string
	All      bool
	Selector string
	DryRun   dryRun
	Output   output
}

func newScheduleCmd(f *Factory) *cobra.Command {
	c := newScheduleListCmd(f, "schedule", runSchedules)
	c.GroupID, c.Short = groupChange, "List, suspend, resume and trigger schedules"
	c.Long = `Schedules are CronJobs that "kubectl ml apply" made: spec.schedule runs a whole pipeline by a driver in the cluster,
schedule of a stage runs that stage alone. Without a subcommand they are listed.`
	c.AddCommand(
		newScheduleListCmd(f, "list", runSchedules),
		newScheduleChangeCmd(f, "suspend", "Stop a schedule until it is resumed", runSuspend),
		newScheduleChangeCmd(f, "resume", "Let a suspended schedule go on", runUnsuspend),
		newScheduleChangeCmd(f, "trigger", "Run a schedule now", runTrigger),
	)
	return c
}

func newScheduleListCmd(f *Factory, use string, do func(context.Context, *Factory, scheduleOptions) error) *cobra.Command {
	var o scheduleOptions
	c := &cobra.Command{
		Use:   use,
		Short: "List the schedules of pipelines and stages",
		Example: `  kubectl ml schedule
  kubectl ml schedule list -A -o wide
  kubectl ml schedule trigger house-prices`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "list the schedules of all namespaces")
	c.Flags().StringVarP(&o.Selector, "selector", "l", "", "label `selector`, such as kubectl-ml.dev/pipeline=house-prices")
	o.Output.add(c, true)
	return c
}

func newScheduleChangeCmd(f *Factory, use, short string, do func(context.Context, *Factory, scheduleOptions) error) *cobra.Command {
	var o scheduleOptions
	c := &cobra.Command{
		Use:     use + " NAME",
		Short:   short,
		Example: "  kubectl ml schedule " + use + " house-prices",
		Args:    exactlyOne("schedule"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Name = scheduleName(args[0])
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.scheduleNames),
	}
	o.DryRun.add(c)
	return c
}

// scheduleName takes a schedule as -o name and as changes print it.
func scheduleName(arg string) string {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "schedule/"), "cronjob.batch/")
	// PIPELINE/STAGE, as runs are addressed, is the CronJob PIPELINE-STAGE.
	return strings.ReplaceAll(name, "/", "-")
}

func runSchedules(ctx context.Context, f *Factory, o scheduleOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	list, err := run.Schedules(ctx, c, o.All, o.Selector)
	if err != nil {
		return err
	}
	if len(list) == 0 && o.Output.table() {
		return f.nothing(ctx, c, "schedules", o.All)
	}
	items := make([]item, len(list))
	for i, s := range list {
		items[i] = item{kind: "Schedule", name: s.Name, namespace: s.Namespace, created: s.Created, fact: s}
	}
	return f.list(o.Output, items, func() views.Table { return views.Schedules(list, o.All, f.Now()) })
}

func runSuspend(ctx context.Context, f *Factory, o scheduleOptions) error {
	return f.suspend(ctx, o, true, "suspended")
}

func runUnsuspend(ctx context.Context, f *Factory, o scheduleOptions) error {
	return f.suspend(ctx, o, false, "resumed")
}

func (f *Factory) suspend(ctx context.Context, o scheduleOptions, suspend bool, done string) error {
	if err := o.DryRun.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	changed, err := run.Suspend(ctx, c, o.Name, suspend, o.DryRun.asked())
	if err != nil {
		return err
	}
	if !changed {
		done = "unchanged: it is " + done + " already"
	}
	f.print("cronjob.batch/%s %s%s\n", o.Name, done, o.DryRun.suffix())
	return nil
}

func runTrigger(ctx context.Context, f *Factory, o scheduleOptions) error {
	if err := o.DryRun.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	job, err := run.Trigger(ctx, c, o.Name, o.DryRun.asked())
	if err != nil {
		return err
	}
	f.print("job.batch/%s created%s\n", job, o.DryRun.suffix())
	if !o.DryRun.dry() {
		f.say("See what it starts with:  kubectl ml runs%s\nRead its own log with:  kubectl ml logs job/%s -f%s", f.where(), job, f.where())
	}
	return nil
}
