package artifact

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"
	s3credentials "github.com/minio/minio-go/v7/pkg/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/kubetest"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// stores is a sandbox with a real S3 server and a real registry, and a namespace in it.
type stores struct {
	kubetest.Sandbox
	c *client.Client
	// env opens the S3 server.
	env map[string]string
}

func openStores(t *testing.T) *stores {
	t.Helper()
	s := kubetest.OpenWith(t, "s3", "registry")
	c, err := client.New(s.Config(t), s.Namespace(t))
	if err != nil {
		t.Fatal(err)
	}
	return &stores{s, c, map[string]string{
		"AWS_ENDPOINT_URL": s.S3, "AWS_ACCESS_KEY_ID": kubetest.S3AccessKey, "AWS_SECRET_ACCESS_KEY": kubetest.S3SecretKey, "AWS_REGION": "us-east-1",
	}}
}

func (s *stores) options() Options { return Options{Env: func(k string) string { return s.env[k] }} }

// bucket makes a bucket of its own for a test.
func (s *stores) bucket(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.S3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := minio.New(u.Host, &minio.Options{Creds: s3credentials.NewStaticV4(kubetest.S3AccessKey, kubetest.S3SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	name := s.c.Namespace + "-models"
	if err := m.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

func (s *stores) secret(t *testing.T, name string, kind corev1.SecretType, data map[string]string) {
	t.Helper()
	_, err := s.c.Kube.CoreV1().Secrets(s.c.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, StringData: data,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// modelFiles are a file of more than one part of a multipart upload, and a folder.
func modelFiles(t *testing.T) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	content = noise(s3PartSize + 12345)
	write(t, dir, map[string]string{"model.bin": string(content), "bert/config.json": "{}", "bert/weights/a.bin": string(noise(70_000)), "bert/weights-2.bin": "2"})
	return dir, content
}

// roundTrip pushes a file or folder, verifies it, pulls it, and pulls it again.
func roundTrip(t *testing.T, c *client.Client, from, uri string, o Options) pipeline.Artifact {
	t.Helper()
	a, err := Push(t.Context(), c, from, uri, o)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	item := Item{Artifact: a}
	if _, err := Verify(t.Context(), c, item, o); err != nil {
		t.Errorf("verify: %v", err)
	}
	to := filepath.Join(t.TempDir(), "there")
	got, err := Pull(t.Context(), c, item, to, o)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	p, err := newPayload(t.Context(), got.Path, newMeter(o.filled()))
	if err != nil || p.digest != a.Digest || p.size != a.Size {
		t.Errorf("what came back: %+v, %v; want %+v", p, err, a)
	}
	if got, err := Pull(t.Context(), c, item, to, o); err != nil || !got.Unchanged {
		t.Errorf("pulled again: %+v, %v", got, err)
	}
	if _, err := Push(t.Context(), c, from, uri, o); err != nil {
		t.Errorf("push again: %v", err)
	}
	other := item
	other.Digest = digest([]byte("another"))
	var e *MismatchError
	if _, err := Verify(t.Context(), c, other, o); !errors.As(err, &e) || !strings.Contains(err.Error(), a.Digest) {
		t.Errorf("another digest: %v", err)
	}
	return a
}

func TestS3(t *testing.T) {
	s := openStores(t)
	bucket := s.bucket(t)
	dir, _ := modelFiles(t)
	file := roundTrip(t, s.c, filepath.Join(dir, "model.bin"), "s3://"+bucket+"/house-prices/7/model.bin", s.options())
	if file.Size != s3PartSize+12345 {
		t.Errorf("size %d", file.Size)
	}
	folder := roundTrip(t, s.c, filepath.Join(dir, "bert"), "s3://"+bucket+"/bert/", s.options())
	local, err := Push(t.Context(), nil, filepath.Join(dir, "bert"), "file://"+filepath.Join(dir, "copy"), Options{})
	if err != nil || local.Digest != folder.Digest {
		t.Errorf("the same folder has another digest elsewhere: %+v, %+v, %v", folder, local, err)
	}
	odd := "s3://" + bucket + "/odd names/ä b+c?d#e%20.bin"
	roundTrip(t, s.c, filepath.Join(dir, "bert", "config.json"), odd, s.options())

	// Another folder below the same key would be neither of both.
	write(t, dir, map[string]string{"other/x": "1"})
	if _, err := Push(t.Context(), s.c, filepath.Join(dir, "other"), "s3://"+bucket+"/bert/", s.options()); err == nil || !strings.Contains(err.Error(), "other objects already, such as config.json") {
		t.Errorf("pushed over another folder: %v", err)
	}
	for uri, want := range map[string]string{
		"s3://" + bucket + "/none":            "no such key",
		"s3://" + bucket + "/none/":           "no object has a key that begins so",
		"s3://no-bucket-" + bucket[:8] + "/k": "no such bucket",
	} {
		var missing *MissingError
		if _, err := Verify(t.Context(), s.c, Item{Artifact: pipeline.Artifact{URI: uri}}, s.options()); !errors.As(err, &missing) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestS3Credentials(t *testing.T) {
	s := openStores(t)
	bucket := s.bucket(t)
	uri := "s3://" + bucket + "/model.bin"
	dir, content := modelFiles(t)
	if _, err := Push(t.Context(), s.c, filepath.Join(dir, "model.bin"), uri, s.options()); err != nil {
		t.Fatal(err)
	}
	s.secret(t, "store", corev1.SecretTypeOpaque, s.env)
	s.secret(t, "half", corev1.SecretTypeOpaque, map[string]string{"AWS_ENDPOINT_URL": s.S3, "accesskey": "x"})
	wrong := map[string]string{"AWS_ENDPOINT_URL": s.S3, "AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "wr0ng", "AWS_REGION": "us-east-1"}
	s.secret(t, "wrong", corev1.SecretTypeOpaque, wrong)
	if got, err := Pull(t.Context(), s.c, itemOf(uri, content), t.TempDir(), Options{Secret: "store"}); err != nil || got.Digest != digest(content) {
		t.Errorf("with a Secret: %+v, %v", got, err)
	}
	for secret, want := range map[string]string{
		"none":  "there is no Secret none in namespace " + s.c.Namespace,
		"half":  "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n  its keys are: AWS_ENDPOINT_URL, accesskey",
		"wrong": "refuses these credentials (SignatureDoesNotMatch)",
	} {
		_, err := Verify(t.Context(), s.c, itemOf(uri, content), Options{Secret: secret})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Secret %s: %v", secret, err)
		}
		if err != nil && strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	// A user without the right to read Secrets is told which right that is.
	cfg := s.Config(t)
	cfg.Impersonate.UserName = "trainee"
	trainee, err := client.New(cfg, s.c.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), trainee, itemOf(uri, content), Options{Secret: "store"}); err == nil || !strings.Contains(err.Error(), "forbidden: needs get secrets in namespace") {
		t.Errorf("without the right: %v", err)
	}
}

// TestS3GoesOn cuts the way to the S3 server in the middle of an object, and ends a pull there, too.
func TestS3GoesOn(t *testing.T) {
	s := openStores(t)
	bucket := s.bucket(t)
	uri := "s3://" + bucket + "/model.bin"
	dir, content := modelFiles(t)
	if _, err := Push(t.Context(), s.c, filepath.Join(dir, "model.bin"), uri, s.options()); err != nil {
		t.Fatal(err)
	}
	ranges := s.cutAt(t, 5<<20)
	to := t.TempDir()
	got, err := Pull(t.Context(), nil, itemOf(uri, content), to, s.options())
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got.Path, content)
	if ranges.Load() < 3 {
		t.Errorf("%d requests for a range", ranges.Load())
	}

	ctx, cancel := context.WithCancel(t.Context())
	o := s.options()
	o.Now = ticking()
	o.Said = func(p Progress) {
		if p.Doing == "pull" && p.Done > 7<<20 {
			cancel()
		}
	}
	to = t.TempDir()
	var kept *KeptError
	if _, err := Pull(ctx, nil, itemOf(uri, content), to, o); !errors.As(err, &kept) {
		t.Fatalf("broken off: %v", err)
	}
	got, err = Pull(t.Context(), nil, itemOf(uri, content), to, s.options())
	if err != nil || got.Resumed != kept.Have {
		t.Fatalf("gone on at %d of %d: %v", got.Resumed, kept.Have, err)
	}
	holds(t, got.Path, content)
}

// cutAt puts a proxy before the S3 server that ends each answer after so many bytes, and counts requests for ranges.
func (s *stores) cutAt(t *testing.T, bytes int) *atomic.Int64 {
	t.Helper()
	u, err := url.Parse(s.S3)
	if err != nil {
		t.Fatal(err)
	}
	var ranges atomic.Int64
	proxy := &httputil.ReverseProxy{
		// The host is part of what the signature covers.
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
		ErrorLog: nil,
	}
	web := website(t, nil, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		proxy.ServeHTTP(&cut{ResponseWriter: w, left: bytes}, r)
		return true
	})
	s.env["AWS_ENDPOINT_URL"] = web.URL
	return &ranges
}

func TestRegistry(t *testing.T) {
	s := openStores(t)
	repo := "oci://" + s.Registry + "/" + s.c.Namespace + "/"
	dir, content := modelFiles(t)
	file := roundTrip(t, s.c, filepath.Join(dir, "model.bin"), repo+"house-prices:7", Options{})
	roundTrip(t, s.c, filepath.Join(dir, "bert"), repo+"bert:1.0", Options{})

	// The file has its own name again, and is found by the digest of its manifest too.
	to := t.TempDir()
	got, err := Pull(t.Context(), nil, Item{Artifact: file}, to, Options{})
	if err != nil || got.Path != filepath.Join(to, "model.bin") {
		t.Fatalf("%+v, %v", got, err)
	}
	x, err := open(t.Context(), nil, Item{Artifact: file}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{repo + "house-prices:7", repo + "house-prices@" + x.manifest} {
		if a, err := Verify(t.Context(), nil, Item{Artifact: pipeline.Artifact{URI: uri, Digest: x.manifest}}, Options{}); err != nil || a.Digest != digest(content) {
			t.Errorf("%s by its manifest: %+v, %v", uri, a, err)
		}
	}
	// A tag that moved is seen before anything is fetched.
	if _, err := Push(t.Context(), nil, filepath.Join(dir, "bert", "config.json"), repo+"house-prices:7", Options{}); err != nil {
		t.Fatal(err)
	}
	var e *MismatchError
	if _, err := Pull(t.Context(), nil, Item{Artifact: file}, t.TempDir(), Options{}); !errors.As(err, &e) || !e.Early || !strings.Contains(err.Error(), digest([]byte("{}"))) {
		t.Errorf("a tag that moved: %v", err)
	}
	var missing *MissingError
	if _, err := Verify(t.Context(), nil, Item{Artifact: pipeline.Artifact{URI: repo + "none:1"}}, Options{}); !errors.As(err, &missing) {
		t.Errorf("nothing there: %v", err)
	}
	s.secret(t, "pull", corev1.SecretTypeDockerConfigJson, map[string]string{".dockerconfigjson": `{"auths": {"elsewhere.example.com": {"username": "u", "password": "p"}}}`})
	if _, err := Verify(t.Context(), s.c, Item{Artifact: file}, Options{Secret: "pull"}); err == nil || !strings.Contains(err.Error(), "an entry for "+s.Registry) {
		t.Errorf("a Secret for another registry: %v", err)
	}
}

// TestRegistryArtifactsOfOthers reads what has several layers, as modctl and oras push it.
func TestRegistryArtifactsOfOthers(t *testing.T) {
	s := openStores(t)
	uri := "oci://" + s.Registry + "/" + s.c.Namespace + "/others:1"
	manifest := pushLayers(t, uri, []layerOf{
		{weightRaw, "weights/a.bin", noise(50_000)},
		{"application/vnd.cncf.model.weight.config.v1.raw", "config.json", []byte("{}")},
		{weightTar + "+gzip", "", gzipTar(t, map[string]string{"doc/README.md": "hello"})},
	})
	item := Item{Artifact: pipeline.Artifact{URI: uri, Digest: manifest}}
	got, err := Pull(t.Context(), nil, item, filepath.Join(t.TempDir(), "m"), Options{})
	if err != nil || !got.Folder {
		t.Fatalf("%+v, %v", got, err)
	}
	holds(t, filepath.Join(got.Path, "weights", "a.bin"), noise(50_000))
	holds(t, filepath.Join(got.Path, "doc", "README.md"), []byte("hello"))
	item.Digest = digest([]byte("another"))
	var e *MismatchError
	if _, err := Pull(t.Context(), nil, item, filepath.Join(t.TempDir(), "m"), Options{}); !errors.As(err, &e) {
		t.Errorf("another manifest: %v", err)
	}
	uri = strings.Replace(uri, ":1", ":2", 1)
	pushLayers(t, uri, []layerOf{{weightRaw, "../../evil", []byte("x")}, {weightRaw, "b", []byte("y")}})
	to := t.TempDir()
	if _, err := Pull(t.Context(), nil, Item{Artifact: pipeline.Artifact{URI: uri}}, filepath.Join(to, "m"), Options{}); err == nil || !strings.Contains(err.Error(), `entry "../../evil" leaves the folder`) {
		t.Errorf("a title that leaves the folder: %v", err)
	}
	if got := names(t, to); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// TestAsAnInitContainer streams to the output without any cluster.
func TestCopyFromS3(t *testing.T) {
	s := openStores(t)
	bucket := s.bucket(t)
	dir, _ := modelFiles(t)
	a, err := Push(t.Context(), nil, filepath.Join(dir, "bert"), "s3://"+bucket+"/b/", s.options())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Copy(t.Context(), nil, Item{Artifact: a}, &out, s.options()); err != nil || digest(out.Bytes()) != a.Digest {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	// One object less is another folder.
	u, _ := url.Parse(s.S3)
	m, err := minio.New(u.Host, &minio.Options{Creds: s3credentials.NewStaticV4(kubetest.S3AccessKey, kubetest.S3SecretKey, "")})
	if err == nil {
		err = m.RemoveObject(t.Context(), bucket, "b/weights-2.bin", minio.RemoveObjectOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	var e *MismatchError
	if _, err := Copy(t.Context(), nil, Item{Artifact: a}, io.Discard, s.options()); !errors.As(err, &e) {
		t.Errorf("a folder that lost a file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bert")); err != nil {
		t.Error(err)
	}
}
