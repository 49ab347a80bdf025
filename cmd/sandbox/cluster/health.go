package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// healthClient trusts the sandbox's authority and shows a certificate that etcd accepts.
func healthClient(d state.Dir) (*http.Client, error) {
	ca, err := os.ReadFile(d.Join("pki", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(d.Join("pki", "kubelet-client.crt"), d.Join("pki", "kubelet-client.key"))
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's certificate: %w", err)
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	return &http.Client{Timeout: 5 * time.Second, Transport: transport}, nil
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	if socket, ok := strings.CutPrefix(url, "unix://"); ok {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// ErrPortTaken says that somebody took a port between our finding it free and a program's use of it.
var ErrPortTaken = errors.New("a port was taken meanwhile")

// waitHealthy waits until a program works. It says at once when the program ended instead, and shows
// the end of its log.
func waitHealthy(ctx context.Context, client *http.Client, d state.Dir, p Program, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	log := d.LogFile(p.Name)
	for {
		err := healthy(ctx, client, p.Health)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			tail := proc.Tail(log, 15)
			if strings.Contains(tail, "address already in use") {
				return fmt.Errorf("%s: %w\n%s", p.Name, ErrPortTaken, tail)
			}
			return fmt.Errorf("%s ended at its start; the end of %s:\n%s", p.Name, log, tail)
		default:
		}
		if !proc.Sleep(ctx, 50*time.Millisecond) {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s does not become healthy (%w); the end of %s:\n%s", p.Name, err, log, proc.Tail(log, 15))
			}
			return ctx.Err()
		}
	}
}
