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

// Cache is the folder of built programs and images.
type Cache struct {
	Root    string
	modules []module
	pause   string // key of the source of the pause program
}

// NewCache names the cache of this source, and of the modules that are pinned here, under the user's
// cache folder.
func NewCache(root string, source Source) *Cache {
	sum := sha256.Sum256(append([]byte(runtime.Version()), source.Pause...))
	return &Cache{Root: root, modules: modules(source), pause: hex.EncodeToString(sum[:])}
}

// find finds a program and the module that it is built from.
func (c *Cache) find(name string) (module, program, bool) {
	for _, m := range c.modules {
		for _, p := range m.programs {
			if p.name == name {
				return m, p, true
			}
		}
	}
	return module{}, program{}, false
}

// Path is where a program is, once it is built.
func (c *Cache) Path(name string) string {
	m, _, _ := c.find(name)
	return filepath.Join(c.Root, "bin", m.key(), name)
}

// InstallFile holds the objects that a program's release installs in a cluster, once it is built.
func (c *Cache) InstallFile(name string) string { return c.Path(name) + ".yaml" }

// PauseKey is different for every source of the pause program. (The program itself is different after
// every change of go.mod.)
func (c *Cache) PauseKey() string { return c.pause }

// LockFile names a lock in the cache.
func (c *Cache) LockFile(name string) string { return filepath.Join(c.Root, "locks", name) }

// Build builds what is not there yet of the programs named, one after the other.
func (c *Cache) Build(ctx context.Context, p *progress.Printer, names ...string) error {
	for _, name := range names {
		if _, _, ok := c.find(name); !ok {
			return fmt.Errorf("build %s: no module has a program of that name", name)
		}
		Touch(filepath.Dir(c.Path(name)))
	}
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
	c.prune()
	for _, name := range missing {
		if err := p.Do(ctx, "build "+name, func(ctx context.Context) error { return c.buildOne(ctx, name) }); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	return nil
}

// prune removes the programs of other versions that nobody used for a week.
func (c *Cache) prune() {
	PruneUnused(filepath.Join(c.Root, "bin", "*"))
	sources, _ := filepath.Glob(filepath.Join(c.Root, "src", "*"))
	for _, dir := range sources {
		if _, err := os.Stat(filepath.Join(c.Root, "bin", filepath.Base(dir))); err != nil {
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

func (c *Cache) missing(names []string) []string {
	var missing []string
	for _, name := range names {
		if _, err := os.Stat(c.Path(name)); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

func (c *Cache) buildOne(ctx context.Context, name string) error {
	m, prog, _ := c.find(name)
	dir := filepath.Join(c.Root, "src", m.key())
	if err := m.write(dir); err != nil {
		return err
	}
	out := c.Path(name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	tmp := out + ".new"
	defer func() { _ = os.Remove(tmp) }()
	if _, err := runIn(ctx, dir, "go", "build", "-buildvcs=false", "-tags", tags, "-ldflags", prog.ldflags, "-o", tmp, prog.pkg); err != nil {
		return err
	}
	if m.install != "" {
		if err := c.writeInstall(ctx, dir, m, name); err != nil {
			return err
		}
	}
	return os.Rename(tmp, out)
}

// writeInstall keeps what the program's release would install, as its own kustomization makes it.
func (c *Cache) writeInstall(ctx context.Context, dir string, m module, name string) error {
	folder, err := runIn(ctx, dir, "go", "list", "-m", "-f", "{{.Dir}}", m.path)
	if err != nil {
		return err
	}
	objects, err := runIn(ctx, dir, c.Path("kubectl"), "kustomize", filepath.Join(strings.TrimSpace(folder), m.install))
	if err != nil {
		return err
	}
	return os.WriteFile(c.InstallFile(name), []byte(objects), 0o644) //nolint:gosec // as public as the release
}

// runIn runs a program in a folder with Go's own flags and returns its stdout.
func runIn(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	// `go` ends its compilers on an interrupt; a kill would leave them running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w\n%s", err, lastLines(stderr.String(), 20))
	}
	return stdout.String(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
