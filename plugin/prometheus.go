package plugin

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// prometheusOptions say which Prometheus is asked, and who asks.
type prometheusOptions struct {
	Where, Secret, Tenant string
	Insecure              bool
}

func (o *prometheusOptions) add(c *cobra.Command) {
	addPrometheus(c, &o.Where)
	fl := c.Flags()
	fl.StringVar(&o.Secret, "prometheus-secret", "", "the `Secret` [NAMESPACE/]NAME with its credentials: token, username, password, tenant, ca.crt, tls.crt, tls.key (default: KUBECTL_ML_PROMETHEUS_SECRET)")
	fl.StringVar(&o.Tenant, "prometheus-tenant", "", "the `tenant`, sent as X-Scope-OrgID (default: KUBECTL_ML_PROMETHEUS_TENANT)")
	fl.BoolVar(&o.Insecure, "prometheus-insecure-skip-tls-verify", false, "trust any certificate of a Prometheus that is asked directly")
}

// prometheusEnv begins the variables about Prometheus.
const prometheusEnv = "KUBECTL_ML_PROMETHEUS"

// prometheusFor are the options by which Prometheus is found: flags, else the environment, else what is kept of this
// context.
func (f *Factory) prometheusFor(ctx context.Context, c *client.Client, o prometheusOptions) (metrics.Options, error) {
	mo := metrics.Options{URL: strings.TrimSpace(cmp.Or(o.Where, f.Getenv(prometheusEnv)))}
	if kept, ok := f.choices().Get(f.contextKey(c)); ok && mo.URL == "" {
		mo.Kept = &kept
	}
	var err error
	if ref := cmp.Or(o.Secret, f.Getenv(prometheusEnv+"_SECRET")); ref != "" && mo.URL != metrics.None {
		if mo.As, err = metrics.SecretCredentials(ctx, c, ref); err != nil {
			return mo, err
		}
	}
	as := &mo.As
	for _, v := range []struct {
		name string
		to   *string
	}{{"TOKEN", &as.Token}, {"USER", &as.User}, {"PASSWORD", &as.Password}, {"TENANT", &as.Tenant}} {
		*v.to = cmp.Or(f.Getenv(prometheusEnv+"_"+v.name), *v.to)
	}
	for _, v := range []struct {
		name string
		set  func([]byte)
	}{
		{"TOKEN_FILE", func(b []byte) { as.Token = strings.TrimSpace(string(b)) }}, {"CA", func(b []byte) { as.CA = b }},
		{"CERT", func(b []byte) { as.Cert = b }}, {"KEY", func(b []byte) { as.Key = b }},
	} {
		path := f.Getenv(prometheusEnv + "_" + v.name)
		if path == "" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return mo, fmt.Errorf("%s_%s: %w", prometheusEnv, v.name, err)
		}
		v.set(data)
	}
	as.Tenant, as.Insecure = cmp.Or(o.Tenant, as.Tenant), o.Insecure
	return mo, nil
}

// prometheus finds the Prometheus that a flag or the environment names, else one that is there.
func (f *Factory) prometheus(ctx context.Context, c *client.Client, where string) (*metrics.Source, error) {
	return f.prometheusAs(ctx, c, prometheusOptions{Where: where})
}

// prometheusAs finds a Prometheus, and keeps what was found by looking for it.
func (f *Factory) prometheusAs(ctx context.Context, c *client.Client, o prometheusOptions) (*metrics.Source, error) {
	mo, err := f.prometheusFor(ctx, c, o)
	if err != nil {
		return nil, err
	}
	s, err := metrics.Find(ctx, c, mo)
	if err != nil || mo.URL != "" {
		return s, err
	}
	if chosen, ok := s.Choice(); ok && (mo.Kept == nil || *mo.Kept != chosen) {
		_ = f.choices().Put(f.contextKey(c), chosen) // it is looked for again where nothing can be kept
	}
	return s, nil
}

// choices is the file in the state folder of the XDG base directories.
func (f *Factory) choices() metrics.Choices {
	dir := f.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // as the specification says
		home := f.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return metrics.Choices{}
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return metrics.Choices{Path: filepath.Join(dir, "kubectl-ml", "prometheus.json")}
}

// contextKey tells clusters apart: contexts of several kubeconfigs may share a name.
func (f *Factory) contextKey(c *client.Client) string {
	name := *f.Config.Context
	if raw, err := f.Config.ToRawKubeConfigLoader().RawConfig(); err == nil && name == "" {
		name = raw.CurrentContext
	}
	return name + " " + c.Host
}
