// Package supervisor is the room for what a sandbox needs while it runs: it carries connections
// from the sandbox's own address to its servers, answers for the kubelets and the metric exporters of
// simulated nodes, makes volumes free again and ends the sandbox with the process it belongs to.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/cluster"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/gpus"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// Supervisor is the process behind one sandbox.
type Supervisor struct {
	Sandbox *cluster.Sandbox
	Log     io.Writer
	Now     func() time.Time
}

// Run serves until ctx ends or until the sandbox is to go: then it takes it down.
func (s *Supervisor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir := s.Sandbox.Dir
	c, err := dir.Load()
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read the sandbox's kubeconfig: %w", err)
	}
	config.QPS = -1 // each log that somebody reads is a request
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the sandbox: %w", err)
	}

	var wg sync.WaitGroup
	errs := make(chan error, 8)
	run := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				errs <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	if c.OnLoopback {
		for _, f := range cluster.Forwards(c) {
			run("forward "+f.From, func() error { return forward(ctx, f.From, f.To) })
		}
		sv, err := newServices(c, s.Log)
		if err != nil {
			return err
		}
		run("services", func() error { return sv.run(ctx, client) })
	}
	exporter := gpus.New(s.Now)
	run("exporters of the simulated nodes", func() error { return exporter.Run(ctx, client) })
	k := &kubelet{pods: client, gpus: exporter, now: s.Now}
	run("kubelet of the simulated nodes", func() error { return k.serve(ctx, dir, cluster.KubeletAddress(c)) })
	v := &volumes{client: client, dir: dir}
	run("volumes", func() error { return s.every(ctx, 2*time.Second, v.recycle) })

	gone := make(chan struct{})
	run("watch", func() error { return s.watchOwner(ctx, gone) })
	select {
	case <-ctx.Done():
	case err = <-errs:
	case <-gone:
		_, _ = fmt.Fprintln(s.Log, "the process that the sandbox belongs to ended: taking it down")
		err = s.Sandbox.Down(context.WithoutCancel(ctx))
	}
	cancel()
	wg.Wait()
	return err
}

// watchOwner closes gone when the process named by --while-pid has ended, or the state folder has
// gone from under us.
func (s *Supervisor) watchOwner(ctx context.Context, gone chan<- struct{}) error {
	for proc.Sleep(ctx, 500*time.Millisecond) {
		c, err := s.Sandbox.Dir.Load()
		if err != nil || (!c.WhilePID.IsZero() && !c.WhilePID.Alive()) {
			close(gone)
			return nil
		}
	}
	return nil
}

// every repeats f; what fails now may work the next time, so errors only go to the log.
func (s *Supervisor) every(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	last := ""
	for proc.Sleep(ctx, d) {
		if err := f(ctx); err != nil && err.Error() != last && ctx.Err() == nil {
			last = err.Error()
			_, _ = fmt.Fprintln(s.Log, last)
		}
	}
	return nil
}

// forward carries TCP connections made to one address to another.
func forward(ctx context.Context, from, to string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", from)
	if err != nil {
		return err
	}
	return accept(ctx, l, func() string { return to })
}

// accept carries the connections of a listener until it is closed or ctx ends.
func accept(ctx context.Context, l net.Listener, to func() string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go carry(ctx, conn, to())
	}
}

func carry(ctx context.Context, client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}
