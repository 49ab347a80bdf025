package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// maxRedirects is how often a server may send on.
const maxRedirects = 10

// transport gives up on servers that do not answer; how long a body may pause is the stream's business.
func transport(o Options) http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 2 * o.Stall, // a stream gives up before
		// What is hashed is what the server keeps, not a compressed form of it.
		DisableCompression: true,
	}
}

// webStore is one URL.
type webStore struct {
	url    *url.URL
	raw    string
	client *http.Client
	auth   func(*http.Request)
}

func newWebStore(l location, c credentials, o Options) (*webStore, error) {
	u, err := url.Parse(l.raw)
	if err != nil {
		return nil, fmt.Errorf("the URL %s cannot be taken apart", Show(l.raw))
	}
	if c.secret && c.get("ML_HTTP_TOKEN", "token", "ML_HTTP_USERNAME", "username") == "" {
		return nil, c.without("token, or username and password")
	}
	s := &webStore{url: u, raw: l.raw, auth: webAuth(c, u.Host)}
	s.client = &http.Client{Transport: o.Transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= maxRedirects:
			return fmt.Errorf("it was sent on %d times, at last to %s", len(via), Show(r.URL.String()))
		case r.URL.Scheme != "http" && r.URL.Scheme != "https":
			return fmt.Errorf("it is sent on to %s", Show(r.URL.String()))
		case via[0].URL.Scheme == "https" && r.URL.Scheme == "http":
			return fmt.Errorf("it is sent on from https to %s, which anybody on the way could change", Show(r.URL.String()))
		}
		// Other hosts, and other ports of this one, are other servers: they get no credentials.
		if r.URL.Host != u.Host {
			r.Header.Del("Authorization")
		} else {
			s.auth(r)
		}
		return nil
	}}
	return s, nil
}

// webAuth puts credentials on a request. Those of the environment are for the host that is named beside them, so that no
// URL that somebody registered can ask for them.
func webAuth(c credentials, host string) func(*http.Request) {
	token, user, password := c.get("ML_HTTP_TOKEN", "token"), c.get("ML_HTTP_USERNAME", "username"), c.get("ML_HTTP_PASSWORD", "password")
	allowed := c.get("ML_HTTP_HOST")
	return func(r *http.Request) {
		switch {
		case allowed != host && (allowed != "" || !c.secret):
		case token != "":
			r.Header.Set("Authorization", "Bearer "+token)
		case user != "" || password != "":
			r.SetBasicAuth(user, password)
		}
	}
}

func (s *webStore) about(context.Context) (about, error) {
	return about{name: safeName(path.Base(s.url.Path)), size: -1}, nil
}

func (s *webStore) read(ctx context.Context, from int64, mark string) (*body, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.raw, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", Show(s.raw), err)
	}
	s.auth(req)
	if from > 0 && mark != "" {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
		req.Header.Set("If-Range", mark)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.failed(err)
	}
	b := &body{ReadCloser: resp.Body, size: resp.ContentLength, mark: markOfHeader(resp.Header)}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if b.from, b.size, err = contentRange(resp.Header.Get("Content-Range")); err != nil || b.from != from {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("%s answered with another part than was asked for: %q", Show(s.raw), resp.Header.Get("Content-Range"))
		}
	case http.StatusOK:
		if err := s.page(resp); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		_ = resp.Body.Close()
		if from == 0 {
			return nil, s.refused(resp)
		}
		return s.read(ctx, 0, "")
	default:
		_ = resp.Body.Close()
		return nil, s.refused(resp)
	}
	return b, nil
}

// markOfHeader is what If-Range takes: a strong ETag, else a date. A weak ETag promises nothing about bytes.
func markOfHeader(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 10-99/100".
func contentRange(s string) (from, size int64, err error) {
	part, total, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	first, _, ok2 := strings.Cut(part, "-")
	if !ok || !ok2 {
		return 0, 0, errors.New("no range")
	}
	if from, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, 0, err
	}
	if total == "*" {
		return from, -1, nil
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return from, size, err
}

// page refuses what is meant for people to read, where a model was expected.
func (s *webStore) page(resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	ext := strings.ToLower(path.Ext(s.url.Path))
	if kind != "text/html" && kind != "application/xhtml+xml" || ext == ".html" || ext == ".htm" {
		return nil
	}
	where := ""
	if at := resp.Request.URL; at.String() != s.raw {
		where = ", at " + Show(at.String())
	}
	return &client.Error{
		Doing: "read " + Show(s.raw), What: "the server answered with a web page instead of the artifact" + where,
		Hint: "it may be a page to log in on: name a Secret with credentials with --secret, or use a URL that leads to the file itself",
	}
}

// refused says what an answer means.
func (s *webStore) refused(resp *http.Response) error {
	e := &client.Error{Doing: "read " + Show(s.raw), What: "the server answered " + resp.Status}
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return &MissingError{URI: s.raw, Why: resp.Status}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Hint = "it wants credentials, or other ones: a Secret with token, or username and password, named with --secret; a signed URL may have expired"
	case code == http.StatusTooManyRequests || code >= 500:
		return passingError{e}
	}
	return e
}

// failed takes the URL out of an error of net/http, which holds all of it.
func (s *webStore) failed(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	e := &client.Error{Doing: "read " + Show(s.raw), What: u.Err.Error(), Err: err}
	if u.Timeout() && !errors.Is(err, context.Canceled) {
		e.What, e.Hint = "the server does not answer", "check the address and the way to it"
	}
	return e
}

// write sends the bytes with PUT, which is what signed URLs for uploads and most file servers take.
func (s *webStore) write(ctx context.Context, p *payload, m *meter) (string, error) {
	r := p.reader()
	defer func() { _ = r.Close() }()
	h := newHash()
	m.begin("push", p.size, 0)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.raw, io.NopCloser(io.TeeReader(m.reader(r), h)))
	if err != nil {
		return "", fmt.Errorf("write %s: %w", Show(s.raw), err)
	}
	req.ContentLength = p.size
	s.auth(req)
	resp, err := s.client.Do(req)
	if err != nil {
		return "", s.failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		e := &client.Error{Doing: "write " + Show(s.raw), What: "the server answered " + resp.Status}
		if resp.StatusCode == http.StatusMethodNotAllowed {
			e.Hint = "it takes no uploads with PUT: push to s3://, oci:// or pvc:// instead"
		}
		return "", e
	}
	u := *s.url
	u.RawQuery, u.Fragment = "", "" // the signature of an upload opens nothing
	return u.String(), p.sent(digestOf(h), p.size)
}

func (*webStore) close() error { return nil }
