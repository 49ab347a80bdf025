package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	s3credentials "github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// s3PartSize is how much of a large object is sent at once, and kept in memory for it.
const s3PartSize = 16 << 20

// s3Store is an object, or the objects below a key that ends in a slash, in a bucket of S3 or of what speaks its protocol.
type s3Store struct {
	loc    location
	core   minio.Core
	o      Options
	folder bool
	files  []entry
}

func newS3Store(l location, c credentials, o Options) (*s3Store, error) {
	endpoint, secure := "s3.amazonaws.com", true
	if s := c.get("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"); s != "" {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, &client.Error{What: fmt.Sprintf("AWS_ENDPOINT_URL is %q", Show(s)), Hint: "it should look like https://minio.example.com:9000"}
		}
		endpoint, secure = u.Host, u.Scheme == "https"
	}
	keys, err := s3Keys(c)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if pathStyle, err := strconv.ParseBool(c.get("AWS_S3_FORCE_PATH_STYLE")); err == nil {
		lookup = minio.BucketLookupDNS
		if pathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	m, err := minio.New(endpoint, &minio.Options{
		Creds: keys, Secure: secure, Region: c.get("AWS_REGION", "AWS_DEFAULT_REGION"),
		BucketLookup: lookup, Transport: o.Transport, MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", endpoint, err)
	}
	return &s3Store{loc: l, core: minio.Core{Client: m}, o: o, folder: strings.HasSuffix(l.path, "/")}, nil
}

// s3Keys are those of the Secret or the environment, else what a pod of EKS or ECS is given, else those of a profile of
// the AWS tools, else none: a public bucket needs none.
func s3Keys(c credentials) (*s3credentials.Credentials, error) {
	id, key := c.get("AWS_ACCESS_KEY_ID"), c.get("AWS_SECRET_ACCESS_KEY")
	switch {
	case id != "" && key != "":
		return s3credentials.NewStaticV4(id, key, c.get("AWS_SESSION_TOKEN")), nil
	case c.secret:
		return nil, c.without("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case c.get("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "":
		return s3credentials.NewIAM(""), nil
	}
	file := s3credentials.New(&s3credentials.FileAWSCredentials{Profile: c.get("AWS_PROFILE")})
	if v, err := file.GetWithContext(nil); err == nil && v.AccessKeyID != "" {
		return file, nil
	}
	return s3credentials.NewStaticV4("", "", ""), nil
}

func (s *s3Store) about(ctx context.Context) (about, error) {
	a := about{name: s.loc.name(), folder: s.folder, size: -1}
	if !s.folder {
		return a, nil
	}
	// Leaving the loop early would leave the listing behind.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.core.ListObjectsIter(ctx, s.loc.host, minio.ListObjectsOptions{Prefix: s.loc.path, Recursive: true}) {
		if o.Err != nil {
			return a, s.explain("list", o.Err)
		}
		name := strings.TrimPrefix(o.Key, s.loc.path)
		if name == "" || strings.HasSuffix(name, "/") {
			continue // what consoles make when somebody makes a folder
		}
		if len(s.files) >= maxEntries {
			return a, fmt.Errorf("%s holds more than %d objects", s.loc.raw, maxEntries)
		}
		s.files = append(s.files, entry{name, o.Size})
	}
	if len(s.files) == 0 {
		return a, &MissingError{URI: s.loc.raw, Why: "no object has a key that begins so"}
	}
	slices.SortFunc(s.files, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	var err error
	a.size, err = tarSize(s.files)
	return a, err
}

func (s *s3Store) read(ctx context.Context, from int64, mark string) (*body, error) {
	if !s.folder {
		return s.object(ctx, s.loc.path, from, mark)
	}
	size, err := tarSize(s.files)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(writeTar(w, s.files, func(e entry) (io.ReadCloser, error) {
			open := func(ctx context.Context, from int64, mark string) (*body, error) {
				return s.object(ctx, s.loc.path+e.name, from, mark)
			}
			in, err := newStream(ctx, s.loc.raw+e.name, s.o.Stall, open, 0, "")
			if err != nil {
				return nil, err
			}
			return in, nil
		}))
	}()
	return &body{ReadCloser: r, size: size}, nil
}

// object reads one object from an offset on, if it is still the one that mark, its ETag, was given for.
func (s *s3Store) object(ctx context.Context, key string, from int64, mark string) (*body, error) {
	var opts minio.GetObjectOptions
	if from > 0 && mark != "" {
		if err := errors.Join(opts.SetRange(from, 0), opts.SetMatchETag(mark)); err != nil {
			return nil, err
		}
	}
	r, info, header, err := s.core.GetObject(ctx, s.loc.host, key, opts)
	if err != nil {
		code := minio.ToErrorResponse(err).StatusCode
		if from > 0 && (code == http.StatusPreconditionFailed || code == http.StatusRequestedRangeNotSatisfiable) {
			return s.object(ctx, key, 0, "")
		}
		return nil, s.explain("read", err)
	}
	b := &body{ReadCloser: r, size: info.Size, mark: info.ETag}
	if from > 0 && mark != "" {
		if b.from, b.size, err = contentRange(header.Get("Content-Range")); err != nil {
			b.from, b.size = 0, info.Size // a server that knows no ranges
		}
	}
	return b, nil
}

func (s *s3Store) write(ctx context.Context, p *payload, m *meter) (string, error) {
	m.begin("push", p.size, 0)
	if p.folder {
		return s.writeFolder(ctx, p, m)
	}
	key := s.loc.path
	if s.folder {
		key += p.name
	}
	r := p.reader()
	defer func() { _ = r.Close() }()
	h := newHash()
	_, err := s.core.Client.PutObject(ctx, s.loc.host, key, io.TeeReader(m.reader(r), h), p.size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: s3PartSize, UserMetadata: map[string]string{"digest": p.digest},
	})
	if err != nil {
		return "", s.explain("write", err)
	}
	if err := p.sent(digestOf(h), p.size); err != nil {
		return "", errors.Join(err, s.core.RemoveObject(ctx, s.loc.host, key, minio.RemoveObjectOptions{}))
	}
	return "s3://" + s.loc.host + "/" + key, nil
}

