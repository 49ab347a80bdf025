package metrics

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

// pageSize bounds one page of a list.
const pageSize = 500

// Kinds of workloads.
const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	kindPod         = "Pod"
)

// Workload is something that may serve: a Deployment, a StatefulSet, or a pod alone.
type Workload struct {
	Namespace string `json:"-"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"-"`
	// Model and Version are those of its labels; Side is stable, canary, blue or green.
	Model   string `json:"model,omitempty"`
	Version string `json:"version,omitempty"`
	Side    string `json:"side,omitempty"`
	// Ready and Wanted count pods.
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`

	labels, template map[string]string
	// owners are the groups of its pods, and the version that each serves.
	owners map[string]string
	// services are the Services that lead to it.
	services []string
}

// Fleet are the workloads of a namespace, or of all.
type Fleet struct {
	Workloads []*Workload
	// Problems are what could not be read.
	Problems []error
}

// Workloads reads what may serve in a namespace, or in all when it is empty: Deployments, StatefulSets, and the names of
// ReplicaSets and Services, in one list each.
func Workloads(ctx context.Context, c *client.Client, namespace string) (*Fleet, error) {
	var deployments []appsv1.Deployment
	var sets []appsv1.StatefulSet
	var replicas []metav1.PartialObjectMetadata
	var services []corev1.Service
	errs := make([]error, 4)
	var wg sync.WaitGroup
	wg.Go(func() {
		errs[0] = pages(func(o metav1.ListOptions) (string, error) {
			l, err := c.Kube.AppsV1().Deployments(namespace).List(ctx, o)
			if err != nil {
				return "", c.Explain("list deployments", err)
			}
			deployments = append(deployments, l.Items...)
			return l.Continue, nil
		})
	})
	wg.Go(func() {
		errs[1] = pages(func(o metav1.ListOptions) (string, error) {
			l, err := c.Kube.AppsV1().StatefulSets(namespace).List(ctx, o)
			if err != nil {
				return "", c.Explain("list statefulsets", err)
			}
			sets = append(sets, l.Items...)
			return l.Continue, nil
		})
	})
	wg.Go(func() {
		errs[2] = pages(func(o metav1.ListOptions) (string, error) {
			l, err := c.Meta.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace(namespace).List(ctx, o)
			if err != nil {
				return "", c.Explain("list replicasets", err)
			}
			replicas = append(replicas, l.Items...)
			return l.Continue, nil
		})
	})
	wg.Go(func() {
		errs[3] = pages(func(o metav1.ListOptions) (string, error) {
			l, err := c.Kube.CoreV1().Services(namespace).List(ctx, o)
			if err != nil {
				return "", c.Explain("list services", err)
			}
			services = append(services, l.Items...)
			return l.Continue, nil
		})
	})
	wg.Wait()
	if errs[0] != nil && errs[1] != nil {
		return nil, errs[0]
	}
	f := &Fleet{Workloads: workloads(deployments, sets, replicas, services)}
	for _, err := range errs {
		if err != nil {
			f.Problems = append(f.Problems, err)
		}
	}
	return f, ctx.Err()
}

func pages(list func(metav1.ListOptions) (next string, err error)) error {
	o := metav1.ListOptions{Limit: pageSize}
	for {
		next, err := list(o)
		if err != nil || next == "" {
			return err
		}
		o.Continue = next
	}
}

// workloads makes facts of objects.
func workloads(deployments []appsv1.Deployment, sets []appsv1.StatefulSet, replicas []metav1.PartialObjectMetadata, services []corev1.Service) []*Workload {
	var out []*Workload
	of := map[string]*Workload{}
	for i := range deployments {
		d := &deployments[i]
		w := newWorkload(kindDeployment, &d.ObjectMeta, d.Spec.Template.Labels)
		w.Ready, w.Wanted = d.Status.ReadyReplicas, replicasOf(d.Spec.Replicas)
		of[string(d.UID)] = w
		out = append(out, w)
	}
	for i := range sets {
		s := &sets[i]
		w := newWorkload(kindStatefulSet, &s.ObjectMeta, s.Spec.Template.Labels)
		w.Ready, w.Wanted = s.Status.ReadyReplicas, replicasOf(s.Spec.Replicas)
		w.owners[s.Name] = w.Version
		out = append(out, w)
	}
	for i := range replicas {
		r := &replicas[i]
		owner := metav1.GetControllerOfNoCopy(r)
		if owner == nil || of[string(owner.UID)] == nil {
			continue
		}
		w := of[string(owner.UID)]
		w.owners[r.Name] = cmp.Or(r.Labels[kube.LabelVersion], w.Version)
	}
	for i := range services {
		s := &services[i]
		if len(s.Spec.Selector) == 0 {
			continue
		}
		selector := k8slabels.SelectorFromSet(s.Spec.Selector)
		for _, w := range out {
			if w.Namespace == s.Namespace && selector.Matches(k8slabels.Set(w.template)) {
				w.services = append(w.services, s.Name)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func newWorkload(kind string, m *metav1.ObjectMeta, template map[string]string) *Workload {
	get := func(key string) string { return cmp.Or(template[key], m.Labels[key]) }
	return &Workload{
		Namespace: m.Namespace, Kind: kind, Name: m.Name, Model: get(kube.LabelModel), Version: get(kube.LabelVersion), Side: get(kube.LabelSide),
		labels: m.Labels, template: template, owners: map[string]string{},
	}
}

func replicasOf(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// patterns are what the names of its pods match.
func (w *Workload) patterns() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.owners)) {
		if w.Kind == kindPod {
			out = append(out, regexp.QuoteMeta(w.Name))
			continue
		}
		out = append(out, regexp.QuoteMeta(name)+podSuffix)
	}
	if len(out) == 0 && w.Kind == kindDeployment { // its ReplicaSets may not be read
		out = append(out, regexp.QuoteMeta(w.Name)+"-[a-z0-9]+"+podSuffix)
	}
	return out
}

// owns says whether a group of pods is of the workload, and which version it serves.
func (w *Workload) owns(group string) (version string, ok bool) {
	if v, ok := w.owners[group]; ok {
		return v, true
	}
	if rest, ok := strings.CutPrefix(group, w.Name+"-"); ok && len(w.owners) == 0 && w.Kind == kindDeployment && !strings.Contains(rest, "-") {
		return w.Version, true
	}
	return "", false
}

// nameLabels are labels by which operators say which service a Deployment is part of.
func nameLabels() []string {
	return []string{"serving.kserve.io/inferenceservice", "serving.knative.dev/service", "serving.knative.dev/revision", "app.kubernetes.io/instance"}
}

// Find are the workloads that a name means: [KIND/]NAME of a Deployment or StatefulSet with the other sides of its
// rollout, a model, a Service, an InferenceService or Knative Service, a pod.
func (f *Fleet) Find(ctx context.Context, c *client.Client, arg string) ([]*Workload, error) {
	kind, name, typed := strings.Cut(arg, "/")
	if !typed {
		kind, name = "", arg
	}
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".")
	all := map[string]func(*Workload) bool{
		kindDeployment: func(w *Workload) bool { return w.Kind == kindDeployment && w.Name == name },
		"StatefulSet":  func(w *Workload) bool { return w.Kind == kindStatefulSet && w.Name == name },
		"model":        func(w *Workload) bool { return w.Model == name },
		"Service":      func(w *Workload) bool { return slices.Contains(w.services, name) },
		"part": func(w *Workload) bool {
			return slices.ContainsFunc(nameLabels(), func(l string) bool { return w.labels[l] == name || w.template[l] == name })
		},
	}
	kinds := map[string][]string{
		"": {kindDeployment, kindStatefulSet, "model", "Service", "part"}, "deployment": {kindDeployment}, "deployments": {kindDeployment}, "deploy": {kindDeployment},
		"statefulset": {kindStatefulSet}, "statefulsets": {kindStatefulSet}, "sts": {kindStatefulSet}, "model": {"model"}, "models": {"model"},
		"service": {"Service"}, "services": {"Service"}, "svc": {"Service"}, "inferenceservice": {"part"}, "isvc": {"part"}, "ksvc": {"part"},
		"pod": {}, "pods": {}, "po": {},
	}
	order, ok := kinds[kind]
	if name == "" {
		return nil, f.missing(c, arg)
	}
	if !ok {
		return nil, fmt.Errorf("%s is no kind that serves: name a Deployment, a StatefulSet, a Service, a pod or a model", arg)
	}
	for _, k := range order {
		if out := f.where(all[k]); len(out) > 0 {
			if k == kindDeployment || k == kindStatefulSet {
				out = f.sides(out[0])
			}
			return out, nil
		}
	}
	if kind == "" || strings.HasPrefix(kind, "po") {
		w, err := podWorkload(ctx, c, name)
		if w != nil || err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return []*Workload{w}, err
		}
	}
	return nil, f.missing(c, arg)
}

func (f *Fleet) where(ok func(*Workload) bool) []*Workload {
	var out []*Workload
	for _, w := range f.Workloads {
		if ok(w) {
			out = append(out, w)
		}
	}
	return out
}

// sides are a workload and, of the same model, the other sides of its rollout.
func (f *Fleet) sides(w *Workload) []*Workload {
	stem := w.Name
	for _, s := range []string{"-canary", "-blue", "-green"} {
		stem = strings.TrimSuffix(stem, s)
	}
	out := []*Workload{w}
	for _, o := range f.Workloads {
		if o != w && o.Namespace == w.Namespace && o.Model == w.Model && (o.Name == stem || slices.Contains([]string{stem + "-canary", stem + "-blue", stem + "-green"}, o.Name)) {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b *Workload) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// podWorkload is a pod alone.
func podWorkload(ctx context.Context, c *client.Client, name string) (*Workload, error) {
	p, err := c.Kube.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	w := newWorkload(kindPod, &p.ObjectMeta, p.Labels)
	w.Wanted = 1
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
			w.Ready = 1
		}
	}
	strip := regexp.MustCompile("^" + (&Reading{}).ownerPattern() + "$")
	w.owners[strip.FindStringSubmatch(name)[1]] = w.Version
	return w, nil
}

func (f *Fleet) missing(c *client.Client, arg string) error {
	e := &client.Error{What: fmt.Sprintf("nothing that serves is named %q in namespace %s", arg, c.Namespace), Hint: "see what is there with: kubectl ml monitor -n " + c.Namespace}
	var names []string
	for _, w := range f.Workloads {
		names = append(names, w.Name)
	}
	if len(names) > 0 {
		names = slices.Compact(names)
		e.Hint = "there are: " + strings.Join(names[:min(len(names), 8)], ", ")
		if len(names) > 8 {
			e.Hint += fmt.Sprintf(" and %d more", len(names)-8)
		}
	}
	return e
}
