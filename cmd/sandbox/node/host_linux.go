package node

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

const capSysResource = 24

// mayLowerOOMScore reports whether this process may protect another from the OOM killer.
func mayLowerOOMScore() bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && caps&(1<<capSysResource) != 0
		}
	}
	return false
}

func mayUnshare() bool {
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS},
	})
	if err != nil {
		return false
	}
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, 0, nil)
	return err == nil && status.ExitStatus() == 0
}

func unmount(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
