package diagnose

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// verdict is what the scheduler says of a pod, taken apart.
type verdict struct {
	// text is the message as it is; seen is how long ago an event said it, empty when unknown.
	text, seen string
	// reasons are why nodes were left out, with their number; 0 is all of them.
	reasons []reason
	// preemption is what the scheduler says of making room by force.
	preemption string
}

type reason struct {
	nodes int64
	text  string
}

// says tells whether one of the reasons contains the text.
func (v verdict) says(text string) bool {
	return slices.ContainsFunc(v.reasons, func(r reason) bool { return strings.Contains(r.text, text) })
}

// verdictOn is the newest message of the scheduler on a pod: its condition, else the event.
func (e *Evidence) verdictOn(p *corev1.Pod) verdict {
	text := ""
	if c, ok := podCondition(p, corev1.PodScheduled); ok && c.Status == corev1.ConditionFalse {
		text = c.Message
	}
	events := e.about("pod/"+p.Name, "FailedScheduling")
	if text == "" && len(events) > 0 {
		text = events[len(events)-1].Message
	}
	v := parseVerdict(text)
	for _, ev := range slices.Backward(events) {
		if ev.Message == text && !ev.Last.IsZero() {
			v.seen = age(e.Now.Sub(ev.Last))
			break
		}
	}
	return v
}

var (
	noNodes    = regexp.MustCompile(`^(?:running \S+ filter plugin[^:]*: )?0/(\d+) nodes are available: ?`)
	countFirst = regexp.MustCompile(`^(\d+) `)
	nextReason = regexp.MustCompile(`, (\d+ )`)
)

// parseVerdict reads "0/X nodes are available: PREFILTER. N REASON, M REASON. preemption: ..." (framework.FitError).
func parseVerdict(text string) verdict {
	v := verdict{text: strings.TrimSpace(text)}
	rest := v.text
	m := noNodes.FindString(rest)
	rest = rest[len(m):]
	rest, v.preemption, _ = strings.Cut(rest, " preemption: ")
	v.preemption = strings.TrimSuffix(strings.TrimSpace(v.preemption), ".")
	if m == "" {
		if rest != "" {
			v.reasons = []reason{{text: rest}}
		}
		return v
	}
	for _, part := range strings.Split(nextReason.ReplaceAllString(rest, "\x00$1"), "\x00") {
		part = strings.TrimRight(strings.TrimSpace(part), ".")
		if part == "" {
			continue
		}
		r := reason{text: part}
		if c := countFirst.FindStringSubmatch(part); c != nil {
			r.nodes, _ = strconv.ParseInt(c[1], 10, 64)
			r.text = part[len(c[0]):]
		}
		v.reasons = append(v.reasons, r)
	}
	return v
}

// line is the message as evidence.
func (v verdict) line() string {
	switch {
	case v.text == "":
		return ""
	case v.seen != "":
		return "the scheduler, " + v.seen + " ago: " + v.text
	}
	return "the scheduler: " + v.text
}

// said is a reason of the scheduler and what it means.
type said struct {
	text, code, title string
	// computed reasons follow from the node-by-node arithmetic, which tells more wherever it can be done.
	computed bool
	// what is the change to the pods, text and command the one to the cluster.
	what, cure, command string
}

