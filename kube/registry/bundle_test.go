package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// exported is a model with an inline artifact and one in a store.
func exported() Bundle {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	facts := func(n int, uri, digest string, size int64) Facts {
		return Facts{Model: "m", Version: n, Artifact: pipeline.Artifact{URI: uri, Digest: digest, Size: size}, Metrics: map[string]float64{"rmse": 0.30000000000000004}, CreatedAt: at}
	}
	return Bundle{
		Model: "m", Namespace: "ml", Server: "https://a", By: "ada", At: at,
		Versions: []Bundled{
			{Facts: facts(3, "inline:model.pkl", DigestOf([]byte("pickle")), 6), UID: "u3", Created: at, Inline: []byte("pickle")},
			{Facts: facts(7, "s3://b/m", DigestOf([]byte("weights")), 7), UID: "u7", Created: at, Approval: &Approval{State: "approved", Mark: Mark{By: "bob", At: at}}},
		},
		Aliases: map[string]int{"production": 7}, Better: map[string]Direction{"rmse": Lower},
		History: []Event{{At: at, By: "ada", Action: Registered, Version: 3}},
	}
}

// inTar is exported with its artifacts as files of a tar.
func inTar() (Bundle, map[string]string) {
	b := exported()
	files := map[string]string{"artifacts/3/model.pkl": "pickle", "artifacts/7/weights.bin": "weights"}
	b.Versions[0].Inline, b.Versions[0].File = nil, "artifacts/3/model.pkl"
	b.Versions[1].File = "artifacts/7/weights.bin"
	return b, files
}

func opener(files map[string]string) func(Bundled) (io.ReadCloser, error) {
	return func(v Bundled) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(files[v.File])), nil }
}

