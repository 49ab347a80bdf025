package views

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

const gib = 1 << 30

// held is a pod that holds n accelerators of a node since some time.
func held(name, node string, n int64, since time.Duration) *fleet.Pod {
	return &fleet.Pod{PodFact: job.PodFact{Name: name, Namespace: "ml", Node: node, State: job.Running, GPUs: n, Rank: -1, Created: ago(since)}, Bound: ago(since), Account: "default"}
}

func holding(kind, name, product string, gpus int64, pods ...*fleet.Pod) *fleet.Work {
	w := &fleet.Work{Ref: fleet.Ref{Kind: kind, Namespace: "ml", Name: name}, State: job.Running, GPUs: gpus, Product: product, Pods: pods, Created: ago(time.Hour)}
	for _, p := range pods {
		if p.Node != "" {
			w.Held += p.GPUs
			w.Nodes = append(w.Nodes, p.Node)
		}
	}
	return w
}

// deviceSet are n devices of a node in the hands of a pod, the first with a number.
func deviceSet(node, pod string, first, n int, busy, used, total, watts float64) []metrics.Device {
	var out []metrics.Device
	for i := range n {
		d := metrics.Device{
			Instance: node + ":9400", Node: node, Index: fmt.Sprint(first + i), UUID: fmt.Sprintf("GPU-%s-%d", node, first+i), Model: "NVIDIA H100 80GB HBM3", Pod: pod,
			Busy: busy, Mean: busy, MemoryUsed: used * gib, MemoryTotal: total * gib, Power: watts, Temperature: 30 + busy/2, XID: 0,
		}
		if pod != "" {
			d.Namespace = "ml"
		}
		out = append(out, d)
	}
	return out
}

const (
	h100 = "NVIDIA-H100-80GB-HBM3"
	l4   = "NVIDIA-L4"
)

// busyFleet is a cluster of six nodes: busy, idle, broken, draining, reserved and lost.
func busyFleet() (*fleet.Snapshot, []metrics.Device) {
	evicted := held("bert-0", "gpu-c", 4, 20*time.Minute)
	evicted.State = job.Terminating
	waits := holding("Job", "pending-too-many-gpus-for-any-node-of-this-cluster", "", 16, &fleet.Pod{PodFact: job.PodFact{Name: "p", Namespace: "ml", State: job.Pending, GPUs: 16}})
	waits.State, waits.Reason = job.Pending, "Unschedulable"
	llama := holding("PyTorchJob", "llama-7b-finetune", h100, 16, held("llama-7b-finetune-master-0", "gpu-a", 8, 26*time.Hour), held("llama-7b-finetune-worker-0", "gpu-b", 8, 25*time.Hour))
	llama.By, llama.Queue, llama.Priority = "ada@example.com", "research", "high"
	idle := holding("StatefulSet", "notebook\x1b[31m-grace", l4, 1, held("notebook-grace-0", "gpu-d", 1, 6*time.Hour+30*time.Minute))
	idle.By = "grace"
	half := holding("Job", "half-used", l4, 2, held("half-used-x7k2p", "gpu-d", 2, 2*time.Hour))
	bert := holding("Job", "bert", h100, 4, evicted)
	bert.Pods[0].Account = "argo"
	s := &fleet.Snapshot{
		Works: []*fleet.Work{bert, half, llama, idle, waits},
		Nodes: []*fleet.Node{
			aNode("gpu-a", h100, 8, 8), aNode("gpu-b", h100, 7, 8, func(n *fleet.Node) {
				n.Capacity, n.Used = 8, 7
				n.Wrong = []fleet.Condition{{Type: "GpuXid", Status: "True", Reason: "Xid79", Message: "GPU has fallen off the bus", Since: ago(time.Hour)}}
			}),
			aNode("gpu-c", h100, 8, 4, func(n *fleet.Node) {
				n.Cordoned = true
				n.Taints = []fleet.Taint{{Key: "node.kubernetes.io/unschedulable", Effect: "NoSchedule"}}
			}),
			aNode("gpu-d.europe-west4-a.example.com", l4, 4, 3), aNode("gpu-e", h100, 8, 0, func(n *fleet.Node) {
				n.Taints = []fleet.Taint{
					{Key: "reserved", Value: "research", Effect: "NoSchedule"}, {Key: "spot", Effect: "PreferNoSchedule"}, {Key: "nvidia.com/gpu", Value: "present", Effect: "NoSchedule"}, {Key: "maintenance", Effect: "NoExecute"},
				}
			}),
			aNode("gpu-f", l4, 4, 0, func(n *fleet.Node) {
				n.Ready, n.Reason, n.Message = false, "KubeletNotReady", "container runtime is down: connection refused"
				n.Taints = []fleet.Taint{{Key: "node.kubernetes.io/not-ready", Effect: "NoSchedule"}, {Key: "node.kubernetes.io/not-ready", Effect: "NoExecute"}}
			}),
		},
	}
	for _, w := range s.Works {
		for _, p := range w.Pods {
			if p.Node == "gpu-d" {
				p.Node = "gpu-d.europe-west4-a.example.com"
			}
		}
	}
	devices := deviceSet("gpu-a", "llama-7b-finetune-master-0", 0, 8, 96, 71.2, 80, 650)
	devices = append(devices, deviceSet("gpu-b", "llama-7b-finetune-worker-0", 0, 7, 93, 70, 80, 640)...)
	devices[9].XID = 94
	devices[8].Throttle, devices[9].Throttle = new(uint64(0x4)), new(uint64(0x40))
	devices = append(devices, deviceSet("gpu-d", "notebook-grace-0", 0, 1, 2, 14.1, 22.5, 16)...)
	devices = append(devices, deviceSet("gpu-d", "half-used-x7k2p", 1, 1, 88, 20, 22.5, 70)...)
	devices = append(devices, deviceSet("gpu-d", "half-used-x7k2p", 2, 1, 0, 0, 22.5, 13)...)
	devices = append(devices, deviceSet("gpu-d", "", 3, 1, 0, 0, 22.5, 13)...)
	silent := deviceSet("gpu-c", "bert-0", 0, 1, math.NaN(), math.NaN(), math.NaN(), math.NaN())
	silent[0].XID = math.NaN()
	silent[0].Part, silent[0].Profile = "3", "1g.10gb"
	return s, append(devices, silent...)
}

