package views

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/registry"
)

// berlin is a fixed zone: tests run on machines without a database of zones.
func modelNow() time.Time {
	return time.Date(2026, 11, 4, 9, 30, 0, 0, time.FixedZone("CET", 3600))
}

func before(d time.Duration) time.Time { return modelNow().Add(-d) }

func testVersion(n int) registry.Version {
	digest := "sha256:" + strings.Repeat(fmt.Sprint(n), 64)
	return registry.Version{
		Facts: registry.Facts{
			Model: "house-prices", Version: n,
			Artifact: pipeline.Artifact{URI: fmt.Sprintf("pvc://data-volume-claim/models/house-prices-%d.pkl", n), Digest: digest, Size: int64(n) * 123456, Format: "pickle"},
			Metrics:  map[string]float64{"rmse": 50000 - 1000*float64(n), "r2": 0.8 + float64(n)/100, "rows": 1460, "mae": 20000},
			Better:   map[string]registry.Direction{"mae": registry.Lower},
			Params:   pipeline.Params{"lr": 0.1 / float64(n), "seed": int64(7), "net": map[string]any{"layers": []any{int64(64), int64(n)}}, "note": "", "gone\x1b[31m": nil},
			Data:     map[string]any{"version": fmt.Sprintf("2026-11-0%d", n%10), "digest": digest},
			Code:     registry.Code{Repo: "https://git.example.org/house-prices", Commit: "0123456789abcdef0123456789abcdef0123456" + fmt.Sprint(n%10), Source: "mlsource-house-prices-abc"},
			Image:    "ghcr.io/org/train@" + digest,
			Run:      &registry.Origin{Kind: "run", Name: "house-prices-x7k2p", Namespace: "ml", UID: "u-run", Pipeline: "house-prices", Stage: "train", Attempt: 2, Child: 3, Job: "house-prices-x7k2p-train-3-r2", JobUID: "u-job"},
			Parents:  []string{"house-prices:1", "hf://org/base"}, Signature: json.RawMessage(`{"inputs":[{"name":"area"}],"outputs":[{"name":"price"}]}`),
			Baseline: json.RawMessage(`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}`), CreatedBy: "alice@example.org", CreatedAt: before(50 * time.Hour),
		},
		Object: fmt.Sprintf("mlversion-house-prices-%d", n), Namespace: "ml", Created: before(50 * time.Hour),
	}
}

// pages draws a page in three ways.
func pages(t *testing.T, name string, draw func(LineOptions) []Line, cut bool) {
	t.Helper()
	for suffix, o := range map[string]LineOptions{"80": {Width: 80}, "200": {Width: 200}, "wide": {Wide: true}} {
		lines := draw(o)
		for _, l := range lines {
			if cut && o.Width > 0 && l.Width() > o.Width {
				t.Errorf("%s-%s: a line takes %d cells: %s", name, suffix, l.Width(), l.Text())
			}
			if strings.ContainsAny(l.Text(), "\x1b\n") {
				t.Errorf("%s-%s: control characters in %q", name, suffix, l.Text())
			}
		}
		golden(t, name+"-"+suffix, lines)
	}
}

func TestModelLists(t *testing.T) {
	models := []registry.Summary{
		{Name: "house-prices", Namespace: "ml", Latest: 12, Versions: 11, Aliases: map[string]int{"production": 7, "staging": 12, "canary": 11}, Metrics: map[string]float64{"rmse": 31460, "r2": 0.89, "rows": 1460, "a": 1}, Updated: before(3 * time.Hour)},
		{Name: strings.Repeat("a", 40), Namespace: "other", Latest: 1, Versions: 1, Updated: before(90 * 24 * time.Hour)},
		{Name: "empty", Namespace: "ml"},
	}
	pages(t, "models", func(o LineOptions) []Line { return Models(models, false, modelNow()).Lines(o) }, true)
	pages(t, "models-all", func(o LineOptions) []Line { return Models(models, true, modelNow()).Lines(o) }, true)
	for by, want := range map[string]string{"latest": "empty", "-latest": "empty", "updated": "empty", "metrics": "empty"} {
		if err := ModelColumns(modelNow()).Sort(models, by); err != nil || models[2].Name != want {
			t.Errorf("sorted by %s %s is last, %v", by, models[2].Name, err)
		}
	}
}