func TestBundleComesBack(t *testing.T) {
	want := exported()
	text, err := EncodeBundle(want)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "\t", "      "); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{text, indented.Bytes()} {
		got, err := ReadBundle(bytes.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	want, files := inTar()
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := WriteTar(w, want, opener(files)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two exports of the same differ")
	}
	kept := map[string]string{}
	got, err := ReadBundle(bytes.NewReader(first.Bytes()), func(v Bundled, r io.Reader) error {
		text, err := io.ReadAll(r)
		kept[v.File] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(files, kept); diff != "" {
		t.Errorf("files -want +got\n%s", diff)
	}
	if _, err := ReadBundle(&second, func(Bundled, io.Reader) error { return errors.New("disk full") }); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a full disk: %v", err)
	}
}

func TestBundleIsRefused(t *testing.T) {
	encode := func(change func(*Bundle)) string {
		b := exported()
		change(&b)
		text, err := EncodeBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	good := encode(func(*Bundle) {})
	file := func(path string, b *Bundle) { b.Versions[1].File = path }
	for name, c := range map[string]struct{ text, err string }{
		"nothing":           {"", "the file is empty"},
		"white space":       {" \n", "the file is empty"},
		"gzip":              {"\x1f\x8b\x08", "the file is compressed: gunzip it first"},
		"text":              {"hello", "the tar is truncated"},
		"long text":         {strings.Repeat("hello ", 200), "neither a JSON document nor a tar"},
		"truncated":         {good[:len(good)/2], "the document is truncated"},
		"two documents":     {good + good, "the document is no JSON of an exported model"},
		"another kind":      {`{"kind": "Pod"}`, `the document is a "Pod", not a ModelBundle`},
		"another version":   {strings.Replace(good, pipeline.APIVersion, "kubectl-ml.dev/v9", 1), `is of version "kubectl-ml.dev/v9", which this program does not read`},
		"an edited metric":  {strings.Replace(good, "0.30000000000000004", "0.2", 1), "the document was changed after its export"},
		"an edited digest":  {strings.Replace(good, DigestOf([]byte("weights")), DigestOf([]byte("x")), 1), "the document was changed after its export"},
		"an edited pickle":  {encode(func(b *Bundle) { b.Versions[0].Inline = []byte("evil") }), "version 3 of the document: its artifact has the digest"},
		"a lost pickle":     {encode(func(b *Bundle) { b.Versions[0].Inline = nil }), "version 3 of the document: its artifact has the digest"},
		"bytes of a store":  {encode(func(b *Bundle) { b.Versions[1].Inline = []byte("x") }), "it holds an artifact, but its URI is s3://b/m"},
		"no version":        {encode(func(b *Bundle) { b.Versions = nil; b.Aliases = nil }), "the document holds no version"},
		"version 0":         {encode(func(b *Bundle) { b.Versions[0].Version = 0 }), "a version with the number 0"},
		"a stranger":        {encode(func(b *Bundle) { b.Versions[0].Model = "x" }), `version 3 of the document belongs to model "x", not to "m"`},
		"twice":             {encode(func(b *Bundle) { b.Versions[0].Version = 7 }), "version 7 of the document is there twice"},
		"a dangling alias":  {encode(func(b *Bundle) { b.Aliases["production"] = 8 }), "the alias production of the document points at version 8"},
		"files, no tar":     {encode(func(b *Bundle) { file("artifacts/7/x", b) }), "names the file of version 7, but it is not in the tar"},
		"an absolute path":  {encode(func(b *Bundle) { file("/etc/passwd", b) }), "has a path that no export writes"},
		"a way out":         {encode(func(b *Bundle) { file("artifacts/7/../../x", b) }), "has a path that no export writes"},
		"another's folder":  {encode(func(b *Bundle) { file("artifacts/3/x", b) }), "it must be artifacts/7/NAME"},
		"a Windows path":    {encode(func(b *Bundle) { file(`artifacts/7/..\x`, b) }), "has a path that no export writes"},
		"a folder's path":   {encode(func(b *Bundle) { file("artifacts/7/", b) }), "has a path that no export writes"},
		"a double slash":    {encode(func(b *Bundle) { file("artifacts/7//x", b) }), "has a path that no export writes"},
		"no digest":         {encode(func(b *Bundle) { file("artifacts/7/x", b); b.Versions[1].Artifact.Digest = "" }), "has no digest to be checked against"},
		"a folder in it":    {encode(func(b *Bundle) { file("artifacts/7/x/y", b) }), "has a path that no export writes"},
		"inline and a file": {encode(func(b *Bundle) { b.Versions[0].File = "artifacts/3/x" }), "its artifact is there twice"},
	} {
		_, err := ReadBundle(strings.NewReader(c.text), nil)
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestTarIsRefused(t *testing.T) {
	b, files := inTar()
	doc, err := EncodeBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := WriteTar(&whole, b, opener(files)); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		name, text string
		kind       byte
	}
	model := entry{documentName, string(doc), tar.TypeReg}
	a, z := entry{"artifacts/3/model.pkl", "pickle", tar.TypeReg}, entry{"artifacts/7/weights.bin", "weights", tar.TypeReg}
	pack := func(entries ...entry) string {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, e := range entries {
			h := &tar.Header{Typeflag: e.kind, Name: e.name, Size: int64(len(e.text)), Mode: 0o644}
			if e.kind != tar.TypeReg {
				h.Size, h.Linkname = 0, "/etc/passwd"
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				_, _ = io.WriteString(w, e.text)
			}
		}
		_ = w.Close()
		return out.String()
	}
	for name, c := range map[string]struct{ text, err string }{
		"the same":         {pack(model, a, z), ""},
		"another order":    {pack(model, z, a), ""},
		"no document":      {pack(a, z), `it begins with "artifacts/3/model.pkl", not with model.json`},
		"a linked one":     {pack(entry{documentName, "", tar.TypeSymlink}), "the file is no exported model"},
		"a way out":        {pack(model, a, z, entry{"../../x", "x", tar.TypeReg}), `the tar holds "../../x"`},
		"an absolute path": {pack(model, entry{"/etc/passwd", "x", tar.TypeReg}, a, z), `the tar holds "/etc/passwd"`},
		"a link":           {pack(model, entry{a.name, "", tar.TypeSymlink}, z), `the tar holds "artifacts/3/model.pkl" (0 bytes), which its document does not name so`},
		"a hard link":      {pack(model, entry{a.name, "", tar.TypeLink}, z), `the tar holds "artifacts/3/model.pkl"`},
		"twice":            {pack(model, a, a, z), "changed after its export"},
		"a bomb":           {pack(model, entry{a.name, strings.Repeat("x", 1<<20), tar.TypeReg}), `the tar holds "artifacts/3/model.pkl" (1048576 bytes)`},
		"another content":  {pack(model, entry{a.name, "elkcip", tar.TypeReg}, z), "artifacts/3/model.pkl: it has 6 bytes with the digest"},
		"a missing file":   {pack(model, a), "the tar is incomplete: artifacts/7/weights.bin"},
		"cut in a header":  {whole.String()[:700], "the tar is truncated"},
		"cut in a file":    {strings.Split(whole.String(), "ckle")[0], "the tar is truncated"},
	} {
		for _, keep := range []func(Bundled, io.Reader) error{nil, func(_ Bundled, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }} {
			_, err := ReadBundle(strings.NewReader(c.text), keep)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
		}
	}
	files["artifacts/3/model.pkl"] = "changed"
	if err := WriteTar(io.Discard, b, opener(files)); err == nil {
		t.Error("a file that changed meanwhile is written")
	}
}

func TestNumbers(t *testing.T) {
	b := exported()
	never := func(int, int) bool { return false }
	for name, c := range map[string]struct {
		taken    []int
		same     func(n, m int) bool
		renumber bool
		want     []Added
		err      string
	}{
		"free":               {nil, never, false, []Added{{From: 3, To: 3}, {From: 7, To: 7}}, ""},
		"others are there":   {[]int{1, 5}, never, false, []Added{{From: 3, To: 3}, {From: 7, To: 7}}, ""},
		"taken":              {[]int{3, 7, 9}, never, false, nil, "numbers that are taken here, or were once: 3, 7"},
		"the same are there": {[]int{3, 7}, func(n, m int) bool { return n == m }, false, []Added{{3, 3, true}, {7, 7, true}}, ""},
		"renumbered":         {[]int{3, 9}, never, true, []Added{{From: 3, To: 10}, {From: 7, To: 11}}, ""},
		"renumbered again":   {[]int{3, 9, 10}, func(n, m int) bool { return n == 3 && m == 10 }, true, []Added{{3, 10, true}, {From: 7, To: 11}}, ""},
	} {
		got, err := b.Numbers(c.taken, c.same, c.renumber)
		if err != nil && (c.err == "" || !strings.Contains(err.Error(), c.err)) || err == nil && c.err != "" {
			t.Errorf("%s: %v, want %q", name, err, c.err)
			continue
		}
		if diff := cmp.Diff(c.want, got); err == nil && diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	b.Versions[1].Parents = []string{"m:3", "m:1", "hf://org/base"}
	got := b.Renamed(&b.Versions[1], "n", []Added{{From: 3, To: 10}, {From: 7, To: 11}})
	if got.Model != "n" || got.Version != 11 || !slices.Equal(got.Parents, []string{"n:10", "m:1", "hf://org/base"}) {
		t.Errorf("renamed to %s:%d of %v", got.Model, got.Version, got.Parents)
	}
	if b.Versions[1].Parents[0] != "m:3" {
		t.Error("the bundle was changed")
	}
}
