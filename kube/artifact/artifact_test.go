package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// noise is bytes that no two positions of which look alike.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func itemOf(uri string, content []byte) Item {
	return Item{Artifact: pipeline.Artifact{URI: uri, Digest: digest(content), Size: int64(len(content))}}
}

// names lists what is in a folder, partial files too.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func holds(t *testing.T, file string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes, %s; want %d, %s", file, len(got), digest(got), len(want), digest(want))
	}
}

// website is a web server for one artifact; hook may answer instead.
func website(t *testing.T, content []byte, hook func(http.ResponseWriter, *http.Request) bool) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hook != nil && hook(w, r) {
			return
		}
		w.Header().Set("ETag", `"`+digest(content)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPullFromTheWeb(t *testing.T) {
	content := noise(3 << 20)
	s := website(t, content, nil)
	dir := t.TempDir()
	var last Progress
	got, err := Pull(t.Context(), nil, itemOf(s.URL+"/m/model.pkl?sig=1", content), dir, Options{Said: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "model.pkl"); got.Path != want || got.Unchanged || got.Digest != digest(content) {
		t.Errorf("got %+v", got)
	}
	if last.Done != int64(len(content)) || last.Total != last.Done || last.Doing != "pull" {
		t.Errorf("the last word on progress was %+v", last)
	}
	holds(t, got.Path, content)
	again, err := Pull(t.Context(), nil, itemOf(s.URL+"/m/model.pkl", content), dir, Options{})
	if err != nil || !again.Unchanged {
		t.Errorf("pulled again: %+v, %v", again, err)
	}
	if got := names(t, dir); got != "model.pkl" {
		t.Errorf("in the folder: %s", got)
	}
}

func TestAMismatchLeavesNothing(t *testing.T) {
	content := noise(1 << 20)
	s := website(t, content, nil)
	dir := t.TempDir()
	item := itemOf(s.URL+"/model.pkl", content)
	item.Digest = digest([]byte("another"))
	_, err := Pull(t.Context(), nil, item, dir, Options{})
	var e *MismatchError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), item.Digest) || !strings.Contains(err.Error(), digest(content)) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
	if _, err := Verify(t.Context(), nil, item, Options{}); !errors.As(err, &e) {
		t.Errorf("verified: %v", err)
	}
	item.Digest, item.Size = "", 5
	if _, err := Pull(t.Context(), nil, item, dir, Options{}); !errors.As(err, &e) || !strings.Contains(err.Error(), "wanted 5 bytes, found 1048576") {
		t.Errorf("another size: %v", err)
	}
}

// TestConnectionsBreak cuts the body again and again: the pull goes on by ranges.
func TestConnectionsBreak(t *testing.T) {
	content := noise(1 << 20)
	var asked atomic.Int64
	s := website(t, content, func(w http.ResponseWriter, r *http.Request) bool {
		n := asked.Add(1)
		if n == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if n > 4 {
			return false
		}
		w.Header().Set("ETag", `"`+digest(content)+`"`)
		if n > 1 && r.Header.Get("If-Range") != `"`+digest(content)+`"` {
			t.Errorf("request %d has If-Range %q", n, r.Header.Get("If-Range"))
		}
		http.ServeContent(&cut{ResponseWriter: w, left: 200_000}, r, "", time.Time{}, bytes.NewReader(content))
		panic(http.ErrAbortHandler)
	})
	got, err := Pull(t.Context(), nil, itemOf(s.URL+"/m", content), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got.Path, content)
	if asked.Load() != 5 {
		t.Errorf("%d requests", asked.Load())
	}
}

// cut lets a number of bytes through.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrClosedPipe
	}
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if err == nil && n < len(p) {
		c.ResponseWriter.(http.Flusher).Flush()
		err = io.ErrClosedPipe
	}
	return n, err
}

