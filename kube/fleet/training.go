package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
)

// TrainingOptions say which lines of a piece of work are read.
type TrainingOptions struct {
	// Rank names the pods whose logs are read; job.AllRanks means those that speak for the work. In the log of a
	// launcher it names the lines that it marks with that rank.
	Rank int
	// Pod is the only pod that is read; empty for those of Rank.
	Pod string
	// Container is the one that is read; empty is the pod's main one.
	Container string
	// Since leaves out older lines, 0 none. Tail is how many lines to begin with, -1 all.
	Since time.Duration
	Tail  int64
	// Points bounds what is kept of each metric; 0 is job.DefaultPoints.
	Points int
}

// Training is a piece of work and what it says of its training.
type Training struct {
	Work *Work
	job.Training
	// Name tells the children of a sweep apart; empty for a work alone.
	Name string
	// Pods are those whose logs were read, in order.
	Pods []string
	// Note is why there are no lines yet; empty when there are, or nobody knows.
	Note string
	// Errors are the logs that could not be read.
	Errors []error
}

// Trainee reads the logs of one piece of work. It may be used by many.
type Trainee struct {
	c      *client.Client
	o      TrainingOptions
	name   string
	series *job.Series

	mu     sync.Mutex
	work   *Work
	read   []*Pod
	note   string
	errs   []error
	change func()
	// looked has a token when the work changed.
	looked chan struct{}
}

// NewTrainee will read the logs of w. Name tells it from others; change is called, from any goroutine, whenever there is
// more to show.
func NewTrainee(c *client.Client, w *Work, name string, o TrainingOptions, change func()) *Trainee {
	lines := job.AllRanks
	if w.launched() {
		lines, o.Rank = o.Rank, job.AllRanks
	}
	return &Trainee{c: c, o: o, name: name, series: job.NewSeries(lines, o.Points), work: w, change: change, looked: make(chan struct{}, 1)}
}

// Training is what was read so far. What the status of the work says counts where its log says nothing.
func (t *Trainee) Training() Training {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Training{Work: t.work, Name: t.name, Note: t.note, Errors: slices.Clone(t.errs)}
	for _, p := range t.read {
		out.Pods = append(out.Pods, p.Name)
	}
	if p := t.work.Progress; p != nil {
		t.series.Tell(*p)
	}
	out.Training = t.series.Training()
	return out
}

// Read reads what there is now.
func (t *Trainee) Read(ctx context.Context) error {
	for {
		pod := t.next()
		if pod == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if pod.Restarts > 0 {
			// Of the instances before only the last is kept, and often not even that.
			_, _ = t.logs(ctx, pod, job.LogOptions{Previous: true})
		}
		report, err := t.logs(ctx, pod, job.LogOptions{})
		if err != nil {
			return err
		}
		t.failed(report.Errors)
	}
}

// Follow reads until the work has ended and its log is read. Somebody must call Look when the fleet changes.
func (t *Trainee) Follow(ctx context.Context) error {
	for {
		if pod := t.next(); pod != nil {
			report, err := t.followed(ctx, pod)
			if err != nil {
				return err
			}
			t.failed(report.Errors)
			continue
		}
		t.mu.Lock()
		over := t.work.Final()
		t.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.looked:
		}
	}
}

// followed follows the log of one pod, until another takes the lead.
func (t *Trainee) followed(ctx context.Context, pod *Pod) (job.LogReport, error) {
	inner, stop := context.WithCancel(ctx)
	var looks sync.WaitGroup
	looks.Go(func() {
		for {
			select {
			case <-inner.Done():
				return
			case <-t.looked:
			}
			if next := t.now().speaker(t.o, nil); next != nil && next.leads(pod) < 0 {
				stop()
			}
		}
	})
	report, err := t.logs(inner, pod, job.LogOptions{Follow: true})
	stop()
	looks.Wait()
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return report, err
}

func (t *Trainee) now() *Work {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.work
}

// logs reads the log of one pod.
func (t *Trainee) logs(ctx context.Context, pod *Pod, o job.LogOptions) (job.LogReport, error) {
	o.Timestamps, o.States, o.Since, o.Tail = true, true, t.o.Since, t.o.Tail
	o.Container = cmp.Or(t.o.Container, pod.Main)
	o.Status = func(s job.LogStatus) { t.say(s.Text) }
	sel := job.PodSelector{Names: []string{pod.Name}, Rank: job.AllRanks}
	report, err := job.Logs(ctx, t.c.Kube, pod.Namespace, sel, o, nil, func(l job.LogLine) {
		t.say("")
		if t.series.Add(l) {
			t.change()
		}
	})
	if err != nil && ctx.Err() == nil {
		return report, t.c.Explain("read the log of pod "+pod.Name, err)
	}
	return report, err
}

// say keeps why there are no lines.
func (t *Trainee) say(note string) {
	t.mu.Lock()
	same := t.note == note
	t.note = note
	t.mu.Unlock()
	if !same {
		t.change()
	}
}

func (t *Trainee) failed(errs []error) {
	if len(errs) == 0 {
		return
	}
	t.mu.Lock()
	t.errs = append(t.errs, errs...)
	t.mu.Unlock()
	t.change()
}

