package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// jobFailure is the condition by which the Job controller ended the Job.
func (e *Evidence) jobFailure() (batchv1.JobCondition, bool) {
	if e.Job == nil {
		return batchv1.JobCondition{}, false
	}
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobFailureTarget} {
		for _, c := range e.Job.Status.Conditions {
			if c.Type == kind && c.Status == corev1.ConditionTrue {
				return c, true
			}
		}
	}
	return batchv1.JobCondition{}, false
}

// failedRanks are the ranks that used up their own tries.
func (e *Evidence) failedRanks() string {
	if ranks := ptr.Deref(e.Job.Status.FailedIndexes, ""); ranks != "" {
		return "failed ranks: " + ranks
	}
	return ""
}

func jobLine(c batchv1.JobCondition) string {
	return "the Job controller (" + c.Reason + "): " + c.Message
}

// deadlineRule: a time limit of the work's own.
func deadlineRule(e *Evidence) []Cause {
	c, ok := e.jobFailure()
	byJob := ok && c.Reason == batchv1.JobReasonDeadlineExceeded
	var limit int64
	var line string
	switch {
	case byJob:
		limit, line = ptr.Deref(e.Job.Spec.ActiveDeadlineSeconds, 0), jobLine(c)
	default:
		i := slices.IndexFunc(e.Pods, func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodFailed && p.Status.Reason == "DeadlineExceeded"
		})
		if i < 0 {
			return nil
		}
		limit, line = ptr.Deref(e.Pods[i].Spec.ActiveDeadlineSeconds, 0), "the kubelet: "+e.Pods[i].Status.Message
	}
	title := "it ran longer than its deadline"
	if limit > 0 {
		title += fmt.Sprintf(" of %s (activeDeadlineSeconds: %d)", age(time.Duration(limit)*time.Second), limit)
	}
	k := cause(Certain, "DeadlineExceeded", title).because(line)
	if byJob && !slices.ContainsFunc(e.Pods, started) {
		if len(e.Pods) > 0 || e.Job.Status.Failed == 0 {
			k = k.because("no pod that is still there ever started: much of the time may have gone into waiting for a node")
		}
	}
	if _, _, ok := e.stage(); ok {
		k = k.cure("give the run more time", "kubectl ml run --timeout DURATION")
	}
	return []Cause{k.cures(e.change("raise activeDeadlineSeconds, or let it do less"))}
}

func started(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil || s.State.Terminated != nil && !s.State.Terminated.StartedAt.IsZero()
	})
}

// policyRule: a rule of the Job itself ended it, or it ran out of retries. The failures behind it are told before.
func policyRule(e *Evidence) []Cause {
	c, ok := e.jobFailure()
	if !ok {
		return nil
	}
	switch c.Reason {
	case batchv1.JobReasonPodFailurePolicy:
		return []Cause{cause(Possible, "PodFailurePolicy", "a rule of its podFailurePolicy ended the Job at once, without more tries").because(jobLine(c)).
			cures(e.change("change podFailurePolicy, if such a failure should be tried again"))}
	case batchv1.JobReasonBackoffLimitExceeded, batchv1.JobReasonMaxFailedIndexesExceeded, batchv1.JobReasonFailedIndexes:
		if _, gone := e.last(goneReasons...); gone || len(e.crashes()) > 0 {
			return nil // what they died of is the cause; that there were no more tries is evidence
		}
		k := cause(Certain, "RetriesExhausted", fmt.Sprintf("it failed %s, and no more tries are allowed", count(int64(e.Job.Status.Failed), "time", "times"))).because(jobLine(c), e.failedRanks())
		k = k.because("its pods are gone, and with them their exit codes and logs")
		return []Cause{k.cures(e.change("raise backoffLimit, if the failures pass by themselves"))}
	}
	return nil
}

// rootRule tells what a root of another kind says of its own failure. It speaks where nothing else did.
func rootRule(e *Evidence) []Cause {
	for _, c := range rootConditions(e.Root) {
		if c.Status == "True" && (strings.HasSuffix(c.Type, "Failed") || c.Type == "Degraded" || c.Type == "ReplicaFailure") {
			return []Cause{cause(Certain, "Failed", fmt.Sprintf("its %s says: %s", e.Work.Kind, c.Message)).because(e.conditionLine(e.Work.KindName(), c)).
				cures(e.again("when the cause is mended, start it again"))}
		}
	}
	if c, ok := e.jobFailure(); ok && len(e.crashes()) == 0 {
		return []Cause{cause(Certain, "Failed", cmp.Or(c.Message, c.Reason)).because(jobLine(c)).cures(e.again("when the cause is mended, start it again"))}
	}
	return nil
}

// rootConditions reads status.conditions of any kind.
func rootConditions(u *unstructured.Unstructured) []fleet.Condition {
	if u == nil {
		return nil
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return conditionsOf(list)
}

// conditionsOf reads a list of conditions that is half-written perhaps.
func conditionsOf(list []any) []fleet.Condition {
	var out []fleet.Condition
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := m[key].(string); return s }
		c := fleet.Condition{Type: text("type"), Status: text("status"), Reason: text("reason"), Message: text("message")}
		if t, err := time.Parse(time.RFC3339, text("lastTransitionTime")); err == nil {
			c.Since = t
		}
		out = append(out, c)
	}
	return out
}
