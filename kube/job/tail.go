package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// tailLines is how many lines from the end of a log are looked through for progress.
	tailLines = 64
	// tailBytes is the most that so many lines take: container runtimes break lines at 16 KiB. It must not cut, for what
	// is cut is the end.
	tailBytes = tailLines * 20 << 10
)

// TailProgress is the progress that the end of a log tells; false when it tells none. container may be empty where the
// pod has only one.
func TailProgress(ctx context.Context, cs kubernetes.Interface, namespace, pod, container string) (Progress, bool, error) {
	lines, limit := int64(tailLines), int64(tailBytes)
	body, err := cs.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: &lines, LimitBytes: &limit, Timestamps: true}).Stream(ctx)
	if err != nil {
		return Progress{}, false, fmt.Errorf("read the end of the log of pod %s: %w", pod, err)
	}
	defer func() { _ = body.Close() }()
	p, err := progressOf(body)
	if err != nil {
		return Progress{}, false, fmt.Errorf("read the end of the log of pod %s: %w", pod, err)
	}
	return p, p.Source != "", nil
}

// progressOf merges what all lines tell. A log that breaks off tells nothing: its end, which counts, is missing.
func progressOf(log io.Reader) (Progress, error) {
	var p Progress
	at := time.Time{}
	lines := newLineReader(log, DefaultMaxLine)
	var parser Parser
	for {
		line, err := lines.next()
		if !line.at.IsZero() {
			at = line.at
		}
		if next, ok := parser.Parse(string(line.text), AllRanks); ok {
			next.At = at
			p.Merge(next)
		}
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return Progress{}, err
		}
	}
}
