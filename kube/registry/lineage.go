package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lineage is what a version was made of, what was made of it, and what served it.
type Lineage struct {
	Version  Version `json:"version"`
	MadeOf   []Link  `json:"madeOf,omitempty"`
	MadeInto []Link  `json:"madeInto,omitempty"`
	// Served are workloads that serve it or did, the newest first.
	Served []Link `json:"served,omitempty"`
	// Doubts are why this may not be all.
	Doubts []string `json:"doubts,omitempty"`
}

// Link is a thing in a lineage, with what lies behind it.
type Link struct {
	// Kind is run, stage, job, data, code, source, image, version, uri or deployment.
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
	// Presence says whether the object is still there; empty for what is no object of the cluster.
	Presence Presence `json:"presence,omitempty"`
	// Note says more in a few words.
	Note string `json:"note,omitempty"`
	// From and To bound the time of serving; To is nil while it goes on.
	From time.Time  `json:"from,omitzero"`
	To   *time.Time `json:"to,omitempty"`
	// Partly is true when it served beside another version only, as in a rollout that goes on or was aborted.
	Partly bool   `json:"partly,omitempty"`
	Links  []Link `json:"links,omitempty"`
}

// Presence says whether an object of a lineage is in the cluster.
type Presence string

// The presences. An object of the same name but of another UID has Replaced the one that is meant.
const (
	Present    Presence = "present"
	Gone       Presence = "gone"
	Replaced   Presence = "replaced"
	Unknowable Presence = "unknown"
)

// thing names an object that a lineage is about.
type thing struct{ kind, namespace, name string }

// sight is what was found of a thing: its UID, or why it could not be looked for. Neither is nothing there.
type sight struct {
	uid string
	why string
}

// family is all that a lineage is drawn from.
type family struct {
	root Version
	// versions are the ancestors by MODEL:N, missing why some could not be read.
	versions map[string]Version
	missing  map[string]string
	// children are the versions that name a version as a parent, by MODEL:N.
	children map[string][]VersionSummary
	seen     map[thing]sight
	log      Log
}

// deepest is how far a lineage is followed in either direction.
const deepest = 12

func (v Facts) ref() string { return Ref{Model: v.Model, Version: v.Version}.String() }

// lineage draws a family as seen from its root.
func (f family) lineage() Lineage {
	root := f.root.ref()
	l := Lineage{Version: f.root, MadeOf: f.madeOf(f.root, []string{root}), MadeInto: f.madeInto(root, []string{root})}
	l.Served = f.served()
	for _, p := range f.log.Problems {
		l.Doubts = append(l.Doubts, p.What)
	}
	return l
}

func (f family) madeOf(v Version, path []string) []Link {
	var out []Link
	if o := v.Run; o != nil {
		out = append(out, f.origin(v, *o)...)
	} else {
		out = append(out, f.material(v)...)
	}
	for _, p := range v.Parents {
		out = append(out, f.parent(p, path))
	}
	return out
}

// origin is the execution that made a version, over what went into it.
func (f family) origin(v Version, o Origin) []Link {
	link := Link{Kind: o.Kind, Name: o.Name, Namespace: cmp.Or(o.Namespace, v.Namespace), UID: o.UID}
	link.Presence, link.Note = f.presence(thing{o.Kind, link.Namespace, o.Name}, o.UID)
	material := f.material(v)
	if o.Stage == "" {
		link.Links = material
		return []Link{link}
	}
	stage := Link{Kind: "stage", Name: o.Stage, Note: attempt(o), Links: material}
	if o.Job != "" {
		job := Link{Kind: "job", Name: o.Job, Namespace: link.Namespace, UID: o.JobUID}
		job.Presence, job.Note = f.presence(thing{"job", link.Namespace, o.Job}, o.JobUID)
		stage.Links = append([]Link{job}, material...)
	}
	link.Links = []Link{stage}
	return []Link{link}
}

func attempt(o Origin) string {
	var parts []string
	if o.Pipeline != "" {
		parts = append(parts, "pipeline "+o.Pipeline)
	}
	if o.Attempt > 1 {
		parts = append(parts, "attempt "+strconv.Itoa(o.Attempt))
	}
	if o.Child > 0 {
		parts = append(parts, "child "+strconv.Itoa(o.Child))
	}
	return strings.Join(parts, ", ")
}

// material is what went into a version: data, code and image.
func (f family) material(v Version) []Link {
	var out []Link
	if len(v.Data) > 0 {
		var parts []string
		for _, c := range changes(nil, v.Data) {
			parts = append(parts, c.Name+"="+fmt.Sprint(c.To))
		}
		out = append(out, Link{Kind: "data", Name: strings.Join(parts, " ")})
	}
	if v.Code.Repo != "" || v.Code.Commit != "" {
		out = append(out, Link{Kind: "code", Name: strings.Trim(v.Code.Repo+"@"+v.Code.Commit, "@")})
	}
	if v.Code.Source != "" {
		in := f.sourceOf(v)
		link := Link{Kind: "source", Name: in.name, Namespace: in.namespace}
		link.Presence, link.Note = f.presence(in, "")
		out = append(out, link)
	}
	if v.Image != "" {
		out = append(out, Link{Kind: "image", Name: v.Image})
	}
	return out
}

// sourceOf is the ConfigMap with the code of a version.
func (f family) sourceOf(v Version) thing { return thing{"source", v.home(), v.Code.Source} }

// home is the namespace in which a version was made.
func (v Version) home() string {
	if v.Run != nil && v.Run.Namespace != "" {
		return v.Run.Namespace
	}
	return v.Namespace
}

