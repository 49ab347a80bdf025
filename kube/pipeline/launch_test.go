package pipeline

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launched runs a script around a command, with programs of the test's own and no others but the shell's.
func launched(t *testing.T, script, rank string, programs map[string]string, command ...string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "ml"}, command...)...)
	c.Dir = bin
	c.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "NODE_RANK=" + rank, "MASTER_ADDR=run-a-0.run-a", "MASTER_PORT=6379"}
	c.WaitDelay = time.Second
	return c
}

func TestRayScript(t *testing.T) {
	t.Parallel()
	ray := `echo "ray $*"`
	out, err := launched(t, rayScript, "0", map[string]string{"ray": ray}, "sh", "-c", `echo "$0 at $RAY_ADDRESS"; exit 3`, "a b").CombinedOutput()
	var exit *exec.ExitError
	if want := "ray start --head --port=6379 --disable-usage-stats\na b at auto\n"; string(out) != want || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("the head: %v\n%s", err, out)
	}
	out, err = launched(t, rayScript, "0", map[string]string{"ray": "exit 9"}, "echo", "started").CombinedOutput()
	if !errors.As(err, &exit) || exit.ExitCode() != 9 || len(out) > 0 {
		t.Errorf("a head that does not start: %v\n%s", err, out)
	}
	out, err = launched(t, rayScript, "1", nil, "true").CombinedOutput()
	if !errors.As(err, &exit) || exit.ExitCode() != 127 || !strings.Contains(string(out), "the image has no command ray") {
		t.Errorf("without ray: %v\n%s", err, out)
	}
	// The head is there at the second try; the worker then ends with it.
	late := `echo "ray $*"; [ -f there ] || { touch there; exit 1; }`
	out, err = launched(t, rayScript, "1", map[string]string{"ray": late}, "never").CombinedOutput()
	const join = "ray start --address=run-a-0.run-a:6379 --disable-usage-stats --block\n"
	if want := join + "framework ray: the head at run-a-0.run-a is not there, trying again\n" + join; err != nil || string(out) != want {
		t.Errorf("a worker: %v\n%s", err, out)
	}
}

// A worker that is asked to end does so at once, and not when the kubelet has lost its patience.
func TestRayWorkerEnds(t *testing.T) {
	t.Parallel()
	c := launched(t, rayScript, "1", map[string]string{"ray": "touch started; exec sleep 60"}, "never")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(c.Dir, "started")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	begin := time.Now()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 143 || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}
