package cluster

import (
	"fmt"
	"net"
	"strconv"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/state"
)

// Names of programs; the ports and the files of each carry its name.
const (
	etcd              = "etcd"
	etcdPeer          = "etcd-peer"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	kwok              = "kwok"
	prometheus        = "prometheus"
	supervisor        = "supervisor"
	containerd        = "containerd"
	kubelet           = "kubelet"
	kubeletHealth     = "kubelet-health"
	coredns           = "coredns"
)

// simulatedPods is where pods on simulated nodes seem to be: addresses set aside for benchmarks,
// which lead nowhere.
const simulatedPods = "198.18.0.0/15"

// PrometheusPort is the port of Prometheus at the sandbox's own address.
const PrometheusPort = 9090

// Program is one program of a sandbox: what it is called with and how it shows that it works.
type Program struct {
	Name   string
	Path   string // other than that of the program of this name in the cache
	Args   []string
	Health string // an URL that answers 200, or a unix socket that takes connections, when the program works
}

func portNames() []string {
	return []string{etcd, etcdPeer, apiServer, controllerManager, scheduler, kwok, prometheus, supervisor, kubelet, kubeletHealth}
}

func hostPort(c state.Config, name string) string {
	return net.JoinHostPort(state.Loopback, strconv.Itoa(c.Ports[name]))
}

func httpsURL(c state.Config, name string) string { return "https://" + hostPort(c, name) }

