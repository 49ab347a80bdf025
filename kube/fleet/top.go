package fleet

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/fvbommel/sortorder"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// Idleness says which held accelerators are idle: those that were busy for less than Below percent of the time, as a
// mean over For, in pods that have held them for at least that long.
type Idleness struct {
	Below float64
	For   time.Duration
}

// WorkUsage is what a piece of work asks for, what it holds, and what it does with it.
type WorkUsage struct {
	Work *Work `json:"-"`
	// Target is the root owner.
	Target  Ref    `json:"target"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	Queue   string `json:"queue,omitempty"`
	Product string `json:"product,omitempty"`
	// GPUs is how many accelerators it asks for, Held how many its pods have now.
	GPUs int64 `json:"gpus"`
	Held int64 `json:"held"`
	// HeldSince is when the first of the pods that hold some now got them; nil when none does.
	HeldSince *time.Time `json:"heldSince,omitempty"`
	// GPUHours is how long these pods have held theirs, times how many.
	GPUHours float64 `json:"gpuHours"`
	// Idle is how many of those held are idle; nil when no exporter tells.
	Idle  *int64        `json:"idle,omitempty"`
	Usage metrics.Usage `json:"usage"`
	// Devices are those that its pods hold, where an exporter tells.
	Devices []metrics.Device `json:"devices,omitempty"`
}

// AllIdle says that everything it holds is idle.
func (u *WorkUsage) AllIdle() bool { return u.Idle != nil && *u.Idle > 0 && *u.Idle >= u.Held }

// WorkUsages are the usages of works that hold or ask for accelerators, those that have ended left out. What holds most
// comes first.
func WorkUsages(works []*Work, devices []metrics.Device, idle Idleness, now time.Time) []*WorkUsage {
	byPod := metrics.ByPod(devices)
	var out []*WorkUsage
	for _, w := range works {
		if w.Held == 0 && (w.Final() || w.GPUs == 0) {
			continue
		}
		u := &WorkUsage{
			Work: w, Target: w.Ref, State: w.State, Reason: w.Reason, By: w.By, Queue: w.Queue, Product: w.Product, GPUs: w.GPUs, Held: w.Held,
		}
		for _, p := range w.Pods {
			u.add(p, byPod[key(p.Namespace, p.Name)], idle, now)
		}
		u.Usage = metrics.UsageOf(u.Devices)
		out = append(out, u)
	}
	slices.SortStableFunc(out, func(a, b *WorkUsage) int { return cmp.Or(cmp.Compare(b.Held, a.Held), cmp.Compare(b.GPUs, a.GPUs)) })
	return out
}

// HeldBy is how many accelerators works hold together.
func HeldBy(works []*WorkUsage) int64 {
	var n int64
	for _, w := range works {
		n += w.Held
	}
	return n
}

// add takes a pod in.
func (u *WorkUsage) add(p *Pod, devices []metrics.Device, idle Idleness, now time.Time) {
	if !p.holding() {
		return
	}
	u.Devices = append(u.Devices, devices...)
	since := p.heldSince()
	if u.HeldSince == nil || since.Before(*u.HeldSince) {
		u.HeldSince = &since
	}
	held := now.Sub(since)
	u.GPUHours += float64(p.GPUs) * max(held, 0).Hours()
	for i := range devices {
		busy := devices[i].Mean
		if math.IsNaN(busy) {
			busy = devices[i].Busy
		}
		if math.IsNaN(busy) {
			continue
		}
		if u.Idle == nil {
			u.Idle = new(int64)
		}
		if busy < idle.Below && held >= idle.For {
			*u.Idle++
		}
	}
}

// holding says that accelerators are set aside for the pod on its node.
func (p *Pod) holding() bool { return p.GPUs > 0 && p.Node != "" && !p.Final() }

// heldSince is when the pod got its node, as well as that is known.
func (p *Pod) heldSince() time.Time {
	switch {
	case !p.Bound.IsZero():
		return p.Bound
	case p.Started != nil:
		return *p.Started
	}
	return p.Created
}

// Unread is why a resource could not be read; nil when it was.
func Unread(problems []Problem, resource string) error {
	for _, p := range problems {
		if p.Resource == resource {
			return p.Err
		}
	}
	return nil
}

// Owner is a way to tell whose a piece of work is.
type Owner string

// The ways to add works up.
const (
	ByUser      Owner = "user"
	ByNamespace Owner = "namespace"
	ByQueue     Owner = "queue"
	ByPipeline  Owner = "pipeline"
)

// Owners are all of them.
func Owners() []Owner { return []Owner{ByUser, ByNamespace, ByQueue, ByPipeline} }

// Of is the owner of a piece of work; empty when it has none of that sort. Who is not named by labels or annotations is
// known by the service account that the pods run as, or by the namespace.
func (o Owner) Of(w *Work) string {
	switch o {
	case ByNamespace:
		return w.Namespace
	case ByQueue:
		return w.Queue
	case ByPipeline:
		return w.Labels[kube.LabelPipeline]
	}
	if w.By != "" {
		return w.By
	}
	for _, p := range w.Pods {
		if p.Account != "" && p.Account != "default" {
			return "serviceaccount:" + key(w.Namespace, p.Account)
		}
	}
	return "namespace:" + w.Namespace
}

// OwnerUsage is what all works of one owner ask for, hold, and do with it.
type OwnerUsage struct {
	// Name is empty for works that have no such owner.
	Name string `json:"-"`
	// By says what Name is.
	By   Owner `json:"by"`
	GPUs int64 `json:"gpus"`
	Held int64 `json:"held"`
	// Works counts all of them, Waiting those that hold nothing.
	Works    int           `json:"works"`
	Waiting  int           `json:"waiting"`
	GPUHours float64       `json:"gpuHours"`
	Idle     *int64        `json:"idle,omitempty"`
	Usage    metrics.Usage `json:"usage"`

	devices []metrics.Device
}

// OwnerUsages adds works up. Who holds most comes first.
func OwnerUsages(works []*WorkUsage, by Owner) []*OwnerUsage {
	owners := map[string]*OwnerUsage{}
	var out []*OwnerUsage
	for _, w := range works {
		name := by.Of(w.Work)
		o := owners[name]
		if o == nil {
			o = &OwnerUsage{Name: name, By: by}
			owners[name] = o
			out = append(out, o)
		}
		o.add(w)
	}
	for _, o := range out {
		o.Usage = metrics.UsageOf(o.devices)
	}
	slices.SortFunc(out, func(a, b *OwnerUsage) int {
		return cmp.Or(cmp.Compare(b.Held, a.Held), cmp.Compare(b.GPUs, a.GPUs), sortorder.NaturalCompare(a.Name, b.Name))
	})
	return out
}

func (o *OwnerUsage) add(w *WorkUsage) {
	o.Works++
	o.GPUs += max(w.GPUs, 0)
	o.Held += w.Held
	o.GPUHours += w.GPUHours
	if w.Held == 0 {
		o.Waiting++
	}
	if w.Idle != nil {
		if o.Idle == nil {
			o.Idle = new(int64)
		}
		*o.Idle += *w.Idle
	}
	o.devices = append(o.devices, w.Devices...)
}
