package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// KindBundle is the kind of the document that an exported model is.
const KindBundle = "ModelBundle"

// maxBundle bounds the document, in bytes: 10,000 versions have about 40 MiB.
const maxBundle = 128 << 20

// Bundle is a model, or some versions of it, on the way to another namespace or cluster.
type Bundle struct {
	Model string `json:"model"`
	// Namespace and Server say where it was exported, By and At by whom and when.
	Namespace string    `json:"namespace,omitempty"`
	Server    string    `json:"server,omitempty"`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
	Versions  []Bundled `json:"versions"`
	// Aliases are those that point at the versions here.
	Aliases         map[string]int       `json:"aliases,omitempty"`
	Better          map[string]Direction `json:"better,omitempty"`
	RequireApproval bool                 `json:"requireApproval,omitempty"`
	Notes           map[string]string    `json:"notes,omitempty"`
	// History is oldest first; lines of other versions than these are left out.
	History []Event `json:"history,omitempty"`
}

// Bundled is a version in a bundle.
type Bundled struct {
	Facts
	// UID and Created are of the object that was exported.
	UID      string            `json:"uid,omitempty"`
	Created  time.Time         `json:"created,omitzero"`
	Approval *Approval         `json:"approval,omitempty"`
	Archived *Mark             `json:"archived,omitempty"`
	Notes    map[string]string `json:"notes,omitempty"`
	// Inline is the artifact itself, of a document without a tar.
	Inline []byte `json:"inline,omitempty"`
	// File is the artifact in the tar around the document: artifacts/VERSION/NAME, its bytes those that the digest is of.
	File string `json:"file,omitempty"`
}

// Origin says where the bundle was exported, as lines of imported history name it.
func (b *Bundle) Origin() string { return b.Namespace + "@" + b.Server }

// Version is the version of that number, or nil.
func (b *Bundle) Version(n int) *Bundled {
	for i := range b.Versions {
		if b.Versions[i].Version == n {
			return &b.Versions[i]
		}
	}
	return nil
}

// envelope is the document: the checksum is of the content's JSON without white space.
type envelope struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Checksum   string          `json:"checksum"`
	Content    json.RawMessage `json:"content"`
}

// DigestOf is sha256:<hex> of b.
func DigestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// EncodeBundle writes a bundle as a JSON document.
func EncodeBundle(b Bundle) ([]byte, error) {
	content, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("write model %s: %w", b.Model, err)
	}
	text, err := json.MarshalIndent(envelope{APIVersion: pipeline.APIVersion, Kind: KindBundle, Checksum: DigestOf(content), Content: content}, "", "  ")
	return append(text, '\n'), err
}

// DecodeBundle reads what EncodeBundle wrote. It refuses a document that was changed or that contradicts itself.
func DecodeBundle(text []byte) (Bundle, error) {
	var b Bundle
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) {
			return b, errors.New("the document is truncated: export it again, or copy the whole file")
		}
		return b, fmt.Errorf("the document is no JSON of an exported model: %w", err)
	}
	if e.Kind != KindBundle {
		return b, fmt.Errorf("the document is a %q, not a %s as \"kubectl ml model export\" writes it", e.Kind, KindBundle)
	}
	if e.APIVersion != pipeline.APIVersion {
		return b, fmt.Errorf("the document is of version %q, which this program does not read; it reads %s", e.APIVersion, pipeline.APIVersion)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, e.Content); err != nil {
		return b, fmt.Errorf("the document is no JSON of an exported model: %w", err)
	}
	if got := DigestOf(compact.Bytes()); got != e.Checksum {
		return b, fmt.Errorf("the document was changed after its export: its content has the checksum %s, not %s; export it again", got, e.Checksum)
	}
	if err := json.Unmarshal(e.Content, &b); err != nil {
		return b, fmt.Errorf("the document is no exported model: %w", err)
	}
	return b, b.check()
}

