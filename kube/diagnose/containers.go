package diagnose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// missingObject are the words of the kubelet for a Secret or ConfigMap, or a key in it, that is not there:
// `secret "x" not found`, "couldn't find key k in Secret ns/x", "references non-existent secret key: k".
var missingObject = regexp.MustCompile(`(?i)(secret|configmap) "([^"]+)" not found|couldn't find key (\S+) in (Secret|ConfigMap) \S+/(\S+)|references non-existent (secret|config) key: (\S+)|object "[^"]+"/"([^"]+)" not registered`)

// configRule: what the containers refer to and do not find.
func configRule(e *Evidence) []Cause {
	var out []Cause
	seen := map[string]bool{}
	add := func(text, line string) {
		m := missingObject.FindStringSubmatch(text)
		if m == nil || seen[m[0]] {
			return
		}
		seen[m[0]] = true
		out = append(out, e.missing(m).because(line))
	}
	for _, p := range e.pending() {
		for _, s := range statuses(p) {
			if w := s.State.Waiting; w != nil && (w.Reason == "CreateContainerConfigError" || w.Reason == "CreateContainerError") {
				add(w.Message, "container "+s.Name+" ("+w.Reason+"): "+w.Message)
			}
		}
		for _, ev := range slices.Backward(e.about("pod/"+p.Name, "FailedMount", "Failed")) {
			add(ev.Message, e.eventLine(ev))
		}
	}
	return append(out, e.absent(seen)...)
}

// missing names the object or key, and how to make it.
func (e *Evidence) missing(m []string) Cause {
	switch {
	case m[2] != "":
		kind, create := "ConfigMap", "kubectl create configmap "+m[2]+" --from-literal=KEY=VALUE"
		if strings.EqualFold(m[1], "secret") {
			kind, create = "Secret", "kubectl create secret generic "+m[2]+" --from-literal=KEY=VALUE"
		}
		return cause(Certain, kind+"Missing", fmt.Sprintf("its %s %s does not exist", kind, m[2])).cure("create it; the pod goes on by itself", create)
	case m[3] != "":
		return cause(Certain, m[4]+"KeyMissing", fmt.Sprintf("%s %s has no key %s", m[4], m[5], m[3])).
			cure("add the key; the pod goes on by itself", "kubectl edit "+strings.ToLower(m[4])+" "+m[5])
	case m[7] != "":
		kind := map[bool]string{true: "Secret", false: "ConfigMap"}[strings.EqualFold(m[6], "secret")]
		return cause(Certain, kind+"KeyMissing", fmt.Sprintf("a %s that it mounts has no key %s", kind, m[7])).
			cures(e.change("name a key that exists, or add it to the " + kind))
	}
	return cause(Likely, "ObjectMissing", fmt.Sprintf("%s, which it refers to, does not exist", m[8])).cure("create it", "")
}

// absent are objects that a waiting pod needs and that are not there, where nobody has said so (yet).
func (e *Evidence) absent(seen map[string]bool) []Cause {
	s := e.spec()
	if s == nil || len(e.pending()) == 0 {
		return nil
	}
	var out []Cause
	for _, ref := range references(s) {
		there, known := e.Exists[ref]
		if !known || there {
			continue
		}
		kind, name, _ := strings.Cut(ref, "/")
		if slices.ContainsFunc(slices.Collect(mapKeys(seen)), func(s string) bool { return strings.Contains(s, `"`+name+`"`) }) {
			continue
		}
		switch kind {
		case "secret":
			out = append(out, cause(Likely, "SecretMissing", "its Secret "+name+" does not exist").cure("create it", "kubectl create secret generic "+name+" --from-literal=KEY=VALUE"))
		case "configmap":
			out = append(out, cause(Likely, "ConfigMapMissing", "its ConfigMap "+name+" does not exist").cure("create it", "kubectl create configmap "+name+" --from-literal=KEY=VALUE"))
		}
	}
	return out
}

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// references are the Secrets and ConfigMaps that a pod cannot start without, as secret/NAME and configmap/NAME, sorted.
func references(s *corev1.PodSpec) []string {
	set := map[string]bool{}
	add := func(kind, name string, optional *bool) {
		if name != "" && (optional == nil || !*optional) {
			set[kind+"/"+name] = true
		}
	}
	for _, v := range s.Volumes {
		switch {
		case v.Secret != nil:
			add("secret", v.Secret.SecretName, v.Secret.Optional)
		case v.ConfigMap != nil:
			add("configmap", v.ConfigMap.Name, v.ConfigMap.Optional)
		case v.Projected != nil:
			for _, p := range v.Projected.Sources {
				if p.Secret != nil {
					add("secret", p.Secret.Name, p.Secret.Optional)
				}
				if p.ConfigMap != nil {
					add("configmap", p.ConfigMap.Name, p.ConfigMap.Optional)
				}
			}
		}
	}
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		for _, f := range c.EnvFrom {
			if f.SecretRef != nil {
				add("secret", f.SecretRef.Name, f.SecretRef.Optional)
			}
			if f.ConfigMapRef != nil {
				add("configmap", f.ConfigMapRef.Name, f.ConfigMapRef.Optional)
			}
		}
		for _, v := range c.Env {
			if v.ValueFrom == nil {
				continue
			}
			if r := v.ValueFrom.SecretKeyRef; r != nil {
				add("secret", r.Name, r.Optional)
			}
			if r := v.ValueFrom.ConfigMapKeyRef; r != nil {
				add("configmap", r.Name, r.Optional)
			}
		}
	}
	delete(set, "configmap/kube-root-ca.crt") // every namespace gets it
	out := slices.Collect(mapKeys(set))
	slices.Sort(out)
	return out
}