// Look takes in how the work stands now. A work that is gone has ended.
func (t *Trainee) Look(s *Snapshot) {
	t.mu.Lock()
	old, next := t.work, (*Work)(nil)
	for _, w := range s.Works {
		if w.UID == old.UID && w.Namespace == old.Namespace {
			next = w
		}
	}
	if next == nil && old.Final() && old.Pods == nil {
		next = old
	}
	if next == nil {
		gone := *old
		if gone.Pods = nil; !gone.Final() {
			gone.State, gone.Reason, gone.Message = job.Failed, "Deleted", "it was deleted before it ended"
		}
		next = &gone
	}
	t.work = next
	t.mu.Unlock()
	if next != old {
		select {
		case t.looked <- struct{}{}:
		default:
		}
		t.change()
	}
}

// next is the pod to read next, nil for none, and remembers it as read.
func (t *Trainee) next() *Pod {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last *Pod
	if n := len(t.read); n > 0 {
		last = t.read[n-1]
		for _, p := range t.work.Pods { // as it is now
			if p.UID == last.UID {
				last = p
			}
		}
	}
	pod := t.work.speaker(t.o, last)
	if pod != nil {
		t.read = append(t.read, pod)
	}
	return pod
}

// launched says whether one pod prints what all processes do.
func (w *Work) launched() bool {
	return slices.ContainsFunc(w.Pods, func(p *Pod) bool { return strings.EqualFold(p.Role, "launcher") })
}

// speaker is the pod whose log tells of the whole work, as the options say or of the leading role and the lowest rank
// there is; after is the one before it, nil for the first. Attempts follow each other, and pods that ran
// beside one another do not.
func (w *Work) speaker(o TrainingOptions, after *Pod) *Pod {
	var best []*Pod
	for _, p := range w.Pods {
		if o.Rank >= 0 && p.Rank != o.Rank || o.Pod != "" && p.Name != o.Pod {
			continue
		}
		switch {
		case len(best) == 0 || p.leads(best[0]) < 0:
			best = []*Pod{p}
		case p.leads(best[0]) == 0:
			best = append(best, p)
		}
	}
	if len(best) > 0 && after != nil && best[0].leads(after) < 0 {
		after = nil // it spoke while the leader was not there yet
	}
	slices.SortStableFunc(best, func(a, b *Pod) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	for _, p := range best {
		if after == nil || p.UID != after.UID && p.follows(after) {
			return p
		}
	}
	return nil
}

// overlap is how long a pod may live beside the one that takes its place, and together the longest in which the pods of
// a work are made.
const (
	overlap  = time.Minute
	together = 2 * time.Second
)

// follows says whether p was made to take the place of before.
func (p *Pod) follows(before *Pod) bool {
	if !p.Created.After(before.Created.Add(together)) {
		return false
	}
	if before.Finished != nil {
		return p.Created.After(before.Finished.Add(-overlap))
	}
	return before.State != job.Running
}

// leads orders pods by who speaks for the others.
func (p *Pod) leads(q *Pod) int {
	order := func(p *Pod) (int, int) {
		role := slices.IndexFunc(leaders(), func(r string) bool { return strings.EqualFold(p.Role, r) })
		if role < 0 {
			role = len(leaders())
		}
		rank := p.Rank
		if rank < 0 {
			rank = most
		}
		return role, rank
	}
	role, rank := order(p)
	otherRole, otherRank := order(q)
	return cmp.Or(cmp.Compare(role, otherRole), cmp.Compare(rank, otherRank))
}

// Siblings are the works of the same sweep as w, w among them, by child, each in its last attempt; only w when it is in
// none.
func Siblings(works []*Work, w *Work) []*Work {
	run, stage := w.Labels[kube.LabelRun], w.Labels[kube.LabelStage]
	if run == "" || stage == "" {
		return []*Work{w}
	}
	newest := map[int]*Work{}
	var children []int
	for _, x := range works {
		if x.Labels[kube.LabelRun] != run || x.Labels[kube.LabelStage] != stage || x.Namespace != w.Namespace {
			continue
		}
		child := x.Child()
		if old := newest[child]; old == nil {
			children = append(children, child)
		} else if attempt(old) > attempt(x) {
			continue
		}
		newest[child] = x
	}
	slices.Sort(children)
	out := make([]*Work, 0, len(children))
	for _, child := range children {
		out = append(out, newest[child])
	}
	return out
}

// Child is the index in a sweep; 0 outside of one.
func (w *Work) Child() int {
	n, _ := strconv.Atoi(w.Labels[kube.LabelChild])
	return n
}

func attempt(w *Work) int {
	n, _ := strconv.Atoi(w.Labels[kube.LabelAttempt])
	return n
}

// NoRank says that no pod has the rank asked for.
func (w *Work) NoRank(rank int) error {
	ranks := map[int]bool{}
	for _, p := range w.Pods {
		ranks[p.Rank] = true
	}
	if rank < 0 || ranks[rank] || len(w.Pods) == 0 || w.launched() {
		return nil
	}
	if len(ranks) == 1 && ranks[-1] {
		return fmt.Errorf("the pods of %s have no ranks\n  leave --rank out, or name a pod", w.KindName())
	}
	highest := 0
	for r := range ranks {
		highest = max(highest, r)
	}
	return fmt.Errorf("%s has no pod of rank %d\n  its ranks go up to %d; see them: kubectl ml job %s", w.KindName(), rank, highest, w.KindName())
}

// Wrong are the errors as one, nil for none.
func (t *Training) Wrong() error { return errors.Join(t.Errors...) }
