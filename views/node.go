package views

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-ml/kubectl-ml/kube/diagnose"
	"github.com/kubectl-ml/kubectl-ml/kube/fleet"
	"github.com/kubectl-ml/kubectl-ml/kube/metrics"
)

// DescribeNode is one node on one page: what it is, what is wrong with it, whom it keeps away, its devices, and the pods
// that hold them. measured says that a Prometheus was asked.
func DescribeNode(u *fleet.NodeUsage, measured bool, now time.Time, o LineOptions) []Line {
	out := nodeHead(u, now, o.Width)
	section := func(title string, lines []Line) {
		if len(lines) > 0 {
			out = append(out, Line{}, Line{Toned(title, Head)})
			out = append(out, lines...)
		}
	}
	if len(u.Wrong) > 0 {
		section("Trouble", workConditions(u.Wrong, now).Lines(o))
	}
	section("Taints", taintLines(u, o.Width))
	if len(u.Devices) > 0 {
		section("Devices", nodeDevices(u.Devices, o))
		out = append(out, deviceNotes(u.Devices, o.Width)...)
	}
	switch {
	case len(u.Pods) > 0:
		section("Pods with GPUs", nodePods(u, now).Lines(o))
	case u.Used > 0:
		section("Pods with GPUs", []Line{{Text(fmt.Sprintf("%d GPUs are held by pods that you may not see", u.Used))}})
	}
	if len(u.Devices) == 0 && measured {
		out = append(out, Line{}, Line{Toned("Prometheus tells nothing of its devices", Dim)})
	}
	if o.Width > 0 {
		for i := range out {
			out[i] = out[i].Cut(o.Width)
		}
	}
	return out
}

// nodeHead is name and value, a line each, or more where the value does not fit.
func nodeHead(u *fleet.NodeUsage, now time.Time, limit int) []Line {
	var out []Line
	const width = len("Instance: ")
	add := func(key, value string, tone Tone) {
		if value == "" {
			return
		}
		key += ":"
		for _, text := range wrapped(Sanitize(value), limit-width) {
			out = append(out, Line{Toned(fmt.Sprintf("%-*s", width, key), Head), Toned(text, tone)})
			key = ""
		}
	}
	add("Node", u.Name, Accent)
	state := u.State
	if !u.Ready {
		state += orNothing(": ", why(u.Reason, u.Message))
	}
	add("State", state, nodeTone(u.State))
	add("GPUs", nodeGPUs(u), Plain)
	if u.Broken > 0 {
		add("Broken", fmt.Sprintf("%d of %d: the node has more than its device plugin offers; see its log, and the driver's on the node (dmesg)", u.Broken, u.Capacity), Bad)
	}
	add("Busy", nodeBusy(&u.Usage), Plain)
	add("Driver", nodeDriver(u), Plain)
	add("Instance", nodeInstance(u), Plain)
	add("Zone", nodeZone(u), Plain)
	add("Labels", ofInterest(u.Labels), Plain)
	if !u.Created.IsZero() {
		add("Age", Age(now.Sub(u.Created)), Plain)
	}
	return out
}

func nodeGPUs(u *fleet.NodeUsage) string {
	if u.Total == 0 {
		return "none that pods can have" + orNothing(": ", u.Product)
	}
	text := counts(u.Resources) + orNothing(" ", u.Product)
	if m := nodeMemory(u); m != nil {
		text += " of " + Bytes(int64(*m))
	}
	if u.Free == nil {
		return text + "; how many are held is not known"
	}
	return text + fmt.Sprintf("; %d held, %d free", u.Used, *u.Free)
}

// nodeBusy is what all devices do together.
func nodeBusy(u *metrics.Usage) string {
	var parts []string
	if u.Busy != nil {
		parts = append(parts, Percent(*u.Busy/100))
	}
	if u.MemoryUsed != nil {
		parts = append(parts, UsedOf(*u.MemoryUsed, u.MemoryTotal)+" of memory")
	}
	if u.Power != nil {
		parts = append(parts, Watts(*u.Power))
	}
	return strings.Join(parts, ", ")
}