// TestAnotherProcessGoesOn ends a pull in the middle, as Ctrl-C does, and pulls again.
func TestAnotherProcessGoesOn(t *testing.T) {
	content := noise(4 << 20)
	for _, c := range []struct {
		name    string
		changed bool
	}{{"the same content", false}, {"other content meanwhile", true}} {
		t.Run(c.name, func(t *testing.T) {
			now := content
			ctx, cancel := context.WithCancel(t.Context())
			var from atomic.Int64
			first := true
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"`+digest(now)+`"`)
				if first {
					first = false
					w.Header().Set("Content-Length", "4194304")
					_, _ = w.Write(now[:1<<20])
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					return
				}
				w2 := &watchStatus{ResponseWriter: w}
				http.ServeContent(w2, r, "", time.Time{}, bytes.NewReader(now))
				from.Store(int64(w2.status))
			}))
			defer s.Close()
			dir := t.TempDir()
			uri := s.URL + "/model.bin"
			_, err := Pull(ctx, nil, itemOf(uri, content), dir, Options{Said: func(p Progress) {
				if p.Doing == "pull" && p.Done >= 1<<20 {
					cancel()
				}
			}, Now: ticking()})
			var kept *KeptError
			if !errors.As(err, &kept) || kept.Have != 1<<20 || !errors.Is(err, context.Canceled) {
				t.Fatalf("broken off: %v", err)
			}
			if got := names(t, dir); got != ".model.bin.partial .model.bin.partial.json" {
				t.Errorf("kept: %s", got)
			}
			if c.changed {
				now = noise(5 << 20)[1<<20:]
			}
			got, err := Pull(t.Context(), nil, itemOf(uri, now), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			holds(t, got.Path, now)
			if c.changed != (got.Resumed == 0) || c.changed != (from.Load() == http.StatusOK) {
				t.Errorf("resumed at %d, with status %d", got.Resumed, from.Load())
			}
			if got := names(t, dir); got != "model.bin" {
				t.Errorf("left: %s", got)
			}
		})
	}
}

type watchStatus struct {
	http.ResponseWriter
	status int
}

func (w *watchStatus) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

// ticking is a clock that lets every word on progress through.
func ticking() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.Unix(n.Add(1), 0) }
}

func TestServersThatMisbehave(t *testing.T) {
	content := noise(1 << 20)
	for name, c := range map[string]struct {
		hook func(http.ResponseWriter, *http.Request) bool
		want string
	}{
		"gone": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }, "there is no artifact at http://"},
		"a login page": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/login" {
				http.Redirect(w, r, "/login?next=secret", http.StatusFound)
				return true
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>")
			return true
		}, "the server answered with a web page instead of the artifact, at http"},
		"a loop": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
			return true
		}, "it was sent on 10 times"},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true }, "--secret"},
		"silence":   {func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "nothing arrived for 300ms"},
		"silence in the middle": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				<-r.Context().Done()
				return true
			}
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(content[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, "nothing arrived for 300ms"},
		"a body that ends too early": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(content[:1000])
			return true
		}, "broke after 1000 bytes"},
		"more than there is": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Transfer-Encoding", "chunked")
			_, _ = w.Write(content)
			_, _ = w.Write(content)
			return true
		}, "more arrived than the artifact has"},
	} {
		t.Run(name, func(t *testing.T) {
			s := website(t, content, c.hook)
			dir := t.TempDir()
			o := Options{}
			if strings.HasPrefix(name, "silence") {
				o.Stall = 300 * time.Millisecond
			}
			_, err := Pull(t.Context(), nil, itemOf(s.URL+"/model.pkl?sig=secret", content), dir, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") && name != "forbidden" && name != "a login page" || strings.Contains(err.Error(), "sig=") || strings.Contains(err.Error(), "next=") {
				t.Errorf("the error shows the query: %v", err)
			}
			if got := names(t, dir); name != "silence in the middle" && got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	content := noise(100)
	var elsewhere atomic.Value
	other := website(t, content, func(_ http.ResponseWriter, r *http.Request) bool {
		elsewhere.Store(r.Header.Get("Authorization"))
		return false
	})
	var here atomic.Value
	s := website(t, nil, func(w http.ResponseWriter, r *http.Request) bool {
		here.Store(r.Header.Get("Authorization"))
		http.Redirect(w, r, other.URL+"/model.pkl", http.StatusTemporaryRedirect)
		return true
	})
	host := strings.TrimPrefix(s.URL, "http://")
	env := map[string]string{"ML_HTTP_TOKEN": "t0ken", "ML_HTTP_HOST": host, "token": "never"}
	get := func(k string) string { return env[k] }
	if _, err := Pull(t.Context(), nil, itemOf(s.URL+"/model.pkl", content), t.TempDir(), Options{Env: get}); err != nil {
		t.Fatal(err)
	}
	if here.Load() != "Bearer t0ken" || elsewhere.Load() != "" {
		t.Errorf("here %q, elsewhere %q", here.Load(), elsewhere.Load())
	}
	env["ML_HTTP_HOST"] = ""
	if _, err := Pull(t.Context(), nil, itemOf(s.URL+"/model.pkl", content), t.TempDir(), Options{Env: get}); err != nil {
		t.Fatal(err)
	}
	if here.Load() != "" {
		t.Errorf("a token without a host went to %s", host)
	}
}

func TestTooLittleRoom(t *testing.T) {
	content := noise(1 << 20)
	s := website(t, content, nil)
	dir := t.TempDir()
	_, err := Pull(t.Context(), nil, itemOf(s.URL+"/m", content), dir, Options{Free: func(string) (int64, error) { return 1 << 10, nil }})
	if err == nil || !strings.Contains(err.Error(), "needs 1.0 MiB, and "+dir+" has 1.0 KiB left") {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestInline(t *testing.T) {
	content := noise(1000)
	item := itemOf("inline:model.pkl", content)
	if _, err := Verify(t.Context(), nil, item, Options{}); err == nil || !strings.Contains(err.Error(), "model pull MODEL:N") {
		t.Errorf("without its version: %v", err)
	}
	item.Inline = func(context.Context) ([]byte, error) { return content, nil }
	got, err := Pull(t.Context(), nil, item, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got.Path, content)
	item.Inline = func(context.Context) ([]byte, error) { return content[1:], nil }
	var e *MismatchError
	if _, err := Verify(t.Context(), nil, item, Options{}); !errors.As(err, &e) {
		t.Errorf("shortened: %v", err)
	}
}

func TestPushAndPullFiles(t *testing.T) {
	content := noise(100_000)
	dir := t.TempDir()
	from := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	uri := "file://" + filepath.Join(dir, "store", "m.onnx")
	a, err := Push(t.Context(), nil, from, uri, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (pipeline.Artifact{URI: uri, Digest: digest(content), Size: 100_000, Format: "onnx"}); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	if _, err := Verify(t.Context(), nil, Item{Artifact: a}, Options{}); err != nil {
		t.Error(err)
	}
	got, err := Pull(t.Context(), nil, Item{Artifact: a}, filepath.Join(dir, "here.onnx"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, got.Path, content)
	if got := names(t, filepath.Join(dir, "store")); got != "m.onnx" {
		t.Errorf("in the store: %s", got)
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "bert")
	write(t, from, map[string]string{"config.json": "{}", "a-b": "1", "a/b": "2", "deep/er/weights.bin": string(noise(5000)), strings.Repeat("long/", 60) + "name": "x"})
	uri := "file://" + filepath.Join(dir, "store", "bert")
	a, err := Push(t.Context(), nil, from, uri, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Pull(t.Context(), nil, Item{Artifact: a}, filepath.Join(dir, "out")+"/", Options{})
	if err != nil || !got.Folder {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(got.Path, "a-b")); err != nil {
		t.Fatal(err)
	}
	// A folder has a digest too: it is there or it is another.
	if _, err := Pull(t.Context(), nil, Item{Artifact: a}, filepath.Join(dir, "out", "bert"), Options{}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over another folder: %v", err)
	}
	if got, err := Pull(t.Context(), nil, Item{Artifact: a}, filepath.Join(dir, "out", "bert"), Options{Force: true}); err != nil || got.Unchanged {
		t.Errorf("with force: %+v, %v", got, err)
	}
	if got, err := Pull(t.Context(), nil, Item{Artifact: a}, filepath.Join(dir, "out", "bert"), Options{}); err != nil || !got.Unchanged {
		t.Errorf("again: %+v, %v", got, err)
	}
	if got := names(t, filepath.Join(dir, "out")); got != "bert" {
		t.Errorf("there: %s", got)
	}
	var out bytes.Buffer
	if _, err := Copy(t.Context(), nil, Item{Artifact: a}, &out, Options{}); err != nil || digest(out.Bytes()) != a.Digest || int64(out.Len()) != a.Size {
		t.Errorf("as a tar: %d bytes, %s, %v; want %+v", out.Len(), digest(out.Bytes()), err, a)
	}
}

// write makes files with contents below a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
