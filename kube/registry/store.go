package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// patience is how long a change is decided again while others change the same model.
const patience = 90 * time.Second

// NotFoundError says that there is no such model, version or alias.
type NotFoundError struct {
	Ref Ref
	// Text is the whole message.
	Text string
}

func (e *NotFoundError) Error() string { return e.Text }

// isNotFound says whether an error means that a model, version or alias is not there.
func isNotFound(err error) bool {
	var e *NotFoundError
	return errors.As(err, &e)
}

// GetHead reads the head of a model. What of it cannot be read stands in its Problems.
func GetHead(ctx context.Context, c *client.Client, model string) (*Head, error) {
	if err := CheckModel(model); err != nil {
		return nil, err
	}
	_, h, err := readHead(ctx, c, model)
	if err == nil && h == nil {
		err = noModel(ctx, c, model)
	}
	return h, err
}

// readHead reads the head and its object; both are nil when there is none.
func readHead(ctx context.Context, c *client.Client, model string) (*corev1.ConfigMap, *Head, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, kube.PrefixModel+model, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, c.Explain("read model "+model, err)
	}
	if !isRecord(cm.Labels, cm.Data, kube.KindModel, model) {
		return nil, nil, &client.Error{
			What: fmt.Sprintf("ConfigMap %s has the name of the record of model %s and is not one", cm.Name, model),
			Hint: "rename or delete it, or use another name for the model",
		}
	}
	h := decodeHead(cm)
	return cm, h, h.mend(ctx, c)
}

// noModel is the error for a model that is not there, with a name that is.
func noModel(ctx context.Context, c *client.Client, model string) error {
	e := &NotFoundError{Ref: Ref{Model: model}, Text: fmt.Sprintf("there is no model %s in namespace %s", model, c.Namespace)}
	switch names, err := Names(ctx, c); {
	case err != nil:
	case len(names) == 0 && !c.NamespaceExists(ctx):
		return c.MissingNamespace()
	case len(names) == 0:
		e.Text += "\n  register one with: kubectl ml register " + model + " --uri URI"
	default:
		if near := pipeline.Closest(model, names); near != "" {
			e.Text += "; did you mean " + near + "?"
		}
		e.Text += "\n  list them with: kubectl ml models"
	}
	return e
}

// change applies f to the head as it stands and stores it, under the resourceVersion it was read with. When somebody
// else changed it meanwhile, f decides again on what is there now. A registration that was begun and left behind is
// settled first. errUnchanged of f stores nothing else.
func change(ctx context.Context, c *client.Client, model string, dryRun []string, f func(ctx context.Context, h *Head) error) error {
	if err := CheckModel(model); err != nil {
		return err
	}
	wait := newPause(patience)
	for {
		cm, h, err := readHead(ctx, c, model)
		if err != nil {
			return err
		}
		if h == nil {
			return noModel(ctx, c, model)
		}
		settled, err := h.settle(ctx, c)
		if err != nil {
			return err
		}
		switch err := f(ctx, h); {
		case errors.Is(err, errUnchanged) && settled:
		case errors.Is(err, errUnchanged):
			return nil
		case err != nil:
			return err
		}
		err = h.store(ctx, c, cm, dryRun)
		if !lostRace(err) {
			return explain(c, "change model "+model, err)
		}
		if !wait.next(ctx) {
			return tooFast(ctx, model)
		}
	}
}

// errUnchanged says that what was asked for is so already.
var errUnchanged = errors.New("unchanged")

func tooFast(ctx context.Context, model string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("change model %s: %w", model, context.Cause(ctx))
	}
	return fmt.Errorf("model %s changes too fast: other clients are working on it; try again", model)
}

// lostRace says whether somebody else was faster: the head changed, or was made, or went, since it was read.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) && !client.Transient(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) && !missingNamespace(err)
}

func missingNamespace(err error) bool {
	var s apierrors.APIStatus
	return errors.As(err, &s) && s.Status().Details != nil && s.Status().Details.Kind == "namespaces"
}

// newHead is the head of a model that has none.
func newHead(model, namespace string) *Head {
	h := decodeHead(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: kube.PrefixModel + model, Namespace: namespace}})
	h.Problems = nil
	return h
}

