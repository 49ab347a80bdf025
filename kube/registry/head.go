package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// Head is what is kept of a model as a whole, in the ConfigMap mlmodel-MODEL. Whatever changes in it changes in one
// update under its resourceVersion, together with its line of history.
type Head struct {
	Model     string    `json:"model"`
	Namespace string    `json:"namespace"`
	UID       string    `json:"uid,omitempty"`
	Created   time.Time `json:"created"`
	// Highest is the highest number ever given to a version; Absent tells which of them are no more.
	Highest int `json:"highest"`
	// Aliases point at one version each.
	Aliases map[string]int `json:"aliases,omitempty"`
	// Approvals are the last judgements, Archived the versions put aside.
	Approvals map[int]Approval `json:"approvals,omitempty"`
	Archived  map[int]Mark     `json:"archived,omitempty"`
	// Better says of metrics which values are better, for all versions.
	Better map[string]Direction `json:"better,omitempty"`
	// RequireApproval keeps versions that nobody approved from production.
	RequireApproval bool `json:"requireApproval,omitempty"`
	// Notes are people's own words on the model, VersionNotes those on versions.
	Notes        map[string]string         `json:"notes,omitempty"`
	VersionNotes map[int]map[string]string `json:"versionNotes,omitempty"`
	// Pending is a registration that has begun and is not finished.
	Pending *Pending `json:"pending,omitempty"`
	// Deleting is set while the whole model is being deleted.
	Deleting *Mark `json:"deleting,omitempty"`
	// Problems say what of the head could not be read.
	Problems []Problem `json:"problems,omitempty"`

	absent numbers
	lines  []string
	cursor cursor
	shown  Summary
	// damaged are keys that could not be read, with their text: a change leaves them as they are.
	damaged map[string]string
	version string // the object's resourceVersion
}

// Pending is a registration under way: the number that it takes, for the key of what is registered.
type Pending struct {
	Version int       `json:"version"`
	Key     string    `json:"key"`
	Action  Action    `json:"action"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"`
}

// Exists says whether a version of that number should be there.
func (h *Head) Exists(n int) bool { return n >= 1 && n <= h.Highest && !h.absent.has(n) }

// Count is how many versions there are, archived ones included.
func (h *Head) Count() int { return max(0, h.Highest-h.absent.count()) }

// Latest is the highest version that is not archived; 0 when there is none.
func (h *Head) Latest() int {
	for n := h.absent.under(h.Highest); n >= 1; n = h.absent.under(n - 1) {
		if _, put := h.Archived[n]; !put {
			return n
		}
	}
	return 0
}

