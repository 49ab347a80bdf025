package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// exportPage is how many versions are read at once: each may hold an artifact of almost a megabyte.
const exportPage = 50

// Export reads a model, or the version of it that ref names, as a bundle with the artifacts that the records hold. A
// record that contradicts itself is refused: nobody could tell later what of it was true.
func Export(ctx context.Context, c *client.Client, ref Ref, by string, now time.Time) (Bundle, error) {
	h, err := GetHead(ctx, c, ref.Model)
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{
		Model: ref.Model, Namespace: c.Namespace, Server: c.Host, By: by, At: now.UTC(),
		Better: h.Better, RequireApproval: h.RequireApproval, Notes: h.Notes, Aliases: map[string]int{},
	}
	take := func(cm *corev1.ConfigMap) error {
		v := h.versionOf(cm)
		if len(v.Problems) > 0 {
			return refuse("%s contradicts itself and is not exported: %s\n  see all of it with: kubectl ml model check %s", Ref{Model: v.Model, Version: v.Version}, v.Problems[0], v.Model)
		}
		b.Versions = append(b.Versions, Bundled{
			Facts: v.Facts, UID: v.UID, Created: v.Created.UTC(), Approval: v.Approval, Archived: v.Archived, Notes: v.Notes, Inline: cm.BinaryData[keyArtifact],
		})
		for _, alias := range v.Aliases {
			b.Aliases[alias] = v.Version
		}
		return nil
	}
	if ref.Version == 0 && ref.Alias == "" {
		err = eachVersion(ctx, c, h, take)
	} else {
		var n int
		if n, err = h.find(ctx, c, ref); err == nil {
			var cm *corev1.ConfigMap
			if cm, err = readVersion(ctx, c, ref.Model, n); err == nil && (cm == nil || !h.Exists(n)) {
				err = h.noVersion(ctx, c, ref, n, cm != nil)
			} else if err == nil {
				err = take(cm)
			}
		}
	}
	if err != nil {
		return Bundle{}, err
	}
	if len(b.Versions) == 0 {
		return Bundle{}, refuse("model %s has no version to export", ref.Model)
	}
	slices.SortFunc(b.Versions, func(x, y Bundled) int { return x.Version - y.Version })
	events, _, err := h.history(ctx, c)
	for _, e := range events {
		if b.Version(e.Version) != nil || b.Version(e.From) != nil || e.Version == 0 && e.From == 0 {
			b.History = append(b.History, e)
		}
	}
	return b, err
}

