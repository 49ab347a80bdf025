package diagnose

import (
	"slices"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Likelihood says how sure a cause is.
type Likelihood string

// The likelihoods, surest first. Certain is what the cluster itself says, or what follows from what it says.
const (
	Certain  Likelihood = "certain"
	Likely   Likelihood = "likely"
	Possible Likelihood = "possible"
)

// rank orders causes.
func (l Likelihood) rank() int { return slices.Index([]Likelihood{Certain, Likely, Possible}, l) }

// Diagnosis is the answer.
type Diagnosis struct {
	// Subject is the piece of work.
	Subject fleet.Ref `json:"subject"`
	// State is the work's: Pending, Running, Succeeded, Failed or Suspended.
	State string `json:"state"`
	// Brief says how the work stands, "pending for 5m"; Headline adds the first cause: the answer in one line.
	Brief    string `json:"brief"`
	Headline string `json:"headline"`
	// Causes are ordered by likelihood; none when all is well.
	Causes []Cause `json:"causes,omitempty"`
	// Unknown is what could not be looked at, and what is missing for it.
	Unknown []string `json:"unknown,omitempty"`
	// Nodes are all nodes as seen from a pod that waits; none when no pod waits for a node.
	Nodes []NodeFit `json:"nodes,omitempty"`
	// Created is when the work was.
	Created time.Time `json:"created,omitzero"`
}

// Cause is one reason why a piece of work waits or failed.
type Cause struct {
	// Code is one CamelCase word that stays the same between versions, such as QuotaExceeded.
	Code       string     `json:"code"`
	Title      string     `json:"title"`
	Likelihood Likelihood `json:"likelihood"`
	// Evidence are the facts that the cause follows from, messages of the cluster verbatim.
	Evidence []string `json:"evidence,omitempty"`
	Remedies []Remedy `json:"remedies,omitempty"`
}

// Remedy is what would cure a cause.
type Remedy struct {
	Text string `json:"text"`
	// Command does it; empty where the change is no single command.
	Command string `json:"command,omitempty"`
}

// NodeFit is a node as seen from a pod that waits for one.
type NodeFit struct {
	Node string `json:"node"`
	// Product is the model of its accelerators, empty when unknown.
	Product string `json:"product,omitempty"`
	// Total and Free count the accelerators that the pod asks for; Free is fleet.Unknown when nobody may say.
	Total int64 `json:"total"`
	Free  int64 `json:"free"`
	// Blockers are why the node does not take the pod; none says that it would.
	Blockers []Blocker `json:"blockers,omitempty"`
	// Holders are who has the node's accelerators, the largest first.
	Holders []Holder `json:"holders,omitempty"`
}

// Blocker is one reason why a node does not take a pod.
type Blocker struct {
	// Kind is one of the constants Block...
	Kind string `json:"kind"`
	Text string `json:"text"`
	// resource is what is lacking, taint the taint, for the kinds where there is one.
	resource, taint string
}

// Holder is a piece of work that holds accelerators of a node.
type Holder struct {
	// Name is kind/name of the pods' controller, Namespace is theirs.
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	GPUs      int64  `json:"gpus"`
	// Since is when its first pod there was bound.
	Since time.Time `json:"since"`
	// Busy is the mean utilisation of what it holds, 0..100; nil when no exporter tells.
	Busy *float64 `json:"busy,omitempty"`
	// Priority is that of its pods.
	Priority int32 `json:"priority,omitempty"`
	// pods are namespace/name of its pods there.
	pods []string
}

// cause begins a cause.
func cause(l Likelihood, code, title string) Cause {
	return Cause{Code: code, Title: title, Likelihood: l}
}

// because adds evidence; empty lines are left out.
func (c Cause) because(lines ...string) Cause {
	c.Evidence = slices.Clone(c.Evidence)
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" && !slices.Contains(c.Evidence, l) {
			c.Evidence = append(c.Evidence, l)
		}
	}
	return c
}

// cure adds a remedy.
func (c Cause) cure(text, command string) Cause { return c.cures(Remedy{text, command}) }

func (c Cause) cures(r ...Remedy) Cause {
	c.Remedies = append(slices.Clone(c.Remedies), r...)
	return c
}

// With has every command completed, such as with the flags by which the cluster and the namespace were chosen.
func (d Diagnosis) With(complete func(command string) string) Diagnosis {
	d.Causes = slices.Clone(d.Causes)
	for i := range d.Causes {
		d.Causes[i].Remedies = slices.Clone(d.Causes[i].Remedies)
		for j := range d.Causes[i].Remedies {
			if r := &d.Causes[i].Remedies[j]; r.Command != "" {
				r.Command = complete(r.Command)
			}
		}
	}
	return d
}

// First is the first cause, if there is one.
func (d Diagnosis) First() (Cause, bool) {
	if len(d.Causes) == 0 {
		return Cause{}, false
	}
	return d.Causes[0], true
}
