// Package cli is the room for commands: flags in, one call into the other rooms, text out.
package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/build"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/progress"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Env is what the commands know of the world.
type Env struct {
	Source         build.Source
	Stdout, Stderr io.Writer
	Terminal       bool // Stderr is one
	Getenv         func(string) string
	Now            func() time.Time
}

// NewRoot makes the command tree.
func NewRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "sandbox",
		Short: "A real Kubernetes control plane on this machine, for demo and tests",
		Long: `sandbox runs a real Kubernetes control plane on this machine: etcd, kube-apiserver,
kube-controller-manager and kube-scheduler, with GPU nodes that kwok simulates and Prometheus. On
Linux as root it adds one real node that runs containers. All programs are built from Go modules;
no image registry and no container engine is needed.

A sandbox is named by its state folder; several run side by side.`,
		Example: `  export KUBECONFIG=$(sandbox up)
  kubectl get nodes
  sandbox down`,
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
	}
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	var stateFlag string
	root.PersistentFlags().StringVar(&stateFlag, "state", state.DefaultPath(env.Getenv),
		"state `folder`, which is the identity of the sandbox (environment: KUBECTL_ML_SANDBOX)")
	open := func() (*cluster.Sandbox, error) { return env.sandbox(stateFlag) }
	root.AddCommand(newUp(env, open), newDown(open), newStatus(env, open), newKubeconfig(env, open), newBuild(env), newImage(env, open), newFleet(env, open), newSupervise(env, open))
	return root
}

func (e Env) cache() (*build.Cache, error) {
	dir := e.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		home := e.Getenv("HOME")
		if home == "" {
			return nil, fmt.Errorf("no folder for the cache: set HOME or XDG_CACHE_HOME")
		}
		dir = filepath.Join(home, ".cache")
	}
	return build.NewCache(filepath.Join(dir, "kubectl-ml", "sandbox"), e.Source), nil
}

func (e Env) printer() *progress.Printer { return progress.New(e.Stderr, e.Terminal, e.Now) }

func (e Env) sandbox(path string) (*cluster.Sandbox, error) {
	dir, err := state.Open(path)
	if err != nil {
		return nil, err
	}
	cache, err := e.cache()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &cluster.Sandbox{Dir: dir, Cache: cache, Progress: e.printer(), Self: self, Now: e.Now}, nil
}

// opener opens the sandbox that --state names.
type opener func() (*cluster.Sandbox, error)

func newDown(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the sandbox and remove all it made", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			return s.Progress.Do(cmd.Context(), "take down "+string(s.Dir), s.Down)
		},
	}
}

func newBuild(env Env) *cobra.Command {
	var with []string
	cmd := &cobra.Command{
		Use: "build", Short: "Build every program into the cache, for Makefile and CI", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := env.cache()
			if err != nil {
				return err
			}
			controllers, err := cluster.With(nil, with)
			if err != nil {
				return err
			}
			names := append(build.ControlPlane(), controllers...)
			if node.Possible() == "" {
				names = append(names, build.RealNode()...)
			}
			if err := cache.Build(cmd.Context(), env.printer(), names...); err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, filepath.Dir(cache.Path("kubectl")))
			return err
		},
	}
	cmd.Flags().StringSliceVar(&with, "with", nil, "controllers and stores to build besides, a `list` of "+strings.Join(cluster.Additions(), ","))
	return cmd
}
