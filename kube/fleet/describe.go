package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// Description is one piece of work in full.
type Description struct {
	*Work
	// Shape is nil when neither the root nor a pod could be read.
	Shape      *Shape      `json:"shape,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
	// Events of the root and of its pods, oldest first. The cluster keeps them for an hour or so.
	Events []Event `json:"events,omitempty"`
	// Failed is the pod that failed first, and Log its last lines; nil while none has failed.
	Failed *Pod     `json:"failed,omitempty"`
	Log    []string `json:"log,omitempty"`
	// Problems are what could not be read.
	Problems []Problem `json:"-"`
}

// Shape is what the pods of a piece of work are made of: those of its leading pod, where their templates differ.
type Shape struct {
	Containers     []Container       `json:"containers"`
	NodeSelector   map[string]string `json:"nodeSelector,omitempty"`
	Tolerations    []string          `json:"tolerations,omitempty"`
	ServiceAccount string            `json:"serviceAccount,omitempty"`
	Scheduler      string            `json:"scheduler,omitempty"`
	// Claims are the PersistentVolumeClaims mounted.
	Claims []string `json:"claims,omitempty"`
	// Limits of a Job, in its own terms; zero or nil where it sets none.
	Parallelism  *int64 `json:"parallelism,omitempty"`
	Completions  *int64 `json:"completions,omitempty"`
	BackoffLimit *int64 `json:"backoffLimit,omitempty"`
	// Deadline bounds the Job's run time (activeDeadlineSeconds), in seconds.
	Deadline *int64 `json:"deadlineSeconds,omitempty"`
	// Indexed says that each pod has a rank.
	Indexed bool `json:"indexed,omitempty"`
}

// Container is a container in short.
type Container struct {
	Name    string `json:"name"`
	Image   string `json:"image"`
	Command string `json:"command,omitempty"`
	// Requests and Limits are quantities by resource name; a limit stands for a request that is not written.
	Requests map[string]string `json:"requests,omitempty"`
	Limits   map[string]string `json:"limits,omitempty"`
}

// Event is something that the cluster reports of an object.
type Event struct {
	// Last is when it was seen last, Count how often.
	Last  time.Time `json:"last"`
	Count int32     `json:"count"`
	// Object is the root or the pod that it is about, such as pod/train-x-0.
	Object string `json:"object"`
	// Type is Normal or Warning.
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// From is the component that reports.
	From string `json:"from,omitempty"`
}

// lastLines is how much of a failed pod's log a description holds.
const lastLines = 15

// Describe reads what a list does not show of a piece of work. What cannot be read is a Problem; the rest is complete.
func Describe(ctx context.Context, c *client.Client, w *Work) *Description {
	d := &Description{Work: w}
	if p, ok := firstFailure(w); ok {
		d.Failed = p
	}
	var mu sync.Mutex
	problem := func(resource string, err error) {
		if err != nil && !apierrors.IsNotFound(err) {
			mu.Lock()
			defer mu.Unlock()
			d.Problems = append(d.Problems, Problem{Resource: resource, Err: c.Explain("", err)})
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		root, err := readRoot(ctx, c, w.Ref)
		problem(strings.ToLower(w.Kind), err)
		pod, err := leadingPod(ctx, c, w)
		problem("pods", err)
		d.Shape, d.Conditions = shape(root, pod), conditions(root)
	})
	wg.Go(func() {
		events, err := events(ctx, c, w)
		problem("events", err)
		d.Events = events
	})
	wg.Go(func() {
		if d.Failed == nil {
			return
		}
		sel := job.PodSelector{Names: []string{d.Failed.Name}, Rank: job.AllRanks}
		report, err := job.Logs(ctx, c.Kube, w.Namespace, sel, job.LogOptions{Tail: lastLines, Container: d.Failed.Container}, nil, func(l job.LogLine) {
			d.Log = append(d.Log, l.Text)
		})
		for _, e := range append(report.Errors, err) {
			problem("pods/log", e)
		}
	})
	wg.Wait()
	slices.SortFunc(d.Problems, func(a, b Problem) int { return cmp.Compare(a.Resource, b.Resource) })
	return d
}

// firstFailure is the pod that the others died of.
func firstFailure(w *Work) (*Pod, bool) {
	var f job.JobFact
	for _, p := range w.Pods {
		f.Pods = append(f.Pods, p.PodFact)
	}
	first, ok := f.FirstFailure()
	if !ok {
		return nil, false
	}
	i := slices.IndexFunc(w.Pods, func(p *Pod) bool { return p.Name == first.Name })
	return w.Pods[i], true
}

func readRoot(ctx context.Context, c *client.Client, ref Ref) (*unstructured.Unstructured, error) {
	objects, err := ResourceOf(c, ref)
	if err != nil {
		return nil, err
	}
	return objects.Get(ctx, ref.Name, metav1.GetOptions{})
}

func leadingPod(ctx context.Context, c *client.Client, w *Work) (*corev1.Pod, error) {
	if len(w.Pods) == 0 {
		return nil, nil
	}
	return c.Kube.CoreV1().Pods(w.Namespace).Get(ctx, w.Pods[0].Name, metav1.GetOptions{})
}

// shape reads a pod, or the template of a root that has no pods (yet), and the limits that a Job sets.
func shape(root *unstructured.Unstructured, pod *corev1.Pod) *Shape {
	var spec *corev1.PodSpec
	if pod != nil {
		spec = &pod.Spec
	} else if root != nil {
		template, ok, _ := unstructured.NestedMap(root.Object, "spec", "template", "spec")
		var s corev1.PodSpec
		if ok && runtime.DefaultUnstructuredConverter.FromUnstructured(template, &s) == nil {
			spec = &s
		}
	}
	if spec == nil {
		return nil
	}
	s := &Shape{NodeSelector: spec.NodeSelector, ServiceAccount: spec.ServiceAccountName}
	if spec.SchedulerName != corev1.DefaultSchedulerName {
		s.Scheduler = spec.SchedulerName
	}
	for _, t := range spec.Tolerations {
		if strings.HasPrefix(t.Key, "node.kubernetes.io/") {
			continue // every pod gets these
		}
		s.Tolerations = append(s.Tolerations, tolerationText(t))
	}
	for _, v := range spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			s.Claims = append(s.Claims, v.PersistentVolumeClaim.ClaimName)
		}
	}
	for i := range spec.Containers {
		k := &spec.Containers[i]
		s.Containers = append(s.Containers, Container{
			Name: k.Name, Image: k.Image, Command: strings.Join(slices.Concat(k.Command, k.Args), " "),
			Requests: quantities(k.Resources.Requests), Limits: quantities(k.Resources.Limits),
		})
	}
	if root == nil || root.GetKind() != "Job" {
		return s
	}
	for field, to := range map[string]**int64{
		"parallelism": &s.Parallelism, "completions": &s.Completions, "backoffLimit": &s.BackoffLimit, "activeDeadlineSeconds": &s.Deadline,
	} {
		if n, ok, _ := unstructured.NestedInt64(root.Object, "spec", field); ok {
			*to = &n
		}
	}
	mode, _, _ := unstructured.NestedString(root.Object, "spec", "completionMode")
	s.Indexed = mode == "Indexed"
	return s
}

// tolerationText is a toleration as kubectl taint writes taints: key=value:effect.
func tolerationText(t corev1.Toleration) string {
	text := cmp.Or(t.Key, "*")
	if t.Value != "" {
		text += "=" + t.Value
	}
	if t.Effect != "" {
		text += ":" + string(t.Effect)
	}
	return text
}

func quantities(list corev1.ResourceList) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]string, len(list))
	for name, q := range list {
		out[string(name)] = q.String()
	}
	return out
}

// conditions are read without knowing the kind: all keep them in status.conditions.
func conditions(root *unstructured.Unstructured) []Condition {
	if root == nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(root.Object, "status", "conditions")
	var out []Condition
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := m[key].(string); return s }
		k := Condition{Type: text("type"), Status: text("status"), Reason: text("reason"), Message: text("message")}
		if t, err := time.Parse(time.RFC3339, text("lastTransitionTime")); err == nil {
			k.Since = t
		}
		out = append(out, k)
	}
	return out
}

func events(ctx context.Context, c *client.Client, w *Work) ([]Event, error) {
	about := map[string]string{w.UID: w.KindName()}
	for _, p := range w.Pods {
		about[p.UID] = "pod/" + p.Name
	}
	o := metav1.ListOptions{Limit: 500}
	if len(about) == 1 {
		o.FieldSelector = "involvedObject.uid=" + w.UID
	}
	var out []Event
	for {
		list, err := c.Kube.CoreV1().Events(w.Namespace).List(ctx, o)
		if err != nil {
			return out, err
		}
		for i := range list.Items {
			if object, ok := about[string(list.Items[i].InvolvedObject.UID)]; ok {
				out = append(out, DecodeEvent(&list.Items[i], object))
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			break
		}
	}
	slices.SortStableFunc(out, func(a, b Event) int { return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Object, b.Object)) })
	return out, nil
}

// DecodeEvent reads an event of either API: the newer one keeps its times and counts in other fields.
func DecodeEvent(e *corev1.Event, object string) Event {
	out := Event{
		Last: e.LastTimestamp.Time, Count: max(e.Count, 1), Object: object, Type: e.Type, Reason: e.Reason, Message: e.Message,
		From: cmp.Or(e.Source.Component, e.ReportingController),
	}
	if out.Last.IsZero() {
		out.Last = e.EventTime.Time
	}
	if s := e.Series; s != nil {
		out.Last, out.Count = s.LastObservedTime.Time, max(s.Count, out.Count)
	}
	if out.Last.IsZero() {
		out.Last = e.CreationTimestamp.Time
	}
	return out
}
