package plugin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-ml/kubectl-ml/kube/client"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/run"
	"github.com/kubectl-ml/kubectl-ml/views"
)

type logsOptions struct {
	Target                               string
	Follow, Previous, Timestamps, Prefix bool
	All                                  bool
	Rank                                 int
	Since                                time.Duration
	Tail                                 int64
	Grep, Container                      string
}

func newLogsCmd(f *Factory, do func(context.Context, *Factory, logsOptions) error) *cobra.Command {
	var o logsOptions
	c := &cobra.Command{
		Use:     "logs [RUN | STAGE | RUN/STAGE | job/NAME | POD]",
		Short:   "Print the logs of all pods of a run, a stage, a Job, or of one pod",
		GroupID: groupSee,
		Long: `Print the logs of all pods of a run (the newest by default), of one of its stages, of a Job, or of one pod.

STAGE is a stage of the newest run that has it. With -f pods that are still pending are waited for, new ones join,
restarts and lost connections are survived, and the command ends with the work. Control characters are removed.

Each of a stage's retries is a pod of its own, and all are printed. --previous is for containers that were restarted
within their pod, as those of manifests with restartPolicy OnFailure are; --rank is for Indexed Jobs.`,
		Example: `  kubectl ml logs train -f
  kubectl ml logs house-prices-x7k2p/train --tail 100 --grep 'loss|error'
  kubectl ml logs @latest --prefix --since 10m
  kubectl ml logs train --rank 3 --previous`,
		Args: atMostOne("target"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Target = argRun(args)
			return do(c.Context(), f, o)
		},
		ValidArgsFunction: f.completeLogs,
	}
	fl := c.Flags()
	fl.BoolVarP(&o.Follow, "follow", "f", false, "follow until the work has ended")
	fl.BoolVarP(&o.Previous, "previous", "p", false, "print the container's instance before its last restart")
	fl.BoolVar(&o.Timestamps, "timestamps", false, "begin each line with the time at which it was written")
	fl.BoolVar(&o.Prefix, "prefix", false, "begin each line with its stage and pod")
	fl.BoolVar(&o.All, "all-containers", false, "print all containers of each pod")
	fl.IntVar(&o.Rank, "rank", job.AllRanks, "only pods of this `rank`, their completion index (-1: all)")
	fl.DurationVar(&o.Since, "since", 0, "only lines newer than this `time`, such as 10m")
	fl.Int64Var(&o.Tail, "tail", -1, "begin with this many `lines` of each container (-1: all)")
	fl.StringVar(&o.Grep, "grep", "", "only lines that match this regular `expression`")
	fl.StringVarP(&o.Container, "container", "c", "", "the `container` (default: the pod's main one)")
	return c
}

func runLogs(ctx context.Context, f *Factory, o logsOptions) error {
	lo := job.LogOptions{
		Follow: o.Follow, Previous: o.Previous, Timestamps: o.Timestamps, Since: o.Since, Tail: o.Tail,
		Container: o.Container, AllContainers: o.All,
		Status: func(s job.LogStatus) { f.say("%s", clean(s.Text)) },
	}
	if o.Grep != "" {
		var err error
		if lo.Grep, err = regexp.Compile(o.Grep); err != nil {
			return fmt.Errorf("--grep: %w", err)
		}
	}
	c, err := f.Client()
	if err != nil {
		return err
	}
	target, err := run.FindLogs(ctx, c, o.Target)
	if err != nil {
		return err
	}
	target.Pods.Rank = o.Rank
	w := f.logWriter(o)
	report, err := job.Logs(ctx, c.Kube, c.Namespace, target.Pods, lo, target.Done, w.line)
	if ctx.Err() != nil {
		return &CodeError{Code: ExitInterrupted}
	}
	if err != nil {
		return c.Explain("read the logs of "+o.Target, err)
	}
	return f.logReport(c, report, target)
}

// logReport tells what could not be read, and why nothing was.
func (f *Factory) logReport(c *client.Client, r job.LogReport, t run.LogTarget) error {
	if r.Dropped > 0 {
		f.say("warning: %s cut from over-long lines", views.Bytes(r.Dropped))
	}
	if r.Lines > 0 {
		for _, e := range r.Errors {
			f.say("%s", clean("warning: "+e.Error()))
		}
	}
	switch {
	case len(r.Pods) == 0 && t.Pods.Rank >= 0:
		return fmt.Errorf("%s has no pod of rank %d: only the pods of a Job with completionMode Indexed have ranks; see them with: kubectl get pods -L batch.kubernetes.io/job-completion-index", t.What, t.Pods.Rank)
	case len(r.Pods) == 0:
		return fmt.Errorf("%s has no pods: they have not started yet, or are gone with their Job; see: kubectl ml status", t.What)
	case r.Lines == 0 && len(r.Errors) > 0:
		return c.Explain("read the logs of "+t.What, errors.Join(r.Errors...))
	}
	return nil
}

// logWriter prints log lines, each with what tells the streams apart.
type logWriter struct {
	f       *Factory
	o       logsOptions
	palette palette
}

func (f *Factory) logWriter(o logsOptions) *logWriter {
	return &logWriter{f: f, o: o, palette: f.palette(f.Out)}
}

func (w *logWriter) line(l job.LogLine) {
	var line views.Line
	if w.o.Prefix {
		line = append(line, views.Toned(prefix(l, w.o.All), prefixTone(l.Pod)), views.Text(" "))
	}
	if w.o.Timestamps {
		line = append(line, views.Toned(l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), views.Dim), views.Text(" "))
	}
	line = append(line, views.Text(l.Text))
	_ = writeLines(w.f.Out, []views.Line{line}, w.palette)
}

// prefix names a line's pod, short where the labels say more.
func prefix(l job.LogLine, containers bool) string {
	s := l.Pod
	if l.Rank >= 0 {
		s += fmt.Sprintf("[%d]", l.Rank)
	}
	if l.Stage != "" {
		s = l.Stage + " " + s
	}
	if containers {
		s += "/" + l.Container
	}
	return s
}

// prefixTone keeps neighbouring streams apart by colour; the name is there in any case.
func prefixTone(pod string) views.Tone {
	tones := []views.Tone{views.Accent, views.Good, views.Warn, views.Plain}
	sum := 0
	for _, c := range []byte(pod) {
		sum += int(c)
	}
	return tones[sum%len(tones)]
}
