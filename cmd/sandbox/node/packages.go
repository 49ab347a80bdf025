package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// missing names the Debian packages that the node needs and the machine lacks.
func missing() []string {
	programs := []struct{ program, pkg string }{
		{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"}, {"iptables", "iptables"},
		{"debootstrap", "debootstrap"}, {"mount", "mount"}, {"unshare", "util-linux"}, {"nsenter", "util-linux"},
	}
	var list []string
	add := func(pkg string) {
		if len(list) == 0 || list[len(list)-1] != pkg {
			list = append(list, pkg)
		}
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p.program); err != nil {
			add(p.pkg)
		}
	}
	if _, err := os.Stat(filepath.Join(cniBin(), "bridge")); err != nil {
		add("containernetworking-plugins")
	}
	if _, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg"); err != nil {
		add("debian-archive-keyring")
	}
	return list
}

// Missing names the packages that Install would install.
func Missing() []string { return missing() }

// Install installs the packages that are missing.
func Install(ctx context.Context) error {
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing()...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = time.Minute // dpkg finishes the package it is at
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && args[0] == "install" { // an update that fails for one source may still do
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
	if still := missing(); len(still) > 0 {
		return fmt.Errorf("apt-get installed the packages, and yet there is nothing of %s in PATH", strings.Join(still, ", "))
	}
	return nil
}
