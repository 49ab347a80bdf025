package registry

import (
	"context"
	"encoding/json"
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

// Summary is what lists show of a model.
type Summary struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace,omitempty"`
	Created   time.Time `json:"created,omitzero"`
	// Latest is the highest version that is not archived, 0 when there is none; Versions is how many there are.
	Latest   int            `json:"latest,omitempty"`
	Versions int            `json:"versions"`
	Aliases  map[string]int `json:"aliases,omitempty"`
	// Metrics, Format, Size and Run are of the version Latest; Better is as declared for the model or that version.
	Metrics map[string]float64   `json:"metrics,omitempty"`
	Better  map[string]Direction `json:"better,omitempty"`
	Format  string               `json:"format,omitempty"`
	Size    int64                `json:"size,omitempty"`
	Run     string               `json:"run,omitempty"`
	// Updated is when the model last changed, by the clock of who changed it; By is who that was.
	Updated time.Time `json:"updated,omitzero"`
	By      string    `json:"by,omitempty"`
	// Labels are the head's own.
	Labels map[string]string `json:"labels,omitempty"`
	// Problem is set when the head is damaged.
	Problem string `json:"problem,omitempty"`
	// Pending is a number that a registration has begun to take.
	Pending int `json:"pending,omitempty"`
	// Of is the version that Metrics and the like are of.
	Of int `json:"of,omitempty"`
}

// VersionSummary is what lists show of a version.
type VersionSummary struct {
	Model     string `json:"model"`
	Namespace string `json:"namespace,omitempty"`
	Version   int    `json:"version"`
	// Aliases, Approval and Archived are as the model's head has them.
	Aliases  []string             `json:"aliases,omitempty"`
	Approval *Approval            `json:"approval,omitempty"`
	Archived *Mark                `json:"archived,omitempty"`
	Metrics  map[string]float64   `json:"metrics,omitempty"`
	Better   map[string]Direction `json:"better,omitempty"`
	Size     int64                `json:"size,omitempty"`
	Format   string               `json:"format,omitempty"`
	Digest   string               `json:"digest,omitempty"`
	// Created is by the writer's clock. Run is what made it, such as run/house-prices-x7k2p.
	Created time.Time `json:"created"`
	By      string    `json:"by,omitempty"`
	Run     string    `json:"run,omitempty"`
	Parents []string  `json:"parents,omitempty"`
	// Problem is set when the record is damaged.
	Problem string `json:"problem,omitempty"`
}

// ListOptions choose models.
type ListOptions struct {
	// AllNamespaces looks into every namespace.
	AllNamespaces bool
	// Selector is a label selector of heads.
	Selector string
}

// summary is what lists show of the head; what is of its latest version was put there by show.
func (h *Head) summary() Summary {
	s := h.shown
	s.Name, s.Namespace, s.Created, s.Labels, s.Problem = h.Model, "", time.Time{}, nil, ""
	s.Latest, s.Versions, s.Aliases, s.Pending = h.Latest(), h.Count(), h.Aliases, 0
	if h.Pending != nil {
		s.Pending = h.Pending.Version
	}
	if len(h.Better) > 0 {
		s.Better = maps.Clone(s.Better)
		if s.Better == nil {
			s.Better = map[string]Direction{}
		}
		maps.Copy(s.Better, h.Better)
	}
	if events := h.headEvents(); len(events) > 0 {
		last := events[len(events)-1]
		s.Updated, s.By = last.At, last.By
	}
	return s
}

// take puts into the head's summary what lists show of its latest version.
func (h *Head) take(v VersionSummary) {
	h.shown.Of, h.shown.Metrics, h.shown.Better, h.shown.Format, h.shown.Size, h.shown.Run = v.Version, v.Metrics, v.Better, v.Format, v.Size, v.Run
}

// show sees that the head's summary tells of its latest version, which is read only when it has changed.
func (h *Head) show(ctx context.Context, c *client.Client) error {
	latest := h.Latest()
	switch latest {
	case h.shown.Of:
		return nil
	case 0:
		h.take(VersionSummary{})
		return nil
	}
	m, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).Get(ctx, versionName(h.Model, latest), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		h.take(VersionSummary{})
		return nil
	}
	if err != nil {
		return c.Explain("read version "+Ref{Model: h.Model, Version: latest}.String(), err)
	}
	s, _ := summaryOf(m)
	s.Version = latest
	h.take(s)
	return nil
}

// summary is what lists show of the facts.
func (f *Facts) summary() VersionSummary {
	return VersionSummary{
		Model: f.Model, Version: f.Version, Metrics: f.Metrics, Better: f.Better, Size: f.Artifact.Size, Format: f.Artifact.Format,
		Digest: f.Artifact.Digest, Created: f.CreatedAt, By: f.CreatedBy, Run: f.Run.String(), Parents: f.Parents,
	}
}

// String is KIND/NAME; empty for nil.
func (o *Origin) String() string {
	if o == nil || o.Name == "" {
		return ""
	}
	return o.Kind + "/" + o.Name
}

