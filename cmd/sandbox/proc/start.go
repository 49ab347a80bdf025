package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Spec is a program to start in the background.
type Spec struct {
	Path    string
	Args    []string
	Env     []string // appended to the environment of this process
	Dir     string
	LogFile string // stdout and stderr; the last run's is kept beside it with the ending .old
	PIDFile string
}

// Process is a program that Start started. It is not ended with its parent.
type Process struct {
	Identity
	exited chan struct{}
}

// Exited is closed when the process ends while its parent still runs.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Start starts a program in a session of its own, out of reach of the terminal's Ctrl-C.
func Start(ctx context.Context, s Spec) (*Process, error) {
	for _, f := range []string{s.LogFile, s.PIDFile} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return nil, fmt.Errorf("make folder for %s: %w", filepath.Base(s.Path), err)
		}
	}
	if err := os.Rename(s.LogFile, s.LogFile+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keep the last log: %w", err)
	}
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }()

	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(s.Path), err)
	}
	p := &Process{exited: make(chan struct{})}
	p.Identity, err = Identify(cmd.Process.Pid)
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	if err != nil {
		return p, nil //nolint:nilerr // it ended at once: Exited says so and its log says why
	}
	if err := WriteFile(s.PIDFile, p.Identity); err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	return p, nil
}

// Stop ends the processes together: a request first, force once the grace time is over.
func Stop(ctx context.Context, grace time.Duration, ids ...Identity) error {
	signal(syscall.SIGTERM, ids)
	if waitGone(ctx, grace, ids) {
		return nil
	}
	signal(syscall.SIGKILL, ids)
	if waitGone(ctx, 10*time.Second, ids) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		if id.Alive() {
			return fmt.Errorf("process %d does not end, not even by force", id.PID)
		}
	}
	return nil
}

func signal(sig syscall.Signal, ids []Identity) {
	for _, id := range ids {
		if id.Alive() {
			_ = syscall.Kill(id.PID, sig)
		}
	}
}

func waitGone(ctx context.Context, limit time.Duration, ids []Identity) bool {
	deadline := time.Now().Add(limit)
	for {
		alive := false
		for _, id := range ids {
			alive = alive || id.Alive()
		}
		if !alive {
			return true
		}
		if time.Now().After(deadline) || !Sleep(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// Sleep waits and reports whether it could wait to the end.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Tail returns the last lines of a log, indented, for an error message.
func Tail(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return "    (no log: " + err.Error() + ")"
	}
	defer func() { _ = f.Close() }()
	const most = 16 << 10
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "    " + string(bytes.Join(all, []byte("\n    ")))
}
