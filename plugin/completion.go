package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
		Args:      exactlyOne("shell"),
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
			return usage(c, fmt.Errorf("no completion for shell %q: there are bash, zsh, fish and powershell", args[0]))
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

// completeRuns completes a single run, as NAME or as run/NAME.
func (f *Factory) completeRuns(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.completeOne(func(ctx context.Context, c *client.Client) ([]string, error) {
		names, err := f.runNames(ctx, c)
		if strings.HasPrefix(prefix, runRef) {
			for i := range names {
				names[i] = runRef + names[i]
			}
		}
		return names, err
	})(c, args, prefix)
}

// completeLogs completes runs and, behind RUN/, the stages of that run.
func (f *Factory) completeLogs(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	name, _, inRun := strings.Cut(strings.TrimPrefix(prefix, runRef), "/")
	if !inRun || len(args) > 0 {
		return f.completeRuns(c, args, prefix)
	}
	return f.ask(c, func(ctx context.Context, c *client.Client) ([]string, error) {
		stages, err := runStages(ctx, c, name)
		for i, s := range stages {
			stages[i] = strings.TrimSuffix(prefix, strings.TrimPrefix(prefix, runRef)) + name + "/" + s
		}
		return stages, err
	}, prefix)
}

// runRef heads the names of runs as -o name prints them.
const runRef = "run/"

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
	return startingWith(all, prefix), cobra.ShellCompDirectiveNoFileComp
}

func startingWith(names []string, prefix string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
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

// completeContexts completes --context from the kubeconfig.
func (f *Factory) completeContexts(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	config, err := f.Config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return startingWith(slices.Sorted(maps.Keys(config.Contexts)), prefix), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces completes --namespace from the cluster.
func (f *Factory) completeNamespaces(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.ask(c, func(ctx context.Context, c *client.Client) ([]string, error) { return c.Namespaces(ctx) }, prefix)
}

// completeFileStages completes the stages of the pipeline that -f names.
func (f *Factory) completeFileStages(file *string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		b, err := f.bundle(c.Context(), *file)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range b.Pipeline.Spec.Stages {
			names = append(names, s.Name)
		}
		return startingWith(without(names, args), prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRunStages completes the stages of the run that is the first argument, or of the newest.
func (f *Factory) completeRunStages(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return f.ask(cmd, func(ctx context.Context, c *client.Client) ([]string, error) {
		return runStages(ctx, c, argRun(args))
	}, prefix)
}

func runStages(ctx context.Context, c *client.Client, arg string) ([]string, error) {
	name, err := run.Find(ctx, c, arg)
	if err != nil {
		return nil, err
	}
	r, err := run.Get(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return r.Selected(), nil
}
