package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// rule finds causes of one sort; most of the time there are none.
type rule func(*Evidence) []Cause

// waiting are the rules for work that has not started, in the order in which their causes are told when they are equally
// likely: from what keeps pods from being made to what keeps their containers from running.
var waiting = []rule{
	cronRule, kueueRule, heldRule, refusedRule, quotaRule, gangRule, volumesRule, nodesRule, schedulerRule,
	configRule, imageRule, startRule, autoscalerRule,
}

// failed are the rules for work that failed, or fails and is tried again: limits and losses from outside, then what the
// program did.
var failed = []rule{
	deadlineRule, lossRule, goneRule, oomRule, logRule, probeRule, refusedRule, imageRule, configRule, policyRule, deletedRule, readinessRule,
}

// ends are asked only when those have found nothing sure.
var ends = []rule{exitRule, rootRule}

// Diagnose makes a diagnosis of evidence. It asks nobody.
func Diagnose(e *Evidence) Diagnosis {
	d := Diagnosis{Subject: e.Work.Ref, State: e.Work.State, Unknown: slices.Clone(e.Unknown), Created: e.Work.Created}
	if d.State != job.Succeeded {
		if e.waits() {
			d.Causes = e.apply(d.Causes, waiting)
			d.Nodes = e.nodes()
		}
		if e.fails() {
			before := len(d.Causes)
			d.Causes = e.apply(d.Causes, failed)
			if !slices.ContainsFunc(d.Causes[before:], func(c Cause) bool { return c.Likelihood != Possible }) {
				d.Causes = e.apply(d.Causes, ends)
			}
			e.conclude(d.Causes[before:])
			d.Causes = e.apply(d.Causes, []rule{backoffRule})
		}
		slices.SortStableFunc(d.Causes, func(a, b Cause) int { return cmp.Compare(a.Likelihood.rank(), b.Likelihood.rank()) })
		if len(d.Causes) == 0 {
			d.Causes = e.unexplained()
		}
	}
	if c, ok := d.First(); ok && c.Likelihood != Certain {
		d.Unknown = unique(append(d.Unknown, e.minor...))
	}
	d.Brief = e.brief()
	d.Headline = headline(&d)
	return d
}

// apply adds what the rules find. A cause that an earlier rule has named is not told twice.
func (e *Evidence) apply(causes []Cause, rules []rule) []Cause {
	for _, r := range rules {
		have := len(causes)
		for _, c := range r(e) {
			if !slices.ContainsFunc(causes[:have], func(x Cause) bool { return x.Code == c.Code }) {
				causes = append(causes, c)
			}
		}
	}
	return causes
}

// conclude adds to the first cause of a failure how the Job controller put it.
func (e *Evidence) conclude(causes []Cause) {
	if c, ok := e.jobFailure(); ok && len(causes) > 0 {
		causes[0] = causes[0].because(jobLine(c), e.failedRanks())
	}
}

// waits says whether anything of the work has not started.
func (e *Evidence) waits() bool {
	switch e.Work.State {
	case job.Succeeded, job.Failed:
		return false
	case job.Running:
		_, refused := e.last("FailedCreate")
		return len(e.pending()) > 0 || refused && e.Work.Want > e.Work.Ready
	}
	return true
}

// fails says whether anything of it failed.
func (e *Evidence) fails() bool {
	if e.Work.State == job.Failed || len(e.crashes()) > 0 {
		return true
	}
	if _, gone := e.last(goneReasons...); gone {
		return true
	}
	return slices.ContainsFunc(e.Pods, func(p *corev1.Pod) bool {
		c, ok := podCondition(p, corev1.DisruptionTarget)
		return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodUnknown || p.DeletionTimestamp != nil || unready(p) || ok && c.Status == corev1.ConditionTrue
	})
}

// nodes are all nodes as the first waiting pod sees them.
func (e *Evidence) nodes() []NodeFit {
	pods := e.schedulable()
	if e.Cluster == nil || len(pods) == 0 {
		return nil
	}
	a := compute(e.Cluster, &pods[0].Spec, e.volumes(&pods[0].Spec))
	return a.fits
}

// unexplained says honestly that no rule knows the reason, with what lists say of it.
func (e *Evidence) unexplained() []Cause {
	describe := "kubectl describe " + e.Work.KindName()
	switch {
	case e.Work.State == job.Running:
		return nil
	case e.Work.State == job.Failed:
		return []Cause{cause(Possible, "Unexplained", "it failed, and nothing that is still there says why").because(joined(e.Work)).cure("see the object", describe)}
	case e.Work.State == job.Pending && e.Now.Sub(e.Work.Created) < schedulerTakes:
		return []Cause{cause(Likely, "JustCreated", "it is "+age(e.Now.Sub(e.Work.Created))+" old: give it a moment").because(joined(e.Work)).cure("ask again in a few seconds", "kubectl ml why "+e.Work.KindName())}
	}
	return []Cause{cause(Possible, "Unexplained", "it waits, and nothing that can be seen says why").because(joined(e.Work)).cure("see the object", describe)}
}

func joined(w *fleet.Work) string {
	if w.Reason == "" && w.Message == "" {
		return ""
	}
	return strings.TrimPrefix(w.Reason+": "+w.Message, ": ")
}

// headline is the answer in one line: how it stands, and the first cause.
func headline(d *Diagnosis) string {
	c, ok := d.First()
	if !ok {
		return d.Brief
	}
	if c.Likelihood != Certain {
		return d.Brief + ": " + string(c.Likelihood) + ": " + c.Title
	}
	return d.Brief + ": " + c.Title
}

// brief says how the work stands, and since when.
func (e *Evidence) brief() string {
	since := " for " + age(e.Now.Sub(e.Work.Created))
	switch e.Work.State {
	case job.Succeeded:
		return "succeeded" + e.ended() + e.took()
	case job.Failed:
		return "failed" + e.ended() + e.took()
	case job.Running:
		return "running" + e.running()
	case job.Suspended:
		return "suspended" + since
	}
	return "pending" + since
}

func (e *Evidence) ended() string {
	if e.Work.Finished == nil {
		return ""
	}
	return " " + age(e.Now.Sub(*e.Work.Finished)) + " ago"
}

func (e *Evidence) took() string {
	if e.Work.Started == nil || e.Work.Finished == nil {
		return ""
	}
	return " after " + age(e.Work.Finished.Sub(*e.Work.Started))
}

// running is for how long, how much of it, and how far it is.
func (e *Evidence) running() string {
	w := e.Work
	text := ""
	if w.Started != nil {
		text = " for " + age(e.Now.Sub(*w.Started))
	}
	if w.Want > 0 {
		text += fmt.Sprintf(", %d of %s ready", w.Ready, count(int64(w.Want), "pod", "pods"))
	}
	if p := w.Progress; p != nil && p.Percent > 0 {
		text += fmt.Sprintf(", %.0f%% done", p.Percent)
		if p.Remaining > 0 {
			text += fmt.Sprintf(", about %s left", age(p.Remaining.Round(time.Second)))
		}
	}
	return text
}
