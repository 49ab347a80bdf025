package views

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

var jobsNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return jobsNow.Add(-d) }

func agoP(d time.Duration) *time.Time {
	t := ago(d)
	return &t
}

func exited(code int32) *int32 { return &code }

func usage(busy, used, total float64) metrics.Usage {
	return metrics.Usage{Devices: 1, Busy: &busy, MemoryUsed: &used, MemoryTotal: &total}
}

func told(line string) *job.Progress {
	p, ok := job.ParseProgress(line)
	if !ok {
		panic("no progress in " + line)
	}
	return &p
}

// mixedFleet is one work of each kind of trouble, and some without.
func mixedFleet() []*JobRow {
	nvidia := func(n int64) map[string]int64 { return map[string]int64{"nvidia.com/gpu": n} }
	ref := func(kind, ns, name string) fleet.Ref { return fleet.Ref{Kind: kind, Namespace: ns, Name: name} }
	rows := []*JobRow{
		{
			Work: &fleet.Work{
				Ref: ref("PyTorchJob", "team-a", "llama-7b-finetune"), State: job.Running, Ready: 4, Want: 4, GPUs: 32, Held: 32, Resources: nvidia(32), Product: "NVIDIA-H100-80GB-HBM3",
				Queue: "team-a-gpu", Priority: "high", By: "ada@example.com", Nodes: []string{"gpu-0", "gpu-1", "gpu-2", "gpu-3"}, Created: ago(26 * time.Hour), Started: agoP(25 * time.Hour),
			},
			Usage: usage(95, 141<<30, 160<<30),
			Log:   told("epoch 3/10 step 1200/5000 loss=0.1234 lr=0.0001"),
		},
		{
			Work: &fleet.Work{
				Ref: ref("Job", "team-a", "house-prices-x7k2p-train-0"), State: job.Running, Ready: 1, Want: 1, GPUs: 1, Held: 1, Resources: nvidia(1), Product: "Tesla-T4", Restarts: 2,
				Labels: map[string]string{kube.LabelPipeline: "house-prices", kube.LabelRun: "house-prices-x7k2p", kube.LabelStage: "train", kube.LabelChild: "0"},
				Nodes:  []string{"gpu-4"}, Created: ago(3 * time.Minute), Started: agoP(170 * time.Second),
			},
			Usage: usage(2, 1<<30, 16<<30),
			Log:   told(" 24%|██▍       | 1200/5000 [00:10<00:30, 120it/s]"),
		},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-a", "too-big"), State: job.Pending, Reason: "Unschedulable", Message: "0/8 nodes are available: 8 Insufficient nvidia.com/gpu.",
			Want: 2, GPUs: 32, Resources: nvidia(32), Created: ago(40 * time.Minute),
		}},
		{Work: &fleet.Work{
			Ref: ref("Pod", "team-b", "notebook"), State: job.Pending, Reason: "ImagePullBackOff", Message: `Back-off pulling image "train:typo"`,
			Want: 1, GPUs: 1, Resources: nvidia(1), Nodes: []string{"gpu-5"}, Created: ago(90 * time.Second),
		}},
		{Work: &fleet.Work{
			Ref: ref("TrainJob", "team-b", "waits-in-queue"), State: job.Suspended, Reason: "Queued", Message: "waits in queue best-effort for quota",
			Want: 16, GPUs: 128, Resources: nvidia(128), Product: "NVIDIA-A100-SXM4-40GB", Queue: "best-effort", Created: ago(5 * time.Hour),
		}},
		{Work: &fleet.Work{Ref: ref("Job", "team-b", "held-back"), State: job.Suspended, Reason: "Suspended", Want: 1, GPUs: 2, Resources: nvidia(2), Created: ago(48 * time.Hour)}},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-a", "ate-too-much"), State: job.Failed, Reason: "OOMKilled", Message: "out of memory (limit 2Gi)", Want: 1, GPUs: 1, Resources: nvidia(1), Restarts: 6,
			Created: ago(2 * time.Hour), Started: agoP(2 * time.Hour), Finished: agoP(time.Hour),
		}},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-a", "broken"), State: job.Failed, Reason: "Error", Message: "exit code 1", Want: 1, GPUs: 1, Resources: nvidia(1),
			Pods:    []*fleet.Pod{{PodFact: job.PodFact{State: job.Failed, Reason: "Error", ExitCode: exited(1)}}},
			Created: ago(3 * time.Hour), Started: agoP(3 * time.Hour), Finished: agoP(2 * time.Hour),
		}},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-a", "fine"), State: job.Succeeded, Ready: 1, Want: 1, GPUs: 1, Resources: nvidia(1), Product: "AMD-Instinct-MI300X-OAM,AMD-Instinct-MI250",
			Metrics: map[string]float64{"accuracy": 0.93, "train_loss": 0.02}, Created: ago(5 * time.Hour), Started: agoP(5 * time.Hour), Finished: agoP(4 * time.Hour),
		}},
		{Work: &fleet.Work{
			Ref: ref("RayCluster", "team-c", "推論-クラスタ-👩‍🔬"), State: job.Running, Reason: "CrashLoopBackOff", Message: "exit code 137", Ready: 2, Want: fleet.Unknown, GPUs: 8, Held: 8,
			Resources: map[string]int64{"google.com/tpu": 8}, Restarts: 41, Nodes: []string{"tpu-0", "tpu-1"}, Created: ago(30 * 24 * time.Hour), Started: agoP(30 * 24 * time.Hour),
		}, Usage: metrics.Usage{Devices: 8}},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-c", "evil\x1b]0;pwn\a\x1b[31m\nname"), State: job.Running, Ready: 1, Want: 1, GPUs: 1, Held: 1, Message: "\x1b[2Jgone",
			Nodes: []string{"no\tde\u202e"}, By: "\x9b31mroot", Created: ago(time.Second),
		}, Log: &job.Progress{Source: job.SourceText, Step: 7, Total: -1, Percent: -1, Epoch: -1, Epochs: -1, Names: []string{"a\x1b[m"}, Metrics: map[string]float64{"a\x1b[m": 0.5}}},
		{Work: &fleet.Work{
			Ref: ref("Job", "team-c", strings.Repeat("long-", 50)+"end"), State: job.Running, Ready: fleet.Unknown, Want: fleet.Unknown, GPUs: fleet.Unknown, Restarts: fleet.Unknown, Created: ago(time.Minute),
		}},
		{Work: &fleet.Work{}},
	}
	for _, r := range rows {
		r.Now = jobsNow
	}
	return rows
}

