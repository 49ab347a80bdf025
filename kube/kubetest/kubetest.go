// Package kubetest is the room where tests meet a real API server: the sandbox (cmd/sandbox), booted
// once for all packages of a `go test` run and taken down when that run ends.
package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Env names the state folder of a running sandbox to use instead of one of the test run's own.
const Env = "KUBECTL_ML_SANDBOX"

// Sandbox is a running sandbox.
type Sandbox struct {
	State      string // its folder
	Kubeconfig string // the administrator's, as a path
	Kubectl    string // a kubectl of the same version, as a path
	Prometheus string // URL
	S3         string // URL, where a test asked for "s3"; S3AccessKey and S3SecretKey open it
	Registry   string // HOST:PORT, where a test asked for "registry"; it speaks plain HTTP and wants no credentials
}

// Credentials of the sandbox's S3 server.
const (
	S3AccessKey = "sandbox"
	S3SecretKey = "sandbox-secret"
)

// Cluster returns the client configuration of a running sandbox.
func Cluster(t testing.TB) *rest.Config {
	t.Helper()
	return Open(t).Config(t)
}

// Open returns a running sandbox. It has four GPU nodes that kwok simulates and no real node. The
// sandbox is shared: a test works in a namespace of its own.
func Open(t testing.TB) Sandbox {
	t.Helper()
	return OpenWith(t)
}

// OpenWith returns a running sandbox with real controllers besides those of Kubernetes, "jobset" and "kueue", or with
// stores of artifacts, "s3" and "registry" (`sandbox up --with`). It is another one than Open's, which has none of them, and grows with what
// the tests ask for.
func OpenWith(t testing.TB, additions ...string) Sandbox {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: this test needs the sandbox")
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("the sandbox runs on Linux and macOS")
	}
	ctx, cancel := untilDeadline(t)
	defer cancel()
	if dir := os.Getenv(Env); dir != "" {
		s, err := find(ctx, dir, additions)
		if err == nil {
			return s
		}
		if !errors.Is(err, errWithout) {
			t.Fatalf("%s=%s: %v\nstart it: go run -C cmd/sandbox . up --state %s", Env, dir, err, dir)
		}
	}
	// All test binaries of one run have the same parent, `go test`.
	owner := os.Getppid()
	dir := filepath.Join(os.TempDir(), "kubectl-ml-test-"+strconv.Itoa(owner))
	if len(additions) > 0 {
		dir += "-with"
	}
	unlock, err := lock(ctx)
	if err != nil {
		t.Fatalf("wait for the test that boots the sandbox: %v", err)
	}
	defer unlock()
	if s, err := find(ctx, dir, additions); err == nil {
		return s
	}
	if err := boot(ctx, dir, owner, additions); err != nil {
		t.Fatal(err)
	}
	s, err := find(ctx, dir, additions)
	if err != nil {
		t.Fatalf("the sandbox booted and is not there: %v", err)
	}
	return s
}

// Config returns the administrator's client configuration, without the client's own rate limit.
func (s Sandbox) Config(t testing.TB) *rest.Config {
	t.Helper()
	config, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (s Sandbox) config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// Namespace makes a namespace for the test and removes it, without waiting, when the test is over.
func (s Sandbox) Namespace(t testing.TB) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ns, err := client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("remove namespace %s: %v", ns.Name, err)
		}
	})
	for { // pods are refused until the namespace has its service account
		if _, err = client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{}); err == nil {
			return ns.Name
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait for the service account of namespace %s: %v", ns.Name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errWithout says that a sandbox runs and has not what a test needs besides.
var errWithout = errors.New("the sandbox is without it")

// find looks for a sandbox that is up. It starts no process and asks the API server one question.
func find(ctx context.Context, dir string, additions []string) (Sandbox, error) {
	data, err := os.ReadFile(filepath.Join(dir, "sandbox.json"))
	if err != nil {
		return Sandbox{}, fmt.Errorf("no sandbox: %w", err)
	}
	var state struct {
		Ready   bool
		Kubectl string
		Ports   map[string]int
		With    []string
	}
	if err := json.Unmarshal(data, &state); err != nil || !state.Ready {
		return Sandbox{}, errors.New("the sandbox is not ready")
	}
	for _, name := range additions {
		if !slices.Contains(state.With, name) {
			return Sandbox{}, fmt.Errorf("%s: %w", name, errWithout)
		}
	}
	s := Sandbox{
		State: dir, Kubeconfig: filepath.Join(dir, "kubeconfig"), Kubectl: state.Kubectl,
		Prometheus: "http://127.0.0.1:" + strconv.Itoa(state.Ports["prometheus"]),
	}
	if port := state.Ports["s3"]; port != 0 {
		s.S3 = "http://127.0.0.1:" + strconv.Itoa(port)
	}
	if port := state.Ports["registry"]; port != 0 {
		s.Registry = "127.0.0.1:" + strconv.Itoa(port)
	}
	config, err := s.config()
	if err != nil {
		return s, err
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return s, err
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return s, fmt.Errorf("the sandbox's API server does not answer: %w", err)
	}
	return s, nil
}

// boot runs `sandbox up` from the sources.
func boot(ctx context.Context, dir string, owner int, additions []string) error {
	module, err := sandboxModule()
	if err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "run", "-C", module, ".", "up", "--real-node=off", "--gpu-nodes=4",
		"--state", dir, "--while-pid", strconv.Itoa(owner), "--with", strings.Join(additions, ","))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the sandbox was not up before the test's deadline; "+
			"the first time it builds a whole control plane: run `go run -C cmd/sandbox . build --with=%s` once\n%s", strings.Join(additions, ","), &output)
	case err != nil:
		return fmt.Errorf("boot the sandbox: %w\n%s", err, &output)
	}
	return nil
}

// sandboxModule finds the folder cmd/sandbox of this checkout: tests run in the folder of their package.
func sandboxModule() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		module := filepath.Join(dir, "cmd", "sandbox")
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no cmd/sandbox above the test's folder: name a running sandbox with %s", Env)
		}
		dir = parent
	}
}

// untilDeadline leaves the test time to say what went wrong.
func untilDeadline(t testing.TB) (context.Context, context.CancelFunc) {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := d.Deadline(); ok {
			return context.WithDeadline(context.Background(), deadline.Add(-20*time.Second))
		}
	}
	return context.WithTimeout(context.Background(), 30*time.Minute)
}

// lock keeps the packages of a test run from booting at once; the system frees the lock when its
// holder ends.
func lock(ctx context.Context) (unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "kubectl-ml", "sandbox", "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "kubetest"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
