package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// member is an entry of an archive that somebody made by hand.
type member struct {
	name, body, link string
	kind             byte
}

func tarOfMembers(t *testing.T, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: m.kind, Name: m.name, Linkname: m.link, Size: int64(len(m.body)), Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipOf(t *testing.T, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if m.kind == tar.TypeSymlink {
			h.SetMode(os.ModeSymlink | 0o777)
			m.body = m.link
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(m.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileArchives pulls each with --extract. Whatever is refused leaves nothing, neither beside nor elsewhere.
func TestHostileArchives(t *testing.T) {
	zeros := strings.Repeat("\x00", 96<<20)
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"a name that climbs":          {tarOfMembers(t, []member{{name: "ok", body: "1"}, {name: "../evil", body: "2"}}), `entry "../evil" leaves the folder`},
		"a name that climbs inside":   {tarOfMembers(t, []member{{name: "a/../../evil", body: "2"}}), `leaves the folder`},
		"an absolute name":            {tarOfMembers(t, []member{{name: "/etc/evil", body: "2"}}), `entry "/etc/evil" has an absolute name`},
		"a backslash":                 {tarOfMembers(t, []member{{name: `..\evil`, body: "2"}}), `not every system can write`},
		"a link out":                  {tarOfMembers(t, []member{{name: "l", link: "../..", kind: tar.TypeSymlink}}), `entry "l" is a link that leaves the folder`},
		"an absolute link":            {tarOfMembers(t, []member{{name: "l", link: "/etc/passwd", kind: tar.TypeSymlink}}), `is a link that leaves the folder, to "/etc/passwd"`},
		"a file through a link":       {tarOfMembers(t, []member{{name: "d", link: ".", kind: tar.TypeSymlink}, {name: "d/x", body: "2"}}), `entry "d/x" is below a file`},
		"links that add up":           {tarOfMembers(t, []member{{name: "deep/d", link: "..", kind: tar.TypeSymlink}, {name: "l", link: "deep/d/..", kind: tar.TypeSymlink}}), `is a link that leads nowhere, or out of the folder`},
		"a link to nothing":           {tarOfMembers(t, []member{{name: "l", link: "nothing", kind: tar.TypeSymlink}}), `leads nowhere`},
		"a hard link":                 {tarOfMembers(t, []member{{name: "a", body: "1"}, {name: "h", link: "a", kind: tar.TypeLink}}), `entry "h" is a hard link`},
		"a device":                    {tarOfMembers(t, []member{{name: "null", kind: tar.TypeChar}}), `entry "null" is a device`},
		"a pipe":                      {tarOfMembers(t, []member{{name: "p", kind: tar.TypeFifo}}), `entry "p" is a device`},
		"a name twice":                {tarOfMembers(t, []member{{name: "a", body: "1"}, {name: "./a", body: "2"}}), `entry "./a" is there twice`},
		"a file and a folder":         {tarOfMembers(t, []member{{name: "a", body: "1"}, {name: "a/b", body: "2"}}), `is below a file`},
		"a folder and a file":         {tarOfMembers(t, []member{{name: "a/b", body: "1"}, {name: "a", body: "2"}}), `is there twice`},
		"a bomb":                      {zipped(t, tarOfMembers(t, []member{{name: "zeros", body: zeros}})), `unpacks to more than 200 times its size`},
		"a zip bomb":                  {zipOf(t, []member{{name: "zeros", body: zeros}}), `unpacks to more than 200 times its size`},
		"a zip with a climbing name":  {zipOf(t, []member{{name: "../evil", body: "2"}}), `leaves the folder`},
		"a zip with a link":           {zipOf(t, []member{{name: "l", link: "/etc/passwd", kind: tar.TypeSymlink}}), `entry "l" is a link`},
		"half a tar":                  {tarOfMembers(t, []member{{name: "a", body: strings.Repeat("x", 4000)}})[:2000], `unexpected EOF`},
		"no archive":                  {noise(5000), `it is no tar, tar.gz or zip`},
		"gzip of what is no tar":      {zipped(t, noise(5000)), `it is no tar, tar.gz or zip`},
		"larger than the disk's room": {zipped(t, tarOfMembers(t, []member{{name: "big", body: string(noise(3 << 20))}, {name: "more", body: string(noise(3 << 20))}})), `is too large`},
	} {
		t.Run(name, func(t *testing.T) {
			s := website(t, c.archive, nil)
			dir := t.TempDir()
			to := filepath.Join(dir, "in", "model")
			if err := os.Mkdir(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			o := Options{Extract: true}
			if strings.HasPrefix(name, "larger") {
				o.Free = roomOnce(8<<20, 5<<20)
			}
			_, err := Pull(t.Context(), nil, itemOf(s.URL+"/model.tgz", c.archive), to, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := names(t, filepath.Dir(to)) + names(t, dir); got != "in" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// roomOnce is a disk with room for the archive, and then less.
func roomOnce(first, then int64) func(string) (int64, error) {
	asked := false
	return func(string) (int64, error) {
		if asked {
			return then, nil
		}
		asked = true
		return first, nil
	}
}

func TestExtract(t *testing.T) {
	members := []member{{name: "./", kind: tar.TypeDir}, {name: "./MLmodel", body: "flavors"}, {name: "data/", kind: tar.TypeDir}, {name: "data/model.pkl", body: "pickle"}}
	plain := tarOfMembers(t, append(members, member{name: "latest", link: "data/model.pkl", kind: tar.TypeSymlink}))
	for name, archive := range map[string][]byte{"m.tar": plain, "m.tar.gz": zipped(t, plain), "m.zip": zipOf(t, []member{members[1], members[3]})} {
		s := website(t, archive, nil)
		dir := t.TempDir()
		for i := range 2 {
			got, err := Pull(t.Context(), nil, itemOf(s.URL+"/"+name, archive), dir+"/", Options{Extract: true, Force: i > 0})
			if err != nil || got.Path != filepath.Join(dir, "m") || got.Digest != digest(archive) {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
			holds(t, filepath.Join(dir, "m", "data", "model.pkl"), []byte("pickle"))
		}
		if got := names(t, dir); got != "m" {
			t.Errorf("%s: in the folder: %s", name, got)
		}
		if _, err := Pull(t.Context(), nil, itemOf(s.URL+"/"+name, archive), dir+"/", Options{Extract: true}); err == nil || !strings.Contains(err.Error(), "--force") {
			t.Errorf("%s: without force: %v", name, err)
		}
	}
}
