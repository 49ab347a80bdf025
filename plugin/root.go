// Package plugin is the room of the verbs: one file a verb, each from flags to an options value to one use-case call
// of kube to a printer. It is the only place that knows of cobra and of kubectl's connection flags.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/views"
)

// Main runs one command line and returns the exit code. Errors are printed to the error stream.
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams, getenv func(string) string) int {
	f := NewFactory(streams, getenv)
	cmd := NewRoot(f)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	return f.report(err)
}

// report prints err as kubectl does and returns its exit code.
func (f *Factory) report(err error) int {
	if err == nil {
		return ExitOK
	}
	code := ExitError
	var exit *CodeError
	if errors.As(err, &exit) {
		code = exit.Code
		err = exit.Err
	}
	if err != nil {
		f.say("%s", errorText(err))
	}
	return code
}

// errorText begins with "error: ". Several problems of a file stand one on a line, where editors find their positions.
func errorText(err error) string {
	text := "error: " + strings.TrimRight(clean(err.Error()), "\n")
	var problems pipeline.Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		return fmt.Sprintf("error: %s in %s:\n%s", views.Plural(int64(len(problems)), "problem", "problems"), problems[0].File, strings.TrimPrefix(text, "error: "))
	}
	return text
}

// NewRoot builds the command tree.
func NewRoot(f *Factory) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-ml",
		Short: "Train, judge and run models on Kubernetes",
		Long: `kubectl ml launches the stages of machine-learning pipelines as ordinary Kubernetes
Jobs, follows them, and keeps what they gave back. It installs nothing in the cluster.

Start with:  kubectl ml init house-prices && kubectl ml run`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl ml"},
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                       unknownVerb,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(f.In)
	root.SetOut(f.Out)
	root.SetErr(f.ErrOut)
	root.SetFlagErrorFunc(usage)
	f.Config.AddFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("context", f.completeContexts)
	_ = root.RegisterFlagCompletionFunc("namespace", f.completeNamespaces)
	root.AddGroup(
		&cobra.Group{ID: groupWrite, Title: "Write a pipeline:"},
		&cobra.Group{ID: groupRun, Title: "Run it:"},
		&cobra.Group{ID: groupSee, Title: "See what happens:"},
		&cobra.Group{ID: groupChange, Title: "Change it:"},
		&cobra.Group{ID: groupModel, Title: "Keep models and serve them:"},
	)
	h := helper{f: f, verbs: f.verbs()}
	root.SetHelpFunc(h.help)
	root.SetUsageFunc(h.usage)
	root.SetHelpCommand(newHelpCmd())
	root.AddCommand(h.verbs...)
	root.AddCommand(topics()...)
	for _, c := range root.Commands() {
		wrapArgs(c)
	}
	return root
}

// The groups of verbs in the help text.
const (
	groupWrite  = "write"
	groupRun    = "run"
	groupSee    = "see"
	groupChange = "change"
	groupModel  = "model"
)

func unknownVerb(c *cobra.Command, args []string) error { return usage(c, onlyVerbs(c, args)) }

// onlyVerbs takes none of the words that no subcommand of a group took.
func onlyVerbs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		msg += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(msg)
}

// wrapArgs makes errors in the number of arguments say where the help is, in all verbs alike.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return usage(c, check(c, args)) }
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// usage marks an error in how a command was called.
func usage(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath())
}

// say writes one message for people.
func (f *Factory) say(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	_, _ = io.WriteString(f.ErrOut, text+"\n")
}

// Streams are the process's own.
func Streams() genericiooptions.IOStreams {
	return genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
}
