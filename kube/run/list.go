package run

import (
	"context"
	"encoding/json"
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
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
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
	Metrics map[string]float64 `json:"metrics,omitempty"`
	By      string             `json:"by,omitempty"`
	Commit  string             `json:"commit,omitempty"`
	Created time.Time          `json:"created"`
	// Started is the starter's own time, finer than the server's in Created.
	Started  time.Time         `json:"started,omitzero"`
	Finished *time.Time        `json:"finished,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// summary is the part of a Summary that the record alone knows; it goes into an annotation.
func (r *Record) summary() Summary {
	return Summarize(Derive(r, Live{}, r.Created))
}

// Summarize shortens a run to what lists show.
func Summarize(r Run) Summary {
	s := Summary{
		Name: r.Name, Namespace: r.Namespace, Pipeline: r.Plan.Pipeline, State: r.State, Message: r.Message,
		By: r.By, Created: r.Created, Started: r.Started, Finished: r.Finished,
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
// read without their data, and the Jobs of the others come in one list. A run that ends between two requests shows
// once, as one of them saw it.
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
	open, err := c.Kube.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{LabelSelector: selector + ",!" + kube.LabelState})
	if err != nil {
		return nil, c.Explain("list the runs", err)
	}
	all, err := c.Meta.Resource(configMaps).Namespace(ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, c.Explain("list the runs", err)
	}
	going, err := openRuns(ctx, c, ns, open.Items)
	if err != nil {
		return nil, err
	}
	out := make([]Summary, 0, len(all.Items))
	for i := range all.Items {
		m := &all.Items[i]
		s, ok := going[m.Namespace+"/"+m.Name]
		if !ok || m.Labels[kube.LabelState] != "" {
			s = summaryOf(m)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Summary) int { return b.age().compare(a.age()) })
	return out, nil
}

func summaryOf(m *metav1.PartialObjectMetadata) Summary {
	s := Summary{}
	// A record whose copy was damaged by hand still shows, with what its labels say.
	_ = json.Unmarshal([]byte(m.Annotations[kube.AnnotationSummary]), &s)
	s.Name, s.Namespace = strings.TrimPrefix(m.Name, kube.PrefixRun), m.Namespace
	s.Pipeline = m.Labels[kube.LabelPipeline]
	if state := m.Labels[kube.LabelState]; state != "" {
		s.State = State(state)
	}
	s.Created, s.Labels = m.CreationTimestamp.Time, m.Labels
	return s
}

// openRuns derives the state of the runs that have not ended, by namespace and name of the record.
func openRuns(ctx context.Context, c *client.Client, ns string, open []corev1.ConfigMap) (map[string]Summary, error) {
	out := map[string]Summary{}
	if len(open) == 0 {
		return out, nil
	}
	opts := metav1.ListOptions{LabelSelector: kube.Selector(nil) + "," + kube.LabelRun + "," + kube.LabelStage}
	jobs, err := c.Kube.BatchV1().Jobs(ns).List(ctx, opts)
	unseen := apierrors.IsForbidden(err)
	if err != nil && !unseen {
		return nil, c.Explain("list the jobs of the runs", err)
	}
	pods, err := c.Kube.CoreV1().Pods(ns).List(ctx, opts)
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, c.Explain("list the pods of the runs", err)
	}
	records := make([]*Record, len(open))
	for i := range open {
		cm := &open[i]
		if records[i], err = decode(cm); err != nil {
			out[cm.Namespace+"/"+cm.Name] = Summary{
				Name: strings.TrimPrefix(cm.Name, kube.PrefixRun), Namespace: cm.Namespace, Pipeline: cm.Labels[kube.LabelPipeline],
				State: Failed, Message: err.Error(), Created: cm.CreationTimestamp.Time, Labels: cm.Labels,
			}
		}
	}
	var sets []jobSet
	unseenSets := false
	if slices.ContainsFunc(records, usesJobSets) {
		sets, err = listJobSets(ctx, c, ns, opts)
		unseenSets = apierrors.IsForbidden(err)
		if err != nil && !unseenSets {
			return nil, c.Explain("list the jobsets of the runs", err)
		}
	}
	lives := group(jobs.Items, pods.Items, sets)
	for i, rec := range records {
		if rec == nil {
			continue
		}
		live, ok := lives[rec.Namespace+"/"+rec.Name]
		if !ok {
			live = emptyLive() // somebody looked, and there are none
		}
		hidden := ""
		switch {
		case unseen:
			hidden = "jobs.batch"
		case unseenSets && usesJobSets(rec):
			hidden = "jobsets." + pipeline.JobSets().Group
		}
		if hidden != "" {
			live.Jobs = nil
		}
		// Deployments are left out here: reading each would cost a request a run. Their stage shows as started.
		live.Deployments, live.Rollouts = nil, nil
		s := Summarize(Derive(rec, live, time.Now()))
		s.Labels = open[i].Labels
		if hidden != "" {
			s.Message = "its Jobs cannot be seen: needs list " + hidden
		}
		out[open[i].Namespace+"/"+open[i].Name] = s
	}
	return out, nil
}

func usesJobSets(r *Record) bool { return r != nil && r.any(pipeline.Stage.UsesJobSet) }

// group sorts Jobs, pods and JobSets to their runs, by namespace/run.
func group(jobs []batchv1.Job, pods []corev1.Pod, sets []jobSet) map[string]Live {
	type made struct {
		jobs []*batchv1.Job
		sets []*jobSet
	}
	byRun := map[string]*made{}
	of := func(m *metav1.ObjectMeta) *made {
		key := m.Namespace + "/" + m.Labels[kube.LabelRun]
		if byRun[key] == nil {
			byRun[key] = &made{}
		}
		return byRun[key]
	}
	for i := range jobs {
		m := of(&jobs[i].ObjectMeta)
		m.jobs = append(m.jobs, &jobs[i])
	}
	for i := range sets {
		m := of(&sets[i].ObjectMeta)
		m.sets = append(m.sets, &sets[i])
	}
	byJob := podsByJob(pods)
	out := make(map[string]Live, len(byRun))
	for key, m := range byRun {
		live := emptyLive()
		live.add(m.jobs, byJob, m.sets)
		out[key] = live
	}
	return out
}
