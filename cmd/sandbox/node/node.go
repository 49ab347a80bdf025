// Package node is the room for the real node: containerd and a kubelet beside the control plane, in
// a mount namespace of their own, with folders, sockets, network and cgroups of their own, so that
// whatever the machine runs already is not touched and nothing of it stays.
package node

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Name is the node's.
const Name = "sandbox"

// Settings is what the node needs to know of its sandbox.
type Settings struct {
	Dir        state.Dir
	Address    string // of the node; the kubelet listens there
	Port       int    // of the kubelet
	HealthPort int
	PodCIDR    string
	Services   string // their network
	Kubelet    string // the program
	PauseImage string
}

// Possible says why this machine and this user cannot have a real node; nothing says they can.
func Possible() string {
	switch {
	case runtime.GOOS != "linux":
		return "a real node needs Linux"
	case os.Geteuid() != 0:
		return "a real node needs root"
	}
	if len(missing()) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			return "a real node needs " + strings.Join(missing(), ", ") + ", and there is no apt-get to install them"
		}
	}
	if !mayUnshare() {
		return "a real node needs the right to mount (CAP_SYS_ADMIN)"
	}
	return ""
}

// Socket is where containerd listens. Paths of sockets are short, so it is not in the state folder.
func Socket(d state.Dir) string { return filepath.Join(d.Runtime(), "containerd.sock") }

func (s Settings) bridge() string { return "kml" + s.Dir.ID() }

func (s Settings) cgroup() string { return "kubectl-ml-" + s.Dir.ID() }

// The node's config files.
var (
	//go:embed files/containerd.toml
	containerdTOML string
	//go:embed files/kubelet.yaml
	kubeletYAML string
	//go:embed files/cni.conflist
	cniConflist string
	//go:embed files/containerd.sh
	containerdSH string
)

// Prepare writes config files and makes folders, cgroups and firewall rules.
func (s Settings) Prepare() error {
	saveSysctls()
	for _, dir := range []string{"containerd", "kubelet", "cni", "cni-cache", "cni-state", "log", "opt"} {
		if err := os.MkdirAll(s.Dir.Join("node", dir), 0o755); err != nil {
			return fmt.Errorf("make the node's folders: %w", err)
		}
	}
	if err := os.MkdirAll(s.Dir.Runtime(), 0o700); err != nil {
		return fmt.Errorf("make the node's runtime folder: %w", err)
	}
	for name, text := range map[string]string{
		"containerd.toml": containerdTOML, "kubelet.yaml": kubeletYAML, filepath.Join("cni", "10-bridge.conflist"): cniConflist,
	} {
		if err := s.write(name, text); err != nil {
			return err
		}
	}
	for _, dir := range mountPoints() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a mount point: %w", err)
		}
	}
	return makeCgroup(s.cgroup())
}

// mountPoints are folders that kubelet and CNI plugins insist on. In the node's mount namespace they
// are folders of the sandbox.
func mountPoints() []string { return []string{"/var/lib/kubelet", "/var/lib/cni"} }

func (s Settings) write(name, text string) error {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"S": s, "Root": s.Dir.Join("node"), "Run": s.Dir.Runtime(), "PKI": s.Dir.Join("pki"), "Socket": Socket(s.Dir),
		"Bridge": s.bridge(), "Cgroup": s.cgroup(), "ID": s.Dir.ID(), "CNIBin": cniBin(), "KeepOOMScore": !mayLowerOOMScore(),
		"ResolvConf": state.ResolvConf(),
	})
	if err != nil {
		return fmt.Errorf("fill in %s: %w", name, err)
	}
	if err := os.WriteFile(s.Dir.Join("node", name), out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Command is a program to run in the node's mount namespace.
type Command struct {
	Path string
	Args []string
}

// Containerd gives the command that starts containerd: in a new mount namespace, or in the one that
// is there if a part of the node still runs.
func (s Settings) Containerd() Command {
	config := s.Dir.Join("node", "containerd.toml")
	if pid := s.namespace(); pid != 0 {
		return enter(pid, "containerd", "--config", config)
	}
	return Command{"unshare", []string{"--mount", "--propagation", "slave", "--", "/bin/sh", "-ec", containerdSH, "containerd", s.Dir.Join("node"), config}}
}

// KubeletCommand gives the command that starts the kubelet beside containerd.
func (s Settings) KubeletCommand() Command {
	return enter(s.namespace(), s.Kubelet,
		"--config="+s.Dir.Join("node", "kubelet.yaml"), "--kubeconfig="+s.Dir.Join("pki", "kubelet.kubeconfig"),
		"--hostname-override="+Name, "--node-ip="+s.Address, "--v=1",
		"--node-labels=nvidia.com/gpu.present=true,nvidia.com/gpu.count=2,nvidia.com/gpu.memory=24576,nvidia.com/gpu.product=NVIDIA-L4",
	)
}

func enter(pid int, program string, args ...string) Command {
	return Command{"nsenter", append([]string{"--target", fmt.Sprint(pid), "--mount", "--", program}, args...)}
}

// namespace finds a process of the sandbox in the node's mount namespace.
func (s Settings) namespace() int {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return 0
	}
	for _, id := range proc.Marked(s.Dir.Mark()) {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", id.PID))
		if err == nil && ns != own {
			return id.PID
		}
	}
	return 0
}

// cniBin is where the CNI plugins are: Debian's folder, or everybody else's.
func cniBin() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return "/usr/lib/cni"
}