// createdSlowly is how long a container may take to be created before that is worth a word.
const createdSlowly = time.Minute

// startRule: the pod has a node, and its containers do not start.
func startRule(e *Evidence) []Cause {
	var out []Cause
	for _, p := range e.pending() {
		if p.Spec.NodeName == "" {
			continue
		}
		if c, ok := e.starting(p); ok {
			out = append(out, c)
			if len(out) == 2 {
				break
			}
		}
	}
	return out
}

func (e *Evidence) starting(p *corev1.Pod) (Cause, bool) {
	describe := "kubectl describe pod " + p.Name
	for _, s := range p.Status.InitContainerStatuses {
		if up := s.Started != nil && *s.Started && isSidecar(p, s.Name); s.State.Running != nil && !up {
			return cause(Certain, "InitRunning", fmt.Sprintf("its init container %s still runs, for %s", s.Name, age(e.Now.Sub(s.State.Running.StartedAt.Time)))).
				cure("see what it does", "kubectl logs "+p.Name+" -c "+s.Name), true
		}
	}
	for _, s := range statuses(p) {
		w := s.State.Waiting
		if w == nil {
			continue
		}
		switch w.Reason {
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			if !missingObject.MatchString(w.Message) {
				return cause(Certain, w.Reason, fmt.Sprintf("container %s cannot be created: %s", s.Name, w.Message)).cures(e.change("do what the message asks for")), true
			}
		case "ContainerCreating", "PodInitializing":
			if sandbox := e.about("pod/"+p.Name, "FailedCreatePodSandBox", "NetworkNotReady"); len(sandbox) > 0 {
				return cause(Certain, "PodSandboxFailed", "the node cannot give it a network or a sandbox").because(e.eventLine(sandbox[len(sandbox)-1])).
					cure("see the node's network plugin", "kubectl describe node "+p.Spec.NodeName), true
			}
			if dra := e.about("pod/"+p.Name, "FailedPrepareDynamicResources"); len(dra) > 0 {
				return cause(Certain, "DevicesNotPrepared", "the node cannot prepare the devices of its resource claims").because(e.eventLine(dra[len(dra)-1])).
					cure("see the driver of the devices there", "kubectl describe node "+p.Spec.NodeName), true
			}
		}
	}
	if slices.ContainsFunc(statuses(p), func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating" && s.State.Waiting.Reason != "PodInitializing"
	}) {
		return Cause{}, false // the rules of images and of missing objects say it
	}
	wait := e.Now.Sub(boundAt(p))
	if wait < createdSlowly {
		return cause(Likely, "Starting", fmt.Sprintf("it has been on node %s for %s and its containers are being created", p.Spec.NodeName, age(wait))).
			cure("wait a moment: images are pulled and volumes mounted", describe), true
	}
	c := cause(Possible, "StartingSlowly", fmt.Sprintf("it has been on node %s for %s, and its containers are still being created", p.Spec.NodeName, age(wait)))
	if pulling := e.about("pod/"+p.Name, "Pulling"); len(pulling) > 0 {
		last := pulling[len(pulling)-1]
		if pulled := e.about("pod/"+p.Name, "Pulled"); len(pulled) == 0 || pulled[len(pulled)-1].Last.Before(last.Last) {
			c.Code, c.Likelihood, c.Title = "PullingImage", Likely, "its image is being pulled since "+age(e.Now.Sub(last.Last))
			c = c.because(e.eventLine(last))
		}
	}
	return c.cure("see its events", describe), true
}

func isSidecar(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}
