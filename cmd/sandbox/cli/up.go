package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/image"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/supervisor"
)

func newUp(env Env, open opener) *cobra.Command {
	var o cluster.UpOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the sandbox, or what is missing of it, and print its kubeconfig's path",
		Long: `up starts the sandbox and prints the path of its kubeconfig, the only line on stdout. On a sandbox
that runs already it starts again what has died and prints the same path. The first up on a machine
builds all programs, which takes some ten minutes; later ones take seconds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("gpu-nodes") {
				o.GPUNodes = -1 // leave a running sandbox as it is
			} else if o.GPUNodes < 0 || o.GPUNodes > 1000 {
				return fmt.Errorf("--gpu-nodes %d: give a number from 0 to 1000", o.GPUNodes)
			}
			switch o.RealNode {
			case cluster.RealNodeAuto, cluster.RealNodeOn, cluster.RealNodeOff:
				if !cmd.Flags().Changed("real-node") {
					o.RealNode = cluster.RealNodeKeep
				}
			default:
				return fmt.Errorf("--real-node %q: give auto, on or off", o.RealNode)
			}
			if err := s.Up(cmd.Context(), o); err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, s.Dir.Kubeconfig())
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.GPUNodes, "gpu-nodes", cluster.DefaultGPUNodes, "`number` of simulated nodes, with 8 GPUs each; those beyond eight are a mix")
	f.StringVar(&o.RealNode, "real-node", cluster.RealNodeAuto, "a node that runs containers: `auto|on|off`; auto: if this machine can")
	f.IntVar(&o.WhilePID, "while-pid", 0, "take the sandbox down when the process of this `id` ends")
	f.StringSliceVar(&o.With, "with", nil, "controllers and stores to have besides, a `list` of "+strings.Join(cluster.Additions(), ",")+"; a running sandbox is given them too")
	f.StringVar(&o.DriverBinary, "driver-binary", "", "load this static `program` into the real node as "+image.Driver)
	return cmd
}

func newImage(env Env, open opener) *cobra.Command {
	var binary, name string
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Load a static program into the real node as an image",
		Long: `image packs a static Linux program as a container image, with the program as its entrypoint and the
user 65532, loads it into the sandbox's real node and prints its full name.`,
		Example: `  CGO_ENABLED=0 go build -o bin/ ./cmd/kubectl-ml
  sandbox image --binary bin/kubectl-ml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			full, err := s.LoadBinary(cmd.Context(), name, binary)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, full)
			return err
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "path of the `program`")
	cmd.Flags().StringVar(&name, "name", image.Driver, "`name` of the image")
	_ = cmd.MarkFlagRequired("binary")
	return cmd
}

func newSupervise(env Env, open opener) *cobra.Command {
	return &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		Short: "Be the process behind a running sandbox (started by up)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			return (&supervisor.Supervisor{Sandbox: s, Log: env.Stderr, Now: env.Now}).Run(cmd.Context())
		},
	}
}
