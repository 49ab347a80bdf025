package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type jobOptions struct {
	Name       string
	Prometheus string
	Output     output
}

func newJobCmd(f *Factory, do func(context.Context, *Factory, jobOptions) error) *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:     "job NAME",
		Short:   "Show one training job: its pods by rank, devices, first failure and events",
		GroupID: groupSee,
		Long: `Show one piece of training work in full, whatever kind it is: its specification in short, its pods by rank with their
node, GPUs, utilisation and memory (where Prometheus knows), the rank that failed first with its last log lines,
conditions and events.

NAME is as "kubectl ml jobs" shows it, KIND/NAME, a pod, a stage of the newest run, or RUN/STAGE.`,
		Example: `  kubectl ml job train-llama
  kubectl ml job pytorchjob/bert -o wide
  kubectl ml job house-prices-x7k2p/train -o jsonpath='{.pods[*].node}'`,
		Args:              exactlyOne("NAME"),
		RunE:              func(c *cobra.Command, args []string) error { o.Name = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.workNames),
	}
	addPrometheus(c, &o.Prometheus)
	o.Output.add(c, true)
	return c
}

func runJob(ctx context.Context, f *Factory, o jobOptions) error {
	if err := o.Output.check(); err != nil {
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
	measured := f.meter(c, o.Prometheus, w.Namespace, 0).ask(ctx)
	d := fleet.Describe(ctx, c, w)
	f.problems(d.Problems)
	if !o.Output.table() {
		return f.one(o.Output, workItem(w, d))
	}
	lines := views.DescribeWork(d, metrics.ByPod(measured().Devices), f.Now(), f.layout(o.Output))
	if err := f.lines(lines); err != nil {
		return err
	}
	if hint := jobHint(w); hint != "" {
		f.say("%s %s%s", hint, w.KindName(), f.where())
	}
	return nil
}

// jobHint is what to type next, without the name.
func jobHint(w *fleet.Work) string {
	switch {
	case w.Reason != "":
		return "What to do about it:  kubectl ml why"
	case !w.Final():
		return "Follow its learning:  kubectl ml progress -f"
	}
	return ""
}

// workItem is a piece of work, or more facts about it, on its way to a printer.
func workItem(w *fleet.Work, fact any) item {
	return item{kind: "Work", ref: w.KindName(), name: w.Name, namespace: w.Namespace, created: w.Created, labels: w.Labels, fact: fact}
}

// work finds the piece of work that a person names.
func (f *Factory) work(ctx context.Context, c *client.Client, arg string) (*fleet.Work, error) {
	s, err := fleet.Read(ctx, c, fleet.Options{Namespace: c.Namespace, Plain: true})
	if err != nil {
		return nil, err
	}
	w, err := fleet.Find(s.Works, arg)
	if err != nil && len(s.Works) == 0 && !c.NamespaceExists(ctx) {
		return nil, c.MissingNamespace()
	}
	if err != nil {
		f.problems(s.Problems)
	}
	return w, err
}

// problems tells what could not be read, a line each.
func (f *Factory) problems(list []fleet.Problem) {
	for _, p := range list {
		var e *client.Error
		text := p.Err.Error()
		if errors.As(p.Err, &e) {
			text = e.What
		}
		f.say("warning: %s: %s", p.Resource, clean(text))
	}
}

// workNames are what verbs about one piece of work take.
func (f *Factory) workNames(ctx context.Context, c *client.Client) ([]string, error) {
	s, err := fleet.Read(ctx, c, fleet.Options{Namespace: c.Namespace, Plain: true})
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, 2*len(s.Works))
	for _, w := range s.Works {
		names = append(names, w.Name, w.KindName())
	}
	return names, nil
}

func addPrometheus(c *cobra.Command, where *string) {
	c.Flags().StringVar(where, "prometheus", "", "`where` Prometheus is: a URL or NAMESPACE/SERVICE[:PORT] (default: KUBECTL_ML_PROMETHEUS, else it is looked for)")
}

// metricsTime is how long a verb waits for Prometheus before it goes without.
const metricsTime = 2 * time.Second