func TestVersionLists(t *testing.T) {
	approved := &registry.Approval{State: "approved"}
	list := []registry.VersionSummary{
		{Model: "m", Version: 12, Aliases: []string{"staging"}, Metrics: map[string]float64{"rmse": 30000, "r2": 0.9, "size": 3, "rows": 1460, "zz": 1}, Size: 123456, Format: "pickle", Created: before(time.Hour), By: "alice@example.org", Run: "house-prices-x7k2p"},
		{Model: "m", Version: 7, Aliases: []string{"canary", "production"}, Approval: approved, Metrics: map[string]float64{"rmse": 31460, "r2": 0.89}, Size: 120000, Format: "pickle", Created: before(70 * time.Hour), By: "system:serviceaccount:ml:kubectl-ml-driver"},
		{Model: "m", Version: 2, Approval: &registry.Approval{State: "rejected"}, Archived: &registry.Mark{}, Created: before(700 * time.Hour)},
		{Model: "m", Version: 1, Archived: &registry.Mark{}},
	}
	pages(t, "versions", func(o LineOptions) []Line { return Versions(list, nil, modelNow()).Lines(o) }, true)
	columns := VersionColumns(list, nil, modelNow())
	for by, first := range map[string]int{"rmse": 12, "-rmse": 7, "metric:size": 12, "age": 12, "-version": 12, "version": 1, "approval": 7} {
		if err := columns.Sort(list, by); err != nil || list[0].Version != first {
			t.Errorf("sorted by %s version %d is first, %v", by, list[0].Version, err)
		}
	}
}

func TestModelShow(t *testing.T) {
	v := testVersion(7)
	v.Aliases = []string{"canary", "production"}
	v.Approval = &registry.Approval{State: "approved", Mark: registry.Mark{By: "bob", At: before(40 * time.Hour), Comment: "looks\x1b[2J good"}}
	v.Archived = &registry.Mark{By: "carol", At: before(time.Hour)}
	v.Problems = []string{"label kubectl-ml.dev/version says 8, and the data says 7: it was changed by hand, and nobody knows by whom or why"}
	live := []registry.Serving{{Kind: "Deployment", Name: "house-prices", Namespace: "ml", Version: 7}, {Kind: "Deployment", Name: "other", Namespace: "ml", Version: 6}}
	pages(t, "model-show", func(o LineOptions) []Line { return ModelShow(ModelPage{Version: v, Live: live}, modelNow(), o) }, false)
	bare := registry.Version{Facts: registry.Facts{Model: "m", Version: 1}}
	pages(t, "model-bare", func(o LineOptions) []Line {
		return ModelShow(ModelPage{Version: bare, NotLive: "forbidden: needs list deployments.apps"}, modelNow(), o)
	}, true)
}

func TestModelDiff(t *testing.T) {
	from, to := testVersion(6), testVersion(7)
	from.Aliases = []string{"production"}
	to.Metrics["new"], to.Metrics["r2"] = 1, 0.5
	d := registry.Compare(from, to, nil)
	d.Files = registry.CompareFiles("house-prices:6", "house-prices:7", map[string][]byte{"train.py": []byte("import os\nlr = 0.1\n\tprint(1)\n"), "x.bin": {0xff}},
		map[string][]byte{"train.py": []byte("import os\nlr = 0.2\x1b[31m\n\tprint(1)"), "lib/new.py": []byte("-- a comment of SQL\n")})
	pages(t, "model-diff", func(o LineOptions) []Line { return ModelDiff(d, modelNow(), o) }, false)
	same := registry.Compare(from, from, nil)
	same.NoFiles = "the code of house-prices:6 is gone: configmap/mlsource-house-prices-abc in namespace ml was deleted"
	pages(t, "model-diff-same", func(o LineOptions) []Line { return ModelDiff(same, modelNow(), o) }, true)
}

func TestHistory(t *testing.T) {
	at := before(30 * time.Hour)
	entries := []registry.Entry{
		{Model: "house-prices", Room: "ml", Event: registry.Event{At: at, By: "alice@example.org", Action: registry.Promoted, Alias: "production", From: 6, Version: 7, Comment: "better on the\nholdout of 2026 and on the one before"}},
		{Model: "house-prices", Room: "ml", Event: registry.Event{At: at, By: "system:serviceaccount:ml:kubectl-ml-driver", Action: registry.Deployed, Version: 7, Target: "deployment/house-prices", Namespace: "ml", Strategy: "canary", Image: "serve:1", Digest: "sha256:0123456789abcdef", Run: "house-prices-x7k2p"}},
		{Model: "house-prices", Room: "ml", Event: registry.Event{At: at, By: "bob", Action: registry.Failed, Version: 7, Target: "deployment/web", Namespace: "other"}},
		{Model: "m", Room: "ml", Event: registry.Event{At: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), Action: registry.Moved, Alias: "canary", From: 3, Origin: "ml@cluster-a"}},
		{Model: "m", Room: "ml", Event: registry.Event{Action: registry.Deleted}},
	}
	pages(t, "history", func(o LineOptions) []Line { return History(entries, false, false, modelNow()).Lines(o) }, true)
	pages(t, "history-all", func(o LineOptions) []Line { return History(entries, true, true, modelNow()).Lines(o) }, true)
}

