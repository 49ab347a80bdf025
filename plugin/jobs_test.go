package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
	"github.com/kubectl-ml/kubectl-ml/views"
)

func TestArgvOfJobs(t *testing.T) {
	jobsC := argv(newJobsCmd)
	for line, want := range map[string]jobsOptions{
		"": {Names: []string{}, Progress: "auto"},
		"a job/b -A -l team=x --state pending,OOMKilled --state failed --sort-by -gpus --reverse --all -w --progress --prometheus m/p -o wide --no-headers": {
			Names: []string{"a", "job/b"}, All: true, Selector: "team=x", State: []string{"pending", "OOMKilled", "failed"}, SortBy: "-gpus", Reverse: true, Plain: true, Watch: true,
			Progress: "true", Prometheus: "m/p", Output: output{Format: "wide", NoHeaders: true},
		},
		"--sort-by=-age --progress=false -o json": {Names: []string{}, SortBy: "-age", Progress: "false", Output: output{Format: "json"}},
	} {
		if diff := cmp.Diff(want, jobsC(t, line), cmp.AllowUnexported(output{})); diff != "" {
			t.Errorf("%s (-want +got): %s", line, diff)
		}
	}
}

func TestJobsOptions(t *testing.T) {
	for _, c := range []struct {
		o    jobsOptions
		want string
	}{
		{jobsOptions{Output: output{Format: "jsn"}}, "unknown output format"},
		{jobsOptions{Progress: "no"}, "unknown --progress=no: use true, false or auto"},
		{jobsOptions{SortBy: "-los"}, `--sort-by: no column "los" to sort by; there are namespace, name, kind`},
		{jobsOptions{SortBy: "-AGE", Reverse: true}, ""},
	} {
		err := c.o.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}
	for o, want := range map[struct{ progress, format string }]bool{
		{"auto", ""}: true, {"auto", "wide"}: true, {"auto", "json"}: false, {"true", "json"}: true, {"false", ""}: false, {"", "name"}: false,
	} {
		if got := (&jobsOptions{Progress: o.progress, Output: output{Format: o.format}}).details(); got != want {
			t.Errorf("%v reads logs: %t", o, got)
		}
	}
}

func aWork(kind, ns, name, state, reason string, gpus int64) *fleet.Work {
	return &fleet.Work{
		Ref:   fleet.Ref{APIVersion: "batch/v1", Kind: kind, Namespace: ns, Name: name, UID: ns + "/" + name},
		State: state, Reason: reason, GPUs: gpus, Want: 1, Created: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
	}
}

func someWorks() []*fleet.Work {
	return []*fleet.Work{
		aWork("Job", "a", "train", job.Running, "", 8), aWork("Job", "b", "train", job.Pending, "Unschedulable", 4), aWork("PyTorchJob", "a", "bert", job.Failed, "OOMKilled", 2),
		aWork("Job", "a", "old", job.Succeeded, "", 0),
	}
}

func refs(works []*fleet.Work) string {
	var out []string
	for _, w := range works {
		out = append(out, w.Namespace+":"+w.KindName())
	}
	return strings.Join(out, " ")
}

func TestChooseJobs(t *testing.T) {
	for _, c := range []struct {
		o             jobsOptions
		want, missing string
	}{
		{jobsOptions{}, "a:job/train b:job/train a:pytorchjob/bert a:job/old", ""},
		{jobsOptions{State: []string{"RUNNING", " pending"}}, "a:job/train b:job/train", ""},
		{jobsOptions{State: []string{"oomkilled"}}, "a:pytorchjob/bert", ""},
		{jobsOptions{State: []string{"Pending:Unschedulable"}}, "b:job/train", ""},
		{jobsOptions{State: []string{"typo"}}, "", ""},
		{jobsOptions{Names: []string{"train"}}, "a:job/train b:job/train", ""},
		{jobsOptions{Names: []string{"pytorchjob/bert", "old", "bert"}}, "a:pytorchjob/bert a:job/old", ""},
		{jobsOptions{Names: []string{"old", "nothing", "never"}}, "a:job/old", `no job "nothing"`},
		{jobsOptions{Names: []string{"train"}, State: []string{"failed"}}, "", ""},
	} {
		got, err := c.o.choose(someWorks())
		if refs(got) != c.want || (err == nil) != (c.missing == "") || err != nil && (!strings.Contains(err.Error(), c.missing) || !strings.Contains(err.Error(), "never")) {
			t.Errorf("%v of state %v: %s, %v", c.o.Names, c.o.State, refs(got), err)
		}
	}
}

func TestSortJobsAsAsked(t *testing.T) {
	for _, c := range []struct {
		by      string
		reverse bool
		want    string
	}{
		{"gpus", false, "0 2 4 8"}, {"-gpus", false, "8 4 2 0"}, {"gpus", true, "8 4 2 0"}, {"-GPUS", true, "0 2 4 8"}, {"", true, "0 2 4 8"},
	} {
		o := jobsOptions{SortBy: c.by, Reverse: c.reverse}
		rows := more{}.rows(someWorks(), time.Now())
		if err := o.sort(rows); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, views.Count(r.Work.GPUs))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q reversed %t: %s, want %s", c.by, c.reverse, s, c.want)
		}
	}
}