// etcdProgram runs without fsync: what a sandbox holds need not outlive the machine's power.
func etcdProgram(d state.Dir, c state.Config) Program {
	client, peer := httpsURL(c, etcd), httpsURL(c, etcdPeer)
	cert, key, ca := d.Join("pki", "etcd.crt"), d.Join("pki", "etcd.key"), d.Join("pki", "ca.crt")
	return Program{Name: etcd, Health: client + "/health", Args: []string{
		"--name=sandbox", "--data-dir=" + d.Join("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=sandbox=" + peer,
		"--client-cert-auth", "--trusted-ca-file=" + ca, "--cert-file=" + cert, "--key-file=" + key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + ca, "--peer-cert-file=" + cert, "--peer-key-file=" + key,
	}}
}

func apiServerProgram(d state.Dir, c state.Config) Program {
	pki := func(name string) string { return d.Join("pki", name) }
	return Program{Name: apiServer, Health: httpsURL(c, apiServer) + "/readyz", Args: []string{
		"--etcd-servers=" + httpsURL(c, etcd), "--etcd-cafile=" + pki("ca.crt"),
		"--etcd-certfile=" + pki("etcd.crt"), "--etcd-keyfile=" + pki("etcd.key"),
		"--bind-address=" + state.Loopback, "--secure-port=" + strconv.Itoa(c.Ports[apiServer]),
		"--advertise-address=" + c.Address,
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--service-account-key-file=" + pki("service-account.crt"), "--service-account-signing-key-file=" + pki("service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + c.ServiceCIDR, "--allow-privileged",
		"--kubelet-certificate-authority=" + pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
		"--max-requests-inflight=1000", "--max-mutating-requests-inflight=500", "--profiling=false",
	}}
}

func controllerManagerProgram(d state.Dir, c state.Config) Program {
	return Program{Name: controllerManager, Health: httpsURL(c, controllerManager) + "/healthz", Args: []string{
		"--kubeconfig=" + d.Join("pki", "controller-manager.kubeconfig"),
		"--bind-address=" + state.Loopback, "--secure-port=" + strconv.Itoa(c.Ports[controllerManager]),
		"--tls-cert-file=" + d.Join("pki", "local.crt"), "--tls-private-key-file=" + d.Join("pki", "local.key"),
		"--service-account-private-key-file=" + d.Join("pki", "service-account.key"), "--root-ca-file=" + d.Join("pki", "ca.crt"),
		"--use-service-account-credentials", "--leader-elect=false", "--profiling=false",
		// At the defaults thousands of Jobs take many minutes.
		"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-job-syncs=20", "--concurrent-gc-syncs=20",
	}}
}

func schedulerProgram(d state.Dir, c state.Config) Program {
	return Program{Name: scheduler, Health: httpsURL(c, scheduler) + "/healthz", Args: []string{
		"--config=" + d.Join("config", "scheduler.yaml"),
		"--bind-address=" + state.Loopback, "--secure-port=" + strconv.Itoa(c.Ports[scheduler]),
		"--tls-cert-file=" + d.Join("pki", "local.crt"), "--tls-private-key-file=" + d.Join("pki", "local.key"),
	}}
}

func kwokProgram(d state.Dir, c state.Config) Program {
	return Program{Name: kwok, Health: "http://" + hostPort(c, kwok) + "/healthz", Args: []string{
		"--kubeconfig=" + d.Join("pki", "kwok.kubeconfig"), "--config=" + d.Join("config", "kwok.yaml"),
		"--server-address=" + hostPort(c, kwok), "--cidr=" + simulatedPods,
		"--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=" + simulatedNode,
		"--node-ip=" + nodeIP(c), "--node-port=" + strconv.Itoa(c.Ports[supervisor]), // the supervisor answers for their kubelets
		"--node-lease-duration-seconds=40",
	}}
}

func prometheusProgram(d state.Dir, c state.Config) Program {
	return Program{Name: prometheus, Health: "http://" + hostPort(c, prometheus) + "/-/ready", Args: []string{
		"--config.file=" + d.Join("config", "prometheus.yaml"), "--storage.tsdb.path=" + d.Join("prometheus"),
		"--web.listen-address=" + hostPort(c, prometheus), "--storage.tsdb.retention.time=2d", "--log.level=warn",
	}}
}

func supervisorProgram(d state.Dir, c state.Config) Program {
	return Program{Name: supervisor, Health: "https://" + KubeletAddress(c) + "/healthz", Args: []string{"supervise", "--state", string(d)}}
}

// controlPlane lists the programs of a sandbox in the order in which they start: everybody speaks to
// the API server, and that one to etcd.
func controlPlane(d state.Dir, c state.Config) []Program {
	return []Program{
		etcdProgram(d, c), apiServerProgram(d, c),
		controllerManagerProgram(d, c), schedulerProgram(d, c), kwokProgram(d, c), prometheusProgram(d, c), supervisorProgram(d, c),
	}
}

// nodeIP is the address of the simulated nodes, where the API server finds their kubelets.
func nodeIP(c state.Config) string {
	if c.OnLoopback {
		return c.Address
	}
	return state.Loopback
}

// PrometheusURL is where this machine reaches Prometheus.
func PrometheusURL(c state.Config) string { return "http://" + hostPort(c, prometheus) }

// Server is where this machine reaches the API server.
func Server(c state.Config) string { return httpsURL(c, apiServer) }

// PrometheusService names the Service of Prometheus, or says why there is none.
func PrometheusService(c state.Config) (name, reason string) {
	if c.OnLoopback {
		return "monitoring/prometheus-server:80", ""
	}
	return "", fmt.Sprintf("no address for the service: only root can put one on the loopback interface; use %s", PrometheusURL(c))
}

// Forward is a connection that the supervisor carries on.
type Forward struct{ From, To string }

// Forwards lists what is reached at the sandbox's own address.
func Forwards(c state.Config) []Forward {
	at := func(port int) string { return net.JoinHostPort(c.Address, strconv.Itoa(port)) }
	return []Forward{{at(443), hostPort(c, apiServer)}, {at(PrometheusPort), hostPort(c, prometheus)}}
}

// KubeletAddress is where the API server asks for logs of simulated pods.
func KubeletAddress(c state.Config) string {
	return net.JoinHostPort(nodeIP(c), strconv.Itoa(c.Ports[supervisor]))
}
