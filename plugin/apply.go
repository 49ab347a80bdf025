package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
)

type applyOptions struct {
	File   string
	Driver driverOptions
	DryRun dryRun
	Output output
}

func newApplyCmd(f *Factory, do func(context.Context, *Factory, applyOptions) error) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:     "apply",
		Short:   "Keep a pipeline in the cluster, with its schedules",
		GroupID: groupWrite,
		Long: `Store a pipeline with its source and manifests in the cluster, so that anybody can run it by name, and set up its
schedules: the pipeline's own as a CronJob of the driver, those of single stages as plain CronJobs. Schedules that the
file no longer has are removed. Applying starts no run.`,
		Example: `  kubectl ml apply
  kubectl ml apply -f house-prices/pipeline.yaml --dry-run=server
  kubectl ml apply -f house-prices/pipeline.yaml && kubectl ml run -f house-prices`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().StringVarP(&o.File, "filename", "f", "", "pipeline `file`, - for stdin (default ./pipeline.yaml)")
	o.Driver.add(c)
	o.DryRun.add(c)
	o.Output.add(c, false)
	return c
}

// application reads a file and builds what applying it writes.
func (f *Factory) application(ctx context.Context, file string, d driverOptions, dry dryRun) (*client.Client, *run.Application, error) {
	if file == "" {
		file = defaultFile
	}
	b, err := run.ReadFile(file, f.In)
	if err != nil {
		return nil, nil, err
	}
	f.warn(b.Warnings)
	c, err := f.clientFor(dry)
	if err != nil {
		return nil, nil, err
	}
	by := ""
	if !dry.client() {
		by = c.WhoAmI(ctx)
	}
	a, err := run.NewApplication(ctx, c, b, d.driver(f), by)
	return c, a, err
}

func runApply(ctx context.Context, f *Factory, o applyOptions) error {
	if err := errors.Join(o.Output.check(), o.DryRun.check()); err != nil {
		return err
	}
	c, a, err := f.application(ctx, o.File, o.Driver, o.DryRun)
	if err != nil {
		return err
	}
	if o.DryRun.client() {
		return f.showObjects(o.Output, o.DryRun, a.Objects())
	}
	var changes []item
	err = a.Apply(ctx, c, o.DryRun.server(), func(ch run.Change) {
		if o.Output.table() {
			f.print("%s %s%s\n", ch.Object, ch.Done, o.DryRun.suffix())
		}
		changes = append(changes, item{kind: "Change", name: ch.Object, fact: ch})
	})
	if err != nil {
		return err
	}
	if !o.Output.table() {
		if o.Output.Format == "name" {
			for _, ch := range changes {
				f.print("%s\n", ch.name)
			}
			return nil
		}
		return f.list(o.Output, changes, nil)
	}
	if o.DryRun.server() == nil {
		f.say("Run it with:  kubectl ml run -f %s%s", a.Name(), f.where())
	}
	return nil
}

// showObjects prints what a dry run would write.
func (f *Factory) showObjects(o output, d dryRun, objects []runtime.Object) error {
	if !o.table() && o.Format != "name" {
		return f.objects(o, objects)
	}
	for _, obj := range objects {
		if o.table() {
			f.print("%s applied%s\n", objectRef(obj), d.suffix())
		} else {
			f.print("%s\n", objectRef(obj))
		}
	}
	return nil
}

type diffOptions struct {
	File   string
	Driver driverOptions
}

func newDiffCmd(f *Factory, do func(context.Context, *Factory, diffOptions) error) *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:     "diff",
		Short:   "Compare a pipeline file with what is applied",
		GroupID: groupWrite,
		Long: `Show what "kubectl ml apply" would change: the pipeline file, its manifests, the code of its stages and its schedules.

The exit code is 0 when nothing differs, 1 when something does, 2 on an error. KUBECTL_EXTERNAL_DIFF names another
program than "diff -u -N".`,
		Example: `  kubectl ml diff
  KUBECTL_EXTERNAL_DIFF="git diff --no-index --color" kubectl ml diff -f house-prices/pipeline.yaml`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), f, o) },
	}
	c.Flags().StringVarP(&o.File, "filename", "f", "", "pipeline `file`, - for stdin (default ./pipeline.yaml)")
	o.Driver.add(c)
	return c
}

func runDiff(ctx context.Context, f *Factory, o diffOptions) error {
	differs, err := f.diff(ctx, o)
	switch {
	case err != nil:
		return &CodeError{Code: ExitDiffError, Err: err}
	case differs:
		return &CodeError{Code: ExitError}
	}
	return nil
}

func (f *Factory) diff(ctx context.Context, o diffOptions) (bool, error) {
	c, a, err := f.application(ctx, o.File, o.Driver, "none")
	if err != nil {
		return false, err
	}
	live, merged, err := a.LiveFiles(ctx, c)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "kubectl-ml-diff-")
	if err != nil {
		return false, fmt.Errorf("make room for the comparison: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for side, files := range map[string]map[string]string{"LIVE": live, "MERGED": merged} {
		if err := writeTree(filepath.Join(dir, side), files); err != nil {
			return false, err
		}
	}
	return f.compare(ctx, dir)
}

func writeTree(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make room for the comparison: %w", err)
	}
	// A root keeps names that come from the cluster inside the folder.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("make room for the comparison: %w", err)
	}
	defer func() { _ = root.Close() }()
	for name, content := range files {
		name = filepath.Clean(strings.TrimLeft(name, "/."))
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fmt.Errorf("write %s for the comparison: %w", name, err)
		}
		if err := root.WriteFile(name, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write %s for the comparison: %w", name, err)
		}
	}
	return nil
}

// compare runs the diff program on LIVE and MERGED in dir.
func (f *Factory) compare(ctx context.Context, dir string) (bool, error) {
	program := strings.Fields(f.Getenv("KUBECTL_EXTERNAL_DIFF"))
	if len(program) == 0 {
		program = []string{"diff", "-u", "-r", "-N"}
	}
	cmd := exec.CommandContext(ctx, program[0], append(program[1:], "LIVE", "MERGED")...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, f.Out, f.ErrOut
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return true, nil
	case errors.Is(err, exec.ErrNotFound):
		return false, fmt.Errorf("the program %s is not installed: install it, or name another with KUBECTL_EXTERNAL_DIFF", program[0])
	}
	return false, fmt.Errorf("run %s: %w", program[0], err)
}