// Devices join works by the namespace and name of their pods; what has ended holds none.
func TestRowsOfWorks(t *testing.T) {
	works := someWorks()
	works[0].Pods = []*fleet.Pod{{PodFact: job.PodFact{Namespace: "a", Name: "train-0"}}, {PodFact: job.PodFact{Namespace: "a", Name: "train-1"}}}
	works[1].Pods = []*fleet.Pod{{PodFact: job.PodFact{Namespace: "b", Name: "train-0"}}}
	works[3].Pods = works[0].Pods
	progress := &job.Progress{Source: job.SourceText}
	m := more{
		usage: metrics.ByPod([]metrics.Device{
			{Namespace: "a", Pod: "train-0", UUID: "1", Busy: 100}, {Namespace: "a", Pod: "train-1", UUID: "2", Busy: 50}, {Namespace: "c", Pod: "train-0", UUID: "3", Busy: 1},
		}),
		progress: map[string]*job.Progress{"a/train": progress},
	}
	rows := m.rows(works, time.Now())
	if b := rows[0].Usage.Busy; rows[0].Usage.Devices != 2 || b == nil || *b != 75 || rows[0].Log != progress {
		t.Errorf("%+v", rows[0])
	}
	for _, i := range []int{1, 2, 3} {
		if rows[i].Usage.Devices != 0 || rows[i].Log != nil {
			t.Errorf("%s: %+v", refs(works[i:i+1]), rows[i])
		}
	}
}

func TestJobAsJSON(t *testing.T) {
	w := aWork("PyTorchJob", "a", "bert", job.Running, "", 2)
	w.Labels = map[string]string{"team": "x"}
	w.Pods = []*fleet.Pod{{PodFact: job.PodFact{Name: "bert-0", Rank: 0, State: job.Running, Node: "n", Result: "a long text"}, Role: "Master"}, {PodFact: job.PodFact{Name: "bert-x", Rank: -1, State: job.Pending, Reason: "Unschedulable"}}}
	busy := 50.0
	u, err := jobItem(&views.JobRow{Work: w, Usage: metrics.Usage{Devices: 2, Busy: &busy}, Log: &job.Progress{Source: job.SourceText, Percent: 10, Step: -1, Total: -1, Epoch: -1, Epochs: -1}}).object()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"kubectl-ml.dev/v1alpha1","gpus":2,"held":0,"kind":"Work",` +
		`"metadata":{"creationTimestamp":"2026-03-01T11:00:00Z","labels":{"team":"x"},"name":"bert","namespace":"a"},` +
		`"pods":[{"name":"bert-0","node":"n","rank":0,"role":"Master","state":"Running"},{"name":"bert-x","reason":"Unschedulable","state":"Pending"}],` +
		`"progress":{"percent":10,"source":"text"},"ready":0,"restarts":0,"state":"Running",` +
		`"target":{"apiVersion":"batch/v1","kind":"PyTorchJob","name":"bert","namespace":"a","uid":"a/bert"},"usage":{"busy":50,"devices":2},"want":1}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What was known of a work stays until more is; what is listed no more is forgotten.
func TestMergedProgress(t *testing.T) {
	a, b, c := &job.Progress{Step: 1}, &job.Progress{Step: 2}, &job.Progress{Step: 3}
	got := merged(map[string]*job.Progress{"a/train": a, "a/gone": b}, map[string]*job.Progress{"b/train": c}, someWorks())
	if len(got) != 2 || got["a/train"] != a || got["b/train"] != c {
		t.Errorf("%v", got)
	}
}

