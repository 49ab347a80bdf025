package diagnose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Options say what is looked at beside the cluster's own objects.
type Options struct {
	// Busy asks how busy accelerators are that others hold: the mean utilisation in percent of the devices of each pod, by
	// namespace/name. nil asks nobody.
	Busy func(context.Context) (map[string]float64, error)
	// Now is the clock.
	Now func() time.Time
}

// Why diagnoses what a person means: a piece of work, by anything that fleet.Find takes, a stage of a run that has no Job
// (yet), a run, or cronjob/NAME.
func Why(ctx context.Context, c *client.Client, arg string, o Options) (Diagnosis, error) {
	if name, ok := cronName(arg); ok {
		return whyCron(ctx, c, name, o)
	}
	g := newGatherer(c, c.Namespace, o)
	s, err := g.first(ctx)
	if err != nil {
		g.bind(nil)
		return Diagnosis{}, err
	}
	found, err := fleet.Find(s.Works, arg)
	d, w := g.ofStage(ctx, s.Works, arg, found)
	switch {
	case d.Subject.Kind != "":
		g.bind(nil)
		return d, nil
	case w == nil:
		g.bind(nil)
		return Diagnosis{}, g.orUnseen(err, s.Problems)
	}
	e := g.evidence(ctx, []*fleet.Work{w})
	return Diagnose(e[0]), nil
}

// most bounds how many works All looks into; it says so when there are more.
const most = 100

// All diagnoses each piece of work that waits or failed, in a namespace or in all of them when it is empty, the newest
// first. The number of requests does not grow with the number of works. The second result is what could not be looked at
// for any of them.
func All(ctx context.Context, c *client.Client, namespace string, o Options) ([]Diagnosis, []string, error) {
	g := newGatherer(c, namespace, o)
	s, err := g.first(ctx)
	if err != nil {
		g.bind(nil)
		return nil, nil, err
	}
	for _, p := range s.Problems {
		g.failed(p.Resource, p.Err)
	}
	works := slices.DeleteFunc(slices.Clone(s.Works), func(w *fleet.Work) bool { return !troubled(w) })
	slices.SortStableFunc(works, func(a, b *fleet.Work) int { return b.Created.Compare(a.Created) })
	if len(works) > most {
		g.unknown(fmt.Sprintf("%d older ones: only the newest %d are looked into", len(works)-most, most))
		works = works[:most]
	}
	var out []Diagnosis
	for _, e := range g.evidence(ctx, works) {
		d := Diagnose(e)
		d.Unknown, d.Nodes = nil, nil // the same for all of them, and 200 nodes for each
		out = append(out, d)
	}
	return out, g.unknowns(), nil
}

// troubled says whether a piece of work waits, failed, or runs with a part that does.
func troubled(w *fleet.Work) bool {
	switch w.State {
	case job.Succeeded:
		return false
	case job.Running:
		return w.Reason != "" || w.Want > 0 && w.Ready < w.Want && len(w.Pods) > 0 && slices.ContainsFunc(w.Pods, func(p *fleet.Pod) bool { return p.State == job.Pending || p.Reason != "" })
	case job.Suspended:
		return w.Reason != "ScaledToZero"
	}
	return true
}

// gatherer collects evidence: once what all works share, then what some need.
type gatherer struct {
	c *client.Client
	// ns is where works are looked for, empty for all namespaces.
	ns  string
	o   Options
	now time.Time

	mu      sync.Mutex
	missing []string
	// nodes, quotas and limits are shared; bound are the pods with a node that have not ended, in ns.
	cluster *Cluster
	quotas  []corev1.ResourceQuota
	limits  []corev1.LimitRange
	bound   map[string]*corev1.Pod // by UID
	// groups are the API groups that the server has, with their versions, the preferred first; nil when unknown.
	groups map[string][]string
	// binding ends when all pods with a node are bound; only what has not ended waits for it.
	binding sync.WaitGroup
	unbind  context.CancelFunc
	pods    []corev1.Pod
	podsErr error
}

func newGatherer(c *client.Client, namespace string, o Options) *gatherer {
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	return &gatherer{c: c, ns: namespace, o: o, now: now(), bound: map[string]*corev1.Pod{}, unbind: func() {}}
}

// unknown notes what could not be looked at.
func (g *gatherer) unknown(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.missing, text) {
		g.missing = append(g.missing, text)
	}
}

// minor notes what could not be looked at and matters only where nothing else explains the wait.
func (g *gatherer) minor(e *Evidence, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.minor = append(e.minor, text)
}

func (g *gatherer) unknowns() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := slices.Clone(g.missing)
	slices.Sort(out)
	return out
}

// failed notes an error on the way to something; what is not there is no error. It says whether there was one.
func (g *gatherer) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return true
	}
	g.unknown(what + ": " + g.said(err))
	return true
}

// said is an error in one line, without what was being done.
func (g *gatherer) said(err error) string {
	var e *client.Error
	if errors.As(g.c.Explain("", err), &e) {
		return e.What
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// evidence gathers what the works need, in the same order. What one kind of work needs is asked for all of them at once.
func (g *gatherer) evidence(ctx context.Context, works []*fleet.Work) []*Evidence {
	g.bind(works)
	defer g.unbind()
	out := make([]*Evidence, len(works))
	for i, w := range works {
		out[i] = &Evidence{
			Now: g.now, Work: w, Cluster: g.cluster, Limits: inNamespace(g.limits, w.Namespace), Quotas: inNamespace(g.quotas, w.Namespace),
			Claims: map[string]Claim{}, Exists: map[string]bool{},
		}
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { g.readPods(ctx, out) })
	tasks.Go(func() { g.readRoots(ctx, out) })
	tasks.Wait()
	for _, read := range []func(context.Context, []*Evidence){g.readEvents, g.readClaims, g.readReferences, g.readKueue, g.readGangs, g.readLogs} {
		tasks.Go(func() { read(ctx, out) })
	}
	tasks.Wait()
	g.readBusy(ctx, out)
	for _, e := range out {
		e.Unknown = g.unknowns()
	}
	return out
}

// inNamespace keeps the objects of one namespace.
func inNamespace[T any, P interface {
	*T
	GetNamespace() string
}](list []T, ns string) []T {
	var out []T
	for i := range list {
		if P(&list[i]).GetNamespace() == ns {
			out = append(out, list[i])
		}
	}
	return out
}

// readBusy asks how busy the accelerators are that a waiting work could use, where others hold them.
func (g *gatherer) readBusy(ctx context.Context, list []*Evidence) {
	if g.o.Busy == nil || !slices.ContainsFunc(list, (*Evidence).waitsForHolders) {
		return
	}
	busy, err := g.o.Busy(ctx)
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		g.unknown("how busy the accelerators are that others hold: " + text)
	}
	g.cluster.Busy = busy
}

// waitsForHolders says whether a pod waits for accelerators that others hold.
func (e *Evidence) waitsForHolders() bool {
	return e.Cluster != nil && slices.ContainsFunc(e.schedulable(), func(p *corev1.Pod) bool {
		a := compute(e.Cluster, &p.Spec, e.volumes(&p.Spec))
		_, kind, ok := e.shortage(&a)
		return ok && kind == BlockTaken && a.gpu != ""
	})
}
