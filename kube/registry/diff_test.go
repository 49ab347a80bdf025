package registry

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

func TestCompareMetrics(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	from := Version{Facts: Facts{Metrics: map[string]float64{"rmse": 200, "r2": 0.5, "zeal": 1, "same": 3, "zero": 0, "huge": -math.MaxFloat64, "only": 1}}}
	to := Version{Facts: Facts{Metrics: map[string]float64{"rmse": 150, "r2": 0.25, "zeal": 2, "same": 3, "zero": 4, "huge": math.MaxFloat64, "new": 2}, Better: map[string]Direction{"zero": Higher}}}
	d := Compare(from, to, map[string]Direction{"huge": Lower})
	want := []MetricChange{
		{Name: "huge", From: p(-math.MaxFloat64), To: p(math.MaxFloat64), Better: Lower, Verdict: Worsened},
		{Name: "new", To: p(2)},
		{Name: "only", From: p(1)},
		{Name: "r2", From: p(0.5), To: p(0.25), Delta: p(-0.25), Relative: p(-0.5), Better: Higher, Verdict: Worsened},
		{Name: "rmse", From: p(200), To: p(150), Delta: p(-50), Relative: p(-0.25), Better: Lower, Verdict: Improved},
		{Name: "same", From: p(3), To: p(3), Delta: p(0), Relative: p(0), Verdict: Same},
		{Name: "zeal", From: p(1), To: p(2), Delta: p(1), Relative: p(1)},
		{Name: "zero", From: p(0), To: p(4), Delta: p(4), Better: Higher, Verdict: Improved},
	}
	if diff := cmp.Diff(want, d.Metrics); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if _, err := json.Marshal(d); err != nil {
		t.Errorf("the comparison cannot be printed: %v", err)
	}
}