// eachVersion reads the records of all versions, page by page.
func eachVersion(ctx context.Context, c *client.Client, h *Head, take func(*corev1.ConfigMap) error) error {
	o := metav1.ListOptions{LabelSelector: kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: h.Model}), Limit: exportPage}
	for {
		list, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, o)
		if err != nil {
			return c.Explain("read the versions of model "+h.Model, err)
		}
		for i := range list.Items {
			if n, ok := versionOf(list.Items[i].Name, h.Model); ok && h.Exists(n) {
				if err := take(&list.Items[i]); err != nil {
					return err
				}
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}

// ImportOptions say how a bundle is taken over.
type ImportOptions struct {
	// As is the model's name here; empty keeps that of the bundle.
	As string
	// Renumber gives all versions new numbers; else each keeps its own.
	Renumber bool
	// Inline gives the bytes of a version whose artifact its record is to hold; nil takes them from the bundle.
	Inline func(Bundled) ([]byte, error)
	Mark   Mark
	DryRun []string
	// Said is told of each version, as soon as it is there.
	Said func(Taken)
}

// Taken is a version that was taken over.
type Taken struct {
	Version
	// From is its number in the bundle; Made is false when it was there already.
	From int  `json:"from"`
	Made bool `json:"made"`
}

// Import takes over a bundle. All of it is checked before the first version is written. Importing the same bundle again
// goes on where it ended. Approvals are not taken over: who approved there decided nothing here. Rejections are, and
// so is that a version is archived.
func Import(ctx context.Context, c *client.Client, b Bundle, o ImportOptions) ([]Taken, error) {
	model := b.Model
	if o.As != "" {
		model = o.As
	}
	if err := CheckModel(model); err != nil {
		return nil, fmt.Errorf("%w\n  give it another name with: --name NAME", err)
	}
	_, h, err := readHead(ctx, c, model)
	if err != nil {
		return nil, err
	}
	fresh := h == nil
	if fresh {
		h = newHead(model, c.Namespace)
	}
	plan, err := h.plan(ctx, c, &b, o.Renumber)
	if err == nil {
		err = b.fits(c.Namespace, model, plan, o)
	}
	if err != nil {
		return nil, err
	}
	var out []Taken
	made := false
	for _, a := range plan {
		v := b.Version(a.From)
		got, isNew, err := b.register(ctx, c, h, v, b.Renamed(v, model, plan), a.There, o)
		if err != nil {
			return out, fmt.Errorf("import version %d: %w", a.From, err)
		}
		made = made || isNew
		out = append(out, Taken{Version: got, From: a.From, Made: isNew})
		if o.Said != nil {
			o.Said(out[len(out)-1])
		}
	}
	if len(o.DryRun) > 0 {
		return out, nil
	}
	return out, b.takeOver(ctx, c, model, plan, fresh, made)
}

// register makes one version, or finds the one that is there.
func (b *Bundle) register(ctx context.Context, c *client.Client, h *Head, v *Bundled, f Facts, there bool, o ImportOptions) (Version, bool, error) {
	if there {
		cm, err := readVersion(ctx, c, h.Model, f.Version)
		if err != nil || cm != nil {
			return h.versionAt(cm), false, err
		}
	}
	inline, err := v.bytes(o)
	if err != nil {
		return Version{}, false, err
	}
	return Register(ctx, c, f, RegisterOptions{Key: b.key(v), Inline: inline, Action: Imported, By: o.Mark.By, DryRun: o.DryRun})
}

// versionAt is versionOf for an object that may not be there.
func (h *Head) versionAt(cm *corev1.ConfigMap) Version {
	if cm == nil {
		return Version{}
	}
	return h.versionOf(cm)
}

// plan decides on the numbers, as the head stands.
func (h *Head) plan(ctx context.Context, c *client.Client, b *Bundle, renumber bool) ([]Added, error) {
	list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: h.Model}))
	if err != nil {
		return nil, err
	}
	keys := map[int]string{}
	var taken []int
	for i := range list {
		if n, ok := versionOf(list[i].Name, h.Model); ok {
			keys[n], taken = list[i].Labels[kube.LabelKey], append(taken, n)
		}
	}
	events, _, err := h.history(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if _, there := keys[e.Version]; e.Action == Deleted && e.Version > 0 && e.Origin == "" && !there {
			taken = append(taken, e.Version)
		}
	}
	var failed error
	same := func(n, m int) bool {
		key, there := keys[m]
		if !there || h.absent.has(m) {
			return false
		}
		if key == keyHash(b.key(b.Version(n))) {
			return true
		}
		if n != m {
			return false
		}
		cm, err := readVersion(ctx, c, h.Model, m)
		if err != nil || cm == nil {
			failed = err
			return false
		}
		have, _ := decodeFacts(cm.Data)
		want := b.Renamed(b.Version(n), h.Model, nil)
		x, _ := json.Marshal(have)
		y, _ := json.Marshal(want)
		return bytes.Equal(x, y)
	}
	plan, err := b.Numbers(taken, same, renumber)
	if failed != nil {
		return nil, failed
	}
	return plan, err
}

// key tells a version of a bundle from all others: importing it twice finds it.
func (b *Bundle) key(v *Bundled) string {
	return fmt.Sprintf("import/%s/%s/%s:%d", b.Origin(), v.UID, b.Model, v.Version)
}

// bytes are those that the record is to hold, nil when it holds none.
func (v *Bundled) bytes(o ImportOptions) ([]byte, error) {
	if !v.inline() || len(v.Inline) > 0 || o.Inline == nil {
		return v.Inline, nil
	}
	text, err := o.Inline(*v)
	if err == nil {
		err = checkBytes(v.Artifact, text)
	}
	return text, err
}

