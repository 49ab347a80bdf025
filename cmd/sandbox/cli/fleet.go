package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/fleet"
)

func newFleet(env Env, open opener) *cobra.Command {
	var namespace string
	var remove bool
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Fill the simulated nodes with a mixed fleet of GPU work",
		Long: `fleet makes work on the simulated nodes as a large cluster has it: distributed and small trainings,
notebooks, servers, GPUs that are held and idle, work that waits and work that has failed, each for
another reason. Names tell what an object shows. The more nodes, the more work; from eight nodes on
the trainings have room. What is there already stays.`,
		Example: `  sandbox up --gpu-nodes 200
  sandbox fleet
  kubectl get jobs,pods -n fleet
  sandbox fleet --remove`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			config, err := clientcmd.BuildConfigFromFlags("", s.Dir.Kubeconfig())
			if err != nil {
				return fmt.Errorf("no sandbox in %s: start it with `sandbox up --state %s` (%w)", s.Dir, s.Dir, err)
			}
			config.QPS = -1
			client, err := dynamic.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("connect to the sandbox: %w", err)
			}
			f := fleet.Fleet{Client: client, Namespace: namespace}
			if remove {
				return s.Progress.Do(cmd.Context(), "remove the fleet in namespace "+namespace, f.Remove)
			}
			var shown []fleet.Shown
			err = s.Progress.Do(cmd.Context(), "make the fleet in namespace "+namespace, func(ctx context.Context) error {
				shown, err = f.Create(ctx)
				return err
			})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(env.Stdout, 0, 0, 3, ' ', 0)
			_, _ = fmt.Fprintln(w, "NAME\tKIND\tOBJECTS\tSHOWS")
			for _, r := range shown {
				text := r.Shows
				if r.Missing != "" {
					text += " (not here: needs " + r.Missing + ")"
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", r.Name, r.Kind, r.Objects, text)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&namespace, "namespace", "fleet", "`name` of the namespace that it makes and fills")
	cmd.Flags().BoolVar(&remove, "remove", false, "take the fleet and its namespace away")
	return cmd
}
