package diagnose

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"
)

// cronEvents are those by which the CronJob controller says why it starts nothing (pkg/controller/cronjob).
var cronEvents = []struct {
	reason, code, title, cure string
	likelihood                Likelihood
}{
	{"UnparseableSchedule", "ScheduleInvalid", "its schedule cannot be read", "correct spec.schedule", Certain},
	{"UnParseableCronJobSchedule", "ScheduleInvalid", "its schedule cannot be read", "correct spec.schedule", Certain},
	{"InvalidSchedule", "ScheduleInvalid", "its schedule cannot be read", "correct spec.schedule", Certain},
	{"UnknownTimeZone", "TimeZoneUnknown", "its time zone does not exist", "correct spec.timeZone", Certain},
	{"TooManyMissedTimes", "SchedulesMissed", "it missed too many starts to make up for them", "set spec.startingDeadlineSeconds, so that old starts are forgotten", Certain},
	{"MissSchedule", "SchedulesMissed", "it missed a start: the controller came later than spec.startingDeadlineSeconds allows", "raise spec.startingDeadlineSeconds", Likely},
	{"JobAlreadyActive", "EarlierRunActive", "the run before still goes on, and concurrencyPolicy: Forbid starts no second one", "end the earlier run, or set concurrencyPolicy: Replace", Certain},
}

// cronRule: a CronJob that starts nothing.
func cronRule(e *Evidence) []Cause {
	c := e.CronJob
	if c == nil {
		return nil
	}
	edit := "kubectl edit cronjob/" + c.Name
	if ptr.Deref(c.Spec.Suspend, false) {
		out := cause(Certain, "Suspended", "the schedule is suspended").because("spec.suspend is true")
		if c.Labels["app.kubernetes.io/managed-by"] == "kubectl-ml" {
			return []Cause{out.cure("let it go on", "kubectl ml schedule resume "+c.Name)}
		}
		return []Cause{out.cure("let it go on", "kubectl patch cronjob/"+c.Name+` -p '{"spec":{"suspend":false}}'`)}
	}
	var out []Cause
	if ev, ok := e.last("FailedCreate"); ok && ev.Object == "cronjob/"+c.Name {
		out = append(out, cause(Certain, "JobRefused", "its Job is not created").because(e.eventLine(ev)).cure("do what the message asks for", edit))
	}
	for _, k := range cronEvents {
		if ev, ok := e.last(k.reason); ok && ev.Object == "cronjob/"+c.Name {
			out = append(out, cause(k.likelihood, k.code, k.title).because(e.eventLine(ev)).cure(k.cure, edit))
			break
		}
	}
	if len(out) > 0 {
		return out
	}
	next, ok := nextStart(c, e.Now)
	if !ok {
		return []Cause{cause(Certain, "ScheduleInvalid", "its schedule "+c.Spec.Schedule+" cannot be read").cure("correct spec.schedule", edit)}
	}
	title := fmt.Sprintf("it waits for its next start, in %s (%s)", age(next.Sub(e.Now)), next.Format(time.RFC3339))
	k := cause(Certain, "WaitsForSchedule", title)
	if t := c.Status.LastScheduleTime; t != nil {
		k = k.because("it was started last " + age(e.Now.Sub(t.Time)) + " ago")
		if due, ok := nextStart(c, t.Time); ok && e.Now.Sub(due) > 2*time.Minute {
			k = cause(Likely, "SchedulesMissed", fmt.Sprintf("it should have started %s ago and has not", age(e.Now.Sub(due)))).because(k.Evidence...)
		}
	}
	return []Cause{k.cure("start it now", fmt.Sprintf("kubectl create job %s-now --from=cronjob/%s", shorten(c.Name), c.Name))}
}

// nextStart is the first start after a time, in the CronJob's own time zone.
func nextStart(c *batchv1.CronJob, after time.Time) (time.Time, bool) {
	s, err := cron.ParseStandard(c.Spec.Schedule)
	if err != nil {
		return time.Time{}, false
	}
	zone := time.UTC
	if name := ptr.Deref(c.Spec.TimeZone, ""); name != "" {
		if zone, err = time.LoadLocation(name); err != nil {
			return time.Time{}, false
		}
	}
	next := s.Next(after.In(zone))
	return next, !next.IsZero()
}
