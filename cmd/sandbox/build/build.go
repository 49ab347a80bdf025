// Package build is the room for programs: it builds every program that a sandbox runs from Go
// modules, pinned by this module's own go.mod, and keeps them in a cache.
package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/progress"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Source is what the programs are built from.
type Source struct {
	Mod, Sum []byte // go.mod and go.sum: the versions
	Pause    []byte // the program that holds a pod's namespaces
}

// program is one thing to build.
type program struct {
	name, pkg, ldflags string
}

const (
	// KubernetesVersion is the version of the control plane, as go.mod pins it.
	KubernetesVersion = "v1.37.2"
	tags              = "remove_all_sd,enable_kubernetes_sd" // Prometheus without every cloud's client
	pausePackage      = "./pause"
)

func programs() []program {
	const v = "k8s.io/component-base/version."
	kube := "-s -w -X " + v + "gitVersion=" + KubernetesVersion + " -X " + v + "gitMajor=1 -X " + v + "gitMinor=37" +
		" -X " + v + "gitTreeState=clean -X " + v + "gitCommit=" // else clients cannot parse v0.0.0-master
	return []program{
		{"etcd", "go.etcd.io/etcd/server/v3", "-s -w"},
		{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", kube},
		{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", kube},
		{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", kube},
		{"kubectl", "k8s.io/kubernetes/cmd/kubectl", kube},
		{"kwok", "sigs.k8s.io/kwok/cmd/kwok", "-s -w"},
		{"prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "-s -w -X github.com/prometheus/common/version.Version=3.16.0"},
		{"kubelet", "k8s.io/kubernetes/cmd/kubelet", kube},
		{"pause", pausePackage, "-s -w"},
	}
}

// ControlPlane names the programs of every sandbox, in the order in which they are built.
func ControlPlane() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "prometheus"}
}

// RealNode names the programs that a real node needs besides.
func RealNode() []string { return []string{"kubelet", "pause"} }

// Cache is the folder of built programs and images.
type Cache struct {
	Root   string
	source Source
	key    string
}

// NewCache names the cache of this source under the user's cache folder.
func NewCache(root string, source Source) *Cache {
	h := sha256.New()
	for _, part := range [][]byte{source.Mod, source.Sum, source.Pause} {
		_, _ = fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, tags, programs())
	return &Cache{Root: root, source: source, key: hex.EncodeToString(h.Sum(nil)[:6])}
}

// Path is where a program is, once it is built.
func (c *Cache) Path(name string) string { return filepath.Join(c.Root, "bin", c.key, name) }

// PauseKey is different for every source of the pause program. (The program itself is different after
// every change of go.mod.)
func (c *Cache) PauseKey() string {
	sum := sha256.Sum256(append([]byte(runtime.Version()), c.source.Pause...))
	return hex.EncodeToString(sum[:])
}

// LockFile names a lock in the cache.
func (c *Cache) LockFile(name string) string { return filepath.Join(c.Root, "locks", name) }

// Build builds what is not there yet of the programs named, one after the other.
func (c *Cache) Build(ctx context.Context, p *progress.Printer, names ...string) error {
	Touch(filepath.Dir(c.Path("any")))
	if c.missing(names) == nil {
		return nil
	}
	unlock, err := state.Lock(ctx, c.LockFile("build"), func() { p.Note("another build is running, waiting for it") })
	if err != nil {
		return err
	}
	defer unlock()
	missing := c.missing(names)
	if missing == nil {
		return nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the programs of the sandbox are built from Go modules, and there is no `go` in PATH: install Go (https://go.dev/doc/install)")
	}
	dir, err := c.writeSource()
	if err != nil {
		return err
	}
	c.prune()
	for _, prog := range missing {
		err := p.Do(ctx, "build "+prog.name, func(ctx context.Context) error { return c.buildOne(ctx, dir, prog) })
		if err != nil {
			return fmt.Errorf("build %s: %w", prog.name, err)
		}
	}
	return nil
}

// prune removes the programs of other versions that nobody used for a week.
func (c *Cache) prune() {
	PruneUnused(filepath.Join(c.Root, "bin", "*"))
	sources, _ := filepath.Glob(filepath.Join(c.Root, "src", "*"))
	for _, dir := range sources {
		if _, err := os.Stat(filepath.Join(c.Root, "bin", filepath.Base(dir))); err != nil && filepath.Base(dir) != c.key {
			_ = os.RemoveAll(dir)
		}
	}
}

// Touch notes that a folder of the cache is in use.
func Touch(path string) { _ = os.Chtimes(path, time.Time{}, time.Now()) }

// PruneUnused removes what nobody touched for a week.
func PruneUnused(pattern string) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > 7*24*time.Hour {
			_ = os.RemoveAll(path)
		}
	}
}

func (c *Cache) missing(names []string) []program {
	var missing []program
	for _, prog := range programs() {
		for _, name := range names {
			if _, err := os.Stat(c.Path(name)); name == prog.name && err != nil {
				missing = append(missing, prog)
			}
		}
	}
	return missing
}

// writeSource writes a module that pins the versions, so that the sandbox builds from any folder.
func (c *Cache) writeSource() (string, error) {
	dir := filepath.Join(c.Root, "src", c.key)
	files := map[string][]byte{
		"go.mod": c.source.Mod, "go.sum": c.source.Sum, filepath.Join(pausePackage, "main.go"): c.source.Pause,
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("write the module to build from: %w", err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // source code, as the repository shows it
			return "", fmt.Errorf("write the module to build from: %w", err)
		}
	}
	return dir, nil
}

func (c *Cache) buildOne(ctx context.Context, dir string, prog program) error {
	out := c.Path(prog.name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	tmp := out + ".new"
	defer func() { _ = os.Remove(tmp) }()
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", tags, "-ldflags", prog.ldflags, "-o", tmp, prog.pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	// `go` ends its compilers on an interrupt; a kill would leave them running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w\n%s", err, lastLines(stderr.String(), 20))
	}
	return os.Rename(tmp, out)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
