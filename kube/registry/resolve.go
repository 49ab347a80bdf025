package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Resolve reads the version that ref names. Without version and alias, and for @latest, that is the highest one that is
// not archived. Its Problems say where the record is damaged or contradicts itself. A *NotFoundError says that there is
// no such model, version or alias.
func Resolve(ctx context.Context, c *client.Client, ref Ref) (Version, error) {
	if err := CheckModel(ref.Model); err != nil {
		return Version{}, err
	}
	_, h, err := readHead(ctx, c, ref.Model)
	if err != nil {
		return Version{}, err
	}
	if h == nil {
		if ref.Version == 0 {
			return Version{}, noModel(ctx, c, ref.Model)
		}
		h = newHead(ref.Model, c.Namespace)
		h.Problems = []Problem{{Model: ref.Model, Object: kube.PrefixModel + ref.Model, What: "the record of the model is missing"}}
	}
	n, err := h.find(ctx, c, ref)
	if err != nil {
		return Version{}, err
	}
	cm, err := readVersion(ctx, c, ref.Model, n)
	switch {
	case err != nil:
		return Version{}, err
	case cm == nil || h.absent.has(n):
		return Version{}, h.noVersion(ctx, c, ref, n, cm != nil)
	}
	return h.versionOf(cm), nil
}

// find is the number that ref names.
func (h *Head) find(ctx context.Context, c *client.Client, ref Ref) (int, error) {
	switch {
	case ref.Version > 0:
		return ref.Version, nil
	case ref.Alias != "" && ref.Alias != Latest:
		if n, ok := h.Aliases[ref.Alias]; ok {
			return n, nil
		}
		text := fmt.Sprintf("model %s has no alias %s", h.Model, ref.Alias)
		if len(h.Aliases) > 0 {
			text += "; it has: " + strings.Join(slices.Sorted(maps.Keys(h.Aliases)), ", ")
		}
		return 0, &NotFoundError{Ref: ref, Text: text + fmt.Sprintf("\n  set it with: kubectl ml model alias %s:N %s", h.Model, ref.Alias)}
	}
	if p := h.Pending; p != nil && p.Version > h.Highest {
		// It is being registered: its record may be there.
		if cm, err := readVersion(ctx, c, h.Model, p.Version); err == nil && cm != nil {
			return p.Version, nil
		}
	}
	n := h.Latest()
	switch {
	case n > 0:
		return n, nil
	case h.Count() == 0:
		return 0, &NotFoundError{Ref: ref, Text: fmt.Sprintf("model %s has no version\n  register one with: kubectl ml register %s --uri URI", h.Model, h.Model)}
	}
	return 0, &NotFoundError{Ref: ref, Text: fmt.Sprintf("all versions of model %s are archived: name one, such as %s:%d", h.Model, h.Model, h.Highest)}
}

// noVersion is the error for a number without a version, with what became of it.
func (h *Head) noVersion(ctx context.Context, c *client.Client, ref Ref, n int, remains bool) error {
	what := Ref{Model: h.Model, Version: n}.String()
	text := ""
	switch {
	case h.absent.has(n):
		text = what + " does not exist"
		if events, _, err := h.history(ctx, c); err == nil {
			for _, e := range slices.Backward(events) {
				if e.Action == Deleted && e.Version == n && e.Origin == "" {
					text = fmt.Sprintf("%s was deleted by %s on %s", what, orSomebody(e.By), stamp(e.At))
					break
				}
			}
		}
		if remains {
			text += fmt.Sprintf("; its record is still there\n  finish with: kubectl ml model delete %s", what)
		}
	case n <= h.Highest:
		text = fmt.Sprintf("%s is gone: its record %s was deleted by hand", what, versionName(h.Model, n))
		if ref.Alias != "" {
			text += fmt.Sprintf(", and %s names it", ref)
		}
		text += "\n  see what else is wrong with: kubectl ml model check " + h.Model
	case h.Highest == 0:
		text = fmt.Sprintf("model %s has no version", h.Model)
	default:
		text = fmt.Sprintf("there is no %s: the highest version is %d", what, h.Highest)
	}
	return &NotFoundError{Ref: ref, Text: text}
}

func orSomebody(by string) string {
	if by == "" {
		return "somebody"
	}
	return by
}

// readVersion reads the object of a version; nil when there is none.
func readVersion(ctx context.Context, c *client.Client, model string, n int) (*corev1.ConfigMap, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, versionName(model, n), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, c.Explain("read version "+Ref{Model: model, Version: n}.String(), err)
	case !isRecord(cm.Labels, cm.Data, kube.KindVersion, model):
		return nil, &client.Error{
			What: fmt.Sprintf("ConfigMap %s has the name of the record of %s and is not one", cm.Name, Ref{Model: model, Version: n}),
			Hint: "rename or delete it",
		}
	}
	return cm, nil
}

// versionOf is a version as it stands: its record, and what the head says of it.
func (h *Head) versionOf(cm *corev1.ConfigMap) Version {
	f, problems := decodeFacts(cm.Data)
	n, _ := versionOf(cm.Name, h.Model)
	for _, p := range contradictions(cm, &f, h.Model, n) {
		problems = append(problems, p.What)
	}
	for _, p := range h.Problems {
		problems = append(problems, p.Object+": "+p.What)
	}
	// The name is what everybody asked for; data that says otherwise is told in problems.
	f.Model, f.Version = h.Model, n
	v := Version{
		Facts: f, Object: cm.Name, Namespace: cm.Namespace, UID: string(cm.UID), Created: cm.CreationTimestamp.Time,
		Aliases: h.AliasesOf(n), Notes: h.VersionNotes[n], Problems: problems,
	}
	if a, ok := h.Approvals[n]; ok {
		v.Approval = &a
	}
	if m, ok := h.Archived[n]; ok {
		v.Archived = &m
	}
	return v
}

