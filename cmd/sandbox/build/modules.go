package build

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Source is what the programs of Kubernetes are built from.
type Source struct {
	Mod, Sum []byte // go.mod and go.sum: the versions
	Pause    []byte // the program that holds a pod's namespaces
}

// module is a Go module that programs are built from. What Kubernetes' own libraries of this version
// would not build has a module, and so versions, of its own.
type module struct {
	path     string // of the module that the programs come from; "" if from many
	install  string // folder of the kustomization in it that says what a release installs; "" for nothing
	files    []file
	programs []program
}

// file is a source file: its name in the module and its content.
type file struct {
	name string
	data []byte
}

// program is one thing to build.
type program struct {
	name, pkg, ldflags string
}

const (
	// KubernetesVersion is the version of the control plane, as go.mod pins it.
	KubernetesVersion = "v1.37.2"
	tags              = "remove_all_sd,enable_kubernetes_sd" // Prometheus without every cloud's client
	pausePackage      = "./pause"
)

// Files named go.mod would make modules of their folders, which cannot be embedded.
//
//go:embed _modules
var pinned embed.FS

func modules(kubernetes Source) []module {
	const v = "k8s.io/component-base/version."
	kube := "-s -w -X " + v + "gitVersion=" + KubernetesVersion + " -X " + v + "gitMajor=1 -X " + v + "gitMinor=37" +
		" -X " + v + "gitTreeState=clean -X " + v + "gitCommit=" // else clients cannot parse v0.0.0-master
	return []module{
		{
			files: []file{
				{"go.mod", kubernetes.Mod}, {"go.sum", kubernetes.Sum}, {filepath.Join(pausePackage, "main.go"), kubernetes.Pause},
			},
			programs: []program{
				{"etcd", "go.etcd.io/etcd/server/v3", "-s -w"},
				{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", kube},
				{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", kube},
				{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", kube},
				{"kubectl", "k8s.io/kubernetes/cmd/kubectl", kube},
				{"kwok", "sigs.k8s.io/kwok/cmd/kwok", "-s -w"},
				{"prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "-s -w -X github.com/prometheus/common/version.Version=3.16.0"},
				{"kubelet", "k8s.io/kubernetes/cmd/kubelet", kube},
				{"pause", pausePackage, "-s -w"},
			},
		},
		{
			files:    append(pins("coredns"), file{"main.go", embedded("coredns/main.go")}),
			programs: []program{{"coredns", ".", "-s -w"}},
		},
		{
			path: "sigs.k8s.io/jobset", install: "config/default", files: pins("jobset"),
			programs: []program{{"jobset", "sigs.k8s.io/jobset", "-s -w"}},
		},
		{
			path: "sigs.k8s.io/kueue", install: "config/default", files: pins("kueue"),
			programs: []program{{"kueue", "sigs.k8s.io/kueue/cmd/kueue", "-s -w"}},
		},
		{files: pins("registry"), programs: []program{{"registry", "github.com/distribution/distribution/v3/cmd/registry", "-s -w"}}},
		{files: pins("s3"), programs: []program{{"s3", "github.com/versity/versitygw/cmd/versitygw", "-s -w"}}},
	}
}

// pins are the files that pin the versions of a module of its own.
func pins(name string) []file {
	return []file{{"go.mod", embedded(name + ".mod")}, {"go.sum", embedded(name + ".sum")}}
}

func embedded(name string) []byte {
	data, err := pinned.ReadFile("_modules/" + name)
	if err != nil {
		panic(err) // the name of no file that was embedded
	}
	return data
}

// ControlPlane names the programs of every sandbox, in the order in which they are built.
func ControlPlane() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "prometheus"}
}

// RealNode names the programs that a real node needs besides.
func RealNode() []string { return []string{"kubelet", "pause", "coredns"} }

// key is different for everything that a module's programs depend on.
func (m module) key() string {
	h := sha256.New()
	for _, f := range m.files {
		data := f.data
		if f.name == "go.mod" {
			data = versions(data)
		}
		_, _ = fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, tags, m.programs)
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// versions is what a go.mod says of versions: which package of the sandbox itself is the one to require
// them is no reason to build anything again.
func versions(mod []byte) []byte {
	lines := bytes.Split(bytes.ReplaceAll(mod, []byte(" // indirect"), nil), []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	return bytes.TrimSpace(bytes.Join(slices.CompactFunc(lines, bytes.Equal), []byte("\n")))
}

// write writes the module, so that the sandbox builds from any folder.
func (m module) write(dir string) error {
	for _, f := range m.files {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write the module to build from: %w", err)
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil { //nolint:gosec // source code, as the repository shows it
			return fmt.Errorf("write the module to build from: %w", err)
		}
	}
	return nil
}
