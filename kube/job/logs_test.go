package job

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

var t0 = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// numbered are n lines from number on, every few milliseconds, some with the same time stamp.
func numbered(from, n int) []logText {
	var out []logText
	for i := from; i < from+n; i++ {
		out = append(out, logText{t0.Add(time.Duration(i/3) * 70 * time.Millisecond), fmt.Sprintf("line %d", i)})
	}
	return out
}

// wantNumbered wants the first n lines of pod a, each once.
func wantNumbered(t *testing.T, got []string, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("a line %d", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d lines %q\nwant %d", len(got), got, n)
	}
}

func TestFollowResumesBrokenConnections(t *testing.T) {
	c, cs := newCluster(t)
	c.cut["a/main"] = []int{1, 0, 7, 2, 30, 5, 0, 0, 4}
	c.set(running(pod("a", -1)))
	c.write("a/main", numbered(0, 60)...)
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "60 lines came", func() bool { return len(f.lines) >= 60 })
	c.do(func() { c.cut["a/main"] = []int{3, 1} })
	c.write("a/main", numbered(60, 60)...)
	c.set(ended(pod("a", -1), 0))
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, f.texts(), 120)
	if f.report.Lines != 120 || !slices.Equal(f.report.Pods, []string{"a"}) || len(f.report.Errors) > 0 {
		t.Errorf("report %+v", f.report)
	}
}

func TestFollowSurvivesAnOutage(t *testing.T) {
	c, cs := newCluster(t)
	c.set(running(pod("a", -1)))
	c.cut["a/main"] = []int{10}
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "the stream is open", func() bool { c.mu.Lock(); defer c.mu.Unlock(); f.wakeSoon(); return c.opens > 0 })
	c.do(func() { c.down = true })
	c.write("a/main", numbered(0, 20)...)
	f.until(t, "the outage is told", func() bool { return len(f.status) > 0 })
	c.do(func() { c.down = false })
	f.until(t, "20 lines came", func() bool { return len(f.lines) >= 20 })
	c.set(ended(pod("a", -1), 0))
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, f.texts(), 20)
}

// wakeSoon makes until look again without a line.
func (s *sink) wakeSoon() { time.AfterFunc(time.Millisecond, s.wake) }

func TestFollowWaitsAndTakesInLaterPods(t *testing.T) {
	for _, noWatch := range []bool{false, true} {
		t.Run(fmt.Sprintf("watch forbidden %t", noWatch), func(t *testing.T) {
			c, cs := newCluster(t)
			c.noWatch = noWatch
			pending := pod("a", 0)
			pending.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
			}}}
			c.set(pending)
			f := followLogs(t, cs, LogOptions{Tail: 0})
			f.until(t, "it waits", func() bool {
				return slices.Contains(f.status, "waiting for pod a: ImagePullBackOff: no such image")
			})
			c.write("a/main", numbered(0, 5)...)
			c.set(running(pod("a", 0)))
			f.until(t, "a speaks", func() bool { return len(f.lines) == 5 })
			c.set(ended(pod("a", 0), 1))
			c.write("b/main", numbered(0, 1)...)
			c.set(ended(pod("b", 0), 0))
			f.until(t, "b speaks", func() bool { return len(f.lines) == 6 })
			close(f.end)
			if err := f.wait(t); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.report.Pods, []string{"a", "b"}) || f.lines[5].Rank != 0 {
				t.Errorf("report %+v", f.report)
			}
		})
	}
}

func TestFollowGoesOverRestarts(t *testing.T) {
	c, cs := newCluster(t)
	p := pod("a", -1)
	p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	c.set(running(p))
	c.write("a/main", numbered(0, 10)...)
	c.cut["a/main"] = []int{4}
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "the first lines came", func() bool { return len(f.lines) >= 4 })
	// It ends, and is started again: the connection broke before the last lines of the first instance were read.
	again := running(p)
	again.Status.ContainerStatuses[0].RestartCount = 1
	again.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
	c.do(func() {
		c.old["a/main"] = numbered(0, 15)
		c.logs["a/main"] = numbered(15, 10)
		c.pods["a"] = again
	})
	f.until(t, "all lines came", func() bool { return len(f.lines) >= 25 })
	last := ended(p, 0)
	last.Status.ContainerStatuses[0].RestartCount = 1
	c.set(last)
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	got := f.texts()
	slices.Sort(got)
	if len(slices.Compact(got)) != 25 || f.report.Lines != 25 {
		t.Errorf("%d lines, want 25 without repetition: %q", f.report.Lines, f.texts())
	}
}

