package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupFS = "/sys/fs/cgroup"

// hierarchies lists where cgroups are made: one folder on cgroup v2, one for each controller on v1.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupFS, "cgroup.controllers")); err == nil {
		return []string{cgroupFS}
	}
	entries, err := os.ReadDir(cgroupFS)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		dir := filepath.Join(cgroupFS, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && e.IsDir() {
			list = append(list, dir)
		}
	}
	return list
}

// makeCgroup makes the cgroup under which the kubelet puts all pods.
func makeCgroup(name string) error {
	for _, h := range hierarchies() {
		dir := filepath.Join(h, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the node's cgroup: %w", err)
		}
		// cgroup v2: what a group may limit is what its parent hands down.
		if have, err := os.ReadFile(filepath.Join(h, "cgroup.controllers")); err == nil && h == cgroupFS {
			handDown(h, string(have))
			handDown(dir, string(have))
		}
		// cgroup v1: a new cpuset has no CPU, and no process can be in it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if filepath.Base(h) != "cpuset" {
				break
			}
			data, err := os.ReadFile(filepath.Join(h, file))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil { //nolint:gosec // a file of the kernel
				return fmt.Errorf("give the node's cgroup its processors: %w", err)
			}
		}
	}
	return nil
}

func handDown(dir, controllers string) {
	for c := range strings.FieldsSeq(controllers) {
		// One that cannot be handed down the kubelet names when it misses it.
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644) //nolint:gosec // a file of the kernel
	}
}

// removeCgroup ends every process in the cgroup and removes it.
func removeCgroup(name string) error {
	for try := range 100 {
		left := 0
		for _, h := range hierarchies() {
			left += emptyCgroup(filepath.Join(h, name))
		}
		if left == 0 {
			return nil
		}
		time.Sleep(time.Duration(min(try+1, 10)) * 10 * time.Millisecond)
	}
	return fmt.Errorf("cgroup %s does not go: some process in it does not end", name)
}

// emptyCgroup ends what is in a cgroup, removes what can be removed and counts the rest.
func emptyCgroup(dir string) int {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	left := 0
	for i := len(dirs) - 1; i >= 0; i-- { // children before parents
		procs, _ := os.ReadFile(filepath.Join(dirs[i], "cgroup.procs"))
		for field := range strings.FieldsSeq(string(procs)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, os.ErrNotExist) {
			left++
		}
	}
	return left
}