// check finds what no export writes.
func (b *Bundle) check() error {
	if len(b.Versions) == 0 {
		return errors.New("the document holds no version")
	}
	for i := range b.Versions {
		v := &b.Versions[i]
		where := fmt.Sprintf("version %d of the document", v.Version)
		switch {
		case v.Version <= 0:
			return fmt.Errorf("the document holds a version with the number %d: they count from 1", v.Version)
		case v.Model != b.Model:
			return fmt.Errorf("%s belongs to model %q, not to %q", where, v.Model, b.Model)
		case b.Version(v.Version) != v:
			return fmt.Errorf("%s is there twice", where)
		}
		if err := v.checkArtifact(); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	for alias, n := range b.Aliases {
		if b.Version(n) == nil {
			return fmt.Errorf("the alias %s of the document points at version %d, which it does not hold", alias, n)
		}
	}
	return nil
}

// inline says that the artifact is kept in the version's ConfigMap.
func (v *Bundled) inline() bool { return strings.HasPrefix(v.Artifact.URI, "inline:") }

// checkArtifact holds what the bundle has of the artifact against its facts, and refuses a file that would be written
// elsewhere than into a folder of its own when somebody unpacks the tar.
func (v *Bundled) checkArtifact() error {
	name, ok := strings.CutPrefix(v.File, v.folder())
	switch {
	case v.File == "" && v.inline():
		return checkBytes(v.Artifact, v.Inline)
	case len(v.Inline) > 0 && v.File != "":
		return errors.New("its artifact is there twice: in the document and beside it")
	case len(v.Inline) > 0:
		return fmt.Errorf("it holds an artifact, but its URI is %s", v.Artifact.URI)
	case v.File == "":
		return nil
	case !ok || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\:") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("its file %q has a path that no export writes: it must be %sNAME", v.File, v.folder())
	case !digestPattern.MatchString(v.Artifact.Digest):
		return fmt.Errorf("its file %s has no digest to be checked against", v.File)
	}
	return nil
}

// checkBytes holds the bytes of an artifact against its facts.
func checkBytes(a pipeline.Artifact, b []byte) error {
	if got := DigestOf(b); got != a.Digest {
		return fmt.Errorf("its artifact has the digest %s, not %s: it was changed or damaged", got, a.Digest)
	}
	return nil
}

func (v *Bundled) folder() string { return "artifacts/" + strconv.Itoa(v.Version) + "/" }

// Added is a version that an import writes.
type Added struct {
	// From is its number in the bundle, To the one that it gets.
	From, To int
	// There says that the very same version is there already.
	There bool
}

// Numbers decides which numbers the versions of a bundle get. taken are the numbers that are
// there, same says whether version n of the bundle is the one with the number m. A number that is
// taken by another version is an error, unless renumber lets the version have the next one that is free.
func (b *Bundle) Numbers(taken []int, same func(n, m int) bool, renumber bool) ([]Added, error) {
	next := 1
	for _, n := range taken {
		next = max(next, n+1)
	}
	var out []Added
	var clash []string
	for _, n := range b.numbers() {
		a := Added{From: n, To: n}
		switch there := slices.Index(taken, n) >= 0; {
		case there && same(n, n):
			a.There = true
		case renumber:
			a.To, a.There = again(taken, func(m int) bool { return same(n, m) }, next)
			if !a.There {
				next++
			}
		case there:
			clash = append(clash, strconv.Itoa(n))
		}
		out = append(out, a)
	}
	if len(clash) > 0 {
		return nil, fmt.Errorf("these versions have numbers that are taken here, or were once: %s\n  give all of them new numbers with: --renumber   or the model another name with: --name NAME", strings.Join(clash, ", "))
	}
	return out, nil
}

// again finds the version that an earlier import made, else gives the next number.
func again(taken []int, same func(m int) bool, next int) (int, bool) {
	for _, m := range taken {
		if same(m) {
			return m, true
		}
	}
	return next, false
}

// numbers are the versions' numbers, ascending: parents are written before their children.
func (b *Bundle) numbers() []int {
	out := make([]int, len(b.Versions))
	for i := range b.Versions {
		out[i] = b.Versions[i].Version
	}
	slices.Sort(out)
	return out
}

// Renamed are the facts of a version under the model's new name and the versions' new numbers; parents that are in the
// bundle move along.
func (b *Bundle) Renamed(v *Bundled, model string, numbers []Added) Facts {
	names := map[string]string{}
	f := v.Facts
	for _, a := range numbers {
		names[fmt.Sprintf("%s:%d", b.Model, a.From)] = fmt.Sprintf("%s:%d", model, a.To)
		if a.From == v.Version {
			f.Version = a.To
		}
	}
	f.Model, f.Parents = model, slices.Clone(v.Parents)
	for i, p := range f.Parents {
		if to, ok := names[p]; ok {
			f.Parents[i] = to
		}
	}
	return f
}

// readAll reads at most limit bytes.
func readAll(r io.Reader, limit int64, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d MiB", what, limit>>20)
	}
	return text, nil
}
