package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

func newCompletionCmd(_ *Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "completion (bash|zsh|fish|powershell)",
		Short: "Print the completion script of a shell",
		Long: `Print the script that completes verbs, flags and the names of runs, pipelines, stages and schedules.

For "kubectl ml ..." kubectl looks for a program kubectl_complete-ml on the PATH; this makes one:

  printf '#!/bin/sh\nexec kubectl-ml __complete "$@"\n' > kubectl_complete-ml
  chmod +x kubectl_complete-ml && mv kubectl_complete-ml ~/.local/bin/`,
		Example: `  source <(kubectl-ml completion bash)
  kubectl-ml completion zsh > "${fpath[1]}/_kubectl-ml"`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			root, out := c.Root(), c.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return fmt.Errorf("no completion for shell %q", args[0])
		},
	}
}

// completionTime is how long a shell waits for names before it gets none.
const completionTime = 3 * time.Second

type namer func(ctx context.Context, c *client.Client) ([]string, error)

// completeOne completes a single argument with names from the cluster.
func (f *Factory) completeOne(names namer) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.ask(c, names, prefix)
	}
}

// completeMany completes any number of arguments, each name once.
func (f *Factory) completeMany(names namer) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		out, directive := f.ask(c, names, prefix)
		return without(out, args), directive
	}
}

func without(names, args []string) []string {
	used := map[string]bool{}
	for _, a := range args {
		used[a] = true
	}
	var out []string
	for _, n := range names {
		if !used[n] {
			out = append(out, n)
		}
	}
	return out
}

// ask gets names from the cluster; a shell gets none rather than an error.
func (f *Factory) ask(cmd *cobra.Command, names namer, prefix string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c, err := f.Client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := names(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, n := range all {
		if strings.HasPrefix(n, prefix) {
			out = append(out, n)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (f *Factory) runNames(ctx context.Context, c *client.Client) ([]string, error) {
	names, err := run.Names(ctx, c)
	return append(names, "@latest"), err
}

func (f *Factory) pipelineNames(ctx context.Context, c *client.Client) ([]string, error) {
	return run.Pipelines(ctx, c)
}

func (f *Factory) runAndPipelineNames(ctx context.Context, c *client.Client) ([]string, error) {
	names, err := run.Names(ctx, c)
	if err != nil {
		return nil, err
	}
	pipes, err := run.Pipelines(ctx, c)
	for _, p := range pipes {
		names = append(names, "pipeline/"+p)
	}
	return names, err
}

func (f *Factory) scheduleNames(ctx context.Context, c *client.Client) ([]string, error) {
	list, err := run.Schedules(ctx, c, false, "")
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return names, err
}

// completeFileStages completes the stages of the pipeline that -f names.
func (f *Factory) completeFileStages(file *string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		b, err := f.bundle(c.Context(), *file)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range b.Pipeline.Spec.Stages {
			names = append(names, s.Name)
		}
		return without(names, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRunStages completes the stages of the run that is the first argument, or of the newest.
func (f *Factory) completeRunStages(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.ask(cmd, func(ctx context.Context, c *client.Client) ([]string, error) {
		name, err := run.Find(ctx, c, argRun(args))
		if err != nil {
			return nil, err
		}
		r, err := run.Get(ctx, c, name)
		if err != nil {
			return nil, err
		}
		return r.Selected(), nil
	}, prefix)
}
