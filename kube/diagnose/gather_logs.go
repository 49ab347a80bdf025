package diagnose

import (
	"context"
	"io"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

const (
	// mostLogs bounds how many logs are read, logLines and logBytes how much of each.
	mostLogs = 20
	logLines = 200
	logBytes = 1 << 20
	// logsOfOne is how many logs of one work are read.
	logsOfOne = 3
)

// readLogs reads the ends of the logs of what failed first.
func (g *gatherer) readLogs(ctx context.Context, list []*Evidence) {
	each := logsOfOne
	if len(list) > 1 {
		each = 1
	}
	type want struct {
		e *Evidence
		c crash
		l *Log
	}
	var wants []want
	for _, e := range list {
		crashes := e.crashes()
		for _, c := range crashes[:min(len(crashes), each)] {
			wants = append(wants, want{e: e, c: c})
		}
	}
	if len(wants) > mostLogs {
		g.unknown("the logs of some that failed: only those of the newest are read")
		wants = wants[:mostLogs]
	}
	var tasks sync.WaitGroup
	for i := range wants {
		tasks.Go(func() { wants[i].l = g.log(ctx, wants[i].c) })
	}
	tasks.Wait()
	for _, w := range wants {
		if w.l != nil {
			w.e.Logs = append(w.e.Logs, *w.l)
		}
	}
}

// log is the end of the log of the instance that failed; nil when there is none.
func (g *gatherer) log(ctx context.Context, c crash) *Log {
	o := &corev1.PodLogOptions{Container: c.container, TailLines: ptr.To(int64(logLines)), LimitBytes: ptr.To(int64(logBytes)), Previous: c.restarting}
	body, err := g.c.Kube.CoreV1().Pods(c.pod.Namespace).GetLogs(c.pod.Name, o).Stream(ctx)
	if err == nil {
		defer func() { _ = body.Close() }()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(body, logBytes)); len(text) > 0 || err == nil {
			l := &Log{Pod: c.pod.Name, Container: c.container, Rank: c.rank, Previous: c.restarting}
			for line := range strings.Lines(string(text)) {
				l.Lines = append(l.Lines, safetext.Line(strings.TrimRight(line, "\r\n")))
			}
			return l
		}
	}
	switch {
	case apierrors.IsForbidden(err):
		g.failed("logs", err)
	case apierrors.IsBadRequest(err), apierrors.IsNotFound(err):
		g.unknown("the log of pod " + c.pod.Name + ": it is gone")
	default:
		g.failed("the log of pod "+c.pod.Name, err)
	}
	return nil
}
