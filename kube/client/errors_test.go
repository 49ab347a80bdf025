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
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	jobs = schema.GroupResource{Group: "batch", Resource: "jobs"}
	cms  = schema.GroupResource{Resource: "configmaps"}
)

// sent is an error on the way to the server, as net/http gives it.
func sent(err error) error {
	return &url.Error{Op: "Get", URL: "https://h:6443/api", Err: err}
}

func forbidden(text string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden, Message: text}}
}

func noNamespace() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "ns")
}

func tooLong() error {
	return apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "mlrun-x", field.ErrorList{field.TooLong(field.NewPath(""), "", 1<<20)})
}

func dialing(err error) error { return sent(&net.OpError{Op: "dial", Net: "tcp", Err: err}) }

func badCertificate(err error) error { return sent(&tls.CertificateVerificationError{Err: err}) }

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// kinds are all kinds of errors with what is said of them and whether they may pass by themselves.
func kinds() map[string]struct {
	err        error
	what, hint string
	transient  bool
} {
	const (
		login    = "log in again, then check with: kubectl auth whoami"
		contexts = "check the network or VPN, and the context: kubectl config get-contexts"
		smaller  = "make the source folder or the parameters smaller (.mlignore), or use an image"
	)
	type kind = struct {
		err        error
		what, hint string
		transient  bool
	}
	return map[string]kind{
		"forbidden in a namespace": {
			err:  apierrors.NewForbidden(jobs, "x", errors.New(`User "ann" cannot create resource "jobs" in API group "batch" in the namespace "ns"`)),
			what: "forbidden: needs create jobs.batch in namespace ns (you are ann)",
			hint: "ask for that right, then check with: kubectl auth can-i create jobs.batch -n ns",
		},
		"forbidden in the core group": {
			err:  apierrors.NewForbidden(cms, "", errors.New(`User "ann" cannot list resource "configmaps" in API group "" in the namespace "ns"`)),
			what: "forbidden: needs list configmaps in namespace ns (you are ann)",
			hint: "ask for that right, then check with: kubectl auth can-i list configmaps -n ns",
		},
		"forbidden in the cluster": {
			err:  apierrors.NewForbidden(jobs, "", errors.New(`User "ann" cannot list resource "jobs" in API group "batch" at the cluster scope`)),
			what: "forbidden: needs list jobs.batch (you are ann)",
			hint: "ask for that right, then check with: kubectl auth can-i list jobs.batch",
		},
		"quota": {
			err:  forbidden(`jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1`),
			what: `jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1`,
		},
		"quota that is too new": {
			err:       forbidden(`jobs.batch "x" is forbidden: status unknown for quota: q, resources: count/jobs.batch`),
			what:      `jobs.batch "x" is forbidden: status unknown for quota: q, resources: count/jobs.batch`,
			transient: true,
		},
		"quota that others use at the same time": {
			err:       apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "q", errors.New("please apply your changes to the latest version and try again")),
			what:      `Operation cannot be fulfilled on resourcequotas "q": please apply your changes to the latest version and try again`,
			transient: true,
		},
		"conflict": {
			err:  apierrors.NewConflict(cms, "x", errors.New("the object has been modified")),
			what: `Operation cannot be fulfilled on configmaps "x": the object has been modified`,
		},
		"unauthorized": {
			err:  apierrors.NewUnauthorized("Unauthorized"),
			what: "the API server does not accept these credentials (expired, or of another cluster)", hint: login,
		},
		"no namespace": {
			err: noNamespace(), what: `namespace "ns" does not exist`,
			hint: "create it with: kubectl create namespace ns   or choose another with -n",
		},
		"not found": {err: apierrors.NewNotFound(jobs, "x"), what: `jobs.batch "x" not found`},
		"invalid": {
			err:  apierrors.NewInvalid(schema.GroupKind{Group: "batch", Kind: "Job"}, "x", field.ErrorList{field.Required(field.NewPath("spec"), "")}),
			what: `Job.batch "x" is invalid: spec: Required value`,
		},
		"too large for the server": {err: apierrors.NewRequestEntityTooLargeError("limit is 3145728"), what: "the object is larger than the cluster accepts", hint: smaller},
		"too large for etcd":       {err: apierrors.NewInternalError(errors.New("etcdserver: request is too large")), what: "the object is larger than the cluster accepts", hint: smaller},
		"too large for a ConfigMap": {
			err: tooLong(), what: "the object is larger than the cluster accepts", hint: smaller,
		},
		"credential plugin": {
			err:  sent(errors.New("getting credentials: exec: executable aws failed with exit code 255")),
			what: `the kubeconfig's credential plugin failed: Get "https://h:6443/api": getting credentials: exec: executable aws failed with exit code 255`, hint: login,
		},
		"unknown authority": {
			err:  badCertificate(x509.UnknownAuthorityError{}),
			what: "the certificate of https://h:6443 is signed by an authority that this kubeconfig does not know", hint: "check the context: kubectl config get-contexts",
		},
		"expired certificate": {
			err:  badCertificate(errors.New("x509: certificate has expired")),
			what: "the certificate of https://h:6443 cannot be trusted: x509: certificate has expired",
			hint: "check this machine's clock, and the context: kubectl config get-contexts",
		},
		"no such host": {
			err:  dialing(&net.DNSError{Err: "no such host", Name: "h"}),
			what: "cannot find the API server https://h:6443: no such host", hint: contexts, transient: true,
		},
		"refused": {
			err:  dialing(syscall.ECONNREFUSED),
			what: "the API server https://h:6443 refuses connections", hint: "is the cluster up, and is this the right context?  kubectl config get-contexts", transient: true,
		},
		"timeout": {
			err:  sent(timeout{}),
			what: "the API server https://h:6443 does not answer", hint: "check the network or VPN; try: kubectl get --raw /readyz", transient: true,
		},
		"deadline":     {err: context.DeadlineExceeded, what: "the API server https://h:6443 does not answer", hint: "check the network or VPN; try: kubectl get --raw /readyz", transient: true},
		"interrupted":  {err: sent(context.Canceled), what: `Get "https://h:6443/api": context canceled`},
		"reset":        {err: sent(syscall.ECONNRESET), what: `Get "https://h:6443/api": connection reset by peer`, transient: true},
		"cut":          {err: sent(io.EOF), what: `Get "https://h:6443/api": EOF`, transient: true},
		"cut halfway":  {err: fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", io.ErrUnexpectedEOF), what: "unexpected error when reading response body. Please retry. Original error: unexpected EOF", transient: true},
		"throttled":    {err: apierrors.NewTooManyRequests("busy", 1), what: "busy", transient: true},
		"unavailable":  {err: apierrors.NewServiceUnavailable("starting"), what: "starting", transient: true},
		"server fault": {err: apierrors.NewInternalError(errors.New("webhook")), what: "Internal error occurred: webhook", transient: true},
		"our own":      {err: errors.New("no stage x"), what: "no stage x"},
	}
}

