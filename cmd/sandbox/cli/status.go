package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
)

// ErrNotRunning makes `status` exit with 1 without a message: what it printed says it.
var ErrNotRunning = errors.New("the sandbox is not running")

func newStatus(env Env, open opener) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the sandbox: programs, nodes, addresses",
		Long:  "status shows the sandbox and changes nothing. It exits with 0 if the sandbox is running, else with 1.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			st, err := s.Status(cmd.Context())
			if err != nil {
				return err
			}
			switch output {
			case "json":
				enc := json.NewEncoder(env.Stdout)
				enc.SetIndent("", "  ")
				err = enc.Encode(st)
			case "":
				err = printStatus(env.Stdout, st)
			default:
				return fmt.Errorf("-o %q: give json or nothing", output)
			}
			if err == nil && st.Phase != cluster.Running {
				err = ErrNotRunning
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output `format`: json")
	return cmd
}

func printStatus(out io.Writer, st cluster.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("state", st.State)
	phase := st.Phase
	switch st.Phase {
	case cluster.Stopped:
		phase += " (start it with `sandbox up`)"
	case cluster.Degraded:
		phase += " (`sandbox up` starts what is missing)"
	}
	row("phase", phase)
	if st.Phase == cluster.Stopped {
		return w.Flush()
	}
	row("server", st.Server+"  "+st.Version)
	row("kubeconfig", st.Kubeconfig)
	row("kubectl", st.Kubectl)
	row("prometheus", st.Prometheus.URL)
	row("", st.Prometheus.Service+st.Prometheus.Reason)
	row("nodes", fmt.Sprintf("%d simulated, with GPUs", st.Nodes.Simulated))
	if st.Nodes.Real != "" {
		row("real node", st.Nodes.Real)
	} else {
		row("real node", "none: "+st.Nodes.Reason)
	}
	row("with", strings.Join(st.With, ", "))
	for _, image := range st.Images {
		row("image", image)
	}
	if st.WhilePID != 0 {
		row("ends with", fmt.Sprintf("process %d", st.WhilePID))
	}
	_, _ = fmt.Fprintln(w)
	row("PROGRAM", "PID\tLOG")
	for _, p := range st.Programs {
		pid := "-"
		if p.Running {
			pid = fmt.Sprint(p.PID)
		}
		row(p.Name, pid+"\t"+p.Log)
	}
	return w.Flush()
}

func newKubeconfig(env Env, open opener) *cobra.Command {
	var content bool
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the kubeconfig (or, with --content, the kubeconfig)",
		Args:  cobra.NoArgs,
		RunE: func(_ *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(s.Dir.Kubeconfig())
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("no sandbox in %s: start it with `sandbox up --state %s`", s.Dir, s.Dir)
			}
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			if !content {
				data = []byte(s.Dir.Kubeconfig() + "\n")
			}
			_, err = env.Stdout.Write(data)
			return err
		},
	}
	cmd.Flags().BoolVar(&content, "content", false, "print the kubeconfig itself")
	return cmd
}
