package run

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
	"github.com/kubectl-ml/kubectl-ml/kube/serving"
)

// observation is a run with what is needed to change its record.
type observation struct {
	run  Run
	live Live
	cm   *corev1.ConfigMap
	// acted says that looking took a rollout forward.
	acted bool
	// unseen is why the pods could not be read, nil when they could.
	unseen error
}

// Get returns a run as it stands. It changes nothing.
func Get(ctx context.Context, c *client.Client, name string) (Run, error) {
	o, err := observe(ctx, c, name, nil)
	if err != nil {
		return Run{}, err
	}
	return o.run, nil
}

func getRecord(ctx context.Context, c *client.Client, name string) (*corev1.ConfigMap, *Record, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).Get(ctx, kube.PrefixRun+name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, &client.Error{
			What: fmt.Sprintf("run %q not found in namespace %s", name, c.Namespace),
			Hint: "list the runs with: kubectl ml runs", Err: err,
		}
	}
	if err != nil {
		return nil, nil, c.Explain("read run "+name, err)
	}
	rec, err := decode(cm)
	return cm, rec, err
}

// observe looks at a run. Rollouts of its stages are taken a step forward on the way where drive says so; nil is nowhere.
func observe(ctx context.Context, c *client.Client, name string, drive func(*Record) bool) (*observation, error) {
	cm, rec, err := getRecord(ctx, c, name)
	if err != nil {
		return nil, err
	}
	o := &observation{cm: cm}
	if o.live, o.unseen, err = liveObjects(ctx, c, rec); err != nil {
		return nil, err
	}
	if o.acted, err = liveRollouts(ctx, c, rec, o.live, drive != nil && rec.End == nil && drive(rec)); err != nil {
		return nil, err
	}
	o.run = Derive(rec, o.live, time.Now())
	return o, nil
}

// emptyLive is a cluster that has nothing of a run.
func emptyLive() Live {
	return Live{Jobs: map[string]job.JobFact{}, TTL: map[string]bool{}, JobSets: map[string]bool{}, Deployments: map[string]*appsv1.Deployment{}, Rollouts: map[string]serving.Rollout{}}
}

// podsLate is after how long it is worth a word that a Job has no pods yet.
const podsLate = 10 * time.Second

// liveObjects reads the Jobs, pods and Deployments of a run. Without the right to see pods (unseen) the Jobs still
// tell of everything but results.
func liveObjects(ctx context.Context, c *client.Client, rec *Record) (live Live, unseen, err error) {
	live = emptyLive()
	opts := metav1.ListOptions{LabelSelector: StageSelector(rec.Name, "")}
	jobs, err := c.Kube.BatchV1().Jobs(c.Namespace).List(ctx, opts)
	if err != nil {
		return live, nil, c.Explain("list the jobs of run "+rec.Name, err)
	}
	var byJob map[string][]*corev1.Pod
	if len(jobs.Items) > 0 {
		pods, err := c.Kube.CoreV1().Pods(c.Namespace).List(ctx, opts)
		if apierrors.IsForbidden(err) {
			pods, unseen = &corev1.PodList{}, c.Explain("read the results of run "+rec.Name, err)
		} else if err != nil {
			return live, nil, c.Explain("list the pods of run "+rec.Name, err)
		}
		byJob = podsByJob(pods.Items)
	}
	var sets []jobSet
	if rec.any(pipeline.Stage.UsesJobSet) {
		if sets, err = listJobSets(ctx, c, c.Namespace, opts); err != nil {
			return live, nil, c.Explain("list the jobsets of run "+rec.Name, err)
		}
	}
	live.add(pointers(jobs.Items), byJob, pointers(sets))
	for name, fact := range live.Jobs {
		switch {
		case fact.Reason != "NoPods" && fact.Reason != "NoJob":
			continue
		case unseen != nil && fact.Reason == "NoPods":
			fact.Reason, fact.Message = "PodsUnseen", "its pods cannot be seen: needs list pods"
		case time.Since(fact.Created) < podsLate:
			fact.Reason, fact.Message = "", ""
		}
		live.Jobs[name] = fact
	}
	return live, unseen, liveDeployments(ctx, c, rec, live)
}

// podsByJob sorts pods by the NAMESPACE/NAME of the Job that made them.
func podsByJob(pods []corev1.Pod) map[string][]*corev1.Pod {
	out := map[string][]*corev1.Pod{}
	for i := range pods {
		if owner := metav1.GetControllerOf(&pods[i]); owner != nil {
			key := pods[i].Namespace + "/" + owner.Name
			out[key] = append(out[key], &pods[i])
		}
	}
	return out
}

// add takes in Jobs, and JobSets with the Jobs that they made. What is on its way out is no longer the run's: its place
// is free, or it counts as deleted.
func (l Live) add(jobs []*batchv1.Job, pods map[string][]*corev1.Pod, sets []*jobSet) {
	for _, j := range jobs {
		if j.DeletionTimestamp == nil && !ofJobSet(j) {
			l.Jobs[j.Name] = job.DecodeJob(j, pods[j.Namespace+"/"+j.Name])
			l.TTL[j.Name] = j.Spec.TTLSecondsAfterFinished != nil
		}
	}
	for _, s := range sets {
		if s.DeletionTimestamp == nil {
			l.Jobs[s.Name] = jobSetFact(s, jobs, pods)
			l.TTL[s.Name], l.JobSets[s.Name] = s.Spec.TTLSecondsAfterFinished != nil, true
		}
	}
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

func liveDeployments(ctx context.Context, c *client.Client, rec *Record, live Live) error {
	for i := range rec.Plan.Stages {
		p := &rec.Plan.Stages[i]
		sr := rec.Stages[p.Name]
		if p.Kind() != pipeline.KindDeployment || deploys(p.Stage) || sr.Outcome != nil || len(sr.Jobs) == 0 {
			continue
		}
		want, err := pipeline.Deployment(&rec.Plan, rec.ref(), p.Name)
		if err != nil {
			continue // the stage's state says it
		}
		d, err := c.Kube.AppsV1().Deployments(c.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return c.Explain("read deployment "+want.Name, err)
		default:
			live.Deployments[want.Name] = d
		}
	}
	return nil
}

// lacksResults says whether Jobs have succeeded whose results are in pods that could not be read.
func (o *observation) lacksResults() bool {
	if o.unseen == nil {
		return false
	}
	for _, st := range o.run.Now {
		for _, c := range st.Children {
			if _, isJob := o.live.Jobs[c.Job]; isJob && !st.recorded && c.State == Succeeded {
				return true
			}
		}
	}
	return false
}