// object builds the record of a version.
func (f *Facts) object(namespace, key string, inline []byte) (*corev1.ConfigMap, error) {
	data, err := f.encode()
	if err != nil {
		return nil, err
	}
	if key != "" {
		data[keyKey] = key
	}
	summary, err := json.Marshal(f.summary())
	if err != nil {
		return nil, fmt.Errorf("write the summary of %s:%d: %w", f.Model, f.Version, err)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: versionName(f.Model, f.Version), Namespace: namespace, Labels: f.labels(),
			Annotations: map[string]string{kube.AnnotationSummary: string(summary)},
		},
		Immutable: ptr.To(true), Data: data,
	}
	if inline != nil {
		cm.BinaryData = map[string][]byte{keyArtifact: inline}
	}
	return cm, checkSize(cm.Name, cm.Data, cm.BinaryData)
}

// labels are what selectors need of the facts.
func (f *Facts) labels() map[string]string {
	labels := map[string]string{
		kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindVersion,
		kube.LabelModel: f.Model, kube.LabelVersion: strconv.Itoa(f.Version),
	}
	optional := map[string]string{kube.LabelSource: f.Code.Source} // it keeps the code from being deleted with its run
	if o := f.Run; o != nil {
		if o.Kind == "run" {
			optional[kube.LabelRun] = o.Name
		}
		optional[kube.LabelPipeline], optional[kube.LabelStage] = o.Pipeline, o.Stage
	}
	for k, v := range optional {
		if v != "" && len(validation.IsValidLabelValue(v)) == 0 {
			labels[k] = v
		}
	}
	return labels
}

// contradictions are where a record says two things: its name, labels and summary against its data.
func contradictions(cm *corev1.ConfigMap, f *Facts, model string, n int) (out []Problem) {
	bad := func(hint, format string, args ...any) {
		out = append(out, Problem{Model: model, Version: n, Object: cm.Name, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	const forged = "the record was not written by this program, or was made anew by hand: compare it with a backup"
	if f.Model != model || f.Version != 0 && f.Version != n {
		bad(forged, "its data says that it is %s:%d", f.Model, f.Version)
	}
	for _, k := range slices.Sorted(maps.Keys(f.labels())) {
		want := f.labels()[k]
		switch k {
		case kube.LabelModel:
			want = model
		case kube.LabelVersion:
			want = strconv.Itoa(n)
		}
		if have, ok := cm.Labels[k]; have != want {
			what := fmt.Sprintf("its label %s is %q and should be %q", k, have, want)
			if !ok {
				what = fmt.Sprintf("its label %s is missing", k)
			}
			bad(fmt.Sprintf("kubectl label configmap %s --overwrite %s=%s", cm.Name, k, want), "%s", what)
		}
	}
	if cm.Immutable == nil || !*cm.Immutable {
		bad("kubectl patch configmap "+cm.Name+` --type merge -p '{"immutable":true}'`, "it is not immutable: its facts can be edited")
	}
	var have, want any
	text, _ := json.Marshal(f.summary())
	_ = json.Unmarshal(text, &want)
	switch err := json.Unmarshal([]byte(cm.Annotations[kube.AnnotationSummary]), &have); {
	case err != nil:
		bad(mendSummary(cm.Name, text), "its summary is missing or damaged")
	case !reflect.DeepEqual(have, want):
		bad(mendSummary(cm.Name, text), "its summary contradicts its data")
	}
	if b, ok := cm.BinaryData[keyArtifact]; ok && f.Artifact.Digest != "" && DigestOf(b) != f.Artifact.Digest {
		bad(forged, "the artifact in it has the digest %s and should have %s", DigestOf(b), f.Artifact.Digest)
	}
	return out
}

// mendSummary is the command that puts the right summary in place.
func mendSummary(object string, summary []byte) string {
	return fmt.Sprintf("kubectl annotate configmap %s --overwrite %s='%s'", object, kube.AnnotationSummary, strings.ReplaceAll(string(summary), "'", `'\''`))
}

// Inline reads the artifact that is kept in a version's record, and checks its digest.
func Inline(ctx context.Context, c *client.Client, v Version) ([]byte, error) {
	name := Ref{Model: v.Model, Version: v.Version}.String()
	cm, err := readVersion(ctx, in(c, v.Namespace), v.Model, v.Version)
	if err != nil {
		return nil, err
	}
	if cm == nil {
		return nil, &NotFoundError{Ref: Ref{Model: v.Model, Version: v.Version}, Text: name + " was deleted"}
	}
	b, ok := cm.BinaryData[keyArtifact]
	if !ok {
		return nil, fmt.Errorf("%s has no artifact in its record: it is at %s", name, v.Artifact.URI)
	}
	if d := v.Artifact.Digest; d != "" && DigestOf(b) != d {
		return nil, fmt.Errorf("the artifact of %s is not what was registered: its digest is %s and should be %s\n  see what else is wrong with: kubectl ml model check %s",
			name, DigestOf(b), d, v.Model)
	}
	return b, nil
}
