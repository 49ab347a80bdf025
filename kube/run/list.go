package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// Summary is what lists show of a run.
type Summary struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	State     State  `json:"state"`
	Message   string `json:"message,omitempty"`
	Done      int    `json:"done"`
	Total     int    `json:"total"`
	// Stage is the one that runs, waits for approval or failed.
	Stage string `json:"stage,omitempty"`
	// Metrics are those of the last stage that gave some.
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	By       string             `json:"by,omitempty"`
	Commit   string             `json:"commit,omitempty"`
	Created  time.Time          `json:"created"`
	Finished *time.Time         `json:"finished,omitempty"`
	Labels   map[string]string  `json:"labels,omitempty"`
}

// summary is the part of a Summary that the record alone knows; it goes into an annotation.
func (r *Record) summary() Summary {
	return Summarize(Derive(r, Live{}, r.Created))
}

// Summarize shortens a run to what lists show.
func Summarize(r Run) Summary {
	s := Summary{
		Name: r.Name, Namespace: r.Namespace, Pipeline: r.Plan.Pipeline, State: r.State, Message: r.Message,
		By: r.By, Created: r.Created, Finished: r.Finished,
	}
	if src := r.Plan.Source; src != nil && src.Commit != "" {
		s.Commit = src.CommitText()
	}
	for _, st := range r.Now {
		if st.State == Skipped || st.State == Reused {
			if p := r.Stage(st.Name); !p.Selected {
				continue
			}
		}
		s.Total++
		switch st.State {
		case Succeeded:
			s.Done++
		case Running, Pending, AwaitingApproval, Failed, GateFailed:
			if s.Stage == "" {
				s.Stage = st.Name
			}
		}
		if st.Result != nil && len(st.Result.Metrics) > 0 {
			s.Metrics = st.Result.Metrics
		}
	}
	return s
}

// ListOptions choose runs.
type ListOptions struct {
	// AllNamespaces looks into every namespace.
	AllNamespaces bool
	// Selector is a label selector; Pipeline keeps the runs of one pipeline.
	Selector, Pipeline string
}

// List returns the runs, newest first. The number of requests does not grow with the number of runs: ended runs are
// read without their data, and the Jobs of the others come in one list.
func List(ctx context.Context, c *client.Client, o ListOptions) ([]Summary, error) {
	ns := c.Namespace
	if o.AllNamespaces {
		ns = metav1.NamespaceAll
	}
	pairs := map[string]string{kube.LabelKind: kube.KindRun}
	if o.Pipeline != "" {
		pairs[kube.LabelPipeline] = o.Pipeline
	}
	selector := kube.Selector(pairs)
	if o.Selector != "" {
		selector += "," + o.Selector
	}
	ended, err := c.Meta.Resource(configMaps).Namespace(ns).List(ctx, metav1.ListOptions{LabelSelector: selector + "," + kube.LabelState})
	if err != nil {
		return nil, c.Explain("list the runs", err)
	}
	open, err := c.Kube.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{LabelSelector: selector + ",!" + kube.LabelState})
	if err != nil {
		return nil, c.Explain("list the runs", err)
	}
	out := make([]Summary, 0, len(ended.Items)+len(open.Items))
	for i := range ended.Items {
		out = append(out, summaryOf(&ended.Items[i]))
	}
	if out, err = appendOpen(ctx, c, ns, out, open.Items); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Summary) int { return b.Created.Compare(a.Created) })
	return out, nil
}

func summaryOf(m *metav1.PartialObjectMetadata) Summary {
	s := Summary{}
	// A record whose copy was damaged by hand still shows, with what its labels say.
	_ = json.Unmarshal([]byte(m.Annotations[kube.AnnotationSummary]), &s)
	s.Name, s.Namespace = strings.TrimPrefix(m.Name, kube.PrefixRun), m.Namespace
	s.Pipeline, s.State = m.Labels[kube.LabelPipeline], State(m.Labels[kube.LabelState])
	s.Created, s.Labels = m.CreationTimestamp.Time, m.Labels
	return s
}

