package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Error is an API error said in a way that a person can act on. It unwraps to the original.
type Error struct {
	// Doing is what was tried, such as "create job train-x".
	Doing string
	// What is the fault in one line, Hint the next thing to do; Hint may be empty.
	What, Hint string
	Err        error
}

func (e *Error) Error() string {
	s := e.What
	if e.Doing != "" {
		s = e.Doing + ": " + s
	}
	if e.Hint != "" {
		s += "\n  " + e.Hint
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// forbiddenText takes apart the message of a 403, which has the same form in all releases.
var forbiddenText = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)"(?: in API group "([^"]*)")?(?: (?:in the namespace "([^"]*)"|at the cluster scope))?`)

// Explain wraps an error of the API server or of the way to it. It returns nil for nil and leaves
// an error that it explained before as it is.
func (c *Client) Explain(doing string, err error) error {
	var done *Error
	var u *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &u) && errors.As(u.Err, &done):
		// The way to the server could not even be begun: who asks there says why.
		return &Error{Doing: doing, What: done.What, Hint: done.Hint, Err: err}
	case errors.As(err, &done):
		return err
	}
	e := &Error{Doing: doing, What: err.Error(), Err: err}
	var unknownCA x509.UnknownAuthorityError
	var badCert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case apierrors.IsForbidden(err):
		e.What, e.Hint = explainForbidden(err)
	case apierrors.IsUnauthorized(err):
		e.What = "the API server does not accept these credentials (expired, or of another cluster)"
		e.Hint = "log in again, then check with: kubectl auth whoami"
	case isMissingNamespace(err):
		missing := c.MissingNamespace()
		e.What, e.Hint = missing.What, missing.Hint
	case isTooLarge(err):
		e.What = "the object is larger than the cluster accepts"
		e.Hint = "make the source folder or the parameters smaller (.mlignore), or use an image"
	case strings.Contains(err.Error(), "getting credentials"):
		e.What = "the kubeconfig's credential plugin failed: " + err.Error()
		e.Hint = "log in again, then check with: kubectl auth whoami"
	case errors.As(err, &unknownCA):
		e.What = fmt.Sprintf("the certificate of %s is signed by an authority that this kubeconfig does not know", c.Host)
		e.Hint = "check the context: kubectl config get-contexts"
	case errors.As(err, &badCert):
		e.What = fmt.Sprintf("the certificate of %s cannot be trusted: %v", c.Host, badCert.Err)
		e.Hint = "check this machine's clock, and the context: kubectl config get-contexts"
	case errors.As(err, &dns):
		e.What = fmt.Sprintf("cannot find the API server %s: %s", c.Host, dns.Err)
		e.Hint = "check the network or VPN, and the context: kubectl config get-contexts"
	case utilnet.IsConnectionRefused(err):
		e.What = fmt.Sprintf("the API server %s refuses connections", c.Host)
		e.Hint = "is the cluster up, and is this the right context?  kubectl config get-contexts"
	case isTimeout(err):
		e.What = fmt.Sprintf("the API server %s does not answer", c.Host)
		e.Hint = "check the network or VPN; try: kubectl get --raw /readyz"
	}
	return e
}

// MissingNamespace is the error for a namespace that is not there. Lists do not say so: they are just empty.
func (c *Client) MissingNamespace() *Error {
	return &Error{
		What: fmt.Sprintf("namespace %q does not exist", c.Namespace),
		Hint: fmt.Sprintf("create it with: kubectl create namespace %s   or choose another with -n", c.Namespace),
	}
}

func explainForbidden(err error) (what, hint string) {
	m := forbiddenText.FindStringSubmatch(err.Error())
	if m == nil {
		// Admission plugins, quotas and Pod Security answer 403 with a text of their own.
		return err.Error(), ""
	}
	user, verb, resource, group, ns := m[1], m[2], m[3], m[4], m[5]
	if group != "" {
		resource += "." + group
	}
	what = fmt.Sprintf("forbidden: needs %s %s", verb, resource)
	flag := ""
	if ns != "" {
		what += " in namespace " + ns
		flag = " -n " + ns
	}
	return what + fmt.Sprintf(" (you are %s)", user), fmt.Sprintf("ask for that right, then check with: kubectl auth can-i %s %s%s", verb, resource, flag)
}

// isMissingNamespace knows the 404 that a create in a namespace that is not there gets.
func isMissingNamespace(err error) bool {
	var s apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &s) || s.Status().Details == nil {
		return false
	}
	return s.Status().Details.Kind == "namespaces"
}

// isTooLarge knows the answers of the API server, of its check of ConfigMaps, and of etcd.
func isTooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) || strings.Contains(err.Error(), "etcdserver: request is too large") ||
		apierrors.IsInvalid(err) && strings.Contains(err.Error(), "Too long: may not be more than 1048576 bytes")
}

func isTimeout(err error) bool {
	var u *url.Error
	return errors.As(err, &u) && u.Timeout() || errors.Is(err, context.DeadlineExceeded) || apierrors.IsServerTimeout(err)
}

// Transient says whether the same request may succeed later without anybody changing anything.
func Transient(err error) bool {
	var explained *Error
	if errors.As(err, &explained) && explained.Err != nil {
		err = explained.Err
	}
	if err == nil || errors.Is(err, context.Canceled) || isTooLarge(err) {
		return false
	}
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		code := s.Status().Code
		return code == 429 || code >= 500 || isQuotaRace(err)
	}
	var badCert *tls.CertificateVerificationError
	if errors.As(err, &badCert) || strings.Contains(err.Error(), "getting credentials") {
		return false
	}
	// What is not an answer of the server is a fault of the way to it.
	var u *url.Error
	var n net.Error
	return errors.As(err, &u) || errors.As(err, &n) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "when reading response body")
}

// isQuotaRace knows the refusals of the quota admission that pass by themselves: others counted at the same time, or
// the quota is too new to have been counted at all.
func isQuotaRace(err error) bool {
	switch text := err.Error(); {
	case apierrors.IsConflict(err):
		return strings.Contains(text, "cannot be fulfilled on resourcequotas")
	case apierrors.IsForbidden(err):
		return strings.Contains(text, "status unknown for quota")
	}
	return false
}
