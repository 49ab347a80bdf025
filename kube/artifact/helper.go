package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
)

const (
	// helperUser is the user of a helper pod unless the files are somebody else's.
	helperUser = 65532
	// helperDeadline ends a helper pod whatever it does; helperTTL is how long an ended one stays.
	helperDeadline = 6 * 60 * 60
	helperTTL      = 30
	helperPoll     = 300 * time.Millisecond
	helperName     = "volume"
)

// helper is a Job of one pod that has a claim mounted. A Job, because the cluster itself removes one that has ended,
// when the client that made it is gone.
type helper struct {
	c         *client.Client
	namespace string
	job, pod  string
	uri       string
	writes    bool
}

// use is a pod that has the claim mounted already.
type use struct {
	pod, node   string
	tolerations []corev1.Toleration
}

// startHelper makes the pod that reads or writes a claim and waits until it runs. When it fails nothing is left.
func startHelper(ctx context.Context, s *claimStore, write bool) (*helper, error) {
	if s.o.Image == "" {
		return nil, errors.New("no image is known for the pod that reads volumes: name one with --helper-image")
	}
	if err := mayExec(ctx, s.c, s.namespace); err != nil {
		return nil, err
	}
	pin, err := judgeClaim(ctx, s, write)
	if err != nil {
		return nil, err
	}
	h := &helper{c: s.c, namespace: s.namespace, uri: s.uri, writes: write, job: "mlartifact-" + strconv.FormatUint(rand.Uint64()|1<<63, 36)[:8]}
	s.m.note("start a pod for claim " + s.claim)
	_, err = s.c.Kube.BatchV1().Jobs(s.namespace).Create(ctx, helperJob(s, h.job, write, pin), metav1.CreateOptions{FieldManager: kube.FieldManager})
	if err != nil {
		// The answer may have been lost, and not the Job.
		if ctx.Err() != nil || client.Transient(err) {
			s.helper = h
			_ = s.stop()
		}
		return nil, s.c.Explain("create a pod for "+s.uri, err)
	}
	if err := h.wait(ctx, s); err != nil {
		s.helper = h
		return nil, errors.Join(err, s.stop())
	}
	return h, nil
}

// mayExec asks for the one right without which a helper would be started for nothing.
func mayExec(ctx context.Context, c *client.Client, namespace string) error {
	attributes := &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "pods", Subresource: "exec"}
	r, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return c.Explain("ask for the right to read volumes", err)
	case r.Status.Allowed:
		return nil
	}
	return &client.Error{
		Doing: "read a volume through a pod", What: "forbidden: needs create pods/exec in namespace " + namespace,
		Hint: "ask for that right, then check with: kubectl auth can-i create pods/exec -n " + namespace,
	}
}

// judgeClaim refuses a claim that no pod could mount, and finds the pod beside which the helper must run. What may not be
// looked at is taken to be well.
func judgeClaim(ctx context.Context, s *claimStore, write bool) (*use, error) {
	claim, err := s.c.Kube.CoreV1().PersistentVolumeClaims(s.namespace).Get(ctx, s.claim, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &client.Error{
			Doing: s.uri, What: fmt.Sprintf("there is no claim %s in namespace %s", s.claim, s.namespace),
			Hint: "see which there are: kubectl get pvc -n " + s.namespace, Err: err,
		}
	case apierrors.IsForbidden(err):
		return nil, nil //nolint:nilnil // nothing is known against it
	case err != nil:
		return nil, s.c.Explain("read claim "+s.claim, err)
	case claim.DeletionTimestamp != nil:
		return nil, &client.Error{Doing: s.uri, What: "claim " + s.claim + " is being deleted"}
	case claim.Status.Phase == corev1.ClaimLost:
		return nil, &client.Error{Doing: s.uri, What: "claim " + s.claim + " has lost its volume", Hint: "see: kubectl describe pvc " + s.claim + " -n " + s.namespace}
	case claim.Status.Phase == corev1.ClaimPending && !write:
		return nil, &client.Error{
			Doing: s.uri, What: "claim " + s.claim + " is Pending: it has no volume yet, so nothing was ever written to it",
			Hint: "see: kubectl describe pvc " + s.claim + " -n " + s.namespace,
		}
	}
	pods, err := s.c.Kube.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // then the scheduler and the kubelet have the say
	}
	return beside(pods.Items, claim)
}