// appendOpen derives the state of the runs that have not ended.
func appendOpen(ctx context.Context, c *client.Client, ns string, out []Summary, open []corev1.ConfigMap) ([]Summary, error) {
	if len(open) == 0 {
		return out, nil
	}
	opts := metav1.ListOptions{LabelSelector: kube.Selector(nil) + "," + kube.LabelRun}
	jobs, err := c.Kube.BatchV1().Jobs(ns).List(ctx, opts)
	if err != nil {
		return nil, c.Explain("list the jobs of the runs", err)
	}
	pods, err := c.Kube.CoreV1().Pods(ns).List(ctx, opts)
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, c.Explain("list the pods of the runs", err)
	}
	lives := group(jobs.Items, pods.Items)
	for i := range open {
		rec, err := decode(&open[i])
		if err != nil {
			out = append(out, Summary{
				Name: strings.TrimPrefix(open[i].Name, kube.PrefixRun), Namespace: open[i].Namespace, Pipeline: open[i].Labels[kube.LabelPipeline],
				State: Failed, Message: err.Error(), Created: open[i].CreationTimestamp.Time,
			})
			continue
		}
		// Deployments are left out here: reading each would cost a request a run. Their stage shows as started.
		s := Summarize(Derive(rec, lives[rec.Namespace+"/"+rec.Name], time.Now()))
		s.Labels = open[i].Labels
		out = append(out, s)
	}
	return out, nil
}

// group sorts Jobs and pods to their runs, by namespace/run.
func group(jobs []batchv1.Job, pods []corev1.Pod) map[string]Live {
	byJob := map[string][]*corev1.Pod{}
	for i := range pods {
		if owner := metav1.GetControllerOf(&pods[i]); owner != nil {
			key := pods[i].Namespace + "/" + owner.Name
			byJob[key] = append(byJob[key], &pods[i])
		}
	}
	out := map[string]Live{}
	for i := range jobs {
		j := &jobs[i]
		if j.DeletionTimestamp != nil {
			continue
		}
		key := j.Namespace + "/" + j.Labels[kube.LabelRun]
		live, ok := out[key]
		if !ok {
			live.Jobs = map[string]job.JobFact{}
			out[key] = live
		}
		live.Jobs[j.Name] = job.DecodeJob(j, byJob[j.Namespace+"/"+j.Name])
	}
	return out
}

// Find turns what a person may type for a run into its name: a name, run/NAME, @latest, or PIPELINE@latest.
func Find(ctx context.Context, c *client.Client, arg string) (string, error) {
	arg = strings.TrimPrefix(arg, "run/")
	pipe, latest := strings.CutSuffix(arg, "@latest")
	if !latest {
		return arg, nil
	}
	pairs := map[string]string{kube.LabelKind: kube.KindRun}
	if pipe != "" {
		pairs[kube.LabelPipeline] = pipe
	}
	list, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).List(ctx, kube.ListOptions(pairs))
	if err != nil {
		return "", c.Explain("look for the latest run", err)
	}
	if len(list.Items) == 0 && !c.NamespaceExists(ctx) {
		return "", c.MissingNamespace()
	}
	if len(list.Items) == 0 {
		what := "no run"
		if pipe != "" {
			what += " of pipeline " + pipe
		}
		return "", &client.Error{What: fmt.Sprintf("%s in namespace %s", what, c.Namespace), Hint: "start one with: kubectl ml run"}
	}
	newest := slices.MaxFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return strings.TrimPrefix(newest.Name, kube.PrefixRun), nil
}

// FileOrApplied reads the pipeline that a person named: a file that exists, "-", or an applied pipeline.
func FileOrApplied(ctx context.Context, connect func() (*client.Client, error), name string, stdin io.Reader) (*Bundle, error) {
	_, err := os.Stat(name)
	looksLikeFile := name == "-" || err == nil || !errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(name, "/.\\")
	if looksLikeFile {
		return ReadFile(name, stdin)
	}
	c, err := connect()
	if err != nil {
		return nil, err
	}
	return ReadApplied(ctx, c, name)
}

// Names are the names of all runs in the namespace, newest first, without their data.
func Names(ctx context.Context, c *client.Client) ([]string, error) {
	return recordNames(ctx, c, kube.KindRun, kube.PrefixRun)
}

// Pipelines are the names of all applied pipelines in the namespace.
func Pipelines(ctx context.Context, c *client.Client) ([]string, error) {
	return recordNames(ctx, c, kube.KindPipeline, kube.PrefixPipeline)
}

func recordNames(ctx context.Context, c *client.Client, kind, prefix string) ([]string, error) {
	list, err := c.Meta.Resource(configMaps).Namespace(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelKind: kind}))
	if err != nil {
		return nil, c.Explain("list the "+kind+"s", err)
	}
	slices.SortStableFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = strings.TrimPrefix(list.Items[i].Name, prefix)
	}
	return names, nil
}