func TestFollowReportsWhatIsForbidden(t *testing.T) {
	c, cs := newCluster(t)
	c.refuse["a"] = 403
	for _, name := range []string{"a", "b"} {
		c.write(name+"/main", numbered(0, 2)...)
		c.set(ended(pod(name, -1), 0))
	}
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "b came", func() bool { return len(f.lines) == 2 })
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	if len(f.report.Errors) != 1 || !strings.Contains(f.report.Errors[0].Error(), "forbidden: needs get pods/log") {
		t.Errorf("errors %v", f.report.Errors)
	}
}

func TestFollowAndDeletedPod(t *testing.T) {
	c, cs := newCluster(t)
	c.set(running(pod("a", -1)))
	c.write("a/main", numbered(0, 3)...)
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "it speaks", func() bool { return len(f.lines) == 3 })
	c.do(func() { c.gone = append(c.gone, c.pods["a"]); delete(c.pods, "a") })
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, f.texts(), 3)
}

func TestFollowLeavesDeadStreams(t *testing.T) {
	c, cs := newCluster(t)
	c.set(running(pod("a", -1)))
	c.stuck["a/main"] = true
	c.write("a/main", numbered(0, 3)...)
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "it speaks", func() bool { return len(f.lines) == 3 })
	c.set(ended(pod("a", -1), 0))
	close(f.end)
	if err := f.wait(t); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, f.texts(), 3)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	before := runtime.NumGoroutine()
	c, cs := newCluster(t)
	for i := range 20 {
		name := fmt.Sprint("p", i)
		c.set(running(pod(name, i)))
		c.write(name+"/main", numbered(0, 1)...)
	}
	c.set(pod("pending", 20))
	f := followLogs(t, cs, LogOptions{Tail: -1})
	f.until(t, "all speak", func() bool { return len(f.lines) == 20 && len(f.status) > 0 })
	f.cancel()
	if err := f.wait(t); !errors.Is(err, context.Canceled) {
		t.Fatalf("ends with %v", err)
	}
	for range 200 { // connections of the HTTP client wind down on their own
		if runtime.NumGoroutine() <= before+60 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, ours := range []string{"logStream).", "follower)."} {
		if strings.Contains(stacks, ours) {
			t.Errorf("a goroutine is left in %s", ours)
		}
	}
}

func TestReadNow(t *testing.T) {
	c, cs := newCluster(t)
	want := []string{}
	for i := 44; i >= 0; i-- {
		name := fmt.Sprintf("p%02d", i)
		p := running(pod(name, i))
		p.Labels = map[string]string{"kubectl-ml.dev/stage": "train", "kubectl-ml.dev/child": "1"}
		c.set(p)
		c.write(name+"/main", numbered(0, 3)...)
	}
	c.set(pod("pending", 50))
	c.do(func() { c.refuse["p07"] = 403; c.refuse["p08"] = 500; c.cut["p09/main"] = []int{1, 0} })
	for i := range 45 {
		if i != 7 && i != 8 {
			want = append(want, fmt.Sprintf("p%02d line 1", i))
		}
	}
	s := newSink()
	r := newLogReader(cs, "ns", PodSelector{Rank: AllRanks}, LogOptions{Tail: -1, Timestamps: true, Status: s.told, Grep: regexp.MustCompile("1$")}, s.emit)
	r.pace = fast
	if err := r.readNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.texts(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if len(r.report.Errors) != 2 || len(r.report.Pods) != 46 || len(s.status) != 1 {
		t.Errorf("report %+v, status %q", r.report, s.status)
	}
	l := s.lines[5]
	if l.Stage != "train" || l.Child != "1" || l.Rank != 5 || l.Container != "main" || !l.Time.Equal(t0) {
		t.Errorf("line %+v", l)
	}
}

func TestReadNowSelects(t *testing.T) {
	c, cs := newCluster(t)
	for i := range 3 {
		name := fmt.Sprint("p", i)
		p := pod(name, i)
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side"})
		c.set(running(p))
		c.write(name+"/main", numbered(0, 3)...)
		c.write(name+"/side", logText{t0, "side"})
	}
	for _, tc := range []struct {
		sel  PodSelector
		o    LogOptions
		want []string
	}{
		{PodSelector{Rank: 1}, LogOptions{Tail: 1}, []string{"p1 line 2"}},
		{PodSelector{Rank: AllRanks, Names: []string{"p2", "p0"}}, LogOptions{Tail: 1}, []string{"p0 line 2", "p2 line 2"}},
		{PodSelector{}, LogOptions{Tail: 1, AllContainers: true}, []string{"p0 line 2", "p0 side"}},
		{PodSelector{}, LogOptions{Tail: -1, Container: "side"}, []string{"p0 side"}},
	} {
		s := newSink()
		if _, err := Logs(t.Context(), cs, "ns", tc.sel, tc.o, nil, s.emit); err != nil {
			t.Fatal(err)
		}
		if got := s.texts(); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: got %q, want %q", tc.sel, got, tc.want)
		}
	}
	report, err := Logs(t.Context(), cs, "ns", PodSelector{}, LogOptions{Container: "none"}, nil, func(LogLine) {})
	if err != nil || len(report.Errors) != 1 || !strings.Contains(report.Errors[0].Error(), "it has main, side") {
		t.Errorf("unknown container: %v, %v", report.Errors, err)
	}
}

