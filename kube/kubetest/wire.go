package kubetest

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// Wire is a way to the API server that can be cut and mended: connections over it end as when the server dies.
type Wire struct {
	t       testing.TB
	address string
	target  string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// Wire returns a way to the sandbox's API server, and a configuration that goes over it.
func (s Sandbox) Wire(t testing.TB) (*Wire, *rest.Config) {
	t.Helper()
	cfg := rest.CopyConfig(s.Config(t))
	u, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{t: t, target: u.Host, address: "127.0.0.1:0", open: map[net.Conn]bool{}}
	w.Mend()
	t.Cleanup(w.Cut)
	cfg.Host = "https://" + w.address
	return w, cfg
}

// Mend lets connections through.
func (w *Wire) Mend() {
	w.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.listener, w.address = l, l.Addr().String()
	w.mu.Unlock()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(conn)
		}
	}()
}

func (w *Wire) carry(conn net.Conn) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	w.mu.Lock()
	w.open[conn], w.open[server] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(server, conn); _ = server.Close() })
	both.Go(func() { _, _ = io.Copy(conn, server); _ = conn.Close() })
	both.Wait()
	w.mu.Lock()
	delete(w.open, conn)
	delete(w.open, server)
	w.mu.Unlock()
}

// Cut drops all connections and refuses new ones.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for c := range w.open {
		_ = c.Close()
	}
}
