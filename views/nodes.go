package views

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
)

// Nodes lists nodes with accelerators, as of now. Who uses them is said by name, or as a number of jobs where there is
// little room.
func Nodes(names bool, now time.Time) List[*fleet.NodeUsage] {
	type row = *fleet.NodeUsage
	work := countColumn(Column{Name: "WORK", Drop: 2}, func(u row) int64 { return int64(len(u.Works)) })
	work.Cell = func(u row) Cell {
		if len(u.Works) == 0 {
			return Cell{}
		}
		return Text(Plural(int64(len(u.Works)), "job", "jobs"))
	}
	work.Right = false
	if names {
		work.Max, work.Min, work.Cell = 80, 16, func(u row) Cell { return Text(nodeWork(u)) }
	}
	return List[row]{
		textColumn(Column{Name: "NAME", Min: 32}, func(u row) string { return u.Name }),
		ListColumn[row]{Column{Name: "STATE", Min: 8}, func(u row) Cell { return Toned(u.State, nodeTone(u.State)) }, func(u row) SortKey {
			return SortKey{Text: u.State, Known: true}
		}},
		textColumn(Column{Name: "PRODUCT", Min: 14, Drop: 3}, func(u row) string { return ShortProduct(u.Product) }),
		countColumn(Column{Name: "GPUS"}, func(u row) int64 { return u.Total }),
		freeColumn("FREE"),
		numberColumn(Column{Name: "USED"}, func(u row) *float64 { return countOrNil(u.Held) }, plainCount),
		numberColumn(Column{Name: "MEM", Drop: 5}, nodeMemory, func(v float64) string { return Bytes(int64(v)) }),
		textColumn(Column{Name: "TAINTS", Min: 12, Max: 40, Drop: 4}, nodeTaints),
		work,
		textColumn(Column{Name: "ZONE", Wide: true}, nodeZone),
		textColumn(Column{Name: "INSTANCE", Wide: true}, nodeInstance),
		textColumn(Column{Name: "DRIVER", Wide: true}, nodeDriver),
		textColumn(Column{Name: "RESOURCES", Wide: true}, nodeResources),
		ListColumn[row]{Column{Name: "TROUBLE", Wide: true, Max: 60}, nodeTrouble, func(u row) SortKey {
			text := nodeTrouble(u).Text
			return SortKey{Text: text, Known: text != ""}
		}},
		ListColumn[row]{Column{Name: "AGE", Drop: 1}, func(u row) Cell { return Text(Age(now.Sub(u.Created))) }, func(u row) SortKey {
			return SortKey{Number: now.Sub(u.Created).Seconds(), Known: !u.Created.IsZero()}
		}},
	}
}

// nodeTone is the tone of a node's state.
func nodeTone(state string) Tone {
	switch {
	case state == fleet.NodeReady:
		return Good
	case strings.HasPrefix(state, fleet.NodeNotReady):
		return Bad
	}
	return Warn
}

// nodeMemory is what one accelerator of the node has, in bytes: by its labels, else by what exporters say.
func nodeMemory(u *fleet.NodeUsage) *float64 {
	switch {
	case u.MemoryMiB > 0:
		return new(float64(u.MemoryMiB << 20))
	case u.Usage.MemoryTotal != nil && u.Usage.Devices > 0:
		return new(*u.Usage.MemoryTotal / float64(u.Usage.Devices))
	}
	return nil
}

// ownTaints are the taints that the state does not say already.
func ownTaints(u *fleet.NodeUsage) []fleet.Taint {
	var out []fleet.Taint
	for _, t := range u.Taints {
		switch t.Key {
		case "node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable":
			continue
		}
		out = append(out, t)
	}
	return out
}

func nodeTaints(u *fleet.NodeUsage) string {
	var parts []string
	for _, t := range ownTaints(u) {
		text, _, _ := strings.Cut(t.String(), ":")
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}

// nodeWork is who uses the node, with how many accelerators: train(8),notebook(1).
func nodeWork(u *fleet.NodeUsage) string {
	parts := make([]string, len(u.Works))
	for i, s := range u.Works {
		parts[i] = s.Name + "(" + strconv.FormatInt(s.GPUs, 10) + ")"
	}
	return strings.Join(parts, ",")
}

// firstLabel is the first of labels that a node has.
func firstLabel(u *fleet.NodeUsage, keys ...string) string {
	for _, k := range keys {
		if v := u.Labels[k]; v != "" {
			return v
		}
	}
	return ""
}

func nodeZone(u *fleet.NodeUsage) string {
	return firstLabel(u, "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
}

func nodeInstance(u *fleet.NodeUsage) string {
	return firstLabel(u, "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type", "nvidia.com/gpu.machine")
}

// nodeDriver is the version of the driver: gpu-feature-discovery has it in one label since 0.16, in three before.
func nodeDriver(u *fleet.NodeUsage) string {
	if v := firstLabel(u, "nvidia.com/cuda.driver-version.full", "amd.com/gpu.driver-version"); v != "" {
		return v
	}
	var parts []string
	for _, k := range []string{"major", "minor", "rev"} {
		if v := u.Labels["nvidia.com/cuda.driver."+k]; v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ".")
}

func nodeResources(u *fleet.NodeUsage) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(u.Resources)) {
		parts = append(parts, name+"="+strconv.FormatInt(u.Resources[name], 10))
	}
	return strings.Join(parts, ",")
}

// nodeTrouble is what is wrong in few words.
func nodeTrouble(u *fleet.NodeUsage) Cell {
	var parts []string
	if u.Broken > 0 {
		parts = append(parts, fmt.Sprintf("%d broken", u.Broken))
	}
	if !u.Ready {
		parts = append(parts, why(u.Reason, u.Message))
	}
	for _, c := range u.Wrong {
		parts = append(parts, c.Type)
	}
	return Toned(strings.Join(parts, ", "), Bad)
}