func TestStandings(t *testing.T) {
	deleted := before(time.Hour)
	list := []registry.Standing{
		{
			Model: "house-prices", Namespace: "ml",
			Aliases: []registry.AliasAt{{Alias: "canary", Version: 8, Since: before(20 * time.Hour), By: "alice", Sure: true, Comment: "try it"}, {Alias: "production", Version: 7, Deleted: &deleted}},
			Serving: []registry.ServingAt{{Target: "deployment/house-prices", Namespace: "ml", Version: 7, Rolling: 8, Since: before(40 * time.Hour), By: "bob", Strategy: "canary", Image: "i", Digest: "sha256:0123456789abcdef", Run: "r"}},
		},
		{Model: "m", Namespace: "other", Serving: []registry.ServingAt{{Target: "deployment/m", Namespace: "ml", Rolling: 1, Since: before(time.Hour)}}},
	}
	pages(t, "standing-aliases", func(o LineOptions) []Line { return AliasesAt(list, true, modelNow()).Lines(o) }, true)
	pages(t, "standing-serving", func(o LineOptions) []Line { return ServingAt(list, false, modelNow()).Lines(o) }, true)
}

func TestLineage(t *testing.T) {
	until := before(10 * time.Hour)
	v := testVersion(7)
	v.Aliases = []string{"production"}
	l := registry.Lineage{
		Version: v,
		MadeOf: []registry.Link{
			{Kind: "run", Name: "house-prices-x7k2p", Presence: registry.Present, Links: []registry.Link{
				{Kind: "stage", Name: "train", Note: "pipeline house-prices, attempt 2", Links: []registry.Link{
					{Kind: "job", Name: "house-prices-x7k2p-train-r2", Presence: registry.Gone},
					{Kind: "data", Name: "digest=sha256:" + strings.Repeat("7", 64) + " version=2026-11-07"},
					{Kind: "source", Name: "mlsource-house-prices-abc", Presence: registry.Replaced, Note: "what has this name now is another object"},
				}},
			}},
			{Kind: "version", Name: "house-prices:1", Presence: registry.Unknowable, Note: "forbidden: needs get configmaps"},
		},
		MadeInto: []registry.Link{{Kind: "version", Name: "house-prices:9", Presence: registry.Present, Note: "staging"}},
		Served: []registry.Link{
			{Kind: "deployment", Name: "house-prices", Presence: registry.Present, From: before(9 * time.Hour), Note: "canary, by bob"},
			{Kind: "deployment", Name: "house-prices", From: before(30 * time.Hour), To: &until},
		},
	}
	pages(t, "lineage", func(o LineOptions) []Line { return Lineage(l, modelNow(), o) }, true)
	pages(t, "lineage-bare", func(o LineOptions) []Line {
		return Lineage(registry.Lineage{Version: testVersion(1)}, modelNow(), o)
	}, true)
}

func TestTimesSayTheirZone(t *testing.T) {
	now := modelNow()
	for want, got := range map[string]string{
		"WHEN(CET)":           timeHeading("WHEN", now),
		"WHEN(+03:00)":        timeHeading("WHEN", now.In(time.FixedZone("", 3*3600))),
		"CET (UTC+01:00)":     Zone(now),
		"UTC":                 Zone(now.UTC()),
		"2026-07-01 02:00:00": timeOf(time.Date(2026, 7, 1, 1, 0, 0, 0, time.UTC), now),
		"2026-07-01 01:00:00": timeOf(time.Date(2026, 7, 1, 1, 0, 0, 0, time.UTC), now.UTC()),
		Unknown:               timeOf(time.Time{}, now),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this machine knows no time zones")
	}
	summer := time.Date(2026, 7, 1, 12, 0, 0, 0, berlin)
	if got, want := timeOf(summer, now.In(berlin)), "2026-07-01 12:00:00 +02:00"; got != want {
		t.Errorf("in summer: got %q, want %q", got, want)
	}
}
