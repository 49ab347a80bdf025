package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// How much history the head keeps. Beyond maxLines bytes the oldest lines go into a page, and keepLines bytes stay.
const (
	maxLines  = 96 << 10
	keepLines = 32 << 10
	maxPage   = 512 << 10
)

// cursor says how much history there is, so that a line or a page that is missing is noticed.
type cursor struct {
	// Pages is how many pages there are, Lines how many lines in all, pages and head together.
	Pages int `json:"pages,omitempty"`
	Lines int `json:"lines"`
	// Hash chains the lines: sha256 over the hash before and the line.
	Hash string `json:"hash"`
}

// page is a ConfigMap mlhistory-MODEL-NNNN of lines that the head has no room for. It is immutable.
type page struct {
	Number int
	// First is the number of its first line, from 1. Start and End are the hashes before that line and after the last.
	First      int
	Start, End string
	lines      []string
}

func chain(hash string, lines ...string) string {
	for _, line := range lines {
		sum := sha256.Sum256([]byte(hash + "\n" + line))
		hash = hex.EncodeToString(sum[:16])
	}
	return hash
}

// say appends an event to the head's history.
func (h *Head) say(e Event) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	e.At = e.At.UTC()
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("write a line of history of model %s: %w", h.Model, err)
	}
	line := strings.TrimSuffix(b.String(), "\n")
	if len(line) > 4*maxText {
		return refuse("the line of history would have %d bytes, %d at most: say it shorter", len(line), 4*maxText)
	}
	h.lines = append(h.lines, line)
	h.cursor.Lines++
	h.cursor.Hash = chain(h.cursor.Hash, line)
	return nil
}

func parseLine(line string) (Event, error) {
	var e Event
	err := json.Unmarshal([]byte(line), &e)
	if err == nil && e.Action == "" {
		err = fmt.Errorf("it has no action")
	}
	return e, err
}

// headEvents are the events of the head's own lines that can be read.
func (h *Head) headEvents() []Event {
	out := make([]Event, 0, len(h.lines))
	for _, line := range h.lines {
		if e, err := parseLine(line); err == nil {
			out = append(out, e)
		}
	}
	return out
}

func pageName(model string, n int) string {
	return fmt.Sprintf("%s%s-%04d", kube.PrefixHistory, model, n)
}

func (p *page) configMap(h *Head) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: pageName(h.Model, p.Number), Namespace: h.Namespace,
			Labels: map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: kube.KindHistory, kube.LabelModel: h.Model},
		},
		Immutable: ptr.To(true),
		Data: map[string]string{
			keyModel: h.Model, "page": strconv.Itoa(p.Number), "first": strconv.Itoa(p.First), "lines": strconv.Itoa(len(p.lines)),
			"hash.before": p.Start, "hash.after": p.End, keyHistory: joinLines(p.lines),
		},
	}
}

// decodePage reads a page; it fails on what is no page of the model, and on one whose lines were changed.
func decodePage(cm *corev1.ConfigMap, model string) (*page, error) {
	p := &page{Start: cm.Data["hash.before"], End: cm.Data["hash.after"], lines: splitLines(cm.Data[keyHistory])}
	var err1, err2, err3 error
	var lines int
	p.Number, err1 = strconv.Atoi(cm.Data["page"])
	p.First, err2 = strconv.Atoi(cm.Data["first"])
	lines, err3 = strconv.Atoi(cm.Data["lines"])
	switch {
	case cm.Data[keyModel] != model || err1 != nil || err2 != nil || err3 != nil || cm.Name != pageName(model, p.Number):
		return p, fmt.Errorf("it is no page of the history of %s", model)
	case lines != len(p.lines):
		return p, fmt.Errorf("it has %d lines and says that it has %d: it was edited", len(p.lines), lines)
	case chain(p.Start, p.lines...) != p.End:
		return p, fmt.Errorf("its lines do not give its hash: it was edited")
	}
	return p, nil
}

// turnPage moves the head's oldest lines into a page when there are too many. The page is written before the head: who
// finds a page that the head does not count, and that holds the head's oldest lines, counts it.
func turnPage(ctx context.Context, c *client.Client, h *Head) error {
	size := 0
	for _, line := range h.lines {
		size += len(line) + 1
	}
	if size <= maxLines || len(h.lines) < 2 {
		return nil
	}
	moved, n := 0, 0
	for n < len(h.lines)-1 && size-moved > keepLines && moved+len(h.lines[n]) < maxPage {
		moved += len(h.lines[n]) + 1
		n++
	}
	start, err := h.hashBefore(ctx, c)
	if err != nil {
		return err
	}
	p := &page{Number: h.cursor.Pages + 1, First: h.firstLine(), Start: start, lines: h.lines[:n]}
	p.End = chain(p.Start, p.lines...)
	maps := c.Kube.CoreV1().ConfigMaps(h.Namespace)
	_, err = maps.Create(ctx, p.configMap(h), metav1.CreateOptions{FieldManager: kube.FieldManager})
	switch {
	case apierrors.IsAlreadyExists(err):
		there, getErr := maps.Get(ctx, pageName(h.Model, p.Number), metav1.GetOptions{})
		if getErr != nil {
			return c.Explain("read "+pageName(h.Model, p.Number), getErr)
		}
		left, err := decodePage(there, h.Model)
		if err != nil || left.First != p.First || !startsWith(h.lines, left.lines) {
			return nil // the head keeps its lines; Check tells what is in the way
		}
		p = left
	case err != nil && !client.Transient(err) && size < maxPage:
		return nil // a quota, or a missing right: there is room in the head for a while
	case err != nil:
		return c.Explain("write page "+pageName(h.Model, p.Number)+" of the history", err)
	}
	h.lines = h.lines[len(p.lines):]
	h.cursor.Pages = p.Number
	return nil
}

