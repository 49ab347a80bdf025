package main_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module heads the paths of this module's own packages.
const module = "github.com/kubectl-ml/kubectl-ml/"

// room is a part of the house and what may not be carried into it. A name stands for the package and all below it.
type room struct {
	dir string
	// uses are the rooms whose packages this one may import, besides its own.
	uses []string
	// never are foreign packages that belong to another room, except those named in but.
	never, but []string
}

// The doors of one room each.
var (
	flags    = []string{"github.com/spf13", "k8s.io/cli-runtime"}
	terminal = []string{"charm.land"}
	cluster  = []string{"k8s.io/client-go", "net/http"}
)

// rooms in the order of their imports: cmd -> plugin -> tui -> views -> kube. A package belongs to the last one that
// names a folder above it.
var rooms = []room{
	{dir: "cmd", uses: nil, never: slices.Concat(flags, terminal, cluster)},
	{dir: "cmd/kubectl-ml", uses: []string{"plugin"}, never: slices.Concat(flags, terminal, cluster, []string{"k8s.io"}), but: []string{"k8s.io/klog/v2"}},
	{dir: "cmd/gen-docs", uses: []string{"plugin", "views", "kube"}, never: slices.Concat(terminal, cluster)},
	{
		dir: "plugin", uses: []string{"tui", "views", "kube", "docs/examples"}, never: slices.Concat(terminal, cluster),
		// What kubectl's connection flags bring along.
		but: []string{"k8s.io/client-go/plugin/pkg/client/auth", "k8s.io/client-go/rest", "k8s.io/client-go/tools/clientcmd"},
	},
	{dir: "docs/examples", uses: nil, never: slices.Concat(flags, terminal, cluster, []string{"k8s.io"})},
	{dir: "tui", uses: []string{"views", "kube"}, never: slices.Concat(flags, cluster)},
	{dir: "views", uses: []string{"kube"}, never: slices.Concat(flags, terminal, cluster, []string{"context", "io", "os", "net", "bufio"})},
	{dir: "kube", uses: nil, never: slices.Concat(flags, terminal)},
	{dir: "kube/pipeline", uses: []string{"kube."}, never: slices.Concat(flags, terminal, cluster)},
	{dir: "kube/job", uses: []string{"kube.", "kube/client"}, never: slices.Concat(flags, terminal)},
	{dir: "kube/kubetest", uses: nil, never: slices.Concat(flags, terminal), but: []string{"testing"}},
}

// TestImports keeps the imports of the product pointing one way, on every platform, tests aside. It reads the sources
// itself, so that `go test` knows by its cache when it has to look again.
func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(file, root), string(filepath.Separator)))
		if entry.IsDir() {
			return enter(file, rel)
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		dir := path.Dir(rel)
		r, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s is in no room of the house: the top level is fixed, see docs/architecture.md", rel)
			return nil
		}
		seen[r.dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := r.refuses(dir, name); why != "" {
				t.Errorf("%s imports %s: %s", rel, name, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"views", "kube"} {
		if !seen[dir] {
			t.Errorf("no package of %s was looked at", dir)
		}
	}
}

// enter leaves out what is no package of this module.
func enter(folder, rel string) error {
	base := path.Base(rel)
	if rel != "" && (strings.HasPrefix(base, ".") || base == "testdata" || rel == "bin" || rel == "dist") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil && rel != "" {
		return fs.SkipDir // a module of its own, with rules of its own
	}
	return nil
}

func roomOf(dir string) (found room, ok bool) {
	for _, r := range rooms {
		if below(dir, r.dir) {
			found, ok = r, true
		}
	}
	return found, ok
}

// refuses says why a package in dir may not import name; "" when it may.
func (r room) refuses(dir, name string) string {
	own, ours := strings.CutPrefix(name, module)
	switch {
	case anyBelow(name, r.but):
		return ""
	case name == "testing" || own == "kube/kubetest":
		return "the product does not import its tests"
	case anyBelow(name, r.never):
		return "that is not for " + r.dir
	case !ours || below(own, r.dir) || anyBelow(own, r.uses):
		return ""
	}
	return "imports point one way, and " + dir + " may use " + strings.Join(append([]string{r.dir}, r.uses...), ", ")
}

func anyBelow(name string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return below(name, top) })
}

// below says whether name is top or stands below it; a top that ends in a dot stands for itself alone.
func below(name, top string) bool {
	if only, ok := strings.CutSuffix(top, "."); ok {
		return name == only
	}
	return name == top || strings.HasPrefix(name, top+"/")
}

// TestImportRules tries the rules themselves: a rule that can no longer fail keeps nothing.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		dir, imports string
		ok           bool
	}{
		{"cmd/kubectl-ml", module + "plugin", true},
		{"cmd/kubectl-ml", module + "tui", false},
		{"cmd/gen-docs", "github.com/spf13/cobra/doc", true},
		{"plugin", module + "kube/run", true},
		{"plugin", "github.com/spf13/cobra", true},
		{"plugin", "k8s.io/client-go/plugin/pkg/client/auth", true},
		{"plugin", "k8s.io/client-go/kubernetes", false},
		{"plugin", "charm.land/bubbletea/v2", false},
		{"tui/widget", "charm.land/bubbletea/v2", true},
		{"tui/widget", "k8s.io/client-go/rest", false},
		{"tui", module + "plugin", false},
		{"views", module + "kube/job/safetext", true},
		{"views", module + "kube/kubetest", false},
		{"views", "io", false},
		{"views", "io/fs", false},
		{"views", "iter", true},
		{"kube", "k8s.io/client-go/kubernetes", true},
		{"kube/run", module + "kube/pipeline", true},
		{"kube/run", module + "views", false},
		{"kube/run", "testing", false},
		{"kube/kubetest", "testing", true},
		{"kube/pipeline", module + "kube", true},
		{"kube/pipeline", module + "kube/client", false},
		{"kube/pipeline", "k8s.io/client-go/kubernetes", false},
		{"kube/job", module + "kube/job/safetext", true},
		{"kube/job", module + "kube/run", false},
	} {
		r, found := roomOf(c.dir)
		if !found {
			t.Errorf("%s has no room", c.dir)
			continue
		}
		if why := r.refuses(c.dir, c.imports); (why == "") != c.ok {
			t.Errorf("%s imports %s: %q, want ok=%t", c.dir, c.imports, why, c.ok)
		}
	}
	if _, found := roomOf("util"); found {
		t.Error("util has a room: the top level is fixed")
	}
}