// store writes the head: a page of history first, if it needs one.
func (h *Head) store(ctx context.Context, c *client.Client, cm *corev1.ConfigMap, dryRun []string) error {
	if len(dryRun) == 0 {
		if err := turnPage(ctx, c, h); err != nil {
			return err
		}
	}
	if err := h.show(ctx, c); err != nil {
		return err
	}
	if err := h.encode(cm); err != nil {
		return err
	}
	maps := c.Kube.CoreV1().ConfigMaps(c.Namespace)
	if cm.ResourceVersion == "" {
		_, err := maps.Create(ctx, cm, metav1.CreateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
		return err
	}
	_, err := maps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: kube.FieldManager, DryRun: dryRun})
	return err
}

// mend works out again what the head must know and does not: which numbers were given, from the versions that are there,
// and how much history there is, from its pages. It costs nothing unless the head is new, damaged or was deleted by hand.
func (h *Head) mend(ctx context.Context, c *client.Client) error {
	fresh := h.version == ""
	if _, lost := h.damaged[keyHighest]; fresh || lost || h.lacks(keyHighest) {
		list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: h.Model}))
		if err != nil {
			return err
		}
		var there []int
		for i := range list {
			if n, ok := versionOf(list[i].Name, h.Model); ok {
				there = append(there, n)
			}
		}
		slices.Sort(there)
		for _, n := range there {
			if h.Highest < n-1 {
				h.absent = h.absent.with(h.Highest+1, n-1)
			}
			h.Highest = max(h.Highest, n)
		}
	}
	if _, lost := h.damaged[keyCursor]; !fresh && !lost && !h.lacks(keyCursor) {
		return nil
	}
	pages, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelKind: kube.KindHistory, kube.LabelModel: h.Model}))
	if err != nil {
		return c.Explain("read the history of model "+h.Model, err)
	}
	h.cursor = cursor{}
	for i := range pages.Items {
		p, err := decodePage(&pages.Items[i], h.Model)
		if p.Number <= h.cursor.Pages || err != nil && p.Number == 0 {
			continue
		}
		if startsWith(h.lines, p.lines) {
			continue // was written, and the head still has its lines
		}
		h.cursor = cursor{Pages: p.Number, Lines: p.First + len(p.lines) - 1, Hash: p.End}
	}
	h.cursor.Lines += len(h.lines)
	h.cursor.Hash = chain(h.cursor.Hash, h.lines...)
	return nil
}

// lacks says whether decoding missed a key.
func (h *Head) lacks(key string) bool {
	return slices.ContainsFunc(h.Problems, func(p Problem) bool { return p.What == "key "+key+" is missing" })
}

// versionOf is the number in the name of a version's object.
func versionOf(object, model string) (int, bool) {
	rest, ok := strings.CutPrefix(object, kube.PrefixVersion+model+"-")
	if !ok {
		return 0, false
	}
	return number(rest)
}

func versionName(model string, n int) string {
	return fmt.Sprintf("%s%s-%d", kube.PrefixVersion, model, n)
}

// listMeta lists ConfigMaps without their data, page by page. A list that takes so long that the server forgets where it
// was begins again.
func listMeta(ctx context.Context, c *client.Client, namespace, selector string) ([]metav1.PartialObjectMetadata, error) {
	var out []metav1.PartialObjectMetadata
	o := metav1.ListOptions{LabelSelector: selector, Limit: 1000}
	again := false
	for {
		list, err := c.Meta.Resource(configMaps).Namespace(namespace).List(ctx, o)
		if apierrors.IsResourceExpired(err) && !again {
			out, o.Continue, again = nil, "", true
			continue
		}
		if err != nil {
			return nil, c.Explain("list the models", err)
		}
		out = append(out, list.Items...)
		if o.Continue = list.Continue; o.Continue == "" {
			return out, nil
		}
	}
}

// pause waits between attempts: each time longer and never equally long, so that many writers do not meet again.
type pause struct {
	until time.Time
	step  time.Duration
}

func newPause(limit time.Duration) *pause {
	return &pause{until: time.Now().Add(limit), step: 8 * time.Millisecond}
}

// next waits; it is false when the time is up or ctx ends.
func (p *pause) next(ctx context.Context) bool {
	if time.Now().After(p.until) {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(rand.Int64N(int64(p.step))) + time.Millisecond):
	}
	p.step = min(p.step*3/2, 400*time.Millisecond)
	return true
}

// in is the same connection, working in another namespace.
func in(c *client.Client, namespace string) *client.Client {
	other := *c
	other.Namespace = namespace
	return &other
}

// explain is c.Explain for errors of the server; what the registry itself says it leaves as it is.
func explain(c *client.Client, doing string, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) || isNotFound(err) {
		return err
	}
	return c.Explain(doing, err)
}