// beside finds who uses a claim that only one node, or only one pod, may use.
func beside(pods []corev1.Pod, claim *corev1.PersistentVolumeClaim) (*use, error) {
	modes := claim.Spec.AccessModes
	if slices.Contains(modes, corev1.ReadWriteMany) || slices.Contains(modes, corev1.ReadOnlyMany) {
		return nil, nil //nolint:nilnil // anywhere will do
	}
	for i := range pods {
		p := &pods[i]
		uses := slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim.Name
		})
		if !uses || p.Spec.NodeName == "" {
			continue
		}
		if slices.Contains(modes, corev1.ReadWriteOncePod) {
			return nil, &client.Error{
				Doing: "mount claim " + claim.Name, What: fmt.Sprintf("it is for one pod at a time (ReadWriteOncePod), and pod %s has it", p.Name),
				Hint: "try again when that pod has ended",
			}
		}
		return &use{p.Name, p.Spec.NodeName, p.Spec.Tolerations}, nil
	}
	return nil, nil //nolint:nilnil // nobody uses it
}

// helperJob is a pod that may do nothing but read, or write, one volume.
func helperJob(s *claimStore, name string, write bool, pin *use) *batchv1.Job {
	labels := map[string]string{kube.LabelManagedBy: kube.ManagedBy, kube.LabelKind: "artifact"}
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To[int64](1),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(s.uid != 0), RunAsUser: ptr.To(s.uid), RunAsGroup: ptr.To(s.gid),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: helperName, Image: s.o.Image, ImagePullPolicy: corev1.PullPolicy(s.o.PullPolicy),
			Args:         []string{ServeVerb, `{"verb":"wait"}`},
			VolumeMounts: []corev1.VolumeMount{{Name: helperName, MountPath: volume, ReadOnly: !write}},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
		Volumes: []corev1.Volume{{Name: helperName, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: s.claim},
		}}},
	}
	if pin != nil {
		spec.Tolerations = pin.tolerations
		spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
				Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{pin.node},
			}}}},
		}}}
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0), ActiveDeadlineSeconds: ptr.To[int64](helperDeadline), TTLSecondsAfterFinished: ptr.To[int32](helperTTL),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}

// wait returns when the pod runs, or says why it does not.
func (h *helper) wait(ctx context.Context, s *claimStore) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Start)
	defer cancel()
	why := "it has not been seen by the scheduler yet"
	for {
		pods, err := h.c.Kube.CoreV1().Pods(h.namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + h.job})
		switch {
		case ctx.Err() != nil:
		case err != nil && !client.Transient(err):
			return h.c.Explain("look for the pod of "+h.uri, err)
		case err == nil && len(pods.Items) > 0:
			pod := &pods.Items[0]
			ready, now, fatal := podState(pod)
			if ready {
				h.pod = pod.Name
				return nil
			}
			if now != "" && now != why {
				why = now
				s.m.note("wait for pod " + pod.Name + ": " + why)
			}
			if fatal {
				return h.stuck(s, why)
			}
		case err == nil:
			if said := h.events(ctx, h.job); said != "" {
				why = said
			}
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return context.Cause(ctx)
			}
			ask, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if pods != nil && len(pods.Items) > 0 {
				if said := h.events(ask, pods.Items[0].Name); said != "" {
					why = said
				}
			}
			return h.stuck(s, fmt.Sprintf("%s (waited %s)", why, s.o.Start))
		case <-time.After(helperPoll):
		}
	}
}

