package diagnose

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/kubectl-ml/kubectl-ml/kube/job/safetext"
)

// mostReferences bounds how many Secrets and ConfigMaps are looked for.
const mostReferences = 20

// readReferences looks whether the Secrets, ConfigMaps and service accounts are there that waiting pods need. Only their
// names are asked for, never what is in them.
func (g *gatherer) readReferences(ctx context.Context, list []*Evidence) {
	type need struct {
		e   *Evidence
		ref string
	}
	var needs []need
	for _, e := range list {
		s := e.spec()
		if s == nil || e.Work.Final() {
			continue
		}
		refs := references(s)
		for _, p := range s.ImagePullSecrets {
			refs = append(refs, "secret/"+p.Name)
		}
		if len(e.Pods) == 0 && s.ServiceAccountName != "" {
			refs = append(refs, "serviceaccount/"+s.ServiceAccountName)
		}
		for _, ref := range refs {
			needs = append(needs, need{e, ref})
		}
	}
	var mu sync.Mutex
	var tasks sync.WaitGroup
	for _, n := range needs[:min(len(needs), mostReferences)] {
		tasks.Go(func() {
			kind, name, _ := strings.Cut(n.ref, "/")
			gvr := schema.GroupVersionResource{Version: "v1", Resource: kind + "s"}
			_, err := g.c.Meta.Resource(gvr).Namespace(n.e.Work.Namespace).Get(ctx, name, metav1.GetOptions{})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				n.e.Exists[n.ref] = true
			case apierrors.IsNotFound(err):
				n.e.Exists[n.ref] = false
			default:
				g.minor(n.e, "whether "+n.ref+" exists: "+g.said(err))
			}
		})
	}
	tasks.Wait()
}

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

// has says whether the server has an API group, and with which of the versions that this program knows.
func (g *gatherer) has(group string, versions ...string) (string, bool) {
	for _, v := range g.groups[group] {
		if slices.Contains(versions, v) {
			return v, true
		}
	}
	return "", false
}