// summaryOf reads the copy in a version's annotation; false when it is missing or damaged.
func summaryOf(m metav1.Object) (VersionSummary, bool) {
	var s VersionSummary
	err := json.Unmarshal([]byte(m.GetAnnotations()[kube.AnnotationSummary]), &s)
	s.Namespace = m.GetNamespace()
	return s, err == nil
}

// Models lists the models by name, from the metadata of their heads alone. Only a head without a readable copy of its
// facts is read whole, and of a registration under way it is looked whether its version is there.
func Models(ctx context.Context, c *client.Client, o ListOptions) ([]Summary, error) {
	ns := c.Namespace
	if o.AllNamespaces {
		ns = metav1.NamespaceAll
	}
	selector := kube.Selector(map[string]string{kube.LabelKind: kube.KindModel})
	if o.Selector != "" {
		selector += "," + o.Selector
	}
	list, err := listMeta(ctx, c, ns, selector)
	if err != nil {
		return nil, err
	}
	out := make([]Summary, 0, len(list))
	for i := range list {
		if !strings.HasPrefix(list[i].Name, kube.PrefixModel) {
			continue
		}
		s, err := modelOf(ctx, in(c, list[i].Namespace), &list[i])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Summary) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

func modelOf(ctx context.Context, c *client.Client, m *metav1.PartialObjectMetadata) (Summary, error) {
	var s Summary
	problem := ""
	name := strings.TrimPrefix(m.Name, kube.PrefixModel)
	if err := json.Unmarshal([]byte(m.Annotations[kube.AnnotationSummary]), &s); err != nil {
		_, h, err := readHead(ctx, c, name)
		switch {
		case err != nil:
			return Summary{Name: name, Namespace: m.Namespace, Created: m.CreationTimestamp.Time, Problem: err.Error()}, nil
		case h != nil:
			s, problem = h.summary(), "its summary is missing or damaged"
		}
	}
	s.Name, s.Namespace, s.Created, s.Labels, s.Problem = name, m.Namespace, m.CreationTimestamp.Time, m.Labels, problem
	if s.Pending == 0 {
		return s, nil
	}
	// The registration may have ended between its two writes: what counts is whether the version is there.
	v, err := c.Meta.Resource(configMaps).Namespace(m.Namespace).Get(ctx, versionName(name, s.Pending), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return s, c.Explain("read version "+Ref{Model: name, Version: s.Pending}.String(), err)
	}
	if vs, ok := summaryOf(v); ok {
		s.Latest, s.Versions, s.Pending = s.Pending, s.Versions+1, 0
		s.Metrics, s.Format, s.Size, s.Run, s.Of = vs.Metrics, vs.Format, vs.Size, vs.Run, s.Latest
	}
	return s, nil
}

// Names are the names of all models, in alphabetical order.
func Names(ctx context.Context, c *client.Client) ([]string, error) {
	list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kube.KindModel}))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list))
	for i := range list {
		if name, ok := strings.CutPrefix(list[i].Name, kube.PrefixModel); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Versions lists the versions of a model, the highest first, from metadata and the model's head. Only a version without
// a readable copy of its facts is read whole.
func Versions(ctx context.Context, c *client.Client, model string) ([]VersionSummary, error) {
	if err := CheckModel(model); err != nil {
		return nil, err
	}
	_, h, err := readHead(ctx, c, model)
	if err != nil {
		return nil, err
	}
	list, err := listMeta(ctx, c, c.Namespace, kube.Selector(map[string]string{kube.LabelKind: kube.KindVersion, kube.LabelModel: model}))
	if err != nil {
		return nil, err
	}
	if h == nil && len(list) == 0 {
		return nil, noModel(ctx, c, model)
	}
	if h == nil {
		h = newHead(model, c.Namespace)
	}
	out := make([]VersionSummary, 0, len(list))
	for i := range list {
		n, ok := versionOf(list[i].Name, model)
		if !ok || h.absent.has(n) {
			continue
		}
		s, ok := summaryOf(&list[i])
		if !ok {
			if s, err = summaryFromData(ctx, c, &list[i]); err != nil {
				return nil, err
			}
		}
		s.Model, s.Version = model, n
		s.Aliases = h.AliasesOf(n)
		if a, ok := h.Approvals[n]; ok {
			s.Approval = &a
		}
		if m, ok := h.Archived[n]; ok {
			s.Archived = &m
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b VersionSummary) int { return b.Version - a.Version })
	return out, nil
}

// summaryFromData reads a version whose copy is of no use.
func summaryFromData(ctx context.Context, c *client.Client, m *metav1.PartialObjectMetadata) (VersionSummary, error) {
	var cm *corev1.ConfigMap
	cm, err := c.Kube.CoreV1().ConfigMaps(m.Namespace).Get(ctx, m.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return VersionSummary{Namespace: m.Namespace, Problem: "it was deleted this moment"}, nil
	}
	if err != nil {
		return VersionSummary{}, c.Explain("read "+m.Name, err)
	}
	f, problems := decodeFacts(cm.Data)
	s := f.summary()
	s.Namespace, s.Problem = m.Namespace, strings.Join(append([]string{"its summary is missing or damaged"}, problems...), "; ")
	return s, nil
}
