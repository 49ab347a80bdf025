package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type progressOptions struct {
	Name          string
	Follow        bool
	Metrics       []string
	Axis          string
	Log           bool
	Smooth        float64
	Rank          int
	Container     string
	Since         time.Duration
	Tail          int64
	Width, Height int
	ASCII         bool
	Output        output
}

func newProgressCmd(f *Factory, do func(context.Context, *Factory, progressOptions) error) *cobra.Command {
	var o progressOptions
	c := &cobra.Command{
		Use:     "progress NAME",
		Short:   "Draw how far a training is, and its loss curve",
		GroupID: groupSee,
		Long: `Draw how far a training is, how fast it goes, how long it will still take, and what it learns: its losses in one chart,
other metrics as small curves.

NAME is as "kubectl ml jobs" shows it, KIND/NAME, a pod, a stage of the newest run, or RUN/STAGE, which draws the
children of a sweep side by side.

All this is read from the log of the pod that speaks for the work: rank 0, the master or the launcher, attempt after
attempt. Known are the bars of tqdm, Lightning, Rich, Keras and Ultralytics, the lines of the Hugging Face Trainer,
Megatron, NeMo, DeepSpeed, fairseq, mmengine, timm, torchtitan, MaxText, MLPerf, XGBoost, LightGBM and CatBoost,
tables such as those of fastai and spaCy, JSON lines, and words such as "epoch 3/10 loss=0.12". Any program can print

  ::ml:: {"step": 10, "total": 100, "loss": 0.4}

with any other numbers as metrics. The status of a TrainJob counts where its log says nothing.

With -f the drawing is renewed until the work has ended, and the exit code is 0 when it succeeded and 3 when it failed;
where the output is no terminal, lines are appended, and -o prints once, at the end. A training that goes back to a
checkpoint loses the points since.`,
		Example: `  kubectl ml progress train-llama -f
  kubectl ml progress house-prices-x7k2p/train --metric 'eval_*' --metric loss --x epoch
  kubectl ml progress pytorchjob/bert --log --smooth 0.6
  kubectl ml progress train -o jsonpath='{.progress.percent}'`,
		Args:              exactlyOne("NAME"),
		RunE:              func(c *cobra.Command, args []string) error { o.Name = args[0]; return do(c.Context(), f, o) },
		ValidArgsFunction: f.completeOne(f.workNames),
	}
	fl := c.Flags()
	fl.BoolVarP(&o.Follow, "follow", "f", false, "follow until the work has ended, and exit with its verdict")
	fl.StringSliceVar(&o.Metrics, "metric", nil, "draw the `metrics` of these names, * for anything (default: the losses)")
	fl.StringVar(&o.Axis, "x", "", "the `axis` to draw over: step, epoch or time (default: what the lines tell best)")
	fl.BoolVar(&o.Log, "log", false, "scale the values by decades")
	fl.Float64Var(&o.Smooth, "smooth", 0, "`weight` from 0 to 1 of a moving average, drawn over the values as TensorBoard does")
	fl.IntVar(&o.Rank, "rank", job.AllRanks, "read the pods, or the lines of a launcher, of this `rank` (-1: who speaks for the work)")
	fl.StringVarP(&o.Container, "container", "c", "", "the `container` to read (default: the pod's main one)")
	fl.DurationVar(&o.Since, "since", 0, "only lines newer than this `time`, such as 10m")
	fl.Int64Var(&o.Tail, "tail", -1, "begin with this many `lines` of each log (-1: all)")
	fl.IntVar(&o.Width, "width", 0, "`cells` to draw in (default: the terminal's)")
	fl.IntVar(&o.Height, "height", 0, "`lines` to draw in (default: the terminal's)")
	fl.BoolVar(&o.ASCII, "ascii", false, "draw with ASCII characters only (default where the locale is not UTF-8)")
	_ = c.RegisterFlagCompletionFunc("x", cobra.FixedCompletions([]string{job.AxisStep, job.AxisEpoch, job.AxisTime}, cobra.ShellCompDirectiveNoFileComp))
	o.Output.add(c, false)
	return c
}

func (o progressOptions) check() error {
	if !slices.Contains([]string{"", job.AxisStep, job.AxisEpoch, job.AxisTime}, o.Axis) {
		return fmt.Errorf("unknown --x %q: use step, epoch or time", o.Axis)
	}
	if !(o.Smooth >= 0 && o.Smooth < 1) {
		return fmt.Errorf("--smooth is %g: it must be at least 0 and less than 1", o.Smooth)
	}
	if o.Width < 0 || o.Height < 0 {
		return errors.New("--width and --height must not be negative")
	}
	return o.Output.check()
}

