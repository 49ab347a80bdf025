package job

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

// pace is how long a reader waits for what.
type pace struct {
	// poll is between looks at the pods when they cannot be watched, and between questions whether the work is done.
	poll time.Duration
	// retry is before the first repetition of what failed; it doubles up to retryMax.
	retry, retryMax time.Duration
	// grace is how long a stream may be silent after its end was announced, before it is taken for broken.
	grace time.Duration
	// settle is between a change of the pods and the question whether the work is done.
	settle time.Duration
}

// logReader reads the logs of the selected pods.
type logReader struct {
	cs        kubernetes.Interface
	namespace string
	sel       PodSelector
	o         LogOptions
	pace      pace
	begun     time.Time
	slots     chan struct{}

	// mu guards what is below, and makes the calls of emit and Status serial.
	mu       sync.Mutex
	emit     func(LogLine)
	report   LogReport
	lastLine time.Time
}

func newLogReader(cs kubernetes.Interface, namespace string, sel PodSelector, o LogOptions, emit func(LogLine)) *logReader {
	if o.MaxLine <= 0 {
		o.MaxLine = DefaultMaxLine
	}
	return &logReader{
		cs: cs, namespace: namespace, sel: sel, o: o, emit: emit, begun: time.Now(),
		pace:  pace{poll: 2 * time.Second, retry: 500 * time.Millisecond, retryMax: 10 * time.Second, grace: 5 * time.Second, settle: 100 * time.Millisecond},
		slots: make(chan struct{}, MaxStreams),
	}
}

// line emits one line of a stream; false when grep drops it.
func (r *logReader) line(s *logStream, raw rawLine) {
	text := safetext.Line(string(raw.text))
	if raw.dropped > 0 {
		text += fmt.Sprintf(" … [cut, %d bytes more]", raw.dropped)
	}
	show := r.o.Grep == nil || r.o.Grep.MatchString(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastLine = time.Now()
	if raw.ended {
		r.report.Dropped += raw.dropped
	}
	if !show {
		return
	}
	if raw.ended {
		r.report.Lines++
	}
	out := s.labels
	out.Text, out.Partial = text, !raw.ended
	if r.o.Timestamps {
		out.Time = raw.at
	}
	r.emit(out)
}

// status tells the caller something about a stream.
func (r *logReader) status(pod, container, text string) {
	if r.o.Status == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.Status(LogStatus{Pod: pod, Container: container, Text: safetext.Cell(text)})
}

// failed records an error of one stream.
func (r *logReader) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Errors = append(r.report.Errors, err)
}

func (r *logReader) saw(pod string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Pods = append(r.report.Pods, pod)
}

// listOptions selects on the server what it can select.
func (r *logReader) listOptions() metav1.ListOptions {
	o := metav1.ListOptions{LabelSelector: r.sel.LabelSelector}
	if len(r.sel.Names) == 1 {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", r.sel.Names[0]).String()
	}
	return o
}

// selected says whether a pod that the server gave is meant.
func (r *logReader) selected(p *corev1.Pod) bool {
	return (len(r.sel.Names) == 0 || slices.Contains(r.sel.Names, p.Name)) && (r.sel.Rank < 0 || PodRank(p) == r.sel.Rank)
}

// list reads the selected pods, by rank, then by age, and the version from which they can be watched. Who may only get pods can
// still name them.
func (r *logReader) list(ctx context.Context) ([]*corev1.Pod, string, error) {
	var pods []*corev1.Pod
	version := ""
	o := r.listOptions()
	o.Limit = 500
	for {
		page, err := r.cs.CoreV1().Pods(r.namespace).List(ctx, o)
		if apierrors.IsForbidden(err) && len(r.sel.Names) > 0 && r.sel.LabelSelector == "" {
			pods, err = r.get(ctx)
			return pods, "", err
		}
		if err != nil {
			return nil, "", fmt.Errorf("list the pods of namespace %s: %w", r.namespace, err)
		}
		for i := range page.Items {
			if p := &page.Items[i]; r.selected(p) {
				pods = append(pods, p)
			}
		}
		version = page.ResourceVersion
		if o.Continue = page.Continue; o.Continue == "" {
			break
		}
	}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(PodRank(a), PodRank(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return pods, version, nil
}

// get reads the named pods one by one.
func (r *logReader) get(ctx context.Context) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for _, name := range r.sel.Names {
		p, err := r.cs.CoreV1().Pods(r.namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get pod %s: %w", name, err)
		}
		if r.selected(p) {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

// containers are the names of the containers of a pod that are read.
func (r *logReader) containers(p *corev1.Pod) []string {
	switch {
	case r.o.AllContainers:
		var names []string
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				names = append(names, list[i].Name)
			}
		}
		return names
	case r.o.Container != "":
		return []string{r.o.Container}
	}
	return []string{MainContainer(p)}
}

func (r *logReader) open(ctx context.Context, pod string, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	return r.cs.CoreV1().Pods(r.namespace).GetLogs(pod, o).Stream(ctx)
}

// stream makes the stream of one container.
func (r *logReader) stream(p *corev1.Pod, container string) *logStream {
	return &logStream{
		r: r, pod: p, name: p.Name, container: container,
		changed: make(chan struct{}, 1), ending: make(chan struct{}),
		labels: LogLine{
			Pod: p.Name, Container: container, Rank: PodRank(p),
			Stage: p.Labels[kube.LabelStage], Child: p.Labels[kube.LabelChild],
		},
	}
}

// slot takes one of the bounded number of open streams; the caller gives it back.
func (r *logReader) slot(ctx context.Context, s *logStream) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	default:
	}
	s.tell(fmt.Sprintf("pod %s waits: %d logs are followed already", s.name, cap(r.slots)))
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits, or returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// forbidden words a refusal so that it says which right is missing.
func forbidden(err error, needs string) error {
	return fmt.Errorf("forbidden: needs %s: %w", needs, err)
}
