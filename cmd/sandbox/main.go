// Command sandbox runs a real Kubernetes control plane on this machine, for demo and tests.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/build"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cli"
)

var (
	//go:embed go.mod
	goMod []byte
	//go:embed go.sum
	goSum []byte
	//go:embed pause/main.go
	pause []byte
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Whoever reads our output may leave: then writing fails, and a boot goes on or is taken back,
	// instead of ending in its middle. (Ignoring the signal would be inherited down to the pods.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	root := cli.NewRoot(cli.Env{
		Source: build.Source{Mod: goMod, Sum: goSum, Pause: pause},
		Stdout: os.Stdout, Stderr: os.Stderr, Terminal: isTerminal(os.Stderr),
		Getenv: os.Getenv, Now: time.Now,
	})
	err := root.ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, cli.ErrNotRunning):
		os.Exit(1)
	case errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintln(os.Stderr, "sandbox: interrupted")
		os.Exit(130)
	default:
		_, _ = fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
