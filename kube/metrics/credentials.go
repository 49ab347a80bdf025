package metrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Credentials are shown to a Prometheus that is asked directly. Of a Service, which is asked through the API server, only
// the tenant and what follows are of use: the API server keeps what it is given for itself.
type Credentials struct {
	// Token is a bearer token; User and Password are basic authentication.
	Token, User, Password string
	// Tenant is sent as X-Scope-OrgID: Mimir, Cortex, Thanos.
	Tenant string
	// CA, Cert and Key are PEM: whom to trust, and who asks.
	CA, Cert, Key []byte
	// Insecure trusts any server.
	Insecure bool
}

// String tells nobody a secret.
func (c Credentials) String() string { return "credentials" }

// GoString tells nobody a secret.
func (c Credentials) GoString() string { return "credentials" }

// tenantHeader names the tenant.
const tenantHeader = "X-Scope-Orgid"

// check says what cannot be used together.
func (c *Credentials) check() error {
	switch {
	case c.Token != "" && c.User != "":
		return errors.New("credentials of Prometheus: a token and a user exclude each other")
	case c.Password != "" && c.User == "":
		return errors.New("credentials of Prometheus: a password needs a user")
	case (len(c.Cert) > 0) != (len(c.Key) > 0):
		return errors.New("credentials of Prometheus: a client certificate needs its key, and the key its certificate")
	case strings.ContainsAny(c.Token+c.Tenant, "\r\n"):
		return errors.New("credentials of Prometheus: the token or the tenant has a line break")
	}
	return nil
}

// header is what is sent with each request: to the Prometheus itself, or to one behind the API server.
func (c *Credentials) header(direct bool) http.Header {
	h := http.Header{}
	if c.Tenant != "" {
		h.Set(tenantHeader, c.Tenant)
	}
	switch {
	case !direct:
	case c.Token != "":
		h.Set("Authorization", "Bearer "+c.Token)
	case c.User != "":
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password)))
	}
	return h
}

// transport speaks TLS as the credentials say; nil for the usual one.
func (c *Credentials) transport() (http.RoundTripper, error) {
	if len(c.CA) == 0 && len(c.Cert) == 0 && !c.Insecure {
		return nil, nil //nolint:nilnil // the usual one is what a client without a transport has
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // the user's flag
	if len(c.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("credentials of Prometheus: the CA has no certificate in PEM")
		}
	}
	if len(c.Cert) > 0 {
		pair, err := tls.X509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("credentials of Prometheus: the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	t = t.Clone()
	t.TLSClientConfig = config
	return t, nil
}

// SecretCredentials reads credentials from a Secret, [NAMESPACE/]NAME: its keys token, username, password, tenant, ca.crt,
// tls.crt and tls.key, of which any may be missing.
func SecretCredentials(ctx context.Context, c *client.Client, ref string) (Credentials, error) {
	namespace, name, ok := strings.Cut(ref, "/")
	if !ok {
		namespace, name = c.Namespace, ref
	}
	s, err := c.Kube.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Credentials{}, c.Explain("read the credentials of Prometheus from secret "+namespace+"/"+name, err)
	}
	text := func(key string) string { return strings.TrimSpace(string(s.Data[key])) }
	out := Credentials{
		Token: text("token"), User: text("username"), Password: text("password"), Tenant: text("tenant"), CA: s.Data["ca.crt"], Cert: s.Data["tls.crt"], Key: s.Data["tls.key"],
	}
	if out.Token == "" && out.User == "" && out.Tenant == "" && len(out.CA) == 0 && len(out.Cert) == 0 {
		return out, &client.Error{
			Doing: "read the credentials of Prometheus from secret " + namespace + "/" + name, What: "it has none of the keys token, username, password, tenant, ca.crt, tls.crt, tls.key",
		}
	}
	return out, nil
}
