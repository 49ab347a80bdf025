package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// refusal is a reason for which the API server creates no pod, as controllers report it in FailedCreate events.
type refusal struct {
	text *regexp.Regexp
	code string
	// title may use the groups of text: $1, $2.
	title string
	// what is the change to the pods, cure and command the one to the cluster; all may use the groups.
	what, cure, command string
}

// refusals are the texts of the admission plugins of Kubernetes (plugin/pkg/admission, apiserver/pkg/admission).
var refusals = []refusal{
	{text: regexp.MustCompile(`failed quota: (\S+): (must specify .*)`), code: "QuotaNeedsRequests", title: "quota $1 takes no pods that do not say what they need: $2", what: "set the requests and limits that the quota counts ($2)"},
	{text: regexp.MustCompile(`insufficient quota to consume: (.*)`), code: "QuotaMissing", title: "no quota of the namespace allows $1", cure: "have a ResourceQuota for $1 made for the namespace", command: "kubectl get resourcequota"},
	{text: regexp.MustCompile(`insufficient quota to match these scopes: (.*)`), code: "QuotaMissing", title: "no quota of the namespace allows pods of these scopes: $1", cure: "use another priority class, or have a ResourceQuota made for it", command: "kubectl get resourcequota"},
	{text: regexp.MustCompile(`((?:maximum|minimum) \S+ usage per \S+ is [^,.]+(?:[,.] .*)?)`), code: "LimitRangeViolated", title: "a LimitRange of the namespace does not allow it: $1", what: "keep to the LimitRange", cure: "see the limits", command: "kubectl describe limitrange"},
	{text: regexp.MustCompile(`(\S+ max limit to request ratio per .*)`), code: "LimitRangeViolated", title: "a LimitRange of the namespace does not allow it: $1", what: "keep to the LimitRange", cure: "see the limits", command: "kubectl describe limitrange"},
	{text: regexp.MustCompile(`violates PodSecurity "([^"]+)": (.*)`), code: "PodSecurityViolated", title: `the namespace takes only pods that keep to the Pod Security level $1: $2`, what: "set the securityContext that the message names"},
	{text: regexp.MustCompile(`error looking up service account [^/]+/(\S+): .*not found`), code: "ServiceAccountMissing", title: "its service account $1 does not exist", cure: "create it", command: "kubectl create serviceaccount $1"},
	{text: regexp.MustCompile(`serviceaccount "([^"]+)" not found`), code: "ServiceAccountMissing", title: "its service account $1 does not exist", cure: "create it", command: "kubectl create serviceaccount $1"},
	{text: regexp.MustCompile(`no PriorityClass with name (\S+) was found`), code: "PriorityClassMissing", title: "its priority class $1 does not exist", what: "name a priority class that exists", cure: "see which there are", command: "kubectl get priorityclasses"},
	{text: regexp.MustCompile(`RuntimeClass "([^"]+)" not found`), code: "RuntimeClassMissing", title: "its runtime class $1 does not exist", what: "name a runtime class that exists, or drop runtimeClassName", cure: "see which there are", command: "kubectl get runtimeclasses"},
	{text: regexp.MustCompile(`admission webhook "([^"]+)" denied the request:? ?(.*)`), code: "AdmissionDenied", title: "the admission webhook $1 refuses its pods: $2", what: "do what the message asks for"},
	{text: regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)'(?: with binding '[^']+')? denied request: (.*)`), code: "AdmissionDenied", title: "the admission policy $1 refuses its pods: $2", what: "do what the message asks for"},
	{text: regexp.MustCompile(`failed calling webhook "([^"]+)": (.*)`), code: "WebhookDown", title: "the admission webhook $1 does not answer: $2", cure: "see who serves it", command: "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"},
	{text: regexp.MustCompile(`is not allowed because service account (\S+) does not reference that`), code: "SecretNotAllowed", title: "service account $1 may use only the secrets that it references", cure: "add the secret to the service account", command: "kubectl edit serviceaccount $1"},
	{text: regexp.MustCompile(`unable to create new content in namespace (\S+) because it is being terminated`), code: "NamespaceTerminating", title: "namespace $1 is being deleted", cure: "work in another namespace", command: "kubectl get namespaces"},
}

var exceeded = regexp.MustCompile(`exceeded quota: (\S+), requested: (.*), used: (.*), limited: (.*)`)

// refusedRule: the pods of the work are not even created.
func refusedRule(e *Evidence) []Cause {
	ev, ok := e.last("FailedCreate")
	text, line := ev.Message, e.eventLine(ev)
	if !ok {
		if text = e.conditionMessage("ReplicaFailure"); text == "" {
			return e.noAccount()
		}
		line = text
	}
	if made, ok := e.last("SuccessfulCreate"); ok && made.Last.After(ev.Last) && made.Object == ev.Object {
		return nil
	}
	return []Cause{e.refusal(text).because(line)}
}

// refusal makes a cause of the words with which the API server refuses an object.
func (e *Evidence) refusal(text string) Cause {
	if m := exceeded.FindStringSubmatch(text); m != nil {
		return e.quotaCause(m)
	}
	for _, r := range refusals {
		m := r.text.FindStringSubmatchIndex(text)
		if m == nil {
			continue
		}
		fill := func(s string) string { return strings.TrimSpace(string(r.text.ExpandString(nil, s, text, m))) }
		c := cause(Certain, r.code, fill(r.title))
		if r.code == "LimitRangeViolated" {
			c = c.because(e.limitRanges()...)
		}
		if r.what != "" {
			c = c.cures(e.change(fill(r.what)))
		}
		if r.cure != "" {
			c = c.cure(fill(r.cure), fill(r.command))
		}
		return c
	}
	return cause(Certain, "Refused", "the API server refuses it: "+strings.TrimPrefix(text, "Error creating: ")).cures(e.change("do what the message asks for"))
}