func aNode(name, product string, total, used int64, change ...func(*fleet.Node)) *fleet.Node {
	memory := map[string]int64{h100: 81559, l4: 23034}[product]
	n := &fleet.Node{
		Name: name, Ready: true, Product: product, MemoryMiB: memory, Total: total, Capacity: total, Used: used, Resources: map[string]int64{"nvidia.com/gpu": total}, Created: ago(40 * 24 * time.Hour),
		Labels: map[string]string{
			"topology.kubernetes.io/zone": "europe-west4-a", "node.kubernetes.io/instance-type": "a3-highgpu-8g", "nvidia.com/cuda.driver.major": "550", "nvidia.com/cuda.driver.minor": "54", "nvidia.com/cuda.driver.rev": "15",
			"nvidia.com/gpu.family": "hopper", "unrelated": "label",
		},
	}
	for _, c := range change {
		c(n)
	}
	return n
}

// goldens are a table at 80 and 200 columns and with all columns.
func goldens(t *testing.T, name string, table Table) {
	t.Helper()
	for suffix, o := range map[string]LineOptions{"80": {Width: 80}, "120": {Width: 120}, "200": {Width: 200}, "wide": {Wide: true}} {
		lines := table.Lines(o)
		for _, l := range lines {
			if o.Width > 0 && l.Width() > o.Width {
				t.Errorf("%s at %s: a line takes %d cells: %s", name, suffix, l.Width(), l.Text())
			}
		}
		golden(t, name+"-"+suffix, lines)
	}
}

func TestTopGoldens(t *testing.T) {
	s, devices := busyFleet()
	idle := fleet.Idleness{Below: 5, For: 30 * time.Minute}
	for _, c := range []struct {
		name    string
		devices []metrics.Device
	}{{"top", devices}, {"top-requests", nil}} {
		works := fleet.WorkUsages(s.Works, c.devices, idle, jobsNow)
		goldens(t, c.name+"-jobs", TopJobs(false, jobsNow).Table(works))
		goldens(t, c.name+"-nodes", TopNodes().Table(fleet.NodeUsages(s, c.devices)))
		goldens(t, c.name+"-users", TopUsers(fleet.ByUser).Table(fleet.OwnerUsages(works, fleet.ByUser)))
	}
	if table := TopJobs(true, jobsNow).Table(nil); table.Columns[0].Name != columnNamespace {
		t.Errorf("the first column is %s", table.Columns[0].Name)
	}
}

func TestRoomGoldens(t *testing.T) {
	s, _ := busyFleet()
	rooms := fleet.Rooms(fleet.NodeUsages(s, nil))
	golden(t, "top-rooms-80", Rooms(rooms, LineOptions{Width: 80}))
	golden(t, "top-rooms-200", Rooms(rooms, LineOptions{Width: 200}))
	one := fleet.Rooms(fleet.NodeUsages(&fleet.Snapshot{Nodes: []*fleet.Node{aNode("a", h100, 8, 8), aNode("b", h100, 8, 8)}}, nil))
	golden(t, "top-rooms-full", Rooms(one, LineOptions{Width: 80}))
	if lines := Rooms(nil, LineOptions{}); lines != nil {
		t.Errorf("of nothing known it says %v", lines)
	}
}