func TestLogsEndByThePodsAlone(t *testing.T) {
	c, cs := newCluster(t)
	c.write("a/main", numbered(0, 3)...)
	c.set(ended(pod("a", -1), 0))
	for name, done := range map[string]func(context.Context) (bool, error){
		"nothing asked": nil,
		"not allowed": func(context.Context) (bool, error) {
			return false, apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, "x", nil)
		},
	} {
		s := newSink()
		r := newLogReader(cs, "ns", PodSelector{Names: []string{"a"}, Rank: AllRanks}, LogOptions{Follow: true, Tail: -1}, s.emit)
		r.pace = fast
		if err := r.follow(t.Context(), done); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantNumbered(t, s.texts(), 3)
		if (done != nil) != (len(r.report.Errors) == 1) {
			t.Errorf("%s: errors %v", name, r.report.Errors)
		}
	}
}

func TestLogsWithoutTheRightToList(t *testing.T) {
	cs := fake.NewClientset(ended(pod("a", -1), 0))
	cs.PrependReactor("list", "pods", func(clienttesting.Action) (bool, kruntime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	})
	for _, follow := range []bool{false, true} {
		s := newSink()
		o := LogOptions{Follow: follow, Tail: -1}
		if _, err := Logs(t.Context(), cs, "ns", PodSelector{Names: []string{"a"}, Rank: AllRanks}, o, nil, s.emit); err != nil {
			t.Fatal(err)
		}
		if got := s.texts(); !slices.Equal(got, []string{"a fake logs"}) {
			t.Errorf("follow %t: %q", follow, got)
		}
		_, err := Logs(t.Context(), cs, "ns", PodSelector{Rank: AllRanks}, o, nil, s.emit)
		if !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), "forbidden: needs list pods") {
			t.Errorf("follow %t: %v", follow, err)
		}
	}
}

// TestFollowInFakeTime lets the pace be the real one: minutes of an outage cost no time.
func TestFollowInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cs := fake.NewClientset(pod("a", -1))
		cs.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
			return true, nil, errors.New("no watch today")
		})
		refused := 0
		cs.PrependReactor("get", "pods", func(a clienttesting.Action) (bool, kruntime.Object, error) {
			if a.GetSubresource() != "log" {
				return false, nil, nil
			}
			if refused++; refused < 20 {
				return true, nil, errors.New("connection refused")
			}
			return true, &kruntime.Unknown{Raw: []byte(t0.Format(time.RFC3339Nano) + " \x1b[31mhello\x1b[0m\n")}, nil
		})
		s, begun := newSink(), time.Now()
		time.AfterFunc(time.Minute, func() { _ = cs.Tracker().Update(podsResource, running(pod("a", -1)), "ns") })
		time.AfterFunc(10*time.Minute, func() { _ = cs.Tracker().Update(podsResource, ended(pod("a", -1), 0), "ns") })
		report, err := Logs(t.Context(), cs, "ns", PodSelector{Rank: AllRanks}, LogOptions{Follow: true, Tail: -1, Status: s.told}, nil, s.emit)
		if err != nil || report.Lines != 1 || !slices.Equal(s.texts(), []string{"a hello"}) {
			t.Errorf("%v, %+v, %q", err, report, s.texts())
		}
		if passed := time.Since(begun); passed < 10*time.Minute || passed > 11*time.Minute {
			t.Errorf("it took %v", passed)
		}
	})
}
