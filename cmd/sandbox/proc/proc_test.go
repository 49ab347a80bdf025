package proc_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

func start(t *testing.T, args ...string) *proc.Process {
	t.Helper()
	dir := t.TempDir()
	p, err := proc.Start(t.Context(), proc.Spec{
		Path: "/bin/sh", Args: args, Env: []string{"SANDBOX_TEST_MARK=" + dir},
		LogFile: filepath.Join(dir, "log"), PIDFile: filepath.Join(dir, "pid"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(context.Background(), 0, p.Identity); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStopEndsAProcessThatIgnoresTheRequest(t *testing.T) {
	p := start(t, "-c", "trap '' TERM; while :; do sleep 1; done")
	if !p.Alive() {
		t.Fatal("not alive after start")
	}
	if err := proc.Stop(t.Context(), 200*time.Millisecond, p.Identity); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Fatal("alive after stop")
	}
}

func TestAReusedIDIsSomebodyElse(t *testing.T) {
	p := start(t, "-c", "sleep 30")
	later := proc.Identity{PID: p.PID, Start: p.Start + "0"}
	if later.Alive() {
		t.Fatal("another start time counts as the same process")
	}
	if err := proc.Stop(t.Context(), time.Second, later); err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Fatal("stopping a stale identity ended the process that has the id now")
	}
}

func TestIdentityFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	for _, content := range []string{"", "12", "x y"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := proc.ReadFile(file); err != nil || !id.IsZero() {
			t.Errorf("ReadFile(%q) = %v, %v; want nobody", content, id, err)
		}
	}
	want, err := proc.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := proc.WriteFile(file, want); err != nil {
		t.Fatal(err)
	}
	if got, err := proc.ReadFile(file); err != nil || got != want {
		t.Errorf("ReadFile = %v, %v; want %v", got, err, want)
	}
}
