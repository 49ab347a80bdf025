package registry

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"
)

// FileDiff is a file that is not the same in two versions.
type FileDiff struct {
	Path string `json:"path"`
	// State is added, removed or changed.
	State string `json:"state"`
	// Binary files have no text and count no lines.
	Binary bool `json:"binary,omitempty"`
	// Added and Removed count lines.
	Added   int `json:"added,omitempty"`
	Removed int `json:"removed,omitempty"`
	// Text is the change as a unified diff; its headings are VERSION/PATH, so that patch -p1 takes it.
	Text string `json:"text,omitempty"`
}

// contextLines stand around each change, as diff -u has them.
const contextLines = 3

// nothing stands in a heading for the side that has no file.
const nothing = "/dev/null"

// CompareFiles compares files by path. from and to name the two sides in the headings of the diffs.
func CompareFiles(from, to string, a, b map[string][]byte) []FileDiff {
	var out []FileDiff
	for _, path := range keysOf(a, b) {
		x, inA := a[path]
		y, inB := b[path]
		f := FileDiff{Path: path, State: "changed"}
		before, after := from+"/"+path, to+"/"+path
		switch {
		case !inA:
			f.State, before = "added", nothing
		case !inB:
			f.State, after = "removed", nothing
		case bytes.Equal(x, y):
			continue
		}
		if f.Binary = binary(x) || binary(y); !f.Binary {
			f.unified(before, after, string(x), string(y))
		}
		out = append(out, f)
	}
	return out
}

func (f *FileDiff) unified(from, to, a, b string) {
	diff, err := udiff.ToUnifiedDiff(from, to, a, udiff.Lines(a, b), contextLines)
	if err != nil { // edits that do not fit their own text
		return
	}
	for _, h := range diff.Hunks {
		// The library forgets lines that join two edits of one hunk.
		h.ToLine = h.FromLine + f.Added - f.Removed
		for _, l := range h.Lines {
			switch l.Kind {
			case udiff.Insert:
				f.Added++
			case udiff.Delete:
				f.Removed++
			}
		}
	}
	f.Text = diff.String()
}

// binary says that a file is no text that lines could be compared of.
func binary(data []byte) bool { return !utf8.Valid(data) || strings.ContainsRune(string(data), 0) }