func runProgress(ctx context.Context, f *Factory, o progressOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	if o.Follow {
		return f.followProgress(ctx, c, o)
	}
	s, err := fleet.Read(ctx, c, fleet.Options{Namespace: c.Namespace, Plain: true})
	if err != nil {
		return err
	}
	class, err := f.class(ctx, c, o, s)
	if err != nil {
		return err
	}
	stop := f.sayReading(ctx, class)
	err = class.each(func(t *fleet.Trainee) error { return t.Read(ctx) })
	stop()
	if err != nil && ctx.Err() == nil {
		return err
	}
	list := class.trainings()
	f.progressWarnings(list, nil)
	if err := f.printProgress(o, list); err != nil {
		return err
	}
	return interrupted(ctx, nil)
}

// class are the works that are drawn together: one, or the children of a sweep.
type class struct {
	c *client.Client
	o fleet.TrainingOptions
	// run and stage are those of a sweep; empty for one work.
	run, stage string
	names      []string
	trainees   []*fleet.Trainee
	works      []*fleet.Work
	change     func()
}

// class finds what a person means.
func (f *Factory) class(ctx context.Context, c *client.Client, o progressOptions, s *fleet.Snapshot) (*class, error) {
	w, err := fleet.Find(s.Works, o.Name)
	if err != nil && len(s.Works) == 0 && !c.NamespaceExists(ctx) {
		return nil, c.MissingNamespace()
	}
	if err != nil {
		f.problems(s.Problems)
		return nil, err
	}
	if err := w.NoRank(o.Rank); err != nil {
		return nil, err
	}
	k := &class{
		c: c, o: fleet.TrainingOptions{Rank: o.Rank, Container: o.Container, Since: o.Since, Tail: o.Tail}, change: func() {},
	}
	for _, p := range w.Pods {
		if pod := strings.TrimPrefix(strings.TrimPrefix(o.Name, "pods/"), "pod/"); pod == p.Name && w.Name != pod && o.Rank < 0 {
			k.o.Pod = pod
		}
	}
	name, stage := w.Labels[kube.LabelRun], w.Labels[kube.LabelStage]
	if stage != "" && (o.Name == stage || o.Name == name+"/"+stage) && o.Name != w.Name {
		if st, ok := stageOf(ctx, c, name, stage); ok && len(st.Children) > 1 {
			k.run, k.stage = name, stage
			for _, child := range st.Children {
				k.names = append(k.names, views.Swept(child.Swept))
			}
		}
	}
	k.add(s.Works, w)
	return k, nil
}

// stageOf is a stage of a run as it stands; false when that cannot be read.
func stageOf(ctx context.Context, c *client.Client, name, stage string) (run.Stage, bool) {
	r, err := run.Get(ctx, c, name)
	if err != nil {
		return run.Stage{}, false
	}
	i := slices.IndexFunc(r.Now, func(s run.Stage) bool { return s.Name == stage })
	if i < 0 {
		return run.Stage{}, false
	}
	return r.Now[i], true
}

// add takes in the works that belong together with w and gives those that are new. Of a child that was tried again the
// last attempt counts.
func (k *class) add(works []*fleet.Work, w *fleet.Work) []*fleet.Trainee {
	siblings := []*fleet.Work{w}
	if k.stage != "" {
		siblings = fleet.Siblings(works, w)
	}
	var fresh, all []*fleet.Trainee
	for _, x := range siblings {
		if i := slices.IndexFunc(k.works, func(have *fleet.Work) bool { return have.UID == x.UID }); i >= 0 {
			all = append(all, k.trainees[i])
			continue
		}
		t := fleet.NewTrainee(k.c, x, k.name(x), k.o, k.change)
		fresh, all = append(fresh, t), append(all, t)
	}
	if len(siblings) > 0 {
		k.works, k.trainees = siblings, all
	}
	return fresh
}

// name tells a child of a sweep from others; it is empty for a work alone.
func (k *class) name(w *fleet.Work) string {
	if k.stage == "" {
		return ""
	}
	if i := w.Child(); i < len(k.names) && k.names[i] != "" {
		return k.names[i]
	}
	return strconv.Itoa(w.Child())
}

// each calls do for all, at once, and joins the errors.
func (k *class) each(do func(*fleet.Trainee) error) error {
	errs := make(chan error)
	for _, t := range k.trainees {
		go func() { errs <- do(t) }()
	}
	var all error
	for range k.trainees {
		all = errors.Join(all, <-errs)
	}
	return all
}

func (k *class) trainings() []fleet.Training {
	out := make([]fleet.Training, len(k.trainees))
	for i, t := range k.trainees {
		out[i] = t.Training()
	}
	return out
}

// readingAfter is when reading a log begins to take long, readingEvery how often that is said.
const (
	readingAfter = 2 * time.Second
	readingEvery = 5 * time.Second
)

