package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type whyOptions struct {
	// Name is the piece of work; empty for all that wait or failed.
	Name       string
	All        bool
	Nodes      bool
	Prometheus string
	Output     output
}

func newWhyCmd(f *Factory, do func(context.Context, *Factory, whyOptions) error) *cobra.Command {
	var o whyOptions
	c := &cobra.Command{
		Use:     "why [NAME]",
		Short:   "Say why a job waits or failed, and what cures it",
		GroupID: groupSee,
		Long: `Say why a piece of work waits or failed, whatever kind it is: one answer from everything that the cluster knows, each
cause with its evidence and the command or change that cures it, the surest cause first.

Of what waits: scheduler messages held against a node-by-node arithmetic of free GPUs (taints, selectors, affinity,
product, fragmentation, who holds them), quotas and limit ranges, refusals of admission, Kueue (queue, position, reason
verbatim), gangs, claims and volumes, images, missing Secrets and service accounts, suspension, autoscalers. Of what
failed: memory limits, exit codes, evictions, preemption, lost nodes, deadlines, the rank that went first, and lines of
its log that are known: CUDA out of memory, NCCL time-outs, XIDs and others. What could not be looked at is said, with
the right that is missing.

NAME is as "kubectl ml jobs" shows it, KIND/NAME, a pod, a stage, RUN/STAGE, RUN (its stage that failed or waits), or
cronjob/NAME. Without NAME everything that waits or failed is listed, a line each with its first cause.

A cause is certain (the cluster says so, or it follows from what it says), likely or possible. Its code, such as
QuotaExceeded, stays the same between versions. The exit code is 0 whenever an answer was found, also when it is that
all is well.`,
		Example: `  kubectl ml why train-llama
  kubectl ml why house-prices-x7k2p/train -o json
  kubectl ml why pytorchjob/bert --nodes
  kubectl ml why -A
  kubectl ml why train -o jsonpath='{.causes[0].code}'`,
		Args: atMostOne("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Name = args[0]
			}
			if o.Name != "" && o.All {
				return usage(c, errors.New("-A lists what waits or failed in all namespaces, and takes no NAME"))
			}
			if o.Name == "" && o.Nodes {
				return usage(c, errors.New("--nodes needs a NAME"))
			}
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeOne(f.workNames),
	}
	c.Flags().BoolVarP(&o.All, "all-namespaces", "A", false, "look at the work of all namespaces")
	c.Flags().BoolVar(&o.Nodes, "nodes", false, "list every node too, and why it does not take the pod that waits")
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

func runWhy(ctx context.Context, f *Factory, o whyOptions) error {
	if err := o.Output.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	with := diagnose.Options{Busy: f.busy(ctx, c, o.Prometheus), Now: f.Now}
	if o.Name == "" {
		return f.whys(ctx, c, o, with)
	}
	d, err := diagnose.Why(ctx, c, o.Name, with)
	if err != nil {
		return f.orNoNamespace(ctx, c, err)
	}
	d = d.With(f.command(*f.Config.Namespace))
	if !o.Output.table() {
		return f.one(o.Output, whyItem(d))
	}
	lo := f.layout(o.Output)
	lines := views.Why(d, lo)
	if o.Nodes {
		lines = append(lines, views.Line{})
		if len(d.Nodes) == 0 {
			lines = append(lines, views.Line{views.Text("No pod of it waits for a node.")})
		} else {
			lines = append(lines, views.WhyNodes(d.Nodes).Lines(lo)...)
		}
	}
	return f.lines(lines)
}

// whys lists the first cause of all that waits or failed.
func (f *Factory) whys(ctx context.Context, c *client.Client, o whyOptions, with diagnose.Options) error {
	ns := c.Namespace
	if o.All {
		ns = ""
	}
	list, unknown, err := diagnose.All(ctx, c, ns, with)
	if err != nil {
		return err
	}
	for _, u := range unknown {
		f.say("warning: not looked at: %s", clean(u))
	}
	if len(list) == 0 && o.Output.table() {
		return f.nothing(ctx, c, "jobs that wait or failed", o.All)
	}
	items := make([]item, len(list))
	for i, d := range list {
		ns := *f.Config.Namespace
		if o.All {
			ns = d.Subject.Namespace
		}
		list[i] = d.With(f.command(ns))
		items[i] = whyItem(list[i])
	}
	if err := f.list(o.Output, items, func() views.Table { return views.Whys(list, o.All, f.Now()) }); err != nil {
		return err
	}
	if o.Output.table() {
		f.say("Evidence and cures:  kubectl ml why NAME%s", f.where())
	}
	return nil
}

// command adds to proposed commands the flags by which the cluster was chosen, and the namespace where they name none.
func (f *Factory) command(namespace string) func(string) string {
	return func(c string) string {
		if strings.Contains(c, " -A") || strings.Contains(c, " -n ") {
			return c + f.whereIn("")
		}
		return c + f.whereIn(namespace)
	}
}

// whyItem is a diagnosis on its way to a printer; -o name prints its subject.
func whyItem(d diagnose.Diagnosis) item {
	return item{kind: "Diagnosis", ref: d.Subject.KindName(), name: d.Subject.Name, namespace: d.Subject.Namespace, created: d.Created, fact: d}
}

// busyWindow is what the utilisation of those who hold accelerators is a mean of.
const busyWindow = 30 * time.Minute

// busy begins to ask Prometheus how busy accelerators are; the function it returns waits for the answer.
func (f *Factory) busy(ctx context.Context, c *client.Client, where string) func(context.Context) (map[string]float64, error) {
	wait := f.meter(c, where, "", busyWindow).ask(ctx)
	return func(context.Context) (map[string]float64, error) {
		got := wait()
		if got.Err == nil && len(got.Devices) == 0 {
			got.Err = fmt.Errorf("%s knows no GPUs", got.Where)
		}
		out := map[string]float64{}
		for pod, devices := range metrics.ByPod(got.Devices) {
			if u := metrics.UsageOf(devices); u.Mean != nil {
				out[pod] = *u.Mean
			} else if u.Busy != nil {
				out[pod] = *u.Busy
			}
		}
		return out, got.Err
	}
}

// orNoNamespace says that the namespace is missing where that is why nothing was found.
func (f *Factory) orNoNamespace(ctx context.Context, c *client.Client, err error) error {
	var known *client.Error
	if !errors.As(err, &known) && !c.NamespaceExists(ctx) {
		return c.MissingNamespace()
	}
	return err
}
