package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// BootID is different after every start of the machine.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

// startOf returns the clock tick at which a process started.
func startOf(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", fmt.Errorf("%w: %d", ErrNotRunning, pid)
	}
	// The second field is the name in parentheses and may hold anything, even parentheses.
	_, rest, ok := strings.Cut(string(data[bytes.LastIndexByte(data, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("read /proc/%d/stat: unknown form", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("%w: %d", ErrNotRunning, pid)
	}
	return fields[19], nil
}

// Marked lists the live processes whose environment holds this NAME=value. Programs that a marked one
// starts (containerd's shims, say) inherit the mark.
func Marked(mark string) []Identity {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []Identity
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !hasEntry(env, mark) {
			continue
		}
		if id, err := Identify(pid); err == nil {
			found = append(found, id)
		}
	}
	return found
}

func hasEntry(environ []byte, entry string) bool {
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if string(kv) == entry {
			return true
		}
	}
	return false
}
