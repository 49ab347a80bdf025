package registry

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPresence(t *testing.T) {
	here := thing{"job", "n", "j"}
	for name, c := range map[string]struct {
		seen map[thing]sight
		uid  string
		want Presence
	}{
		"not looked for":         {nil, "u", ""},
		"there":                  {map[thing]sight{here: {uid: "u"}}, "u", Present},
		"there, UID never noted": {map[thing]sight{here: {uid: "u"}}, "", Present},
		"another of that name":   {map[thing]sight{here: {uid: "v"}}, "u", Replaced},
		"expired":                {map[thing]sight{here: {}}, "u", Gone},
		"forbidden":              {map[thing]sight{here: {why: "forbidden"}}, "u", Unknowable},
	} {
		if got, _ := (family{seen: c.seen}).presence(here, c.uid); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// outline is a lineage as lines of depth, kind, name and presence.
func outline(links []Link, indent string) (out []string) {
	for _, l := range links {
		out = append(out, indent+l.Kind+" "+l.Name+" "+string(l.Presence))
		out = append(out, outline(l.Links, indent+" ")...)
	}
	return out
}

func TestLineage(t *testing.T) {
	version := func(n int, parents ...string) Version {
		return Version{Namespace: "n", Facts: Facts{Model: "m", Version: n, Parents: parents}}
	}
	root := version(3, "m:2", "hf://org/base", "m:1", "other:4")
	root.Run = &Origin{Kind: "run", Name: "p-a", UID: "u", Stage: "train", Job: "p-a-train", JobUID: "j", Attempt: 2}
	root.Data, root.Code, root.Image = map[string]any{"digest": "d"}, Code{Repo: "r", Commit: "c", Source: "s"}, "i"
	two := version(2, "m:3") // a circle, made by hand
	two.Run = &Origin{Kind: "pytorchjob", Name: "bert"}
	f := family{
		root:     root,
		versions: map[string]Version{"m:3": root, "m:2": two},
		missing:  map[string]string{"other:4": "forbidden"},
		children: map[string][]VersionSummary{"m:3": {{Model: "m", Version: 5}, {Model: "m", Version: 3}}, "m:5": {{Model: "z", Version: 1}, {Model: "m", Version: 3}}},
		seen:     map[thing]sight{{"run", "n", "p-a"}: {uid: "u"}, {"job", "n", "p-a-train"}: {}, {"source", "n", "s"}: {uid: "x"}},
	}
	l := f.lineage()
	want := []string{
		"run p-a present", " stage train ", "  job p-a-train gone", "  data digest=d ", "  code r@c ", "  source s present", "  image i ",
		"version m:2 present", " pytorchjob bert ", " version m:3 ",
		"uri hf://org/base ", "version m:1 gone", "version other:4 unknown",
	}
	if diff := cmp.Diff(want, outline(l.MadeOf, "")); diff != "" {
		t.Errorf("made of (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"version m:5 present", " version z:1 present"}, outline(l.MadeInto, "")); diff != "" {
		t.Errorf("made into (-want +got):\n%s", diff)
	}
}

func TestLongLineageEnds(t *testing.T) {
	f := family{versions: map[string]Version{}}
	for n := range 100 {
		v := Version{Facts: Facts{Model: "m", Version: n + 1, Parents: []string{Ref{Model: "m", Version: n + 2}.String()}}}
		f.versions[v.ref()] = v
	}
	f.root = f.versions["m:1"]
	if got := outline(f.lineage().MadeOf, ""); len(got) != deepest {
		t.Errorf("%d ancestors are shown, not %d", len(got), deepest)
	}
}

func TestServed(t *testing.T) {
	uid := func(e Event, uid string) Event { e.UID = uid; return e }
	events := []Event{
		served(1, Deploying, 1), uid(served(2, Deployed, 1), "u"), served(3, Deploying, 2), served(4, Aborted, 2), served(5, Deployed, 2), uid(served(6, Deployed, 1), "u"),
	}
	live := func(version int, uid string) []Serving {
		return []Serving{{Kind: "Deployment", Name: "web", Namespace: "n", UID: uid, Version: version}}
	}
	canary := Serving{Kind: "Deployment", Name: "web-canary", Namespace: "n", UID: "c", Version: 3}
	begun := append(slices.Clone(events), served(7, Deploying, 3))
	for name, c := range map[string]struct {
		version int
		live    []Serving
		want    []Link
	}{
		"twice, and still":       {1, live(1, "u"), []Link{{From: hour(6), Presence: Present}, {From: hour(1), To: at(5)}}},
		"once, and once in part": {2, live(1, "u"), []Link{{From: hour(5), To: at(6)}, {From: hour(3), To: at(4), Partly: true}}},
		"never":                  {3, live(1, "u"), nil},
		"deleted by kubectl":     {1, []Serving{}, []Link{{From: hour(6), Presence: Gone}, {From: hour(1), To: at(5)}}},
		"made anew by kubectl":   {1, live(1, "v"), []Link{{From: hour(6), Presence: Replaced}, {From: hour(1), To: at(5)}}},
		"changed by kubectl":     {1, live(3, "u"), []Link{{From: hour(6), Presence: Replaced}, {From: hour(1), To: at(5)}}},
		"what nobody wrote down": {3, live(3, "u"), []Link{{Presence: Present}}},
	} {
		f := family{root: Version{Facts: Facts{Model: "m", Version: c.version}}, log: Log{Namespace: "n", Events: events, Live: c.live, LiveKnown: true}}
		var got []Link
		for _, l := range f.served() {
			if l.Kind != "deployment" || l.Name != "web" || l.Namespace != "n" {
				t.Errorf("%s: it is %s/%s in %s", name, l.Kind, l.Name, l.Namespace)
			}
			got = append(got, Link{From: l.From, To: l.To, Presence: l.Presence, Partly: l.Partly})
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	f := family{root: Version{Facts: Facts{Model: "m", Version: 3}}, log: Log{Namespace: "n", Events: begun, Live: append(live(1, "u"), canary), LiveKnown: true}}
	if got := f.served(); len(got) != 1 || !got[0].Partly || got[0].Presence != Present || got[0].Note != "by bob, rolling out" {
		t.Errorf("a canary that runs: %+v", got)
	}
}

func at(h int) *time.Time {
	t := hour(h)
	return &t
}
