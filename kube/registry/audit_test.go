package registry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func hour(h int) time.Time { return time.Date(2026, 11, 3, h, 0, 0, 0, time.UTC) }

func moved(h, from, to int) Event {
	return Event{At: hour(h), By: "alice", Action: Promoted, Alias: "production", From: from, Version: to}
}

func served(h int, a Action, version int) Event {
	return Event{At: hour(h), By: "bob", Action: a, Version: version, Target: "deployment/web", Namespace: "n"}
}

func TestAliasAtATime(t *testing.T) {
	imported := moved(3, 0, 9)
	imported.Origin = "n@elsewhere"
	for name, c := range map[string]struct {
		events  []Event
		head    map[string]int
		at      int
		version int
		since   int
		doubts  int
	}{
		"before anything":                        {[]Event{moved(2, 0, 1)}, map[string]int{"production": 1}, 1, 0, 0, 0},
		"at the very moment":                     {[]Event{moved(2, 0, 1)}, map[string]int{"production": 1}, 2, 1, 2, 0},
		"between two moves":                      {[]Event{moved(2, 0, 1), moved(4, 1, 2)}, map[string]int{"production": 2}, 3, 1, 2, 0},
		"after a rollback":                       {[]Event{moved(2, 0, 1), moved(4, 1, 2), {At: hour(5), Action: RolledBack, Alias: "production", From: 2, Version: 1}}, map[string]int{"production": 1}, 6, 1, 5, 0},
		"removed":                                {[]Event{moved(2, 0, 1), moved(4, 1, 0)}, map[string]int{}, 5, 0, 0, 0},
		"the head is not known":                  {[]Event{moved(2, 0, 1)}, nil, 3, 1, 2, 0},
		"the oldest page is missing":             {[]Event{moved(4, 3, 4)}, map[string]int{"production": 4}, 3, 3, 0, 1},
		"a page in the middle is missing":        {[]Event{moved(2, 0, 1), moved(6, 3, 4)}, map[string]int{"production": 4}, 5, 1, 2, 1},
		"the head was edited by hand":            {[]Event{moved(2, 0, 1)}, map[string]int{"production": 7}, 5, 1, 2, 1},
		"an alias without history":               {nil, map[string]int{"production": 7}, 5, 7, 0, 1},
		"removed, then edited back":              {[]Event{moved(2, 0, 1), moved(3, 1, 0)}, map[string]int{"production": 1}, 5, 0, 0, 1},
		"a slow clock wrote the second line":     {[]Event{moved(4, 0, 1), moved(2, 1, 2)}, map[string]int{"production": 2}, 3, 2, 2, 1},
		"a slow clock, and long after":           {[]Event{moved(4, 0, 1), moved(2, 1, 2)}, map[string]int{"production": 2}, 5, 2, 2, 0},
		"a slow clock, and long before":          {[]Event{moved(4, 0, 1), moved(2, 1, 2)}, map[string]int{"production": 2}, 1, 0, 0, 0},
		"a line of another place":                {[]Event{moved(2, 0, 1), imported, moved(4, 1, 2)}, map[string]int{"production": 2}, 3, 1, 2, 0},
		"lines about versions move nothing":      {[]Event{moved(2, 0, 1), {At: hour(3), Action: Approved, Version: 2}}, map[string]int{"production": 1}, 4, 1, 2, 0},
		"a line that names an alias, but judges": {[]Event{moved(2, 0, 1), {At: hour(3), Action: Approved, Version: 2, Alias: "production"}}, map[string]int{"production": 1}, 4, 1, 2, 0},
	} {
		s := At(Log{Events: c.events, Aliases: c.head}, hour(c.at))
		version, since := 0, time.Time{}
		if len(s.Aliases) > 0 {
			version, since = s.Aliases[0].Version, s.Aliases[0].Since
		}
		want := time.Time{}
		if c.since > 0 {
			want = hour(c.since)
		}
		if version != c.version || !since.Equal(want) || len(s.Doubts) != c.doubts {
			t.Errorf("%s: %d since %s with doubts %q; want %d since %s and %d doubts", name, version, since, s.Doubts, c.version, want, c.doubts)
		}
	}
}

func TestDeletedVersionsAreSaid(t *testing.T) {
	l := Log{Events: []Event{moved(2, 0, 1), moved(4, 1, 2), {At: hour(5), Action: Deleted, Version: 1}}, Aliases: map[string]int{"production": 2}}
	s := At(l, hour(3))
	if len(s.Aliases) != 1 || s.Aliases[0].Deleted == nil || !s.Aliases[0].Deleted.Equal(hour(5)) {
		t.Errorf("got %+v", s.Aliases)
	}
	if s := At(l, hour(4)); s.Aliases[0].Deleted != nil {
		t.Errorf("version 2 was never deleted: %+v", s.Aliases)
	}
}

