package diagnose

import (
	"fmt"
	"slices"

	"github.com/kubectl-ml/kubectl-ml/kube"
)

// stage names the run and the stage that the work is, where it is one.
func (e *Evidence) stage() (run, stage string, ok bool) {
	run, stage = e.Work.Labels[kube.LabelRun], e.Work.Labels[kube.LabelStage]
	return run, stage, run != "" && stage != ""
}

// replaceable kinds let their pods' template be changed in place, and roll it out.
var replaceable = []string{"Deployment", "StatefulSet", "DaemonSet", "CronJob", "LeaderWorkerSet"}

// cronJob is the name of the CronJob that made the Job, if one did.
func (e *Evidence) cronJob() string {
	if e.Job == nil {
		return ""
	}
	for _, o := range e.Job.OwnerReferences {
		if o.Kind == "CronJob" {
			return o.Name
		}
	}
	return ""
}

// change is how to change what the pods are made of; what says it as an order: "set gpus to at most 8".
func (e *Evidence) change(what string) Remedy {
	if _, stage, ok := e.stage(); ok {
		return Remedy{fmt.Sprintf("%s (in stage %s of the pipeline file, then start it anew)", what, stage), "kubectl ml run --from " + stage}
	}
	if slices.Contains(replaceable, e.Work.Kind) {
		return Remedy{what + " (in its pod template)", "kubectl edit " + e.Work.KindName()}
	}
	if name := e.cronJob(); name != "" {
		return Remedy{what + " (in the CronJob, for its next start)", "kubectl edit cronjob/" + name}
	}
	return Remedy{what + " (in its manifest, then replace it)", "kubectl replace --force -f FILE"}
}

// again is how to start the same work once more.
func (e *Evidence) again(text string) Remedy {
	if run, stage, ok := e.stage(); ok {
		return Remedy{text, "kubectl ml retry " + run + " --from " + stage}
	}
	if slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, e.Work.Kind) {
		return Remedy{text, "kubectl rollout restart " + e.Work.KindName()}
	}
	if name := e.cronJob(); name != "" {
		return Remedy{text, fmt.Sprintf("kubectl create job %s-again --from=cronjob/%s", shorten(name), name)}
	}
	return Remedy{text, "kubectl replace --force -f FILE"}
}

// shorten leaves room for a suffix in a name of a Job, which has 63 characters at most.
func shorten(name string) string { return name[:min(len(name), 57)] }
