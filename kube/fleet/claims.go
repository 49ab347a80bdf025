package fleet

import (
	"slices"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// claims are what ResourceClaims hold and ask for, by namespace/name, and templates for them likewise.
type claims struct {
	claims, templates map[string]map[string]int64 // devices by DRA driver
	// slices are the devices on each node, by DRA driver.
	slices map[string]map[string]int64
}

// fill gives each pod with claims the devices of these, in a copy.
func (cs claims) fill(pods []*Pod) []*Pod {
	if !slices.ContainsFunc(pods, func(p *Pod) bool { return len(p.claims) > 0 }) {
		return pods
	}
	out := make([]*Pod, len(pods))
	for i, p := range pods {
		if out[i] = p; len(p.claims) == 0 {
			continue
		}
		full := *p
		full.Resources = copied(p.Resources)
		for _, c := range p.claims {
			full.Resources = plus(full.Resources, cs.devices(p.Namespace, c), 1)
		}
		full.GPUs, full.Accelerator = job.Sum(full.Resources)
		out[i] = &full
	}
	return out
}

// devices are what one claim holds or asks for.
func (cs claims) devices(namespace string, c claimUse) map[string]int64 {
	if c.name != "" {
		if d, ok := cs.claims[key(namespace, c.name)]; ok {
			return d
		}
	}
	return cs.templates[key(namespace, c.template)]
}

// ask is a demand with the devices of its claims. A named claim is shared by all pods, and counts once.
func (cs claims) ask(namespace string, d demand) map[string]int64 {
	out := copied(d.resources)
	shared := map[string]bool{}
	for _, c := range d.claims {
		n := c.pods
		if c.template == "" {
			if n == 0 || shared[c.name] {
				continue
			}
			n, shared[c.name] = 1, true
		}
		out = plus(out, cs.devices(namespace, c), n)
	}
	return out
}

// sum adds up the accelerators of pods, and those of a claim that several share once.
type sum struct {
	claims    claims
	seen      map[string]bool
	resources map[string]int64
}

func newSum(cs claims) *sum { return &sum{claims: cs} }

func (s *sum) add(p *Pod) {
	s.resources = plus(s.resources, p.Resources, 1)
	for _, c := range p.claims {
		if c.name == "" {
			continue
		}
		if id := key(p.Namespace, c.name); !s.seen[id] {
			if s.seen == nil {
				s.seen = map[string]bool{}
			}
			s.seen[id] = true
			continue
		}
		for res, n := range s.claims.devices(p.Namespace, c) {
			s.resources[res] -= n
		}
	}
}
