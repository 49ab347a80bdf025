package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// defaultFile is the pipeline file that verbs take when -f is not given.
const defaultFile = "pipeline.yaml"

// driverOptions name the program that advances runs from inside the cluster.
type driverOptions struct {
	Image, ServiceAccount, PullPolicy string
}

func (o *driverOptions) add(c *cobra.Command) {
	c.Flags().StringVar(&o.Image, "driver-image", "", "`image` of the driver (default: $KUBECTL_ML_DRIVER_IMAGE, else the one released with this version)")
	c.Flags().StringVar(&o.ServiceAccount, "driver-service-account", run.DefaultServiceAccount, "service `account` of the driver; the default one is made with the least rights it needs")
	c.Flags().StringVar(&o.PullPolicy, "driver-pull-policy", "", "image pull `policy` of the driver: Always, IfNotPresent or Never")
}

func (o driverOptions) driver(f *Factory) *run.Driver {
	image := o.Image
	if image == "" {
		image = f.Getenv("KUBECTL_ML_DRIVER_IMAGE")
	}
	if image == "" {
		image = "ghcr.io/kubectl-ml/kubectl-ml:" + Version().Version
	}
	return &run.Driver{Image: image, ServiceAccount: o.ServiceAccount, PullPolicy: corev1.PullPolicy(o.PullPolicy)}
}

type runOptions struct {
	Stages       []string
	File         string
	Set, SetFile []string
	From, To     string
	Only         []string
	Detach       bool
	Driver       driverOptions
	Timeout      time.Duration
	ID, Reason   string
	ExitZero     bool
	DryRun       dryRun
	Output       output
}

func newRunCmd(f *Factory, do func(context.Context, *Factory, runOptions) error) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:     "run [STAGE...]",
		Short:   "Run a pipeline, or some of its stages",
		GroupID: groupRun,
		Long: `Run a pipeline as Kubernetes Jobs and follow it to its end.

Without STAGE the whole pipeline runs. With STAGE, --only, --from or --to just those stages run; results that
they refer to and that this run does not make are taken from the last run in which that stage succeeded.

On a terminal a live tree is drawn; Ctrl-C asks whether to cancel the run or only to leave it. Elsewhere each
event is a line on the error stream. The exit code tells how the run ended: kubectl ml help exit-codes`,
		Example: `  # Run ./pipeline.yaml
  kubectl ml run

  # Train alone, with another learning rate, on the features of the last run
  kubectl ml run train --set lr=0.05

  # From features on, in the cluster, without waiting
  kubectl ml run -f house-prices/pipeline.yaml --from features --detach

  # See the objects that would be made
  kubectl ml run --dry-run=client -o yaml

  # Run the pipeline that was applied as house-prices; safe to repeat in CI
  kubectl ml run -f house-prices --id "$CI_JOB_ID" --timeout 2h -o json`,
		RunE: func(c *cobra.Command, args []string) error {
			o.Stages = args
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeFileStages(&o.File),
	}
	fl := c.Flags()
	fl.StringVarP(&o.File, "filename", "f", "", "pipeline `file`, - for stdin, or the name of an applied pipeline (default ./pipeline.yaml)")
	fl.StringArrayVar(&o.Set, "set", nil, "set a parameter: `name=value`, or stage.name=value for one stage")
	fl.StringArrayVar(&o.SetFile, "set-file", nil, "set a parameter to a file's content: `name=path`")
	fl.StringVar(&o.From, "from", "", "run this `stage` and everything after it")
	fl.StringVar(&o.To, "to", "", "run this `stage` and everything before it")
	fl.StringSliceVar(&o.Only, "only", nil, "run just these `stages`, as STAGE does")
	fl.BoolVar(&o.Detach, "detach", false, "return at once; a Job in the cluster starts the later stages")
	fl.DurationVar(&o.Timeout, "timeout", 0, "cancel the run when it has not ended after this `time`, such as 90m (0: never)")
	fl.StringVar(&o.ID, "id", "", "use this `id` in the run's name; a run that has it already is taken up instead of started again")
	fl.StringVar(&o.Reason, "reason", "", "a `text` to keep in the record of the run")
	fl.BoolVar(&o.ExitZero, "exit-zero", false, "exit with 0 however the run ends")
	o.Driver.add(c)
	o.DryRun.add(c)
	o.Output.add(c, false)
	for _, flag := range []string{"from", "to", "only"} {
		_ = c.RegisterFlagCompletionFunc(flag, f.completeFileStages(&o.File))
	}
	return c
}

func (o runOptions) check() error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	if o.Timeout < 0 {
		return fmt.Errorf("--timeout %s is negative", o.Timeout)
	}
	return nil
}

// selection joins STAGE and --only, which mean the same.
func (o runOptions) selection() pipeline.Selection {
	return pipeline.Selection{Only: append(append([]string(nil), o.Stages...), o.Only...), From: o.From, To: o.To}
}

