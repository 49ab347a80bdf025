package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

type deployOptions struct {
	Version, To, File        string
	Strategy, Steps, StepsIn string
	Ready                    time.Duration
	Keep                     time.Duration
	KeepSet                  bool
	NoAbort                  bool
	Image                    string
	Command                  []string
	Env                      []string
	Port, MetricsPort        int32
	MetricsPath, Probe       string
	Replicas                 int32
	Autoscale                string
	Host, Gateway, Route     string
	ModelPath, Secret        string
	ServiceAccount           string
	CPU, Memory              string
	GPUs                     int64
	Alias, Comment           string
	Detach, Diff             bool
	Driver                   driverOptions
	DryRun                   dryRun
	Output                   output
}

func newDeployCmd(f *Factory, do func(context.Context, *Factory, deployOptions) error) *cobra.Command {
	var o deployOptions
	c := &cobra.Command{
		Use:     "deploy VERSION",
		Short:   "Serve a version of a model, or take what serves it to another version",
		GroupID: groupModel,
		Long: `Roll out a version of a model. VERSION is MODEL:N, MODEL@ALIAS, or MODEL for its latest.

The first time the server is generated (--image, --port, --probe, ...) or taken from your own Deployment manifest (-f);
afterwards only the version changes unless flags say otherwise. From a manifest everything is kept but what tells of the
version: labels, annotations, ML_MODEL... in the environment, and the volume with the artifact. The container finds the
model by ML_MODEL_PATH.

Strategies:
  rolling    the Deployment's own: pods are replaced one after the other; the default
  canary     some pods of the new version join; in steps of traffic, with pauses and gates, then it takes over
  bluegreen  a full second set of pods; the Service switches when all are ready, and gates and --steps 100%:approval
             let it

Steps are WEIGHT%[:PAUSE],... with a duration or approval as the pause. Without a --route, or a --gateway, the weight is
that of the number of pods: 1 of 4 is 25%.

deploy drives the rollout until it ends, needs a person, or is left; "kubectl ml rollout resume NAME" goes on, from
anywhere, and --detach leaves it to a Job in the cluster. A canary or blue-green rollout that fails is taken back
by itself. Exit codes: kubectl ml help exit-codes.`,
		Example: `  kubectl ml deploy house-prices:7 --image registry.example.com/serve:1.2 --port 8080 --probe /healthz --replicas 3
  kubectl ml deploy house-prices:8 --strategy canary --steps 10%:5m,50%:approval --alias production
  kubectl ml deploy house-prices:8 -f deployment.yaml --diff
  kubectl ml deploy house-prices@staging --dry-run=client -o yaml
  kubectl ml deploy house-prices:9 --strategy bluegreen --keep 10m --detach`,
		Args: exactlyOne("VERSION"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Version, o.KeepSet = args[0], c.Flags().Changed("keep")
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeRefs,
	}
	fl := c.Flags()
	fl.StringVar(&o.To, "to", "", "`name` of the Deployment and its Service (default: the manifest's, else what serves the model, else the model's name)")
	fl.StringVarP(&o.File, "filename", "f", "", "your own Deployment: a `file`, - for stdin")
	fl.StringVar(&o.Strategy, "strategy", "", "`how` traffic moves: rolling, canary or bluegreen (default: rolling, or as the name has it)")
	fl.StringVar(&o.Steps, "steps", "", "`steps` of a canary, such as 10%:approval,50%:5m (default 10%:approval)")
	fl.StringVar(&o.StepsIn, "steps-file", "", "YAML `file` of the steps as a pipeline has them, with gates")
	fl.DurationVar(&o.Ready, "ready-for", 0, "gate of each step: all new pods were ready so `long`, without a restart (0: no such gate)")
	fl.DurationVar(&o.Keep, "keep", 0, "how `long` the old side of a bluegreen rollout runs on (default: until it is promoted)")
	fl.BoolVar(&o.NoAbort, "no-abort", false, "leave a rollout that fails as it is, instead of taking it back")
	fl.StringVar(&o.Image, "image", "", "`image` of the server; also replaces that of a manifest")
	fl.StringArrayVar(&o.Command, "command", nil, "a `word` of the server's command; give one for each")
	fl.StringArrayVar(&o.Env, "env", nil, "`NAME=VALUE` for the server's environment")
	fl.Int32Var(&o.Port, "port", 0, "`port` on which the server answers HTTP (default 8080)")
	fl.StringVar(&o.Probe, "probe", "", "HTTP `path` that says whether it is ready (default: a connection is enough)")
	fl.Int32Var(&o.MetricsPort, "metrics-port", 0, "`port` of the metrics for Prometheus")
	fl.StringVar(&o.MetricsPath, "metrics-path", "", "`path` of the metrics (default /metrics)")
	fl.Int32Var(&o.Replicas, "replicas", -1, "`number` of pods at full size")
	fl.Lookup("replicas").DefValue = "1" // -1 tells that nobody asked for a number
	fl.StringVar(&o.Autoscale, "autoscale", "", "`MIN:MAX` pods, as many as the CPU asks for")
	fl.StringVar(&o.CPU, "cpu", "", "CPU `request` of a pod")
	fl.StringVar(&o.Memory, "memory", "", "memory `request` and limit of a pod")
	fl.Int64Var(&o.GPUs, "gpus", 0, "`number` of GPUs of a pod")
	fl.StringVar(&o.Host, "host", "", "DNS `name` for an Ingress, or for the route of --gateway")
	fl.StringVar(&o.Gateway, "gateway", "", "`Gateway`, NAME or NAMESPACE/NAME, for an HTTPRoute")
	fl.StringVar(&o.Route, "route", "", "HTTPRoute by whose weights a canary's traffic is shared: a `name`")
	fl.StringVar(&o.ModelPath, "model-path", "", "`folder` in which the container finds the model (default /models)")
	fl.StringVar(&o.Secret, "secret", "", "`Secret` with the credentials of the artifact's store")
	fl.StringVar(&o.ServiceAccount, "service-account", "", "service `account` of the pods")
	fl.StringVar(&o.Alias, "alias", "", "`alias` that moves to the version when it serves, such as production")
	fl.StringVar(&o.Comment, "comment", "", "a `text` for the model's history")
	fl.BoolVar(&o.Detach, "detach", false, "return at once; a Job in the cluster takes the rollout forward")
	fl.BoolVar(&o.Diff, "diff", false, "only show what would change in the Deployment; exits with 1 if something would")
	_ = c.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions([]string{"rolling", "canary", "bluegreen"}, cobra.ShellCompDirectiveNoFileComp))
	o.Driver.add(c)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

// request is what the flags ask for.
func (o deployOptions) request(f *Factory) (serving.Request, error) {
	q := serving.Request{Name: o.To, Route: o.Route, NoAbort: o.NoAbort, Comment: o.Comment, Helper: o.Driver.driver(f).Image, HelperPullPolicy: o.Driver.driver(f).PullPolicy}
	if o.KeepSet {
		q.Keep = &o.Keep
	}
	q.Deploy.Strategy, q.Deploy.Alias = pipeline.Strategy(o.Strategy), o.Alias
	switch q.Deploy.Strategy {
	case "", pipeline.Rolling, pipeline.Canary, pipeline.BlueGreen:
	default:
		return q, fmt.Errorf("unknown --strategy %q: use rolling, canary or bluegreen", o.Strategy)
	}
	var err error
	if o.File != "" {
		text, err := o.read(f)
		if err != nil {
			return q, err
		}
		if q.Object, err = serving.ReadManifest(text); err != nil {
			return q, fmt.Errorf("%s: %w", o.File, err)
		}
	}
	if q.Deploy.Steps, err = o.steps(); err != nil {
		return q, err
	}
	q.Deploy.Serve, err = o.serve()
	return q, err
}

func (o deployOptions) read(f *Factory) ([]byte, error) {
	var text []byte
	var err error
	if o.File == "-" {
		text, err = io.ReadAll(io.LimitReader(f.In, 4<<20))
	} else {
		text, err = os.ReadFile(o.File)
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return text, nil
}

func (o deployOptions) steps() ([]pipeline.DeployStep, error) {
	var steps []pipeline.DeployStep
	var err error
	switch {
	case o.Steps != "" && o.StepsIn != "":
		return nil, errors.New("--steps and --steps-file are two ways to say the same")
	case o.Steps != "":
		steps, err = serving.ParseSteps(o.Steps)
	case o.StepsIn != "":
		var text []byte
		if text, err = os.ReadFile(o.StepsIn); err == nil {
			steps, err = serving.ReadSteps(text)
		}
	}
	if err != nil {
		return nil, err
	}
	if o.Ready > 0 {
		if len(steps) == 0 {
			return nil, errors.New("--ready-for is a gate of steps: name them with --steps")
		}
		for i := range steps {
			steps[i].Gates = append(steps[i].Gates, pipeline.DeployGate{Ready: &metav1.Duration{Duration: o.Ready}})
		}
	}
	return steps, nil
}

// serve is what the flags say of the server.
func (o deployOptions) serve() (*pipeline.Serve, error) {
	s := &pipeline.Serve{Command: o.Command, Port: o.Port, Probe: o.Probe, Host: o.Host, Gateway: o.Gateway, ModelPath: o.ModelPath, Secret: o.Secret}
	s.Image, s.ServiceAccountName = o.Image, o.ServiceAccount
	if o.Replicas >= 0 {
		s.Replicas = &o.Replicas
	}
	if o.MetricsPort > 0 {
		s.Metrics = &pipeline.ServeMetrics{Port: o.MetricsPort, Path: o.MetricsPath}
	} else if o.MetricsPath != "" {
		return nil, errors.New("--metrics-path belongs to --metrics-port")
	}
	if o.Autoscale != "" {
		low, high, _ := strings.Cut(o.Autoscale, ":")
		a, err1 := strconv.ParseInt(low, 10, 32)
		b, err2 := strconv.ParseInt(high, 10, 32)
		if err1 != nil || err2 != nil || a < 1 || b < a {
			return nil, fmt.Errorf("--autoscale %q: it is MIN:MAX, such as 2:6", o.Autoscale)
		}
		s.Autoscale = &pipeline.Autoscale{Min: int32(a), Max: int32(b)}
	}
	if o.GPUs > 0 {
		s.GPUs = &pipeline.GPUs{Count: o.GPUs}
	}
	var err error
	if s.Env, err = envOf(o.Env); err != nil {
		return nil, err
	}
	s.Resources, err = resourcesOf(o.CPU, o.Memory)
	return s, err
}

func runDeploy(ctx context.Context, f *Factory, o deployOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	q, err := o.request(f)
	if err != nil {
		return err
	}
	ref, err := registry.ParseRef(o.Version)
	if err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if q.Version, err = registry.Resolve(ctx, c, ref); err != nil {
		return err
	}
	q.By = c.WhoAmI(ctx)
	p, err := serving.Prepare(ctx, c, q)
	if err != nil {
		return err
	}
	switch {
	case o.Diff:
		return f.diffDeploy(ctx, p)
	case o.DryRun.client() && !p.Going() && !p.Unchanged():
		return f.showObjects(o.Output, o.DryRun, p.Objects())
	}
	r, err := p.Start(ctx, o.DryRun.asked())
	if err != nil {
		return err
	}
	return f.deployed(ctx, c, p, r, o)
}

// deployed says what was begun, and follows it.
func (f *Factory) deployed(ctx context.Context, c *client.Client, p *serving.Prepared, r serving.Rollout, o deployOptions) error {
	done := "rollout of " + versionRef(&r) + " begun"
	switch {
	case p.Going():
		done = "rollout of " + versionRef(&r) + " goes on already"
	case p.Unchanged():
		done = "unchanged, it serves " + versionRef(&r)
	}
	if o.DryRun.dry() || p.Unchanged() && r.Ended {
		return f.rolloutChanged(o.Output, r, done, o.DryRun)
	}
	if o.Output.table() {
		f.print("deployment/%s %s\n", r.Name, done)
	}
	if o.Detach {
		if err := run.DetachRollout(ctx, c, r.Name, o.Driver.driver(f)); err != nil {
			return err
		}
		if !o.Output.table() {
			return f.one(o.Output, rolloutItem(r))
		}
		f.say("A Job in the cluster takes it forward. See it with:  kubectl ml rollout status %s -w%s", r.Name, f.where())
		return nil
	}
	return f.followRollout(ctx, c, r.Name, serving.Drive, o.Output)
}

func versionRef(r *serving.Rollout) string { return fmt.Sprintf("%s:%d", r.Model, r.Version) }

// diffDeploy compares the Deployment that serves with what it would be.
func (f *Factory) diffDeploy(ctx context.Context, p *serving.Prepared) error {
	if p.Going() {
		f.say("The rollout goes on already: nothing would change.")
		return nil
	}
	differs, err := f.compareDeploy(ctx, p)
	switch {
	case err != nil:
		return &CodeError{Code: ExitDiffError, Err: err}
	case differs:
		return &CodeError{Code: ExitError}
	}
	return nil
}

func (f *Factory) compareDeploy(ctx context.Context, p *serving.Prepared) (bool, error) {
	before, after := p.Before()
	dir, err := os.MkdirTemp("", "kubectl-ml-diff-")
	if err != nil {
		return false, fmt.Errorf("make room for the comparison: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	live, merged := map[string]string{}, map[string]string{}
	name := "deployment." + after.Name + ".yaml"
	if before != nil {
		text, err := yaml.Marshal(before)
		if err != nil {
			return false, fmt.Errorf("write the deployment: %w", err)
		}
		live[name] = string(text)
	}
	text, err := yaml.Marshal(after)
	if err != nil {
		return false, fmt.Errorf("write the deployment: %w", err)
	}
	merged[name] = string(text)
	for side, files := range map[string]map[string]string{"LIVE": live, "MERGED": merged} {
		if err := writeTree(filepath.Join(dir, side), files); err != nil {
			return false, err
		}
	}
	return f.compare(ctx, dir)
}