// schedulerReasons are the texts of the scheduler's plugins (pkg/scheduler/framework/plugins of Kubernetes). A node
// reports the first plugin that refuses it: those that ask last stand first, for their nodes come nearest.
var schedulerReasons = []said{
	{text: "didn't match pod anti-affinity rules", code: "PodAntiAffinity", title: "its pod anti-affinity keeps it away from nodes where the named pods run", what: "relax podAntiAffinity (prefer instead of require)"},
	{text: "didn't satisfy existing pods anti-affinity rules", code: "PodAntiAffinity", title: "pods that run there do not want it beside them (their anti-affinity)", what: "change its labels so that their anti-affinity does not match"},
	{text: "didn't match pod affinity rules", code: "PodAffinity", title: "its pod affinity wants to be beside pods that do not run on any node with room", what: "relax podAffinity (prefer instead of require)"},
	{text: "didn't match pod topology spread constraints", code: "TopologySpread", title: "its topologySpreadConstraints allow no further pod there", what: "raise maxSkew, or set whenUnsatisfiable: ScheduleAnyway"},
	{text: "didn't have free ports for the requested pod ports", code: "HostPortTaken", title: "the host port that it asks for is taken", what: "drop hostPort or hostNetwork"},
	{text: "exceed max volume count", code: "TooManyVolumes", title: "the nodes have as many volumes attached as they can", cure: "spread the pods that mount volumes over more nodes"},
	{text: "had no available volume zone", code: "VolumeElsewhere", title: "its volume is in a zone where no node has room", cure: "free room in the volume's zone, or copy the data to a volume elsewhere"},
	{text: "volume node affinity conflict", code: "VolumeElsewhere", title: "its volume can be used only from nodes that do not take the pod", computed: true, cure: "free room on the volume's nodes, or copy the data to a volume elsewhere"},
	{text: "didn't match PersistentVolume's node affinity", code: "VolumeElsewhere", title: "its volume can be used only from nodes that do not take the pod", computed: true, cure: "free room on the volume's nodes, or copy the data to a volume elsewhere"},
	{text: "had no available disk", code: "VolumeInUse", title: "its disk is in use on those nodes by another pod"},
	{text: "ReadWriteOncePod access mode already in-use", code: "ClaimInUse", title: "its claim is ReadWriteOncePod, and another pod uses it", cure: "wait for the other pod to end, or give the claim the mode ReadWriteOnce or ReadWriteMany"},
	{text: "didn't find available persistent volumes to bind", code: "NoVolume", title: "no persistent volume fits its claim there", cure: "add a PersistentVolume, or name a StorageClass that makes volumes"},
	{text: "did not have enough free storage", code: "NoVolume", title: "the storage there has too little room for its claim", cure: "ask for a smaller volume, or add storage"},
	{text: "bound to non-existent", code: "VolumeMissing", title: "its claim is bound to a volume that is gone", cure: "delete and create the claim again; its data is lost"},
	{text: "cannot allocate all claims", code: "NoDevice", title: "no node has the free devices that its resource claims ask for", cure: "see what devices there are", command: "kubectl get resourceslices"},
	{text: "cannot schedule extended resource claim", code: "NoDevice", title: "no node has the free devices that it asks for", cure: "see what devices there are", command: "kubectl get resourceslices"},
	{text: "resourceclaim in use", code: "ClaimInUse", title: "its resource claim is in use by others", cure: "wait for them to end, or use a ResourceClaimTemplate, which gives each pod its own"},
	{text: "device class", code: "DeviceClassMissing", title: "its resource claim names a device class that does not exist", cure: "see which there are", command: "kubectl get deviceclasses"},
	{text: "waiting for resource claim", code: "ClaimMissing", title: "its resource claim does not exist yet", cure: "see the claims", command: "kubectl get resourceclaims"},
	{text: "from a gang to appear", code: "GangIncomplete", title: "its gang is not complete: too few of its pods exist"},
	{text: "to appear in scheduling queue", code: "GangIncomplete", title: "its gang is not complete: too few of its pods exist, or its PodGroup is missing"},
	{text: "minCount", code: "GangDoesNotFit", title: "not all pods of its gang fit at once"},
	{text: "to meet quorum", code: "GangIncomplete", title: "its gang is not complete"},
	{text: "Insufficient ", code: "InsufficientResource", title: "nodes have too little free", computed: true, what: "ask for less, or wait until others have ended; it asks for more than is free on any one node"},
	{text: "Too many pods", code: "TooManyPods", title: "the nodes have as many pods as they may", computed: true, cure: "wait for pods to end, or add nodes"},
	{text: "untolerated taint", code: "TaintNotTolerated", title: "nodes have taints that it does not tolerate", computed: true, what: "add a toleration for the taint"},
	{text: "had taints that the pod didn't tolerate", code: "TaintNotTolerated", title: "nodes have taints that it does not tolerate", computed: true, what: "add a toleration for the taint"},
	{text: "didn't match Pod's node affinity/selector", code: "SelectorMatchesNone", title: "its nodeSelector or node affinity does not match nodes", computed: true, what: "change nodeSelector or node affinity"},
	{text: "were unschedulable", code: "NodesCordoned", title: "nodes are cordoned", computed: true, cure: "see which", command: "kubectl get nodes"},
	{text: "had unknown conditions", code: "NodesNotReady", title: "nodes are not ready", computed: true, cure: "see which", command: "kubectl get nodes"},
}

// tableRow is where a reason stands in the table, -1 when it does not.
func tableRow(text string) int {
	return slices.IndexFunc(schedulerReasons, func(s said) bool { return strings.Contains(text, s.text) })
}

// schedulerRule makes causes of what the scheduler says and the arithmetic does not know. Without the arithmetic it is
// all there is.
func schedulerRule(e *Evidence) []Cause {
	var out []Cause
	seen := map[string]bool{}
	for _, p := range e.schedulable() {
		v := e.verdictOn(p)
		computed := e.explained(&p.Spec)
		slices.SortStableFunc(v.reasons, func(a, b reason) int { return cmp.Compare(tableRow(a.text), tableRow(b.text)) })
		for _, r := range v.reasons {
			i := tableRow(r.text)
			if i < 0 || seen[schedulerReasons[i].code+r.text] || schedulerReasons[i].computed && computed {
				continue
			}
			s := schedulerReasons[i]
			seen[s.code+r.text] = true
			out = append(out, e.saidCause(s, r, v))
		}
	}
	slices.SortStableFunc(out, func(a, b Cause) int { return a.Likelihood.rank() - b.Likelihood.rank() })
	return out
}

// explained says whether the arithmetic has told why no node takes the pod, or that one does.
func (e *Evidence) explained(s *corev1.PodSpec) bool {
	if e.canCompute(s) {
		return true
	}
	if e.Cluster == nil || len(s.ResourceClaims) > 0 {
		return false
	}
	a := compute(e.Cluster, s, e.volumes(s))
	_, _, ok := e.shortage(&a)
	return ok
}

func (e *Evidence) saidCause(s said, r reason, v verdict) Cause {
	title, l := s.title, Certain
	if s.code == "InsufficientResource" {
		title = "too little free " + strings.TrimPrefix(r.text, "Insufficient ")
	}
	if r.nodes > 0 {
		title += fmt.Sprintf(" (%s)", count(r.nodes, "node", "nodes"))
	}
	if len(v.reasons) > 1 && r.nodes > 0 {
		l = Likely
	}
	c := cause(l, s.code, title).because(v.line())
	if s.what != "" {
		c = c.cures(e.change(s.what))
	}
	if s.cure != "" {
		c = c.cure(s.cure, s.command)
	}
	return c
}