// sayReading tells how far the reading of long logs is, until the returned function is called.
func (f *Factory) sayReading(ctx context.Context, k *class) func() {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait := readingAfter; pause(ctx, wait); wait = readingEvery {
			var bytes, lines int64
			var pods []string
			for _, t := range k.trainings() {
				bytes, lines, pods = bytes+t.Bytes, lines+t.Lines, append(pods, t.Pods...)
			}
			f.say("read %s in %s of %s; Ctrl-C draws what was read", views.Bytes(bytes), views.Plural(lines, "line", "lines"), clean(strings.Join(pods, ", ")))
		}
	}()
	return func() {
		stop()
		<-done
	}
}

// progressWarnings says which logs could not be read, those aside that were said already, by the works' UIDs.
func (f *Factory) progressWarnings(list []fleet.Training, said map[string]int) {
	for _, t := range list {
		for _, err := range t.Errors[said[t.Work.UID]:] {
			f.say("%s", clean("warning: "+err.Error()))
		}
		if said != nil {
			said[t.Work.UID] = len(t.Errors)
		}
	}
}

// printProgress prints what was read.
func (f *Factory) printProgress(o progressOptions, list []fleet.Training) error {
	if !o.Output.table() {
		return f.progressItems(o, list)
	}
	lines := views.Learning(list, f.Now(), f.drawing(o))
	if err := f.lines(lines); err != nil {
		return err
	}
	return f.progressHints(o, list)
}

// progressHints say what is missing and what to do about it. It is an error when metrics were asked for that are not there.
func (f *Factory) progressHints(o progressOptions, list []fleet.Training) error {
	matched, curves := 0, []string{}
	for i := range list {
		t := &list[i]
		matched += len(t.Match(o.Metrics))
		for _, c := range t.Curves {
			if !slices.Contains(curves, c.Name) {
				curves = append(curves, c.Name)
			}
		}
	}
	switch {
	case len(o.Metrics) > 0 && matched == 0 && len(curves) > 0:
		return fmt.Errorf("no metric matches %s\n  there are: %s", strings.Join(o.Metrics, ", "), clean(strings.Join(curves, ", ")))
	case len(list) == 1 && len(curves) == 0:
		if text := nothingRead(&list[0]); text != "" {
			f.say("%s", clean(text))
		}
	}
	for i := range list {
		if w := list[i].Work; w.Reason != "" && w.State != job.Running {
			f.say("%s %s%s", jobHint(w), w.KindName(), f.where())
			break
		}
	}
	return nil
}

// nothingRead says why there is no curve; empty when that is said already.
func nothingRead(t *fleet.Training) string {
	switch {
	case t.Progress.Source != "":
		return "It tells how far it is, but no metrics. To see its loss, let it print: ::ml:: {\"step\": 10, \"loss\": 0.4}"
	case len(t.Errors) > 0:
		return "Nothing is known of its progress, because its log could not be read."
	case len(t.Work.Pods) == 0 && t.Work.Final():
		return "Its pods are gone, and their logs with them: nothing more is known of how it learnt."
	case t.Note != "" && t.Lines == 0:
		return ""
	case len(t.Pods) == 0:
		return "It has no pods yet."
	case t.Lines == 0:
		return "The log of pod " + strings.Join(t.Pods, ", ") + " is empty yet."
	}
	return fmt.Sprintf(`Of %s in the log of pod %s, none tells of progress as a trainer that is known would (see: kubectl ml help progress).
Let the program print, on a line of its own and without buffering (python -u):
  ::ml:: {"step": 10, "total": 100, "loss": 0.4}`, views.Plural(t.Lines, "line", "lines"), strings.Join(t.Pods, ", "))
}

// drawing is how a training is drawn where the output goes.
func (f *Factory) drawing(o progressOptions) views.LearningOptions {
	d := views.LearningOptions{
		Width: o.Width, Height: o.Height, Metrics: o.Metrics, Axis: o.Axis, Log: o.Log, Smooth: o.Smooth, ASCII: o.ASCII || f.asciiOnly(),
	}
	w, h := size(f.Out)
	if d.Width == 0 {
		d.Width = w
	}
	if d.Height == 0 && h > 0 {
		d.Height = max(h-2, 5) // for the prompt before and after
	}
	return d
}

// size is that of the terminal that stream is, 0 when it is none.
func size(stream any) (w, h int) {
	file, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0, 0
	}
	w, h, err := term.GetSize(file.Fd())
	if err != nil {
		return 0, 0
	}
	return w, h
}

// asciiOnly says that the environment names a terminal that cannot show Braille.
func (f *Factory) asciiOnly() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(f.Getenv(name)); locale != "" {
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return f.Getenv("TERM") == "linux" // the kernel's console has no Braille
}
