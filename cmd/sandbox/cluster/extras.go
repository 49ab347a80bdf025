package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/pki"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// extra is a program beyond the control plane, which only some sandboxes have.
type extra struct {
	name   string
	user   *pki.Subject // whose kubeconfig it has; nil for none
	config string       // name of its config file, an embedded one; "" for none
	flags  func(d state.Dir, c state.Config) []string
	ready  string // path that answers 200 at the port of its name
	// A controller that is installed: it comes with objects, and serves webhooks at the port NAME-webhook.
	controller bool
	// A store of artifacts, for tests: it knows nothing of the cluster and keeps what it is given in a folder of its name.
	store bool
}

// Credentials of the S3 server (package kubetest repeats them).
const (
	S3AccessKey = "sandbox"
	S3SecretKey = "sandbox-secret"
)

func extras() []extra {
	controller := func(name string) extra {
		return extra{
			name: name, user: &pki.Subject{Name: name, Groups: []string{"system:masters"}}, config: name + ".yaml",
			flags: func(d state.Dir, _ state.Config) []string {
				return []string{"--config=" + d.Join("config", name+".yaml"), "--kubeconfig=" + d.Join("pki", name+".kubeconfig")}
			},
			ready: "/readyz", controller: true,
		}
	}
	return []extra{
		{
			name: coredns, user: &pki.Subject{Name: coredns}, // reads services and their endpoints: manifests/base.yaml
			config: "Corefile", ready: "/ready",
			flags: func(d state.Dir, _ state.Config) []string { return []string{"-conf", d.Join("config", "Corefile")} },
		},
		controller("jobset"), controller("kueue"),
		{
			name: "registry", store: true, config: "registry.yaml", ready: "/",
			flags: func(d state.Dir, _ state.Config) []string {
				return []string{"serve", d.Join("config", "registry.yaml")}
			},
		},
		{
			name: "s3", store: true, ready: "/health", // a bucket is a folder; what belongs to an object stands beside, not in xattrs
			flags: func(d state.Dir, c state.Config) []string {
				return []string{
					"--quiet", "--port", hostPort(c, "s3"), "--health", "/health", "--access", S3AccessKey, "--secret", S3SecretKey,
					"posix", "--sidecar", d.Join("s3", "meta"), d.Join("s3", "buckets"),
				}
			},
		},
	}
}

// Additions names what a sandbox can have besides Kubernetes.
func Additions() []string {
	var names []string
	for _, e := range extras() {
		if e.controller || e.store {
			names = append(names, e.name)
		}
	}
	return names
}

// extrasOf lists the extras of this sandbox, in the order in which they start.
func extrasOf(c state.Config) []extra {
	var list []extra
	for _, e := range extras() {
		if slices.Contains(c.With, e.name) || (e.name == coredns && c.RealNode) {
			list = append(list, e)
		}
	}
	return list
}

func (e extra) program(d state.Dir, c state.Config) Program {
	return Program{
		Name: e.name, Health: "http://" + hostPort(c, e.name) + e.ready,
		Args: e.flags(d, c),
	}
}

func (e extra) ports() []string {
	if e.controller {
		return []string{e.name, e.name + "-webhook"}
	}
	return []string{e.name}
}

// hostPrograms lists the programs of a sandbox that run beside the cluster.
func hostPrograms(d state.Dir, c state.Config) []Program {
	list := controlPlane(d, c)
	for _, e := range extrasOf(c) {
		list = append(list, e.program(d, c))
	}
	return list
}

// startExtras starts the extras that do not run, each with all it needs.
func (s *Sandbox) startExtras(ctx context.Context, c *state.Config, a *api, client *http.Client) error {
	for _, e := range extrasOf(*c) {
		var objects, webhooks []*unstructured.Unstructured
		id, err := proc.ReadFile(s.Dir.PIDFile(e.name))
		if err != nil {
			return err
		}
		if err := s.provide(c, e); err != nil {
			return err
		}
		if e.controller {
			if objects, webhooks, err = s.installed(*c, e); err != nil {
				return err
			}
		}
		if e.controller && !id.Alive() { // else it found its definitions: large ones, which take a moment
			if err := s.Progress.Do(ctx, "install "+e.name, func(ctx context.Context) error { return a.install(ctx, objects) }); err != nil {
				return err
			}
		}
		if err := s.startWait(ctx, client, e.program(s.Dir, *c)); err != nil {
			return err
		}
		// The webhooks come last: without their server nobody could make a pod.
		if err := a.applyAll(ctx, webhooks); err != nil {
			return err
		}
	}
	return nil
}

