package run

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

func TestCancelAndDeadline(t *testing.T) {
	three := func() *situation {
		return makeRun("p-1").stage("a").stage("b", needs("a")).stage("c", needs("b")).recorded("a", Succeeded, nil).noted("b")
	}
	late := "the run did not end within 30s"
	check(t, []decision{
		{
			"cancelled while one runs", three().job("b", job.Running).cancelled(),
			[]string{
				"run Cancelled: cancelled by ann", "a Succeeded", "b Running", "c Cancelled", "delete p-1-b",
				"record b Cancelled: cancelled by ann", "record c Cancelled: cancelled by ann", "end Cancelled",
			},
		},
		{
			"what ended before is recorded as it ended", three().job("b", job.Succeeded).cancelled(),
			[]string{
				"run Cancelled: cancelled by ann", "a Succeeded", "b Succeeded", "c Cancelled", "record b Succeeded", "record c Cancelled: cancelled by ann", "end Cancelled",
			},
		},
		{
			"a Job that a slow client created after the end goes",
			three().recorded("b", Cancelled, nil).job("b", job.Pending).recorded("c", Cancelled, nil).cancelled().ended(Cancelled),
			[]string{"run Cancelled", "a Succeeded", "b Cancelled", "c Cancelled", "delete p-1-b"},
		},
		{
			"and so does one that starts a recorded stage once more",
			three().job("a", job.Running).job("b", job.Running),
			[]string{"run Running", "a Succeeded", "b Running", "c Waiting (needs b)", "delete p-1-a"},
		},
		{
			"out of time while one runs", three().job("b", job.Running).timeout(30 * time.Second),
			[]string{"run TimedOut: " + late, "a Succeeded", "b Running", "c Waiting (needs b)", "delete p-1-b", "record b TimedOut: " + late, "record c TimedOut: " + late, "end TimedOut"},
		},
		{
			"out of time with nothing left to do", makeRun("p-1").stage("a").noted("a").job("a", job.Succeeded).timeout(30 * time.Second),
			[]string{"run Succeeded", "a Succeeded", "record a Succeeded", "end Succeeded"},
		},
		{
			"out of time while a person is asked",
			makeRun("p-1").stage("a", approval("look")).recorded("a", Succeeded, nil).timeout(30 * time.Second),
			[]string{"run TimedOut: " + late, "a AwaitingApproval (Approval): waits for approval: look", "end TimedOut"},
		},
		{
			"the cluster ended the Job for the run's deadline",
			three().timeout(30*time.Second).job("b", job.Failed, because("DeadlineExceeded", "active longer than specified"), finished(began.Add(31*time.Second))),
			[]string{"run TimedOut: " + late, "a Succeeded", "b TimedOut", "c Skipped (b ran out of the run's time)", "record b TimedOut: " + late, "end TimedOut"},
		},
		{
			"a stage's own timeout is a failure",
			three().timeout(time.Hour).job("b", job.Failed, because("DeadlineExceeded", "active longer than specified")),
			[]string{
				"run Failed: stage b failed: active longer than specified", "a Succeeded", "b Failed (DeadlineExceeded): active longer than specified", "c Skipped (b failed)",
				"record b Failed (DeadlineExceeded): active longer than specified", "end Failed",
			},
		},
		{
			"what a retry of other stages leaves cancelled is no success",
			makeRun("p-1").stage("a").stage("b").recorded("a", Cancelled, nil).recorded("b", Succeeded, nil),
			[]string{"run Cancelled: stages that were cancelled were not retried", "a Cancelled", "b Succeeded", "end Cancelled"},
		},
		{
			"a deadline without its timeout, edited by hand",
			makeRun("p-1").stage("a").timeout(time.Second).with(func(r *Record) { r.Timeout = nil }),
			[]string{"run TimedOut: the run did not end in time", "a Waiting", "record a TimedOut: the run did not end in time", "end TimedOut"},
		},
	})
}

func TestTheTTLComesAfterTheOutcome(t *testing.T) {
	one := func() *situation {
		return makeRun("p-1").stage("a", ttl(time.Hour)).stage("b", needs("a")).noted("a", "b")
	}
	check(t, []decision{
		{
			"not while it runs", one().job("a", job.Running).job("b", job.Running),
			[]string{"run Running", "a Running", "b Running"},
		},
		{
			"not in the step that records", one().job("a", job.Succeeded).job("b", job.Running),
			[]string{"run Running", "a Succeeded", "b Running", "record a Succeeded"},
		},
		{
			"once it is recorded", one().job("a", job.Succeeded).job("b", job.Running).recorded("a", Succeeded, nil),
			[]string{"run Running", "a Succeeded", "b Running", "expire p-1-a in 1h0m0s"},
		},
		{
			"once", one().job("a", job.Succeeded).job("b", job.Running).recorded("a", Succeeded, nil).expiring("a"),
			[]string{"run Running", "a Succeeded", "b Running"},
		},
		{
			"also after the end", one().job("a", job.Succeeded).recorded("a", Succeeded, nil).recorded("b", Failed, nil).ended(Failed),
			[]string{"run Failed", "a Succeeded", "b Failed", "expire p-1-a in 1h0m0s"},
		},
	})
}

// The cluster keeps the deadline too, a little later than whoever drives the run.
func TestJobsEndSoonAfterTheRunsDeadline(t *testing.T) {
	deadline := began.Add(time.Minute)
	for _, c := range []struct {
		name     string
		own      *int64
		deadline *time.Time
		want     *int64
	}{
		{"no deadline", new(int64(5)), nil, new(int64(5))},
		{"a shorter limit of its own", new(int64(5)), &deadline, new(int64(5))},
		{"a longer one", new(int64(500)), &deadline, new(int64(90))},
		{"none of its own", nil, &deadline, new(int64(90))},
		{"already over", nil, new(began.Add(-time.Hour)), new(int64(1))},
	} {
		got := c.own
		limitToDeadline(&got, c.deadline, began)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}