// counts are numbers by resource: 8 nvidia.com/gpu.
func counts(resources map[string]int64) string {
	parts := make([]string, 0, len(resources))
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		parts = append(parts, strconv.FormatInt(resources[name], 10)+" "+name)
	}
	return strings.Join(parts, ", ")
}

// ofInterest are the labels by which GPU work chooses nodes, beside those that have a line of their own.
func ofInterest(labels map[string]string) string {
	prefixes := []string{
		"nvidia.com/gpu.family", "nvidia.com/gpu.clique", "nvidia.com/gpu.imex-domain", "nvidia.com/mig.", "nvidia.com/gpu.sharing-strategy", "nvidia.com/gpu.replicas", "nvidia.com/cuda.runtime",
		"amd.com/gpu.family", "cloud.google.com/gke-accelerator", "cloud.google.com/gke-tpu", "cloud.google.com/gke-spot", "cloud.google.com/gke-nodepool",
		"karpenter.sh/", "eks.amazonaws.com/nodegroup", "kubernetes.azure.com/agentpool", "kubernetes.azure.com/scalesetpriority", "topology.k8s.aws/", "cloud.provider.com/topology",
		"network.topology.nvidia.com/", "node-role.kubernetes.io/",
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			parts = append(parts, k+orNothing("=", labels[k]))
		}
	}
	return strings.Join(parts, " ")
}

// taintLines say in words what each taint does.
func taintLines(u *fleet.NodeUsage, width int) []Line {
	var out []Line
	for _, t := range u.Taints {
		out = append(out, Line{Toned(Sanitize(t.String()), Accent)})
		for _, text := range wrapped(Sanitize(taintMeaning(u.Name, t)), width-2) {
			out = append(out, Line{Text("  " + text)})
		}
	}
	return out
}

func taintMeaning(node string, t fleet.Taint) string {
	switch t.Key {
	case "node.kubernetes.io/unschedulable":
		return "the node is cordoned: nothing new is scheduled here; open it with: kubectl uncordon " + node
	case "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable":
		if t.Effect == "NoExecute" {
			return "the node is not ready: its pods are evicted after the time that they tolerate that, five minutes by default"
		}
		return "the node is not ready: nothing new is scheduled here"
	}
	who := "pods that do not tolerate it"
	if !t.KeepsAway() && t.Effect != "PreferNoSchedule" {
		who = "pods that do not ask for its GPUs (those that do are given the toleration where the cluster is set up so, or need it)"
	}
	switch t.Effect {
	case "NoExecute":
		return "keeps away and evicts " + who
	case "PreferNoSchedule":
		return "is avoided by " + who + ", as long as there is room elsewhere"
	}
	return "keeps away " + who
}

// nodeDevices lists devices by their numbers.
func nodeDevices(devices []metrics.Device, o LineOptions) []Line {
	devices = slices.Clone(devices)
	slices.SortStableFunc(devices, func(a, b metrics.Device) int {
		x, _ := strconv.Atoi(a.Index)
		y, _ := strconv.Atoi(b.Index)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Pod, b.Pod))
	})
	t := Table{Columns: []Column{
		{Name: "GPU", Right: true}, {Name: "PROFILE"}, {Name: "BUSY", Right: true}, {Name: "MEMORY", Right: true}, {Name: "POWER", Right: true, Drop: 2}, {Name: "TEMP", Right: true, Drop: 1}, {Name: "XID", Right: true},
		{Name: "POD", Min: 24}, {Name: "MODEL", Wide: true}, {Name: "UUID", Wide: true},
	}}
	for i := range devices {
		d := &devices[i]
		index := d.Index
		if d.Part != "" {
			index += "/" + d.Part
		}
		t.Rows = append(t.Rows, []Cell{
			Text(index), Text(d.Profile), deviceBusy(d), Text(deviceMemoryOf(d)), Text(orNaN(d.Power, Watts)),
			Text(orNaN(d.Temperature, func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + "C" })), deviceXID(d), Text(holder(d)), Text(d.Model), Text(d.UUID),
		})
	}
	return t.without("PROFILE").Lines(o)
}