// writeFolder puts a folder's files below a key. One that holds other objects would become another folder than was meant.
func (s *s3Store) writeFolder(ctx context.Context, p *payload, m *meter) (string, error) {
	loc := s.loc
	loc.path = strings.TrimSuffix(loc.path, "/") + "/"
	loc.raw = "s3://" + loc.host + "/" + loc.path
	there := &s3Store{loc: loc, core: s.core, o: s.o, folder: true}
	_, err := there.about(ctx)
	if missing := (*MissingError)(nil); err != nil && !errors.As(err, &missing) {
		return "", err
	}
	for _, e := range there.files {
		if !slices.ContainsFunc(p.files, func(f entry) bool { return f.name == e.name }) {
			return "", &client.Error{Doing: "push to " + loc.raw, What: fmt.Sprintf("there are other objects already, such as %s", e.name), Hint: "push to another key, or remove them first"}
		}
	}
	for _, e := range p.files {
		f, err := p.open(e)
		if err != nil {
			return "", err
		}
		_, err = s.core.Client.PutObject(ctx, loc.host, loc.path+e.name, m.reader(f), e.size, minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: s3PartSize})
		_ = f.Close()
		if err != nil {
			return "", s.explain("write "+e.name+" to", err)
		}
	}
	return loc.raw, nil
}

// explain puts an error of S3 into words.
func (s *s3Store) explain(doing string, err error) error {
	r := minio.ToErrorResponse(err)
	e := &client.Error{Doing: doing + " " + s.loc.raw, What: err.Error(), Err: err}
	switch {
	case r.Code == "NoSuchKey" || r.Code == "NoSuchBucket" || r.StatusCode == http.StatusNotFound:
		why := "no such key"
		if r.Code == "NoSuchBucket" {
			why = "no such bucket"
		}
		if doing != "read" && doing != "list" {
			e.What = why
			return e
		}
		return &MissingError{URI: s.loc.raw, Why: why + " at " + s.core.EndpointURL().Host}
	case r.Code == "AccessDenied" || r.Code == "InvalidAccessKeyId" || r.Code == "SignatureDoesNotMatch" || r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		e.What = fmt.Sprintf("%s refuses these credentials (%s)", s.core.EndpointURL().Host, cmp.Or(r.Code, "403"))
		e.Hint = "name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY with --secret, or set them in the environment"
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode >= 500:
		return passingError{e}
	case r.Code != "":
		e.What = r.Code + ": " + r.Message
	default:
		var u *url.Error
		if errors.As(err, &u) {
			e.What, e.Hint = u.Err.Error(), "check AWS_ENDPOINT_URL ("+s.core.EndpointURL().Host+") and the way to it"
		}
	}
	return e
}

func (*s3Store) close() error { return nil }