// AliasesOf are the aliases that point at a version, in alphabetical order.
func (h *Head) AliasesOf(n int) []string {
	var out []string
	for a, v := range h.Aliases {
		if v == n {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

// Keys of a head's data.
const (
	keyHighest  = "highest"
	keyAbsent   = "absent"
	keySettings = "settings.json"
	keyPending  = "pending.json"
	keyDeleting = "deleting.json"
	keyNotes    = "notes.json"
	keyHistory  = "history"
	keyCursor   = "history.json"
	keyAlias    = "alias."
	keyApproval = "approval."
	keyArchived = "archived."
	keyNotesOf  = "notes."
)

// settings are what the model's owner decided.
type settings struct {
	RequireApproval bool `json:"requireApproval,omitempty"`
}

// managed says whether a key of a head's data is one that encode writes; others are left as they are.
func managed(key string) bool {
	switch key {
	case keyModel, keyHighest, keyAbsent, keyBetter, keySettings, keyPending, keyDeleting, keyNotes, keyHistory, keyCursor:
		return true
	}
	return slices.ContainsFunc([]string{keyAlias, keyApproval, keyArchived, keyNotesOf}, func(p string) bool { return strings.HasPrefix(key, p) })
}

// encode writes the head into its ConfigMap.
func (h *Head) encode(cm *corev1.ConfigMap) error {
	cm.Name, cm.Namespace = kube.PrefixModel+h.Model, h.Namespace
	data := map[string]string{}
	for k, v := range cm.Data {
		if !managed(k) {
			data[k] = v
		}
	}
	put := func(key string, v any, empty bool) {
		if empty {
			return
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		// What heads are made of always has a JSON form.
		_ = e.Encode(v)
		data[key] = strings.TrimSuffix(b.String(), "\n")
	}
	data[keyModel], data[keyHighest] = h.Model, strconv.Itoa(h.Highest)
	if len(h.absent) > 0 {
		data[keyAbsent] = h.absent.String()
	}
	for a, n := range h.Aliases {
		data[keyAlias+a] = strconv.Itoa(n)
	}
	for n, v := range h.Approvals {
		put(keyApproval+strconv.Itoa(n), v, false)
	}
	for n, v := range h.Archived {
		put(keyArchived+strconv.Itoa(n), v, false)
	}
	for n, v := range h.VersionNotes {
		put(keyNotesOf+strconv.Itoa(n), v, len(v) == 0)
	}
	put(keyNotes, h.Notes, len(h.Notes) == 0)
	put(keyBetter, h.Better, len(h.Better) == 0)
	put(keySettings, settings{h.RequireApproval}, !h.RequireApproval)
	put(keyPending, h.Pending, h.Pending == nil)
	put(keyDeleting, h.Deleting, h.Deleting == nil)
	put(keyCursor, h.cursor, false)
	data[keyHistory] = joinLines(h.lines)
	for k, v := range h.damaged {
		if _, mended := data[k]; !mended {
			data[k] = v
		}
	}
	cm.Data = data
	return h.encodeMeta(cm)
}

// encodeMeta copies into labels and annotations what selectors and lists need.
func (h *Head) encodeMeta(cm *corev1.ConfigMap) error {
	labels := map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindModel, kube.LabelModel: h.Model}
	if cm.Labels == nil {
		cm.Labels = map[string]string{}
	}
	maps.Copy(cm.Labels, labels)
	text, err := json.Marshal(h.summary())
	if err != nil {
		return fmt.Errorf("write the summary of model %s: %w", h.Model, err)
	}
	if cm.Annotations == nil {
		cm.Annotations = map[string]string{}
	}
	cm.Annotations[kube.AnnotationSummary] = string(text)
	return checkSize(cm.Name, cm.Data, nil)
}

func joinLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func splitLines(s string) []string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// isRecord tells an object of ours from another that has its name.
func isRecord(labels, data map[string]string, kind, model string) bool {
	return labels[kube.LabelKind] == kind && labels[kube.LabelManagedBy] == kube.ManagedBy || data[keyModel] == model
}

// decodeHead reads a head as far as it can be read.
func decodeHead(cm *corev1.ConfigMap) *Head {
	h := &Head{
		Model: strings.TrimPrefix(cm.Name, kube.PrefixModel), Namespace: cm.Namespace, UID: string(cm.UID), Created: cm.CreationTimestamp.Time,
		Aliases: map[string]int{}, Approvals: map[int]Approval{}, Archived: map[int]Mark{}, VersionNotes: map[int]map[string]string{},
		damaged: map[string]string{}, version: cm.ResourceVersion,
	}
	bad := func(key, why string) {
		h.damaged[key] = cm.Data[key]
		h.Problems = append(h.Problems, Problem{
			Model: h.Model, Object: cm.Name, What: fmt.Sprintf("key %s %s", key, why),
			Hint: "correct or remove the key with: kubectl edit configmap " + cm.Name,
		})
	}
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		if err := h.decodeKey(key, cm.Data[key]); err != nil {
			bad(key, "is damaged: "+err.Error())
		}
	}
	for _, key := range []string{keyModel, keyHighest, keyCursor} {
		if _, ok := cm.Data[key]; !ok {
			bad(key, "is missing")
			delete(h.damaged, key)
		}
	}
	if text := cm.Annotations[kube.AnnotationSummary]; text != "" {
		_ = json.Unmarshal([]byte(text), &h.shown) // a copy: summary() makes it anew
	}
	return h
}

func (h *Head) decodeKey(key, text string) error {
	into := map[string]any{
		keyBetter: &h.Better, keyPending: &h.Pending, keyDeleting: &h.Deleting, keyNotes: &h.Notes, keyCursor: &h.cursor,
	}[key]
	switch {
	case into != nil:
		return json.Unmarshal([]byte(text), into)
	case key == keyModel:
		if text != h.Model {
			return fmt.Errorf("it says %.100q", text)
		}
		return nil
	case key == keyHighest:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxVersion {
			return fmt.Errorf("%.100q is no number", text)
		}
		h.Highest = n
		return nil
	case key == keyAbsent:
		var err error
		h.absent, err = parseNumbers(text)
		return err
	case key == keySettings:
		var s settings
		err := json.Unmarshal([]byte(text), &s)
		h.RequireApproval = s.RequireApproval
		return err
	case key == keyHistory:
		h.lines = splitLines(text)
		return nil
	}
	if alias, ok := strings.CutPrefix(key, keyAlias); ok {
		n, ok := number(text)
		if !ok {
			return fmt.Errorf("%.100q is no version", text)
		}
		h.Aliases[alias] = n
		return nil
	}
	return h.decodeNumbered(key, text)
}

// decodeNumbered reads the keys that end in a version.
func (h *Head) decodeNumbered(key, text string) error {
	for prefix, read := range map[string]func(n int) error{
		keyApproval: func(n int) error { return unmarshalInto(text, h.Approvals, n) },
		keyArchived: func(n int) error { return unmarshalInto(text, h.Archived, n) },
		keyNotesOf:  func(n int) error { return unmarshalInto(text, h.VersionNotes, n) },
	} {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		n, ok := number(rest)
		if !ok {
			return fmt.Errorf("%.100q is no version", rest)
		}
		return read(n)
	}
	return nil
}

func unmarshalInto[V any](text string, m map[int]V, n int) error {
	var v V
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	m[n] = v
	return nil
}