// deviceNotes explain what the list of devices says in short: driver errors, and clocks that are held down.
func deviceNotes(devices []metrics.Device, width int) []Line {
	var out []Line
	add := func(tone Tone, text string) {
		for _, l := range wrapped(Sanitize(text), width) {
			out = append(out, Line{Toned(l, tone)})
		}
	}
	errors, held := map[int]bool{}, map[string][]string{}
	asked, nvidia := false, false
	for i := range devices {
		d := &devices[i]
		if d.XID > 0 {
			errors[int(d.XID)] = true
		}
		asked = asked || d.Throttle != nil
		nvidia = nvidia || strings.HasPrefix(d.UUID, "GPU-")
		for _, reason := range d.Throttled() {
			held[reason] = append(held[reason], d.Index)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(errors)) {
		add(Bad, fmt.Sprintf("XID %d%s", code, orNothing(": ", diagnose.XID(code))))
	}
	for _, reason := range slices.Sorted(maps.Keys(held)) {
		add(Warn, "Throttled by "+reason+": GPU "+strings.Join(held[reason], ", "))
	}
	switch {
	case !asked && nvidia:
		add(Dim, "Throttling is not exported: dcgm-exporter tells it with the counter DCGM_FI_DEV_CLOCKS_EVENT_REASONS")
	case !asked:
		add(Dim, "Throttling is not exported")
	case len(held) == 0:
		add(Dim, "No GPU is throttled")
	}
	return out
}

func deviceBusy(d *metrics.Device) Cell {
	c := Text(orNaN(d.Busy, func(v float64) string { return Percent(v / 100) }))
	if d.Held() && d.Busy < idleBelow {
		c.Tone = Warn
	}
	return c
}

func deviceMemoryOf(d *metrics.Device) string {
	return orNaN(d.MemoryUsed, func(used float64) string {
		if math.IsNaN(d.MemoryTotal) {
			return UsedOf(used, nil)
		}
		return UsedOf(used, &d.MemoryTotal)
	})
}

func deviceXID(d *metrics.Device) Cell {
	switch {
	case math.IsNaN(d.XID):
		return Toned(Unknown, Dim)
	case d.XID == 0:
		return Text("0")
	}
	return Toned(strconv.FormatFloat(d.XID, 'f', 0, 64), Bad)
}

func holder(d *metrics.Device) string {
	if !d.Held() {
		return ""
	}
	return d.Namespace + "/" + d.Pod
}

// orNaN shows a number, or that it is not known.
func orNaN(v float64, show func(float64) string) string {
	if math.IsNaN(v) {
		return Unknown
	}
	return show(v)
}

// nodePods lists the pods on a node, those of one piece of work together.
func nodePods(u *fleet.NodeUsage, now time.Time) Table {
	byPod := metrics.ByPod(u.Devices)
	t := Table{Columns: []Column{
		{Name: "NAMESPACE", Min: 12}, {Name: "WORK", Min: 24}, {Name: "POD", Min: 24, Drop: 2}, {Name: "STATE", Min: 10}, {Name: "GPUS", Right: true}, {Name: "BUSY", Right: true, Drop: 1}, {Name: "BY", Wide: true}, {Name: "AGE"},
	}}
	pods := slices.Clone(u.Pods)
	slices.SortStableFunc(pods, func(a, b fleet.NodePod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Work.Name, b.Work.Name), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range pods {
		state := p.State
		if p.Reason != "" {
			state += ":" + p.Reason
		}
		t.Rows = append(t.Rows, []Cell{
			Text(p.Namespace), Text(p.Work.KindName()), Text(p.Name), Toned(state, podTone(&p.PodFact)), Text(strconv.FormatInt(p.GPUs, 10)), Text(busy(byPod[p.Namespace+"/"+p.Name])), Text(p.Work.By), Text(Age(now.Sub(p.Created))),
		})
	}
	return t.without("BUSY")
}
