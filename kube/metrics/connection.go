package metrics

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

// maxAnswer is the limit of a connection: some hundred thousand series.
const maxAnswer = 64 << 20

const nameAnother = "name the right one with --prometheus URL or NAMESPACE/SERVICE:PORT"

// connection sends what the library asks as GET, for which `get services/proxy` is enough, reads bounded answers and
// says which of all that stands before a Prometheus refused.
type connection struct {
	api.Client // for URL
	http       *http.Client
	where      string
	// limit is how much is read of one answer, in bytes.
	limit int64
	// header is sent with each request.
	header http.Header
	// cluster explains refusals of the API server; nil when the way does not lead through it.
	cluster *client.Client
}

// Do is what the library calls.
func (c *connection) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	get, err := asGet(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.send(get)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := c.readAll(resp)
	if err != nil {
		return resp, nil, err
	}
	return resp, body, c.judge(resp, body)
}

// open is the answer of a Prometheus, to be read as it comes.
func (c *connection) open(get *http.Request) (io.ReadCloser, error) {
	resp, err := c.send(get)
	if err != nil {
		return nil, err
	}
	start := bufio.NewReader(resp.Body)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{start, resp.Body}
	if head, _ := start.Peek(1); resp.StatusCode == http.StatusOK && len(head) == 1 && head[0] == '{' {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := c.readAll(resp)
	if err == nil {
		err = c.judge(resp, body)
	}
	return io.NopCloser(bytes.NewReader(body)), err
}

// send sends a request and explains why nothing came back.
func (c *connection) send(get *http.Request) (*http.Response, error) {
	get.Header.Set("Accept", "application/json")
	for name, values := range c.header {
		get.Header[name] = values
	}
	resp, err := c.http.Do(get)
	if err != nil && c.cluster != nil && get.Context().Err() == nil {
		err = c.cluster.Explain("", err)
	}
	return resp, err
}

func (c *connection) readAll(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.limit+1))
	switch {
	case err != nil && resp.Request.Context().Err() != nil:
		return nil, resp.Request.Context().Err()
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case int64(len(body)) > c.limit:
		return nil, c.tooLarge()
	}
	return body, nil
}

func (c *connection) tooLarge() error {
	return &client.Error{What: fmt.Sprintf("its answer is larger than %d MiB", c.limit>>20), Hint: "ask for less: one namespace with -n"}
}

// asGet moves the form of a POST into the URL.
func asGet(ctx context.Context, req *http.Request) (*http.Request, error) {
	u := *req.URL
	if req.Method == http.MethodPost && req.Body != nil {
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		u.RawQuery = string(form)
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
}

// judge finds the answers that are errors, or not of a Prometheus.
func (c *connection) judge(resp *http.Response, body []byte) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	html := media == "text/html" || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	code := resp.StatusCode
	switch refusal := c.refusal(code, body); {
	case refusal != nil:
		return refusal
	case code >= 300 && code < 400:
		return &client.Error{What: "it sends to " + short(resp.Header.Get("Location")), Hint: nameAnother}
	case code == http.StatusUnauthorized && c.cluster != nil:
		return &client.Error{
			What: "it asks for credentials, and the API server passes none on",
			Hint: "forward its port, and give --prometheus http://USER:PASSWORD@localhost:PORT",
		}
	case code == http.StatusUnauthorized:
		return &client.Error{What: "it does not accept the credentials (401)", Hint: "give them in the URL: --prometheus https://USER:PASSWORD@HOST"}
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) && code/100 == 2:
		return nil
	case said(body) != nil:
		return said(body)
	case html:
		return &client.Error{What: fmt.Sprintf("it answers with a web page (%d), not as Prometheus does", code), Hint: nameAnother}
	case code == http.StatusNotFound:
		return &client.Error{What: "it has no Prometheus API at " + resp.Request.URL.Path, Hint: "give the path too: --prometheus URL/PATH or NAMESPACE/SERVICE:PORT/PATH"}
	case code/100 != 2:
		return &client.Error{What: fmt.Sprintf("it answers %d %s: %s", code, http.StatusText(code), short(string(body)))}
	}
	return &client.Error{What: "it does not answer as Prometheus does: " + short(string(body)), Hint: nameAnother}
}

// refusal is the API server's own answer, explained; nil when the answer comes from behind it.
func (c *connection) refusal(code int, body []byte) error {
	if c.cluster == nil || code < 400 {
		return nil
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Status != metav1.StatusFailure {
		return nil
	}
	return c.cluster.Explain("", &apierrors.StatusError{ErrStatus: status})
}

// said is the error that stands in the envelope of Prometheus; nil when there is none.
func said(body []byte) error {
	var envelope struct {
		ErrorType promv1.ErrorType
		Error     string
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Error == "" {
		return nil
	}
	return &client.Error{What: short(envelope.Error), Err: &promv1.Error{Type: envelope.ErrorType, Msg: envelope.Error}}
}

// short is enough of a text from elsewhere to know it by, on one line and harmless for a terminal.
func short(text string) string {
	text = strings.Join(strings.Fields(safetext.Cell(text[:min(len(text), 4096)])), " ")
	if len(text) > 120 {
		text = strings.ToValidUTF8(text[:117], "") + "..."
	}
	if text == "" {
		return "nothing"
	}
	return text
}