func TestServingAtATime(t *testing.T) {
	other := served(3, Deployed, 5)
	other.Namespace = "m"
	live := []Serving{{Name: "web", Namespace: "n", Version: 2}}
	green := func(h int, a Action, version int) Event {
		e := served(h, a, version)
		e.Target, e.Strategy = "deployment/web-green", "bluegreen"
		return e
	}
	for name, c := range map[string]struct {
		events []Event
		live   []Serving
		at     int
		want   []ServingAt
		doubts int
	}{
		"nothing":               {nil, nil, 1, nil, 0},
		"the first begins":      {[]Event{served(2, Deploying, 1)}, live, 2, []ServingAt{{Rolling: 1, Since: hour(2)}}, 0},
		"the first is there":    {[]Event{served(2, Deploying, 1), served(3, Deployed, 1)}, live, 4, []ServingAt{{Version: 1, Since: hour(3)}}, 0},
		"the second is rolling": {[]Event{served(3, Deployed, 1), served(4, Deploying, 2)}, live, 4, []ServingAt{{Version: 1, Rolling: 2, Since: hour(3)}}, 0},
		"the second is aborted": {[]Event{served(3, Deployed, 1), served(4, Deploying, 2), served(5, Aborted, 2)}, live, 5, []ServingAt{{Version: 1, Since: hour(3)}}, 0},
		"the first failed":      {[]Event{served(2, Deploying, 1), served(3, Failed, 1)}, live, 4, nil, 0},
		"removed":               {[]Event{served(3, Deployed, 1), served(4, Removed, 1)}, nil, 5, nil, 0},
		"before the removal":    {[]Event{served(3, Deployed, 1), served(5, Removed, 1)}, nil, 4, []ServingAt{{Version: 1, Since: hour(3)}}, 0},
		"deleted by kubectl":    {[]Event{served(3, Deployed, 1)}, []Serving{}, 4, []ServingAt{{Version: 1, Since: hour(3)}}, 1},
		"blue-green begins":     {[]Event{served(2, Deployed, 1), green(3, Deploying, 2)}, live, 3, []ServingAt{{Version: 1, Rolling: 2, Since: hour(2)}}, 0},
		"blue-green aborts":     {[]Event{served(2, Deployed, 1), green(3, Deploying, 2), green(4, Aborted, 2)}, live, 4, []ServingAt{{Version: 1, Since: hour(2)}}, 0},
		"blue-green ends":       {[]Event{served(2, Deployed, 1), green(3, Deploying, 2), green(4, Deployed, 2)}, []Serving{{Name: "web-green", Namespace: "n"}}, 4, []ServingAt{{Target: "deployment/web-green", Strategy: "bluegreen", Version: 2, Since: hour(4)}}, 0},
		"two of one name":       {[]Event{other, served(3, Deployed, 1)}, append(live, Serving{Name: "web", Namespace: "m", Version: 5}), 4, []ServingAt{{Namespace: "m", Version: 5, Since: hour(3)}, {Version: 1, Since: hour(3)}}, 0},
	} {
		for i := range c.want {
			c.want[i].By = "bob"
			if c.want[i].Target == "" {
				c.want[i].Target = "deployment/web"
			}
			if c.want[i].Namespace == "" {
				c.want[i].Namespace = "n"
			}
		}
		s := At(Log{Namespace: "n", Events: c.events, Live: c.live, LiveKnown: true, Aliases: map[string]int{}}, hour(c.at))
		if diff := cmp.Diff(c.want, s.Serving); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(s.Doubts) != c.doubts {
			t.Errorf("%s: doubts %q, want %d", name, s.Doubts, c.doubts)
		}
	}
}

func TestSelect(t *testing.T) {
	late := served(1, Deployed, 2) // its writer's clock is slow
	logs := []Log{
		{Model: "a", Namespace: "n", Events: []Event{moved(2, 0, 1), late}},
		{Model: "b", Namespace: "n", Events: []Event{{At: hour(2), By: "Carol", Action: Approved, Version: 4}, moved(3, 0, 4)}},
	}
	all := []string{"b/promoted", "a/deployed", "a/promoted", "b/approved"}
	for name, c := range map[string]struct {
		f    Filter
		want []string
	}{
		"all":          {Filter{}, all},
		"since":        {Filter{Since: hour(2)}, []string{"b/promoted", "a/promoted", "b/approved"}},
		"until":        {Filter{Until: hour(2)}, []string{"a/deployed"}},
		"who":          {Filter{Who: "carol"}, []string{"b/approved"}},
		"alias":        {Filter{Alias: "production"}, []string{"b/promoted", "a/promoted"}},
		"nobody":       {Filter{Who: "dave"}, nil},
		"turned about": {Filter{Since: hour(5), Until: hour(1)}, nil},
	} {
		var got []string
		for _, e := range Select(logs, c.f) {
			got = append(got, e.Model+"/"+string(e.Action))
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