func runRun(ctx context.Context, f *Factory, o runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	b, err := f.bundle(ctx, o.File)
	if err != nil {
		return err
	}
	f.warn(b.Warnings)
	c, err := f.clientFor(o.DryRun)
	if err != nil {
		return err
	}
	start := run.StartOptions{
		Set: o.Set, SetFile: o.SetFile, Selection: o.selection(),
		Timeout: o.Timeout, ID: o.ID, Reason: o.Reason, Now: f.Now(),
	}
	driver := o.Driver.driver(f)
	start.Helper, start.HelperPullPolicy = driver.Image, driver.PullPolicy
	if o.Detach {
		start.Driver = driver
	}
	p, err := run.Prepare(ctx, c, b, start)
	if err != nil {
		return err
	}
	if o.DryRun.dry() {
		return f.dryRun(ctx, c, p, o.DryRun, o.Output)
	}
	if err := p.Create(ctx, c); err != nil {
		return err
	}
	name := p.Record.Name
	if o.Detach {
		return f.detached(ctx, c, name, created(p), o.Output)
	}
	if o.Output.table() {
		f.print("run/%s %s\n", name, created(p))
	}
	err = f.follow(ctx, c, name, followOptions{Drive: true, Output: o.Output})
	return exitZero(err, o.ExitZero)
}

// created says what was done with the run's record.
func created(p *run.Prepared) string {
	if p.TakenUp {
		return "taken up: it was there before"
	}
	return "created"
}

// clientFor is a client that can do what a dry run of that kind needs.
func (f *Factory) clientFor(d dryRun) (*client.Client, error) {
	if d.client() {
		return f.Offline()
	}
	return f.Client()
}

// exitZero keeps real errors and forgets how the run ended.
func exitZero(err error, forget bool) error {
	var exit *CodeError
	if forget && errors.As(err, &exit) && exit.Err == nil {
		return nil
	}
	return err
}

// bundle reads the pipeline that -f names, or ./pipeline.yaml.
func (f *Factory) bundle(ctx context.Context, file string) (*run.Bundle, error) {
	if file == "" {
		if _, err := os.Stat(defaultFile); err != nil {
			return nil, fmt.Errorf("there is no %s here: create one with: kubectl ml init   or name a file or an applied pipeline with -f", defaultFile)
		}
		file = defaultFile
	}
	return run.FileOrApplied(ctx, f.Client, file, f.In)
}

// warn prints lint's warnings; they stop nothing.
func (f *Factory) warn(ps pipeline.Problems) {
	for _, p := range ps {
		f.say("%s", problemText(p))
	}
}

// problemText is a problem on a line; a warning says so behind its position, where compilers say it.
func problemText(p pipeline.Problem) string {
	switch {
	case p.Warning && p.Field != "":
		p.Field = "warning: " + p.Field
	case p.Warning:
		p.Message = "warning: " + p.Message
	}
	return views.SanitizeLine(p.String())
}

// print writes to the output; a reader that is gone is no reason to stop.
func (f *Factory) print(format string, args ...any) { _, _ = fmt.Fprintf(f.Out, format, args...) }

// detached reports a run that goes on without this client.
func (f *Factory) detached(ctx context.Context, c *client.Client, name, done string, o output) error {
	if !o.table() {
		r, err := run.Get(ctx, c, name)
		if err != nil {
			return err
		}
		return f.one(o, runItem(r))
	}
	f.print("run/%s %s\n", name, done)
	f.say("Follow it with:  kubectl ml status %s -w\nRead its logs with:  kubectl ml logs %s -f", name+f.where(), name+f.where())
	return nil
}

// dryRun shows or checks what a run would create.
func (f *Factory) dryRun(ctx context.Context, c *client.Client, p *run.Prepared, mode dryRun, o output) error {
	objects, err := p.Objects()
	if err != nil {
		return err
	}
	if mode == "server" {
		if err := p.CheckCluster(ctx, c); err != nil {
			return err
		}
		if err := run.CheckObjects(ctx, c, objects); err != nil {
			return err
		}
	}
	if !o.table() && o.Format != "name" {
		return f.objects(o, objects)
	}
	for _, obj := range objects {
		if o.Format == "name" {
			f.print("%s\n", objectRef(obj))
		} else {
			f.print("%s created%s\n", objectRef(obj), mode.suffix())
		}
	}
	return nil
}

// objectRef is an object as kubectl names it, such as job.batch/train.
func objectRef(obj runtime.Object) string {
	kind := obj.GetObjectKind().GroupVersionKind()
	ref := strings.ToLower(kind.Kind)
	if kind.Group != "" {
		ref += "." + kind.Group
	}
	return ref + "/" + run.ObjectName(obj)
}

// runItem is a run for the printers.
func runItem(r run.Run) item {
	return item{kind: "Run", name: r.Name, namespace: r.Namespace, created: r.Created, labels: r.Labels, fact: r}
}