func TestExplain(t *testing.T) {
	c := &Client{Namespace: "ns", Host: "https://h:6443"}
	for name, k := range kinds() {
		t.Run(name, func(t *testing.T) {
			err := c.Explain("create job x", k.err)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			if diff := cmp.Diff([]string{"create job x", k.what, k.hint}, []string{e.Doing, e.What, e.Hint}); diff != "" {
				t.Error(diff)
			}
			if !errors.Is(err, k.err) {
				t.Error("does not unwrap to the original")
			}
			if again := c.Explain("start", fmt.Errorf("first: %w", err)); !errors.As(again, &e) || e.Doing != "create job x" {
				t.Errorf("explained twice: %v", again)
			}
			for _, err := range []error{k.err, err, fmt.Errorf("wrapped: %w", err)} {
				if got := Transient(err); got != k.transient {
					t.Errorf("transient: %t for %v", got, err)
				}
			}
		})
	}
	if c.Explain("nothing", nil) != nil || Transient(nil) {
		t.Error("no error is explained")
	}
}

func TestErrorsReadAsASentenceAndAHint(t *testing.T) {
	for want, e := range map[string]*Error{
		"read run x: not found\n  list the runs": {Doing: "read run x", What: "not found", Hint: "list the runs"},
		"read run x: not found":                  {Doing: "read run x", What: "not found"},
		"not found":                              {What: "not found"},
	} {
		if e.Error() != want {
			t.Errorf("%q, want %q", e.Error(), want)
		}
	}
}
