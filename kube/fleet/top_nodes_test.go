package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/job"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

func topNode(name string, total, used int64, change ...func(*Node)) *Node {
	n := &Node{Name: name, Ready: true, Product: "H100", Total: total, Used: used}
	for _, c := range change {
		c(n)
	}
	return n
}

func cordoned(n *Node) { n.Cordoned = true }

func notReady(n *Node) { n.Ready = false }

func product(p string) func(*Node) { return func(n *Node) { n.Product = p } }

func tainted(key, value, effect string) func(*Node) {
	return func(n *Node) { n.Taints = append(n.Taints, Taint{key, value, effect}) }
}

func TestNodeUsages(t *testing.T) {
	leaving := topPod("leaving-0", "drained", 1, time.Hour)
	leaving.State = job.Terminating
	evicted := topPod("evicted-0", "both", 1, time.Hour)
	evicted.Reason = "EvictionByEvictionAPI"
	ended := topPod("ended-0", "a.example.com", 8, time.Hour)
	ended.State = job.Failed
	broken := topNode("broken", 7, 0)
	broken.Capacity = 8
	s := &Snapshot{
		Nodes: []*Node{
			topNode("a.example.com", 8, 5), topNode("b.example.com", 8, 0), broken, topNode("cordoned", 8, 0, cordoned), topNode("drained", 8, 1, cordoned),
			topNode("both", 8, 1, cordoned, notReady), topNode("down", 8, 0, notReady), topNode("closed", 8, Unknown),
		},
		Works: []*Work{
			topWork("one", job.Running, 1, topPod("one-0", "a.example.com", 1, time.Hour)),
			topWork("many", job.Running, 6, topPod("many-0", "a.example.com", 2, time.Hour), topPod("many-1", "a.example.com", 2, time.Hour), topPod("many-2", "elsewhere", 2, time.Hour)),
			topWork("leaving", job.Running, 1, leaving), topWork("evicted", job.Running, 1, evicted), topWork("ended", job.Failed, 8, ended),
		},
	}
	devices := []metrics.Device{
		// The pod says where it is, whatever the exporter calls the node.
		device("10.0.0.1:9400", "ip-10-0-0-1", "0", "one-0", 90, 90),
		// What the same exporter says of a device that nobody holds.
		device("10.0.0.1:9400", "ip-10-0-0-1", "1", "", 0, 0),
		// By its name, and by the first label of that.
		device("10.0.0.2:9400", "broken", "0", "", 0, 0), device("10.0.0.3:9400", "b", "0", "", 0, 0),
		device("10.0.0.9:9400", "unknown", "0", "", 0, 0), device("", "", "0", "", 0, 0),
	}
	var got []string
	for _, u := range NodeUsages(s, devices) {
		var works []string
		for _, w := range u.Works {
			works = append(works, fmt.Sprintf("%s:%d/%d", w.Name, w.GPUs, w.Pods))
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s held %s free %s broken %d devices %d pods %d %s", u.Name, u.State, idleText(u.Held), idleText(u.Free), u.Broken, len(u.Devices), len(u.Pods), strings.Join(works, " "))))
	}
	want := []string{
		"a.example.com Ready held 5 free 3 broken 0 devices 2 pods 3 many:4/2 one:1/1",
		"b.example.com Ready held 0 free 8 broken 0 devices 1 pods 0",
		"broken Ready held 0 free 7 broken 1 devices 1 pods 0",
		"cordoned Cordoned held 0 free 8 broken 0 devices 0 pods 0",
		"drained Draining held 1 free 7 broken 0 devices 0 pods 1 leaving:1/1",
		"both NotReady,Draining held 1 free 7 broken 0 devices 0 pods 1 evicted:1/1",
		"down NotReady held 0 free 8 broken 0 devices 0 pods 0",
		"closed Ready held ? free ? broken 0 devices 0 pods 0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDevicesOfNodesWithOneShortName(t *testing.T) {
	s := &Snapshot{Nodes: []*Node{topNode("gpu.a", 1, 0), topNode("gpu.b", 1, 0)}}
	for _, u := range NodeUsages(s, []metrics.Device{device("x", "gpu", "0", "", 0, 0)}) {
		if len(u.Devices) > 0 {
			t.Errorf("%s was given a device that may be of another node", u.Name)
		}
	}
}

func roomsText(rooms []Room) string {
	var lines []string
	for _, r := range rooms {
		var fits, shut []string
		for _, f := range r.Fits {
			fits = append(fits, fmt.Sprintf("%d:%d", f.GPUs, f.Nodes))
		}
		for _, s := range r.Shut {
			shut = append(shut, fmt.Sprintf("%d on %d %s", s.Free, s.Nodes, s.Why))
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%q %d/%d on %d, largest %d; %s %s", r.Product, r.Free, r.Total, r.Nodes, r.Largest, strings.Join(fits, " "), strings.Join(shut, ", "))))
	}
	return strings.Join(lines, "\n")
}

func TestRooms(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []*Node
		want  string
	}{
		{"none", nil, ""},
		{"who holds is not known", []*Node{topNode("a", 8, Unknown)}, ""},
		{"full", []*Node{topNode("a", 8, 8), topNode("b", 8, 9)}, `"" 0/16 on 0, largest 0; 8:0 4:0 2:0 1:0`},
		// Sixteen are free, and no node has room for four.
		{"fragments", []*Node{topNode("a", 8, 5), topNode("b", 8, 6), topNode("c", 8, 7), topNode("d", 8, 8)}, `"" 6/32 on 3, largest 3; 8:0 4:0 2:2 1:3`},
		{"odd sizes", []*Node{topNode("a", 7, 0), topNode("b", 6, 0)}, `"" 13/13 on 2, largest 7; 7:1 4:2 2:2 1:2`},
		{"some not known", []*Node{topNode("a", 8, 0), topNode("b", 8, Unknown)}, `"" 8/8 on 1, largest 8; 8:1 4:1 2:1 1:1`},
		{
			"products", []*Node{topNode("a", 8, 4), topNode("b", 4, 0, product("L4")), topNode("c", 1, 0, product(""))},
			"\"\" 9/13 on 3, largest 4; 8:0 4:2 2:2 1:3\n\"H100\" 4/8 on 1, largest 4; 8:0 4:1 2:1 1:1\n\"L4\" 4/4 on 1, largest 4; 4:1 2:1 1:1\n\"\" 1/1 on 1, largest 1; 1:1",
		},
		{
			"out of reach", []*Node{
				topNode("a", 8, 0, cordoned), topNode("b", 8, 0, notReady), topNode("c", 8, 6, tainted("team", "x", "NoSchedule")), topNode("d", 8, 7, tainted("team", "x", "NoSchedule")),
				topNode("e", 8, 0, tainted("spot", "", "PreferNoSchedule")), topNode("f", 8, 0, tainted("nvidia.com/gpu", "present", "NoSchedule")), topNode("g", 8, 8, cordoned),
			},
			`"" 16/16 on 2, largest 8; 8:2 4:2 2:2 1:2 8 on 1 Cordoned, 8 on 1 NotReady, 3 on 2 team=x:NoSchedule`,
		},
	} {
		if got := roomsText(Rooms(NodeUsages(&Snapshot{Nodes: c.nodes}, nil))); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestTaintsAsText(t *testing.T) {
	for want, taint := range map[string]Taint{"a=b:NoSchedule": {"a", "b", "NoSchedule"}, "a:NoExecute": {"a", "", "NoExecute"}} {
		if got := taint.String(); got != want || !taint.KeepsAway() {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestSelectNodes(t *testing.T) {
	chosen, err := SelectNodes("zone in (a,b)")
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string]bool{"a": true, "c": false} {
		if got := chosen(&Node{Labels: map[string]string{"zone": zone}}); got != want {
			t.Errorf("zone %s is chosen: %t", zone, got)
		}
	}
	if _, err := SelectNodes("=("); err == nil || !strings.Contains(err.Error(), `label selector "=("`) {
		t.Errorf("%v", err)
	}
}

// TestNodesThatLostAllTheirGPUs are still nodes with accelerators: somebody has to repair them.
func TestNodesThatLostAllTheirGPUs(t *testing.T) {
	_, nodes := group(parts{nodes: []*Node{{Name: "lost", Capacity: 8}, {Name: "none"}, {Name: "whole", Total: 8, Capacity: 8}}}, choice{})
	if len(nodes) != 2 || nodes[0].Name != "lost" || nodes[1].Name != "whole" {
		t.Errorf("%v", nodes)
	}
}