// fits finds what the registry would refuse before the first version is written.
func (b *Bundle) fits(namespace, model string, plan []Added, o ImportOptions) error {
	for _, a := range plan {
		v := b.Version(a.From)
		f := b.Renamed(v, model, plan)
		inline, err := v.bytes(o)
		if err == nil {
			err = f.check()
		}
		if err == nil {
			_, err = f.object(namespace, b.key(v), inline)
		}
		if len(v.Notes) > maxNotes {
			err = refuse("it has %d notes, %d at most", len(v.Notes), maxNotes)
		}
		for k, text := range v.Notes {
			if err == nil {
				err = checkNote(k, text)
			}
		}
		if err != nil {
			return fmt.Errorf("version %d cannot be imported: %w", a.From, err)
		}
	}
	for k, text := range b.Notes {
		if err := checkNote(k, text); err != nil {
			return err
		}
	}
	trial := newHead(model, namespace)
	for i, e := range b.History {
		if e.Action == "" {
			return refuse("line %d of the history has no action", i+1)
		}
		if err := trial.say(e); err != nil {
			return fmt.Errorf("line %d of the history: %w", i+1, err)
		}
	}
	return nil
}

// importLines bounds what one update of the head adds to its history, in bytes.
const importLines = 64 << 10

// takeOver adds the bundle's history as evidence, and what is known of the model and the versions beside their facts.
// Nothing is changed that somebody here has decided.
func (b *Bundle) takeOver(ctx context.Context, c *client.Client, model string, plan []Added, fresh, made bool) error {
	to := map[int]int{}
	for _, a := range plan {
		to[a.From] = a.To
	}
	for more := true; more; {
		more = false
		err := change(ctx, c, model, nil, func(ctx context.Context, h *Head) error {
			there, _, err := h.history(ctx, c)
			if err != nil {
				return err
			}
			missing := b.lines(to, there)
			if len(missing) == 0 && !made {
				return errUnchanged
			}
			more = false
			size := 0
			for _, e := range missing {
				if size > importLines {
					more = true
					break
				}
				before := len(h.lines)
				if err := h.say(e); err != nil {
					return err
				}
				size += len(h.lines[before])
			}
			b.settle(h, to, fresh)
			return nil
		})
		if err != nil {
			return fmt.Errorf("the versions are there, but not all of their history: %w", err)
		}
		made = false
	}
	return nil
}

// lines are the bundle's events as they stand in a history elsewhere, without those that are there.
func (b *Bundle) lines(to map[int]int, there []Event) []Event {
	known := map[string]bool{}
	text := func(e Event) string {
		e.At = e.At.UTC()
		line, _ := json.Marshal(e)
		return string(line)
	}
	for _, e := range there {
		if e.Origin != "" {
			known[text(e)] = true
		}
	}
	var out []Event
	for _, e := range b.History {
		for _, n := range []*int{&e.Version, &e.From} {
			if now, ok := to[*n]; ok {
				*n = now
			}
		}
		if e.Origin == "" {
			e.Origin = b.Origin()
		}
		if line := text(e); !known[line] {
			known[line] = true
			out = append(out, e)
		}
	}
	return out
}

// settle adds to the head what it does not say yet.
func (b *Bundle) settle(h *Head, to map[int]int, fresh bool) {
	if fresh && b.RequireApproval {
		h.RequireApproval = true
	}
	h.Better, h.Notes = with(h.Better, b.Better), with(h.Notes, b.Notes)
	for i := range b.Versions {
		v := &b.Versions[i]
		n := to[v.Version]
		if len(v.Notes) > 0 {
			h.VersionNotes[n] = with(h.VersionNotes[n], v.Notes)
		}
		if _, judged := h.Approvals[n]; !judged && v.Approval != nil && v.Approval.State == string(Rejected) {
			h.Approvals[n] = *v.Approval
		}
		if _, put := h.Archived[n]; !put && v.Archived != nil && len(h.AliasesOf(n)) == 0 {
			h.Archived[n] = *v.Archived
		}
	}
}

// with adds what m does not have.
func with[V any](m, more map[string]V) map[string]V {
	out := maps.Clone(more)
	if out == nil {
		return m
	}
	maps.Copy(out, m)
	return out
}
