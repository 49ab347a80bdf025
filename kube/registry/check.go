package registry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// Problem is something wrong with a record, and how to mend it.
type Problem struct {
	Model string `json:"model"`
	// Version is 0 for the model as a whole.
	Version int `json:"version,omitempty"`
	// Object is the name of the ConfigMap.
	Object string `json:"object,omitempty"`
	What   string `json:"what"`
	Hint   string `json:"hint,omitempty"`
}

// Check reads all records of a model, or of all models when it is empty, and tells where they are damaged, contradict
// themselves or each other, or are missing. It changes nothing.
func Check(ctx context.Context, c *client.Client, model string) ([]Problem, error) {
	if model != "" {
		if err := CheckModel(model); err != nil {
			return nil, err
		}
	}
	found, err := gather(ctx, c, model)
	if err != nil {
		return nil, err
	}
	if model != "" && found[model] == nil {
		if _, h, err := readHead(ctx, c, model); err != nil {
			return nil, err
		} else if h == nil {
			return nil, noModel(ctx, c, model)
		}
		found[model] = &records{versions: map[int]VersionSummary{}}
	}
	var out []Problem
	for _, name := range slices.Sorted(maps.Keys(found)) {
		problems, err := found[name].check(ctx, c, name, time.Now())
		if err != nil {
			return nil, err
		}
		out = append(out, problems...)
	}
	return out, nil
}

// records are all objects of one model.
type records struct {
	head *corev1.ConfigMap
	// versions keeps of each version what lists show; problems are those of the records of versions.
	versions map[int]VersionSummary
	pages    []corev1.ConfigMap
	problems []Problem
}

// gather reads the records, page by page, and keeps of versions little.
func gather(ctx context.Context, c *client.Client, model string) (map[string]*records, error) {
	pairs := map[string]string{}
	if model != "" {
		pairs[kube.LabelModel] = model
	}
	kinds := strings.Join([]string{kube.KindModel, kube.KindVersion, kube.KindHistory}, ",")
	o := metav1.ListOptions{LabelSelector: fmt.Sprintf("%s,%s in (%s)", kube.Selector(pairs), kube.LabelKind, kinds), Limit: 250}
	found := map[string]*records{}
	for {
		list, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, o)
		if err != nil {
			return nil, c.Explain("read the records of models", err)
		}
		for i := range list.Items {
			keep(found, &list.Items[i])
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return found, nil
		}
	}
}

// keep puts an object where it belongs: by its name, which nobody can edit, and by its label where the name says nothing.
func keep(found map[string]*records, cm *corev1.ConfigMap) {
	model, n, kind := cm.Labels[kube.LabelModel], 0, cm.Labels[kube.LabelKind]
	if rest, ok := strings.CutPrefix(cm.Name, kube.PrefixModel); ok {
		model, kind, n = rest, kube.KindModel, 1
	} else if rest, ok := strings.CutPrefix(cm.Name, kube.PrefixVersion); ok {
		i := max(0, strings.LastIndexByte(rest, '-'))
		model, kind = rest[:i], kube.KindVersion
		n, _ = versionOf(cm.Name, model)
	}
	r := found[model]
	if r == nil {
		r = &records{versions: map[int]VersionSummary{}}
		found[model] = r
	}
	switch {
	case kind == kube.KindHistory:
		r.pages = append(r.pages, *cm)
	case n == 0:
		r.problems = append(r.problems, Problem{
			Model: model, Object: cm.Name, What: "it is labelled as the record of a " + kind + " and has not the name of one", Hint: "kubectl delete configmap " + cm.Name,
		})
	case kind == kube.KindModel:
		r.head = cm
	default:
		r.keepVersion(cm, model, n)
	}
}

func (r *records) keepVersion(cm *corev1.ConfigMap, model string, n int) {
	f, unreadable := decodeFacts(cm.Data)
	for _, what := range unreadable {
		r.problems = append(r.problems, Problem{
			Model: model, Version: n, Object: cm.Name, What: what, Hint: "facts cannot be mended in place: register the artifact again, and archive this version",
		})
	}
	r.problems = append(r.problems, contradictions(cm, &f, model, n)...)
	r.versions[n] = f.summary()
}

func (r *records) check(ctx context.Context, c *client.Client, model string, now time.Time) ([]Problem, error) {
	object := kube.PrefixModel + model
	if r.head == nil {
		// Without its labels a head is not in the list.
		cm, _, err := readHead(ctx, c, model)
		if err != nil {
			return append(r.problems, Problem{Model: model, Object: object, What: firstLine(err), Hint: "rename or delete it"}), nil
		}
		r.head = cm
	}
	if r.head == nil {
		numbers := slices.Sorted(maps.Keys(r.versions))
		return append(r.problems, Problem{
			Model: model, Object: object, What: fmt.Sprintf("the record of the model is missing; versions: %v, pages of history: %d", numbers, len(r.pages)),
			Hint: "put back a backup; else the next registration makes a new one, without aliases and approvals",
		}), nil
	}
	h := decodeHead(r.head)
	if err := h.mend(ctx, c); err != nil {
		return nil, err
	}
	if err := r.findMissing(ctx, c, h); err != nil {
		return nil, err
	}
	out := slices.Concat(h.Problems, h.contradictions(r.head, r.versions), h.checkVersions(r.versions), h.checkAliases(r.versions), h.unfinished(r.versions, now))
	events, problems := h.readHistory(r.pages)
	out = append(out, problems...)
	for _, what := range backwards(events) {
		out = append(out, Problem{
			Model: model, Object: object, What: "a clock was wrong: " + what,
			Hint: "nothing to mend: the order of the lines counts; set the clocks of the machines that write",
		})
	}
	if len(problems) == 0 {
		out = append(out, h.checkEvents(events, r.versions)...)
	}
	out = append(out, h.strayPages(r.pages)...)
	out = append(out, r.problems...)
	slices.SortStableFunc(out, func(a, b Problem) int { return cmp.Compare(a.Version, b.Version) })
	return out, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// findMissing looks by name for versions that no list has: without their labels they are still there.
func (r *records) findMissing(ctx context.Context, c *client.Client, h *Head) error {
	missing, _ := h.missing(r.versions)
	for _, n := range missing {
		cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, versionName(h.Model, n), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return c.Explain("read "+versionName(h.Model, n), err)
		case !isRecord(cm.Labels, cm.Data, kube.KindVersion, h.Model):
			r.problems = append(r.problems, Problem{
				Model: h.Model, Version: n, Object: cm.Name, What: "a ConfigMap that is no record has its name",
				Hint: "delete it, and put back a backup: kubectl delete configmap " + cm.Name,
			})
			r.versions[n] = VersionSummary{}
		default:
			r.keepVersion(cm, h.Model, n)
		}
	}
	return nil
}