// limitRanges are the limits of the namespace.
func (e *Evidence) limitRanges() []string {
	var out []string
	for _, l := range e.Limits {
		for _, item := range l.Spec.Limits {
			var parts []string
			for _, bound := range []struct {
				name string
				list corev1.ResourceList
			}{{"min", item.Min}, {"max", item.Max}, {"default", item.Default}} {
				for name, q := range bound.list {
					parts = append(parts, fmt.Sprintf("%s %s %s", bound.name, name, q.String()))
				}
			}
			slices.Sort(parts)
			out = append(out, fmt.Sprintf("limit range %s, each %s: %s", l.Name, item.Type, some(parts, 8)))
		}
	}
	return out
}

// noAccount: the service account is not there, and nobody has said so (yet, or any more).
func (e *Evidence) noAccount() []Cause {
	if e.Template == nil || len(e.Pods) > 0 {
		return nil
	}
	name := e.Template.ServiceAccountName
	if there, known := e.Exists["serviceaccount/"+name]; !known || there {
		return nil
	}
	return []Cause{cause(Certain, "ServiceAccountMissing", "its service account "+name+" does not exist").cure("create it", "kubectl create serviceaccount "+name)}
}

// conditionMessage is the message of a condition of the root that is true.
func (e *Evidence) conditionMessage(kind string) string {
	for _, c := range rootConditions(e.Root) {
		if c.Type == kind && c.Status == "True" {
			return c.Message
		}
	}
	return ""
}

// quotaCause reads "exceeded quota: NAME, requested: R=1, used: R=2, limited: R=2".
func (e *Evidence) quotaCause(m []string) Cause {
	used, hard := fields(m[3]), fields(m[4])
	var parts []string
	fits := true
	for name, ask := range fields(m[2]) {
		parts = append(parts, fmt.Sprintf("%s: it asks for %s, %s of %s are used", name, ask, used[name], hard[name]))
		a, err1 := resource.ParseQuantity(ask)
		h, err2 := resource.ParseQuantity(hard[name])
		fits = fits && err1 == nil && err2 == nil && a.Cmp(h) <= 0
	}
	slices.Sort(parts)
	c := cause(Certain, "QuotaExceeded", fmt.Sprintf("quota %s is exceeded: %s", m[1], strings.Join(parts, "; ")))
	if fits {
		c = c.cure("wait until others of the namespace have ended, or end one; see who uses it", "kubectl ml jobs")
	}
	c = c.because(e.quotaNow(m[1])).cures(e.change("ask for less"))
	return c.cure("or have the quota raised", "kubectl describe resourcequota "+m[1])
}

// fields reads "a=1,b=2".
func fields(s string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(strings.TrimSpace(part), "="); ok {
			out[k] = v
		}
	}
	return out
}

// quotaNow is how a quota stands.
func (e *Evidence) quotaNow(name string) string {
	for i := range e.Quotas {
		q := &e.Quotas[i]
		if q.Name != name {
			continue
		}
		var parts []string
		for res, hard := range q.Status.Hard {
			used := q.Status.Used[res]
			parts = append(parts, fmt.Sprintf("%s %s of %s", res, used.String(), hard.String()))
		}
		slices.Sort(parts)
		return "quota " + name + " now: " + some(parts, 6)
	}
	return ""
}

// quotaRule finds a quota that the next pod does not fit into, where no event tells (they are kept for an hour).
func quotaRule(e *Evidence) []Cause {
	if _, told := e.last("FailedCreate"); told || e.Template == nil || len(e.pending()) > 0 || e.Work.Ready > 0 || e.Work.Final() || e.Work.State == "Suspended" {
		return nil
	}
	want := requests(e.Template)
	var out []Cause
	for i := range e.Quotas {
		q := &e.Quotas[i]
		if len(q.Spec.Scopes) > 0 || q.Spec.ScopeSelector != nil {
			continue // whether such a quota counts these pods is the server's to say
		}
		for res, hard := range q.Status.Hard {
			if strings.HasPrefix(string(res), "limits.") {
				continue
			}
			name := corev1.ResourceName(base(string(res)))
			n := want[name]
			if name == corev1.ResourcePods {
				n = 1
			}
			used := q.Status.Used[res]
			if n == 0 || amount(name, used)+n <= amount(name, hard) {
				continue
			}
			out = append(out, cause(Likely, "QuotaExceeded", fmt.Sprintf("quota %s has too little left: %s: it asks for %s, %s of %s are used", q.Name, res, plain(name, n), used.String(), hard.String())).
				cure("wait until others of the namespace have ended, or have the quota raised", "kubectl describe resourcequota "+q.Name))
		}
	}
	slices.SortFunc(out, func(a, b Cause) int { return strings.Compare(a.Title, b.Title) })
	return out
}

// plain is an amount as quotas write it.
func plain(name corev1.ResourceName, n int64) string {
	if name == corev1.ResourceCPU {
		return resource.NewMilliQuantity(n, resource.DecimalSI).String()
	}
	return resource.NewQuantity(n, resource.BinarySI).String()
}

// injected says that a request or limit was not written by the user but put in by a LimitRange.
func (e *Evidence) injected(name corev1.ResourceName) string {
	for _, p := range e.Pods {
		if note := p.Annotations["kubernetes.io/limit-ranger"]; strings.Contains(note, string(name)) {
			return "a LimitRange set it: " + strings.TrimPrefix(note, "LimitRanger plugin set: ")
		}
	}
	return ""
}
