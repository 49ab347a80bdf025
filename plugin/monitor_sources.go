package plugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type sourcesOptions struct {
	Forget     bool
	Prometheus prometheusOptions
	Output     output
}

func newSourcesCmd(f *Factory, do func(context.Context, *Factory, sourcesOptions) error) *cobra.Command {
	var o sourcesOptions
	c := &cobra.Command{
		Use:   "sources",
		Short: "Show where a Prometheus was looked for, which one is asked, and why",
		Long: `Show each place where a Prometheus, or what speaks its API (VictoriaMetrics, Thanos, Mimir), may be: what it answers,
how many targets it watches, and which one is asked.

The order is: --prometheus or KUBECTL_ML_PROMETHEUS; the one that was found the last time, which is kept for each
context of the kubeconfig in $XDG_STATE_HOME/kubectl-ml/prometheus.json; Services with the label
kubectl-ml.dev/prometheus=true; Services as common installations label them. They are asked through the API server,
with nothing but GET: the right to get services/proxy is enough.`,
		Example: `  kubectl ml monitor sources
  kubectl ml monitor sources -o wide
  kubectl ml monitor sources --prometheus monitoring/prometheus-server:80
  kubectl ml monitor sources --forget`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().BoolVar(&o.Forget, "forget", false, "forget which one was found for this context")
	o.Prometheus.add(c)
	o.Output.add(c, true)
	return c
}

func (o sourcesOptions) check() error {
	if o.Forget && o.Output.Format != "" {
		return errors.New("--forget prints nothing that -o could form")
	}
	return o.Output.check()
}

func runSources(ctx context.Context, f *Factory, o sourcesOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if o.Forget {
		there, err := f.choices().Forget(f.contextKey(c))
		switch {
		case err != nil:
			return err
		case there:
			f.print("the Prometheus of this context is forgotten\n")
		default:
			f.print("nothing was kept for this context\n")
		}
		return nil
	}
	mo, err := f.prometheusFor(ctx, c, o.Prometheus)
	if err != nil {
		return err
	}
	stop := f.sayAsking(ctx)
	list, err := metrics.Survey(ctx, c, mo)
	stop()
	if err != nil {
		return interrupted(ctx, err)
	}
	var items []item
	chosen := false
	for i := range list {
		s := &list[i]
		chosen = chosen || s.Chosen
		items = append(items, item{kind: "Source", ref: s.Where, name: s.Where, fact: s})
	}
	if len(items) > 0 || !o.Output.table() {
		if err := f.list(o.Output, items, func() views.Table { return views.Sources().Table(list) }); err != nil {
			return err
		}
	}
	if !chosen {
		return &CodeError{Code: ExitError, Err: fmt.Errorf("no Prometheus answers in %s\n  name one with --prometheus URL or NAMESPACE/SERVICE:PORT, or label its Service %s=true", placesOf(len(list)), metrics.OptIn)}
	}
	return nil
}

func placesOf(n int) string {
	if n == 1 {
		return "1 place"
	}
	return strconv.Itoa(n) + " places"
}
