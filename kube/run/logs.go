package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// LogTarget is whose logs a person asked for.
type LogTarget struct {
	// What names it for messages.
	What string
	Pods job.PodSelector
	// Done says whether no more lines will come.
	Done func(context.Context) (bool, error)
}

// FindLogs finds what arg names: a run, a stage of the newest run that has it, RUN/STAGE, job/NAME or a pod.
func FindLogs(ctx context.Context, c *client.Client, arg string) (LogTarget, error) {
	if name, ok := strings.CutPrefix(arg, "job/"); ok {
		return jobLogs(ctx, c, name)
	}
	if name, ok := strings.CutPrefix(arg, "pod/"); ok {
		return podLogs(ctx, c, name)
	}
	name, stage, _ := strings.Cut(strings.TrimPrefix(arg, "run/"), "/")
	name, err := Find(ctx, c, name)
	if err != nil {
		return LogTarget{}, err
	}
	_, rec, err := getRecord(ctx, c, name)
	switch {
	case err == nil && stage != "":
		return stageLogs(c, rec, stage)
	case err == nil:
		return runLogs(c, rec), nil
	case !apierrors.IsNotFound(err) || stage != "":
		return LogTarget{}, err
	}
	if t, found, err := newestWith(ctx, c, name); err != nil || found {
		return t, err
	}
	t, err := podLogs(ctx, c, name)
	if apierrors.IsNotFound(err) {
		return t, &client.Error{
			What: fmt.Sprintf("%q is no run, no stage of a run and no pod in namespace %s", arg, c.Namespace),
			Hint: "list the runs with: kubectl ml runs", Err: err,
		}
	}
	return t, err
}

func runLogs(c *client.Client, rec *Record) LogTarget {
	return LogTarget{
		What: "run " + rec.Name, Pods: job.PodSelector{LabelSelector: StageSelector(rec.Name, ""), Rank: job.AllRanks},
		Done: func(ctx context.Context) (bool, error) {
			r, err := Get(ctx, c, rec.Name)
			return err == nil && r.Resting(), err
		},
	}
}

func stageLogs(c *client.Client, rec *Record, stage string) (LogTarget, error) {
	if rec.Stage(stage) == nil {
		return LogTarget{}, fmt.Errorf("run %s has no stage %q; it has: %s", rec.Name, stage, strings.Join(rec.Selected(), ", "))
	}
	return LogTarget{
		What: fmt.Sprintf("stage %s of run %s", stage, rec.Name),
		Pods: job.PodSelector{LabelSelector: StageSelector(rec.Name, stage), Rank: job.AllRanks},
		Done: func(ctx context.Context) (bool, error) {
			r, err := Get(ctx, c, rec.Name)
			if err != nil {
				return false, err
			}
			i := slices.IndexFunc(r.Now, func(s Stage) bool { return s.Name == stage })
			return i < 0 || r.Resting() || r.Now[i].State.Terminal() || r.Now[i].State == AwaitingApproval, nil
		},
	}, nil
}

// newestWith finds the newest run that has a stage of that name among those it runs.
func newestWith(ctx context.Context, c *client.Client, stage string) (LogTarget, bool, error) {
	list, err := c.Kube.CoreV1().ConfigMaps(c.Namespace).List(ctx, kube.ListOptions(map[string]string{kube.LabelKind: kube.KindRun}))
	if err != nil {
		return LogTarget{}, false, c.Explain("look for a run with stage "+stage, err)
	}
	newestFirst(list.Items)
	for i := range list.Items {
		rec, err := decode(&list.Items[i])
		if err != nil {
			continue // a damaged record hides no other
		}
		if st := rec.Stage(stage); st != nil && st.Selected {
			t, err := stageLogs(c, rec, stage)
			return t, true, err
		}
	}
	return LogTarget{}, false, nil
}

func jobLogs(ctx context.Context, c *client.Client, name string) (LogTarget, error) {
	jobs := c.Kube.BatchV1().Jobs(c.Namespace)
	if _, err := jobs.Get(ctx, name, metav1.GetOptions{}); err != nil {
		return LogTarget{}, c.Explain("read job "+name, err)
	}
	return LogTarget{
		What: "job " + name,
		Pods: job.PodSelector{LabelSelector: "batch.kubernetes.io/job-name=" + name, Rank: job.AllRanks},
		Done: func(ctx context.Context) (bool, error) {
			j, err := jobs.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			if err != nil {
				return false, fmt.Errorf("read job %s: %w", name, err)
			}
			return job.DecodeJob(j, nil).Final(), nil
		},
	}, nil
}

func podLogs(ctx context.Context, c *client.Client, name string) (LogTarget, error) {
	pods := c.Kube.CoreV1().Pods(c.Namespace)
	if _, err := pods.Get(ctx, name, metav1.GetOptions{}); err != nil {
		return LogTarget{}, c.Explain("read pod "+name, err)
	}
	return LogTarget{
		What: "pod " + name, Pods: job.PodSelector{Names: []string{name}, Rank: job.AllRanks},
		Done: func(ctx context.Context) (bool, error) {
			p, err := pods.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			if err != nil {
				return false, fmt.Errorf("read pod %s: %w", name, err)
			}
			return job.DecodePod(p).Final(), nil
		},
	}, nil
}
