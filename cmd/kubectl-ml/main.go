// Command kubectl-ml is the kubectl plugin `kubectl ml`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/kubectl-ml/kubectl-ml/plugin"
)

func main() {
	// client-go logs what it also returns as errors; its lines would stand in the middle of a tree or of JSON.
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := plugin.Main(ctx, os.Args[1:], plugin.Streams(), os.Getenv)
	stop()
	os.Exit(code)
}
