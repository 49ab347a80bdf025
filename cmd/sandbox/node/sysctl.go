package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// sysctlFile holds the kernel settings as they were before the first real node of this machine.
const sysctlFile = "/run/kubectl-ml.sysctl"

// saveSysctls keeps the kernel settings that kubelet and CNI plugins change, to put them back later.
func saveSysctls() {
	values := map[string]string{}
	for _, name := range []string{
		"net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	} {
		if data, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			values[name] = strings.TrimSpace(string(data))
		}
	}
	data, err := json.Marshal(values)
	if err != nil {
		return
	}
	f, err := os.OpenFile(sysctlFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // another node's sandbox kept them already
	}
	_, _ = f.Write(data)
	_ = f.Close()
}

// restoreSysctls puts the kernel settings back.
func restoreSysctls() {
	data, err := os.ReadFile(sysctlFile)
	if err != nil {
		return
	}
	var values map[string]string
	if json.Unmarshal(data, &values) == nil {
		for name, value := range values {
			if filepath.IsLocal(name) {
				_ = os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644) //nolint:gosec // a file of the kernel
			}
		}
	}
	_ = os.Remove(sysctlFile)
}