func TestJobsGoldens(t *testing.T) {
	rows := mixedFleet()
	if err := SortJobs(rows, ""); err != nil {
		t.Fatal(err)
	}
	short := slices.DeleteFunc(slices.Clone(rows), func(r *JobRow) bool { return len(r.Work.Name) > 100 || r.Work.Name == "" })
	for _, width := range []int{80, 120, 200} {
		for name, lines := range map[string][]Line{
			"works":      Jobs(short, false).Lines(LineOptions{Width: width}),
			"works-long": Jobs(rows, true).Lines(LineOptions{Width: width}),
			"works-fit":  Jobs(short, false).Lines(LineOptions{Width: width, Wide: true}),
		} {
			for _, l := range lines {
				if l.Width() > width {
					t.Errorf("%s at %d: a line takes %d cells: %s", name, width, l.Width(), l.Text())
				}
			}
			golden(t, fmt.Sprintf("%s-%d", name, width), lines)
		}
	}
	golden(t, "works-wide", Jobs(rows, true).Lines(LineOptions{Wide: true}))
}

// Whatever the cluster says, a table is free of control characters.
func TestJobsAreHarmless(t *testing.T) {
	for _, l := range Jobs(mixedFleet(), true).Lines(LineOptions{Wide: true}) {
		if strings.ContainsAny(l.Text(), "\x1b\a\n\t\u202e\u009b") {
			t.Errorf("a control character in %q", l.Text())
		}
	}
}

func TestJobState(t *testing.T) {
	at := func(sec int) *time.Time { return agoP(-time.Duration(sec) * time.Second) }
	for _, c := range []struct {
		work fleet.Work
		want string
		tone Tone
	}{
		{fleet.Work{State: job.Running}, "Running", Accent},
		{fleet.Work{State: job.Running, Reason: "Unschedulable"}, "Running:Unschedulable", Warn},
		{fleet.Work{State: job.Pending, Reason: "Unschedulable"}, "Pending:Unschedulable", Warn},
		{fleet.Work{State: job.Suspended, Reason: "Suspended"}, "Suspended", Warn},
		{fleet.Work{State: job.Suspended}, "Suspended", Dim},
		{fleet.Work{State: job.Failed, Reason: "Failed"}, "Failed", Bad},
		{fleet.Work{State: job.Failed, Reason: "Error"}, "Failed:Error", Bad},
		{fleet.Work{State: job.Failed, Reason: "OOMKilled", Pods: []*fleet.Pod{{PodFact: job.PodFact{State: job.Failed, Reason: "OOMKilled", ExitCode: exited(137)}}}}, "Failed:OOMKilled", Bad},
		{fleet.Work{State: job.Failed, Reason: "Error", Pods: []*fleet.Pod{
			{PodFact: job.PodFact{State: job.Failed, Reason: "Error", ExitCode: exited(3), Finished: at(20)}},
			{PodFact: job.PodFact{State: job.Failed, Reason: "Error", ExitCode: exited(7), Finished: at(10)}},
			{PodFact: job.PodFact{State: job.Failed, Reason: "Evicted", ExitCode: exited(9), Finished: at(5)}},
			{PodFact: job.PodFact{State: job.Failed, Reason: "Error"}},
		}}, "Failed:Error(7)", Bad},
		{fleet.Work{State: job.Succeeded}, "Succeeded", Good},
	} {
		if got := jobState(&JobRow{Work: &c.work}); got != Toned(c.want, c.tone) {
			t.Errorf("%s %s shows as %v, want %s in tone %d", c.work.State, c.work.Reason, got, c.want, c.tone)
		}
	}
}

