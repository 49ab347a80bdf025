package cluster

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/build"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/node"
	"github.com/kubectl-ml/kubectl-ml/cmd/sandbox/proc"
)

// Phases of a sandbox.
const (
	Stopped  = "stopped"  // nothing is there
	Running  = "running"  // all programs run and the API server is ready
	Degraded = "degraded" // something of it is missing: `sandbox up` brings it back
)

// Status is what `sandbox status -o json` prints.
type Status struct {
	State      string           `json:"state"`
	Phase      string           `json:"phase"`
	Created    *time.Time       `json:"created,omitempty"`
	Kubeconfig string           `json:"kubeconfig,omitempty"`
	Context    string           `json:"context,omitempty"`
	Server     string           `json:"server,omitempty"`
	Version    string           `json:"version"`
	Kubectl    string           `json:"kubectl,omitempty"` // path of a kubectl of the same version
	Prometheus PrometheusStatus `json:"prometheus"`
	Nodes      NodesStatus      `json:"nodes"`
	Network    NetworkStatus    `json:"network"`
	With       []string         `json:"with,omitempty"` // controllers besides those of Kubernetes
	Images     []string         `json:"images"`         // on the real node
	WhilePID   int              `json:"whilePID,omitempty"`
	Programs   []ProgramStatus  `json:"programs"`
}

// PrometheusStatus says how to reach Prometheus.
type PrometheusStatus struct {
	URL     string `json:"url,omitempty"`     // from this machine
	Service string `json:"service,omitempty"` // NAMESPACE/NAME:PORT, for the API server's service proxy
	Reason  string `json:"reason,omitempty"`  // why there is no service
}

// NodesStatus counts the nodes.
type NodesStatus struct {
	Simulated int    `json:"simulated"`
	Real      string `json:"real,omitempty"`
	Reason    string `json:"reason,omitempty"` // why there is no real node
}

// NetworkStatus names the sandbox's networks.
type NetworkStatus struct {
	Services string `json:"services,omitempty"`
	Pods     string `json:"pods,omitempty"`
	Address  string `json:"address,omitempty"` // the API server's, as pods see it
}

// ProgramStatus is one program of the sandbox.
type ProgramStatus struct {
	Name    string `json:"name"`
	PID     int    `json:"pid,omitempty"`
	Running bool   `json:"running"`
	Log     string `json:"log"`
}

// Status looks at the sandbox and changes nothing.
func (s *Sandbox) Status(ctx context.Context) (Status, error) {
	st := Status{
		State: string(s.Dir), Phase: Stopped, Version: build.KubernetesVersion,
		Images: []string{}, Programs: []ProgramStatus{},
	}
	if _, err := os.Stat(s.Cache.Path("kubectl")); err == nil {
		st.Kubectl = s.Cache.Path("kubectl")
	}
	c, err := s.Dir.Load()
	if errors.Is(err, os.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	st.Created, st.Kubeconfig, st.Context, st.Server = &c.Created, s.Dir.Kubeconfig(), ContextName, Server(c)
	st.Prometheus.URL = PrometheusURL(c)
	st.Prometheus.Service, st.Prometheus.Reason = PrometheusService(c)
	st.Nodes = NodesStatus{Simulated: c.GPUNodes, Reason: c.NoRealNode}
	st.Network = NetworkStatus{Services: c.ServiceCIDR, Pods: c.PodCIDR, Address: c.Address}
	st.With = c.With
	st.Images = append(st.Images, c.Images...)
	st.WhilePID = c.WhilePID.PID
	if c.RealNode {
		st.Nodes.Real = node.Name
	}
	st.Phase = Running
	if !c.Ready {
		st.Phase = Degraded
	}
	for _, p := range s.programs(c) {
		id, err := proc.ReadFile(s.Dir.PIDFile(p.Name))
		if err != nil {
			return st, err
		}
		ps := ProgramStatus{Name: p.Name, Running: id.Alive(), Log: s.Dir.LogFile(p.Name)}
		if ps.Running {
			ps.PID = id.PID
		} else {
			st.Phase = Degraded
		}
		st.Programs = append(st.Programs, ps)
	}
	if st.Phase == Running {
		client, err := healthClient(s.Dir)
		if err != nil {
			return st, err
		}
		if healthy(ctx, client, Server(c)+"/readyz") != nil {
			st.Phase = Degraded
		}
	}
	return st, nil
}
