package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/pki"
)

func TestIssuedCertificateServesItsHostsAndNamesItsUser(t *testing.T) {
	ca, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Subject{Name: "alice", Groups: []string{"ml"}, Hosts: []string{"localhost", "10.1.2.3"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Fatalf("certificate and key do not belong together: %v", err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	for _, host := range []string{"localhost", "10.1.2.3"} {
		if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("verify for %s: %v", host, err)
		}
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "example.com"}); err == nil {
		t.Error("verified for a host it was not issued for")
	}
	if got := loaded.Leaf.Subject; got.CommonName != "alice" || got.Organization[0] != "ml" {
		t.Errorf("subject = %v", got)
	}
}

func TestClientCertificateDoesNotServe(t *testing.T) {
	ca, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Subject{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range loaded.Leaf.ExtKeyUsage {
		if use == x509.ExtKeyUsageServerAuth {
			t.Error("a client's certificate may serve")
		}
	}
}