func TestCompareFacts(t *testing.T) {
	facts := func() Version {
		return Version{Namespace: "a", Facts: Facts{
			Model: "m", Params: pipeline.Params{"lr": 0.1, "seed": int64(7), "net": map[string]any{"depth": int64(4)}},
			Data: map[string]any{"digest": "sha256:1"}, Code: Code{Commit: "abc"}, Artifact: pipeline.Artifact{Size: 10},
			Image: "i", Run: &Origin{Kind: "run", Name: "p-1", Stage: "train"}, Signature: json.RawMessage(`{"in": 1}`), Parents: []string{"m:1"},
		}}
	}
	changed := func(list ...[]Change) (out []string) {
		for _, l := range list {
			for _, c := range l {
				if c.Changed {
					out = append(out, c.Name)
				}
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		edit func(*Version)
		want []string
	}{
		"nothing":                      {func(*Version) {}, nil},
		"the number alone":             {func(v *Version) { v.Version = 9; v.CreatedBy = "x"; v.UID = "u" }, nil},
		"a float that is whole":        {func(v *Version) { v.Params["seed"] = 7.0 }, nil},
		"a document spelt otherwise":   {func(v *Version) { v.Signature = json.RawMessage(`{ "in":1.0}`) }, nil},
		"a text that looks like 7":     {func(v *Version) { v.Params["seed"] = "7" }, []string{"seed"}},
		"a deep parameter":             {func(v *Version) { v.Params["net"] = map[string]any{"depth": int64(5)} }, []string{"net.depth"}},
		"a parameter that is null":     {func(v *Version) { v.Params["x"] = nil }, []string{"x"}},
		"a map that became a text":     {func(v *Version) { v.Params["net"] = "resnet" }, []string{"net", "net.depth"}},
		"an empty map":                 {func(v *Version) { v.Params["net"] = map[string]any{} }, []string{"net", "net.depth"}},
		"data":                         {func(v *Version) { v.Data = nil }, []string{"digest"}},
		"code":                         {func(v *Version) { v.Code = Code{Commit: "abc-dirty", Source: "s"} }, []string{"commit", "source"}},
		"size":                         {func(v *Version) { v.Artifact.Size = 11 }, []string{"size"}},
		"image":                        {func(v *Version) { v.Image = "" }, []string{"image"}},
		"no run":                       {func(v *Version) { v.Run = nil }, []string{"kind", "run", "stage"}},
		"parents":                      {func(v *Version) { v.Parents = []string{"m:2"} }, []string{"parent m:1", "parent m:2"}},
		"a signature that is no JSON":  {func(v *Version) { v.Signature = json.RawMessage(`{`) }, []string{"signature", "signature.in"}},
		"digits beyond a float's":      {func(v *Version) { v.Params["seed"] = int64(math.MaxInt64) }, []string{"seed"}},
		"a list":                       {func(v *Version) { v.Params["seed"] = []any{int64(7)} }, []string{"seed"}},
		"a number that JSON has not":   {func(v *Version) { v.Params["lr"] = math.NaN() }, []string{"lr"}},
		"no parameters":                {func(v *Version) { v.Params = nil }, []string{"lr", "net.depth", "seed"}},
		"a metric of unknown bearings": {func(v *Version) { v.Metrics = map[string]float64{"x": 1} }, nil},
	} {
		to := facts()
		c.edit(&to)
		d := Compare(facts(), to, nil)
		got := changed(d.Params, d.Data, d.Code, d.Artifact, d.Environment, d.Inputs)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if want := len(c.want) > 0 || len(to.Metrics) > 0; d.Differs != want {
			t.Errorf("%s: differs is %v", name, d.Differs)
		}
	}
}

func TestCompareFiles(t *testing.T) {
	got := CompareFiles("m:1", "m:2",
		map[string][]byte{"a.py": []byte("one\ntwo\nthree\n"), "gone.py": []byte("x"), "same": []byte("s"), "bin": {0xff, 1}, "zero": []byte("a\x00")},
		map[string][]byte{"a.py": []byte("one\n2\nthree\n"), "new.py": []byte("a\nb\n"), "same": []byte("s"), "bin": []byte("text"), "zero": []byte("b\x00")})
	want := []FileDiff{
		{Path: "a.py", State: "changed", Added: 1, Removed: 1, Text: "--- m:1/a.py\n+++ m:2/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"},
		{Path: "bin", State: "changed", Binary: true},
		{Path: "gone.py", State: "removed", Removed: 1, Text: "--- m:1/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n"},
		{Path: "new.py", State: "added", Added: 2, Text: "--- /dev/null\n+++ m:2/new.py\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{Path: "zero", State: "changed", Binary: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := CompareFiles("a", "b", nil, nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

// What a diff says is what patch makes of it.
func TestDiffsCanBePatched(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("there is no patch")
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same files each time
	for range 50 {
		var a, b string
		for i := range random.IntN(90) {
			line := strconv.Itoa(i) + "\n"
			if random.IntN(9) > 0 {
				a += line
			}
			if random.IntN(9) > 0 {
				b += line
			}
		}
		b += []string{"", "the end"}[random.IntN(2)]
		diffs := CompareFiles("m:1", "m:2", map[string][]byte{"f": []byte(a)}, map[string][]byte{"f": []byte(b)})
		if len(diffs) == 0 {
			continue
		}
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(a), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), patch, "--fuzz=0", "-p1", file)
		c.Stdin = strings.NewReader(diffs[0].Text)
		said, err := c.CombinedOutput()
		if err != nil || strings.Contains(string(said), "offset") {
			t.Fatalf("%v: %s\n%s", err, said, diffs[0].Text)
		}
		standsWhereItSays(t, diffs[0].Text, b)
		if got, err := os.ReadFile(file); err != nil && b != "" || string(got) != b {
			t.Fatalf("patched to %q, want %q: %v", got, b, err)
		}
	}
}

// standsWhereItSays holds the new side of each hunk to the lines that its heading names; patch does not look at those.
func standsWhereItSays(t *testing.T, diff, text string) {
	t.Helper()
	lines, at := strings.Split(text, "\n"), 0
	for l := range strings.SplitSeq(diff, "\n") {
		if m := regexp.MustCompile(`^@@ -\S+ \+(\d+)`).FindStringSubmatch(l); m != nil {
			at, _ = strconv.Atoi(m[1])
			continue
		}
		if at > 0 && l != "" && (l[0] == ' ' || l[0] == '+') {
			if at > len(lines) || lines[at-1] != l[1:] {
				t.Fatalf("line %d is not %q:\n%s", at, l[1:], diff)
			}
			at++
		}
	}
}

// A source folder is at most a ConfigMap: the worst of it must not hang a terminal.
func TestCompareFilesOfTheLargestSource(t *testing.T) {
	var a, b strings.Builder
	for i := range 100_000 {
		a.WriteString(strings.Repeat("x", i%7) + "\n")
		b.WriteString(strings.Repeat("y", i%5) + "\n")
	}
	got := CompareFiles("a", "b", map[string][]byte{"f": []byte(a.String())}, map[string][]byte{"f": []byte(b.String())})
	if len(got) != 1 || got[0].Added == 0 || got[0].Removed == 0 {
		t.Errorf("got %d files", len(got))
	}
}
