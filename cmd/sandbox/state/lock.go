package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// Lock takes a lock file, waiting for whoever holds it; the system frees it when its holder ends,
// however that is. onWait is called once if there is somebody to wait for.
func Lock(ctx context.Context, file string, onWait func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for first := true; ; first = false {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		if first && onWait != nil {
			onWait()
		}
		if !proc.Sleep(ctx, 100*time.Millisecond) {
			_ = f.Close()
			return nil, fmt.Errorf("wait for the other command: %w", ctx.Err())
		}
	}
}
