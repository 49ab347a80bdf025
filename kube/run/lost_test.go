package run

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// wire is a way to the API server that can be cut.
type wire struct {
	t       *testing.T
	address string
	target  string

	sync.Mutex
	listener net.Listener
	open     []net.Conn
}

func newWire(t *testing.T, target string) *wire {
	w := &wire{t: t, target: target, address: "127.0.0.1:0"}
	w.mend()
	t.Cleanup(w.cut)
	return w
}

// mend lets connections through.
func (w *wire) mend() {
	w.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Lock()
	w.listener, w.address = l, l.Addr().String()
	w.Unlock()
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

func (w *wire) carry(conn net.Conn) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	w.Lock()
	w.open = append(w.open, conn, server)
	w.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(server, conn); _ = server.Close() })
	both.Go(func() { _, _ = io.Copy(conn, server); _ = conn.Close() })
	both.Wait()
}

// cut drops all connections and refuses new ones.
func (w *wire) cut() {
	w.Lock()
	defer w.Unlock()
	_ = w.listener.Close()
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// over is a client whose connections go over the wire.
func (k *cluster) over(w *wire) *client.Client {
	cfg := rest.CopyConfig(k.cfg)
	cfg.Host = "https://" + w.address
	return k.connect(cfg, k.Namespace)
}

func (k *cluster) wire() *wire {
	u, err := url.Parse(k.cfg.Host)
	if err != nil {
		k.t.Fatal(err)
	}
	return newWire(k.t, u.Host)
}

func TestALostAPIServer(t *testing.T) {
	t.Parallel()
	for name, follow := range map[string]func(context.Context, *client.Client, string, func(Update)) (Run, error){"drive": Drive, "follow": Follow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := realCluster(t)
			run := k.start(pipelineOf(t, "", sim{name: "a", lasts: "2s"}), StartOptions{})
			w := k.wire()
			var mu sync.Mutex
			var lost, back int
			var silent bool
			var once sync.Once
			r, err := follow(k.ctx(), k.over(w), run, func(u Update) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case u.Lost != nil:
					lost++
					silent = silent || u.Run.Record == nil || u.Since.IsZero()
					if lost == 2 {
						w.mend()
					}
				case lost > 0:
					back++
				default:
					once.Do(w.cut)
				}
			})
			if err != nil || r.End == nil || states(r) != "Succeeded a=Succeeded" {
				t.Errorf("%s, %v", states(r), err)
			}
			if lost < 2 || back == 0 || silent {
				t.Errorf("lost was shown %d times, then %d times that it is back; without what was last known: %t", lost, back, silent)
			}
		})
	}
}

// Nothing was ever seen: that is no outage in the middle.
func TestAnAPIServerThatWasNeverThere(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	w := k.wire()
	w.cut()
	_, err := Drive(k.ctx(), k.over(w), "p-1", func(Update) {})
	if err == nil || !strings.Contains(err.Error(), "refuses connections") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsThatExpireInTheMiddle(t *testing.T) {
	t.Parallel()
	k := realCluster(t)
	name := k.start(pipelineOf(t, "", sim{name: "a", lasts: "1h"}), StartOptions{})
	expired := answer(http.MethodGet, "configmaps", 401, `"reason": "Unauthorized", "code": 401, "message": "Unauthorized"`)
	looks := 0
	c := k.through(func(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if is(r, http.MethodGet, "mlrun-"+name) {
			if looks++; looks > 1 {
				return expired(r, send)
			}
		}
		return send(r)
	})
	r, err := Drive(k.ctx(), c, name, func(Update) {})
	var e *client.Error
	if !errors.As(err, &e) || !apierrors.IsUnauthorized(err) || e.Hint != "log in again, then check with: kubectl auth whoami" {
		t.Errorf("got %v", err)
	}
	if r.State != Running && r.State != Pending {
		t.Errorf("what was last known is lost: %q", r.State)
	}
}