func startsWith(lines, first []string) bool {
	if len(first) > len(lines) || len(first) == 0 {
		return false
	}
	for i := range first {
		if lines[i] != first[i] {
			return false
		}
	}
	return true
}

// firstLine is the number of the first line that the head still has.
func (h *Head) firstLine() int { return h.cursor.Lines - len(h.lines) + 1 }

// hashBefore is the hash at the head's first line: that of the last page's end.
func (h *Head) hashBefore(ctx context.Context, c *client.Client) (string, error) {
	if h.cursor.Pages == 0 {
		return "", nil
	}
	name := pageName(h.Model, h.cursor.Pages)
	cm, err := c.Kube.CoreV1().ConfigMaps(h.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil // lost: Check says so, and the new page says where it begins
	}
	if err != nil {
		return "", c.Explain("read "+name, err)
	}
	return cm.Data["hash.after"], nil
}

// History reads what happened to a model, oldest first: by the order of writing, whatever the clocks of the writers
// said. What is missing or was changed by hand is told in problems, and the rest is given.
func History(ctx context.Context, c *client.Client, model string) ([]Event, []Problem, error) {
	h, err := GetHead(ctx, c, model)
	if err != nil {
		return nil, nil, err
	}
	return h.history(ctx, c)
}

func (h *Head) history(ctx context.Context, c *client.Client) ([]Event, []Problem, error) {
	if h.cursor.Pages == 0 {
		events, problems := h.readHistory(nil)
		return events, problems, nil
	}
	list, err := c.Kube.CoreV1().ConfigMaps(h.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelKind: kube.KindHistory, kube.LabelModel: h.Model}))
	if err != nil {
		return nil, nil, c.Explain("read the history of model "+h.Model, err)
	}
	events, problems := h.readHistory(list.Items)
	return events, problems, nil
}

// readHistory puts pages and the head's lines together.
func (h *Head) readHistory(objects []corev1.ConfigMap) (events []Event, problems []Problem) {
	byName := map[string]*corev1.ConfigMap{}
	for i := range objects {
		byName[objects[i].Name] = &objects[i]
	}
	bad := func(object, hint, format string, args ...any) {
		problems = append(problems, Problem{Model: h.Model, Object: object, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	const lost = "what it said is lost, unless there is a backup: kubectl create -f BACKUP"
	const edited = "compare it with a backup or the audit log of the cluster"
	read := func(object string, lines []string) {
		for i, line := range lines {
			e, err := parseLine(line)
			if err != nil {
				bad(object, edited, "line %d of the history cannot be read: %v", i+1, err)
				continue
			}
			events = append(events, e)
		}
	}
	hash, known, next := "", true, 1
	for n := 1; n <= h.cursor.Pages; n++ {
		name := pageName(h.Model, n)
		cm := byName[name]
		delete(byName, name)
		if cm == nil {
			bad(name, lost, "page %d of the history is missing", n)
			known = false
			continue
		}
		p, err := decodePage(cm, h.Model)
		switch {
		case err != nil:
			bad(name, edited, "page %d of the history: %v", n, err)
		case known && (p.First != next || p.Start != hash):
			bad(name, edited, "page %d of the history does not go on where page %d ends", n, n-1)
		}
		read(name, p.lines)
		hash, known, next = p.End, err == nil, p.First+len(p.lines)
	}
	object := kube.PrefixModel + h.Model
	read(object, h.lines)
	if h.damaged[keyCursor] == "" && known {
		switch have := next - 1 + len(h.lines); {
		case have != h.cursor.Lines:
			bad(object, edited, "the history has %d lines and should have %d: it was edited", have, h.cursor.Lines)
		case chain(hash, h.lines...) != h.cursor.Hash:
			bad(object, edited, "the lines of the history do not give its hash: they were edited")
		}
	}
	return events, problems
}

// clockSkew is what clocks may differ without anybody being told: two writers decide and write some seconds apart.
const clockSkew = time.Minute

// backwards are the places where the clock of a writer was behind that of the one before.
func backwards(events []Event) (out []string) {
	var last time.Time
	for i, e := range events {
		if e.Origin != "" {
			continue
		}
		if e.At.Add(clockSkew).Before(last) {
			out = append(out, fmt.Sprintf("line %d (%s) says %s, and the line before it says %s", i+1, e.Action, e.At.Format(time.RFC3339), last.Format(time.RFC3339)))
		}
		last = e.At
	}
	return out
}
