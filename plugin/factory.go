package plugin

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	// Credential plugins of the cloud providers.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Factory is what every verb is given: the streams, the environment, the clock, and the way to the cluster.
type Factory struct {
	genericiooptions.IOStreams
	Config *genericclioptions.ConfigFlags
	Getenv func(string) string
	Now    func() time.Time
}

// NewFactory connects to nothing yet.
func NewFactory(streams genericiooptions.IOStreams, getenv func(string) string) *Factory {
	f := &Factory{IOStreams: streams, Getenv: getenv, Now: time.Now}
	f.Config = genericclioptions.NewConfigFlags(true).
		WithWarningPrinter(streams).
		WithWrapConfigFn(func(c *rest.Config) *rest.Config {
			c.UserAgent = "kubectl-ml/" + Version().Version
			c.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
			return c
		})
	return f
}

// Client connects as the flags and the kubeconfig say.
func (f *Factory) Client() (*client.Client, error) {
	loader := f.Config.ToRawKubeConfigLoader()
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, f.configError(err)
	}
	cfg, err := f.Config.ToRESTConfig()
	if err != nil {
		return nil, f.configError(err)
	}
	// Without any kubeconfig client-go means a server on this machine's port 8080, which nobody means.
	raw, err := loader.RawConfig()
	if err == nil && len(raw.Clusters) == 0 && *f.Config.APIServer == "" && cfg.Host == "http://localhost:8080" {
		return nil, f.configError(clientcmd.NewEmptyConfigError("no cluster is configured"))
	}
	return client.New(cfg, namespace)
}

// Offline is a client that may be unable to reach any cluster, for what needs none: where no kubeconfig can be used,
// every request fails with what is wrong with it.
func (f *Factory) Offline() (*client.Client, error) {
	c, err := f.Client()
	if err == nil {
		return c, nil
	}
	namespace, _, nsErr := f.Config.ToRawKubeConfigLoader().Namespace()
	if nsErr != nil || namespace == "" {
		namespace = "default"
	}
	return client.New(&rest.Config{
		Host: "https://no-cluster",
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, err },
	}, namespace)
}

// configError says what is wrong with the way to the cluster before anything was asked of it.
func (f *Factory) configError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		where := f.Getenv("KUBECONFIG")
		if where == "" {
			where = "~/.kube/config"
		}
		if *f.Config.KubeConfig != "" {
			where = *f.Config.KubeConfig
		}
		return &client.Error{
			What: fmt.Sprintf("no cluster is configured: the kubeconfig %s is missing or empty", where),
			Hint: "name one with --kubeconfig or KUBECONFIG, or see: kubectl config get-contexts", Err: err,
		}
	}
	return &client.Error{What: "the kubeconfig cannot be used: " + err.Error(), Hint: "check it with: kubectl config view", Err: err}
}

// where are the flags by which the cluster and the namespace were chosen, for the commands that are proposed.
func (f *Factory) where() string { return f.whereIn(*f.Config.Namespace) }

// whereIn is where with the namespace of a certain object.
func (f *Factory) whereIn(namespace string) string {
	s := ""
	for _, flag := range []struct{ name, value string }{
		{"-n", namespace}, {"--context", *f.Config.Context}, {"--kubeconfig", *f.Config.KubeConfig},
	} {
		switch {
		case flag.value == "":
		case strings.ContainsAny(flag.value, " \t'"):
			s += " " + flag.name + " '" + strings.ReplaceAll(flag.value, "'", `'\''`) + "'"
		default:
			s += " " + flag.name + " " + flag.value
		}
	}
	return s
}

// Interactive says whether a person can be asked: the input and the error stream are terminals.
func (f *Factory) Interactive() bool {
	return isTerminal(f.In) && isTerminal(f.ErrOut) && f.Getenv("CI") == "" && f.Getenv("TERM") != "dumb"
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(file.Fd())
}

// width is the number of columns of the terminal that stream is, 0 when it is none.
func width(stream any) int {
	file, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	w, _, err := term.GetSize(file.Fd())
	if err != nil {
		return 0
	}
	return w
}