// A line for each change, and nothing for what only flows.
func TestJobsLog(t *testing.T) {
	b := newBench()
	b.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	p := &jobsLog{f: b.Factory, shown: map[string]*views.JobRow{}}
	look := func(works ...*fleet.Work) {
		t.Helper()
		if err := p.show(jobsLook{rows: more{}.rows(works, b.Now()), all: works}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, lines ...string) {
		t.Helper()
		var got []string
		for l := range strings.Lines(b.out.String()) {
			got = append(got, strings.Join(strings.Fields(l), " "))
		}
		b.out.Reset()
		if diff := cmp.Diff(lines, got); diff != "" {
			t.Errorf("%s (-want +got): %s", what, diff)
		}
	}
	w := aWork("Job", "a", "train", job.Pending, "Unschedulable", 8)
	head := "NAME KIND STATE READY GPUS TYPE UTIL PROGRESS METRIC QUEUE RESTARTS NODE AGE"
	look(w)
	expect("the first look", head, "train Job Pending:Unschedulable 0/1 8 <none> - - - <none> 0 <none> 60m")
	same := *w
	same.Message = "another message, which this table does not show"
	same.Progress = &job.Progress{Source: job.SourceTrainJob, Percent: 50, Step: -1, Epoch: -1}
	look(&same)
	expect("progress only")
	running := same
	running.State, running.Reason, running.Nodes = job.Running, "", []string{"gpu-0"}
	other := aWork("Job", "a", "other", job.Running, "", 1)
	look(&running, other)
	expect("a change and a new one", "train Job Running 0/1 8 <none> - 50% - <none> 0 gpu-0 60m", "other Job Running 0/1 1 <none> - - - <none> 0 <none> 60m")
	look(&running)
	expect("one that goes", "other Job Deleted 0/1 1 <none> - - - <none> 0 <none> 60m")
	if err := p.show(jobsLook{all: []*fleet.Work{aWork("Job", "a", "train", job.Failed, "OOMKilled", 8)}}); err != nil {
		t.Fatal(err)
	}
	expect("one that is in no state asked for", "train Job Failed:OOMKilled 0/1 8 <none> - - - <none> 0 <none> 60m")
	look()
	expect("nothing")

	for range 2 {
		if err := p.show(jobsLook{lost: errors.New("gone\n  do this")}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look()
	if got := b.errOut.String(); got != "the API server is away, trying again: gone\nthe API server is back\n" {
		t.Errorf("said %q", got)
	}
}

func TestJobsLogOfMachines(t *testing.T) {
	for format, want := range map[string]string{
		"name": "job/train\njob/train\n",
		"yaml": "apiVersion: kubectl-ml.dev/v1alpha1\n.*state: Pending\n.*---\n.*state: Deleted\n",
	} {
		b := newBench()
		p := &jobsLog{f: b.Factory, o: jobsOptions{Output: output{Format: format}}, shown: map[string]*views.JobRow{}}
		if format != "name" {
			var err error
			if p.print, err = p.o.Output.printer(); err != nil {
				t.Fatal(err)
			}
		}
		w := aWork("Job", "a", "train", job.Pending, "", 8)
		for _, rows := range [][]*views.JobRow{more{}.rows([]*fleet.Work{w}, time.Now()), nil} {
			if err := p.show(jobsLook{rows: rows}); err != nil {
				t.Fatal(err)
			}
		}
		got := b.out.String()
		for part := range strings.SplitSeq(want, ".*") {
			_, rest, ok := strings.Cut(got, part)
			if !ok {
				t.Fatalf("%s: no %q in %q", format, part, b.out.String())
			}
			got = rest
		}
	}
}

// A screen shows rows as of its own time, what is wrong, and when it must be drawn again.
func TestJobsFrame(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	told := []fleet.Problem{{Resource: "nodes", Err: errors.New("forbidden")}}
	l := jobsLook{rows: more{}.rows(someWorks(), now.Add(-time.Hour)), problems: append(told, fleet.Problem{Resource: "pods", Err: errors.New("forb\x1b[0midden\n  hint")})}
	draw := func(height int) (string, time.Duration) {
		lines, next := l.frame(jobsOptions{}, told)(80, height, now)
		var b strings.Builder
		for _, l := range lines {
			b.WriteString(strings.TrimRight(l.Text(), " ") + "\n")
		}
		return b.String(), next
	}
	text, next := draw(24)
	if !strings.Contains(text, "Pending:Unschedulable") || !strings.Contains(text, " 60m\n") || !strings.HasSuffix(text, "warning: pods: forbidden\n") || strings.Contains(text, "nodes") || next != time.Minute {
		t.Errorf("next %s\n%s", next, text)
	}
	l.lost, l.since = errors.New("gone"), now.Add(-12*time.Second)
	text, next = draw(5)
	if strings.Count(text, "\n") != 5 || !strings.Contains(text, "… 3 more") || !strings.HasSuffix(text, "stale, 12s old; reconnecting\n") || next != time.Second {
		t.Errorf("next %s\n%s", next, text)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := interrupted(ctx, nil); err != nil {
		t.Error(err)
	}
	cancel()
	var code *CodeError
	if err := interrupted(ctx, nil); !errors.As(err, &code) || code.Code != ExitInterrupted {
		t.Errorf("got %v", err)
	}
}

func TestCompletionOfJobsFlags(t *testing.T) {
	for line, want := range map[string]string{
		"--state \x00p": "Pending", "--state \x00running,s": "running,Suspended running,Succeeded", "--sort-by \x00-g": "-gpus", "--sort-by \x00re": "ready restarts resource", "--state \x00Pending,P": "",
	} {
		flag, prefix, _ := strings.Cut(line, " \x00")
		complete := completeColumns
		if flag == "--state" {
			complete = completeList(workStates())
		}
		got, _ := complete(nil, nil, prefix)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s %s completes to %q, want %q", flag, prefix, s, want)
		}
	}
}
