package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// Python is the image for training code: Debian with Python, scikit-learn and a Prometheus client.
	Python  = "docker.io/kubectl-ml/python-sklearn:" + release
	release = "bookworm"
	// Pause holds the namespaces of pods.
	Pause = "docker.io/kubectl-ml/pause:dev"
	// Driver is the image of the plugin itself.
	Driver = "docker.io/kubectl-ml/kubectl-ml:dev"
)

func pythonPackages() string { return "python3-minimal,python3-sklearn,python3-prometheus-client" }

// superfluous is what a container that runs Python code never opens: package lists, documentation,
// other languages' messages, and the C++ compiler that scipy's packages bring along.
func superfluous() []string {
	return []string{
		"var/cache/apt/*", "var/cache/debconf/*", "var/lib/apt/lists/*", "var/log/*", "var/cache/ldconfig/*",
		"usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*", "usr/share/lintian/*",
		"usr/lib/gcc/*/*/cc1*", "usr/lib/gcc/*/*/lto*", "usr/lib/gcc/*/*/*.a", "usr/bin/*-linux-gnu-*",
		"usr/include/*", "usr/lib/*-linux-gnu/*.a",
	}
}

// PythonRecipe is different for every way in which the image has been made.
func PythonRecipe() string {
	sum := sha256.Sum256(fmt.Append(nil, release, pythonPackages(), superfluous()))
	return hex.EncodeToString(sum[:4])
}

// BuildPython makes the archive of the Python image with debootstrap, as root.
func BuildPython(ctx context.Context, archive string) error {
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return fmt.Errorf("make the image folder: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(archive), "debootstrap-")
	if err != nil {
		return fmt.Errorf("make a work folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	root := filepath.Join(work, "root")
	// In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
	if err := run(ctx, nil, "unshare", "--mount", "--", "debootstrap", "--variant=minbase", "--include="+pythonPackages(), release, root); err != nil {
		return fmt.Errorf("make a Debian file system: %w", err)
	}
	for _, pattern := range superfluous() {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return fmt.Errorf("strip the image: %w", err)
		}
		for _, m := range matches {
			if err := os.RemoveAll(m); err != nil {
				return fmt.Errorf("strip the image: %w", err)
			}
		}
	}
	passwd, err := os.OpenFile(filepath.Join(root, "etc", "passwd"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("add a user to the image: %w", err)
	}
	_, err = passwd.WriteString("nonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n")
	if err := errors.Join(err, passwd.Close()); err != nil {
		return fmt.Errorf("add a user to the image: %w", err)
	}
	return packTree(ctx, archive, work, root)
}

// packTree writes the archive of a file system as one layer.
func packTree(ctx context.Context, archive, work, root string) error {
	layer, err := os.Create(filepath.Join(work, "layer.tar"))
	if err != nil {
		return fmt.Errorf("pack the image: %w", err)
	}
	defer func() { _ = layer.Close() }()
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(layer, sum), 1<<20)
	if err := run(ctx, buffered, "tar", "--numeric-owner", "--one-file-system", "--sort=name", "-C", root, "-cf", "-", "."); err != nil {
		return fmt.Errorf("pack the image: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("pack the image: %w", err)
	}
	size, err := layer.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("pack the image: %w", err)
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("pack the image: %w", err)
	}
	config := Config{
		Env: []string{pathEnv, "LANG=C.UTF-8", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"}, Cmd: []string{"python3"},
	}
	return WriteFile(archive, func(out io.Writer) error {
		return writeArchive(out, Python, config, layer, size, hex.EncodeToString(sum.Sum(nil)))
	})
}

// WriteFile writes a file, all of it or nothing.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// run runs a program and its children as one group, so that an interrupt ends them all; an error
// shows the end of what it printed.
func run(ctx context.Context, stdout io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &printed
	if stdout == nil {
		cmd.Stdout = &printed
	}
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(printed.String()), "\n")
		return fmt.Errorf("%s: %w\n%s", name, err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return nil
}