func TestShortProduct(t *testing.T) {
	for product, want := range map[string]string{
		"NVIDIA-H100-80GB-HBM3": "H100-80GB", "Tesla-T4": "T4", "NVIDIA-A100-SXM4-40GB": "A100-40GB", "Tesla-V100-SXM2-16GB": "V100-16GB", "NVIDIA-H100-NVL": "H100-NVL",
		"NVIDIA-A100-SXM4-40GB-MIG-1g.5gb": "A100-40GB-MIG-1g.5gb", "NVIDIA-GeForce-RTX-4090": "RTX-4090", "AMD_Instinct_MI300X_OAM": "MI300X", "NVIDIA-H100-80GB-HBM3-SHARED": "H100-80GB-SHARED",
		"NVIDIA-RTX-6000-Ada-Generation": "RTX-6000-Ada", "nvidia": "nvidia", "": "", "NVIDIA H100 80GB HBM3": "H100-80GB", "TPU-v5-lite": "TPU-v5-lite",
	} {
		if got := ShortProduct(product); got != want {
			t.Errorf("%s is shortened to %s, want %s", product, got, want)
		}
	}
}

func TestShortProgress(t *testing.T) {
	for line, want := range map[string]string{
		"epoch 3/10 loss=0.3":                      "30% epoch 3/10",
		"step 1200/5000 loss=0.3":                  "24% 1200/5000",
		`::ml:: {"step": 7, "loss": 0.5}`:          "step 7",
		`::ml:: {"epoch": 3}`:                      "epoch 3",
		`::ml:: {"loss": 0.3}`:                     "",
		" 45%|████▌     | 45/100 [00:10<00:12, x]": "45% 45/100",
	} {
		if got := shortProgress(told(line)); got != want {
			t.Errorf("%q shows as %q, want %q", line, got, want)
		}
	}
	if got := shortProgress(nil) + shortProgress(&job.Progress{}); got != "" {
		t.Errorf("nothing said shows as %q", got)
	}
}

func TestHeadline(t *testing.T) {
	for want, names := range map[string][]string{
		"loss": {"accuracy", "train_loss", "loss"}, "train_loss": {"val_loss", "train_loss"}, "val_loss": {"lr", "val_loss"}, "loss_g": {"lr", "loss_g"}, "lr": {"lr", "reward"}, "Loss": {"Loss"},
	} {
		if got := headline(names); got != want {
			t.Errorf("of %v %s is shown, want %s", names, got, want)
		}
	}
}

func names(rows []*JobRow) string {
	var out []string
	for _, r := range rows {
		out = append(out, Truncate(Sanitize(r.Work.Name), 8))
	}
	return strings.Join(out, " ")
}

func TestSortJobs(t *testing.T) {
	for _, c := range []struct {
		by, want string
	}{
		{"", "evil na… long-lo… notebook house-p… too-big llama-7… 推論-ク…  waits-i… held-ba… ate-too… broken fine"},
		{"-gpus", "waits-i… too-big llama-7… 推論-ク… held-ba… evil na… notebook house-p… ate-too… broken fine  long-lo…"},
		{"AGE", "evil na… long-lo… notebook house-p… too-big ate-too… broken waits-i… fine llama-7… held-ba… 推論-ク… "},
		{"util", "house-p… llama-7…"},
		{"-util", "llama-7… house-p…"},
		{"metric", "fine llama-7… evil na…"},
		{"-progress", "house-p… llama-7… evil na…"},
		{"-restarts", "推論-ク… ate-too… house-p…"},
		{"state", " evil na… long-lo… house-p… llama-7… 推論-ク… notebook too-big waits-i… held-ba… broken ate-too… fine"},
		{"-memory", "llama-7… house-p…"},
		{"-duration", "推論-ク… llama-7… ate-too…"},
	} {
		rows := mixedFleet()
		if err := SortJobs(rows, c.by); err != nil {
			t.Fatal(err)
		}
		if got := names(rows); !strings.HasPrefix(got, c.want) {
			t.Errorf("by %q:\n%s\nwant\n%s", c.by, got, c.want)
		}
	}
	if err := SortJobs(nil, "loss"); err == nil || !strings.Contains(err.Error(), `no column "loss"`) || !strings.Contains(err.Error(), "gpus, type, util") {
		t.Errorf("got %v", err)
	}
}

