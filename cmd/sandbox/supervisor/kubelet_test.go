package supervisor

import (
	"net/url"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func pod(state map[string]any, annotations map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "p", "annotations": annotations},
		"spec":     map[string]any{"nodeName": "gpu-0"},
		"status": map[string]any{"containerStatuses": []any{
			map[string]any{"name": "main", "state": state},
		}},
	}}
}

func TestLogsAreSpreadOverTheRun(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	at := func(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }
	running := map[string]any{"running": map[string]any{"startedAt": at(0)}}
	ended := map[string]any{"terminated": map[string]any{"startedAt": at(0), "finishedAt": at(10 * time.Second)}}
	waiting := map[string]any{"waiting": map[string]any{"reason": "ContainerCreating"}}
	annotations := map[string]any{logsAnnotation: "a\nb\nc\nd\n", durationAnnotation: "8s"}

	for name, tc := range map[string]struct {
		state map[string]any
		after time.Duration
		lines int
		ended bool
	}{
		"not started":    {waiting, 0, 0, false},
		"at the start":   {running, 0, 1, false},
		"in the middle":  {running, 4 * time.Second, 3, false},
		"before its end": {running, time.Minute, 4, false},
		"ended":          {ended, time.Minute, 4, true},
	} {
		lines, over := script(pod(tc.state, annotations), "main", start.Add(tc.after))
		if len(lines) != tc.lines || over != tc.ended {
			t.Errorf("%s: %d lines, ended %v; want %d, %v", name, len(lines), over, tc.lines, tc.ended)
		}
	}
}

func TestLogsOfARank(t *testing.T) {
	running := map[string]any{"running": map[string]any{"startedAt": "2026-01-02T03:04:00Z"}}
	for rank, want := range map[string]string{"": "all", "1": "all", "2": "only two"} {
		annotations := map[string]any{logsAnnotation: "all", logsAnnotation + ".2": "only two"}
		if rank != "" {
			annotations["batch.kubernetes.io/job-completion-index"] = rank
		}
		lines, _ := script(pod(running, annotations), "main", time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC))
		if len(lines) != 1 || lines[0].text != want {
			t.Errorf("rank %q writes %v, want %s", rank, lines, want)
		}
	}
}

func TestSkip(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	lines := []line{{start, "a"}, {start.Add(time.Second), "b"}, {start.Add(2 * time.Second), "c"}}
	for query, want := range map[string]int{
		"": 0, "tailLines=1": 2, "tailLines=9": 0, "sinceSeconds=1": 1, "sinceTime=2026-01-02T03:04:02Z": 2, "tailLines=1&sinceSeconds=9": 2,
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := skip(lines, q, start.Add(2*time.Second)); got != want {
			t.Errorf("skip(%q) = %d, want %d", query, got, want)
		}
	}
}
