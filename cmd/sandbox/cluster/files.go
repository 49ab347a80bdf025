package cluster

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"text/template"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/pki"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

//go:embed manifests
var manifests embed.FS

// ContextName is the name of cluster and context in the kubeconfig.
const ContextName = "kubectl-ml-sandbox"

// user is a client of the API server that has a kubeconfig of its own.
type user struct {
	file string // in the folder pki, unless it is the administrator's
	pki.Subject
}

func users() []user {
	masters := []string{"system:masters"}
	return []user{
		{"", pki.Subject{Name: "sandbox-admin", Groups: masters}},
		{"controller-manager", pki.Subject{Name: "system:kube-controller-manager"}},
		{"scheduler", pki.Subject{Name: "system:kube-scheduler"}},
		{"kwok", pki.Subject{Name: "kwok", Groups: masters}},
		{"prometheus", pki.Subject{Name: "prometheus"}}, // reads pods, services and nodes: manifests/base.yaml
		{"kubelet", pki.Subject{Name: "system:node:" + node.Name, Groups: []string{"system:nodes"}}},
	}
}

// writeFiles writes keys, certificates, kubeconfigs and the programs' own config files.
func writeFiles(d state.Dir, c state.Config, now time.Time) error {
	for _, dir := range []string{"pki", "config", "run", "log"} {
		if err := os.MkdirAll(d.Join(dir), 0o700); err != nil {
			return fmt.Errorf("make the state folder: %w", err)
		}
	}
	for i := range volumes {
		if err := MakeVolume(d.Join("volumes", fmt.Sprintf("sandbox-%02d", i))); err != nil {
			return err
		}
	}
	ca, err := pki.NewAuthority(ContextName, now)
	if err != nil {
		return err
	}
	if err := ca.Write(d.Join("pki"), "ca"); err != nil {
		return err
	}
	local := []string{"localhost", state.Loopback, c.Address}
	servers := map[string]pki.Subject{
		"etcd": {Name: "etcd", Hosts: local},
		"apiserver": {Name: apiServer, Hosts: append([]string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}, local...)},
		"local":          {Name: "local", Hosts: local},
		"kubelet-server": {Name: node.Name, Hosts: append([]string{node.Name}, local...)},
		"kubelet-client": {Name: "apiserver-kubelet-client", Groups: []string{"system:masters"}},
	}
	for name, subject := range servers {
		pair, err := ca.Issue(subject)
		if err != nil {
			return err
		}
		if err := pair.Write(d.Join("pki"), name); err != nil {
			return err
		}
	}
	tokens, err := pki.NewKey()
	if err != nil {
		return err
	}
	if err := tokens.Write(d.Join("pki"), "service-account"); err != nil {
		return err
	}
	for _, u := range users() {
		if err := writeKubeconfig(d, c, ca, u); err != nil {
			return err
		}
	}
	return writeConfigs(d, c)
}

func writeKubeconfig(d state.Dir, c state.Config, ca *pki.Authority, u user) error {
	pair, err := ca.Issue(u.Subject)
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: %[1]s
clusters:
- name: %[1]s
  cluster: {server: %[2]q, certificate-authority-data: %[3]s}
users:
- name: %[4]s
  user: {client-certificate-data: %[5]s, client-key-data: %[6]s}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[4]q}
`, ContextName, Server(c), b64(ca.Cert), u.Name, b64(pair.Cert), b64(pair.Key))
	path := d.Kubeconfig()
	if u.file != "" {
		path = d.Join("pki", u.file+".kubeconfig")
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// writeConfigs renders the config files of programs; a restarted program reads them anew.
func writeConfigs(d state.Dir, c state.Config) error {
	for _, name := range []string{"scheduler.yaml", "kwok.yaml", "prometheus.yaml"} {
		if err := writeConfig(d, c, name); err != nil {
			return err
		}
	}
	return nil
}

func writeConfig(d state.Dir, c state.Config, name string) error {
	data, err := render(name, d, c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.Join("config", name), data, 0o600); err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	return nil
}

// render fills in one of the embedded files. Their actions stand in [[ ]]: kwok's own templates,
// which one of them holds, have {{ }}.
func render(name string, d state.Dir, c state.Config) ([]byte, error) {
	t, err := template.New(name).Delims("[[", "]]").Option("missingkey=error").Funcs(template.FuncMap{
		"file": func(elem ...string) string { return d.Join(elem...) },
		"upto": func(n int) []int {
			list := make([]int, n)
			for i := range list {
				list[i] = i
			}
			return list
		},
		"gpuNodes":  gpuNodes,
		"volumes":   func() int { return volumes },
		"promLocal": func() string { return hostPort(c, prometheus) },
		"promPort":  func() int { return PrometheusPort },
		"nodeIP":    func() string { return nodeIP(c) },
		"kubelet":   func() string { return KubeletAddress(c) },
		"exporters": exporterJobs,
		"local":     func(name string) string { return hostPort(c, name) },
		"port":      func(name string) int { return c.Ports[name] },
		"upstream":  state.Nameservers,
	}).ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, c); err != nil {
		return nil, fmt.Errorf("fill in %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// volumes is how many PersistentVolumes a sandbox has.
const volumes = 16

// simulatedNode is the annotation, and the taint, of simulated nodes.
const simulatedNode = "kwok.x-k8s.io/node=fake"

// MakeVolume makes the folder of a PersistentVolume, which pods of any user may write.
func MakeVolume(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil { //nolint:gosec // pods run as any user
		return fmt.Errorf("make volume folder: %w", err)
	}
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // the umask took rights away
		return fmt.Errorf("make volume folder: %w", err)
	}
	return nil
}
