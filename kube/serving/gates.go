package serving

import (
	"context"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/pipeline"
)

// gateTTL is how long a gate's Job stays, for its log.
const gateTTL = 24 * time.Hour

// gateJobName is the name of a gate's Job: the same for whoever starts it.
func gateJobName(name string, r *record, step, gate int) string {
	return fmt.Sprintf("%s-gate-%s-%d-%d", name, r.ID, step+1, gate+1)
}

// gates are the verdicts on the current step. Each kind of gate judges what a look has found; one that asks elsewhere,
// such as Prometheus, adds what it needs to the look.
func (l *live) gates(w world) []Gate {
	st := w.rec.step()
	if st == nil {
		return nil
	}
	out := make([]Gate, len(st.Gates))
	for i, g := range st.Gates {
		switch {
		case g.Ready != nil:
			out[i] = judgeReady(w, g.Ready.Duration)
		case g.Job != nil:
			name := gateJobName(l.name, w.rec, w.rec.Step, i)
			out[i] = judgeJob(name, l.jobs[name])
		default:
			out[i] = Gate{Kind: "unknown", State: Breach, Message: "this release does not know the gate"}
		}
	}
	return out
}

// judgeReady wants all pods of the new side ready for a while, and none started again.
func judgeReady(w world, long time.Duration) Gate {
	g := Gate{Kind: "ready", State: Waiting}
	n := w.next
	switch {
	case n == nil || w.rec.Reached == nil:
		g.Message = "the step has not its weight yet"
	case n.restarts > 0:
		g.State, g.Message = Breach, fmt.Sprintf("containers of the new side were started again %d times", n.restarts)
	case n.readySince.IsZero():
		g.Message = fmt.Sprintf("%d of %d pods are ready", n.ready, n.replicas)
	default:
		since := n.readySince
		if w.rec.Reached.After(since) {
			since = *w.rec.Reached
		}
		left := long - w.now.Sub(since)
		if left <= 0 {
			g.State, g.Message = Passed, "all pods were ready for "+long.String()
			return g
		}
		g.Message = fmt.Sprintf("all pods are ready, for %s more", left.Round(time.Second))
	}
	return g
}

// judgeJob takes the exit code of a Job.
func judgeJob(name string, j *batchv1.Job) Gate {
	g := Gate{Kind: "job", State: Waiting, Job: name, Message: "the job has not started"}
	if j == nil {
		return g
	}
	g.made, g.Message = true, "the job runs"
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			g.State, g.Message = Passed, "the job succeeded"
		case batchv1.JobFailed:
			g.State, g.Message = Breach, fmt.Sprintf("job %s failed: %s", name, c.Message)
		}
	}
	return g
}

// gateJob is the Job of a gate. Its container is told where both sides answer.
func (l *live) gateJob(step, gate int) *batchv1.Job {
	r := l.rec
	j := r.Steps[step].Gates[gate].Job
	timeout := pipeline.DefaultGateTimeout
	if j.Timeout != nil {
		timeout = j.Timeout.Duration
	}
	pod := corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: new(false),
		SecurityContext:              &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: "gate", Command: j.Command, Args: j.Args, SecurityContext: confined(),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			Env: []corev1.EnvVar{
				{Name: "ML_MODEL", Value: r.Model}, {Name: "ML_MODEL_VERSION", Value: strconv.Itoa(r.To)},
				{Name: "ML_STABLE_VERSION", Value: strconv.Itoa(r.From)},
				{Name: "ML_WEIGHT", Value: strconv.Itoa(int(r.Steps[step].Weight))},
				{Name: "ML_CANARY_ADDRESS", Value: l.address(r.New)}, {Name: "ML_STABLE_ADDRESS", Value: l.address(r.Old)},
			},
		}},
	}
	overPod(&pod, j.Pod)
	labels := map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelModel: r.Model}
	host := l.host()
	kind, version := "Deployment", "apps/v1"
	if l.onService {
		kind, version = "Service", "v1"
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: gateJobName(l.name, r, step, gate), Namespace: l.c.Namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: l.name, UID: host.GetUID()}},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0), TTLSecondsAfterFinished: ptr.To(int32(gateTTL.Seconds())),
			ActiveDeadlineSeconds: ptr.To(int64(max(time.Second, timeout).Seconds())),
			Template:              corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}

// address is where a side answers: HOST:PORT in the cluster.
func (l *live) address(side string) string {
	if side == "" {
		return ""
	}
	port := int32(servicePort)
	if l.service != nil && len(l.service.Spec.Ports) > 0 {
		port = l.service.Spec.Ports[0].Port
	}
	return fmt.Sprintf("%s-%s.%s.svc:%d", l.name, side, l.c.Namespace, port)
}

// startGates makes the Jobs of the step's gates that are not there yet.
func (l *live) startGates(ctx context.Context) error {
	r := l.rec
	if r.Strategy == pipeline.BlueGreen {
		if err := l.colourServices(ctx); err != nil {
			return err
		}
	}
	for i, g := range r.Steps[r.Step].Gates {
		if g.Job == nil || l.jobs[gateJobName(l.name, r, r.Step, i)] != nil {
			continue
		}
		j := l.gateJob(r.Step, i)
		_, err := l.c.Kube.BatchV1().Jobs(l.c.Namespace).Create(ctx, j, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return l.explain("create job "+j.Name, err)
		}
	}
	return nil
}

// colourServices make both colours reachable for gates, whichever the Service selects. They go with the Service.
func (l *live) colourServices(ctx context.Context) error {
	for _, side := range []string{l.rec.Old, l.rec.New} {
		if l.sides[side] == nil || l.service == nil {
			continue
		}
		s := service(l.name+"-"+side, l.sides[side], side)
		s.Spec.Ports = []corev1.ServicePort{{Name: l.service.Spec.Ports[0].Name, Port: l.service.Spec.Ports[0].Port, TargetPort: l.service.Spec.Ports[0].TargetPort}}
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: l.service.Name, UID: l.service.UID}}
		_, err := l.c.Kube.CoreV1().Services(l.c.Namespace).Create(ctx, s, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return l.explain("create service "+s.Name, err)
		}
	}
	return nil
}

// readJobs reads the Jobs of the current step's gates.
func (l *live) readJobs(ctx context.Context) error {
	l.jobs = map[string]*batchv1.Job{}
	if l.rec == nil || l.rec.step() == nil {
		return nil
	}
	for i, g := range l.rec.step().Gates {
		if g.Job == nil {
			continue
		}
		name := gateJobName(l.name, l.rec, l.rec.Step, i)
		j, err := l.c.Kube.BatchV1().Jobs(l.c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			l.jobs[name] = j
		} else if !apierrors.IsNotFound(err) {
			return l.c.Explain("", err)
		}
	}
	return nil
}
