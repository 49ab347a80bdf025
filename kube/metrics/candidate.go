package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// candidate is a place where a Prometheus may answer.
type candidate struct {
	where, why string
	// url is where it is reached directly; nil for a Service.
	url *url.URL
	// proxy is the path of a Service's port below the API server.
	proxy  string
	header http.Header
	// choice is how a Service is found again; nil for a URL.
	choice *Choice
}

// open makes a Source of a candidate. Nothing is asked yet.
func (t *candidate) open(c *client.Client, as Credentials) (*Source, error) {
	if err := as.check(); err != nil {
		return nil, err
	}
	ask := connection{where: t.where, header: as.header(t.url != nil)}
	for name, values := range t.header {
		if ask.header[name] == nil {
			ask.header[name] = values
		}
	}
	base, hc := t.url, &http.Client{}
	if base != nil {
		transport, err := as.transport()
		if err != nil {
			return nil, err
		}
		if transport != nil {
			hc.Transport = transport
		}
	}
	if base == nil {
		if c.HTTP == nil || c.Server == nil {
			return nil, errors.New("no connection to the API server")
		}
		under := *c.Server
		under.Path = strings.TrimSuffix(under.Path, "/") + t.proxy
		*hc = *c.HTTP
		base, ask.cluster = &under, c
	}
	// The credentials would go wherever the answer sends to.
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s, err := newSource(base, hc, ask)
	if err != nil {
		return nil, err
	}
	s.why, s.choice = t.why, t.choice
	return s, nil
}

// service is the candidate that is a port of a Service.
func service(namespace, name, scheme, port, root string) candidate {
	choice := &Choice{Namespace: namespace, Service: name, Scheme: scheme, Port: port, Path: root}
	if scheme != "" {
		scheme += ":"
	}
	return candidate{
		choice: choice,
		where:  namespace + "/" + name + ":" + port + root,
		proxy:  fmt.Sprintf("/api/v1/namespaces/%s/services/%s%s:%s/proxy%s", namespace, scheme, name, port, root),
	}
}

// ofPort is the candidate of a port of a Service that is there.
func ofPort(svc *corev1.Service, p *corev1.ServicePort, root string) candidate {
	scheme := ""
	if p.Port == 443 || strings.Contains(p.Name, "https") || p.AppProtocol != nil && strings.Contains(*p.AppProtocol, "https") {
		scheme = "https"
	}
	return service(svc.Namespace, svc.Name, scheme, strconv.Itoa(int(p.Port)), root)
}

// candidates are the ports of the Services that look like a Prometheus, the best first: by rule, the usual namespaces
// before the user's own and that before others. Second ports come after all first ones.
func candidates(services []corev1.Service, own string) []candidate {
	type ranked struct {
		candidate
		port, rule, namespace int
	}
	var list []ranked
	known, usual := rules(), append(namespaces(), own)
	for i := range services {
		svc := &services[i]
		r := slices.IndexFunc(known, func(r rule) bool { return r.matches(svc) })
		if r < 0 || svc.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		namespace := slices.Index(usual, svc.Namespace)
		if namespace < 0 {
			namespace = len(usual)
		}
		root := known[r].path
		if p := svc.Annotations[PathAnnotation]; r == 0 && p != "" {
			root = below(p)
		}
		for n, p := range known[r].choose(svc.Spec.Ports) {
			t := ofPort(svc, &p, root)
			t.why, t.header = known[r].String(), known[r].header
			t.choice.Why, t.choice.Tenant = t.why, known[r].header.Get(tenantHeader)
			list = append(list, ranked{t, n, r, namespace})
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.rule, b.rule), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.where, b.where))
	})
	out := make([]candidate, len(list))
	for i := range list {
		out[i] = list[i].candidate
	}
	return out
}

func (r *rule) matches(svc *corev1.Service) bool {
	for key, value := range r.labels {
		if svc.Labels[key] != value {
			return false
		}
	}
	return true
}

// choose gives the first of the ports that the rule knows, or else all.
func (r *rule) choose(ports []corev1.ServicePort) []corev1.ServicePort {
	ports = slices.DeleteFunc(slices.Clone(ports), func(p corev1.ServicePort) bool {
		return p.Protocol != "" && p.Protocol != corev1.ProtocolTCP
	})
	for _, want := range r.ports {
		if i := slices.IndexFunc(ports, func(p corev1.ServicePort) bool { return p.Port == want }); i >= 0 {
			return ports[i : i+1]
		}
	}
	return ports
}

// below is a path that leads nowhere but below the root of a server.
func below(p string) string { return strings.TrimSuffix(path.Clean("/"+p), "/") }

// explicit makes candidates of what a user named.
func explicit(ctx context.Context, c *client.Client, name string) ([]candidate, error) {
	const why = "--prometheus"
	wrong := &client.Error{
		What: fmt.Sprintf("%q names no Prometheus", redacted(name)),
		Hint: "give a URL, such as http://localhost:9090, or a Service as NAMESPACE/SERVICE[:PORT][/PATH]",
	}
	if strings.Contains(name, "://") {
		u, err := url.Parse(name)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, wrong
		}
		u.RawQuery, u.Fragment = "", ""
		return []candidate{{where: u.Redacted(), why: why, url: u}}, nil
	}
	namespace, rest, _ := strings.Cut(name, "/")
	rest, root, _ := strings.Cut(rest, "/")
	root = below(root)
	svc, port, hasPort := strings.Cut(rest, ":")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(svc)) > 0 || hasPort && port == "" || strings.ContainsAny(port, ":%") {
		return nil, wrong
	}
	if hasPort {
		t := service(namespace, svc, "", port, root)
		if port == "443" || strings.Contains(port, "https") {
			t = service(namespace, svc, "https", port, root)
		}
		t.why = why
		return []candidate{t}, nil
	}
	list, err := portsOf(ctx, c, namespace, svc, root)
	for i := range list {
		list[i].why = why
	}
	return list, err
}

// portsOf are the ports of a Service that was named without one; who may not look at it has the usual ones tried.
func portsOf(ctx context.Context, c *client.Client, namespace, name, root string) ([]candidate, error) {
	svc, err := c.Kube.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	usual := rule{ports: []int32{9090, 80}}
	var list []candidate
	switch {
	case apierrors.IsForbidden(err):
		for _, port := range usual.ports {
			list = append(list, service(namespace, name, "", strconv.Itoa(int(port)), root))
		}
		return list, nil
	case err != nil:
		return nil, c.Explain("find Prometheus "+namespace+"/"+name, err)
	}
	for _, p := range usual.choose(svc.Spec.Ports) {
		list = append(list, ofPort(svc, &p, root))
	}
	if len(list) == 0 {
		return nil, &client.Error{Doing: "find Prometheus " + namespace + "/" + name, What: "the Service has no TCP port"}
	}
	return list, nil
}

// redacted hides what may be a password.
func redacted(name string) string {
	if i, j := strings.Index(name, "://"), strings.LastIndex(name, "@"); i >= 0 && j > i {
		return name[:i+3] + "xxxxx" + name[j:]
	}
	return name
}
