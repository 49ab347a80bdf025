package artifact

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// location is a URI taken apart.
type location struct {
	// scheme is file, http, https, s3, oci, pvc or inline, or one of those that are known and not read here.
	scheme string
	// host is the bucket, the claim or the server; empty for file and inline.
	host string
	// path is the key or path without its first slash; the absolute one for file; the reference for oci.
	path string
	raw  string
}

// form is how the URIs of a scheme look.
type form struct {
	scheme, example string
	// check fills in host and path from what stands behind the scheme.
	check func(l *location, rest string) error
	// instead says what works where the scheme is known and not read here.
	instead string
}

func forms() []form {
	return []form{
		{scheme: "s3", example: "s3://BUCKET/KEY, or s3://BUCKET/FOLDER/", check: checkKey},
		{scheme: "oci", example: "oci://REGISTRY/REPOSITORY:TAG", check: checkReference},
		{scheme: "pvc", example: "pvc://CLAIM/PATH", check: checkKey},
		{scheme: "https", example: "https://SERVER/PATH", check: checkWeb},
		{scheme: "http", example: "http://SERVER/PATH", check: checkWeb},
		{scheme: "file", example: "file:///ABSOLUTE/PATH", check: checkFile},
		{scheme: "inline", example: "inline:FILENAME", check: checkInline},
		{
			scheme: "gs", example: "gs://BUCKET/KEY", check: checkKey,
			instead: "use its S3 interface: s3://BUCKET/KEY with AWS_ENDPOINT_URL=https://storage.googleapis.com and an HMAC key, or a signed https:// URL",
		},
		{scheme: "azblob", example: "azblob://CONTAINER/BLOB", check: checkKey, instead: "use an https:// URL with a shared access signature"},
		{scheme: "hf", example: "hf://ORGANIZATION/REPOSITORY", check: checkKey, instead: "use https://huggingface.co/ORGANIZATION/REPOSITORY/resolve/REVISION/FILE"},
	}
}

// Check says what is wrong with an artifact's URI; nil for one of a known scheme that is well-formed. No store is asked.
// Schemes that Pull refuses (gs, azblob, hf) are well-formed too: others serve from them.
func Check(uri string) error {
	_, err := parse(uri)
	return err
}

func parse(uri string) (location, error) {
	l := location{raw: uri}
	all := forms()
	scheme, rest, ok := strings.Cut(uri, ":")
	l.scheme = strings.ToLower(scheme)
	i := slices.IndexFunc(all, func(f form) bool { return f.scheme == l.scheme })
	if !ok || i < 0 {
		examples := make([]string, 0, len(all))
		for _, f := range all {
			if f.instead == "" {
				examples = append(examples, f.example)
			}
		}
		return l, &client.Error{What: fmt.Sprintf("%q is no artifact's URI that is known here", Show(uri)), Hint: "use " + strings.Join(examples, ", ")}
	}
	if strings.ContainsFunc(uri, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return l, fmt.Errorf("the URI %q holds a control character", Show(uri))
	}
	if l.scheme != "inline" {
		if rest, ok = strings.CutPrefix(rest, "//"); !ok {
			return l, fmt.Errorf("the URI %q should look like %s", Show(uri), all[i].example)
		}
	}
	if err := all[i].check(&l, rest); err != nil {
		return l, fmt.Errorf("the URI %q: %w; it should look like %s", Show(uri), err, all[i].example)
	}
	return l, nil
}

// readable refuses what is well-formed and cannot be read or written here.
func (l location) readable() error {
	for _, f := range forms() {
		if f.scheme == l.scheme && f.instead != "" {
			return &client.Error{Doing: Show(l.raw), What: "artifacts of " + l.scheme + ":// are not moved by this program", Hint: f.instead}
		}
	}
	return nil
}

// checkKey takes buckets and claims; keys are taken as they are, without any escaping, as the tools of these stores do.
func checkKey(l *location, rest string) error {
	l.host, l.path, _ = strings.Cut(rest, "/")
	switch {
	case l.host == "":
		return errors.New("the name behind :// is missing")
	case strings.Contains(l.host, "@"):
		return errors.New("it holds credentials; keep them in a Secret and name that with --secret")
	case l.path == "" && l.scheme != "pvc" && l.scheme != "hf":
		return errors.New("the key behind the bucket is missing")
	case l.scheme != "pvc":
		return nil
	case l.path != "" && !filepath.IsLocal(filepath.FromSlash(l.path)):
		return errors.New("the path leaves the volume")
	}
	l.path = path.Clean(l.path)
	return nil
}

func checkReference(l *location, rest string) error {
	ref, err := registry.ParseReference(rest)
	if err != nil {
		return err
	}
	if ref.Reference == "" {
		return errors.New("the tag or digest is missing")
	}
	l.host, l.path = ref.Registry, rest
	return nil
}

func checkWeb(l *location, _ string) error {
	u, err := url.Parse(l.raw)
	switch {
	case err != nil:
		return errors.New("it cannot be taken apart")
	case u.Host == "":
		return errors.New("the server is missing")
	case u.User != nil:
		return errors.New("it holds credentials; keep them in a Secret and name that with --secret")
	}
	l.host, l.path = u.Host, strings.TrimPrefix(u.Path, "/")
	return nil
}

func checkFile(l *location, rest string) error {
	rest = strings.TrimPrefix(rest, "localhost")
	if !strings.HasPrefix(rest, "/") || path.Clean(rest) == "/" {
		return errors.New("the path must be absolute")
	}
	l.path = filepath.Clean(filepath.FromSlash(rest))
	return nil
}

func checkInline(l *location, rest string) error {
	if rest == "" || safeName(rest) != rest {
		return errors.New("a plain file name belongs behind the colon")
	}
	l.path = rest
	return nil
}

// name is what the artifact is called on disk when nobody says otherwise.
func (l location) name() string {
	p := strings.TrimRight(filepath.ToSlash(l.path), "/")
	if l.scheme == "oci" {
		p, _, _ = strings.Cut(p, "@")
		if i := strings.LastIndexByte(p, ':'); i > strings.LastIndexByte(p, '/') {
			p = p[:i]
		}
	}
	if p == "" || p == "." {
		p = l.host
	}
	return safeName(path.Base(p))
}

// safeName is a name that is one plain element of a path: that of a store is not trusted to be.
func safeName(s string) string {
	if s == "" || s == "." || s == ".." || len(s) > 255 || strings.ContainsAny(s, `/\`) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "model"
	}
	return s
}

// Show is a URI for messages: without credentials, and without the query, which in signed URLs is one.
func Show(uri string) string {
	if !strings.HasPrefix(uri, "http") {
		return uri
	}
	u, err := url.Parse(uri)
	if err != nil {
		before, _, _ := strings.Cut(uri, "?")
		return before
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	u.Fragment = ""
	return u.String()
}
