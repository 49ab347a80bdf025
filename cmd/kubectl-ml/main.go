// Command kubectl-ml is the kubectl plugin `kubectl ml`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubectl-ml/kubectl-ml/plugin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := plugin.Main(ctx, os.Args[1:], plugin.Streams(), os.Getenv)
	stop()
	os.Exit(code)
}
