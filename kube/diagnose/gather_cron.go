package diagnose

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// cronName is the name of the CronJob that a person means: cronjob/NAME, or schedule/NAME.
func cronName(arg string) (string, bool) {
	kind, name, ok := strings.Cut(arg, "/")
	return name, ok && slices.Contains([]string{"cronjob", "cronjobs", "cj", "cronjob.batch", "cronjobs.batch", "schedule"}, strings.ToLower(kind))
}

// whyCron diagnoses a CronJob, which is no work itself: why it starts nothing.
func whyCron(ctx context.Context, c *client.Client, name string, o Options) (Diagnosis, error) {
	g := newGatherer(c, c.Namespace, o)
	cron, err := c.Kube.BatchV1().CronJobs(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Diagnosis{}, c.Explain("read cronjob/"+name, err)
	}
	w := &fleet.Work{
		Ref:    fleet.Ref{APIVersion: "batch/v1", Kind: "CronJob", Namespace: cron.Namespace, Name: cron.Name, UID: string(cron.UID)},
		Labels: cron.Labels, State: job.Pending, Created: cron.CreationTimestamp.Time, Want: fleet.Unknown,
	}
	switch {
	case ptr.Deref(cron.Spec.Suspend, false):
		w.State = job.Suspended
	case len(cron.Status.Active) > 0:
		w.State = job.Running
	}
	e := &Evidence{Now: g.now, Work: w, CronJob: cron}
	l, err := c.Kube.CoreV1().Events(cron.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + w.UID})
	if !g.failed("events", err) {
		for i := range l.Items {
			e.Events = append(e.Events, fleet.DecodeEvent(&l.Items[i], w.KindName()))
		}
		slices.SortStableFunc(e.Events, func(a, b fleet.Event) int { return a.Last.Compare(b.Last) })
	}
	e.Unknown = g.unknowns()
	d := Diagnose(e)
	if w.State == job.Running {
		d.Causes = nil
		d.Brief = "running: " + some(activeNames(cron.Status.Active), 3) + "; ask about that Job"
		d.Headline = d.Brief
	}
	return d, nil
}

func activeNames(refs []corev1.ObjectReference) []string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = fleet.Ref{Kind: r.Kind, Name: r.Name}.KindName()
	}
	return out
}