// install applies objects and waits until the server takes objects of the kinds that they define.
func (a *api) install(ctx context.Context, objects []*unstructured.Unstructured) error {
	if err := a.applyAll(ctx, objects); err != nil {
		return err
	}
	for _, obj := range objects {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		definitions, err := a.of(obj.GetKind(), "")
		if err != nil {
			return err
		}
		err = a.wait(ctx, "the definition "+obj.GetName(), func(ctx context.Context) (bool, error) {
			now, err := definitions.Get(ctx, obj.GetName(), metav1.GetOptions{})
			return err == nil && condition(now, "Established"), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// provide makes the ports and files of an extra that are not there yet: a running sandbox may be
// given another one.
func (s *Sandbox) provide(c *state.Config, e extra) error {
	missing := slices.DeleteFunc(e.ports(), func(name string) bool { return c.Ports[name] != 0 })
	ports, err := state.FreePorts(missing...)
	if err != nil {
		return err
	}
	for name, port := range ports {
		c.Ports[name] = port
	}
	if err := s.Dir.Save(*c); err != nil {
		return err
	}
	if e.store {
		for _, folder := range []string{"buckets", "meta"} {
			if err := os.MkdirAll(s.Dir.Join(e.name, folder), 0o700); err != nil {
				return fmt.Errorf("make the folder of %s: %w", e.name, err)
			}
		}
	}
	if _, err := os.Stat(s.Dir.Join("pki", e.name+".kubeconfig")); err != nil && e.user != nil {
		ca, err := pki.ReadAuthority(s.Dir.Join("pki"), "ca", s.Now())
		if err != nil {
			return err
		}
		if err := writeKubeconfig(s.Dir, *c, ca, user{e.name, *e.user}); err != nil {
			return err
		}
		if err := writeServing(s.Dir, ca); err != nil {
			return err
		}
	}
	if e.config == "" {
		return nil
	}
	return writeConfig(s.Dir, *c, e.config)
}

// writeServing writes the certificate of webhooks under the names that controllers look for.
func writeServing(d state.Dir, ca *pki.Authority) error {
	pair, err := ca.Issue(pki.Subject{Name: "webhooks", Hosts: []string{state.Loopback}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Join("pki", "webhooks"), 0o700); err != nil {
		return fmt.Errorf("make the folder of certificates: %w", err)
	}
	return pair.Write(d.Join("pki", "webhooks"), "tls")
}

// installed reads what the controller's release installs in a cluster: what is to be there before
// the program, and its webhooks, which here are served on this machine.
func (s *Sandbox) installed(c state.Config, e extra) (objects, webhooks []*unstructured.Unstructured, err error) {
	data, err := os.ReadFile(s.Cache.InstallFile(e.name))
	if err != nil {
		return nil, nil, fmt.Errorf("read what %s installs: %w", e.name, err)
	}
	ca, err := os.ReadFile(s.Dir.Join("pki", "ca.crt"))
	if err != nil {
		return nil, nil, fmt.Errorf("read the sandbox's authority: %w", err)
	}
	all, err := decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read what %s installs: %w", e.name, err)
	}
	for _, obj := range all {
		switch obj.GetKind() {
		case "Namespace", "CustomResourceDefinition", "ClusterRole":
			objects = append(objects, obj)
		case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			if err := serveLocally(obj, hostPort(c, e.name+"-webhook"), ca); err != nil {
				return nil, nil, fmt.Errorf("webhooks of %s: %w", e.name, err)
			}
			webhooks = append(webhooks, obj)
		}
	}
	if len(objects) == 0 || len(webhooks) == 0 {
		return nil, nil, fmt.Errorf("%s holds no definitions or no webhooks", s.Cache.InstallFile(e.name))
	}
	return objects, webhooks, nil
}

// serveLocally makes a configuration's webhooks lead to a server on this machine instead of to a Service.
func serveLocally(obj *unstructured.Unstructured, hostPort string, ca []byte) error {
	list, _, err := unstructured.NestedSlice(obj.Object, "webhooks")
	if err != nil {
		return err
	}
	for _, item := range list {
		webhook, _ := item.(map[string]any)
		path, found, err := unstructured.NestedString(webhook, "clientConfig", "service", "path")
		if err != nil || !found {
			return errors.Join(errors.New("a webhook without a path"), err)
		}
		webhook["clientConfig"] = map[string]any{
			"url": "https://" + hostPort + path, "caBundle": base64.StdEncoding.EncodeToString(ca),
		}
	}
	return unstructured.SetNestedSlice(obj.Object, list, "webhooks")
}

// decode reads the objects of a manifest.
func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var list []*unstructured.Unstructured
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096); ; {
		obj := &unstructured.Unstructured{}
		switch err := dec.Decode(&obj.Object); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		case len(obj.Object) > 0:
			list = append(list, obj)
		}
	}
}

// With adds to what a sandbox has of Additions.
func With(have, add []string) ([]string, error) {
	for _, name := range add {
		if !slices.Contains(Additions(), name) {
			return nil, fmt.Errorf("--with %s: give some of %s", name, strings.Join(Additions(), ","))
		}
	}
	all := append(slices.Clone(have), add...)
	slices.Sort(all)
	return slices.Compact(all), nil
}
