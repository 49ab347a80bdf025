package pipeline

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func paths(ref *SourceRef) string { return strings.Join(slices.Sorted(maps.Values(ref.Keys)), " ") }

func TestPackage(t *testing.T) {
	files := map[string]string{
		"train.py": "print(1)\n", "lib/io.py": "x", "lib/deep/a b.py": "y", "..odd": "z", "a..b": "q", "model.bin": "\xff\x00",
		"hex-61": "h", "ünï.py": "u", ".env": "E=1", "lib/__pycache__/io.pyc": "no", "x.pyc": "no", ".ipynb_checkpoints/n": "no",
		".git/config": "no", "data/big.csv": "no", "data/keep.csv": "k", ".mlignore": "# large\ndata/*\n!data/keep.csv\n",
	}
	cm, ref, err := Package(t.Context(), folder(t, files), "demo", "team")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(ref), "..odd .env a..b data/keep.csv hex-61 lib/deep/a b.py lib/io.py model.bin train.py ünï.py"; got != want {
		t.Errorf("files are %s\nwant      %s", got, want)
	}
	for key, path := range ref.Keys {
		if e := validation.IsConfigMapKey(key); len(e) > 0 {
			t.Errorf("key %s: %v", key, e)
		}
		content := []byte(cm.Data[key])
		if b, ok := cm.BinaryData[key]; ok {
			content = b
		}
		if !bytes.Equal(content, []byte(files[path])) {
			t.Errorf("%s holds %q", path, content)
		}
	}
	if ref.Keys["lib..io.py"] != "lib/io.py" || len(cm.BinaryData) != 1 {
		t.Errorf("keys are %v", ref.Keys)
	}
	if cm.Immutable == nil || !*cm.Immutable || cm.Name != ref.ConfigMap || cm.Labels[kube.LabelKind] != kube.KindSource || len(cm.Name) != len("mlsource-demo-")+10 {
		t.Errorf("ConfigMap is %+v", cm.ObjectMeta)
	}
}

func TestPackageIsNamedByContent(t *testing.T) {
	name := func(files map[string]string) string {
		cm, _, err := Package(t.Context(), folder(t, files), "demo", "team")
		if err != nil {
			t.Fatal(err)
		}
		return cm.Name
	}
	a := name(map[string]string{"a": "1", "b": "2"})
	if a != name(map[string]string{"b": "2", "a": "1"}) {
		t.Error("the same content has two names")
	}
	for _, other := range []map[string]string{{"a": "12"}, {"a": "1", "c": "2"}, {"a": "1", "b": "3"}, {"a": "1b 12", "b": ""}} {
		if a == name(other) {
			t.Errorf("%v has the name of other content", other)
		}
	}
}

func TestPackageRefuses(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "s"})
	link := folder(t, map[string]string{"a": "1"})
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(link, "b")); err != nil {
		t.Skip("no symbolic links here")
	}
	broken := folder(t, map[string]string{"a": "1"})
	if err := os.Symlink("nowhere", filepath.Join(broken, "b")); err != nil {
		t.Fatal(err)
	}
	large := folder(t, map[string]string{"data.csv": strings.Repeat("x", 900_000), "b.csv": strings.Repeat("x", 200_000), "a.py": ""})
	for _, c := range []struct{ dir, want string }{
		{link, "b links to a place outside of " + link},
		{broken, "b is a broken link"},
		{large, "has 1100000 bytes, at most 1000000 fit; the largest: data.csv (900000 bytes), b.csv (200000 bytes), a.py (0 bytes): name what stages do not need in .mlignore"},
		{folder(t, map[string]string{".mlignore": "*"}), "has no files to package"},
		{folder(t, map[string]string{".mlignore": "[", "a": ""}), ".mlignore"},
		{filepath.Join(outside, "secret"), "is a file: name the folder that it is in"},
		{filepath.Join(outside, "none"), "source folder: "},
	} {
		if _, _, err := Package(t.Context(), c.dir, "demo", "team"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

func TestPackageFollowsLinksInside(t *testing.T) {
	dir := folder(t, map[string]string{"lib/a.py": "1"})
	if err := os.Symlink("lib/a.py", filepath.Join(dir, "b.py")); err != nil {
		t.Skip("no symbolic links here")
	}
	cm, ref, err := Package(t.Context(), dir, "demo", "team")
	if err != nil || paths(ref) != "b.py lib/a.py" || cm.Data["b.py"] != "1" {
		t.Error(cm, ref, err)
	}
}

func TestPackageGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git here")
	}
	repo := folder(t, map[string]string{"stages/a.py": "1", "README.md": "r"})
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	state := func() *SourceRef {
		t.Helper()
		_, ref, err := Package(t.Context(), filepath.Join(repo, "stages"), "demo", "team")
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	run("init", "-q")
	if ref := state(); ref.Commit != "" || ref.Repo != "" {
		t.Errorf("a repository without commits has %+v", ref)
	}
	run("add", ".")
	run("commit", "-q", "-m", "first")
	run("remote", "add", "origin", "https://user:token@example.com/team/repo.git")
	if ref := state(); len(ref.Commit) != 40 || ref.Dirty || ref.Repo != "https://example.com/team/repo.git" {
		t.Errorf("clean state is %+v", ref)
	}
	if err := os.WriteFile(filepath.Join(repo, "README.md"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if state().Dirty {
		t.Error("a change outside of the folder counts")
	}
	if err := os.WriteFile(filepath.Join(repo, "stages", "new.py"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ref := state(); !ref.Dirty || !strings.HasSuffix(ref.CommitText(), "-dirty") {
		t.Errorf("an untracked file of the folder does not count: %+v", ref)
	}
}

func TestWithoutCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@example.com/r.git":     "https://example.com/r.git",
		"https://token@example.com/r.git":   "https://example.com/r.git",
		"https://example.com/r.git?t=1#x":   "https://example.com/r.git",
		"ssh://git:pw@example.com/r.git":    "ssh://git@example.com/r.git",
		"git@example.com:team/r.git":        "git@example.com:team/r.git",
		"/srv/git/r.git":                    "/srv/git/r.git",
		"https://u:p%zz@example.com/r.git?": "",
	} {
		if got := withoutCredentials(in); got != want {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}

func TestSourceFilesHaveTheirPaths(t *testing.T) {
	long := strings.Repeat("d/", 150) + "f"
	cm := &corev1.ConfigMap{Data: map[string]string{}, BinaryData: map[string][]byte{}}
	for _, path := range []string{"train.py", "lib/deep/x.py", "a..b", "..hidden", "hex-61", "with blank.py", "ümlaut"} {
		cm.Data[fileKey(path)] = path
	}
	cm.BinaryData[fileKey("lib/weights.bin")] = []byte("lib/weights.bin")
	cm.Data["hex-nonsense"] = "hex-nonsense"
	cm.Data[fileKey(long)] = fileKey(long) // too long to be read back
	for path, data := range SourceFiles(cm) {
		if string(data) != path {
			t.Errorf("the file %q came back as %q", data, path)
		}
	}
	if n := len(SourceFiles(cm)); n != 10 {
		t.Errorf("%d files", n)
	}
}