func TestListSort(t *testing.T) {
	s, devices := busyFleet()
	for by, want := range map[string]string{
		"busy":   "gpu-d.europe-west4-a.example.com gpu-b gpu-a gpu-c gpu-e gpu-f",
		"-busy":  "gpu-a gpu-b gpu-d.europe-west4-a.example.com gpu-c gpu-e gpu-f",
		"-NAME":  "gpu-f gpu-e gpu-d.europe-west4-a.example.com gpu-c gpu-b gpu-a",
		"-free":  "gpu-e gpu-c gpu-f gpu-d.europe-west4-a.example.com gpu-a gpu-b",
		"memory": "gpu-d.europe-west4-a.example.com gpu-b gpu-a gpu-c gpu-e gpu-f",
		"notes":  "gpu-b gpu-c gpu-f gpu-a gpu-d.europe-west4-a.example.com gpu-e",
	} {
		rows := fleet.NodeUsages(s, devices)
		if err := TopNodes().Sort(rows, by); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range rows {
			got += " " + r.Name
		}
		if got != " "+want {
			t.Errorf("by %s:%s, want %s", by, got, want)
		}
	}
	if err := TopNodes().Sort(nil, "-lost"); err == nil || err.Error() != `no column "lost" to sort by; there are name, product, total, held, free, busy, memory, power, temp, pods, notes, zone, work` {
		t.Errorf("%v", err)
	}
	if got := fmt.Sprint(TopUsers(fleet.ByQueue).Names()); got != "[queue gpus held busy idle memory power gpu-hours jobs waiting mean]" {
		t.Errorf("%s", got)
	}
}

func TestScreen(t *testing.T) {
	table := Table{Columns: []Column{{Name: "NAME"}}}
	for i := range 10 {
		table.Rows = append(table.Rows, []Cell{Text(fmt.Sprint("row", i))})
	}
	foot := []Line{{Text("a foot that is longer than the screen is wide")}}
	for _, c := range []struct{ height, lines int }{{0, 12}, {12, 12}, {11, 11}, {5, 5}, {1, 4}} {
		got := Screen(table, foot, LineOptions{Width: 20}, c.height)
		if len(got) != c.lines {
			t.Errorf("at %d lines: %d", c.height, len(got))
		}
		for _, l := range got {
			if l.Width() > 20 {
				t.Errorf("%q is too wide", l.Text())
			}
		}
	}
	if got := Screen(table, foot, LineOptions{}, 5)[3].Text(); got != "… 8 more, in a taller window or with -l or --sort-by" {
		t.Errorf("%q", got)
	}
}

func TestUsedOf(t *testing.T) {
	for _, c := range []struct {
		used, total float64
		want        string
	}{
		{71.2 * gib, 80 * gib, "71.2/80GiB"}, {0, 80 * gib, "0/80GiB"}, {819.6 * gib, 1536 * gib, "0.8/1.5TiB"}, {3, 0, "3B"}, {5 * gib, -1, "5GiB"}, {1, 512, "1/512B"},
	} {
		total := &c.total
		if c.total < 0 {
			total = nil
		}
		if got := UsedOf(c.used, total); got != c.want {
			t.Errorf("%v of %v is %q, want %q", c.used, c.total, got, c.want)
		}
	}
	for v, want := range map[float64]string{0: "0W", 69.6: "70W", 999.4: "999W", 999.6: "1kW", 2449: "2.4kW", 1.25e6: "1.2MW"} {
		if got := Watts(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// TestBusyTone: only what is held and does little is worth a warning.
func TestBusyTone(t *testing.T) {
	s, devices := busyFleet()
	devices = append(devices, deviceSet("gpu-e", "", 0, 8, 0, 0, 80, 70)...)
	want := map[string]Tone{"gpu-a": Plain, "gpu-e": Plain}
	for _, u := range fleet.NodeUsages(s, devices) {
		tone, ok := want[u.Name]
		for _, c := range TopNodes() {
			if got := c.Cell(u); ok && c.Name == "BUSY" && got.Tone != tone {
				t.Errorf("%s is %s busy in tone %d", u.Name, got.Text, got.Tone)
			}
		}
	}
	for _, u := range fleet.WorkUsages(s.Works, devices, fleet.Idleness{}, jobsNow) {
		for _, c := range TopJobs(false, jobsNow) {
			if got := c.Cell(u); c.Name == "BUSY" && (got.Tone == Warn) != (got.Text == "2%") {
				t.Errorf("%s is %s busy in tone %d", u.Work.Name, got.Text, got.Tone)
			}
		}
	}
}