// Sorting and drawing survive works that hold nothing at all.
func TestEveryJobColumnTakesAnEmptyRow(t *testing.T) {
	for _, c := range JobColumns() {
		r := &JobRow{Work: &fleet.Work{}}
		if got := c.Cell(r).Text; strings.Contains(got, "NaN") || got == "0" && c.Name != "RESTARTS" {
			t.Errorf("%s shows %q", c.Name, got)
		}
		c.Key(r)
	}
}

func BenchmarkJobs(b *testing.B) {
	mixed := mixedFleet()
	var rows []*JobRow
	for i := range 5000 {
		rows = append(rows, mixed[i%10])
	}
	for b.Loop() {
		if err := SortJobs(rows, ""); err != nil {
			b.Fatal(err)
		}
		Jobs(rows, true).Lines(LineOptions{Width: 200})
	}
}

func TestJobsScreen(t *testing.T) {
	rows := mixedFleet()
	if err := SortJobs(rows, ""); err != nil {
		t.Fatal(err)
	}
	foot := []Line{Lost(12 * time.Second)}
	for height, want := range map[int]int{0: len(rows) + 2, 100: len(rows) + 2, len(rows) + 2: len(rows) + 2, len(rows) + 1: len(rows) + 1, 6: 6, 4: 4, 1: 4} {
		lines, next := JobsScreen(rows, true, foot, LineOptions{Width: 80}, height)
		if len(lines) != want || next != time.Second {
			t.Errorf("%d lines on a screen of %d, want %d; next after %s", len(lines), height, want, next)
		}
		if last := lines[len(lines)-1].Text(); last != "stale, 12s old; reconnecting" {
			t.Errorf("below stands %q", last)
		}
		for _, l := range lines {
			if l.Width() > 80 {
				t.Errorf("a line takes %d cells: %s", l.Width(), l.Text())
			}
		}
	}
	lines, _ := JobsScreen(rows, true, nil, LineOptions{Width: 80}, 6)
	if text := lines[5].Text(); text != "… 9 more, in a taller window or with -l or --sort-by" {
		t.Errorf("of what does not fit it says %q", text)
	}
	if lines, next := JobsScreen(nil, false, nil, LineOptions{}, 10); len(lines) != 1 || next != 0 {
		t.Errorf("of nothing: %d lines, next after %s", len(lines), next)
	}
}

// An age is drawn anew when its text changes, and no sooner.
func TestAgeChanges(t *testing.T) {
	for d := time.Duration(0); d < 40*24*time.Hour; d += d/7 + 700*time.Millisecond {
		wait := ageChanges(d)
		if Age(d) != Age(d+wait-time.Millisecond) || wait <= 0 {
			t.Errorf("after %s the age is %s, and %s before %s are over", d, Age(d), Age(d+wait-time.Millisecond), wait)
		}
	}
	for d, want := range map[time.Duration]time.Duration{0: time.Second, 1500 * time.Millisecond: 500 * time.Millisecond, 10 * time.Minute: time.Minute, 9*time.Hour + 50*time.Minute: 10 * time.Minute, -time.Second: time.Second} {
		if got := ageChanges(d); got != want {
			t.Errorf("after %s: %s, want %s", d, got, want)
		}
	}
}

func TestSameJob(t *testing.T) {
	row := func(change func(*JobRow)) *JobRow {
		r := &JobRow{Work: &fleet.Work{Ref: fleet.Ref{Name: "a"}, State: job.Running, Created: ago(time.Hour)}, Now: jobsNow}
		change(r)
		return r
	}
	base := row(func(*JobRow) {})
	for name, c := range map[string]struct {
		r          *JobRow
		same, wide bool
	}{
		"itself":          {base, true, true},
		"a later look":    {row(func(r *JobRow) { r.Now = jobsNow.Add(time.Hour) }), true, true},
		"progress":        {row(func(r *JobRow) { r.Log = told("step 1/2 loss=0.3") }), true, true},
		"utilisation":     {row(func(r *JobRow) { r.Usage = usage(3, 1, 1) }), true, true},
		"another reason":  {row(func(r *JobRow) { r.Work.Reason = "CrashLoopBackOff" }), false, false},
		"another message": {row(func(r *JobRow) { r.Work.Message = "so it is" }), true, false},
		"more pods":       {row(func(r *JobRow) { r.Work.Ready = 1 }), false, false},
	} {
		if same, wide := SameJob(base, c.r, false), SameJob(base, c.r, true); same != c.same || wide != c.wide {
			t.Errorf("%s: %t, wide %t", name, same, wide)
		}
	}
}
