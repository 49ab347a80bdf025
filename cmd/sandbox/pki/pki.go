// Package pki is the room for keys and certificates: one authority for a sandbox and the
// certificates that its programs and its users show each other.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validFor = 365 * 24 * time.Hour

// Pair is a certificate and its key, PEM-encoded.
type Pair struct {
	Cert, Key []byte
}

// Authority signs certificates.
type Authority struct {
	Pair
	cert *x509.Certificate
	key  crypto.Signer
	now  time.Time
}

// NewAuthority makes an authority whose certificates are valid from shortly before now.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	a := &Authority{now: now}
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, key, err := a.sign(tmpl, nil)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read the new authority: %w", err)
	}
	a.key = key
	a.Pair, err = encode(der, key)
	return a, err
}

// ReadAuthority reads an authority that Write kept.
func ReadAuthority(dir, name string, now time.Time) (*Authority, error) {
	a := &Authority{now: now}
	var err error
	if a.Cert, err = os.ReadFile(filepath.Join(dir, name+".crt")); err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	if a.Key, err = os.ReadFile(filepath.Join(dir, name+".key")); err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	pair, err := tls.X509KeyPair(a.Cert, a.Key)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("read the authority: a key that signs nothing")
	}
	a.cert, a.key = pair.Leaf, signer
	return a, nil
}

// Subject is who a certificate speaks for: user and groups to the API server, host names and
// addresses to those who connect.
type Subject struct {
	Name   string
	Groups []string
	Hosts  []string // names and addresses; with any, the certificate also serves
}

// Issue makes a certificate.
func (a *Authority) Issue(s Subject) (Pair, error) {
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: s.Name, Organization: s.Groups},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, h := range s.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	if len(s.Hosts) > 0 {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, key, err := a.sign(tmpl, a.cert)
	if err != nil {
		return Pair{}, err
	}
	return encode(der, key)
}

func (a *Authority) sign(tmpl, parent *x509.Certificate) ([]byte, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	tmpl.NotBefore, tmpl.NotAfter = a.now.Add(-time.Hour), a.now.Add(validFor)
	signer := a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", tmpl.Subject.CommonName, err)
	}
	return der, key, nil
}

// NewKey makes a bare signing key (for service account tokens): the public half as Cert.
func NewKey() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Pair{}, fmt.Errorf("encode a key: %w", err)
	}
	p, err := encode(nil, key)
	p.Cert = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})
	return p, err
}

func encode(der []byte, key crypto.Signer) (Pair, error) {
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return Pair{}, errors.New("encode a key: not an EC key")
	}
	k, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		return Pair{}, fmt.Errorf("encode a key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k}),
	}, nil
}

// Write keeps a pair as NAME.crt and NAME.key in a folder.
func (p Pair) Write(dir, name string) error {
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), p.Cert, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".key"), p.Key, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}
