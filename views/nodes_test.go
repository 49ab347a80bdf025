package views

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

func TestNodesGoldens(t *testing.T) {
	s, _ := busyFleet()
	usages := fleet.NodeUsages(s, nil)
	goldens(t, "nodes", Nodes(true, jobsNow).Table(usages))
	golden(t, "nodes-few-80", Nodes(false, jobsNow).Table(usages).Lines(LineOptions{Width: 80}))
	unseen := aNode("gpu-a", h100, 8, fleet.Unknown)
	golden(t, "nodes-unseen-80", Nodes(false, jobsNow).Table(fleet.NodeUsages(&fleet.Snapshot{Nodes: []*fleet.Node{unseen}}, nil)).Lines(LineOptions{Width: 80}))
}

func TestNodePages(t *testing.T) {
	s, devices := busyFleet()
	for _, u := range fleet.NodeUsages(s, devices) {
		name, _, _ := strings.Cut(u.Name, ".")
		for _, width := range []int{80, 200} {
			lines := DescribeNode(u, true, jobsNow, LineOptions{Width: width})
			for _, l := range lines {
				if l.Width() > width {
					t.Errorf("%s at %d: a line takes %d cells: %s", name, width, l.Width(), l.Text())
				}
			}
			golden(t, fmt.Sprintf("node-%s-%d", name, width), lines)
		}
	}
	u := fleet.NodeUsages(&fleet.Snapshot{Nodes: []*fleet.Node{{Name: "bare"}}}, nil)[0]
	golden(t, "node-bare", DescribeNode(u, false, jobsNow, LineOptions{}))
	hidden := fleet.NodeUsages(&fleet.Snapshot{Nodes: []*fleet.Node{aNode("gpu-a", h100, 8, 3)}}, nil)[0]
	golden(t, "node-hidden", DescribeNode(hidden, false, jobsNow, LineOptions{Width: 80}))
}

// TestNodeMemory: labels first, then what exporters say of all devices together.
func TestNodeMemory(t *testing.T) {
	total := 160.0 * gib
	for _, c := range []struct {
		labelled int64
		usage    metrics.Usage
		want     float64
	}{
		{81920, metrics.Usage{}, 80 * gib}, {81920, metrics.Usage{MemoryTotal: &total, Devices: 8}, 80 * gib}, {0, metrics.Usage{MemoryTotal: &total, Devices: 8}, 20 * gib}, {0, metrics.Usage{}, 0},
	} {
		got := nodeMemory(&fleet.NodeUsage{Node: &fleet.Node{MemoryMiB: c.labelled}, Usage: c.usage})
		if got == nil && c.want != 0 || got != nil && *got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
