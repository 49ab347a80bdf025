// Package proc is the room for processes: it starts programs that outlive their parent, finds them
// again, and stops them. A process is named by its id and by the moment it started, so that an id
// that the system has given to somebody else is never taken for one of ours.
package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Identity names one process for good.
type Identity struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // opaque; equal for the same process, different for a later one of the same id
}

// IsZero reports whether id names no process.
func (id Identity) IsZero() bool { return id.PID == 0 }

// Alive reports whether the process still runs. A zombie does not.
func (id Identity) Alive() bool {
	if id.IsZero() {
		return false
	}
	now, err := Identify(id.PID)
	return err == nil && now == id
}

// Identify names the process that has this id now.
func Identify(pid int) (Identity, error) {
	if pid <= 0 {
		return Identity{}, fmt.Errorf("%d is not a process id", pid)
	}
	start, err := startOf(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: start}, nil
}

// ErrNotRunning says that no live process has the id asked for.
var ErrNotRunning = errors.New("no such process")

// ReadFile reads an identity that WriteFile wrote. A file that is not there names no process.
func ReadFile(path string) (Identity, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Identity{}, nil
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read process file: %w", err)
	}
	pid, start, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	n, err := strconv.Atoi(pid)
	if err != nil || start == "" {
		return Identity{}, nil // half written by a process that died: it names nobody
	}
	return Identity{PID: n, Start: start}, nil
}

// WriteFile keeps an identity for ReadFile.
func WriteFile(path string, id Identity) error {
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d %s\n", id.PID, id.Start), 0o600); err != nil {
		return fmt.Errorf("write process file: %w", err)
	}
	return nil
}