// presence compares a thing with what was found. An empty UID is content with any object of the name.
func (f family) presence(t thing, uid string) (Presence, string) {
	s, looked := f.seen[t]
	switch {
	case !looked:
		return "", ""
	case s.why != "":
		return Unknowable, s.why
	case s.uid == "":
		return Gone, ""
	case uid != "" && s.uid != uid:
		return Replaced, "what has this name now is another object"
	}
	return Present, ""
}

func (f family) parent(name string, path []string) Link {
	v, known := f.versions[name]
	switch {
	case known && slices.Contains(path, name):
		return Link{Kind: "version", Name: name, Note: "a circle: it is named above"}
	case known && len(path) >= deepest:
		return Link{Kind: "version", Name: name, Presence: Present, Note: "and more behind it"}
	case known:
		return Link{Kind: "version", Name: name, Namespace: v.Namespace, UID: v.UID, Presence: Present, Links: f.madeOf(v, append(path[:len(path):len(path)], name))}
	case f.missing[name] != "":
		return Link{Kind: "version", Name: name, Presence: Unknowable, Note: f.missing[name]}
	}
	if _, isRef := parentRef(name); isRef {
		return Link{Kind: "version", Name: name, Presence: Gone}
	}
	return Link{Kind: "uri", Name: name}
}

// parentRef is the version that a parent names, if it is one: MODEL:N and no URI.
func parentRef(name string) (Ref, bool) {
	if strings.Contains(name, "/") {
		return Ref{}, false
	}
	ref, err := ParseRef(name)
	return ref, err == nil && ref.Version > 0
}

func (f family) madeInto(name string, path []string) []Link {
	var out []Link
	for _, c := range f.children[name] {
		ref := Ref{Model: c.Model, Version: c.Version}.String()
		if slices.Contains(path, ref) || len(path) >= deepest {
			continue
		}
		out = append(out, Link{Kind: "version", Name: ref, Namespace: c.Namespace, Presence: Present, Note: strings.Join(c.Aliases, ", "), Links: f.madeInto(ref, append(path[:len(path):len(path)], ref))})
	}
	return out
}

// served are the spans of time in which workloads served the root, by the history, and what serves it now.
func (f family) served() []Link {
	out := spans(ownEvents(f.log.Events), f.root.Version)
	told := map[string]bool{}
	for i := range out {
		if l := &out[i]; l.To == nil && f.log.LiveKnown && l.Namespace == f.log.Namespace {
			f.compare(l, told)
		}
	}
	for _, s := range f.log.Live {
		if s.Version == f.root.Version && !told[s.UID] && f.log.LiveKnown {
			out = append(out, Link{Kind: strings.ToLower(s.Kind), Name: s.Name, Namespace: s.Namespace, UID: s.UID, Presence: Present, Note: "serves it by its labels; the history does not tell of it"})
		}
	}
	slices.SortStableFunc(out, func(a, b Link) int { return b.From.Compare(a.From) })
	return out
}

// compare holds what serves by the history to what is there, and notes in told which workloads it explains.
func (f family) compare(l *Link, told map[string]bool) {
	l.Presence = Gone
	for _, s := range f.log.Live {
		if !serves(s, l.Kind, l.Namespace, l.Name) {
			// What is being rolled out runs beside it, as NAME-canary or NAME-green.
			if s.Version == f.root.Version && strings.HasPrefix(s.Name, l.Name+"-") {
				told[s.UID] = true
			}
			continue
		}
		told[s.UID] = true
		switch {
		case l.UID != "" && s.UID != "" && s.UID != l.UID:
			l.Presence, l.Note = Replaced, "what has this name now is another object"
		case s.Version != f.root.Version && !l.Partly:
			l.Presence, l.Note = Replaced, "it serves version "+strconv.Itoa(s.Version)+" now, which nobody wrote down"
		default:
			l.Presence = Present
		}
	}
}

// spans are the times in which a version was served, in part or alone, by the history.
func spans(events []Event, version int) []Link {
	now := map[string]*ServingAt{}
	open := map[string]int{}
	var out []Link
	for _, e := range events {
		if e.Target == "" {
			continue
		}
		serve(now, e)
		key := targetKey(e)
		s := now[key]
		serves := s != nil && (s.Version == version || s.Rolling == version)
		at, isOpen := open[key]
		switch {
		case serves && !isOpen:
			kind, name, _ := strings.Cut(e.Target, "/")
			at = len(out)
			open[key] = at
			out = append(out, Link{
				Kind: kind, Name: name, Namespace: s.Namespace, From: e.At,
				Note: strings.Join(nonEmpty(e.Strategy, prefixed("by ", e.By), prefixed("run ", e.Run)), ", "),
			})
		case !serves && isOpen:
			out[at].To = &e.At
			if out[at].Partly {
				out[at].Note = strings.Join(nonEmpty(out[at].Note, string(e.Action)), ", ")
			}
			delete(open, key)
			continue
		case !serves:
			continue
		}
		out[at].Partly = s.Version != version
		if !out[at].Partly {
			out[at].UID = s.UID
		}
	}
	for _, at := range open {
		if out[at].Partly {
			out[at].Note = strings.Join(nonEmpty(out[at].Note, "rolling out"), ", ")
		}
	}
	return out
}

func serves(s Serving, kind, namespace, name string) bool {
	return s.Name == name && strings.ToLower(s.Kind) == kind && (namespace == "" || s.Namespace == namespace)
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
