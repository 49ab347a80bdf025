// Package state is the room for what a sandbox remembers: its folder, its ports and networks, and
// the lock that keeps two commands from changing one sandbox at the same time.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// Dir is a state folder. Its path is the identity of the sandbox.
type Dir string

// Config is what one boot decided; it stays until the sandbox goes down.
type Config struct {
	BootID      string         `json:"bootID"` // of the machine: after a restart nothing of ours runs any more
	Created     time.Time      `json:"created"`
	Ready       bool           `json:"ready"` // some `up` got to its end
	Ports       map[string]int `json:"ports"`
	ServiceCIDR string         `json:"serviceCIDR"`
	PodCIDR     string         `json:"podCIDR"`
	Address     string         `json:"address"`    // first address of ServiceCIDR: the API server as pods see it
	OnLoopback  bool           `json:"onLoopback"` // Address is on the loopback interface (needs root)
	GPUNodes    int            `json:"gpuNodes"`
	RealNode    bool           `json:"realNode"`
	NoRealNode  string         `json:"noRealNode,omitempty"` // why there is none
	With        []string       `json:"with,omitempty"`       // controllers besides those of Kubernetes
	WhilePID    proc.Identity  `json:"whilePID"`
	Kubectl     string         `json:"kubectl"`          // a kubectl of the same version
	Images      []string       `json:"images,omitempty"` // loaded by `sandbox image`
}

// Open makes a Dir of a path, absolute and without links, so that one folder has one name.
func Open(path string) (Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("state folder: %w", err)
	}
	if path, err := filepath.EvalSymlinks(abs); err == nil {
		return Dir(path), nil
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return Dir(filepath.Join(parent, filepath.Base(abs))), nil
	}
	return Dir(abs), nil
}

// DefaultPath is the state folder of those who name none.
func DefaultPath(getenv func(string) string) string {
	if dir := getenv("KUBECTL_ML_SANDBOX"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "kubectl-ml", "sandbox")
	}
	return filepath.Join(getenv("HOME"), ".local", "state", "kubectl-ml", "sandbox")
}

// ID is a short name made of the path, for things outside of the folder.
func (d Dir) ID() string {
	sum := sha256.Sum256([]byte(d))
	return hex.EncodeToString(sum[:4])
}

// Join names a file in the folder.
func (d Dir) Join(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Kubeconfig is the administrator's.
func (d Dir) Kubeconfig() string { return d.Join("kubeconfig") }

// LogFile is where a program writes.
func (d Dir) LogFile(program string) string { return d.Join("log", program+".log") }

// PIDFile holds the identity of a program.
func (d Dir) PIDFile(program string) string { return d.Join("run", program+".pid") }

// Runtime is a folder with a short path, for unix sockets (their paths end at 107 bytes).
func (d Dir) Runtime() string { return filepath.Join("/run", "kubectl-ml-"+d.ID()) }

// Mark is in the environment of every process of the sandbox.
func (d Dir) Mark() string { return "KUBECTL_ML_SANDBOX_STATE=" + string(d) }

func (d Dir) configFile() string { return d.Join("sandbox.json") }

// Load reads the config. A sandbox that is not there gives os.ErrNotExist.
func (d Dir) Load() (Config, error) {
	var c Config
	data, err := os.ReadFile(d.configFile())
	if err != nil {
		return c, fmt.Errorf("read the sandbox's state: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("read the sandbox's state in %s: %w (`sandbox down --state %s` removes it)", d.configFile(), err, d)
	}
	return c, nil
}

// Save keeps the config, all of it or nothing.
func (d Dir) Save(c Config) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the sandbox's state: %w", err)
	}
	tmp := d.configFile() + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the sandbox's state: %w", err)
	}
	if err := os.Rename(tmp, d.configFile()); err != nil {
		return fmt.Errorf("keep the sandbox's state: %w", err)
	}
	return nil
}

// Claim makes the folder for a new sandbox. It refuses a folder that holds somebody's files.
func (d Dir) Claim() error {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("state folder: %w", err)
	}
	if len(entries) > 0 && !d.Ours() {
		return fmt.Errorf("state folder %s holds files that are not a sandbox's: name another one with --state", d)
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if err := os.WriteFile(d.markFile(), []byte("This folder belongs to `sandbox`; `sandbox down` removes it.\n"), 0o600); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	return nil
}

// Remove removes the folder, when it is a sandbox's.
func (d Dir) Remove() error {
	if !d.Ours() {
		return nil
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return fmt.Errorf("remove the state folder: %w", err)
	}
	for _, e := range entries { // the mark goes last: an interrupted removal can be repeated
		if e.Name() == filepath.Base(d.markFile()) {
			continue
		}
		if err := os.RemoveAll(d.Join(e.Name())); err != nil {
			return fmt.Errorf("remove the state folder: %w", err)
		}
	}
	if err := os.RemoveAll(string(d)); err != nil {
		return fmt.Errorf("remove the state folder: %w", err)
	}
	return nil
}

func (d Dir) markFile() string { return d.Join(".kubectl-ml-sandbox") }

// Ours reports whether the folder is a sandbox's.
func (d Dir) Ours() bool {
	_, err := os.Stat(d.markFile())
	return err == nil
}