// stuck says why a helper pod does not run.
func (h *helper) stuck(s *claimStore, why string) error {
	e := &client.Error{Doing: s.uri, What: "the pod that should read the volume does not run: " + why}
	if s.helper != nil && s.helper.writes || h.writes {
		e.What = "the pod that should write the volume does not run: " + why
	}
	switch {
	case strings.Contains(why, "Multi-Attach") || strings.Contains(why, "volume node affinity"):
		e.Hint = "the claim is in use on another node: try again when the pods there have ended"
	case strings.Contains(strings.ToLower(why), "image"):
		e.Hint = "it needs an image of this program: name one that the cluster can pull with --helper-image or KUBECTL_ML_DRIVER_IMAGE (now " + s.o.Image + ")"
	}
	return e
}

// podState says whether a pod runs, else what it waits for, and whether there is no use in waiting.
func podState(p *corev1.Pod) (ready bool, why string, fatal bool) {
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			return true, "", false
		case c.State.Terminated != nil:
			return false, strings.TrimSpace(fmt.Sprintf("it ended at once: %s (exit code %d) %s", c.State.Terminated.Reason, c.State.Terminated.ExitCode, c.State.Terminated.Message)), true
		case c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating":
			w := c.State.Waiting
			fatal := slices.Contains([]string{"ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}, w.Reason)
			return false, strings.TrimSuffix(w.Reason+": "+w.Message, ": "), fatal
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		return false, strings.TrimSuffix(p.Status.Reason+": "+p.Status.Message, ": "), true
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return false, strings.TrimSuffix(c.Reason+": "+c.Message, ": "), false
		}
	}
	return false, "", false
}

// events is the last warning about an object; empty when there is none, or it may not be read.
func (h *helper) events(ctx context.Context, name string) string {
	list, err := h.c.Kube.CoreV1().Events(h.namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.name=" + name, Limit: 50})
	if err != nil || len(list.Items) == 0 {
		return ""
	}
	last := slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return last.Reason + ": " + last.Message
}

// exec runs a command in the pod, over a websocket, or over SPDY where something on the way knows none.
func (h *helper) exec(ctx context.Context, command []string, in io.Reader, out, errOut io.Writer) error {
	u := *h.c.Server
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/namespaces/" + h.namespace + "/pods/" + h.pod + "/exec"
	values, err := scheme.ParameterCodec.EncodeParameters(&corev1.PodExecOptions{
		Container: helperName, Command: command, Stdin: in != nil, Stdout: true, Stderr: true,
	}, corev1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	u.RawQuery = values.Encode()
	socket, err := remotecommand.NewWebSocketExecutor(h.c.Config, http.MethodGet, u.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(h.c.Config, http.MethodPost, &u)
	if err != nil {
		return err
	}
	both, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	return both.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: errOut})
}

// broke says why a session ended without an answer.
func (h *helper) broke(ctx context.Context, err error, said string) error {
	var upgrade *httpstream.UpgradeFailureError
	if errors.As(err, &upgrade) && upgrade.Cause != nil {
		err = upgrade.Cause
	}
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return h.c.Explain("read the volume through pod "+h.pod, err)
	}
	e := &client.Error{Doing: h.uri, What: "the session with pod " + h.pod + " broke: " + err.Error(), Err: err}
	if said = strings.TrimSpace(said); said != "" {
		e.What += ": " + said
	}
	pod, getErr := h.c.Kube.CoreV1().Pods(h.namespace).Get(ctx, h.pod, metav1.GetOptions{})
	if getErr == nil && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
		return passingError{e} // the next session may go on from there
	}
	return e
}

// remove deletes the Job and its pod.
func (h *helper) remove(ctx context.Context) error {
	err := h.c.Kube.BatchV1().Jobs(h.namespace).Delete(ctx, h.job, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%w\n  the cluster removes it in time; or: kubectl delete job %s -n %s", h.c.Explain("remove the pod of "+h.uri, err), h.job, h.namespace)
}
